"""The totals of a snapshot, grouped and told as a Digest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from holter import genai, names
from holter.digest import Call, Digest, Failure, Itself, Metric, Model, Spread, Stage, Stream, Training
from holter.model import Reading, Series, Snapshot
from holter.record import Outcome
from holter.timeline import FAILED, inner_stage

_NOTHING: Final = Reading()
_OWN_PREFIXES: Final = ("holter.", "gen_ai.", "process.", "system.", "hw.", "cpython.")


class _Totals:
    """The totals of a snapshot by metric and attribute."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.seconds = max(0.0, (snapshot.monotonic_ns - snapshot.process.started_ns) / 1e9)
        self.by_name: dict[str, list[tuple[Series, Reading]]] = defaultdict(list)
        for series in snapshot.series.values():
            reading = snapshot.total.get(series.id)
            if reading is not None and (reading.count or reading.last is not None or reading.sum):
                self.by_name[series.name].append((series, reading))

    def rate(self, amount: float) -> float:
        return amount / self.seconds if self.seconds else 0.0

    def grouped(self, name: str, *keys: str) -> defaultdict[tuple[str, ...], Reading]:
        """Return the merged readings of a metric by the values of attributes."""
        groups: defaultdict[tuple[str, ...], Reading] = defaultdict(Reading)
        for series, reading in self.by_name.get(name, ()):
            key = tuple(str(series.attributes.get(key, "")) for key in keys)
            groups[key] = groups[key].merge(reading)
        return groups

    def failed(self, name: str, *keys: str) -> dict[tuple[str, ...], int]:
        """Return how many ended in an error or a timeout, by the values of attributes."""
        groups: dict[tuple[str, ...], int] = defaultdict(int)
        for series, reading in self.by_name.get(name, ()):
            if series.attributes.get(names.CALL_OUTCOME) in FAILED:
                groups[tuple(str(series.attributes.get(key, "")) for key in keys)] += reading.count
        return groups

    def sums(self, name: str, key: str) -> dict[str, int]:
        """Return the values of a counter by one attribute."""
        return {value: int(reading.sum) for (value,), reading in self.grouped(name, key).items()}


def digest(snapshot: Snapshot) -> Digest:
    """Return the figures of *snapshot*, whose totals reach back to the start; one pass over its series."""
    totals = _Totals(snapshot)
    calls = _calls(totals, snapshot)
    return Digest(
        seconds=totals.seconds,
        calls=calls,
        stages=_stages(totals),
        failures=_failures(totals, snapshot),
        streams=_streams(totals),
        models=_models(totals),
        training=_training(totals),
        metrics=_metrics(totals),
        machine=_machine(totals),
        itself=Itself(
            overhead=_last(totals.grouped(names.OVERHEAD).get(())),
            written=int(totals.grouped(names.RECORDS_WRITTEN).get((), _NOTHING).sum),
            lost=snapshot.lost,
            collector=_spread(totals.grouped(names.COLLECTOR_DURATION).get((), _NOTHING)),
            internal_errors=totals.sums(names.INTERNAL_ERRORS, names.PLACE),
            exporter_failures=totals.sums(names.EXPORTER_FAILURES, names.EXPORTER_NAME),
        ),
    )


def _calls(totals: _Totals, snapshot: Snapshot) -> tuple[Call, ...]:
    outcomes: dict[str, dict[str, int]] = defaultdict(dict)
    for (name, outcome), reading in totals.grouped(names.CALL_DURATION, names.CALL_NAME, names.CALL_OUTCOME).items():
        label = outcome or Outcome.OK.label
        outcomes[name][label] = outcomes[name].get(label, 0) + reading.count
    ages: dict[str, list[float]] = defaultdict(list)
    for call in snapshot.open_calls:
        # The steps of a training run are open too.
        if call.series not in snapshot.series or snapshot.series[call.series].name == names.CALL_DURATION:
            ages[call.name].append(call.age_seconds)
    active = totals.grouped(names.CALL_ACTIVE, names.CALL_NAME)
    durations = totals.grouped(names.CALL_DURATION, names.CALL_NAME)
    for name in ages:
        durations.setdefault((name,), _NOTHING)
    calls = [
        Call(
            name=name,
            spread=_spread(reading),
            rate=totals.rate(reading.count),
            errors=sum(outcomes[name].get(label, 0) for label in FAILED),
            in_flight=max(len(ages[name]), int(_last(active.get((name,))) or 0)),
            oldest_seconds=max(ages[name], default=0.0),
            units=reading.units,
            units_rate=totals.rate(reading.units),
            outcomes=outcomes[name],
        )
        for (name,), reading in durations.items()
    ]
    return tuple(sorted(calls, key=lambda call: (-call.spread.count, call.name)))


def _stages(totals: _Totals) -> tuple[Stage, ...]:
    calls = totals.grouped(names.CALL_DURATION, names.CALL_NAME)
    errors = totals.failed(names.SPAN_DURATION, names.CALL_NAME, names.SPAN_NAME)
    stages = []
    for (call, name), reading in totals.grouped(names.SPAN_DURATION, names.CALL_NAME, names.SPAN_NAME).items():
        whole = calls.get((call,), _NOTHING).sum
        share = reading.sum / whole if whole else None
        stages.append(Stage(call, name, _spread(reading), share, errors.get((call, name), 0)))
    steps = totals.grouped(names.TRAINING_STEP_DURATION, names.TRAINING_NAME)
    keys = (names.TRAINING_NAME, names.TRAINING_PHASE)
    errors = totals.failed(names.TRAINING_PHASE_DURATION, *keys)
    for (run, phase), reading in totals.grouped(names.TRAINING_PHASE_DURATION, *keys).items():
        whole = steps.get((run,), _NOTHING).sum
        share = reading.sum / whole if whole else None
        stages.append(Stage(run, phase, _spread(reading), share, errors.get((run, phase), 0)))
    return tuple(sorted(stages, key=lambda stage: (-stage.spread.seconds, stage.name)))


def _failures(totals: _Totals, snapshot: Snapshot) -> tuple[Failure, ...]:
    seconds = {
        key: reading.sum
        for key, reading in totals.grouped(names.SPAN_DURATION, names.CALL_NAME, names.SPAN_NAME).items()
    }
    passed = totals.failed(names.SPAN_DURATION, names.CALL_NAME, names.ERROR_TYPE, names.SPAN_NAME)
    failures = []
    for (call, error_type), count in totals.failed(names.CALL_DURATION, names.CALL_NAME, names.ERROR_TYPE).items():
        within = {stage: float(n) for (of, kind, stage), n in passed.items() if (of, kind) == (call, error_type)}
        lengths = {stage: total for (of, stage), total in seconds.items() if of == call}
        places = [one for one in snapshot.error_places if (one.call, one.error_type) == (call, error_type)]
        place = max(places, key=lambda one: one.count).place if places else ""
        stage = inner_stage(within, lengths, at_least=count / 2) or ""
        failures.append(Failure(call, error_type or names.ERROR_TYPE_OTHER, count, stage, place))
    return tuple(sorted(failures, key=lambda failure: (-failure.count, failure.call, failure.error_type)))


def _streams(totals: _Totals) -> tuple[Stream, ...]:
    first, between, producer, consumer, items = (
        totals.grouped(name, names.CALL_NAME)
        for name in (
            names.STREAM_FIRST_ITEM,
            names.STREAM_BETWEEN_ITEMS,
            names.STREAM_PRODUCER_TIME,
            names.STREAM_CONSUMER_WAIT,
            names.STREAM_ITEMS,
        )
    )
    outcomes = totals.grouped(names.CALL_DURATION, names.CALL_NAME, names.CALL_OUTCOME)
    streams = []
    for key in {**first, **producer}:
        count = int(items[key].sum) if key in items else first[key].count + between[key].count
        streams.append(
            Stream(
                name=key[0],
                items=count,
                items_rate=totals.rate(count),
                first_item=_spread(first[key]),
                between_items=_spread(between[key]),
                producer_seconds=producer[key].sum,
                consumer_seconds=consumer[key].sum,
                abandoned=sum(outcomes[key[0], one.label].count for one in (Outcome.ABANDONED, Outcome.CANCELLED)),
            )
        )
    return tuple(sorted(streams, key=lambda stream: (-stream.items, stream.name)))


# Where the model is served, and where somebody else's is asked.
_REQUESTS: Final = (genai.REQUEST_DURATION, genai.CLIENT_DURATION, genai.CLIENT_OPERATION_DURATION)


def _any_of(totals: _Totals, metrics: tuple[str, ...], *by: str) -> dict[tuple[str, ...], Reading]:
    """Return the readings of several metrics, of which a function has one."""
    return {key: reading for metric in metrics for key, reading in totals.grouped(metric, *by).items()}


def _models(totals: _Totals) -> tuple[Model, ...]:
    kind = (names.CALL_NAME, genai.REQUEST_MODEL)
    requests, first, pace, given, made = (
        _any_of(totals, metrics, *kind)
        for metrics in (
            _REQUESTS,
            (genai.TIME_TO_FIRST_TOKEN, genai.CLIENT_TIME_TO_FIRST_CHUNK),
            (genai.TIME_PER_OUTPUT_TOKEN, names.LLM_TOKEN_TIME),
            (genai.INPUT_TOKENS,),
            (genai.OUTPUT_TOKENS,),
        )
    )
    outcomes = _any_of(totals, _REQUESTS, *kind, names.CALL_OUTCOME)
    goodput = totals.grouped(names.LLM_GOODPUT, names.CALL_NAME)
    alone = Counter(model for _, model in requests)
    models = [
        Model(
            name=(key[1] if alone[key[1]] == 1 else f"{key[1]} ({key[0]})") if key[1] else key[0],
            requests=_spread(reading),
            errors=sum(outcomes[(*key, label)].count for label in FAILED if (*key, label) in outcomes),
            first_token=_spread(first.get(key, _NOTHING)),
            per_token=_spread(pace.get(key, _NOTHING)),
            input_tokens=int(given.get(key, _NOTHING).sum),
            output_tokens=int(made.get(key, _NOTHING).sum),
            output_rate=totals.rate(made.get(key, _NOTHING).sum),
            goodput=_last(goodput.get(key[:1])),
        )
        for key, reading in requests.items()
    ]
    return tuple(sorted(models, key=lambda model: (-model.requests.count, model.name)))


def _training(totals: _Totals) -> tuple[Training, ...]:
    steps, waits, samples, epochs, progress, steps_done, steps_total = (
        totals.grouped(name, names.TRAINING_NAME)
        for name in (
            names.TRAINING_STEP_DURATION,
            names.TRAINING_DATA_WAIT,
            names.TRAINING_SAMPLES,
            names.TRAINING_EPOCH,
            names.TRAINING_PROGRESS,
            names.TRAINING_STEPS_DONE,
            names.TRAINING_STEPS_TOTAL,
        )
    )
    errors = totals.failed(names.TRAINING_STEP_DURATION, names.TRAINING_NAME)
    runs = []
    for key, reading in steps.items():
        waited = waits[key].sum if key in waits else None
        amount = samples[key].sum
        logged = {
            metric.removeprefix(names.TRAINING_METRIC_PREFIX): value
            for metric in totals.by_name
            if metric.startswith(names.TRAINING_METRIC_PREFIX)
            and (value := _last(totals.grouped(metric, names.TRAINING_NAME).get(key))) is not None
        }
        runs.append(
            Training(
                name=key[0],
                steps=_spread(reading),
                errors=errors.get(key, 0),
                data_wait_seconds=waited,
                data_wait_share=waited / reading.sum if waited is not None and reading.sum else None,
                samples=amount,
                # Over the time of the steps, since a program does other things before and after.
                samples_rate=amount / reading.sum if reading.sum else 0.0,
                epoch=_last(epochs.get(key)),
                progress=_last(progress.get(key)),
                steps_done=_last(steps_done.get(key)),
                steps_total=_last(steps_total.get(key)),
                metrics=logged,
            )
        )
    return tuple(sorted(runs, key=lambda run: (-run.steps.seconds, run.name)))


def _metrics(totals: _Totals) -> tuple[Metric, ...]:
    metrics = []
    for name, found in totals.by_name.items():
        if name.startswith(_OWN_PREFIXES):
            continue
        for series, reading in found:
            is_counter = series.kind == "counter"
            value = reading.sum if is_counter else _last(reading)
            metrics.append(
                Metric(
                    name=name,
                    kind=series.kind,
                    unit=series.unit,
                    attributes=dict(series.attributes),
                    value=None if series.kind == "histogram" else value,
                    rate=totals.rate(reading.sum if is_counter else reading.count),
                    spread=_spread(reading),
                )
            )
    return tuple(sorted(metrics, key=lambda metric: (-metric.spread.count, metric.name)))


def _machine(totals: _Totals) -> dict[str, float]:
    """Return the figures of the process and the host that could be had, by name."""
    figures: dict[str, float | None] = {
        "process_cpu": _mean(totals, "process.cpu.utilization"),
        "process_memory_bytes": _last(totals.grouped("process.memory.usage").get(())),
        "process_memory_peak_bytes": totals.grouped("process.memory.usage").get((), _NOTHING).maximum,
        "process_threads": _last(totals.grouped("process.thread.count").get(())),
        "process_open_files": _last(totals.grouped("process.unix.file_descriptor.count").get(())),
        "python_gc_seconds": totals.grouped(names.GC_TIME).get((), _NOTHING).sum or None,
        "python_gc_longest_seconds": _longest(totals, names.GC_PAUSE),
        "python_loop_lag_p99_seconds": _spread(totals.grouped(names.LOOP_LAG).get((), _NOTHING)).p99,
        "python_loop_blocked_seconds": _last(totals.grouped(names.LOOP_BLOCKED).get(())),
        "host_cpu": _mean(totals, "system.cpu.utilization", without=("idle", "iowait")),
        "host_memory": _last(totals.grouped("system.memory.utilization").get(())),
        "host_memory_bytes": _last(totals.grouped("system.memory.limit").get(())),
        "host_load": _last(totals.grouped("holter.host.load_average").get(())),
    }
    for metric, key, label in (
        ("process.disk.io", "disk.io.direction", "process_disk"),
        ("system.disk.io", "disk.io.direction", "host_disk"),
        ("system.network.io", "network.io.direction", "host_network"),
    ):
        for (direction,), reading in totals.grouped(metric, key).items():
            figures[f"{label}_{direction}_bytes"] = reading.sum
    return {name: value for name, value in figures.items() if value is not None}


def _longest(totals: _Totals, name: str) -> float | None:
    longest = (reading.maximum for _, reading in totals.by_name.get(name, ()))
    return max((one for one in longest if one is not None), default=None)


def _mean(totals: _Totals, name: str, without: Iterable[str] = ()) -> float | None:
    """Return the sum over the CPU's modes of their mean share."""
    modes = totals.grouped(name, "cpu.mode")
    shares = [
        reading.sum / reading.count for (mode,), reading in modes.items() if reading.count and mode not in without
    ]
    return sum(shares) if shares else None


def _last(reading: Reading | None) -> float | None:
    return None if reading is None else reading.last


def _spread(reading: Reading) -> Spread:
    histogram = reading.histogram
    p50, p90, p99 = (histogram.quantile(q) for q in (0.5, 0.9, 0.99)) if histogram and histogram.count else (None,) * 3
    # A quantile stands for its bucket and may lie beyond the largest value.
    limit = reading.maximum
    if limit is not None:
        p50, p90, p99 = (None if each is None else min(each, limit) for each in (p50, p90, p99))
    return Spread(reading.count, reading.sum, p50, p90, p99, limit, histogram.count if histogram else 0)
