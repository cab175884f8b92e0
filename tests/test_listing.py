"""The names in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from holter.listing import Listing

LONG_AGO_NS = 10**18


def test_what_is_made_renamed_or_removed_shows(tmp_path: Path) -> None:
    """At once, also where it happens within one step of the file system's clock."""
    listing = Listing(tmp_path)
    assert frozenset() == listing.names()
    for number in range(200):
        (tmp_path / str(number)).touch()
        assert str(number) in listing.names()
    (tmp_path / "0").rename(tmp_path / "renamed")
    assert {"renamed"} == listing.names() - set(map(str, range(1, 200)))
    (tmp_path / "renamed").unlink()
    assert "renamed" not in listing.names()


def test_a_folder_that_has_not_changed_is_not_listed_again(tmp_path: Path) -> None:
    """Whoever asks each interval pays for a look at its time."""
    (tmp_path / "one").touch()
    os.utime(tmp_path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    listing = Listing(tmp_path)
    assert {"one"} == listing.names()
    (tmp_path / "two").touch()
    os.utime(tmp_path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert {"one"} == listing.names()


def test_no_folder_has_no_names(tmp_path: Path) -> None:
    """It may have been removed."""
    assert frozenset() == Listing(tmp_path / "gone").names()
