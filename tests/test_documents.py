"""The parts of a recording that are text, written and read back."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holter import documents
from holter.documents import (
    LONGEST_LINE,
    decode_identity,
    decode_notices,
    decode_series,
    encode_alert,
    encode_identity,
    encode_notices,
    encode_place,
    encode_series,
)
from holter.metric import Series
from holter.model import Alert, ErrorPlace, Process, Silence
from holter.series import Entry
from holter.whereabouts import Whereabouts

PROCESS = Process(
    service="sentiment\x1b[31m",
    version="v7",
    attributes={"region": "north", "canary": True, "shard": 3, "share": 0.5},
    instance="7f3",
    pid=4121,
    host="gpu-3",
    started_ns=12,
    fingerprint="abc",
    environment={"python": "3.11", "packages": {f"package-{number}": "1.0" for number in range(50)}},
)
ALERT = Alert(
    id="a1", check="Limit", state="firing", severity="critical", since_ns=2**60, target="predict",
    expected="p99 at most 2 s", seen="3 s", message="predict p99 is 3 s", next_step="Look.",
    evidence={"value": 3.0, "count": 7, "stage": "forward"}, related=("queue",), incident="5e1f",
    silence=Silence("predict", 5, 2**60, "deploy"),
)  # fmt: skip
HERE = Whereabouts(4121, 99, "boot", 7)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)


def identity(process: Process = PROCESS, longest: int = 60_000, **more: Any) -> bytes:
    """Return the bytes of an identity."""
    return encode_identity(process, HERE, longest, **more)


def test_a_process_comes_back_as_it_was() -> None:
    """With all that tells it from others, its user and its limits; what fills up the section is no part of it."""
    content = identity(user=1000, memory_limit_bytes=2**30, host_memory_bytes=2**34) + bytes(100)
    found = decode_identity(content)
    assert PROCESS == Process(**{each.name: getattr(found, each.name) for each in fields(Process)})
    assert (HERE, 1000, 2**30, 2**34) == (
        found.whereabouts, found.user, found.memory_limit_bytes, found.host_memory_bytes,
    )  # fmt: skip
    assert decode_identity(identity(replace(PROCESS, version=None), memory_limit_bytes=None)).version is None


def test_an_identity_has_a_bound() -> None:
    """Packages go first, then environment and attributes; the name stays."""
    assert {"python": "3.11"} == decode_identity(identity(longest=900)).environment
    least = decode_identity(identity(longest=250))
    assert ({}, {}, PROCESS.service) == (least.environment, least.attributes, least.service)


@given(anything)
def test_any_json_is_an_identity_or_none(value: object) -> None:
    """What has no name is none; other fields of another kind than they should be are as if they were not there."""
    assert decode_identity(json.dumps(value).encode()) is None or isinstance(value, dict)
    for name in json.loads(identity()):
        known = json.loads(identity()) | {name: value}
        found = decode_identity(json.dumps(known).encode())
        assert (found is None) == (name == "service" and not isinstance(value, str))


def test_what_is_no_json_is_none() -> None:
    """Cut off, nested without end, numbers without end, no text."""
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"service": ' + b"9" * 5_000 + b"}", identity()[:-5]):
        assert decode_identity(content) is None


values = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    attributes=st.dictionaries(st.text(max_size=20), values, max_size=5),
    kind=st.sampled_from(["counter", "updowncounter", "gauge", "histogram"]),
    parent=st.none() | st.integers(1, 9),
)
def test_series_come_back_as_they_were(attributes: dict[str, Any], kind: Any, parent: int | None) -> None:
    """True stays True and 1.0 stays 1.0, whatever letters are in names."""
    entry = Entry(Series(3, "app.hits", "{hit}", kind, attributes, parent), 2, 1e-9)
    line = encode_series(3, entry)
    assert 1 == line.count(b"\n")
    found = decode_series([line], 10)[3]
    assert (entry, dict(attributes)) == (found, dict(found.series.attributes))
    assert [type(one) for one in attributes.values()] == [type(one) for one in found.series.attributes.values()]


def test_a_series_line_has_a_bound() -> None:
    """Long texts are cut, and attributes that are too many are left out."""
    long = Entry(Series(1, "a", "1", "gauge", {"text": "x" * 5_000}), 1, 1.0)
    assert "x" * 1024 == decode_series([encode_series(1, long)], 1)[1].series.attributes["text"]
    many = Entry(Series(1, "a", "1", "gauge", {f"\u4e2d{n}" * 300: "\u4e2d" * 900 for n in range(99)}), 1, 1.0)
    assert len(encode_series(1, many)) <= LONGEST_LINE
    assert {} == dict(decode_series([encode_series(1, many)], 1)[1].series.attributes)


@given(st.lists(anything, min_size=8, max_size=8) | anything)
def test_any_json_is_a_series_or_none(value: object) -> None:
    """Wrong lines are left out, right ones beside them are not; no more are taken than asked for."""
    good = [encode_series(key, Entry(Series(key, "a", "1", "gauge"), 1, 1.0)) for key in (1, 2)]
    found = decode_series([json.dumps(value).encode(), good[0], b"\xff", good[1], b" " * 20_000 + good[0]], 9)
    assert {1, 2} <= set(found)
    assert [1] == list(decode_series(good, 1))


def test_a_series_whose_id_none_has_is_left_out() -> None:
    """Ids are of 32 bits."""
    for key in (-1, 2**32):
        assert {} == decode_series([encode_series(key, Entry(Series(1, "a", "1", "gauge"), 1, 1.0))], 9)


def test_alerts_and_places_come_back_as_they_were() -> None:
    """In their order."""
    places = [ErrorPlace("predict", "ValueError", f"/srv/{number}.py:1 in f", number) for number in range(3)]
    resolved = replace(ALERT, state="resolved", evidence={})
    content = encode_notices(map(encode_alert, (ALERT, resolved)), map(encode_place, places))
    assert ((ALERT, resolved), tuple(places)) == decode_notices(content)
    assert ((), ()) == decode_notices(encode_notices([], []))


def test_evidence_of_other_kinds_runs_no_code() -> None:
    """Numbers of numpy are numbers; anything else is told by its class, nothing of it is called."""

    class Hostile:
        def __str__(self) -> str:
            raise AssertionError

        __repr__ = __str__

    alert = replace(ALERT, evidence={"n": np.int64(3), "x": np.float32(0.5), "h": Hostile()}, message="m" * 5_000)
    found = decode_notices(encode_notices([encode_alert(alert)], []))[0][0]
    assert ({"n": 3, "x": 0.5, "h": "Hostile"}, "m" * 1024) == (dict(found.evidence), found.message)


@given(anything)
def test_any_json_is_an_alert_or_none(value: object) -> None:
    """What is no alert is left out; an alert has texts and a state that alerts have."""
    for name in json.loads(encode_alert(ALERT)):
        known = json.loads(encode_alert(ALERT)) | {name: value}
        alerts, places = decode_notices(json.dumps({"alerts": [known, value], "places": [value, known]}).encode())
        assert all(isinstance(alert.message, str) and alert.state in ("firing", "resolved") for alert in alerts)
        assert len(alerts) + len(places) <= 2
    decode_notices(json.dumps(value).encode())
    decode_notices(json.dumps({"alerts": value, "places": value}).encode())


def test_values_that_are_no_attributes_are_left_out() -> None:
    """Lists, numbers that are not finite or of more than 64 bits; the others stay."""
    evidence = {"list": [1], "nan": math.nan, "infinity": math.inf, "huge": 2**64, "none": None, "good": 1.5}
    known = json.loads(encode_alert(ALERT)) | {"evidence": evidence}
    (alert,), _ = decode_notices(json.dumps({"alerts": [known]}).encode())
    assert {"good": 1.5} == dict(alert.evidence)


def test_not_more_are_read_than_are_kept() -> None:
    """The last 64 alerts, the first 32 places."""
    alerts = [encode_alert(replace(ALERT, id=str(number))) for number in range(99)]
    places = [encode_place(ErrorPlace("a", "b", "c", number)) for number in range(99)]
    found = decode_notices(encode_notices(alerts, places))
    assert [str(number) for number in range(35, 99)] == [alert.id for alert in found[0]]
    assert list(range(32)) == [place.count for place in found[1]]
    assert documents.MOST_ALERTS == 64
