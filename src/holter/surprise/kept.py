"""What is kept of a signal's past from one process to the next: some 600 bytes, of any byte order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holter.surprise.detector import Detector

_NUMBERS: Final = ("origin", "began", "age", "scatter", "unusual", "often")


def _columns(detector: Detector, row: int) -> list[npt.NDArray[Any]]:
    ranks, baseline, tails = detector.ranks, detector.baseline, detector.tails
    return [
        ranks.quantiles[row], baseline.of_day[row], baseline.visits[row], baseline.error[:, row], tails.level[:, row],
        tails.excess[:, row], tails.blocks[:, row], detector.extremes.top[:, row], detector.square[:, row],
        detector.memory.variance[:, row],
    ]  # fmt: skip


def _cells(detector: Detector) -> list[npt.NDArray[Any]]:
    baseline, extremes, memory = detector.baseline, detector.extremes, detector.memory
    return [
        *(getattr(detector, name) for name in _NUMBERS), detector.ranks.known, baseline.level, baseline.steps,
        baseline.beside, baseline.is_used, extremes.blocks, extremes.values, memory.blocks,
    ]  # fmt: skip


def packed(detector: Detector, row: int) -> tuple[list[float], bytes]:
    """Return what is known of a signal, as numbers and as bytes."""
    direction = float(np.sign(detector.sides[:, row].sum()))
    numbers = [direction, *(float(cell[row]) for cell in _cells(detector))]
    parts = [np.asarray(column) for column in _columns(detector, row)]
    return numbers, b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)


def unpack(detector: Detector, row: int, numbers: list[float], content: bytes) -> None:
    """
    Put what `packed` returned into a *row*; whoever does so calls ``prepare()`` afterwards.

    Raises:
        ValueError: it is something else.
    """
    cells, columns = _cells(detector), _columns(detector, row)
    sizes = [column.nbytes for column in columns]
    if len(numbers) != len(cells) + 1 or len(content) != sum(sizes) or not np.isfinite(numbers).all():
        raise ValueError("not what is known of a signal")
    for cell, number in zip(cells, numbers[1:], strict=True):
        cell[row] = number
    for column in columns:
        size = column.nbytes
        part = np.frombuffer(content[:size], column.dtype.newbyteorder("<")).reshape(column.shape)
        if not np.isfinite(part.astype(np.float64)).all():
            raise ValueError("not what is known of a signal")
        column[...] = part
        content = content[size:]
