"""The sum over counters of things that come and go, without a jump when one does."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add


class Growth:
    """
    What the counters of many things have come to together; it never falls, and never jumps.

    It begins as their plain sum. From then on each thing adds what its own counter has grown. One that is new
    begins at what it says, one that vanishes takes nothing back, and one whose counter falls, because its driver
    was loaded again or because it wrapped, goes on from there.

    >>> growth = Growth()
    >>> growth.now({"eth0": (100, 10), "eth1": (5000, 500)})
    (5100, 510)
    >>> growth.now({"eth0": (130, 11), "usb0": (7, 7)})
    (5130, 511)
    """

    def __init__(self) -> None:
        self._total: tuple[float, ...] | None = None
        self._before: Mapping[str, tuple[float, ...]] = {}

    def now(self, counters: Mapping[str, tuple[float, ...]]) -> tuple[float, ...] | None:
        """Return the sums now that the things have these *counters*, None where there are none."""
        before, self._before = self._before, counters
        if not counters:
            return None
        if self._total is None:
            self._total = tuple(map(sum, zip(*counters.values(), strict=True)))
            return self._total
        for thing, values in counters.items():
            if thing in before:
                grown = (max(0, now - then) for now, then in zip(values, before[thing], strict=True))
                self._total = tuple(map(add, self._total, grown))
        return self._total
