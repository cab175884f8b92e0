"""Training runs: what a step is, what is recorded of it, and that the loop around it notices nothing."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter import names
from holter.clock import Clock
from holter.errors import ConfigurationError
from holter.fold import Fold, Router
from holter.model import Process, Snapshot
from holter.monitor import Monitor
from holter.probes.training import Training
from holter.recorder import Recorder
from holter.scope import Scope

STEP = names.TRAINING_STEP_DURATION
WAIT = names.TRAINING_DATA_WAIT
SECOND_NS = 1_000_000_000


class Bench:
    """A scope of its own with a clock that the test moves."""

    def __init__(self) -> None:
        self.time_ns = 1_000 * SECOND_NS
        recorder = Recorder()
        self.scope = Scope(Clock(monotonic_ns=lambda: self.time_ns), recorder)
        self._fold, self._router = Fold(self.scope, Process("test")), Router(recorder)
        self._router.attach(self._fold)

    def training(self, name: str = "fit", **options: Any) -> Training:
        """Return a run."""
        return Training(self.scope, name, **options)

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        self.time_ns += round(seconds * SECOND_NS)

    def loader(self, batches: Iterable[Any], wait: float) -> Iterator[Any]:
        """Yield each batch after a wait."""
        for batch in batches:
            self.spend(wait)
            yield batch

    def snapshot(self) -> Snapshot:
        """Return what has been recorded."""
        with self.scope.recorder.lock:
            self._router.drain()
            return self._fold.close(self.time_ns, self.time_ns)

    def ends(self, metric: str = STEP) -> dict[str, int]:
        """Return how often what *metric* times has ended, by type of error or else outcome."""
        snapshot = self.snapshot()
        return {
            str(series.attributes.get("error.type", series.attributes.get("holter.call.outcome", "ok"))): reading.count
            for key, reading in snapshot.total.items()
            if (series := snapshot.series[key]).name == metric and reading.count
        }

    def sum(self, metric: str, **where: str) -> float:
        """Return the sum of *metric*, rounded to nanoseconds."""
        return round(self.find(metric, where).total.sum, 9)

    def find(self, metric: str, where: Any = None) -> Any:
        """Return the statistics of *metric*."""
        return self.snapshot().find(metric, where)

    def counts(self, metric: str) -> dict[str, float]:
        """Return the values of a counter by each attribute's value."""
        snapshot = self.snapshot()
        return {
            str(value): reading.sum
            for key, reading in snapshot.total.items()
            if snapshot.series[key].name == metric
            for value in snapshot.series[key].attributes.values()
        }


@pytest.fixture
def bench() -> Bench:
    """A scope of its own with a clock that the test moves."""
    return Bench()


def test_a_step_is_the_wait_for_its_data_and_the_body(bench: Bench) -> None:
    """Five turns of 2 s wait and 3 s work: five steps of 5 s, five waits of 2 s."""
    with bench.training() as run:
        for _ in run.steps(bench.loader(range(5), wait=2)):
            bench.spend(3)
    steps, waits = bench.find(STEP), bench.find(WAIT)
    assert (5, 25) == (steps.total.count, round(steps.total.sum, 9))
    assert (5, 10) == (waits.total.count, round(waits.total.sum, 9))
    assert 5 == pytest.approx(steps.total.maximum)
    assert 2 == pytest.approx(waits.total.maximum)


def test_the_wait_for_the_end_of_the_data_is_no_step(bench: Bench) -> None:
    """A loader that takes its time to say that it has ended adds neither a step nor a wait."""

    def loader() -> Iterator[int]:
        yield 1
        bench.spend(100)

    with bench.training() as run:
        for _ in run.steps(loader()):
            bench.spend(1)
    assert (1, 0) == (bench.sum(STEP), bench.sum(WAIT))
    assert {"ok": 1} == bench.ends()


def test_an_empty_loader_makes_no_step(bench: Bench) -> None:
    """Nothing to iterate, nothing recorded, nothing left open."""
    with bench.training() as run:
        assert [] == list(run.steps([]))
        assert () == bench.snapshot().open_calls
        assert 0 == run.steps_done
    assert {} == bench.ends()


def test_explicit_steps_are_steps(bench: Bench) -> None:
    """Without a loader to iterate, a `with` block is one step."""
    with bench.training() as run:
        for _ in range(4):
            with run.step():
                bench.spend(2)
        assert 4 == run.steps_done
    assert {"ok": 4} == bench.ends()
    assert 8 == bench.sum(STEP)


def test_a_loop_left_by_break_has_ended_its_last_step(bench: Bench) -> None:
    """The step in which `break` stands is counted as one that ended well, up to the `break`."""
    with bench.training() as run:
        for batch in run.steps(itertools.count()):
            bench.spend(1)
            if batch == 2:
                break
        assert 3 == run.steps_done
        bench.spend(50)
    assert {"ok": 3} == bench.ends()
    assert 3 == bench.sum(STEP)


def test_a_loop_left_by_return_has_ended_its_last_step(bench: Bench) -> None:
    """`return` from inside the loop is the same as `break`."""

    def train(run: Training) -> int:
        for batch in run.steps(range(10)):
            if batch == 2:
                return batch
        return -1

    with bench.training() as run:
        assert 2 == train(run)
    assert {"ok": 3} == bench.ends()


def test_an_exception_passes_and_its_step_has_failed(bench: Bench) -> None:
    """The same object arrives outside; the step it left is counted under its type, and where it was raised."""
    error = ValueError("from the user's code")
    with pytest.raises(ValueError, match="from") as caught, bench.training() as run:  # noqa: PT012 - the loop is the subject
        for batch in run.steps(range(10)):
            bench.spend(1)
            if batch == 2:
                raise error
    assert error is caught.value
    assert {"ok": 2, "ValueError": 1} == bench.ends()
    assert {"ValueError": 1} == bench.ends(names.TRAINING_RUN_DURATION)
    assert 2 == run.steps_done
    (place,) = bench.snapshot().error_places
    assert ("fit", "ValueError", 1) == (place.call, place.error_type, place.count)
    assert "test_an_exception_passes_and_its_step_has_failed" in place.place


def _raise(error: type[BaseException]) -> None:
    raise error


def _wrapped(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches, as a progress bar does."""
    for batch in batches:  # noqa: UP028 - that is how they do it
        yield batch


def test_a_step_inside_other_iterators_fails_too(bench: Bench) -> None:
    """Progress bars and the like hand an exception on to nobody; its step is known all the same."""
    with pytest.raises(KeyError), bench.training() as run:  # noqa: PT012 - the loop is the subject
        for _, (batch, _) in enumerate(zip(_wrapped(_wrapped(run.steps(range(10)))), itertools.count(), strict=False)):
            if batch == 2:
                raise KeyError
    assert {"ok": 2, "KeyError": 1} == bench.ends()


def test_an_exception_after_a_break_is_not_the_steps(bench: Bench) -> None:
    """What goes wrong after the loop was left does not make the last step a failure."""

    def train(run: Training) -> None:
        for _ in run.steps(range(10)):
            break
        raise KeyError

    with pytest.raises(KeyError), bench.training() as run:
        train(run)
    assert {"ok": 1} == bench.ends()
    assert {"KeyError": 1} == bench.ends(names.TRAINING_RUN_DURATION)


def test_an_exception_caught_inside_the_run_is_seen_while_it_is_handled(bench: Bench) -> None:
    """Whatever the run is told in the `except` clause settles the step that failed."""
    with bench.training() as run:
        try:
            for _ in run.steps(range(10)):
                _raise(TimeoutError)
        except TimeoutError:
            run.log(timeouts=1)
    assert {"TimeoutError": 1} == bench.ends()
    assert 0 == run.steps_done


@pytest.mark.parametrize("block", [lambda run: run.phase("forward"), lambda run: run.step()], ids=["phase", "step"])
def test_an_exception_that_leaves_a_block_fails_the_step(bench: Bench, block: Callable[[Training], Any]) -> None:
    """Caught silently between loop and run, the exception is known from the block inside the step that it left."""
    with bench.training() as run:
        try:
            for batch in run.steps(range(10)):
                with block(run):
                    if batch == 1:
                        _raise(OSError)
        except OSError:
            pass
        for _ in run.steps(range(3)):
            pass
    assert {"ok": 4, "OSError": 1} == bench.ends()


def test_an_exception_caught_in_the_body_fails_no_step(bench: Bench) -> None:
    """The step goes on, as the user wanted it to."""
    with bench.training() as run:
        for _ in run.steps(range(3)):
            try:
                with run.phase("forward"):
                    _raise(OSError)
            except OSError:
                continue
    assert {"ok": 3} == bench.ends()
    assert {"OSError": 3} == bench.ends(names.TRAINING_PHASE_DURATION)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(KeyboardInterrupt, "KeyboardInterrupt"), (TimeoutError, "TimeoutError"), (GeneratorExit, "abandoned")],
)
def test_outcomes_of_explicit_steps(bench: Bench, error: type[BaseException], outcome: str) -> None:
    """Every exception passes through a step and says how it ended."""
    with pytest.raises(error), bench.training() as run, run.step():
        raise error
    assert {outcome: 1} == bench.ends()


class Loader:
    """A loader with a length that breaks wherever it is told to."""

    def __init__(self, broken: str) -> None:
        self._broken = broken
        self._served = 0

    def _break(self, place: str) -> None:
        if place == self._broken:
            self._broken = ""
            raise RuntimeError(place)

    def __len__(self) -> int:
        self._break("len")
        return 3

    def __iter__(self) -> Loader:
        self._break("iter")
        return self

    def __next__(self) -> int:
        self._break("next")
        self._served += 1
        if self._served == 3 or self._served > 6:
            raise StopIteration(self._served)
        return self._served


def _outcome(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - what it is, is compared
        return type(error), error.args


def _use(batches: Any) -> list[Any]:
    """Do to *batches* what programs do, and return all that can be seen of it."""
    seen = [_outcome(lambda: len(batches)), _outcome(lambda: bool(batches)), _outcome(lambda: list(batches))]
    iterator = _outcome(lambda: iter(batches))
    seen += [_outcome(lambda: next(iterator)) for _ in range(7)]
    seen += [
        _outcome(lambda: list(itertools.islice(batches, 2))),
        _outcome(lambda: list(zip(batches, "ab", strict=False))),
    ]
    for batch in batches:
        seen.append(batch)
        break
    return [*seen, _outcome(lambda: list(reversed(list(batches))))]


@pytest.mark.parametrize(
    "source",
    [
        lambda: [0, 1, 2],
        list,
        lambda: {"a": 1, "b": 2},
        lambda: iter([0, 1, 2]),
        lambda: (n for n in range(9)),
        lambda: range(4),
        lambda: np.arange(4),
        lambda: Loader(""),
        lambda: Loader("len"),
        lambda: Loader("iter"),
        lambda: Loader("next"),
        lambda: "text",
    ],
    ids=["list", "empty", "dict", "iterator", "generator", "range", "array", "loader", "len", "iter", "next", "str"],
)
@pytest.mark.parametrize("state", ["open", "ended", "inside a step"])
def test_iteration_is_as_without_holter(bench: Bench, source: Callable[[], Any], state: str) -> None:
    """Items, length, truth, ends, exceptions and what is left afterwards are those of the bare iterable."""
    expected = _use(source())
    with bench.training() as run:
        if state == "open":
            assert expected == _use(run.steps(source()))
        elif state == "inside a step":
            with run.step():
                assert expected == _use(run.steps(source()))
    if state == "ended":
        assert expected == _use(run.steps(source()))


def test_what_cannot_be_iterated_says_so_as_it_would(bench: Bench) -> None:
    """`for` over a number is the TypeError that Python raises."""
    with bench.training() as run, pytest.raises(TypeError, match="'int' object is not iterable"):
        for _ in run.steps(3):
            pass


def test_a_generator_goes_on_where_a_break_left_it(bench: Bench) -> None:
    """A generator that somebody else holds is not closed when the loop is left."""
    batches = iter(range(10))
    generator = (batch for batch in batches)
    with bench.training() as run:
        for batch in run.steps(generator):
            if batch == 3:
                break
        assert [4, 5] == list(itertools.islice(run.steps(generator), 2))
    assert [6, 7, 8, 9] == list(generator)
    assert {"ok": 6} == bench.ends()


def test_a_generator_that_nobody_holds_is_closed_by_a_break(bench: Bench) -> None:
    """Its `finally` runs right after the loop, as in a plain loop."""
    closed = []

    def batches() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    with bench.training() as run:
        for _ in run.steps(batches()):
            break
        assert [True] == closed


def test_a_loader_that_fails_fails_its_step_and_can_go_on(bench: Bench) -> None:
    """The exception of the loader arrives; the next batch is one more step."""
    with bench.training() as run:
        iterator = iter(run.steps(Loader("next")))
        with pytest.raises(RuntimeError, match="next"):
            next(iterator)
        assert [1, 2] == list(iterator)
    assert {"ok": 2, "RuntimeError": 1} == bench.ends()
    assert {"ok": 2, "RuntimeError": 1} == bench.ends(WAIT)


class Batch:
    """Something that can be referred to weakly."""


def test_a_batch_lives_no_longer_than_in_a_plain_loop(bench: Bench) -> None:
    """Deleted by the body it is gone at once; held by the loop's variable it goes with the next one."""

    def alive(loop: Callable[[Iterable[Batch]], Iterable[Batch]]) -> list[bool]:
        seen = []
        reference: Callable[[], Batch | None] = lambda: None  # noqa: E731 - stands for a reference to nothing

        def batches() -> Iterator[Batch]:
            for _ in range(3):
                seen.append(reference() is not None)
                yield Batch()

        for number, batch in enumerate(loop(batches())):
            seen.append(reference() is not None)
            reference = weakref.ref(batch)
            if number == 1:
                del batch
        seen.append(reference() is not None)
        return seen

    with bench.training() as run:
        assert alive(lambda batches: batches) == alive(lambda batches: run.steps(batches, units=lambda _: 1))


def test_batches_are_fetched_in_the_callers_thread(bench: Bench) -> None:
    """No thread or task of holter's stands between the loop and its loader."""
    with bench.training() as run:
        threads = list(run.steps(threading.get_ident() for _ in range(3)))
    assert [threading.get_ident()] * 3 == threads


def test_accumulated_batches_make_one_step(bench: Bench) -> None:
    """Ten batches, four a step: two whole steps and one of the two batches that are left."""

    def loader() -> Iterator[int]:
        yield from bench.loader(range(10), wait=1)
        bench.spend(100)

    with bench.training() as run:
        for _ in run.steps(loader(), accumulate=4):
            bench.spend(2)
        assert 3 == run.steps_done
    assert {"ok": 3} == bench.ends()
    assert 30 == bench.sum(STEP)
    assert 10 == bench.find(WAIT).total.count


def test_steps_inside_a_step_are_a_part_of_it(bench: Bench) -> None:
    """An explicit step around a loop over its micro-batches is one step, and has their waits."""
    batches = bench.loader(itertools.count(), wait=1)
    with bench.training() as run:
        for _ in range(3):
            with run.step():
                for _ in run.steps(itertools.islice(batches, 4)):
                    bench.spend(2)
        assert 3 == run.steps_done
    assert {"ok": 3} == bench.ends()
    assert 36 == bench.sum(STEP)
    assert 12 == bench.sum(WAIT)


def test_two_loaders_of_one_loop_make_one_step_a_turn(bench: Bench) -> None:
    """Zipped loaders are waited for one after the other, in the same step."""
    with bench.training() as run:
        for _ in zip(run.steps(bench.loader("abc", wait=1)), run.steps(bench.loader("defg", wait=2)), strict=False):
            bench.spend(3)
    assert {"ok": 3} == bench.ends()
    assert 18 == bench.sum(STEP)
    assert 9 == bench.sum(WAIT)


def test_an_iterator_may_be_held_across_epochs(bench: Bench) -> None:
    """A step whose loop nobody left ends with its epoch."""
    with bench.training() as run:
        batches = iter(run.steps(itertools.count()))
        for _ in run.epochs(3):
            for _ in range(2):
                next(batches)
                bench.spend(1)
            bench.spend(0)
        bench.spend(100)
    assert {"ok": 6} == bench.ends()
    assert 6 == bench.sum(STEP)


def test_threads_have_steps_of_their_own(bench: Bench) -> None:
    """Eight threads in one run: every step is counted once, none is taken for a part of another's."""
    barrier = threading.Barrier(8)

    def train() -> None:
        barrier.wait()
        for _ in run.steps(range(500)):
            pass
        for _ in range(100):
            with run.step():
                pass

    with bench.training() as run:
        threads = [threading.Thread(target=train) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 4_800 == run.steps_done
    assert {"ok": 4_800} == bench.ends()


def test_an_iterator_may_change_threads(bench: Bench) -> None:
    """Begun in one thread and continued in another, a loop's steps follow each other."""
    with bench.training() as run:
        batches = iter(run.steps(range(4)))
        next(batches)
        thread = threading.Thread(target=lambda: (next(batches), next(batches)))
        thread.start()
        thread.join()
        next(batches)
        assert [] == list(batches)
    assert {"ok": 4} == bench.ends()
    assert () == bench.snapshot().open_calls


_LEAVES = st.sampled_from(["end", "break", "raise", "hold"])


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3), _LEAVES, st.booleans()), max_size=12))
def test_every_step_is_counted_once(loops: list[tuple[int, int, str, bool]]) -> None:
    """However loops are left, one after the other: each step is in the totals once and none stays open."""
    bench, expected, failed, held = Bench(), 0, 0, []
    with bench.training() as run:
        for length, accumulate, leave, inner in loops:
            next(run.epochs(1))
            batches = run.steps(range(length), accumulate=accumulate)
            if leave == "hold":
                held.append(iter(batches))
                batches = held[-1]
            try:
                for batch in batches:
                    if inner:
                        with run.step():
                            list(run.steps("ab"))
                    if batch == length - 1 and leave == "raise":
                        raise KeyError  # noqa: TRY301 - how it leaves the loop is the subject
                    if batch == length - 1 and leave != "end":
                        break
            except KeyError:
                run.log(failed=1)
                failed += 1
                expected -= 1
            expected += -(-length // accumulate)
        next(run.epochs(1))
        assert expected == run.steps_done
    assert {"ok": expected, "KeyError": failed} == {"ok": 0, "KeyError": 0} | bench.ends()
    assert () == bench.snapshot().open_calls


def test_epochs_are_numbered(bench: Bench) -> None:
    """A number of epochs is counted from 0; the gauge holds the current one."""
    with bench.training() as run:
        for epoch in run.epochs(3):
            assert epoch == bench.find(names.TRAINING_EPOCH).total.last
            bench.spend(1)
    assert 2 == bench.find(names.TRAINING_EPOCH).total.last


def test_epochs_of_an_iterable_are_its_items(bench: Bench) -> None:
    """Resumed epochs keep their numbers, stages that have names are counted."""
    with bench.training() as run:
        for epoch in run.epochs(range(4, 6)):
            assert epoch == bench.find(names.TRAINING_EPOCH).total.last
            bench.spend(1)
        assert ["warm-up", "main"] == [bench.spend(1) or epoch for epoch in run.epochs(["warm-up", "main"])]
        assert 1 == bench.find(names.TRAINING_EPOCH).total.last


def test_a_resumed_run_goes_on_at_its_initial_step(bench: Bench) -> None:
    """Steps done and their share begin where the run before has stopped."""
    with bench.training(total_steps=200, initial_step=np.int64(100)) as run:
        assert 100 == run.steps_done
        assert 0.5 == bench.find(names.TRAINING_PROGRESS).total.last
        for _ in run.steps(range(50)):
            bench.spend(1)
    snapshot = bench.snapshot()
    assert 150 == snapshot.find(names.TRAINING_STEPS_DONE).total.last
    assert 200 == snapshot.find(names.TRAINING_STEPS_TOTAL).total.last
    assert 0.75 == snapshot.find(names.TRAINING_PROGRESS).total.last
    assert 50 == snapshot.find(STEP).total.count


def test_progress_can_be_watched_while_it_is_made() -> None:
    """Each interval reads the gauges; a run that is over leaves nothing behind to be read."""
    monitor = Monitor("test", samplers=())
    with monitor.training("fit", total_steps=4) as run:
        for batch in run.steps(range(4)):
            snapshot = monitor.snapshot()
            assert batch == snapshot.find(names.TRAINING_STEPS_DONE).total.last
            assert batch / 4 == snapshot.find(names.TRAINING_PROGRESS).total.last
    assert 1 == monitor.snapshot().find(names.TRAINING_PROGRESS).total.last
    reference = weakref.ref(run)
    del run
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    ("units", "samples"), [(len, 10), (4, 12), (lambda batch: np.int64(len(batch)), 10)], ids=["len", "number", "numpy"]
)
def test_samples_are_counted(bench: Bench, units: Any, samples: int) -> None:
    """A batch has as many samples as `units` says, given to the loop or to the run."""
    with bench.training(units=units) as run:
        for _ in run.steps(["abcd", "efgh", "ij"], units=units):
            pass
        for _ in run.steps(["abcd", "efgh", "ij"]):
            pass
    assert 2 * samples == bench.sum(names.TRAINING_SAMPLES)


def test_units_that_fail_are_counted_and_disturb_nothing(bench: Bench) -> None:
    """A function that raises and one that tells no number cost the count, not the batch."""
    with bench.training() as run:
        assert [1, 2] == list(run.steps([1, 2], units=len))
        assert [1, 2] == list(run.steps([1, 2], units=str))
    assert {"ok": 4} == bench.ends()
    assert {"units": 2} == bench.counts(names.INTERNAL_ERRORS)
    assert {names.TRAINING_SAMPLES: 4} == bench.counts(names.VALUES_REFUSED)


def test_phases_are_timed_by_name(bench: Bench) -> None:
    """A fresh timer for each use; phases may lie within each other and beside the steps."""
    with bench.training() as run:
        for _ in run.steps(range(3)):
            with run.phase("forward"):
                bench.spend(1)
                with run.phase("loss"):
                    bench.spend(2)
            with run.phase("backward"):
                bench.spend(4)
        with run.phase("evaluate"):
            bench.spend(8)
    seconds = {
        name: bench.sum(names.TRAINING_PHASE_DURATION, **{names.TRAINING_PHASE: name})
        for name in ("forward", "loss", "backward", "evaluate")
    }
    assert {"forward": 9, "loss": 6, "backward": 12, "evaluate": 8} == seconds


def test_a_phase_may_be_entered_again(bench: Bench) -> None:
    """One object, entered twice, times both."""
    with bench.training() as run:
        phase = run.phase("forward")
        with phase:
            bench.spend(1)
            with phase:
                bench.spend(2)
    assert 5 == bench.sum(names.TRAINING_PHASE_DURATION)


def test_a_phase_without_a_name_is_timed_and_counted(bench: Bench) -> None:
    """A name that is no text is refused, not raised."""
    with bench.training() as run, run.phase(3):
        bench.spend(1)
    assert 1 == bench.sum(names.TRAINING_PHASE_DURATION, **{names.TRAINING_PHASE: "_INVALID"})
    assert {"training.phase": 1} == bench.counts(names.INTERNAL_ERRORS)


def test_logged_values_are_gauges_of_their_own(bench: Bench) -> None:
    """Given as keywords or as a dict; a name of holter's own shadows nothing."""
    with bench.training() as run:
        for epoch in run.epochs(2):
            bench.spend(1)
            run.log(loss=1 / (epoch + 1), epoch=99)
            run.log({"eval": {"accuracy": np.float32(0.5)}}, lr=np.array(0.1))
    snapshot = bench.snapshot()
    last = {name: snapshot.find(f"holter.training.metric.{name}").total.last for name in ("loss", "epoch", "lr")}
    assert {"loss": 0.5, "epoch": 99, "lr": 0.1} == last
    assert 0.5 == snapshot.find("holter.training.metric.eval/accuracy").total.last
    assert 1 == snapshot.find(names.TRAINING_EPOCH).total.last


def test_all_figures_carry_name_and_rank(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rank is read where a launcher tells it, the one among all processes first."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("SLURM_PROCID", "nonsense")
    monkeypatch.setenv("RANK", "5")
    with bench.training("fit", total_steps=1, parameters={"lr": 0.1}) as run:
        for _ in run.epochs(1):
            for _ in run.steps("a", units=1):
                with run.phase("forward"):
                    run.log(loss=1)
    snapshot = bench.snapshot()
    recorded = [
        snapshot.series[key] for key in snapshot.total if snapshot.series[key].name.startswith("holter.training")
    ]
    assert 11 == len(recorded)
    for series in recorded:
        assert ("fit", 5) == (series.attributes["holter.training.name"], series.attributes["holter.training.rank"])


def test_parameters_are_attributes_of_one_figure(bench: Bench) -> None:
    """What a run was started with stands beside it once."""
    with bench.training(parameters={"lr": 3e-4, "optimizer": {"name": "adam", "betas": (1, 2)}}):
        pass
    snapshot = bench.snapshot()
    (info,) = (snapshot.series[key] for key in snapshot.total if snapshot.series[key].name == names.TRAINING_INFO)
    expected = {"holter.training.name": "fit", "lr": 3e-4, "optimizer/name": "adam"}
    assert expected == {key.removeprefix("holter.training.parameter."): value for key, value in info.attributes.items()}
    assert {"holter.training.parameter.optimizer/betas": 1} == bench.counts(names.VALUES_REFUSED)


def test_the_open_step_is_listed_while_it_runs(bench: Bench) -> None:
    """From the wait for its data to its end, under the run's name; no call is counted for it."""
    seen = []

    def listed() -> list[tuple[str, float]]:
        return [(call.name, call.age_seconds) for call in bench.snapshot().open_calls]

    def loader() -> Iterator[int]:
        bench.spend(2)
        seen.extend(listed())
        yield 1

    with bench.training("finetune") as run:
        assert [] == listed()
        for _ in run.steps(loader()):
            bench.spend(3)
            seen.extend(listed())
            break
        assert [] == listed()
        with run.step():
            seen.extend(listed())
    assert [("finetune", 2), ("finetune", 5), ("finetune", 0)] == seen
    assert [] == [series for series in bench.snapshot().series.values() if series.name.startswith("holter.call")]


def test_a_run_is_timed_with_its_outcome(bench: Bench) -> None:
    """From entering to leaving, once each time."""
    for _ in range(2):
        with bench.training():
            bench.spend(7)
    assert {"ok": 2} == bench.ends(names.TRAINING_RUN_DURATION)
    assert 14 == bench.sum(names.TRAINING_RUN_DURATION)


def test_outside_of_its_with_a_run_records_nothing(bench: Bench) -> None:
    """Before and after, everything works and is counted as refused; nothing is raised."""
    run = bench.training()
    for _ in range(2):
        assert [1, 2] == list(run.steps([1, 2], units=len))
        assert [0, 1] == list(run.epochs(2))
        with run.step(), run.phase("forward"):
            run.log(loss=1)
        with run:
            pass
    assert {} == bench.ends() | bench.ends(WAIT) | bench.ends(names.TRAINING_PHASE_DURATION)
    # For each round: three asks for a batch, two epochs, a step, a phase and a value.
    assert {"training": 16} == bench.counts(names.INTERNAL_ERRORS)


def test_an_iterator_that_outlives_its_run_closes_its_step(bench: Bench) -> None:
    """The step that was open ends with the run, what is iterated later is passed on only."""
    with bench.training() as run:
        batches = iter(run.steps(range(3)))
        next(batches)
    assert [1, 2] == list(batches)
    assert {"ok": 1} == bench.ends()


@pytest.mark.parametrize("goes_on", [True, False])
def test_another_threads_step_that_outlives_the_run_is_recorded(bench: Bench, *, goes_on: bool) -> None:
    """It belongs to nobody else: continued or dropped after the run's end it is counted then."""
    with bench.training() as run:
        batches = iter(run.steps(range(3)))
        thread = threading.Thread(target=next, args=(batches,))
        thread.start()
        thread.join()
    assert {} == bench.ends()
    assert 1 == len(bench.snapshot().open_calls)
    if goes_on:
        assert [1, 2] == list(batches)
    else:
        del batches
    assert {"ok": 1} == bench.ends()
    assert () == bench.snapshot().open_calls


def test_strict_raises_what_is_refused(bench: Bench) -> None:
    """In tests and staging a mistake is seen where it is made."""
    bench.scope.guard.strict = True
    with pytest.raises(TypeError, match="a run that is open"):
        bench.training().log(loss=1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": 3}, "expected a name"),
        ({"name": ""}, "expected a name"),
        ({"total_steps": 0}, "expected total_steps as a whole number that is at least 1, got 0"),
        ({"total_steps": -1}, "at least 1"),
        ({"total_steps": 1e4}, "whole number"),
        ({"total_steps": True}, "whole number"),
        ({"initial_step": -1}, "expected initial_step as a whole number that is at least 0, got -1"),
        ({"initial_step": None}, "whole number"),
        ({"parameters": [("lr", 1)]}, "expected parameters as a dict"),
        ({"parameters": {1: 2}}, "names of parameters as str"),
        ({"units": "len"}, "expected units"),
        ({"units": -1}, "expected units"),
    ],
)
def test_mistakes_are_told_when_the_run_is_made(bench: Bench, arguments: dict[str, Any], expected: str) -> None:
    """What was expected and what came stand in the error."""
    with pytest.raises(ConfigurationError, match=expected):
        bench.training(**{"name": "fit", **arguments})


def test_a_mistake_in_accumulate_is_counted(bench: Bench) -> None:
    """In the middle of a training nothing is raised: each batch is a step then."""
    with bench.training() as run:
        assert [1, 2] == list(run.steps([1, 2], accumulate=0))
    assert {"ok": 2} == bench.ends()
    assert {"training.steps": 1} == bench.counts(names.INTERNAL_ERRORS)


def _produce(batches: Any) -> None:
    for size in (20, 35, 5, 25, 40, 30, 10, 45):
        time.sleep(size / 1000)
        batches.put(bytes(size))
    batches.put(None)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_wait_on_a_slow_loader_of_another_process(method: str) -> None:
    """Batches that a process takes its time to make: the wait agrees with an independent clock within 5 %."""
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    producer = context.Process(target=_produce, args=(queue,), daemon=True)
    waited: list[float] = []

    class Timed:
        def __iter__(self) -> Timed:
            return self

        def __next__(self) -> bytes:
            begun = time.perf_counter()
            batch = queue.get()
            if batch is None:
                raise StopIteration
            waited.append(time.perf_counter() - begun)
            return batch

    monitor = Monitor("test", samplers=())
    producer.start()
    begun = time.perf_counter()
    with monitor.training("fit") as run:
        for batch in run.steps(Timed(), units=len):
            ended = time.perf_counter() + len(batch) / 4000
            while time.perf_counter() < ended:
                pass
    elapsed = time.perf_counter() - begun
    producer.join()
    queue.close()
    snapshot = monitor.snapshot()
    waits, steps = snapshot.find(WAIT), snapshot.find(STEP)
    assert 8 == waits.total.count == steps.total.count
    assert sum(waited) == pytest.approx(waits.total.sum, rel=0.05)
    assert max(waited) == pytest.approx(waits.total.maximum, rel=0.05)
    assert 210 == snapshot.find(names.TRAINING_SAMPLES).total.sum
    assert waits.total.sum < steps.total.sum <= elapsed
