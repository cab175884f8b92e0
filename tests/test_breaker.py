"""When the fallback serves and when the primary: states and their times, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.snapshots import alert
from contracts.watched import SECOND_NS, Time
from holter.breaker import GRACE_NS, Breaker, Patience, Switch
from holter.model import Alert
from holter.trials import Probation, Terms, Trials

RETRY, LONGEST = 60.0, 3_600.0
MOST_AN_HOUR = 9


class Bench:
    """A breaker, and the alerts that there are; those whose id begins with "other" hold."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.time = Time()
        patience = Patience(round(RETRY * SECOND_NS), round(LONGEST * SECOND_NS))
        self.breaker = Breaker(terms or Terms(), patience, lambda alert: alert.id.startswith("other"))
        self.alerts: dict[str, Alert] = {}
        self.left_ns: list[int] = []

    def fire(self, key: str) -> None:
        """Let an alert fire."""
        self.alerts[key] = alert(id=key)

    def resolve(self, key: str) -> None:
        """Let it resolve."""
        self.alerts[key] = alert(id=key, state="resolved")

    def turn(self, seconds: float = 0.0) -> Switch | None:
        """Let time pass, and tell of the alerts."""
        self.time.spend(seconds)
        switch = self.breaker.turn(self.alerts, self.time)
        if switch is not None and switch.to == "fallback":
            self.left_ns.append(self.time.now_ns)
        return switch

    def call(self, *, good: bool = True, seconds: float = 0.0) -> bool:
        """Make a call that is measured; return whether that may be."""
        permit = None if self.breaker.measured is None else self.breaker.measured.claim()
        if permit is None:
            return False
        permit.resume()
        self.time.spend(seconds)
        permit.settle(None if good else ValueError())
        return True

    def come_back(self) -> None:
        """Go through the cool-down and good trials."""
        while self.breaker.state == "fallback":
            self.turn(RETRY)
        while self.call():
            pass
        assert "primary" == self.turn().to  # type: ignore[union-attr]  # where it is None, the test fails as well

    def reasons(self, *turns: float) -> list[Any]:
        """Return what each of several turns, after so many seconds, has to say."""
        return [None if switch is None else (switch.to, switch.reason) for switch in map(self.turn, turns)]


def test_an_alert_leads_to_the_fallback_and_trials_lead_back() -> None:
    """It is left at once, tried after the cool-down, and serves again when the trials went well."""
    bench = Bench()
    assert [None, None] == bench.reasons(0, 1)
    bench.fire("burn")
    assert [("fallback", "alert"), None, None] == bench.reasons(1, 1, RETRY - 1.1)
    bench.resolve("burn")
    assert [("trial", "cooled_down"), None] == bench.reasons(0.2, 1)
    assert 20 == sum(bench.call() for _ in range(100))
    assert [("primary", "trial_passed"), None] == bench.reasons(1, 1)
    assert bench.breaker.measured is None


def test_a_trial_that_fails_doubles_the_cool_down_up_to_its_bound() -> None:
    """And each is said in words."""
    bench = Bench()
    bench.fire("burn")
    bench.turn()
    begun, waited = bench.time.now_ns, []
    for _ in range(9):
        while bench.turn(1) is None:
            pass
        waited.append(round((bench.time.now_ns - begun) / SECOND_NS))
        bench.call(good=False)
        bench.call(good=False)
        assert not bench.call()
        begun, switch = bench.time.now_ns, bench.turn()
        assert ("fallback", "trial_failed") == (switch.to, switch.reason)  # type: ignore[union-attr]  # as above
    assert [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600] == waited
    assert "of 2 trials, 2 failed; it is tried again after 1 h" == switch.words  # type: ignore[union-attr]  # as above


def test_an_alert_that_holds_keeps_trials_away_while_it_fires() -> None:
    """It sees how things are although nobody calls the primary."""
    bench = Bench()
    bench.fire("other")
    assert [("fallback", "alert"), None, None] == bench.reasons(0, RETRY, 10 * RETRY)
    bench.resolve("other")
    assert [("trial", "cooled_down")] == bench.reasons(1)


def test_an_alert_during_trials_ends_them() -> None:
    """No call that has not begun begins then."""
    bench = Bench()
    bench.fire("burn")
    bench.turn()
    bench.turn(RETRY)
    trials = bench.breaker.measured
    bench.fire("other")
    assert [("fallback", "alert")] == bench.reasons(1)
    assert isinstance(trials, Trials)
    assert trials.claim() is None


def test_the_same_alert_does_not_lead_away_again() -> None:
    """An objective's goes on for hours after all is well; that is what probation is for."""
    bench = Bench()
    bench.fire("burn")
    bench.turn()
    bench.come_back()
    assert [None] * 3 == bench.reasons(1, 3_600, 36_000)
    assert isinstance(bench.breaker.measured, Probation)
    bench.resolve("burn")
    assert [None] == bench.reasons(1)
    assert bench.breaker.measured is None
    bench.fire("burn")
    assert [("fallback", "alert")] == bench.reasons(1)


def test_a_relapse_on_probation_leads_away() -> None:
    """Where the alert still fires, nobody else would tell; as many bad calls as are allowed do not."""
    bench = Bench()
    bench.fire("burn")
    bench.turn()
    bench.come_back()
    for _ in range(300):
        for place in range(20):
            bench.call(good=place != 0)
        assert bench.turn(1) is None
    for _ in range(8):
        bench.call(good=False)
    assert [("fallback", "relapse")] == bench.reasons(1)


def test_an_alert_that_is_not_told_of_for_a_moment_still_fires() -> None:
    """While another process comes to lead, nobody tells; after ten seconds it is over."""
    bench = Bench()
    bench.fire("other")
    bench.turn()
    told, bench.alerts = bench.alerts, {}
    assert [None, None] == bench.reasons(1, 1)
    bench.alerts = told
    assert [None, None] == bench.reasons(1, RETRY)
    bench.alerts = {}
    assert [None, ("trial", "cooled_down")] == bench.reasons(GRACE_NS / SECOND_NS - 0.1, 0.1)


def test_calls_that_hang_fail_the_trial() -> None:
    """Where nobody says how long one may take, none takes longer than the fallback has served."""
    bench = Bench(Terms(calls=1))
    bench.fire("burn")
    bench.turn()
    bench.turn(RETRY)
    assert bench.breaker.measured is not None
    permit = bench.breaker.measured.claim()
    assert permit is not None
    permit.resume()
    assert [None, ("fallback", "trial_failed")] == bench.reasons(RETRY, 0.1)
    permit.settle()
    assert [None] == bench.reasons(0)


def test_without_anybody_who_watches_the_primary_serves() -> None:
    """And what was known is forgotten."""
    bench = Bench()
    assert bench.breaker.stop() is None
    bench.fire("burn")
    bench.turn()
    switch = bench.breaker.stop()
    assert ("primary", "stopped", "primary") == (switch.to, switch.reason, bench.breaker.state)  # type: ignore[union-attr]  # as above
    assert [("fallback", "alert")] == bench.reasons(0)


def served(pauses: tuple[float, ...]) -> Bench:
    """Return what became of a primary that serves for each of *pauses* until an alert fires, all trials good."""
    bench = Bench()
    for number, seconds in enumerate(pauses):
        bench.time.spend(seconds)
        bench.fire(f"burn {number}")
        assert bench.turn() is not None
        bench.resolve(f"burn {number}")
        bench.come_back()
    return bench


def test_flapping_is_bounded() -> None:
    """Whatever alerts do, and however well trials go, it is left nine times in an hour at most."""
    hour_ns, most, pauses = 3_600 * SECOND_NS, 0, [(0.0,)]
    # All that an adversary can do: to serve longer than a multiple of ten cool-downs only costs them time.
    while pauses:
        tried = pauses.pop()
        bench = served(tried)
        most = max(most, sum(left - bench.left_ns[0] < hour_ns for left in bench.left_ns))
        if bench.time.now_ns - bench.left_ns[0] < hour_ns:
            pauses += [(*tried, RETRY * 10 * number) for number in range(6)]
    assert MOST_AN_HOUR == most


@pytest.mark.parametrize("seconds", [1.0, 30.0, 59.0, 61.0])
def test_an_alert_that_toggles_is_outlasted(seconds: float) -> None:
    """One that fires and resolves all the time, in a day of it, costs no more switches than an hour may have."""
    bench = Bench()
    for number in range(round(86_400 / seconds)):
        bench.fire(f"burn {number}") if number % 2 == 0 else bench.resolve(f"burn {number - 1}")
        bench.turn(seconds)
        while bench.call():
            pass
        bench.alerts = {key: alert for key, alert in bench.alerts.items() if alert.state == "firing"}
    for start in bench.left_ns:
        assert MOST_AN_HOUR >= sum(0 <= left - start < 3_600 * SECOND_NS for left in bench.left_ns)
    assert len(bench.left_ns) > 20


class Course(RuleBasedStateMachine):
    """Anything that alerts, calls and time can do."""

    @initialize(calls=st.sampled_from([1, 2, 20]), tolerance=st.sampled_from([0.0, 0.05, 0.5]))
    def begin(self, calls: int, tolerance: float) -> None:
        """Make a breaker."""
        self.bench = Bench(Terms(calls=calls, tolerance=tolerance))
        self.running: list[Any] = []
        self.has_fired = False
        self.before = "primary"

    @rule(key=st.sampled_from(["burn", "burn 2", "other"]))
    def fire(self, key: str) -> None:
        """An alert fires."""
        self.bench.fire(key)
        self.has_fired = True

    @rule(key=st.sampled_from(["burn", "burn 2", "other"]))
    def resolve(self, key: str) -> None:
        """It resolves, or nobody tells of it."""
        if key in self.bench.alerts:
            self.bench.resolve(key)

    @rule()
    def forget(self) -> None:
        """Nobody tells of anything."""
        self.bench.alerts.clear()

    @rule()
    def call(self) -> None:
        """A call begins, if it may."""
        measured = self.bench.breaker.measured
        permit = None if measured is None else measured.claim()
        if permit is not None:
            permit.resume()
            self.running.append(permit)

    @rule(error=st.sampled_from([None, None, None, ValueError(), GeneratorExit()]))
    def end(self, error: BaseException | None) -> None:
        """A call ends."""
        if self.running:
            self.running.pop().settle(error)

    @rule(seconds=st.sampled_from([0.0, 1.0, 61.0, 700.0, 4_000.0]))
    def turn(self, seconds: float) -> None:
        """An interval ends."""
        before, due_ns = self.bench.breaker.state, self.bench.breaker._due_ns
        switch = self.bench.turn(seconds)
        after = self.bench.breaker.state
        assert (switch.to if switch else before) == after
        allowed = {
            "primary": {"primary", "fallback"},
            "fallback": {"fallback", "trial"},
            "trial": {"trial", "primary", "fallback"},
        }
        assert after in allowed[before]
        holds = any(one.state == "firing" for key, one in self.bench.alerts.items() if key == "other")
        if (before, after) == ("fallback", "trial"):
            assert self.bench.time.now_ns >= due_ns
            assert not holds
        if after == "primary" and before == "primary":
            firing = {key for key, one in self.bench.alerts.items() if one.state == "firing"}
            assert firing <= set(self.bench.breaker._known)

    @invariant()
    def what_measures_follows_from_the_state(self) -> None:
        """Trials measure some calls, probation all, and else nobody does."""
        kinds = {"fallback": (type(None),), "trial": (Trials,), "primary": (type(None), Probation)}
        assert isinstance(self.bench.breaker.measured, kinds[self.bench.breaker.state])
        assert self.has_fired or self.bench.breaker.state == "primary"

    @invariant()
    def trials_are_few(self) -> None:
        """No more run or have ended than there may be."""
        trials = self.bench.breaker.measured
        if isinstance(trials, Trials):
            assert trials.terms.calls >= len(trials.good) + len(trials.bad) + len(trials.running)
            assert trials.terms.allowed + 1 + len(trials.running) >= len(trials.bad)

    @invariant()
    def flapping_is_bounded(self) -> None:
        """In no hour it is left more often than is said."""
        for start in self.bench.left_ns:
            assert MOST_AN_HOUR >= sum(0 <= left - start < 3_600 * SECOND_NS for left in self.bench.left_ns)


Course.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestCourse = Course.TestCase
