"""Several processes looked at from outside: rates from two readings, and who comes and goes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crews import Worker
from holter.chosen import Choice, chosen
from holter.members import GroupName
from holter.model import Snapshot
from holter.names import (
    CALL_DURATION,
    CALL_ENERGY,
    CALL_NAME,
    HOST_PRESSURE,
    PRESSURE_RESOURCE_NAME,
    PRESSURE_STALLED_TYPE,
)
from holter.recording import Membership
from holter.recordings import listed
from holter.totals import digest
from holter.view.onlooker import Onlooker
from holter.view.surroundings import machine
from lives import SECOND_NS, FakeTime, Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


class Shop:
    """Processes of one service that share a clock, and somebody who looks at them."""

    def __init__(self, folder: Path, size: int = 1) -> None:
        self.folder, self.fake = folder, FakeTime()
        self.lives: list[Life] = []
        for _ in range(size):
            self.join()
        self.onlooker = Onlooker(self.choice(), self.fake.clock)

    def choice(self, only: Life | None = None) -> Choice:
        """Return all of them, or one."""
        found = [one for one in listed(self.folder) if only is None or one.path == only.recording.path]
        return Choice(GroupName("sentiment", ""), tuple(found), pid=0 if only is None else os.getpid())

    def number(self, path: Path) -> int:
        """Return which of them has its recording there, counted from 1."""
        return [life.recording.path for life in self.lives].index(path) + 1

    def join(self) -> Life:
        """Let one more begin."""
        self.fake.ns += 1_000  # no two begin at the same moment
        life = Life(self.folder, fake=self.fake)
        life.recording.enlist(Membership(life.scope.number, "sentiment", ""))
        life.ring()
        life.scope.call("predict")
        life.turn()
        self.lives.append(life)
        return life

    def work(self, life: Life, times: int, seconds: float = 0.005) -> None:
        """Make calls."""
        call = life.scope.call("predict").duration
        for _ in range(times):
            life.all[0].write(call, self.fake.ns, seconds * 1e9, 0, 0)

    def look(self, seconds: float = 1.0, window_seconds: float = 0.0) -> Any:
        """Let time pass, and look."""
        self.fake.ns += round(seconds * SECOND_NS)
        return self.onlooker.look(window_seconds)


def counted(snapshot: Snapshot) -> tuple[int, int]:
    """Return the calls of the interval, and of all time."""
    found = snapshot.find(CALL_DURATION)
    return (0, 0) if found is None else (found.interval.count, found.total.count)


def test_an_interval_is_what_came_between_two_looks(tmp_path: Path) -> None:
    """To the call, in the time that has passed, whether the process has ended an interval of its own or not."""
    shop = Shop(tmp_path)
    shop.work(shop.lives[0], 100)
    assert ((0, 100), 0) == (counted(shop.look().whole.snapshot), shop.onlooker.look().whole.snapshot.interval_ns)
    shop.work(shop.lives[0], 30)
    snapshot = shop.look(2.0).whole.snapshot
    assert ((30, 130), 2 * SECOND_NS) == (counted(snapshot), snapshot.interval_ns)
    shop.lives[0].turn()
    assert (0, 130) == counted(shop.look().whole.snapshot)


def test_quantiles_are_those_of_the_interval(tmp_path: Path) -> None:
    """Not of all time, which was faster."""
    shop = Shop(tmp_path)
    shop.work(shop.lives[0], 1000, 0.001)
    shop.look()
    shop.work(shop.lives[0], 10, 0.4)
    found = shop.look().whole.snapshot.find(CALL_DURATION)
    assert pytest.approx(0.4, rel=0.006) == found.value("p50")
    assert pytest.approx(0.4, rel=0.02) == found.interval.minimum


def test_a_longer_window_reaches_back_to_an_earlier_look(tmp_path: Path) -> None:
    """As far as there were looks; figures of ten seconds and of the last interval are there beside it."""
    shop = Shop(tmp_path)
    shop.look()
    for _ in range(20):
        shop.work(shop.lives[0], 1)
        sight = shop.look(window_seconds=60.0)
    assert 20 == counted(sight.whole.snapshot)[0]
    assert 20 * SECOND_NS == sight.whole.snapshot.interval_ns
    assert (10 * SECOND_NS, 1) == (sight.whole.lately.interval_ns, counted(sight.whole.last)[0])
    for _ in range(100):
        sight = shop.look(window_seconds=60.0)
    assert 60 * SECOND_NS == sight.whole.snapshot.interval_ns
    assert 62 >= len(shop.onlooker._whole.totals)


def test_processes_add_up_and_stand_apart(tmp_path: Path) -> None:
    """Each has its own figures, all have the sum."""
    shop = Shop(tmp_path, 3)
    shop.look()
    for number, life in enumerate(shop.lives):
        shop.work(life, 10 * (number + 1))
    sight = shop.look()
    assert 60 == counted(sight.whole.snapshot)[0]
    assert [(1, 10), (2, 20), (3, 30)] == sorted(
        (shop.number(one.path), counted(one.moment.snapshot)[0]) for one in sight.people
    )


def test_who_joins_comes_into_sight(tmp_path: Path) -> None:
    """A process of the service that begins later is seen at the next look; one of another service is not."""
    shop = Shop(tmp_path)
    shop.look()
    stranger = Life(tmp_path, fake=shop.fake, service="other")
    stranger.turn()
    shop.work(shop.join(), 5)
    sight = shop.look()
    assert [1, 2] == sorted(shop.number(one.path) for one in sight.people)
    assert (5, 5) == counted(sight.whole.snapshot)


def test_one_process_is_looked_at_alone(tmp_path: Path) -> None:
    """Chosen by its number, others of its service do not matter."""
    shop = Shop(tmp_path, 2)
    shop.onlooker = Onlooker(shop.choice(shop.lives[1]), shop.fake.clock)
    shop.look()
    for life in shop.lives:
        shop.work(life, 7)
    sight = shop.look()
    assert [2] == [shop.number(one.path) for one in sight.people]
    assert (7, 7) == counted(sight.whole.snapshot)
    assert sight.people[0].moment is sight.whole


def test_one_that_is_killed_shows_its_last_ten_seconds(tmp_path: Path) -> None:
    """They stay as they were, levels too, while time goes on, and its path is where its recording is now."""
    shop = Shop(tmp_path)
    life = shop.lives[0]
    life.fold.set(life.scope.series("app.queue.length", "{item}", "gauge"), 3.0)
    for _ in range(3):
        shop.look()
        shop.work(life, 10)
        life.turn()
    life.recording.close(clean=False)
    sight = shop.look()
    assert (False, "dead") == (sight.people[0].is_alive, sight.people[0].process.state)
    told = life.recording.path.rename(life.recording.path.with_suffix(".dead.holter"))
    later = shop.look(100.0)
    for one in (sight, later):
        assert (30, 30) == counted(one.whole.snapshot)
        assert 3.0 == one.whole.snapshot.find("app.queue.length").total.last
    assert told == later.people[0].path
    assert 100 * SECOND_NS == later.time_ns - sight.time_ns


def test_one_that_died_before_shows_its_whole_life(tmp_path: Path) -> None:
    """There was no look while it lived, so the interval is all its time."""
    shop = Shop(tmp_path)
    life = shop.lives[0]
    shop.fake.ns += 4 * SECOND_NS
    shop.work(life, 40)
    life.turn()
    life.recording.close(clean=False)
    snapshot = shop.look(50.0).whole.snapshot
    assert ((40, 40), 4 * SECOND_NS) == (counted(snapshot), snapshot.interval_ns)


def test_one_that_died_right_after_the_first_look_shows_its_whole_life(tmp_path: Path) -> None:
    """What was seen of it is too short to tell anything; once its end is sure that is told."""
    shop = Shop(tmp_path)
    life = shop.lives[0]
    shop.work(life, 40)
    shop.fake.ns += 3 * SECOND_NS
    life.turn()
    shop.look(0.1)
    life.recording.close(clean=True)
    sight = shop.look(0.1)
    assert (40, 3.1) == (counted(sight.whole.snapshot)[0], round(sight.whole.snapshot.interval_ns / 1e9, 3))
    (gone,) = shop.onlooker.attached()
    gone.process = replace(gone.process, is_sure=True)
    assert (False, True) == (sight.people[0].process.is_sure, shop.look().people[0].process.is_sure)


def test_a_member_that_is_killed_stays_in_the_sum(tmp_path: Path) -> None:
    """With its last figures, and its levels leave the sum; the others go on."""
    shop = Shop(tmp_path, 2)
    for number, life in enumerate(shop.lives):
        life.fold.set(life.scope.series("app.queue.length", "{item}", "gauge", across="sum"), number + 1.0)
        shop.work(life, 10)
        life.turn()
    assert 3.0 == shop.look().whole.snapshot.find("app.queue.length").total.last
    shop.lives[0].recording.close(clean=False)
    shop.work(shop.lives[1], 5)
    sight = shop.look()
    ended, living = sorted(sight.people, key=lambda one: shop.number(one.path))
    assert (False, True) == (ended.is_alive, living.is_alive)
    assert (5, 25) == counted(sight.whole.snapshot)
    assert 2.0 == sight.whole.snapshot.find("app.queue.length").total.last
    assert 1.0 == ended.moment.snapshot.find("app.queue.length").total.last
    assert [2] == [shop.number(one.path) for one in shop.look(61.0).people]
    assert [2] == [shop.number(one.path) for one in shop.look().people]


def test_one_that_ends_well_leaves_while_others_live(tmp_path: Path) -> None:
    """Its recording has gone, so it is out of sight; no rate falls below nothing."""
    shop = Shop(tmp_path, 2)
    shop.work(shop.lives[0], 10)
    shop.look()
    shop.lives[0].recording.close(clean=True)
    sight = shop.look()
    assert [2] == [shop.number(one.path) for one in sight.people]
    assert 0 == counted(sight.whole.snapshot)[0]


def test_the_departed_of_a_group_are_counted_once(tmp_path: Path) -> None:
    """Before and after its leader has counted a process in, the sum is the same."""
    tmp_path.chmod(0o700)
    first, second = Worker(tmp_path), Worker(tmp_path)
    first.work(10)
    second.work(5)
    for worker in (first, second):
        worker.turn()
    onlooker = Onlooker(chosen("sentiment", None, [tmp_path])[0])
    assert 15 == counted(onlooker.look().whole.snapshot)[1]
    second.end(clean=False)
    assert 15 == counted(onlooker.look().whole.snapshot)[1]
    first.turn()
    sight = onlooker.look()
    assert (2, 15) == (len(sight.people), counted(sight.whole.snapshot)[1])
    first.work(1)
    first.turn()
    assert (1, 16) == counted(onlooker.look().whole.snapshot)
    first.end(clean=False)
    assert 16 == counted(onlooker.look().whole.snapshot)[1]


def test_calls_that_run_are_those_of_all(tmp_path: Path) -> None:
    """The oldest first, each with the series that the joined figures have it under."""
    shop = Shop(tmp_path, 2)
    for number, life in enumerate(shop.lives):
        life.all[0].begin(life.scope.call("predict").duration, shop.fake.ns - number * SECOND_NS)
    snapshot = shop.look().whole.snapshot
    assert [2.0, 1.0] == [round(call.age_seconds, 3) for call in snapshot.open_calls]
    assert {CALL_DURATION} == {snapshot.series[call.series].name for call in snapshot.open_calls}


def test_items_are_counted_whichever_way_they_are_told(tmp_path: Path) -> None:
    """By the look itself as long as the collector has not, then by the collector; none is lost in between."""
    shop = Shop(tmp_path)
    life = shop.lives[0]
    items = life.scope.stream_items("answer")
    life.turn()
    shop.look()
    counts = []
    for number, turns in ((5, True), (3, False), (4, False), (6, True)):
        for series in (items.first, *[items.between] * (number - 1)):
            life.all[0].write(series, shop.fake.ns, 1e6, 0, 0)
        if turns:
            life.turn(now=True)
        stream = digest(only_interval(shop.look().whole.snapshot)).streams
        counts.append([one.items for one in stream])
    assert [[5], [3], [4], [6]] == counts


def only_interval(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot whose totals are those of its interval."""
    return replace(snapshot, total=snapshot.interval)


def test_what_is_read_every_few_seconds_has_the_same_rate_at_each_look(tmp_path: Path) -> None:
    """By the times of its readings, of which a window holds one more or less than it is long."""
    shop, told = Shop(tmp_path), []
    (life,) = shop.lives
    steady, changing = (
        life.scope.series(
            HOST_PRESSURE, "s", "counter", {PRESSURE_RESOURCE_NAME: resource, PRESSURE_STALLED_TYPE: "some"}
        )
        for resource in ("cpu", "io")
    )
    for second in range(40):
        if second % 5 == 0:
            for series, grown in ((steady, 2.5), (changing, 1.0 if second % 10 else 4.0)):
                life.all[0].write(series, shop.fake.ns, grown if second else 0.0, 0, 0)
            life.turn()
        found = machine(shop.look().whole)
        told.append([found.get(f"host_pressure_{resource}_some") for resource in ("cpu", "io")])
    assert [True] * 5 == [None in one for one in told[:5]]
    assert pytest.approx([0.5] * 35) == [one[0] for one in told[5:]]
    assert pytest.approx([0.5] * 25) == [one[1] for one in told[15:]], "the mean of the last ten seconds"


@pytest.mark.parametrize("is_told", [True, False])
def test_calls_are_counted_of_late_where_their_energy_is_told(is_told: bool, tmp_path: Path) -> None:  # noqa: FBT001  a case
    """Else nobody asks, and many calls would cost much."""
    shop = Shop(tmp_path)
    (life,) = shop.lives
    if is_told:
        life.all[0].write(
            life.scope.series(CALL_ENERGY, "J", "counter", {CALL_NAME: "predict"}), shop.fake.ns, 5.0, 0, 0
        )
    life.turn()
    shop.look()
    shop.work(life, 3)
    life.turn()
    lately = shop.look().whole.lately
    assert (3 if is_told else 0) == counted(lately)[0]
