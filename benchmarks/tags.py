"""Tags: what one costs that is known, and what a million values cost that nobody can know; memory stays as it is."""

from __future__ import annotations

import resource
import sys
from itertools import count

import holter
from runner import compare, each

MANY = 1_000_000
MOST_GROWN_KIB = 2_048

monitor = holter.Monitor("tags", samplers=[])


def bare() -> None:
    """Do nothing."""


@monitor.watch
def watched() -> None:
    """Be watched."""


@monitor.watch
def tagged() -> None:
    """Be tagged as often before."""
    monitor.tag(model="v7")


@monitor.watch
def twice_tagged() -> None:
    """Be tagged as often before, with two attributes."""
    monitor.tag(model="v7", warm=True)


numbers = count()


@monitor.watch
def distinctly_tagged() -> None:
    """Be tagged as never before: the first 2,000 have series, the others share one."""
    monitor.tag(user=next(numbers))


def peak_kib() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


# Before the bound is reached, which is one for all of them.
tagged()
twice_tagged()
for _ in range(10_000):
    distinctly_tagged()
results = compare(
    {
        "bare": each(bare),
        "watched": each(watched),
        "one known tag": each(tagged),
        "two known tags": each(twice_tagged),
        "a tag never seen": each(distinctly_tagged),
    },
    unit="ns",
)
results.show(reference="watched")

for _ in range(3):
    distinctly_tagged()
    monitor.snapshot()
before_kib = peak_kib()
while next(numbers) < MANY:
    distinctly_tagged()
snapshot = monitor.snapshot()
grown_kib = peak_kib() - before_kib
found = snapshot.find(distinctly_tagged)
assert found is not None
calls = found.total.count
series = sum(1 for one in snapshot.series.values() if "user" in one.attributes)
print(f"{calls:,} calls with as many tags: {series:,} series, {grown_kib} KiB more memory")
assert grown_kib <= MOST_GROWN_KIB
