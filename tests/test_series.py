"""The series table: ids, parts, and what happens beyond the bound."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.names import CALL_NAME, CALL_OUTCOME, ERROR_TYPE, ERROR_TYPE_OTHER, OVERFLOW
from holter.series import ERROR_TYPES_PER_SERIES, SERIES_PER_METRIC, SERIES_PER_PROCESS, SERIES_PER_SCOPE, SeriesTable
from interruptions import interrupted_by, needs_timer

ATTRIBUTES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", 1, 1.0, True, 0, False]), max_size=3)


def intern(table: SeriesTable, name: str = "app.m", scope: int = 1, **attributes: Any) -> int:
    """Return the id of a counter."""
    return table.intern(scope, name, "1", "counter", attributes)


def failure(kind: str) -> dict[str, str]:
    """Return the attributes of a failure."""
    return {CALL_OUTCOME: "error", ERROR_TYPE: kind}


def test_what_is_the_same_has_the_same_id() -> None:
    """Name and attributes decide, in any order; what was given first stays, and cannot be changed from outside."""
    table = SeriesTable()
    given = {"a": 1, "b": "x"}
    series = table.intern(1, "app.m", "By", "histogram", given, factor=0.5)
    given["a"] = 2
    assert series == table.intern(1, "app.m", "s", "gauge", {"b": "x", "a": 1})
    found = table[series]
    assert ("app.m", "By", "histogram", {"a": 1, "b": "x"}, None) == (
        found.name,
        found.unit,
        found.kind,
        dict(found.attributes),
        found.parent,
    )
    assert (series, 1, 0.5) == (found.id, table.entries[series].scope, table.entries[series].factor)
    with pytest.raises(TypeError):
        found.attributes["a"] = 3


@given(first=ATTRIBUTES, second=ATTRIBUTES)
def test_ids_differ_exactly_where_attributes_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    """True, 1 and 1.0 are three values, as they are in every output."""
    table = SeriesTable()
    same = repr(sorted(first.items())) == repr(sorted(second.items()))
    assert same == (intern(table, **first) == intern(table, **second))


def test_scopes_share_nothing() -> None:
    """Two monitors have series of their own, by the same names."""
    table = SeriesTable()
    assert intern(table, scope=1, a=1) != intern(table, scope=2, a=1)


def test_parts_belong_to_the_root() -> None:
    """A part of a part is a part of the root, with the attributes of all three."""
    table = SeriesTable()
    root = intern(table, call="f")
    tagged = table.part(root, {"model": "v7"})
    failed = table.failed_part(tagged, failure("ValueError"))
    assert [None, root, root] == [table[key].parent for key in (root, tagged, failed)]
    assert [root] * 3 == [table.root(key) for key in (root, tagged, failed)]
    assert {"call": "f", "model": "v7", **failure("ValueError")} == dict(table[failed].attributes)
    assert (tagged, failed) == (table.part(root, {"model": "v7"}), table.failed_part(tagged, failure("ValueError")))
    assert failed != table.failed_part(root, failure("ValueError"))


def test_a_part_is_not_a_series_of_the_same_attributes() -> None:
    """A root that happens to have the attributes of another one's part is another series."""
    table = SeriesTable()
    root = intern(table)
    assert table.part(root, {"a": 1}) != intern(table, a=1)


def test_a_metric_is_bounded_and_its_overflow_is_there_from_the_start() -> None:
    """Beyond 2,000 series of a metric all others are one, marked by OpenTelemetry's attribute."""
    table = SeriesTable()
    ids = [intern(table, n=number) for number in range(3 * SERIES_PER_METRIC)]
    overflow = table.entries[ids[-1]].series
    assert SERIES_PER_METRIC == len(table) == len(set(ids))
    assert {OVERFLOW: True} == dict(overflow.attributes)
    assert (1, True, False) == (overflow.id, table.is_overflow(overflow.id), table.is_overflow(ids[0]))
    assert ids == [intern(table, n=number) for number in range(3 * SERIES_PER_METRIC)]
    assert 1 < intern(table, name="app.other", n=1)


def test_a_monitor_and_a_process_are_bounded() -> None:
    """Beyond 10,000 series each metric has but its overflow series, and those of metrics yet to come."""
    table = SeriesTable()
    for metric in range(8):
        for number in range(SERIES_PER_METRIC):
            intern(table, name=f"app.m{metric}", n=number)
    assert SERIES_PER_SCOPE <= len(table) <= SERIES_PER_SCOPE + 8
    assert table.is_overflow(intern(table, name="app.late", n=1))
    assert not table.is_overflow(intern(table, name="app.m0", n=5))
    # What one monitor fills is not another one's; all together have ten times as much.
    for scope in range(2, 13):
        for number in range(SERIES_PER_SCOPE):
            table.intern(scope, f"app.m{number % 8}", "1", "counter", {"n": number})
    assert SERIES_PER_PROCESS <= len(table) <= SERIES_PER_PROCESS + 8 * 12
    assert table.is_overflow(table.intern(12, "app.m0", "1", "counter", {"n": -1}))
    assert not table.is_overflow(table.intern(3, "app.m0", "1", "counter", {"n": 8}))


def test_a_family_beyond_the_bound_has_an_overflow_of_its_own() -> None:
    """Tags of one call beyond the bound are counted as parts of that call, not of another one."""
    table = SeriesTable(per_metric=30)
    first, second = intern(table, **{CALL_NAME: "f"}), intern(table, **{CALL_NAME: "g"})
    parts = [table.part(first, {"user": number}) for number in range(100)]
    spill = table.part(second, {"user": 1})
    assert [True, True] == [table.is_overflow(parts[-1]), table.is_overflow(spill)]
    assert (first, second) == (table[parts[-1]].parent, table[spill].parent)
    assert {CALL_NAME: "g", OVERFLOW: True} == dict(table[spill].attributes)


def test_a_failure_stays_a_failure_beyond_the_bound() -> None:
    """The overflow series has parts by outcome and type of error, at most 20 types and `_OTHER`."""
    table = SeriesTable(per_metric=5)
    root = intern(table, **{CALL_NAME: "f"})
    found = {table.failed_part(table.part(root, {"user": n}), failure(f"E{n}")) for n in range(200)}
    attributes = [dict(table[key].attributes) for key in found]
    assert all(
        one[CALL_OUTCOME] == "error" and table[key].parent == root for one, key in zip(attributes, found, strict=True)
    )
    assert ERROR_TYPES_PER_SERIES + 1 == len({one[ERROR_TYPE] for one in attributes})
    assert len(table) < 60


def test_error_types_are_bounded_by_family() -> None:
    """The 21st type of error is `_OTHER`; those known before keep their names."""
    table = SeriesTable()
    root = intern(table)
    types = [table[table.failed_part(root, failure(f"E{number}"))].attributes[ERROR_TYPE] for number in range(25)]
    assert [f"E{number}" for number in range(20)] + [ERROR_TYPE_OTHER] * 5 == types
    assert "E3" == table[table.failed_part(root, failure("E3"))].attributes[ERROR_TYPE]
    other = intern(table, name="app.other")
    assert "E24" == table[table.failed_part(other, failure("E24"))].attributes[ERROR_TYPE]


def test_threads_agree_on_ids() -> None:
    """Eight threads that ask for the same series at the same moment get the same ids, and none twice."""
    table, found = SeriesTable(), []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        found.append([intern(table, name=f"app.m{number % 7}", n=number) for number in range(500)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0]] * 8 == found
    assert 507 == len(table)
    keys = {(entry.series.name, *sorted(entry.series.attributes.items())) for entry in table.entries.values()}
    assert len(table) == len(keys)


@needs_timer
def test_a_signal_handler_may_add_what_it_interrupts() -> None:
    """A handler that asks for the same series in the middle of the adding gets the one id there is."""
    table, current = SeriesTable(per_metric=10**6, per_scope=10**6), [0]
    asked: dict[int, set[int]] = {}

    def ask() -> None:
        number = current[0]
        asked.setdefault(number, set()).add(intern(table, n=number))

    with interrupted_by(ask):
        for number in range(5_000):
            current[0] = number
            ask()
    assert [1] * 5_000 == [len(found) for found in asked.values()]
    assert 5_001 == len(table)


def test_the_version_tells_of_every_change() -> None:
    """It is the same as long as the table is."""
    table, versions = SeriesTable(), []
    for number in (1, 1, 2):
        intern(table, n=number)
        versions.append(table.version)
    assert versions[0] == versions[1] != versions[2]
