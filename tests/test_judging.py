"""The checks of a monitor: asked in threads of their own, each alert let through once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.snapshots import Story, alert
from holter.judging import MOST_ALERTS_KEPT, PATIENCE_SECONDS, Judges
from holter.lookout import MOST_WAITING
from holter.model import Alert, Observation, Process, Snapshot
from holter.names import INTERNAL_ERRORS, PLACE
from holter.wanted import Wanted
from recording import Recording

SOON = 20.0


class Check:
    """Says what it is told to."""

    def __init__(self, judge: Callable[[Snapshot], Any]) -> None:
        self._judge = judge

    def judge(self, snapshot: Snapshot) -> Any:
        """Say it."""
        return self._judge(snapshot)


class Bench:
    """Judges in their threads."""

    def __init__(self, *judgements: Callable[[Snapshot], Any]) -> None:
        self.recording, self.story = Recording(), Story()
        self.judges = Judges(self.recording.scope, [Check(judgement) for judgement in judgements])
        self._start()

    @classmethod
    def of(cls, path: Path, *checks: Any) -> Bench:
        """Return judges of *checks* that keep in the file at *path* what they have learnt."""
        made = cls()
        made.judges = Judges(made.recording.scope, checks, path)
        made._start()
        return made

    def _start(self) -> None:
        self.threads = [threading.Thread(target=delivery.run, daemon=True) for delivery in self.judges.deliveries]
        for thread in self.threads:
            thread.start()

    def ask(self, *, patiently: bool = True) -> list[str]:
        """Ask about the next interval, with one call in it; return the ids of the alerts that are new."""
        self.story.call("predict", [0.1])
        deadline = time.monotonic() + SOON
        return [one.id for one in self.judges.ask(self.story.snapshot(1.0), deadline, patiently=patiently)]

    def close(self) -> None:
        """End the threads."""
        for delivery in self.judges.deliveries:
            delivery.close(time.monotonic() + SOON)
        for thread in self.threads:
            thread.join(SOON)
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def benches() -> Iterator[Callable[..., Bench]]:
    """Makes judges, whose threads end with the test."""
    made: list[Bench] = []

    def make(*judgements: Callable[[Snapshot], Any]) -> Bench:
        made.append(Bench(*judgements))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_alerts_come_in_the_order_of_the_checks(benches: Callable[..., Bench]) -> None:
    """Whichever of them is done first."""
    slow, fast = (lambda _: time.sleep(0.05) or [alert(id="slow")]), (lambda _: [alert(id="fast")])
    assert ["slow", "fast"] == benches(slow, fast).ask()


def test_an_alert_fires_once_and_resolves_once(benches: Callable[..., Bench]) -> None:
    """Whatever is repeated, also within one answer; what never fired does not resolve."""
    says = [["firing", "firing"], ["firing"], ["resolved"], ["resolved"], ["firing"]]
    bench = benches(lambda _: [alert(id="a", state=state) for state in says.pop(0)])
    assert [["a"], [], ["a"], [], ["a"]] == [bench.ask() for _ in range(5)]
    assert [] == benches(lambda _: [alert(state="resolved")]).ask()


def test_a_check_that_hangs_hangs_alone(benches: Callable[..., Bench]) -> None:
    """It is waited for once and not again; the others answer; what it missed is one interval when it is back."""
    hanging, free, seen = threading.Event(), threading.Event(), []

    def hang(snapshot: Snapshot) -> list[Alert]:
        seen.append(sum(reading.count for reading in snapshot.interval.values()))
        hanging.set()
        free.wait()
        return [alert(id="late")]

    numbers = iter("abcdef")
    bench = benches(hang, lambda _: [alert(id=next(numbers))])
    begun = time.monotonic()
    assert ["a"] == bench.ask(patiently=False)
    assert hanging.is_set()
    assert PATIENCE_SECONDS <= time.monotonic() - begun < SOON
    begun = time.monotonic()
    assert [["b"], ["c"], ["d"]] == [bench.ask() for _ in range(3)]
    assert time.monotonic() - begun < SOON
    free.set()
    assert bench.judges.deliveries[0].wait_until_idle(time.monotonic() + SOON)
    assert ["late", "e"] == bench.ask()
    assert [1, 3, 1] == seen


@pytest.mark.parametrize(
    "wrong", [{"state": "ok"}, {"severity": "page"}, {"since_ns": 1.5}, {"id": 7}, {"message": None}, {"related": (1,)}]
)
def test_an_alert_with_fields_of_another_kind_is_the_error_of_its_check(
    benches: Callable[..., Bench], wrong: dict[str, Any]
) -> None:
    """It is counted, and the alerts of others are told."""
    bench = benches(lambda _: [alert(**wrong)], lambda _: [alert(id="right")])
    assert [["right"], []] == [bench.ask() for _ in range(2)]
    assert 2 == bench.recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "check Check"}).total.sum


def test_a_strict_scope_asks_in_the_thread_of_the_caller(benches: Callable[..., Bench]) -> None:
    """So that what a check raises is raised there."""
    threads: list[int] = []
    bench = benches(lambda _: threads.append(threading.get_ident()) or [], lambda _: 1 / 0)
    bench.recording.scope.guard.strict = True
    with pytest.raises(ZeroDivisionError):
        bench.ask()
    assert [threading.get_ident()] == threads


def test_what_is_kept_is_bounded(benches: Callable[..., Bench]) -> None:
    """A thousand alerts, of which those that have resolved go first."""
    numbers = iter(range(10**6))

    def invent(_: Snapshot) -> list[Alert]:
        return [alert(id=str(next(numbers)), state="firing") for _ in range(600)]

    bench = benches(lambda _: [alert(id="a"), alert(id="b"), alert(id="b", state="resolved")], invent)
    for _ in range(3):
        bench.ask()
    assert MOST_ALERTS_KEPT == len(bench.judges.alerts)
    assert "b" not in bench.judges.alerts


# -- what outlives the process


class Counting:
    """A check that counts snapshots, fires at the third, and resolves at the fifth, in whichever process."""

    def __init__(self) -> None:
        self.count, self.gaps = 0, []

    def __repr__(self) -> str:
        return "Counting()"

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Count."""
        del snapshot
        self.count += 1
        states = {3: "firing", 5: "resolved"}
        return [alert(id="counted", state=states[self.count])] if self.count in states else []

    def save(self) -> dict[str, int]:
        """Return the count."""
        return {"count": self.count}

    def load(self, state: dict[str, int], gap_seconds: float) -> None:
        """Go on."""
        self.count = state["count"]
        self.gaps.append(gap_seconds)

    def figures(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Show the count, and what is no number."""
        yield "app.count", float(self.count), {"who": "me"}
        yield "app.nothing", "three", {}


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes judges of one service, one process after the other."""
    made: list[Bench] = []

    def make(*checks: Any) -> Bench:
        made.append(Bench.of(tmp_path / "service.checks", *checks))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_the_next_process_goes_on_with_checks_and_alerts(
    keeping: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """What fired is no new alert, which the log says, and resolves once, with the id that it had."""
    first, second = keeping(Counting()), Counting()
    assert [[], [], ["counted"], []] == [first.ask() for _ in range(4)]
    bench = keeping(second)
    assert [] == caplog.messages
    assert [["counted"], []] == [bench.ask() for _ in range(2)]
    assert ["resolved"] == [one.state for one in bench.judges.alerts.values()]
    assert ["holter: firing already: predict is slow"] == caplog.messages
    assert (6, 1) == (second.count, len(second.gaps))
    assert 0 <= second.gaps[0] < 10
    third = keeping(Counting())
    assert [] == third.ask()
    assert {} == third.judges.alerts


def test_who_comes_to_judge_again_reads_what_another_one_has_learnt(keeping: Callable[..., Bench]) -> None:
    """As a leader that was replaced for a while."""
    first, second = keeping(mine := Counting()), keeping(Counting())
    first.ask()
    assert [] == first.judges.ask(None, 0.0, patiently=False)
    assert [[], ["counted"]] == [second.ask() for _ in range(2)]
    assert [[], ["counted"]] == [first.ask() for _ in range(2)]
    assert 5 == mine.count


def test_checks_are_known_by_what_they_say_of_themselves(keeping: Callable[..., Bench]) -> None:
    """Two that are equal stay apart by their order; one of another kind, or with other settings, begins anew."""

    class Other(Counting):
        def __repr__(self) -> str:
            return "Other()"

    keeping(Counting(), Counting(), Other()).ask()
    again = [Other(), Counting(), Counting()]
    again[2].count = 10
    bench = keeping(*again)
    bench.ask()
    assert [2, 2, 2] == [check.count for check in again]
    new = Counting()
    new.__class__ = type("New", (Counting,), {"__repr__": lambda _: "Counting(window_seconds=3)"})
    keeping(new).ask()
    assert 1 == new.count


def test_what_cannot_be_saved_or_loaded_is_counted_and_harms_nobody(
    keeping: Callable[..., Bench], tmp_path: Path
) -> None:
    """Neither the check itself, which goes on, nor the others."""

    class Bad(Counting):
        def __repr__(self) -> str:
            return "Bad()"

        def save(self) -> Any:
            return {"a": object()} if self.count < 3 else {"count": [1] * 2**21}

        def load(self, state: Any, gap_seconds: float) -> None:
            raise ValueError

    bad, good = Bad(), Counting()
    bench = keeping(bad, good)
    assert [[], [], ["counted"]] == [bench.ask() for _ in range(3)]
    assert 3 == bench.recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "check Bad save"}).total.sum
    path = tmp_path / "service.checks"
    path.write_text(path.read_text().replace('"checks":{', '"checks":{"Bad()":{"state":{"count":7},"alerts":[]},'))
    bench = keeping(Bad(), good := Counting())
    bench.ask()
    assert 4 == good.count
    assert 1 == bench.recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "check Bad load"}).total.sum


@pytest.mark.parametrize("answer", [False, ValueError])
def test_alerts_of_what_cannot_go_on_are_forgotten(keeping: Callable[..., Bench], answer: Any) -> None:
    """Nobody would ever resolve them; a check that begins anew may fire again."""

    class Refusing(Counting):
        def __repr__(self) -> str:
            return "Counting()"

        def load(self, state: Any, gap_seconds: float) -> Any:
            if answer is False:
                return False
            raise answer

    first = keeping(Counting())
    assert [[], [], ["counted"]] == [first.ask() for _ in range(3)]
    bench = keeping(Refusing())
    assert [] == bench.ask()
    assert {} == bench.judges.alerts
    assert [[], ["counted"]] == [bench.ask() for _ in range(2)]


def test_a_file_that_is_damaged_is_set_aside_and_the_checks_begin_anew(
    keeping: Callable[..., Bench], tmp_path: Path
) -> None:
    """And the next one finds what they have learnt since."""
    (tmp_path / "service.checks").write_text('{"holter_checks": 1, "saved')
    first = Counting()
    keeping(first).ask()
    assert 1 == first.count
    assert {"service.checks", "service.checks.aside"} == {path.name for path in tmp_path.iterdir()}
    second = Counting()
    keeping(second).ask()
    assert 2 == second.count


def test_a_folder_that_is_full_costs_the_memory_and_nothing_else(
    keeping: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and counted."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holter.learnt.write", full)
    bench = keeping(Counting())
    assert [[], [], ["counted"]] == [bench.ask() for _ in range(3)]
    assert 3 == bench.recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "state of checks"}).total.sum


def test_what_checks_show_is_there_while_this_process_judges(keeping: Callable[..., Bench]) -> None:
    """Numbers with their attributes; what is none is left out."""
    bench = keeping(Counting())
    assert [] == list(bench.judges.figures)
    bench.ask()
    assert [("app.count", 1.0, {"who": "me"})] == list(bench.judges.figures)
    bench.judges.ask(None, 0.0, patiently=False)
    assert [] == list(bench.judges.figures)


def test_a_check_that_does_not_remember_leaves_no_file(keeping: Callable[..., Bench], tmp_path: Path) -> None:
    """Nothing is written for checks that have no save and load."""
    keeping(Check(lambda _: [])).ask()
    assert [] == list(tmp_path.iterdir())


# -- checks that judge each process by itself


class OfItself(Counting):
    """Counts by itself in each process, and fires at the third."""

    own_process = True

    def __repr__(self) -> str:
        return "Counting()"


def test_a_check_of_one_process_is_asked_about_that_process_whoever_leads(keeping: Callable[..., Bench]) -> None:
    """The other checks are asked about all processes, and only where this one leads; both say what they said once."""
    whole, own = [], []
    bench = keeping(Check(lambda one: whole.append(one.time_ns) or []), mine := OfItself())
    mine.judge = lambda one: own.append(one.time_ns) or [alert(id="mine")]  # type: ignore[method-assign]
    of_all, of_one = bench.story.snapshot(1.0), bench.story.snapshot(1.0)
    deadline = time.monotonic() + SOON
    assert ["mine"] == [one.id for one in bench.judges.ask(None, deadline, patiently=True, own=of_one)]
    assert [] == bench.judges.ask(of_all, deadline, patiently=True, own=of_one)
    assert [] == bench.judges.ask(of_all, deadline, patiently=True)
    assert ([of_all.time_ns] * 2, [of_one.time_ns, of_one.time_ns, of_all.time_ns]) == (whole, own)


def test_what_a_check_says_of_one_process_names_it(keeping: Callable[..., Bench]) -> None:
    """And its figures are shown whoever leads."""
    bench = keeping(mine := OfItself())
    own = replace(bench.story.snapshot(1.0), process=Process("service", pid=4121))
    for _ in range(3):
        bench.judges.ask(None, time.monotonic() + SOON, patiently=True, own=own)
    assert [{"process.pid": 4121}] == [
        {name: value for name, value in one.evidence.items() if name == "process.pid"}
        for one in bench.judges.alerts.values()
    ]
    assert [("app.count", float(mine.count), {"who": "me"})] == list(bench.judges.figures)


def test_what_is_of_one_process_is_not_told_to_the_next(keeping: Callable[..., Bench], tmp_path: Path) -> None:
    """Nothing of it is written, nor read where a check of the same name has left something."""
    keeping(OfItself()).ask()
    assert [] == list(tmp_path.iterdir())
    keeping(Counting()).ask()
    keeping(again := OfItself()).ask()
    assert 1 == again.count


def test_alerts_that_go_on_are_told_of_once_to_other_processes(keeping: Callable[..., Bench]) -> None:
    """Who takes them over writes them down, with the check that they are of."""
    first = keeping(Counting())
    assert [[], [], ["counted"]] == [first.ask() for _ in range(3)]
    assert [("counted", repr(Counting()))] == [(one.id, one.source) for one in first.judges.alerts.values()]
    second = keeping(Counting())
    second.ask()
    assert [("counted", repr(Counting()), "firing")] == [
        (one.id, one.source, one.state) for one in second.judges.changed
    ]
    second.ask()
    assert ["resolved"] == [one.state for one in second.judges.changed]
    second.ask()
    assert [] == second.judges.changed


# -- checks that look at data


class Looking:
    """Says of what it sees what it is told to."""

    def __init__(self, call: Any, observe: Callable[[Observation], Any]) -> None:
        self.observes = [Wanted.of(call, "outputs")]
        self.observe = observe

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Say nothing."""
        del snapshot
        return []


def looking(bench: Bench, *observe: Callable[[Observation], Any]) -> Callable[[], None]:
    """Have checks look at a function from now on; return what calls it once and has them look."""
    predict = bench.recording.watch(lambda: 1, name="predict")
    bench.judges = Judges(bench.recording.scope, [Looking(predict, one) for one in observe])
    bench._start()

    def once() -> None:
        predict()
        bench.judges.look(time.monotonic() + SOON, patiently=True)

    return once


def test_what_a_check_counts_is_recorded(benches: Callable[..., Bench]) -> None:
    """As counters, whichever process judges; a check need not count."""
    bench, seen = benches(), []
    once = looking(bench, lambda one: [("app.seen", one.count, {"a": 1}), ("app.seen", 2, {})], seen.append)
    once()
    once()
    snapshot = bench.recording.snapshot()
    assert (6, 2, 2) == (
        snapshot.find("app.seen").total.sum,
        snapshot.find("app.seen", {"a": 1}).total.sum,
        len(seen),
    )


@pytest.mark.parametrize(
    "observe",
    [
        lambda _: 1 / 0,
        lambda _: 3,
        lambda _: [("app.seen", float("nan"), {})],
        lambda _: [("app.seen", -1, {})],
        lambda _: [(3, 1, {})],
        lambda _: ["app.seen"],
    ],
)
def test_a_check_that_looks_and_fails_is_counted(benches: Callable[..., Bench], observe: Any) -> None:
    """The others go on, and so does it with the next that it sees."""
    bench, seen = benches(), []
    once = looking(bench, observe, seen.append)
    once()
    once()
    snapshot = bench.recording.snapshot()
    assert (2, 2) == (snapshot.find(INTERNAL_ERRORS, {PLACE: "check Looking observe"}).total.sum, len(seen))
    assert not any(snapshot.series[key].name == "app.seen" for key in snapshot.interval)


def test_a_check_that_hangs_when_it_looks_hangs_alone(benches: Callable[..., Bench]) -> None:
    """The others look on; while it is behind, no more is sampled than there is room for."""
    bench, seen, free = benches(), [], threading.Event()
    once = looking(bench, lambda _: free.wait(SOON) and None, seen.append)
    predict = bench.recording.watch(lambda: 2, name="predict")
    try:
        predict()
        bench.judges.look(time.monotonic() + SOON, patiently=False)
        for _ in range(20):
            for _ in range(50):
                predict()
            bench.judges.look(time.monotonic() + SOON, patiently=False)
        assert bench.judges.deliveries[1].wait_until_idle(time.monotonic() + SOON)
        behind = bench.judges._judges[0].show(())
        assert 0 < behind <= MOST_WAITING
        assert len(seen) >= behind
    finally:
        free.set()
    assert bench.judges.deliveries[0].wait_until_idle(time.monotonic() + SOON)
    once()
    assert 0 == bench.judges._judges[0].show(())


class Sharing:
    """Hands on how many rows it has seen."""

    def __init__(self) -> None:
        self.observes = [Wanted("predict", "outputs")]
        self.rows, self.gathered = (0,), list[Any]()

    def __repr__(self) -> str:
        return "Sharing()"

    def observe(self, observation: Observation) -> None:
        """Count."""
        self.rows = (self.rows[0] + observation.count,)

    def share(self) -> Any:
        """Return it, as what JSON makes a list of."""
        rows, self.rows = self.rows, (0,)
        return {"rows": rows} if rows[0] else None

    def gather(self, share: Any) -> None:
        """Keep it."""
        self.gathered.append(share)

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Say nothing."""
        del snapshot
        return []


def test_a_share_goes_where_it_is_judged(keeping: Callable[..., Bench]) -> None:
    """From one that does not lead through a file; that of one that leads comes the same way round, without a file."""
    mine, its = Sharing(), Sharing()
    # What was seen before, the parent of a forked child hands on itself.
    mine.rows = its.rows = (7,)
    member, leader = keeping(mine), keeping(its)
    deadline = time.monotonic() + SOON
    for bench in (member, leader):
        predict = bench.recording.watch(lambda: [1, 2], name="predict")
        bench.judges.look(deadline, patiently=True)
        bench.judges.ask(bench.story.snapshot(1.0) if bench is leader else None, deadline, patiently=True)
        predict()
        bench.judges.look(deadline, patiently=True)
    assert ([], [{"rows": [2]}]) == (mine.gathered, its.gathered)
    leader.ask()
    assert ([], [{"rows": [2]}] * 2) == (mine.gathered, its.gathered)
    leader.ask()
    assert 2 == len(its.gathered)
