"""A process looked at from outside: exact figures, also where its own collector does nothing any more."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holter import attached
from holter.attached import Attached, first_look
from holter.errors import RecordingError
from holter.members import GroupName
from holter.names import CALL_ACTIVE, CALL_DURATION
from holter.recording import Membership
from holter.whereabouts import Whereabouts
from lives import SECOND_NS, FakeTime, Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

HERE = Whereabouts.mine()


def life_of(folder: Path) -> tuple[FakeTime, Life]:
    """Return a process, and the time in it."""
    fake = FakeTime()
    return fake, Life(folder, fake=fake)


def looked_at(life: Life) -> Attached:
    """Return the process after a first look."""
    found = first_look(life.recording.path, HERE, life.clock)
    assert found is not None
    return found


def calls(found: Attached) -> int:
    """Return how many calls it has made."""
    return sum(reading.count for key, reading in found.readings.items() if found.series[key].name == CALL_DURATION)


def test_figures_are_exact_though_nobody_in_the_process_collects(tmp_path: Path) -> None:
    """Counts, sums and histograms have each call up to the look, those after the last interval too."""
    _, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    for _ in range(100):
        ring.write(call, life.clock.monotonic_ns(), 5e6, 0, 0)
    life.turn()
    for _ in range(7):
        ring.write(call, life.clock.monotonic_ns(), 1e9, 0, 0)
    found = looked_at(life)
    reading = found.readings[call]
    assert (107, pytest.approx(7.5)) == (reading.count, reading.sum)
    assert 107 == reading.histogram.count
    assert pytest.approx(1.0, rel=0.006) == reading.histogram.quantile(0.99)


def test_what_has_changed_is_named_until_it_is_taken(tmp_path: Path) -> None:
    """A series whose reading is the same keeps the same reading, so that nobody computes anything of it."""
    _, life = life_of(tmp_path)
    ring = life.ring()
    one, other = (life.scope.call(name).duration for name in ("one", "other"))
    for call in (one, other):
        ring.write(call, life.clock.monotonic_ns(), 5e6, 0, 0)
    life.turn()
    found = looked_at(life)
    assert {one, other} <= found.changed
    before, found.changed = dict(found.readings), set()
    ring.write(other, life.clock.monotonic_ns(), 5e6, 0, 0)
    found.look(HERE)
    assert (False, True) == (one in found.changed, other in found.changed)
    assert before[one] is found.readings[one]
    assert 2 == found.readings[other].count


def test_open_calls_grow_old_while_the_process_hangs(tmp_path: Path) -> None:
    """Their ages are as of the look, and how long the process has written nothing is told."""
    fake, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    life.turn()
    fake.ns += SECOND_NS
    life.turn()
    ring.begin(call, fake.ns)
    found = looked_at(life)
    assert not found.is_silent
    for seconds in (2, 30):
        fake.ns += seconds * SECOND_NS
        found.look(HERE)
    assert [("predict", 32.0)] == [(one.name, one.age_seconds) for one in found.open_calls]
    assert (True, 32.0, True) == (found.is_silent, found.silent_seconds, found.is_alive)
    life.turn()
    found.look(HERE)
    assert (False, 0.0) == (found.is_silent, found.silent_seconds)


def test_what_collects_each_ten_seconds_is_not_silent_after_ten(tmp_path: Path) -> None:
    """Silence is several of the process's own intervals."""
    fake, life = life_of(tmp_path)
    life.turn()
    fake.ns += 10 * SECOND_NS
    life.turn()
    fake.ns += 29 * SECOND_NS
    found = looked_at(life)
    assert (10.0, False) == (found.interval_seconds, found.is_silent)
    fake.ns += 2 * SECOND_NS
    found.look(HERE)
    assert found.is_silent


def test_the_dead_are_as_old_as_their_last_sign_of_life(tmp_path: Path) -> None:
    """A call that was open when the process died does not grow older, and the recording is found by its new name."""
    fake, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    life.turn()
    ring.begin(call, fake.ns)
    fake.ns += 3 * SECOND_NS
    life.turn()
    found = looked_at(life)
    life.recording.close(clean=False)
    told = found.path.rename(found.path.with_name(found.path.stem + ".dead.holter"))
    fake.ns += 100 * SECOND_NS
    found.look(HERE)
    assert ("dead", False, told) == (found.process.state, found.is_alive, found.path)
    assert [3.0] == [one.age_seconds for one in found.open_calls]


def test_a_recording_that_has_gone_leaves_what_was_read(tmp_path: Path) -> None:
    """So does a process that ends well: its recording is removed, and it runs nothing any more."""
    _, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    ring.write(call, life.clock.monotonic_ns(), 5e6, 0, 0)
    ring.begin(call, life.clock.monotonic_ns())
    life.turn()
    found = looked_at(life)
    life.recording.close(clean=True)
    found.look(HERE)
    assert ("closed", False, 1, ()) == (found.process.state, found.process.is_sure, calls(found), found.open_calls)
    with pytest.raises(FileNotFoundError):
        Attached(found.path).look(HERE)
    assert first_look(found.path, HERE) is None


def test_a_recording_that_is_damaged_meanwhile_leaves_what_was_read(tmp_path: Path) -> None:
    """As one that somebody has written over; one that cannot be read at first is refused."""
    _, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    ring.write(call, life.clock.monotonic_ns(), 5e6, 0, 0)
    life.turn()
    found = looked_at(life)
    other = tmp_path / "garbage"
    other.write_bytes(b"x" * 600)
    other.rename(life.recording.path)
    found.look(HERE)
    assert (1, True) == (calls(found), found.is_alive)
    with pytest.raises(RecordingError):
        Attached(life.recording.path).look(HERE)


def test_what_two_monitors_measure_of_a_process_is_counted_once(tmp_path: Path) -> None:
    """The figures of the system come from the scope that is in a group, else from the first one."""
    _, life = life_of(tmp_path)
    second = life.scope.number + 1
    life.ring()
    for value in (0.5, 0.25):
        life.fold.set(life.scope.series("process.memory.usage", "By", "gauge"), value)
    life.turn()
    entry = next(one for one in life.table.entries.values() if one.series.name == "process.memory.usage")
    key = max(life.table.entries) + 1
    life.recording.learn({**life.table.entries, key: replace_scope(entry, key, second)})
    life.recording.enlist(Membership(life.scope.number, "sentiment", ""))
    found = looked_at(life)
    assert {life.scope.number: GroupName("sentiment", "")} == found.groups
    assert [key] == sorted(found._shadowed)


def replace_scope(entry: object, key: int, scope: int) -> object:
    """Return the entry of the same figure of another scope."""
    return entry._replace(series=replace(entry.series, id=key), scope=scope)


def test_what_runs_is_told_by_the_slots(tmp_path: Path) -> None:
    """How many calls run is known as of now, so what the collector found last is left out."""
    _, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    open_call = ring.begin(call, life.clock.monotonic_ns())
    life.turn()
    life.turn()
    ring.release(open_call)
    found = looked_at(life)
    assert () == found.open_calls
    assert [] == [key for key in found.readings if found.series[key].name == CALL_ACTIVE]


def test_another_boot_has_a_clock_of_its_own(tmp_path: Path) -> None:
    """Ages are on the clock that stamped the records, as far as the wall clock tells."""
    fake, life = life_of(tmp_path)
    ring, call = life.ring(), life.scope.call("predict").duration
    life.turn()
    ring.begin(call, fake.ns)
    shifted = life.clock._replace(monotonic_ns=lambda: fake.ns + 5_000 * SECOND_NS)
    found = Attached(life.recording.path, shifted)
    fake.ns += 4 * SECOND_NS
    found.look(HERE)
    assert ([4.0], 4.0) == ([one.age_seconds for one in found.open_calls], found.silent_seconds)


def test_memberships_of_nobody_are_none(tmp_path: Path) -> None:
    """A recording whose monitors are in no group names none."""
    _, life = life_of(tmp_path)
    life.turn()
    with attached.Sections(life.recording.path) as sections:
        assert {} == attached.memberships(sections)
