"""What is to be done when the process ends, however Python and multiprocessing end it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any


class Farewell:
    """
    Calls a function at the end of the process; of several those made last first.

    A child of multiprocessing leaves by ``os._exit``, which skips ``atexit``, and calls finalizers instead, those
    of the highest *priority* first.
    """

    def __init__(self, function: Callable[[], object], priority: int) -> None:
        self._function, self._priority, self._pid = function, priority, os.getpid()
        self._finalizer: Any = None
        atexit.register(function)
        if "multiprocessing.util" in sys.modules:
            self._finalize()
            # One that imports its main module, and with it begins to record, forgets its finalizers after that.
            sys.modules["multiprocessing.util"].register_after_fork(self, Farewell._finalize)

    def _finalize(self) -> None:
        if os.getpid() == self._pid:
            finalize = sys.modules["multiprocessing.util"].Finalize
            self._finalizer = finalize(self, self._function, exitpriority=self._priority)

    def cancel(self) -> None:
        """Do nothing at the end."""
        self._pid = 0
        atexit.unregister(self._function)
        if self._finalizer is not None:
            self._finalizer.cancel()
