"""The header and the directory of a file that may be anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holter.errors import RecordingError
from holter.layout import BYTE_ORDER, DIRECTORY_WORD, ENTRY, FORMAT_WORD, HEADER_BYTES, ORDER_WORD, STATE_WORD, Section
from holter.sections import Sections
from lives import Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes recordings, which need Linux")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording of a process that is no longer looked at."""
    life = Life(tmp_path)
    life.turn()
    path = tmp_path / "file.holter"
    path.write_bytes(life.recording.path.read_bytes())
    return path


def change(path: Path, word: int, value: int) -> None:
    """Replace one word of the header."""
    words = np.frombuffer(path.read_bytes(), "<u8").copy()
    words[word] = value
    path.write_bytes(words.tobytes())


def entries(path: Path, edit: Callable[[np.ndarray], None]) -> None:
    """Edit the used entries of the directory."""
    content = bytearray(path.read_bytes())
    rows = np.frombuffer(content, ENTRY, 32, HEADER_BYTES)
    used = rows[rows["kind"] > 0]
    edit(used)
    content[HEADER_BYTES : HEADER_BYTES + used.nbytes] = used.tobytes()
    path.write_bytes(content)


def refusal(path: Path) -> str:
    """Return why a file is refused, after which no descriptor is left open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RecordingError) as caught:
        Sections(path)
    assert before == len(list(Path("/proc/self/fd").iterdir()))
    return str(caught.value)


def missing(path: Path) -> list[str]:
    """Return what cannot be read of a file that is not refused."""
    with Sections(path) as sections:
        return sections.missing


def test_a_whole_file_misses_nothing(path: Path) -> None:
    """Sections of a kind come in the order of their numbers."""
    assert [] == missing(path)
    with Sections(path) as sections:
        rings = [place.number for place in sections.places(Section.RING)]
        assert [] == sections.places(99)
    assert sorted(rings) == rings != []


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    """Another file, an empty one, a folder; a pipe that nobody writes to holds up nobody."""
    for name, content in (("a", b""), ("b", b"x" * 9_000), ("c", b"\x89HOLTER\n")):
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name).endswith("is no recording of holter: it does not begin as one")
    os.mkfifo(tmp_path / "pipe")
    assert "it is no file" in refusal(tmp_path / "pipe")
    assert "it is no file" in refusal(tmp_path)
    with pytest.raises(FileNotFoundError):
        Sections(tmp_path / "none")


def test_another_byte_order_is_said(path: Path) -> None:
    """And what reads it."""
    change(path, ORDER_WORD, int.from_bytes(BYTE_ORDER.to_bytes(8, "little"), "big"))
    assert "other byte order: read it on one of its kind" in refusal(path)


def test_a_later_format_is_said(path: Path) -> None:
    """A major one is refused with what reads it; of a minor one what is known is read."""
    change(path, FORMAT_WORD, 2)
    assert "has format 2, this holter reads format 1: read it with the holter that wrote it" in refusal(path)
    change(path, FORMAT_WORD, 5 << 32 | 1)
    assert ["what format 1.5 has and 1.0 has not: a newer holter wrote it"] == missing(path)
    entries(path, lambda rows: rows["kind"].put(0, 77))
    assert 1 == len(missing(path))


@pytest.mark.parametrize(("word", "value"), [(ORDER_WORD, 1), (FORMAT_WORD, 0)])
def test_a_damaged_header_is_said(word: int, value: int, path: Path) -> None:
    """What has the right beginning and nothing else is none."""
    change(path, word, value)
    assert "its header is damaged" in refusal(path)


def test_a_damaged_state_and_a_long_directory_are_said(path: Path) -> None:
    """The rest is read."""
    change(path, STATE_WORD, 99)
    assert ["the state of the process: it is damaged"] == missing(path)
    change(path, DIRECTORY_WORD, 2**63)
    assert any("a part of the directory" in words for words in missing(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", 2**64 - 8), ("offset", 8), ("offset", 0), ("length", 2**64 - 1), ("length", 0), ("length", 2**40)],
)
def test_a_section_that_does_not_lie_in_the_file_is_left_out(field: str, value: int, path: Path) -> None:
    """Beyond its end, in the header, of no length."""
    # The last one, which no other can be hidden by.
    entries(path, lambda rows: rows[field].put(rows["offset"].argmax(), value))
    assert ["1 sections: the file is cut off or damaged"] == missing(path)


def test_the_same_bytes_are_not_read_twice(path: Path) -> None:
    """A thousand sections in one place would take a thousand times the memory."""

    def pile(rows: np.ndarray) -> None:
        rows["offset"], rows["length"], rows["kind"] = rows["offset"][-1], rows["length"][-1], Section.RING

    entries(path, pile)
    with Sections(path) as sections:
        assert 1 == len(sections.places(Section.RING))


def test_a_section_of_a_later_version_is_left_out(path: Path) -> None:
    """And counted."""
    entries(path, lambda rows: rows["version"].put(0, 2))
    assert ["1 sections that a newer holter wrote"] == missing(path)
