"""What processes have done that have ended: added up once, written as a whole, read by whoever leads next."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from holter.departed import Departed, TotalsFiles, read_departed
from holter.distribution import Histogram
from holter.metric import Series
from holter.model import Reading

SERIES = {
    1: Series(1, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict"}),
    2: Series(2, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict", "error.type": "E"}, 1),
    3: Series(3, "app.depth", "1", "gauge", {}),
    4: Series(4, "app.hits", "1", "counter", {}),
}


def reading(*values: float) -> Reading:
    """Return the reading of *values*."""
    return Reading(
        count=len(values), sum=sum(values), minimum=min(values), maximum=max(values), last=values[-1],
        histogram=Histogram.of(list(values)), first=values[0], first_ns=1, last_ns=2,
    )  # fmt: skip


def known(departed: Departed) -> dict[tuple[str, bool], tuple[int, float]]:
    """Return count and sum by name and whether it is a part."""
    return {
        (departed.series[key].name, departed.series[key].parent is not None): (one.count, one.sum)
        for key, one in departed.readings.items()
    }


def test_processes_are_added_up_whatever_their_ids() -> None:
    """Levels end with a process; what is one series in both is one here, by its name, its attributes and its parent."""
    departed = Departed()
    departed.add("a", SERIES, {1: reading(1.0, 2.0), 2: reading(4.0), 3: reading(9.0), 4: reading(1.0)}, 3)
    others = {
        70: Series(70, "app.hits", "1", "counter", {}),
        71: Series(71, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict"}),
    }
    departed.add("b", others, {70: reading(5.0, 6.0), 71: reading(3.0)}, 4)
    assert {
        ("holter.call.duration", False): (3, 6.0),
        ("holter.call.duration", True): (1, 4.0),
        ("app.hits", False): (3, 12.0),
    } == known(departed)
    assert (7, {"a", "b"}) == (departed.lost, set(departed.counted))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Sums, who was counted, and what was told of all; and it goes on from there."""
    departed = Departed(began_ns=5, boot_id="boot", launcher="7-8")
    departed.add("a", SERIES, {1: reading(1.0, 2.0), 2: reading(4.0)}, 3)
    departed.tell(SERIES, {1: reading(1.0, 2.0, 3.0), 3: reading(9.0), 4: reading(2.0)}, 77)
    path = tmp_path / "x.1.totals"
    departed.write(path, 99)
    found = read_departed(path)
    assert found is not None
    assert known(departed) == known(found)
    assert (5, "boot", "7-8", 99, 3, 77) == (
        found.began_ns, found.boot_id, found.launcher, found.written_ns, found.lost, found.told_ns,
    )  # fmt: skip
    assert {"holter.call.duration": 3, "app.hits": 1} == {
        found.series[key].name: one.count for key, one in found.told.items()
    }
    assert {"a": 0} == found.counted
    found.add("b", SERIES, {1: reading(5.0)}, 0)
    assert (3, 8.0) == known(found)["holter.call.duration", False]
    assert [path] == list(tmp_path.iterdir())


@given(st.integers(0, 4_000), st.integers(1, 255))
def test_a_file_with_a_flipped_byte_is_none_or_says_what_was_written(place: int, flip: int) -> None:
    """A checksum covers the figures; what is around them is looked at."""
    departed = Departed(began_ns=5)
    departed.add("a", SERIES, {1: reading(1.0, 2.0), 4: reading(2.0)}, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.1.totals"
        departed.write(path, 99)
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= flip
        path.write_bytes(content)
        found = read_departed(path)
        assert found is None or known(departed) == known(found)


def test_the_file_of_the_highest_term_that_can_be_read_holds(tmp_path: Path) -> None:
    """Those of earlier terms are removed by a later one, never the other way round."""
    files = TotalsFiles(tmp_path, "svc-1")
    assert files.newest() is None
    for term in (1, 2, 10):
        made = Departed(began_ns=term)
        made.write(files.path(term), term)
    assert [10, 2, 1] == files.terms()
    files.path(10).write_bytes(b"{}")
    found = files.newest()
    assert found is not None
    assert 2 == found.began_ns
    files.keep_only(2)
    assert [10, 2] == files.terms()
    files.keep_only(None)
    assert [] == files.terms()


def test_who_was_counted_is_forgotten_a_minute_after_the_recording_has_gone() -> None:
    """Others may be reading it still."""
    departed = Departed()
    departed.add("a", {}, {}, 0)
    departed.add("b", {}, {}, 0)
    departed.forget(["a", "b"], 1)
    departed.forget(["b"], 50_000_000_000)
    assert {"a", "b"} == set(departed.counted)
    departed.forget(["b"], 61_000_000_000)
    assert {"b"} == set(departed.counted)
