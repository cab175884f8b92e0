"""
The bytes of a recording file, format 1: the contract of its writer and every reader.

All little-endian. The file is a header, a directory and sections:

    header (512 bytes) | directory (entries x 32) | sections, each aligned to 64 bytes

An entry of the directory is {offset, length, number, kind and version}; its last word is stored
last, and 0 there means an unused entry. Readers skip kinds that they do not know. The file grows
by whole segments; no length in it is to be trusted beyond the size that the file system tells.

What is rewritten has two halves, written in turn (`holter.halves`), or a word that says what is
being written, so that a process may be killed between any two stores.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from typing import Final

import numpy as np

from holter.record import CELL, CELL_WORDS, CELLS_PER_BLOCK

MAGIC: Final = b"\x89HOLTER\n"
BYTE_ORDER: Final = 0x0102030405060708
MAJOR: Final = 1
MINOR: Final = 0
SUFFIX: Final = ".holter"
TOLD: Final = ".dead"
"""In the name of a recording whose process is known to be dead, and whose death has been told."""

HEADER_BYTES: Final = 512
ALIGNMENT: Final = 64
# In 8-byte words of the header, behind the magic.
ORDER_WORD: Final = 1
FORMAT_WORD: Final = 2  # major in the low 32 bits, minor in the high ones
DIRECTORY_WORD: Final = 3  # how many entries
STATE_WORD: Final = 4
LOST_WORD: Final = 5  # `lost_word` of how many records were overwritten before the collector read them; 0 is unknown
CREATED_WORD: Final = 6  # when the recording was begun, monotonic ns; 0 is unknown
BEAT_WORDS: Final = (8, 12)  # two halves: {sequence, monotonic ns, Unix ns, check}
NAME_WORD: Final = 16  # the service's name in UTF-8, filled up with zeros, to the end of the header
NAME_BYTES: Final = HEADER_BYTES - 8 * NAME_WORD


class FileState(IntEnum):
    """What the process has said of itself last."""

    RUNNING = 1
    STOPPED = 2
    """It goes on, no monitor runs."""
    CLOSED = 3
    """It has ended as it wanted to."""
    FAILED = 4
    """It has ended, and said that something went wrong."""


class Section(IntEnum):
    """What a section holds; its number in the directory tells sections of one kind apart."""

    IDENTITY = 1
    """JSON: the process, its host, its limits; filled up with zeros."""
    SERIES = 2
    """{bytes used}, then a JSON list a line: the series, appended; the length is stored last."""
    RING = 3
    """A ring as in `holter.record`; the number is the ring's."""
    CELLS = 4
    """32 words {ring + 1, block}, then as many blocks of 64 cells."""
    FOLD = 5
    """Two halves: what the collector has folded, the sequence folded of each ring, totals of rings elsewhere."""
    PAST = 6
    """{intervals, added, being added, left out}, then their times and lengths; the number is the scope's."""
    PAST_ROWS = 7
    """8 words of series ids, then as many rows of points; the number is scope * 2**32 + place of the first row / 8."""
    NOTICES = 8
    """Two halves of JSON: the last alerts and places of errors."""
    MEMBERSHIP = 9
    """{bytes used}, then a JSON list a line: which scope is part of which group; appended as series are."""


ENTRY: Final = np.dtype([("offset", "<u8"), ("length", "<u8"), ("number", "<u8"), ("kind", "<u4"), ("version", "<u4")])
SECTION_VERSION: Final = 1

BLOCK_BYTES: Final = CELLS_PER_BLOCK * CELL_WORDS * 8
BLOCKS_PER_SECTION: Final = 32
CELLS_BYTES: Final = BLOCKS_PER_SECTION * (8 + BLOCK_BYTES)
ROWS_PER_SECTION: Final = 8
PAST_HEADER_BYTES: Final = 32

FOLD_HEADER: Final = np.dtype(
    [
        ("monotonic_ns", "<i8"),
        ("lost", "<i8"),
        ("left_out", "<i8"),
        ("readings", "<i8"),
        ("buckets", "<i8"),
        ("cursors", "<i8"),
        ("cells", "<i8"),
        ("unused", "<i8"),
    ]
)
"""How many of each follow: READINGs, counts of buckets, CURSORs, cells of rings ELSEWHERE, indices of buckets."""

READING: Final = np.dtype(
    [
        ("series", "<i8"),
        ("count", "<i8"),
        ("sum", "<f8"),
        ("units", "<i8"),
        ("minimum", "<f8"),  # NaN for what is not known, here and in the next three
        ("maximum", "<f8"),
        ("first", "<f8"),
        ("last", "<f8"),
        ("first_ns", "<i8"),
        ("last_ns", "<i8"),
        ("scale", "<i8"),
        ("zeros", "<i8"),
        ("nonfinite", "<i8"),
        ("positive", "<i4"),  # how many buckets that are not empty, first those of the positive values
        ("negative", "<i4"),
    ]
)
NO_HISTOGRAM: Final = 127
"""The scale of a reading that has no histogram."""
BUCKET_INDEX: Final = np.dtype("<i4")
BUCKET_COUNT: Final = np.dtype("<i8")
CURSOR: Final = np.dtype([("ring", "<i8"), ("sequence", "<i8")])
ELSEWHERE: Final = np.dtype([("series", "<i8"), ("cell", CELL)])

RECORDED: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("value", "<f8"),
        ("sequence", "<i8"),
        ("series", "<u4"),
        ("units", "<u4"),
        ("ring", "<u4"),
        ("outcome", "u1"),
    ],
    align=True,
)
"""A record as it is read back."""


def aligned(size: int) -> int:
    """Return *size* rounded up to where the next section may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def beat_check(sequence: int, monotonic_ns: int, wall_ns: int) -> int:
    """Return the word that tells a heartbeat that was written whole."""
    return sequence ^ monotonic_ns ^ wall_ns ^ BYTE_ORDER


def lost_word(lost: int) -> int:
    """Return the word that tells how many records were *lost*: 48 bits, and 16 that tell whether they are damaged."""
    lost %= 2**48
    return lost << 16 | zlib.crc32(lost.to_bytes(8, "little")) & 0xFFFF


def longest_text(size: int) -> int:
    """Return how long a JSON document may be in a file of *size* bytes: parsed it takes up to 20 times as much."""
    return max(16_384, size // 16)
