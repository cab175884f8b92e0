"""
Fail on every skipped test that .ci/allowed_skips.txt does not name.

A test whose component is missing skips for a user; where the components are installed, a skip is
a test that nobody runs. Takes the path of pytest's JUnit XML file, and perhaps of another list.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree as ET

ALLOWED = Path(__file__).parent / "allowed_skips.txt"


def main(report: str, allowed: str | Path = ALLOWED) -> int:
    """Print the skips and return how many of them are not allowed."""
    text = Path(allowed).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    patterns = [line.partition("  ")[0] for line in lines]
    strangers = 0
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  pytest wrote it a moment ago
        for skipped in case.findall("skipped"):
            test = f"{case.get('classname')}::{case.get('name')}"
            is_named = any(fnmatch(test, pattern) for pattern in patterns)
            strangers += not is_named
            print(f"{'allowed' if is_named else 'NOT ALLOWED'}: {test}: {skipped.get('message')}")
    print(f"{strangers} skipped tests that {allowed} does not name")
    return strangers


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
