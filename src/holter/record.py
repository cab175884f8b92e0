"""
The bytes of a ring: the contract of every writer and every reader.

All little-endian, all parts aligned to 32 bytes. A ring is one block of memory:

    header (128 bytes) | slots (257 x 32) | records (capacity x 32)

and its cells lie in blocks of their own, 64 series each. ``commit`` of a record is
``sequence << 8 | outcome << 2 | state``. Sequences count from 1 per ring and never restart, so
the record with sequence n lies at index ``(n - 1) & (capacity - 1)`` and gaps are exact losses.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class State(IntEnum):
    """How far the writing of a record has come."""

    UNUSED = 0
    BUSY = 1
    COMMITTED = 2


class Outcome(IntEnum):
    """How what a record describes has ended."""

    OK = 0
    ERROR = 1
    EXPECTED = 2
    CANCELLED = 3
    TIMEOUT = 4
    ABANDONED = 5

    @property
    def label(self) -> str:
        """The value of the attribute ``holter.call.outcome``."""
        return self.name.lower()


class Ownership(IntEnum):
    """Whose a ring is."""

    FREE = 0
    OWNED = 1
    ORPHANED = 2


RECORD: Final = np.dtype([("commit", "<u8"), ("time_ns", "<i8"), ("value", "<f8"), ("series", "<u4"), ("units", "<u4")])
CELL: Final = np.dtype([("count", "<i8"), ("sum", "<f8"), ("units", "<i8"), ("begun", "<i8")])
GAUGE_CELL: Final = np.dtype([("count", "<i8"), ("last", "<f8"), ("minimum", "<f8"), ("maximum", "<f8")])
SLOT: Final = np.dtype([("start_ns", "<i8"), ("series", "<i8"), ("task", "<i8"), ("asked_ns", "<i8")])

SEQUENCE_SHIFT: Final = 8
OUTCOME_SHIFT: Final = 2
STATE_MASK: Final = 3
OUTCOME_MASK: Final = 63
UNITS_MAXIMUM: Final = 2**32 - 1

# Header, in 8-byte words; what the writer stores often has a cache line to itself.
STATE_WORD: Final = 0
EPOCH_WORD: Final = 1
HEAD_WORD: Final = 2
PID_WORD: Final = 8
THREAD_WORD: Final = 9
CAPACITY_WORD: Final = 10
HEADER_WORDS: Final = 16

SLOTS: Final = 256
SLOT_WORDS: Final = 4
RECORD_WORDS: Final = 4
CELL_WORDS: Final = 4
CELLS_PER_BLOCK: Final = 64

FIRST_SLOT_WORD: Final = HEADER_WORDS
# One slot more than is read: it takes the stores of calls for which no slot was left.
SPARE_SLOT_WORD: Final = FIRST_SLOT_WORD + SLOTS * SLOT_WORDS
FIRST_RECORD_WORD: Final = SPARE_SLOT_WORD + SLOT_WORDS

SMALL_CAPACITY: Final = 1024
LARGE_CAPACITY: Final = 16384


def ring_bytes(capacity: int) -> int:
    """The size of a ring's block of memory for *capacity* records."""
    return 8 * (FIRST_RECORD_WORD + capacity * RECORD_WORDS)
