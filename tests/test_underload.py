"""A real service under real load: what Prometheus and the dashboard say of it is what it and its clients did."""

from __future__ import annotations

import bisect
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed; install it with: pip install '.[test]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; install it with: pip install '.[test]'")

from fakegpus import fake_gpus, needs_gcc
from holter.gpufigures import VIOLATIONS
from metricpages import needs_prometheus
from test_dashboards import QUERIES
from underload import LOAD, Run, Service, needs_hey, serving_under_load

pytestmark = [needs_prometheus, needs_hey, needs_gcc]

SERVICES = {
    "uvicorn": [sys.executable, "-m", "uvicorn", "loadedservice:app", "--port", "{port}", "--log-level", "warning"],
    # Four workers, each of which makes room for another one once or twice in the run.
    "gunicorn": [
        *(sys.executable, "-m", "gunicorn", "-k", "asgi", "-w", "4", "-b", "127.0.0.1:{port}"),
        *("--max-requests", "100", "--max-requests-jitter", "100", "loadedservice:app"),
    ],
}
# By the labels of each series, in the order of their names: the least and the most that the answer may be.
Claim: TypeAlias = dict[tuple[str, ...], tuple[float, float]]
PREDICT, WORDS, TOKENS, TUNE = ("predict",), ("words",), ("tokens",), ("tune",)
TINY = ("tiny", "tokens")
INSIDE = {"predict": "outer", "words": "whole", "tokens": "whole"}
QUEUED_SINCE = round(time.time(), 3)
"""What the generator says in each request of when a proxy took it in."""


def exactly(value: float) -> tuple[float, float]:
    return value * (1 - 1e-9), value * (1 + 1e-9)


def about(value: float, more: float = 0.0) -> tuple[float, float]:
    """What another clock may say of the same moments."""
    return value * 0.95 - more, value * 1.05 + more


def a_second(run: Run, count: float) -> tuple[float, float]:
    return exactly(count / run.seconds)


def own(run: Run, what: str, which: str) -> list[float]:
    return [float(one[which]) for one in run.journal(what)]


def flat(run: Run, what: str, which: str) -> list[float]:
    return [float(value) for one in run.journal(what) for value in one[which]]


def bucket(run: Run, metric: str, q: float, least: Sequence[float], most: Sequence[float]) -> tuple[float, float]:
    """Return the bounds around the true quantile, of which is known that each value is between two others."""
    bounds = run.bounds(metric)
    # A share that falls between two values may be rounded to either.
    low = float(np.quantile(least, q - 1e-9, method="inverted_cdf"))
    high = float(np.quantile(most, q + 1e-9, method="inverted_cdf"))
    # The bounds of a bucket are right within 1.1 %.
    first = bisect.bisect_left(bounds, low / 1.011) - 1
    last = bisect.bisect_left(bounds, high * 1.011)
    return bounds[first], bounds[min(last, len(bounds) - 2)]


def within(run: Run, metric: str, q: float, values: Sequence[float]) -> tuple[float, float]:
    """Return the bounds around the true quantile of what was timed by another clock, a moment apart."""
    return bucket(
        run, metric, q, [value * 0.99 - 0.0005 for value in values], [value * 1.05 + 0.002 for value in values]
    )


def always(claim: Claim) -> Callable[[Run], Claim]:
    return lambda _: claim


def quantiles(title: str, claim: Callable[[Run, float], Claim]) -> dict[str, Callable[[Run], Claim]]:
    return {f"{title} {ref}": lambda run, q=q: claim(run, q) for ref, q in (("A", 0.5), ("B", 0.9), ("C", 0.99))}


def calls(run: Run) -> dict[tuple[str, ...], int]:
    answered = run.load.answered
    return {PREDICT: answered("/predict"), WORDS: answered("/words"), TOKENS: answered("/tokens")}


def durations(run: Run, q: float) -> Claim:
    name = "holter_call_duration_seconds"
    return {
        PREDICT: bucket(run, name, q, own(run, "predict", "inner"), own(run, "predict", "outer")),
        WORDS: within(run, name, q, own(run, "words", "whole")),
        TOKENS: within(run, name, q, own(run, "tokens", "whole")),
    }


def of_streams(name: str, which: str, read: Callable[[Run, str, str], list[float]]) -> Callable[[Run, float], Claim]:
    return lambda run, q: {(what,): within(run, name, q, read(run, what, which)) for what in ("words", "tokens")}


def of_tokens(name: str, which: str) -> Callable[[Run, float], Claim]:
    return lambda run, q: {TINY: within(run, name, q, own(run, "tokens", which))}


def served(run: Run) -> Claim:
    return {(str(status), path): a_second(run, count) for (path, status), count in run.load.responses.items()}


def inside(run: Run) -> dict[str, list[float]]:
    """Return by route how long the program itself was at each of its requests, by its own clock."""
    taken = {f"/{what}": own(run, what, which) for what, which in INSIDE.items()}
    return taken | {"/train": [sum(whole) for whole in (one["whole"] for one in run.journal("train"))]}


def of_requests(run: Run, q: float) -> Claim:
    """Longer than what the program did in them, and no longer than their clients waited."""
    name = "http_server_request_duration_seconds"
    return {(path,): bucket(run, name, q, taken, run.load.times[path]) for path, taken in inside(run).items()}


def handled(run: Run) -> Claim:
    """No longer than clients waited, and all that the program did but what its streams gave away."""
    given = {"/words": sum(own(run, "words", "waited")), "/tokens": sum(own(run, "tokens", "waited"))}
    return {
        (path,): ((sum(taken) - given.get(path, 0.0)) / len(taken), float(np.mean(run.load.times[path])))
        for path, taken in inside(run).items()
    }


def passed_on(run: Run) -> Claim:
    """What is left of the time that clients waited."""
    return {
        (path,): (0.0, max(0.0, float(np.mean(run.load.times[path])) - handled(run)[path,][0])) for path in inside(run)
    }


def queued(run: Run) -> Claim:
    """Since the moment that the generator has put into each request."""
    claim = {}
    for path, taken in inside(run).items():
        ended = [one["at"] for one in run.journal(path[1:])]
        waited = float(np.mean(ended)) - sum(taken) / len(taken) - QUEUED_SINCE
        least = waited - (run.load.seconds[path] - sum(taken)) / len(taken)
        claim[path,] = (least - 0.01, waited + 0.01)
    return claim


def goodput(run: Run) -> Claim:
    first = np.array([one["first"] for one in run.journal("tokens", warm_up=True)])
    target = run.after["target"]
    return {TOKENS: (float(np.mean(first + 0.002 <= target)), float(np.mean(first <= target)))}


def stage(run: Run) -> Claim:
    mine = [one for one in run.journal("predict") if "tokenize" in one]
    count = run.load.answered("/predict")
    return {
        ("predict", "tokenize"): (
            sum(one["tokenize"] for one in mine) / count,
            sum(one["inner"] for one in mine) / count,
        )
    }


def cpus(run: Run) -> Claim:
    def used(mode: str) -> tuple[float, float]:
        # The service was asked a moment before the first scrape, and a moment after the last one.
        seconds = run.after[mode] - run.before[mode]
        return max(0.0, seconds - 0.6) / run.seconds, (seconds + 0.1) / run.seconds

    return {("user",): used("user"), ("system",): used("system")}


def at_most(run: Run, which: str, slack: float = 0.0) -> tuple[float, float]:
    """What the service saw grow from a moment before the first scrape to one after the last, others' share included."""
    return 0.0, (run.after[which] - run.before[which] + slack) / run.seconds


def counted(run: Run, which: str) -> tuple[float, float]:
    """What the process has counted itself; some of it before and after, at rest."""
    grown = run.after[which] - run.before[which]
    return 0.2 * grown / run.seconds, (grown + 50) / run.seconds


def disks(run: Run, unit: str) -> Claim:
    return {("read",): at_most(run, f"disk_read_{unit}"), ("write",): at_most(run, f"disk_write_{unit}")}


def pressure(most: float) -> Claim:
    return {(resource,): (0.0, most) for resource in ("cpu", "io", "memory")}


def written(run: Run) -> Claim:
    streams = len(flat(run, "words", "between")) + len(flat(run, "tokens", "between"))
    least = sum(calls(run).values()) + len(own(run, "predict", "inner")) + streams
    return {(): (least / run.seconds, (run.after["written"] - run.before["written"]) / run.seconds)}


WATTS = 300.0
# The clients of the load together: so many calls at the most share the energy.
MOST_AT_ONCE = sum(clients for *_, clients in LOAD)


def call_energy(run: Run) -> Claim:
    def between(seconds: Sequence[float]) -> tuple[float, float]:
        alone = WATTS * float(np.mean(seconds))
        return alone / MOST_AT_ONCE * 0.9, alone * 1.1

    return {
        PREDICT: between(own(run, "predict", "outer")),
        WORDS: between(own(run, "words", "whole")),
        TOKENS: between(own(run, "tokens", "whole")),
    }


def sampled(rate: float) -> tuple[float, float]:
    """Of what is read in another process and then scraped: on a busy machine some time passes in between."""
    return 0.8 * rate, 1.2 * rate


def throttled(_: Run) -> Claim:
    return {(reason, "GPU 0"): sampled(0.25 * (reason == "power")) for reason in VIOLATIONS}


# Of the library that stands in for a driver.
GPU: dict[str, Callable[[Run], Claim]] = {
    "GPU in use": always({("GPU 0",): exactly(0.5)}),
    "GPU idle while calls run": always({("GPU 0",): (0.0, 0.5)}),
    "GPU memory": always({("GPU 0",): exactly(10 / 80)}),
    "GPU power": always({("GPU 0",): exactly(WATTS)}),
    "Energy of a call": call_energy,
    "Energy of a token": lambda run: {TOKENS: (1e-3, WATTS * max(own(run, "tokens", "whole")) / 5)},
    "GPU temperature": always({("GPU 0", "gpu"): exactly(60), ("GPU 0", "memory"): exactly(70)}),
    "GPU clocks held down": throttled,
    "GPU traffic": always({("GPU 0", way): sampled(1e6) for way in ("receive", "transmit")}),
}
BUSY = 0.02, 0.05, 0.1
CLAIMS: dict[str, Callable[[Run], Claim]] = {
    "Calls a second A": lambda run: {name: a_second(run, count) for name, count in calls(run).items()},
    **quantiles("Duration", durations),
    "Errors by type, a second A": lambda run: {
        ("ValueError", "predict"): a_second(run, run.load.responses["/predict", 500])
    },
    "Share of calls that fail A": lambda run: {
        PREDICT: exactly(run.load.responses["/predict", 500] / run.load.answered("/predict")),
        WORDS: exactly(0.0),
        TOKENS: exactly(0.0),
    },
    "Running now A": lambda run: dict.fromkeys(calls(run), (0.0, 0.0)),
    "Oldest call that runs A": lambda run: dict.fromkeys(calls(run), (0.0, 0.0)),
    "Where the time of a call goes A": stage,
    "Work a second A": lambda run: {PREDICT: a_second(run, 2 * run.load.responses["/predict", 200])},
    "Items a second A": lambda run: {
        WORDS: a_second(run, 8 * run.load.answered("/words")),
        TOKENS: a_second(run, 6 * run.load.answered("/tokens")),
    },
    "Requests a second A": served,
    **quantiles("Time of a request", of_requests),
    "Where the time of a request goes A": passed_on,
    "Where the time of a request goes B": handled,
    "Where the time of a request goes C": passed_on,
    "Waiting before the service A": queued,
    **quantiles("Time to the first item", of_streams("holter_stream_time_to_first_item_seconds", "first", own)),
    **quantiles("Time between items", of_streams("holter_stream_time_between_items_seconds", "between", flat)),
    "Waiting for consumers A": lambda run: {
        (what,): about(sum(own(run, what, "waited")) / run.seconds, 0.02) for what in ("words", "tokens")
    },
    "Tokens a second A": lambda run: {TINY: a_second(run, 6 * run.load.answered("/tokens"))},
    "Tokens a second B": lambda run: {TINY: a_second(run, 5 * run.load.answered("/tokens"))},
    **quantiles("Time to the first token", of_tokens("gen_ai_server_time_to_first_token_seconds", "first")),
    **quantiles("Time for each token after it", of_tokens("gen_ai_server_time_per_output_token_seconds", "pace")),
    "Goodput A": goodput,
    "Steps a second A": lambda run: {TUNE: a_second(run, sum(own(run, "train", "steps")))},
    **quantiles(
        "Duration of a step",
        lambda run, q: {TUNE: within(run, "holter_training_step_duration_seconds", q, flat(run, "train", "whole"))},
    ),
    "Share of the time that waits for data A": lambda run: {
        TUNE: about(sum(flat(run, "train", "waits")) / sum(flat(run, "train", "whole")), 0.01)
    },
    "Samples a second A": lambda run: {TUNE: a_second(run, sum(own(run, "train", "samples")))},
    "Progress A": lambda run: {TUNE: exactly(own(run, "train", "steps")[-1] / run.after["steps"])},
    "What was logged A": lambda run: {TUNE: exactly(own(run, "train", "loss")[-1])},
    "CPUs in use A": cpus,
    "Memory A": lambda run: {(): about(run.after["rss"], 2**24)},
    "Threads A": lambda run: {(): (run.after["threads"] - 2, run.after["threads"] + 2)},
    "Open files A": lambda run: {(): (run.after["files"] - 3, run.after["files"] + 3)},
    # Of a moment that is past; the sampler's own test compares it with psutil.
    "CPU of the host A": always({(): (0.0, 1.0 + 1e-9)}),
    "Memory of the host A": lambda run: {("used",): about(run.after["host_memory"], 0.1)},
    **{f"{title} A": claim for title, claim in GPU.items()},
    **{f"GPU errors {ref}": always({(): (0.0, 0.0)}) for ref in "ABC"},
    # The multiprocessors, the tensor cores, the bandwidth of the memory.
    **{f"Busy in the GPU {ref}": always({("GPU 0",): exactly(share)}) for ref, share in zip("ABC", BUSY, strict=True)},
    "CPUs in use, with children A": cpus,
    # With the helper that reads the GPUs.
    "Memory, with children A": lambda run: {(): about(run.after["rss"], 2**26)},
    "The process and its children A": always({(): (2.0, 2.0)}),
    # Of threads that are there still; others have come and gone.
    "Waiting for a CPU A": lambda run: {(): (0.0, 2 * at_most(run, "waits", 1.0)[1])},
    "Context switches a second A": lambda run: {(kind,): counted(run, kind) for kind in ("voluntary", "involuntary")},
    "Page faults a second A": lambda run: {(kind,): counted(run, kind) for kind in ("minor", "major")},
    "Disks of the host, bytes a second A": lambda run: disks(run, "bytes"),
    "Disks of the host, operations a second A": lambda run: disks(run, "count"),
    "Network of the host, bytes a second A": lambda run: {
        ("receive",): at_most(run, "received"),
        ("transmit",): at_most(run, "sent"),
    },
    "Pressure on the host A": always(pressure(1.05)),
    "Memory of the container A": always({(): exactly(2**29)}),
    "Memory of the container B": always({(): exactly(2**30)}),
    "CPUs of the container A": lambda run: {(): a_second(run, 0.04 * run.load.answered("/predict"))},
    "CPUs of the container B": always({(): exactly(1.5)}),
    "Throttled A": always({(): exactly(0.25)}),
    "Pressure in the container A": always(pressure(0.0)),
    "Killed for want of memory A": always({(): (0.0, 0.0)}),
    "Stored A": lambda run: {(str(run.folder / "model"),): exactly(12_345)},
    "Free A": lambda run: {(run.after["mountpoint"], "free"): about(run.after["free"], 2**30)},
    "Since a file was written A": lambda run: {
        (str(run.folder / "model"),): about(run.last - run.after["written_at"], 2.0)
    },
    "Overhead A": always({(): (1e-6, 1.0)}),
    "Records a second A": written,
    "Records a second B": lambda run: {(): a_second(run, run.after["lost"])},
    "Internal errors and failed exports A": always({(): (0.0, 0.0)}),
    "Internal errors and failed exports B": always({(): (0.0, 0.0)}),
    "Alerts of holter's own checks A": lambda run: {
        ("error ratio at most 5 %", "predict"): exactly(run.journal("alert")[-1]["state"] == "firing")
    },
    "Processes A": always({("loaded", "v7"): exactly(1)}),
}


# What one process says of itself: what it has set or sampled ends with it, and another one would say other things.
OF_ONE = {
    *("Goodput A", "Progress A", "What was logged A", "CPUs in use A", "Memory A", "Threads A", "Open files A"),
    *("CPU of the host A", "Memory of the host A", "Records a second A", "Records a second B", "Processes A"),
    *("CPUs in use, with children A", "Memory, with children A", "The process and its children A"),
    *("Waiting for a CPU A", "Context switches a second A", "Page faults a second A", "Pressure on the host A"),
    *("Disks of the host, bytes a second A", "Disks of the host, operations a second A"),
    *("Network of the host, bytes a second A", "Memory of the container A", "Memory of the container B"),
    *("CPUs of the container A", "CPUs of the container B", "Throttled A", "Pressure in the container A"),
    *("Killed for want of memory A", "Stored A", "Free A", "Since a file was written A"),
    *("Running now A", "Oldest call that runs A", "Alerts of holter's own checks A"),
    *(f"{title} A" for title in GPU),
    *(f"{title} {ref}" for title in ("GPU errors", "Busy in the GPU") for ref in "ABC"),
    # They missed their bounds under gunicorn on a machine that was very busy, once by a factor of two; in a quiet one
    # they keep them.
    *("Where the time of a request goes B", "Waiting before the service A"),
}


def test_each_query_has_its_figure() -> None:
    """A new panel says here what it is compared with."""
    assert set(QUERIES) == set(CLAIMS)
    assert set(CLAIMS) > OF_ONE


def check(title: str, run: Run) -> None:
    """Compare the answer to a query, asked over the time of the load, with what is claimed of it."""
    query = QUERIES[title]
    for name in ("$job", "$instance", "$call"):
        query = query.replace(name, ".*")
    hidden = {"__name__", "instance", "job"}
    told = {
        tuple(value for name, value in sorted(labels.items()) if name not in hidden): value
        for labels, value in run.ask(query)
        # Neither a quantile of nothing, which is no line, nor what the test has asked, before and after.
        if not math.isnan(value) and labels.get("http_route") != "/own"
    }
    claim = CLAIMS[title](run)
    assert set(claim) == set(told)
    assert {} == {key: (value, claim[key]) for key, value in told.items() if not lies_within(value, claim[key])}


def lies_within(value: float, bounds: tuple[float, float]) -> bool:
    """Whether *value* is within *bounds*, each of them to the last digits: Prometheus divides in another order."""
    low, high = bounds
    return low <= value <= high or any(math.isclose(value, one, rel_tol=1e-9) for one in bounds)


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that runs."""
    server = request.cls.server
    with (
        fake_gpus(1, io_rate__0=1e6, throttled__0=0.25),
        serving_under_load(SERVICES[server], tmp_path_factory.mktemp(server)) as one,
    ):
        yield one


@pytest.fixture(scope="class")
def run(service: Service) -> Run:
    """One that has been under load."""
    return service.run("-H", f"X-Request-Start: t={QUEUED_SINCE:.3f}")


class Loaded:
    """What holds of a service under load, however many processes it has."""

    server = ""

    def test_counters_grow_by_what_the_generator_counted(self, run: Run) -> None:
        """To the request: by outcome of the call and by status; nothing was lost or failed on the way."""
        responses = run.load.responses
        assert {200, 422, 500} == {status for path, status in responses if path == "/predict"}
        outcomes = {"ok": 200, "expected": 422, "error": 500}
        expected = {("predict", outcome): responses["/predict", status] for outcome, status in outcomes.items()}
        expected |= {("words", "ok"): responses["/words", 200], ("tokens", "ok"): responses["/tokens", 200]}
        assert expected == run.grown("holter_call_duration_seconds_count", "holter_call_name", "holter_call_outcome")
        assert {(path, str(status)): count for (path, status), count in responses.items()} == run.grown(
            'http_server_request_duration_seconds_count{http_route!="/own"}', "http_route", "http_response_status_code"
        )
        assert {("tokenize",): responses["/predict", 200] + responses["/predict", 500]} == run.grown(
            "holter_span_duration_seconds_count", "holter_span_name"
        )
        assert len(run.journal("predict")) == run.load.answered("/predict")

    def test_requests_take_no_longer_than_their_clients_waited(self, run: Run) -> None:
        """The whole of a request is more than the call in it, and less than what the generator's clock says."""
        grown = run.grown('http_server_request_duration_seconds_sum{http_route!="/own"}', "http_route")
        for path, what in (("/predict", "outer"), ("/words", "whole"), ("/tokens", "whole")):
            assert sum(own(run, path[1:], what)) < grown[path,] < run.load.seconds[path]

    def test_calls_that_run_are_seen_while_they_run(self, run: Run, service: Service) -> None:
        """As many as there are, and the oldest as old as it is; afterwards none."""
        queries: dict[str, Any] = {
            title: QUERIES[f"{title} A"].replace("$job", ".*").replace("$instance", ".*").replace("$call", "hold")
            for title in ("Running now", "Oldest call that runs")
        }
        with service.held(3) as since:
            service.rest()
            assert 3.0 == service.server.value(queries["Running now"])
            age = service.server.value(queries["Oldest call that runs"])
            assert age is not None
            assert service.server.value("max(timestamp(holter_info))") - since - 0.7 < age < 60
        service.server.sees(queries["Running now"], 0.0)
        assert 0.0 == service.server.value(queries["Oldest call that runs"])


class TestOneProcess(Loaded):
    """Under uvicorn."""

    server = "uvicorn"

    @pytest.mark.parametrize("title", QUERIES)
    def test_a_query_of_the_dashboard_is_right(self, title: str, run: Run) -> None:
        """It gives the generator's count, or the figure of the program's own clock."""
        check(title, run)

    @pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
    def test_holters_own_quantiles_are_within_their_stated_error(self, q: float, run: Run) -> None:
        """Of clocks around the call, one inside it and one outside."""
        inner, outer = (
            float(np.quantile([one[which] for one in run.journal("predict", warm_up=True)], q, method="inverted_cdf"))
            for which in ("inner", "outer")
        )
        told, error = run.after["quantiles"][str(q)], run.after["error"]
        assert error < 0.02
        assert inner * (1 - error) <= told <= outer * (1 + error)


class TestSeveralProcesses(Loaded):
    """Under gunicorn, with four workers that are recycled during the run."""

    server = "gunicorn"

    @pytest.mark.parametrize("title", [title for title in QUERIES if title not in OF_ONE])
    def test_a_query_of_the_dashboard_is_right(self, title: str, run: Run) -> None:
        """It gives the generator's count, or the figure of the workers' own clocks, of whichever has answered."""
        check(title, run)
