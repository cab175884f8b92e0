"""Mergeable counts of categories: the frequent ones with their counts, and how many different ones there are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_MOST: Final = 1_024
_PRECISION: Final = 12
_REGISTERS: Final = 1 << _PRECISION
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)
_FIRST_LETTER: Final = ord("0")
_LONGEST_WORD: Final = 64
LONGEST: Final = 80
"""A category with more letters is known by its hash."""


class Categories:
    """
    How often each category came, as counts that can be merged.

    Exact up to 1,024 different ones; beyond that each count is too small by at most ``error``, which is at most
    1/1,024 of all (Misra and Gries 1982; merged as Agarwal et al., "Mergeable summaries", PODS 2012). Not
    thread-safe.

    >>> colours = Categories()
    >>> colours.update({"red": 3, "blue": 1})
    >>> colours.top()
    [('red', 3), ('blue', 1)]
    """

    __slots__ = ("count", "counts", "error")

    def __init__(self) -> None:
        self.count, self.error = 0, 0
        self.counts: dict[str, int] = {}

    def update(self, counted: Mapping[str, int]) -> None:
        """Take in how often each category came once more."""
        self.count += sum(counted.values())
        self._add(counted)
        self._shrink()

    def merged(self, other: Categories) -> Categories:
        """Return the counts of both."""
        both = Categories()
        both.count, both.error, both.counts = self.count + other.count, self.error + other.error, dict(self.counts)
        both._add(other.counts)
        both._shrink()
        return both

    @property
    def is_exact(self) -> bool:
        """Whether every category is named, with its true count."""
        return not self.error and sum(self.counts.values()) == self.count

    def top(self, most: int = _MOST) -> list[tuple[str, int]]:
        """Return the most frequent categories with their counts, the most frequent first, then by name."""
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]

    def _add(self, counted: Mapping[str, int]) -> None:
        counts = self.counts
        for category, count in counted.items():
            counts[category] = counts.get(category, 0) + count

    def _shrink(self) -> None:
        if len(self.counts) <= _MOST:
            return
        # The count of the first one that finds no room is taken from all: what is left of them is surely theirs.
        taken = sorted(self.counts.values(), reverse=True)[_MOST]
        self.error += taken
        self.counts = {category: count - taken for category, count in self.counts.items() if count > taken}

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to know; a category that came only once is not named."""
        repeated = [[category, count] for category, count in self.top() if count > 1]
        return {"count": self.count, "error": self.error, "top": repeated}

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> Categories:
        """
        Return the counts that *state* tells of.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        counts = cls()
        counts.count, counts.error = int(state["count"]), int(state["error"])
        for category, count in state["top"]:
            counts.counts[str(category)] = int(count)
        if not 0 <= counts.error <= counts.count or len(counts.counts) > _MOST:
            raise ValueError(f"counts of {counts.count} categories cannot be off by {counts.error}")
        if any(count < 1 for count in counts.counts.values()) or sum(counts.counts.values()) > counts.count:
            raise ValueError(f"the counts of the categories do not add up to {counts.count}")
        return counts


class Distinct:
    """
    How many different values there are, to within 5 % (1.6 % as a rule), as a sketch that can be merged.

    Flajolet et al., "HyperLogLog" (2007), with 4,096 registers of a byte and linear counting where few are taken.
    What is merged is what one would have got from all: to the bit, in any order. Not thread-safe.

    >>> letters = Distinct()
    >>> letters.update(hashed("abcabc"))
    >>> letters.estimate()
    3
    """

    __slots__ = ("_registers",)

    def __init__(self) -> None:
        self._registers = np.zeros(_REGISTERS, dtype=np.uint8)

    def update(self, hashes: Words) -> None:
        """Take in values by their *hashes*."""
        places = (hashes >> np.uint64(64 - _PRECISION)).astype(np.intp)
        rest = hashes & np.uint64((1 << (64 - _PRECISION)) - 1)
        # A float's exponent tells the first bit that is set; what is rounded up to the next power is one in 2**53.
        length = np.frexp(rest.astype(np.float64))[1]
        np.maximum.at(self._registers, places, (64 - _PRECISION + 1 - length).astype(np.uint8))

    def merged(self, other: Distinct) -> Distinct:
        """Return the sketch of the values of both."""
        both = Distinct()
        both._registers = np.maximum(self._registers, other._registers)
        return both

    def estimate(self) -> int:
        """Return about how many different values there are."""
        empty = int((self._registers == 0).sum())
        raw = _ALPHA * _REGISTERS**2 / float(np.exp2(-self._registers.astype(float)).sum())
        # Linear counting is the better one as long as it is used: below two and a half values a register.
        is_sparse = empty and raw <= 2.5 * _REGISTERS
        return round(_REGISTERS * float(np.log(_REGISTERS / empty)) if is_sparse else raw)

    def to_text(self) -> str:
        """Return a letter a register."""
        return (self._registers + _FIRST_LETTER).tobytes().decode("ascii")

    @classmethod
    def of_text(cls, text: str) -> Distinct:
        """
        Return the sketch that *text* tells of.

        Raises:
            ValueError: it is not what `to_text` returns.
        """
        registers = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - np.uint8(_FIRST_LETTER)
        if len(registers) != _REGISTERS or registers.max(initial=0) > _LONGEST_WORD:
            raise ValueError(f"a sketch of different values has {_REGISTERS} letters, got {len(registers)}")
        sketch = cls()
        sketch._registers = registers
        return sketch


def hashed(texts: Iterable[str]) -> Words:
    """Return 64 bits of each text, the same in every process."""
    digests = b"".join(_digest(text) for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def hashed_numbers(values: npt.NDArray[np.float64]) -> Words:
    """Return 64 bits of each number, by the finaliser of MurmurHash3; -0.0 is 0.0."""
    bits = (values + 0.0).view(np.uint64)
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return bits ^ (bits >> np.uint64(33))


def category(text: str) -> str:
    """Return what a category is known by: itself, or if it is long its hash."""
    return text if len(text) <= LONGEST else f"#{_digest(text).hex()} ({len(text)} letters)"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
