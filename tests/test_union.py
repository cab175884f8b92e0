"""The series of several processes as those of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from holter import names, union
from holter.metric import Across, Kind, Series
from holter.reading import Reading
from holter.union import Union, one_level


@dataclass
class Part:
    """A process with series that a test makes up."""

    pid: int = 1
    series: dict[int, Series] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)
    changed: Iterable[int] = ()
    is_alive: bool = True

    def has(
        self,
        number: int,
        reading: Reading,
        *,
        name: str = "app.hits",
        kind: Kind = "counter",
        across: Across = "last",
        parent: int | None = None,
        **attributes: str,
    ) -> Part:
        """Give it one series more, or another reading of one that it has."""
        self.series[number] = Series(number, name, "1", kind, attributes, parent, across)
        self.readings[number] = reading
        self.changed = {*self.changed, number}
        return self


def counted(count: int, at_ns: int = 1) -> Reading:
    """Return the reading of a counter that was raised so often."""
    return Reading(count, float(count), last=1.0, first=1.0, first_ns=at_ns, last_ns=at_ns)


def update(joined: Union, keeper: str = "", **parts: Part) -> set[int]:
    """Take in *parts*, each of which is unchanged afterwards."""
    changed = joined.update(parts, {name: part.pid for name, part in parts.items()}, keeper)
    for part in parts.values():
        part.changed = ()
    return changed


def value(joined: Union, name: str = "app.hits") -> Reading:
    """Return the reading of the only series of a metric."""
    (found,) = [key for key, series in joined.series.items() if series.name == name]
    return joined.total[found]


def test_counters_add_up_whatever_their_ids() -> None:
    """What is the same series is found by its name and attributes."""
    joined = Union()
    update(joined, a=Part().has(3, counted(10), route="x"), b=Part().has(9, counted(5), route="x"))
    assert (15, 15.0) == (value(joined).count, value(joined).sum)


def test_series_that_differ_in_one_attribute_stay_apart() -> None:
    """The type of a value counts too: True is not 1."""
    one, other = Part().has(1, counted(1)), Part().has(1, counted(2))
    one.series[1] = Series(1, "app.hits", "1", "counter", {"flag": True})
    other.series[1] = Series(1, "app.hits", "1", "counter", {"flag": 1})
    joined = Union()
    update(joined, a=one, b=other)
    assert [1, 2] == sorted(reading.count for reading in joined.total.values())


def test_only_what_has_changed_is_read_again() -> None:
    """The rest is not even looked at."""
    a, b = Part().has(1, counted(1)).has(2, counted(1), name="app.misses"), Part().has(1, counted(1))
    joined = Union()
    assert 2 == len(update(joined, a=a, b=b))
    a.has(1, counted(4))
    a.readings[2] = counted(100)
    assert 1 == len(update(joined, a=a, b=b))
    assert (5, 1) == (value(joined).count, value(joined, "app.misses").count)


@pytest.mark.parametrize(("across", "expected"), [("last", 2.0), ("sum", 10.0), ("min", 1.0), ("max", 7.0)])
def test_gauges_go_together_as_their_series_say(across: Across, expected: float) -> None:
    """The newest value, the sum, the smallest or the largest."""
    levels = [one_level(1.0, 5), one_level(7.0, 6), one_level(2.0, 9)]
    parts = {f"p{n}": Part(n).has(1, level, kind="gauge", across=across) for n, level in enumerate(levels)}
    joined = Union()
    update(joined, **parts)
    assert expected == value(joined).last
    assert 9 == value(joined).last_ns


def test_each_gauge_stays_by_itself_once_there_are_several() -> None:
    """Alone it has no attribute more; among others it has the number of its process."""
    a, b = Part(41).has(1, one_level(3.0, 5), kind="gauge", across="each"), Part(42)
    joined = Union()
    update(joined, "a", a=a)
    assert [{}] == [dict(series.attributes) for series in joined.series.values()]
    b.has(1, one_level(4.0, 6), kind="gauge", across="each")
    update(joined, "a", a=a, b=b)
    seen = {series.attributes.get(names.PROCESS_PID): joined.total[key].last for key, series in joined.series.items()}
    assert {41: 3.0, 42: 4.0} == seen


def test_levels_end_with_their_process_and_counts_stay() -> None:
    """One that has died has no memory in use, but what it counted was counted."""
    a = Part(41).has(1, one_level(3.0, 5), name="app.level", kind="gauge", across="sum").has(2, counted(5))
    b = Part(42).has(1, one_level(4.0, 6), name="app.level", kind="gauge", across="sum").has(2, counted(6))
    joined = Union()
    update(joined, a=a, b=b)
    b.is_alive = False
    update(joined, a=a, b=b)
    assert (3.0, 11) == (value(joined, "app.level").last, value(joined).count)


def test_a_part_that_has_gone_takes_its_series_along() -> None:
    """Whoever counts it elsewhere hands over a part that has it."""
    a, b = Part().has(1, counted(1)), Part().has(5, counted(2)).has(6, counted(3), name="app.only_there")
    joined = Union()
    update(joined, a=a, b=b)
    heir = Part(is_alive=False).has(1, counted(2))
    update(joined, a=a, heir=heir)
    assert 3 == value(joined).count
    assert ["app.hits"] == [series.name for series in joined.series.values()]


def test_families_keep_together() -> None:
    """A part has the root of its family for a parent, by the union's own ids."""
    parts = {
        name: Part().has(root, counted(1), call="f").has(part, counted(1), parent=root, call="f", outcome="error")
        for name, root, part in (("a", 1, 2), ("b", 8, 4))
    }
    joined = Union()
    update(joined, **parts)
    root, part = sorted(joined.series.values(), key=lambda series: series.parent is not None)
    assert (None, root.id) == (root.parent, part.parent)
    assert [2, 2] == [joined.total[root.id].count, joined.total[part.id].count]


def test_the_own_part_keeps_its_ids() -> None:
    """So that exporters and checks see the same series, alone and among others."""
    own, other = Part().has(3, counted(1)), Part().has(3, counted(1), name="app.other")
    joined = Union()
    update(joined, "own", own=own)
    assert {3} == joined.series.keys()
    update(joined, "own", own=own, other=other)
    assert "app.hits" == joined.series[3].name


def test_series_beyond_the_bound_are_counted_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing from the total of the metric; only the distinction is."""
    monkeypatch.setattr(union, "MOST_SERIES", 10)
    part = Part()
    for number in range(1, 31):
        part.has(number, counted(1), user=str(number))
    joined = Union()
    update(joined, a=part)
    assert 30 == sum(reading.count for reading in joined.total.values())
    assert len(joined.series) == 11
    assert any(names.OVERFLOW in series.attributes for series in joined.series.values())


def test_the_map_of_series_is_a_new_one_only_if_it_differs() -> None:
    """Whoever has read it need not read it again."""
    a = Part().has(1, counted(1))
    joined = Union()
    update(joined, a=a)
    before = joined.series
    a.has(1, counted(2))
    update(joined, a=a)
    assert before is joined.series
    a.has(2, counted(1), name="app.new")
    update(joined, a=a)
    assert before is not joined.series
