"""The pictures of the documentation show what the code does today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
SCRIPTS = sorted(path for path in PICTURES.glob("*.py") if path.name != "canvas.py")
DESCRIPTION = re.compile(r"<dc:description>(.*?)</dc:description>", re.DOTALL)


def described(picture: Path) -> str:
    """Return what a picture says in words: its title, and what alarmed when."""
    found = DESCRIPTION.search(picture.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_picture_shows_where_its_signal_alarms_today(script: Path, tmp_path: Path) -> None:
    """Drawn anew, it tells of the same alarms as the one that is kept."""
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    assert described(script.with_suffix(".svg")) == described(tmp_path / f"{script.stem}.svg")


def test_each_picture_is_on_a_page_and_each_script_has_one() -> None:
    """Nothing is drawn that no page shows."""
    pages = "".join(page.read_text(encoding="utf-8") for page in PICTURES.parent.rglob("*.md"))
    shown = set(re.findall(r"pictures/([\w-]+)\.svg", pages))
    assert {script.stem for script in SCRIPTS} == {path.stem for path in PICTURES.glob("*.svg")} == shown
