"""How a failure is recorded: its outcome, its type and its place."""

from __future__ import annotations

import sys
from typing import Final

from holter.guard import class_name, place_of
from holter.names import CALL_OUTCOME, ERROR_TYPE
from holter.record import Outcome
from holter.ring import Ring
from holter.series import SeriesTable

PLACES_PER_RING: Final = 64
_OTHER_PLACE: Final = "other places"

FAILED: Final = (Outcome.ERROR, Outcome.TIMEOUT)

ExceptionTypes = tuple[type[BaseException], ...]


def outcome_of(error: BaseException, expected: ExceptionTypes) -> Outcome:
    """
    Return how a call ended that *error* leaves.

    Looks at the error's type alone, as an ``except`` clause does: nothing of the error runs.
    """
    kind = type(error)
    if _is_one_of(kind, expected):
        return Outcome.EXPECTED
    if _is_one_of(kind, (GeneratorExit,)):
        return Outcome.ABANDONED
    if _is_one_of(kind, (TimeoutError,)):
        return Outcome.TIMEOUT
    cancelled = getattr(sys.modules.get("asyncio.exceptions"), "CancelledError", None)
    if cancelled is not None and _is_one_of(kind, (cancelled,)):
        return Outcome.CANCELLED
    return Outcome.ERROR


def _is_one_of(kind: type[BaseException], classes: ExceptionTypes) -> bool:
    return any(type.__subclasscheck__(cls, kind) for cls in classes)


def failed_series(
    table: SeriesTable, series: int, error: BaseException, expected: ExceptionTypes = ()
) -> tuple[int, Outcome]:
    """Return the part of *series* that counts what *error* leaves, and its outcome."""
    outcome = outcome_of(error, expected)
    attributes = {CALL_OUTCOME: outcome.label}
    if outcome in FAILED:
        attributes[ERROR_TYPE] = class_name(type(error))
    return table.failed_part(series, attributes), outcome


def note_place(ring: Ring, root: int, error: BaseException) -> None:
    """Count where *error* came from, among the places of the calls *root*; 64 places a ring, then "other places"."""
    error_type, place = class_name(type(error)), place_of(error)
    places = ring.places
    key = (root, error_type, place)
    if key not in places and len(places) >= PLACES_PER_RING:
        key = (root, error_type, _OTHER_PLACE)
    places.setdefault(key, 0)
    # Without a call in between: what interrupts this may count an error of its own.
    places[key] += 1
