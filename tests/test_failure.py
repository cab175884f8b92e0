"""How a failure is classed: by its type alone, and without asking it anything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from contracts import hostile
from holter._ring import Ring
from holter.failure import PLACES_PER_RING, failed_series, note_place, outcome_of
from holter.names import CALL_OUTCOME, ERROR_TYPE
from holter.record import Outcome
from holter.series import ERROR_TYPES_PER_SERIES, SeriesTable


class NotFoundError(LookupError):
    """An answer of its own."""


class SlowError(TimeoutError):
    """A timeout of its own."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError(), Outcome.ERROR),
        (KeyboardInterrupt(), Outcome.ERROR),
        (ExceptionGroup("g", [TimeoutError()]), Outcome.ERROR),
        (TimeoutError(), Outcome.TIMEOUT),
        (SlowError(), Outcome.TIMEOUT),
        (asyncio.CancelledError(), Outcome.CANCELLED),
        (GeneratorExit(), Outcome.ABANDONED),
    ],
    ids=lambda value: getattr(value, "name", type(value).__name__),
)
def test_the_type_of_an_error_is_the_outcome(error: BaseException, outcome: Outcome) -> None:
    """Cancellation, timeout and a consumer that leaves are no errors."""
    assert outcome is outcome_of(error, ())


@pytest.mark.parametrize("error", [NotFoundError(), SlowError(), asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_what_is_expected_comes_first(error: BaseException) -> None:
    """A class that the user has named is expected, subclasses included, whatever it would be otherwise."""
    assert Outcome.EXPECTED is outcome_of(error, (LookupError, TimeoutError, BaseException))
    assert Outcome.EXPECTED is not outcome_of(error, (ConnectionError,))


def test_a_hostile_error_is_not_asked() -> None:
    """Neither for its class nor for anything else."""
    assert Outcome.ERROR is outcome_of(hostile.Error(), (LookupError,))
    assert Outcome.EXPECTED is outcome_of(hostile.Error(), (Exception,))


def test_asyncio_is_not_loaded_to_look_at_an_error() -> None:
    """A program without asyncio has no cancelled tasks."""
    program = """
import sys
from holter.failure import outcome_of
outcome_of(ValueError(), ())
print("asyncio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


def test_a_failure_is_a_part_of_its_series() -> None:
    """Outcome and canonical error type are its attributes; only an error and a timeout have a type."""
    table = SeriesTable()
    root = table.intern(1, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict"})
    seen: dict[Any, Any] = {}
    for error in (ValueError(), TimeoutError(), asyncio.CancelledError()):
        series, outcome = failed_series(table, root, error)
        assert root == table.root(series)
        seen[outcome] = {
            key: value for key, value in table[series].attributes.items() if key in {CALL_OUTCOME, ERROR_TYPE}
        }
    assert {
        Outcome.ERROR: {CALL_OUTCOME: "error", ERROR_TYPE: "ValueError"},
        Outcome.TIMEOUT: {CALL_OUTCOME: "timeout", ERROR_TYPE: "TimeoutError"},
        Outcome.CANCELLED: {CALL_OUTCOME: "cancelled"},
    } == seen


def test_types_beyond_the_twentieth_are_other() -> None:
    """A program that makes up error classes has 20 of them by name and one more for the rest."""
    table = SeriesTable()
    root = table.intern(1, "holter.call.duration", "s", "histogram", {})
    kinds = [type(f"Error{n}", (Exception,), {"__module__": "builtins"}) for n in range(50)]
    types = [table[failed_series(table, root, kind())[0]].attributes[ERROR_TYPE] for kind in kinds]
    assert [*(f"Error{n}" for n in range(ERROR_TYPES_PER_SERIES)), *["_OTHER"] * 30] == types


def test_places_are_counted_within_a_bound() -> None:
    """A ring keeps 64 places; what comes from others is counted together, and known ones go on."""
    ring = Ring(64)
    errors = []
    for n in range(PLACES_PER_RING + 10):
        scope: dict[str, Any] = {}
        exec(compile(f"def f{n}():\n raise ValueError", "made.py", "exec"), scope)  # noqa: S102 - our own line
        try:
            scope[f"f{n}"]()
        except ValueError as error:
            errors.append(error)
    for error in (*errors, errors[0]):
        note_place(ring, 7, error)
    assert PLACES_PER_RING + 1 == len(ring.places)
    assert 2 == ring.places[7, "ValueError", "made.py:2 in f0"]
    assert 10 == ring.places[7, "ValueError", "other places"]
