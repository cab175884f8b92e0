"""What a block of steps has to teach."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holter.surprise.normal import Bools, Floats


class Lesson(NamedTuple):
    """A block of ``(signals, steps)``, and of each signal what is known of it as a whole."""

    scores: Floats
    places: Floats
    """Those of `Baseline`; one row where all signals share their time."""
    reach: Floats
    """How far each score scatters about what is usual."""
    there: Bools
    """Which there are, of signals that are judged."""
    taught: Bools
    """Which of them tell of what is usual."""
    held: Bools
    """Of which signals it teaches nothing of that, as a walk is up and may be on its way to an alarm."""
    lived: Floats
    """For how many seconds each signal has been seen."""
    steady: npt.NDArray[np.float32]
    """How steady it is, 0 to 1."""
