"""What a look at some processes tells: the figures of `vitalsigns`, made of snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Final

from holter import names
from holter.digest import Call, Digest, Spread
from holter.metric import LEVELS
from holter.model import Reading, Snapshot
from holter.timeline import FAILED
from holter.totals import digest
from holter.view.onlooker import Moment, Person, Sight
from holter.view.surroundings import CONTAINER, container, energy, gpus, level, machine
from holter.view.vitalsigns import (
    CallFigures,
    MetricFigures,
    ModelFigures,
    PauseFigures,
    ProcessFigures,
    StreamFigures,
    TrainingFigures,
    Vitals,
)

HANGS: Final = 10.0
"""A call that has run for so many times the longest one that ended, and a second, hangs."""
_FEWEST_ENDED: Final = 5
_RUNTIME: Final = ("holter.gc.pause", "holter.loop.lag", "holter.gil.wait", "holter.call.pause")


def vitals(sight: Sight, *, apart: bool = False) -> Vitals:
    """Return the figures of *sight*: those of all processes together, or of each *apart*; some 0.1 ms a call."""
    moments = [(one.process.pid, one.moment) for one in sight.people] if apart else [(None, sight.whole)]
    tellings = [_Telling(moment, process) for process, moment in moments]
    whole = tellings[0] if not apart else _Telling(sight.whole, None)
    total = sight.whole.snapshot
    return Vitals(
        time_ns=sight.time_ns,
        interval_seconds=total.interval_ns / 1e9,
        calls=tuple(call for one in tellings for call in one.calls()),
        streams=tuple(stream for one in tellings for stream in one.streams()),
        models=tuple(model for one in tellings for model in one.models()),
        training=tuple(run for one in tellings for run in one.training()),
        processes=tuple(_process(person) for person in sight.people),
        metrics=tuple(whole.metrics()),
        machine=machine(sight.whole),
        container=container(sight.whole),
        gpus=gpus(total),
        energy=energy(sight.whole),
        pauses=_pauses(sight.whole.lately),
        alerts=tuple(sorted(sight.alerts, key=lambda alert: (alert.state != "firing", -alert.since_ns))),
        failures=tuple(whole.failures()),
        stages=tuple(asdict(stage) for stage in whole.now.stages),
        lost=total.lost,
        overhead=level(total, names.OVERHEAD),
        missing=tuple(dict.fromkeys(text for person in sight.people for text in person.missing)),
    )


class _Telling:
    """What is told of one moment: the digests of its interval and since the start."""

    def __init__(self, moment: Moment, process: int | None) -> None:
        self.process = process
        self.snapshot, self.seconds = moment.snapshot, moment.snapshot.interval_ns / 1e9
        self.ever = digest(moment.snapshot)
        self.now = _of_interval(moment.snapshot)
        self.lately = moment.lately

    def rate(self, amount: float) -> float | None:
        return max(0.0, amount) / self.seconds if self.seconds > 0 else None

    def calls(self) -> Iterable[CallFigures]:
        recent = {call.name: call for call in self.now.calls}
        for ever in self.ever.calls:
            now = recent.get(ever.name)
            spread = Spread() if now is None else now.spread
            errors = 0 if now is None else now.errors
            yield CallFigures(
                name=ever.name,
                process=self.process,
                rate=self.rate(spread.count),
                error_rate=self.rate(errors),
                error_share=errors / spread.count if spread.count else None,
                p50=spread.p50,
                p90=spread.p90,
                p99=spread.p99,
                maximum=spread.maximum,
                units_rate=self.rate(0 if now is None else now.units) if ever.units else None,
                in_flight=ever.in_flight,
                oldest_seconds=ever.oldest_seconds,
                hangs=hangs(ever),
                total=ever.spread.count,
                failed=ever.errors,
            )

    def streams(self) -> Iterable[StreamFigures]:
        recent = {stream.name: stream for stream in self.now.streams}
        for ever in self.ever.streams:
            now = recent.get(ever.name)
            first, between = (Spread(), Spread()) if now is None else (now.first_item, now.between_items)
            spent = 0.0 if now is None else now.producer_seconds + now.consumer_seconds
            yield StreamFigures(
                name=ever.name,
                process=self.process,
                items_rate=self.rate(0 if now is None else now.items),
                first_p50=first.p50,
                first_p99=first.p99,
                between_p50=between.p50,
                between_p99=between.p99,
                consumer_share=now.consumer_seconds / spent if now is not None and spent > 0 else None,
                total=ever.items,
                abandoned=ever.abandoned,
            )

    def models(self) -> Iterable[ModelFigures]:
        recent = {model.name: model for model in self.now.models}
        for ever in self.ever.models:
            now = recent.get(ever.name)
            yield ModelFigures(
                name=ever.name,
                process=self.process,
                rate=self.rate(0 if now is None else now.requests.count),
                first_token_p50=None if now is None else now.first_token.p50,
                first_token_p99=None if now is None else now.first_token.p99,
                token_p50=None if now is None else now.per_token.p50,
                output_rate=self.rate(0 if now is None else now.output_tokens),
                goodput=ever.goodput,
                total=ever.requests.count,
                failed=ever.errors,
            )

    def training(self) -> Iterable[TrainingFigures]:
        recent = {run.name: run for run in self.now.training}
        paces = self._paces()
        steps = {
            call.name: call.age_seconds for call in reversed(self.snapshot.open_calls) if self._is_step(call.series)
        }
        for ever in self.ever.training:
            now, pace = recent.get(ever.name), paces.get(ever.name, 0.0)
            spread = Spread() if now is None else now.steps
            left = None if ever.steps_total is None else ever.steps_total - (ever.steps_done or 0.0)
            age = steps.get(ever.name, 0.0)
            is_stuck = _is_long(age, ever.steps.count, ever.steps.maximum)
            yield TrainingFigures(
                name=ever.name,
                process=self.process,
                steps_rate=self.rate(spread.count),
                p50=spread.p50,
                p99=spread.p99,
                data_wait_share=None if now is None else now.data_wait_share,
                samples_rate=self.rate(0.0 if now is None else now.samples) if ever.samples else None,
                epoch=ever.epoch,
                steps_done=ever.steps_done,
                steps_total=ever.steps_total,
                progress=ever.progress,
                remaining_seconds=left / pace if left is not None and left > 0 and pace > 0 and not is_stuck else None,
                step_seconds=age,
                hangs=is_stuck,
                total=ever.steps.count,
                failed=ever.errors,
                logged=dict(ever.metrics),
            )

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures by call and type since the start, those of the interval first."""
        recent = {(one.call, one.error_type): one for one in self.now.failures}
        told = []
        for ever in self.ever.failures:
            now = recent.get((ever.call, ever.error_type))
            told.append(asdict(now or ever) | {"count": 0 if now is None else now.count, "total": ever.count})
        return sorted(told, key=lambda one: (-one["count"], -one["total"]))

    def metrics(self) -> Iterable[MetricFigures]:
        known = {(one.name, tuple(sorted(one.attributes.items()))): one for one in self.now.metrics}
        for ever in self.ever.metrics:
            if ever.name.startswith(CONTAINER):
                continue
            now = known.get((ever.name, tuple(sorted(ever.attributes.items()))))
            grown = 0.0 if now is None else now.spread.count if ever.kind == "histogram" else now.value or 0.0
            yield MetricFigures(
                name=ever.name,
                kind=ever.kind,
                unit=ever.unit,
                attributes=dict(ever.attributes),
                value=ever.spread.count if ever.kind == "histogram" else ever.value,
                rate=None if ever.kind in LEVELS else self.rate(grown),
                p50=None if now is None or ever.kind != "histogram" else now.spread.p50,
                p99=None if now is None or ever.kind != "histogram" else now.spread.p99,
            )

    def _paces(self) -> dict[str, float]:
        """Return the steps a second of each training run in the last ten seconds."""
        paces: dict[str, float] = {}
        for key, reading in self.lately.interval.items():
            if self._is_step(key) and self.lately.interval_ns > 0:
                name = str(self.snapshot.series[key].attributes.get(names.TRAINING_NAME, ""))
                paces[name] = paces.get(name, 0.0) + reading.count / (self.lately.interval_ns / 1e9)
        return paces

    def _is_step(self, key: int) -> bool:
        series = self.snapshot.series.get(key)
        return series is not None and series.name == names.TRAINING_STEP_DURATION


def _of_interval(snapshot: Snapshot) -> Digest:
    began_ns = snapshot.monotonic_ns - snapshot.interval_ns
    return digest(replace(snapshot, total=snapshot.interval, process=replace(snapshot.process, started_ns=began_ns)))


def hangs(call: Call) -> bool:
    """Whether the oldest call that runs has run for much longer than any that ended."""
    return _is_long(call.oldest_seconds, call.spread.count, call.spread.maximum)


def _is_long(age_seconds: float, ended: int, longest_seconds: float | None) -> bool:
    return ended >= _FEWEST_ENDED and longest_seconds is not None and age_seconds >= max(1.0, HANGS * longest_seconds)


def _process(person: Person) -> ProcessFigures:
    snapshot, process = person.moment.snapshot, person.process
    seconds = snapshot.interval_ns / 1e9
    count, failed, spread = 0, 0, Reading()
    for key, reading in snapshot.interval.items():
        series = snapshot.series.get(key)
        if series is not None and series.name == names.CALL_DURATION:
            count += reading.count
            failed += reading.count if series.attributes.get(names.CALL_OUTCOME) in FAILED else 0
            spread = spread.merge(reading)
    histogram = spread.histogram
    return ProcessFigures(
        pid=process.pid,
        service=process.service,
        version=process.version,
        host=process.host,
        path=str(person.path),
        state="silent" if person.is_silent else process.state,
        is_sure=process.is_sure,
        silent_seconds=person.silent_seconds,
        ended_ns=process.ended_ns,
        system_state=None if person.pulse is None else person.pulse.letter,
        cpus=person.cpu_share,
        memory_bytes=level(snapshot, "process.memory.usage"),
        memory_limit_bytes=process.memory_limit_bytes,
        rate=count / seconds if seconds > 0 else None,
        error_rate=failed / seconds if seconds > 0 else None,
        p99=histogram.quantile(0.99) if histogram is not None and histogram.count else None,
        in_flight=len(snapshot.open_calls),
        oldest_seconds=max((call.age_seconds for call in snapshot.open_calls), default=0.0),
    )


def _pauses(lately: Snapshot) -> tuple[PauseFigures, ...]:
    merged: dict[str, Reading] = {}
    for key, reading in lately.interval.items():
        series = lately.series.get(key)
        if series is not None and series.name in _RUNTIME:
            cause = series.attributes.get("holter.pause.cause")
            name = series.name + (f" ({cause})" if cause else "")
            merged[name] = merged.get(name, Reading()).merge(reading)
    seconds = lately.interval_ns / 1e9
    return tuple(
        PauseFigures(
            name=name,
            rate=reading.count / seconds if seconds > 0 else 0.0,
            p50=reading.histogram.quantile(0.5) if reading.histogram and reading.histogram.count else None,
            p99=reading.histogram.quantile(0.99) if reading.histogram and reading.histogram.count else None,
            maximum=reading.maximum,
        )
        for name, reading in sorted(merged.items())
        if reading.count
    )
