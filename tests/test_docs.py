"""
The code in the documentation runs, and prints what the page says it prints.

CONTRIBUTING.md ("Documentation") tells which blocks of a page are run and how their output is
compared. All blocks of a page become one program, as a reader gets it who copies them in order;
its line numbers are the page's, and it starts in an empty folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import holter
from holter import genai, names
from holter.linuxprocess import LINUX_METRICS
from holter.samplers import container, host, process, tree

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(
    r"^(?P<note>(?:<!--[^\n]*-->\n)?)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
END = "\x1e\n"
FIGURE = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?: ?(?:ns|µs|ms|s|B|KiB|MiB|GiB)\b)?")


@dataclass
class Block:
    """One fenced block that runs, and what it should print."""

    language: str
    title: str | None
    body: str
    line: int
    expected: str = ""
    figures_vary: bool = False

    def code(self) -> list[str]:
        """Return lines of Python, as many as the block has, that do what a reader does with it."""
        lines = self.body.splitlines()
        if self.language == "console":
            return [f"assert not __import__('os').system({line[2:]!r})" if line[:2] == "$ " else "" for line in lines]
        if self.title:
            return [f"__import__('pathlib').Path({self.title!r}).write_text({self.body!r})", *[""] * (len(lines) - 1)]
        return lines

    def comparable(self, text: str) -> str:
        """Return *text* without what may differ between two runs."""
        if self.figures_vary:
            return " ".join(FIGURE.sub("#", text).split())
        return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())

    def accepts(self, printed: str) -> bool:
        """Whether *printed* is the expected output: ``...`` stands for anything in a line, or for any lines."""
        pattern = re.escape(self.comparable(self.expected))
        pattern = re.sub(r"^\\\.\\\.\\\.\\\n", "(?:.*\n)*", pattern, flags=re.MULTILINE)
        pattern = pattern.replace(r"\ \.\.\.\ ", "(?: .*)? ").replace(r"\.\.\.", ".*")
        return re.fullmatch(pattern, self.comparable(printed)) is not None


def read(page: str) -> list[Block]:
    """Return the blocks of a page that run, in order."""
    blocks: list[Block] = []
    output_of, end = None, 0
    for match in BLOCK.finditer(page):
        language, body, varies = match["language"], match["body"], "figures vary" in match["note"]
        adjacent = not page[end : match.start()].strip()
        end = match.end()
        if language == "text" and output_of and adjacent:
            output_of.expected, output_of.figures_vary = body, varies
        output_of = None
        if language in ("python", "console") and "not run:" not in match["note"]:
            block = Block(language, match["title"], body, 1 + page.count("\n", 0, match.start("body")))
            if language == "console":
                block.expected = "".join(line for line in body.splitlines(keepends=True) if line[:2] != "$ ")
                block.figures_vary = varies
            else:
                output_of = block
            blocks.append(block)
    return blocks


def assemble(blocks: list[Block]) -> str:
    """Return the blocks as one program, each on the lines that it has on its page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        lines += [*block.code(), f"print({END!r}, end='', flush=True)"]
    return "\n".join(lines) + "\n"


def run(program: Path) -> str:
    """Return what a reader sees who runs *program* in its folder: both streams, in their order."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Recordings of its own, so that it hears of no death before it.
    with tempfile.TemporaryDirectory(dir=os.environ["HOLTER_DIR"]) as folder:
        done = subprocess.run(
            [sys.executable, "-u", program],
            cwd=program.parent,
            env={**os.environ, "PATH": path, "COLUMNS": "80", "HOLTER_DIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=100,
        )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(path: Path, tmp_path: Path) -> None:
    """The blocks of a page run in order in a fresh interpreter and print what stands below them."""
    blocks = read(path.read_text(encoding="utf-8"))
    program = tmp_path / "page.py"
    program.write_text(assemble(blocks), encoding="utf-8")
    *outputs, rest = run(program).split(END)
    assert rest == "", "printed after the last block"
    for block, printed in zip(blocks, outputs, strict=True):
        if not block.accepts(printed):
            assert block.expected == printed, f"{path.relative_to(ROOT)}, block in line {block.line}"


PAGE = """
```python
print("p99 is", 0.25)
```
<!-- figures vary -->
```text
p99 is {figure}
```
Prose between a block and a text parts them.
```python title="saved.py"
print("saved")
```
```console
$ python saved.py
{word}
```
<!-- not run: it would fail -->
```python
1 / 0
```
"""


@pytest.mark.parametrize(
    ("figure", "word", "right"),
    [
        ("0.31", "saved", [True, True, True]),
        ("high", "s...d", [False, True, True]),
        ("7", "sound", [True, True, False]),
    ],
)
def test_a_page_that_lies_is_found(figure: str, word: str, right: list[bool], tmp_path: Path) -> None:
    """Output is compared word by word; only marked figures and dots may differ."""
    blocks = read(PAGE.format(figure=figure, word=word))
    (tmp_path / "page.py").write_text(assemble(blocks))
    *outputs, _ = run(tmp_path / "page.py").split(END)
    assert right == [block.accepts(printed) for block, printed in zip(blocks, outputs, strict=True)]


def test_dots_on_a_line_of_their_own_stand_for_any_lines() -> None:
    """None, one or many lines may stand where the page has only dots."""
    block = Block("python", None, "", 1, expected="first\n...\nlast\n")
    printed = ("first\nlast\n", "first\n1\nlast\n", "first\n1\n2\nlast\n", "first\n1\n", "last\n")
    assert [True, True, True, False, False] == [block.accepts(text) for text in printed]


def test_a_traceback_names_the_line_of_the_page() -> None:
    """What fails in a page is found where it stands there."""
    block = read("title\n\n```python\nx = 1\n\n1 / 0\n```\n")[0]
    program = assemble([block]).splitlines()
    assert ["x = 1", "", "1 / 0"] == program[3:6]


REFERENCE = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")}


@pytest.mark.parametrize("name", [name for name in holter.__all__ if name != "__version__"])
def test_the_reference_shows_every_public_name(name: str) -> None:
    """Each public name has its place in the generated reference."""
    shown = re.findall(r"^::: [\w.]*?(\w+)$", "\n".join(REFERENCE.values()), re.MULTILINE)
    assert 1 == shown.count(name)


def _metrics() -> list[str]:
    spelt = [*vars(names).items(), *vars(genai).items()]
    named = {value for key, value in spelt if key.isupper() and "." in value}
    polled = {metric.name for module in (process, host, tree, container) for metric in module._METRICS}
    polled |= {metric.name for metric in LINUX_METRICS}
    return sorted(named | polled)


@pytest.mark.parametrize("name", _metrics())
def test_the_reference_lists_every_metric_and_attribute(name: str) -> None:
    """What stands in a log or CSV can be looked up."""
    assert f"`{name}" in REFERENCE["metrics.md"]
