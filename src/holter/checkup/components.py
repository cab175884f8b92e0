"""Whether the components that are installed are what `holter.instrument` expects."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from holter import targets, words
from holter.checkup.finding import Finding
from holter.checkup.installing import install, installed
from holter.guard import Guard
from holter.target import Target


def components() -> Iterator[Finding]:
    """Say of each component that is there whether it can be instrumented; imports it, which may take seconds."""
    for name in targets.__all__:
        target = getattr(targets, name)
        if find_spec(target.component) is not None:
            yield _component(target)


def _component(target: type[Target]) -> Finding:
    subject, guard = target.__name__, Guard(lambda _: None)
    # What somebody else's import does is not foreseen.
    misfits = guard.run(subject, None, lambda: list(target.misfits()))
    told = f"{target.package} {installed(target.package) or 'of unknown version'}"
    if misfits is None:
        misfits = [words.clean(guard.first[subject], 300)]
    if not misfits:
        return Finding(subject, "ok", f"{told} can be instrumented")
    left = f"{told} is not what it was, and what has changed is not watched: {'; '.join(misfits)}"
    return Finding(subject, "missing", left, install("--upgrade", "holter", target.package))
