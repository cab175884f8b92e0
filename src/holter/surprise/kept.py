"""What is kept of a signal's past from one process to the next: some hundred bytes, of any byte order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.surprise.baseline import BINS, WEEK_PARTS
from holter.surprise.detector import Detector
from holter.surprise.extremes import KEPT
from holter.surprise.ranks import QUANTILES
from holter.surprise.scatter import HOURS
from holter.surprise.stride import WALKS

_KEPT_QUANTILES: Final = np.append(np.arange(0, QUANTILES, 2), QUANTILES - 1)
"""Every second one and the last, to the bit, so that equal values stay equal; the others are means of two."""
_CELLS: Final = (
    "age", "scatter", "unusual", "often", "known", "level", "beside", "steps", "is_used", "used_from", "days_used",
    "is_weekly", "blocks", "values", "memory", "swing", "follows",
)  # fmt: skip
_FIELDS: Final = [
    ("direction", "i1"), ("origin", "<f8"), ("began", "<f8"), *((name, "<f4") for name in _CELLS),
    ("quantiles", "<f4", (len(_KEPT_QUANTILES),)), ("error", "<f4", (2,)), ("week_error", "<f4", (2,)),
    ("tails", "<f2", (2, WALKS)), ("tail_blocks", "<f2", (1,)), ("top", "<f2", (2, KEPT)), ("square", "<f2", (2,)),
    ("variance", "<f4", (2,)),
]  # fmt: skip
_DAILY_FIELDS: Final = [
    ("day", "<i2", (BINS,)), ("day_visits", "u1", (BINS // 2,)), ("week", "i1", (WEEK_PARTS,)),
    ("week_visits", "u1", (WEEK_PARTS // 2,)), ("hours", "i1", (HOURS,)),
]  # fmt: skip
_RECORDS: Final = {False: np.dtype(_FIELDS), True: np.dtype(_FIELDS + _DAILY_FIELDS)}


def bytes_of(detector: Detector) -> int:
    """Return how many bytes are kept of a signal: 527 where the time of the day is learnt, else 299."""
    return _RECORDS[detector.baseline.is_daily].itemsize


def _cells(detector: Detector) -> dict[str, npt.NDArray[Any]]:
    """Return what is one number a signal, by name."""
    baseline, extremes = detector.baseline, detector.extremes
    return {
        "origin": detector.origin, "began": detector.began, "age": detector.age, "scatter": detector.scatter.overall,
        "unusual": detector.unusual.steps, "often": detector.unusual.often, "known": detector.ranks.known,
        "level": baseline.level, "beside": baseline.beside, "steps": baseline.steps, "is_used": baseline.is_used,
        "used_from": baseline.used_from, "days_used": baseline.days_used, "is_weekly": baseline.is_weekly,
        "blocks": extremes.blocks, "values": extremes.values, "memory": detector.memory.blocks,
        "swing": detector.steadiness.swing, "follows": detector.steadiness.follows,
    }  # fmt: skip


def _columns(detector: Detector) -> dict[str, npt.NDArray[Any]]:
    """Return what is several numbers a signal and kept as it is, by name, signals last."""
    return {
        "error": detector.baseline.error, "week_error": detector.baseline.week_error,
        "tail_blocks": detector.tails.blocks, "square": detector.scatter.square, "variance": detector.memory.variance,
    }  # fmt: skip


def _times(detector: Detector) -> dict[str, npt.NDArray[Any]]:
    """Return what is known of times, by name, signals first."""
    day, week = detector.baseline.day, detector.baseline.week
    return {
        "day": day.means, "day_visits": day.visits, "week": week.means, "week_visits": week.visits,
        "hours": detector.scatter.hours,
    }  # fmt: skip


def packed(detector: Detector, rows: npt.NDArray[np.intp]) -> list[bytes]:
    """Return what is known of the signals of these *rows*, `bytes_of` each."""
    records = np.zeros(len(rows), _RECORDS[detector.baseline.is_daily])
    records["direction"] = detector.way[rows]
    for name, cells in _cells(detector).items():
        records[name] = cells[rows]
    for name, columns in _columns(detector).items():
        records[name] = columns[:, rows].T
    records["quantiles"] = detector.ranks.quantiles[rows][:, _KEPT_QUANTILES]
    if detector.baseline.is_daily:
        for name, times in _times(detector).items():
            records[name] = times[rows]
    records["tails"][:, 0], records["tails"][:, 1] = detector.tails.level[:, rows].T, detector.tails.excess[:, rows].T
    records["top"] = np.minimum(detector.extremes.top[:, rows].transpose(1, 0, 2), np.finfo(np.float16).max)
    content, size = records.tobytes(), bytes_of(detector)
    return [content[at : at + size] for at in range(0, len(content), size)]


def unpack(detector: Detector, rows: npt.NDArray[np.intp], content: list[bytes]) -> None:
    """
    Put what `packed` returned into *rows*; whoever does so calls ``prepare()`` afterwards.

    Raises:
        ValueError: it is something else.
    """
    if len(content) != len(rows) or any(len(one) != bytes_of(detector) for one in content):
        raise ValueError("not what is known of a signal")
    records = np.frombuffer(b"".join(content), _RECORDS[detector.baseline.is_daily])
    if not all(np.isfinite(records[name].astype(float)).all() for name in records.dtype.names or ()):
        raise ValueError("not what is known of a signal")
    detector.face(rows, records["direction"])
    for name, cells in _cells(detector).items():
        cells[rows] = records[name]
    for name, columns in _columns(detector).items():
        columns[:, rows] = records[name].T
    quantiles = np.zeros((len(rows), QUANTILES), np.float32)
    quantiles[:, _KEPT_QUANTILES] = records["quantiles"]
    quantiles[:, 1:-1:2] = (quantiles[:, :-2:2] + quantiles[:, 2::2]) / 2
    detector.ranks.quantiles[rows] = quantiles
    if detector.baseline.is_daily:
        for name, times in _times(detector).items():
            times[rows] = records[name]
    detector.tails.level[:, rows], detector.tails.excess[:, rows] = records["tails"].transpose(1, 2, 0)
    detector.extremes.top[:, rows] = records["top"].transpose(1, 0, 2)
