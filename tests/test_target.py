"""What a target counts on, and how it says that a component has changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest

from holter import targets
from holter.target import Need, Target


class Theirs(Target):
    component: ClassVar[str] = "json"
    package: ClassVar[str] = "json"
    needs: ClassVar[tuple[Need, ...]] = (
        Need("json:dumps", ("obj", "cls")),
        Need("json:JSONEncoder.encode"),
        Need("json:loads", ("s", "gone", "too")),
        Need("json:Gone.encode"),
        Need("math:gone"),
        Need("holter_knows_no_such_module:f"),
    )


def test_misfits_are_said_one_by_one() -> None:
    """What fits is not mentioned; a module that is gone is as good a misfit as a parameter."""
    assert [
        "json:loads has no parameter 'gone', 'too'",
        "json has no 'Gone' as json:Gone.encode says",
        "there is no math:gone: the module math has no 'gone'",
        "holter_knows_no_such_module cannot be imported: No module named 'holter_knows_no_such_module'",
    ] == list(Theirs.misfits())


def test_what_does_not_tell_its_parameters_is_a_misfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have them or not: nobody can say."""
    (tmp_path / "untold.py").write_text(
        "class Untold:\n    __signature__ = 3\n    def __call__(self): pass\nf = Untold()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    class OfUntold(Theirs):
        needs: ClassVar[tuple[Need, ...]] = (Need("untold:f", ("x",)),)

    assert ["untold:f does not tell its parameters"] == list(OfUntold.misfits())
    sys.modules.pop("untold")


def test_warnings_of_an_import_are_its_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a component raises none of them."""
    (tmp_path / "warns_me.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning)\nf = len\n")
    monkeypatch.syspath_prepend(tmp_path)

    class Warning1(Theirs):
        needs: ClassVar[tuple[Need, ...]] = (Need("warns_me:f"),)

    assert [] == list(Warning1.misfits())
    sys.modules.pop("warns_me")


@pytest.mark.parametrize("name", targets.__all__)
def test_every_ready_made_target_says_what_it_counts_on(name: str) -> None:
    """The doctor asks all of them, by their component and what pip calls it."""
    target = getattr(targets, name)
    assert issubclass(target, Target)
    assert target.component
    assert target.package
    assert all(need.path.partition(".")[0].partition(":")[0] == target.component for need in target.needs)
    assert target.needs
