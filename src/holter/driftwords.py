"""The words of drift: alerts that name columns in the order of what they tell."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol
from zlib import crc32

from holter.driftcolumn import Finding
from holter.intake import Fault
from holter.model import Alert, AttributeValue, Severity
from holter.words import clean, count, duration, number, ratio

_SHOWN: Final = 3
_NAME: Final = 60
_NEXT: Final = "see what makes {names}: a client, a unit, a gap; if it is to stay, make a new reference"
_FAULTS: Final[dict[Fault, tuple[str, str]]] = {
    "missing column": ("does not get", "give it the columns that the model was made with"),
    "extra column": ("gets columns that the reference does not have:", "leave them out, or make a new reference"),
    "type": ("gets values of another kind in", "see who fills that, and with what"),
    "range": (
        "gets values far out of range in",
        "see whether it is in another unit, or a default stands for a value that is missing",
    ),
    "not finite": ("answers with values that are not finite in", "look at the model, and at what it was given"),
}


class Column(Protocol):
    """What is said of a column."""

    @property
    def has_rows(self) -> bool:
        """Whether anything was seen of it."""


def skew_alert(call: str, found: Sequence[Finding], now_ns: int, key: str) -> Alert:
    """Return the state that *call* is given other data than the reference has."""
    return Alert(
        id=f"drift-{crc32(key.encode()):08x}-skew-{now_ns:x}",
        check="drift",
        state="firing",
        severity="info",
        since_ns=now_ns,
        target=clean(call),
        expected="data as in the reference",
        seen=_seen(found),
        message=f"{clean(call)} has been given other data than its reference from the beginning: {_columns(found)}",
        next_step=_NEXT.format(names=_listed([one.name for one in found])),
        evidence=_evidence(found),
        related=tuple(clean(one.name, _NAME) for one in found),
    )


def change_alert(
    call: str,
    found: Sequence[Finding] | Sequence[str],
    since_ns: int,
    key: str,
    severity: Severity,
    *,
    lasted_ns: int | None = None,
) -> Alert:
    """Return the alert that the data of *call* have changed, or that they are as before again."""
    findings = [one for one in found if isinstance(one, Finding)]
    names = [one.name if isinstance(one, Finding) else one for one in found]
    if lasted_ns is None:
        message = f"the data of {clean(call)} have changed: {_columns(findings)}"
    else:
        after = duration(lasted_ns / 1e9)
        message = f"the data of {clean(call)} are as before again, after {after}: {_listed(names)}"
    return Alert(
        id=f"drift-{crc32(key.encode()):08x}-change-{since_ns:x}",
        check="drift",
        state="firing" if lasted_ns is None else "resolved",
        severity=severity,
        since_ns=since_ns,
        target=clean(call),
        expected="data as before",
        seen=_seen(findings) if findings else "as before",
        message=message,
        next_step=_NEXT.format(names=_listed(names)) if lasted_ns is None else "",
        evidence=_evidence(findings) if findings else {"columns": len(names)},
        related=tuple(clean(name, _NAME) for name in names[:20]),
    )


def fault_alert(
    call: str, fault: Fault, names: Sequence[str], since_ns: int, key: str, *, lasted_ns: int | None = None
) -> Alert:
    """Return the alert that columns do not fit their reference, or that they do again."""
    verb, step = _FAULTS[fault]
    message = f"{clean(call)} {verb} {_listed(names)}"
    if lasted_ns is not None:
        message = f"{clean(call)} no longer {verb.replace('does not get', 'lacks')} {_listed(names)}, "
        message += f"after {duration(lasted_ns / 1e9)}"
    return Alert(
        id=f"drift-{crc32(key.encode()):08x}-{fault.replace(' ', '-')}-{since_ns:x}",
        check="drift",
        state="firing" if lasted_ns is None else "resolved",
        severity="critical" if fault in ("missing column", "type", "not finite") else "warning",
        since_ns=since_ns,
        target=clean(call),
        expected="columns as in the reference",
        seen=f"{fault}: {_listed(names)}",
        message=message,
        next_step=step if lasted_ns is None else "",
        evidence={"fault": fault, "columns": len(names)},
        related=tuple(clean(name, _NAME) for name in names[:20]),
    )


def columns_said(call: str, columns: Collection[Column], changed: Iterable[str]) -> str:
    """Return in one line how the data of *call* stand."""
    names = list(changed)
    begun = f"{clean(call)}: {count(len(columns), 'column')}"
    if names:
        return f"{begun}, changed: {_listed(names)}"
    return f"{begun}, as expected" if any(column.has_rows for column in columns) else f"{begun}, no rows seen"


def _named(name: str) -> str:
    """Return a column's name as it may stand in a sentence; those of arrays are numbers."""
    return f"column {name}" if name.isdecimal() else clean(name, _NAME)


def _columns(found: Sequence[Finding]) -> str:
    told = [f"{_named(one.name)} ({_moved(one)})" for one in found[:_SHOWN]]
    more = len(found) - len(told)
    return "; ".join(told) + (f"; and {count(more, 'more column')}" if more else "")


def _moved(one: Finding) -> str:
    name, expected, seen = one.shares[0] if one.shares else ("", 0.0, 0.0)
    share = f"{clean(name, _NAME)}: {_percent(seen)} instead of {_percent(expected)}, " if name else ""
    return f"{share}KS {number(one.distances.ks)}"


def _percent(share: float) -> str:
    return ratio(float(f"{share:.2g}"))


def _seen(found: Sequence[Finding]) -> str:
    first = found[0]
    rows = count(round(first.rows), "sampled row")
    return f"{_named(first.name)}, {_moved(first)}, in {rows}"


def _listed(names: Sequence[str]) -> str:
    told = [_named(name) for name in names[:_SHOWN]]
    more = len(names) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def _evidence(found: Sequence[Finding]) -> dict[str, AttributeValue]:
    told: dict[str, AttributeValue] = {"columns": len(found), "rows": round(found[0].rows)}
    for place, one in enumerate(found[:_SHOWN], 1):
        told[f"column_{place}"] = clean(one.name, _NAME)
        for measure, value in one.distances._asdict().items():
            if math.isfinite(value):
                told[f"{measure}_{place}"] = float(f"{value:.4g}")
        told[f"log_evidence_{place}"] = float(f"{one.log_evidence:.4g}")
    return told
