"""`holter profile`: data in, a reference and a picture out, and what cannot be read said in a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from holter import Profile


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    words = [sys.executable, "-W", "error", "-m", "holter", "profile", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def data(folder: Path, parts: int = 2) -> list[Path]:
    """Write a table in so many files."""
    table = pd.DataFrame({"age": np.arange(100.0), "country": ["CH", "AT"] * 50, "bought": [0, 0, 1, 0] * 25})
    paths = []
    for place, rows in enumerate(np.array_split(np.arange(100), parts)):
        paths.append(folder / f"part-{place}.csv")
        table.iloc[rows].to_csv(paths[-1], index=False)
    return paths


def test_several_files_become_one_reference(tmp_path: Path) -> None:
    """That of all their rows; the table, the progress and the paths are printed."""
    output, page = tmp_path / "reference.json", tmp_path / "picture.html"
    done = command(*data(tmp_path), "-o", output, "--html", page, "--label", "bought", "--categories", "country")
    assert (0, "") == (done.returncode, done.stderr)
    profile = Profile.read(output)
    (whole,) = data(tmp_path, 1)
    expected = Profile.of_file(whole, label="bought", categories=["country"])
    for name, column in expected.columns.items():
        found = profile.columns[name]
        assert column.numbers is None or column.numbers.sketch.to_dict() == found.numbers.sketch.to_dict()
        assert column.categories is None or column.categories.counts == found.categories.counts
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["age", "100", "100", "0", "49", "99"] in [row[:6] for row in rows]
    for text in ("100%", "bought (label)", "100 rows", str(output), str(page)):
        assert text in done.stdout, done.stdout
    assert 3 == page.read_text().count("<svg")


def test_without_output_it_only_looks(tmp_path: Path) -> None:
    """The table alone; no file is written."""
    (path,) = data(tmp_path, 1)
    done = command(path)
    assert (0, [path]) == (done.returncode, list(tmp_path.iterdir()))
    assert "categories" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv"], "missing.csv: No such file or directory"),
        (["part-0.csv", "--label", "wage"], "label must be one of age, bought, country, got 'wage'"),
        (["part-0.csv", "-o", "no/folder/r.json"], "No such file or directory"),
        (["table.xlsx"], "expected a file named .csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    """With exit code 1."""
    data(tmp_path)
    done = command(*[tmp_path / one if "." in one and not one.startswith("-") else one for one in arguments])
    assert (1, True, 1) == (done.returncode, words in done.stderr, done.stderr.count("\n")), done.stderr
