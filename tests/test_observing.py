"""Samples of what goes into calls and comes out of them: what is taken, how much, and what that leaves behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from contracts.watched import internal_errors, outcomes
from holter.errors import ConfigurationError
from holter.lookout import BUDGET, MOST_WAITING
from holter.model import Observation, Snapshot
from holter.monitor import Monitor
from holter.names import CALL_NAME, OBSERVATIONS_DROPPED, OBSERVATIONS_REFUSED, OBSERVATIONS_TAKEN
from holter.observing import Look
from holter.ring import NATIVE
from holter.wanted import Wanted
from programs import succeed
from recording import Recording

SOON = 20.0
KINDS = ["as it is", "as a function of Python's"]


class Eye:
    """A check that sees what it wants, and says nothing."""

    def __init__(self, *observes: Wanted) -> None:
        self.observes = observes
        self.seen: list[Observation] = []

    def observe(self, observation: Observation) -> None:
        """Keep it."""
        self.seen.append(observation)

    def judge(self, snapshot: Snapshot) -> list[Any]:
        """Say nothing."""
        del snapshot
        return []

    @property
    def columns(self) -> list[dict[str, Any]]:
        """What was seen, arrays as lists."""
        return [
            {
                name: column.tolist() if isinstance(column, np.ndarray) else column
                for name, column in one.columns.items()
            }
            for one in self.seen
        ]


class Bench:
    """A monitor whose functions are watched before it starts, with eyes on them."""

    def __init__(self, *, native: bool, strict: bool = False) -> None:
        self.native, self._strict = native, strict
        self.monitor = Monitor("test", samplers=[], recording=False)
        self.watch = functools.partial(self.monitor.watch, native=native)

    def look(self, *observes: Wanted) -> Eye:
        """Start with a check that wants to see these, and return it."""
        eye = Eye(*observes)
        # The series are those of the scope that the functions were watched in.
        self.monitor = Monitor(
            "test", samplers=[], recording=False, checks=[eye], strict=self._strict, interval_seconds=60.0,
            fold=self.monitor._fold,
        )  # fmt: skip
        self.monitor.start()
        return eye

    def end(self) -> Snapshot:
        """Have everything looked at, and return what was recorded."""
        assert self.monitor.flush(SOON)
        return self.monitor.snapshot()


@pytest.fixture(params=KINDS)
def benches(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Makes benches, for functions in C and for those in Python; what they started ends with the test."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(native=request.param == KINDS[0], **options))
        return made[-1]

    yield make
    for bench in made:
        bench.monitor.stop(SOON)


@pytest.fixture
def bench(benches: Callable[..., Bench]) -> Bench:
    """One of them."""
    return benches()


def counted(snapshot: Snapshot, name: str, call: str = "predict") -> float:
    """Return how many observations of *call* were counted as *name*."""
    found = snapshot.find(name, {CALL_NAME: call})
    return 0 if found is None else found.total.sum


def test_inputs_and_outputs_of_a_call_are_seen(bench: Bench) -> None:
    """As columns, by the names of the arguments and of what is returned; both of the same time."""

    @bench.watch(name="predict")
    def predict(batch: Any, threshold: float = 0.5) -> Any:
        return {"score": batch.sum(axis=1), "is_high": [bool(one > threshold) for one in batch.sum(axis=1)]}

    eye = bench.look(
        Wanted.of(predict, "inputs", "batch"), Wanted.of(predict, "inputs", "threshold"), Wanted.of(predict, "outputs")
    )
    predict(np.array([[1.0, 2.0], [0.0, 0.0]]))
    predict(threshold=5.0, batch=np.array([[4, 5]]))
    snapshot = bench.end()
    assert [
        {"batch": [[1.0, 2.0], [0.0, 0.0]]},
        {"threshold": [0.5]},
        {"score": [3.0, 0.0], "is_high": [True, False]},
        {"batch": [[4, 5]]},
        {"threshold": [5.0]},
        {"score": [9], "is_high": [True]},
    ] == eye.columns
    assert ["inputs", "inputs", "outputs"] * 2 == [one.source for one in eye.seen]
    assert [(2, 2), (1, 1), (2, 2)] == [(one.count, one.rows) for one in eye.seen[:3]]
    assert {"predict"} == {one.call for one in eye.seen}
    assert 2 == len({one.time_ns for one in eye.seen})
    assert abs(eye.seen[0].time_ns - time.time_ns()) < 60e9
    assert (2, 0) == (counted(snapshot, OBSERVATIONS_TAKEN), counted(snapshot, OBSERVATIONS_REFUSED))
    assert {"ok": 2} == outcomes(snapshot, "predict")
    assert {} == internal_errors(snapshot)


def test_an_array_is_seen_in_each_call_as_in_the_first(bench: Bench) -> None:
    """However it is passed, and whatever comes beside it or instead of it."""

    class Model:
        @bench.watch(name="predict")
        def predict(self, batch: Any, threshold: float = 0.5) -> Any:
            return batch

    model, batch, long = Model(), np.arange(6).reshape(2, 3), np.zeros((3_000, 1))
    eye = bench.look(*(Wanted.of(Model.predict, "inputs", selector) for selector in (None, "batch")))
    for _ in range(2):
        model.predict(batch)
        model.predict(batch, 0.25)
        model.predict(batch=batch)
        model.predict([[0, 1, 2], [3, 4, 5]])
        model.predict(long)
    bench.end()
    assert eye.columns[:10] == eye.columns[10:]
    rows = batch.tolist()
    assert [{"batch": rows}, {"batch": rows}, {"batch": rows, "threshold": [0.25] * 2}] == eye.columns[:3]
    assert [(2, 2)] * 8 + [(1_024, 3_000)] * 2 == [(one.count, one.rows) for one in eye.seen[:10]]
    assert not any(np.shares_memory(one.columns["batch"], batch) for one in eye.seen)
    with pytest.raises(ValueError, match="read-only"):
        eye.seen[-4].columns["batch"][0] = 1


def test_selectors_are_names_of_what_is_wanted_or_functions(bench: Bench) -> None:
    """Several names give several columns; a function is given what the call was given, or what it returned."""

    class Result:
        def __init__(self, score: float) -> None:
            self.score, self.label = score, "a"

    @bench.watch(name="predict")
    def predict(age: int, income: float, *, note: str = "") -> Result:
        return Result(age * income)

    eye = bench.look(
        Wanted.of(predict, "inputs", ("age", "note")),
        Wanted.of(predict, "inputs", lambda age, income, note="": {"ratio": income / age, "note": note}),
        Wanted.of(predict, "inputs"),
        Wanted.of(predict, "outputs", "score"),
        Wanted.of(predict, "outputs", ("score", "label")),
        Wanted.of(predict, "outputs", lambda result: result.score * 2),
    )
    predict(2, income=3.0)
    bench.end()
    assert [
        {"age": [2], "note": [""]},
        {"ratio": [1.5], "note": [""]},
        {"age": [2], "income": [3.0]},
        {"score": [6.0]},
        {"score": [6.0], "label": ["a"]},
        {"outputs": [12.0]},
    ] == eye.columns


def test_methods_and_coroutines_are_seen(bench: Bench) -> None:
    """Of a method without the object that it is called on; of a coroutine what it was called with and returned."""

    class Model:
        @bench.watch(name="method")
        def predict(self, batch: Any) -> Any:
            return batch

        @bench.watch(name="coroutine")
        async def ask(self, batch: Any) -> Any:
            kept = len(batch)
            batch.clear()
            await asyncio.sleep(0)
            return kept

        @bench.watch(name="static")
        @staticmethod
        def scale(batch: Any) -> Any:
            return batch

    eye = bench.look(
        *(Wanted.of(Model.predict, source) for source in ("inputs", "outputs")),
        *(Wanted.of(Model.ask, source) for source in ("inputs", "outputs")),
        Wanted.of(Model.scale, "inputs", "batch"),
    )
    assert [1.0] == Model().predict([1.0])
    assert 2 == asyncio.run(Model().ask([1.0, 2.0]))
    assert [3] == Model.scale(batch=[3])
    snapshot = bench.end()
    assert [
        {"batch": [1.0]}, {"outputs": [1.0]}, {"batch": [1.0, 2.0]}, {"outputs": [2]}, {"batch": [3]},
    ] == eye.columns  # fmt: skip
    assert {} == internal_errors(snapshot)


def test_what_a_function_does_to_its_arguments_is_not_seen(bench: Bench) -> None:
    """They are copied before it begins, and what it returns before anybody else has it."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        batch *= 2
        return batch

    eye = bench.look(Wanted.of(predict, "inputs"), Wanted.of(predict, "outputs"))
    predict(np.array([1.0])).fill(7.0)
    bench.end()
    assert [{"batch": [1.0]}, {"outputs": [2.0]}] == eye.columns


def test_nothing_of_the_users_is_kept(bench: Bench) -> None:
    """What went in and came out is gone when its owner lets go of it, while the sample still waits."""

    @bench.watch(name="predict")
    def predict(batch: Any, words: Any) -> Any:
        return batch + len(words)

    @bench.watch(name="ask")
    async def ask(batch: Any) -> Any:
        return batch + 1

    class Words(dict[str, list[str]]):
        """A dict that can be watched by a weak reference."""

    bench.look(
        *(Wanted.of(predict, source) for source in ("inputs", "outputs")),
        *(Wanted.of(ask, source) for source in ("inputs", "outputs")),
    )
    gc.disable()
    try:
        batch, words = np.zeros((20, 3)), Words(text=["a"] * 20)
        results = predict(batch, words), asyncio.run(ask(batch))
        left = [weakref.ref(one) for one in (batch, words, *results)]
        del batch, words, results
        assert [None] * 4 == [one() for one in left]
    finally:
        gc.enable()


def test_a_call_that_fails_is_not_seen(bench: Bench) -> None:
    """It raises what it raises; there is no result to see."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return 1 / batch

    @bench.watch(name="ask")
    async def ask(batch: Any) -> Any:
        return 1 / batch

    eye = bench.look(Wanted.of(predict, "outputs"), Wanted.of(ask, "outputs"), Wanted.of(predict, "inputs"))
    with pytest.raises(ZeroDivisionError):
        predict(0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask(0))
    snapshot = bench.end()
    assert ([], {"error": 1}) == (eye.columns, outcomes(snapshot, "predict"))
    assert {"error": 1} == outcomes(snapshot, "ask")


def test_a_selector_that_raises_is_counted(bench: Bench) -> None:
    """The call goes on, and what else is wanted of it is seen."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return {"score": batch}

    def reckless(*_: Any) -> Any:
        raise SystemExit

    eye = bench.look(
        Wanted.of(predict, "inputs", reckless), Wanted.of(predict, "outputs", reckless),
        Wanted.of(predict, "outputs", "missing"), Wanted.of(predict, "outputs", "score"),
    )  # fmt: skip
    assert {"score": 3} == predict(3)
    snapshot = bench.end()
    assert [{"score": [3]}] == eye.columns
    assert {"inputs of predict": 1, "outputs of predict": 2} == internal_errors(snapshot)
    assert 3 == counted(snapshot, OBSERVATIONS_REFUSED)


def test_what_cannot_be_copied_is_refused_and_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what it was and what to do; the figures how often."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return object()

    eye = bench.look(Wanted.of(predict, "outputs"))
    with caplog.at_level(logging.WARNING, "holter"):
        for _ in range(3):
            predict(1)
        snapshot = bench.end()
    told = [record.getMessage() for record in caplog.records if "outputs of predict" in record.getMessage()]
    assert ([], 3, 1) == (eye.columns, counted(snapshot, OBSERVATIONS_REFUSED), len(told))
    assert "got a object; give outputs= a function" in told[0]


def test_when_strict_what_cannot_be_copied_raises(benches: Callable[..., Bench]) -> None:
    """So that tests and staging find it."""
    bench = benches(strict=True)

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return object()

    bench.look(Wanted.of(predict, "outputs"))
    with pytest.raises(TypeError, match="expected numbers, text"):
        predict(1)


def test_two_checks_that_want_the_same_share_a_copy(bench: Bench) -> None:
    """It is made once, and nobody can change it."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    one, other = Eye(Wanted.of(predict, "outputs")), Eye(Wanted.of(predict, "outputs"))
    bench.monitor = Monitor(
        "test", samplers=[], recording=False, checks=[one, other], interval_seconds=60.0, fold=bench.monitor._fold
    ).start()
    predict(np.zeros(3))
    bench.end()
    assert 1 == len(one.seen)
    assert one.seen[0].columns["outputs"] is other.seen[0].columns["outputs"]


def test_each_check_sees_only_what_it_wants(bench: Bench) -> None:
    """Nothing is copied of functions that nobody asks about."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    @bench.watch(name="other")
    def other(batch: Any) -> Any:
        return batch

    eye = bench.look(Wanted.of(predict, "outputs"))
    predict(1)
    other(object())
    snapshot = bench.end()
    assert [{"outputs": [1]}] == eye.columns
    assert (1, 0) == (counted(snapshot, OBSERVATIONS_TAKEN), counted(snapshot, OBSERVATIONS_TAKEN, "other"))


def test_threads_are_seen_each_call_once(bench: Bench) -> None:
    """Many threads at once take no more samples than there are turns, and mix nothing up."""

    @bench.watch(name="predict")
    def predict(number: int) -> Any:
        return {"number": number, "double": 2 * number}

    eye = bench.look(Wanted.of(predict, "outputs"))
    start = threading.Barrier(4)

    def work(first: int) -> None:
        start.wait(SOON)
        for number in range(first, first + 500):
            predict(number)

    threads = [threading.Thread(target=work, args=(1_000 * place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    snapshot = bench.end()
    numbers = [one["number"][0] for one in eye.columns]
    assert len(numbers) == len(set(numbers)) == counted(snapshot, OBSERVATIONS_TAKEN)
    assert all(one["double"] == [2 * one["number"][0]] for one in eye.columns)
    assert 0 == counted(snapshot, OBSERVATIONS_DROPPED)
    assert {"ok": 2_000} == outcomes(snapshot, "predict")


def test_a_call_within_an_observed_one_is_observed_too(bench: Bench) -> None:
    """A function that calls itself takes its turn as often as it is called."""

    @bench.watch(name="predict")
    def predict(depth: int) -> int:
        return 1 + predict(depth - 1) if depth else 0

    eye = bench.look(Wanted.of(predict, "inputs"), Wanted.of(predict, "outputs"))
    assert 3 == predict(3)
    bench.end()
    depths = [one.columns["depth"][0] for one in eye.seen if one.source == "inputs"]
    assert [0, 1, 2, 3] == depths


def test_a_full_stack_is_the_programs_own(bench: Bench) -> None:
    """A function that recurses to the limit gets its RecursionError, and nothing else."""

    @bench.watch(name="predict")
    def predict(depth: int) -> int:
        return predict(depth + 1)

    bench.look(Wanted.of(predict, "inputs"), Wanted.of(predict, "outputs"))
    for _ in range(3):
        with pytest.raises(RecursionError):
            predict(0)
    assert "predict" in {series.attributes.get(CALL_NAME) for series in bench.end().series.values()}


def test_samples_end_with_the_monitor(bench: Bench) -> None:
    """When it stops, calls have nothing to do for it any more; when it starts again, they have."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    eye = bench.look(Wanted.of(predict, "outputs"))
    predict(1)
    bench.monitor.stop(SOON)
    predict(2)
    lookout = bench.monitor._scope.observations.lookout(next(iter(bench.monitor._scope.calls)), "predict")
    assert ([False], ()) == (lookout.is_wanted, lookout.looks)
    bench.monitor.start()
    predict(3)
    bench.end()
    assert [{"outputs": [1]}, {"outputs": [3]}] == eye.columns


def test_a_function_that_is_watched_later_is_seen(bench: Bench) -> None:
    """What is wanted of a call by its name holds for each function that is watched under it."""
    eye = bench.look(Wanted("predict", "outputs"))

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    bench.monitor._scope.observations.give(MOST_WAITING)
    predict(1)
    bench.end()
    assert [{"outputs": [1]}] == eye.columns


# -- how much


def waiting(recording: Recording) -> int:
    """Return how many samples wait."""
    return len(recording.scope.observations._waiting)


def test_no_more_wait_than_there_is_room_for() -> None:
    """A collector that never comes costs a bounded number of samples, and calls nothing after that."""
    recording = Recording()
    predict = recording.watch(lambda batch: batch, name="predict")
    recording.scope.observations.add(recording, [Look(Wanted.of(predict, "outputs"))])
    for _ in range(1_000):
        predict(1)
    assert 0 < waiting(recording) <= MOST_WAITING
    before = waiting(recording)
    recording.scope.observations.give(MOST_WAITING)
    for _ in range(1_000):
        predict(1)
    assert before <= waiting(recording) <= MOST_WAITING
    assert 0 == counted(recording.snapshot(), OBSERVATIONS_DROPPED)


def test_samples_cost_no_more_than_their_budget() -> None:
    """What is costly to copy is sampled seldom: a hundredth of a core, beside what is saved up at the start."""
    recording = Recording()
    spent = []

    def costly(result: Any) -> Any:
        begun = time.thread_time_ns()
        while time.thread_time_ns() - begun < 2_000_000:
            pass
        spent.append(time.thread_time_ns() - begun)
        return result

    predict = recording.watch(lambda batch: batch, name="predict")
    observations = recording.scope.observations
    now_ns = [0]
    observations._now = lambda: now_ns[0]
    observations.add(recording, [Look(Wanted.of(predict, "outputs", costly))])
    for _ in range(50):
        for _ in range(100):
            predict(1)
        observations.take()
        now_ns[0] += 100_000_000
        observations.give(MOST_WAITING)
    # Five seconds of 10 ms each, 10 ms at the start, and the one that goes beyond.
    assert 20e6 < sum(spent) <= 5 * BUDGET * 1e9 + 10e6 + 2 * max(spent)


def test_what_samples_cost_is_part_of_the_overhead(bench: Bench) -> None:
    """As told by `holter.overhead`, of which it is nearly all where copies are dear and nothing else is done."""
    begun = time.process_time_ns()

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    def costly(result: Any) -> Any:
        begun = time.thread_time_ns()
        while time.thread_time_ns() - begun < 300_000_000:
            pass
        return result

    bench.look(Wanted.of(predict, "outputs", costly))
    predict(1)
    snapshot = bench.end()
    assert bench.monitor._judges.spent_ns > 300_000_000
    found = snapshot.find("holter.overhead")
    assert found is not None
    # What the process has used beside it is not little on a slow machine.
    assert 300_000_000 / (time.process_time_ns() - begun) < (found.total.last or 0.0) <= 1.0


def test_many_functions_share_the_budget_and_the_room() -> None:
    """Each has its turns."""
    recording = Recording()
    functions = [recording.watch(lambda batch: batch, name=f"predict {number}") for number in range(40)]
    observations = recording.scope.observations
    observations.add(recording, [Look(Wanted.of(function, "outputs")) for function in functions])
    for _ in range(100):
        for function in functions:
            function(1)
    samples = observations.take()
    assert len(samples) <= MOST_WAITING
    assert {f"predict {number}" for number in range(40)} == {one.lookout.name for one in samples}


def test_unobserved_calls_leave_nothing(bench: Bench) -> None:
    """Without a check that wants to see data, no call copies anything."""

    @bench.watch(name="predict")
    def predict(batch: Any) -> Any:
        return batch

    bench.look()
    predict(object())
    assert 0 == counted(bench.end(), OBSERVATIONS_REFUSED)
    assert not bench.monitor._scope.observations.is_wanted


# -- set-up


def test_what_cannot_be_observed_is_refused_at_set_up() -> None:
    """With what was expected, what came, and what to do."""
    monitor = Monitor("test", samplers=[])

    @monitor.watch
    def predict(batch: Any, *, threshold: float = 0.5) -> Any:
        return batch

    @monitor.watch
    def stream(batch: Any) -> Any:
        yield batch

    @monitor.watch
    async def astream(batch: Any) -> Any:
        yield batch

    for unwatched in (len, "holter.call.duration", None):
        with pytest.raises(ConfigurationError, match=r"expected the function that watch\(\) returned"):
            Wanted.of(unwatched, "inputs")
    with pytest.raises(ConfigurationError, match="makes a stream of items"):
        Wanted.of(stream, "outputs")
    with pytest.raises(ConfigurationError, match="makes a stream of items"):
        Wanted.of(astream, "outputs")
    with pytest.raises(ConfigurationError, match="has no argument 'data': it has batch, threshold"):
        Wanted.of(predict, "inputs", "data")
    with pytest.raises(ConfigurationError, match="an argument's name, or a function, got 3"):
        Wanted.of(predict, "inputs", 3)
    with pytest.raises(ConfigurationError, match="a key or an attribute"):
        Wanted.of(predict, "outputs", ())
    with pytest.raises(ConfigurationError, match='"inputs" or "outputs"'):
        Wanted.of(predict, "both")  # type: ignore[arg-type]  # that is the point
    anything = monitor.watch(lambda **kwargs: kwargs, name="anything")
    assert "whatever" == Wanted.of(anything, "inputs", "whatever").selector


def test_a_check_whose_wishes_make_no_sense_is_refused_at_start() -> None:
    """A list of wishes, and a method that sees what comes of them."""
    eye = Eye()
    eye.observes = "predict"  # type: ignore[assignment]  # that is the point
    with pytest.raises(ConfigurationError, match=r"expected Eye\.observes as a list of holter\.Wanted, got 'predict'"):
        Monitor("test", samplers=[], checks=[eye])

    class Blind:
        observes = (Wanted("predict", "outputs"),)

        def judge(self, snapshot: Snapshot) -> list[Any]:
            del snapshot
            return []

    with pytest.raises(ConfigurationError, match="give it a method observe"):
        Monitor("test", samplers=[], checks=[Blind()])


# -- whole processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which this system has not")
def test_a_forked_child_sees_its_own_calls() -> None:
    """And none of its parent's that waited when it was forked; nor does the parent see the child's."""
    program = """
        import json, os
        import holter

        @holter.watch
        def predict(number):
            return number

        class Eye:
            observes = [holter.Wanted.of(predict, "outputs")]
            def __init__(self):
                self.seen = []
            def observe(self, observation):
                self.seen.append(int(observation.columns["outputs"][0]))
            def judge(self, snapshot):
                return []

        eye = Eye()
        monitor = holter.start("sentiment", checks=[eye], samplers=[], interval_seconds=60.0)
        predict(1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            predict(2)
            predict(3)
            holter.flush()
            os.write(write, json.dumps(eye.seen).encode())
            os._exit(0)
        os.waitpid(child, 0)
        predict(4)
        holter.flush()
        print(json.dumps([eye.seen, json.loads(os.read(read, 1000))]))
    """
    mine, childs = succeed(program)
    assert [1, 4] == mine
    # Its eye is a copy of the parent's, and its first call is the one by which it begins anew.
    assert childs in ([3], [2, 3])


@pytest.mark.skipif(NATIVE is None, reason="compares the extension with the pieces in Python")
def test_without_the_extension_the_same_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watched function with the ring in Python has its own lines for that."""
    program = """
        import asyncio, json, sys
        import holter

        @holter.watch
        def predict(number, factor=2):
            return {"double": number * factor}

        @holter.watch
        async def ask(number):
            return number

        class Eye:
            observes = [holter.Wanted.of(predict, "inputs", "number"), holter.Wanted.of(predict, "outputs"),
                        holter.Wanted.of(ask, "inputs"), holter.Wanted.of(ask, "outputs")]
            seen = []
            def observe(self, observation):
                self.seen.append({name: column.tolist() for name, column in observation.columns.items()})
            def judge(self, snapshot):
                return []

        holter.start("sentiment", checks=[Eye()], samplers=[], interval_seconds=60.0)
        for number in range(5):
            predict(number)
        asyncio.run(ask(7))
        holter.flush()
        from holter.ring import IMPLEMENTATION
        print(json.dumps([IMPLEMENTATION, Eye.seen]))
    """
    native = succeed(program)
    monkeypatch.setenv("HOLTER_PURE_PYTHON", "1")
    pure = succeed(program)
    assert native[0] != pure[0]
    assert native[1] == pure[1]
    assert 12 == len(pure[1])
