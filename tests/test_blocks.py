"""The design effect: of independent rows 1, of rows that go together as many as theory says, of a change no more."""

from __future__ import annotations

import numpy as np
import pytest

from holter.blocks import GROUPS, Blocks

CUTS = np.linspace(-1.5, 1.5, 15)
SHARES = np.array([0.067, 0.11, 0.165, 0.232, 0.311, 0.401, 0.5, 0.599, 0.689, 0.768, 0.835, 0.89, 0.933, 0.956, 0.98])


def counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.full(15, float(len(values))), (values[:, np.newaxis] <= CUTS).sum(axis=0).astype(float)


def clustered(random: np.random.Generator, size: int, icc: float, mean: float = 0.0) -> np.ndarray:
    return mean + random.normal() * np.sqrt(icc) + random.normal(size=size) * np.sqrt(1 - icc)


def effect(batches: int, size: int, icc: float, *, by_cluster: bool = False, step: float = 0.0) -> float:
    """Return the effect that is found in so many batches, of which the second half has moved by *step*."""
    random, blocks = np.random.default_rng(batches + size), Blocks(15)
    for place in range(batches):
        rows, counts = counted(clustered(random, size, icc, step * (place >= batches // 2)))
        if by_cluster:
            blocks.cluster(place * 29 % GROUPS, rows, counts)
        else:
            blocks.batch(rows, counts, SHARES)
    return blocks.effect


@pytest.mark.parametrize("by_cluster", [False, True])
@pytest.mark.parametrize("size", [10, 50, 256])
def test_independent_rows_count_in_full(size: int, *, by_cluster: bool) -> None:
    """But for the caution of a standard error."""
    assert 1.0 <= effect(400, size, 0.0, by_cluster=by_cluster) < 1.4


@pytest.mark.parametrize("by_cluster", [False, True])
@pytest.mark.parametrize("icc", [0.05, 0.2])
def test_rows_that_go_together_count_for_less(icc: float, *, by_cluster: bool) -> None:
    """Kish's design effect, 1 + (size - 1) x ICC: of cuts it is a little less than of the values themselves."""
    expected = 1 + 49 * icc
    assert 0.6 * expected < effect(400, 50, icc, by_cluster=by_cluster) < 1.5 * expected


def test_single_rows_are_independent() -> None:
    """There is nothing to go together with."""
    assert 1.0 == effect(5, 1, 0.0)


@pytest.mark.parametrize("by_cluster", [False, True])
def test_a_few_batches_count_as_one_row_each(*, by_cluster: bool) -> None:
    """Nobody knows yet how their rows go together."""
    assert 50.0 == pytest.approx(effect(5, 50, 0.0, by_cluster=by_cluster))


def test_a_change_does_not_pass_for_rows_that_go_together() -> None:
    """It is one step among all pairs of batches."""
    assert effect(60, 256, 0.0, step=1.0) < 2.0


def test_clusters_whose_rows_lie_in_several_processes_count_as_in_one() -> None:
    """Each sees a quarter of the rows of each user; by its own alone they would seem to go together less."""
    random, whole, parts = np.random.default_rng(3), Blocks(15), [Blocks(15) for _ in range(4)]
    for user in range(400):
        middle = random.normal() * np.sqrt(0.1)
        for part in parts:
            values = middle + random.normal(size=20) * np.sqrt(0.9)
            for blocks in (part, whole):
                blocks.cluster(user * 29 % GROUPS, *counted(values))
    leader, *others = parts
    alone = leader.effect
    for place, other in enumerate(others):
        for _ in range(2):
            leader.gather(other.share(), f"process {place}")
    assert whole.effect == pytest.approx(leader.effect, rel=0.3)
    assert alone < 0.6 * whole.effect
    nobody = Blocks(15)
    nobody.gather(others[0].share(), "process")
    assert others[0].effect == pytest.approx(nobody.effect)


def test_what_is_known_outlives_a_restart() -> None:
    """The effect goes on from where it was."""
    random, blocks, other = np.random.default_rng(1), Blocks(15), Blocks(15)
    for _ in range(50):
        blocks.batch(*counted(clustered(random, 50, 0.1)), SHARES)
    other.load(blocks.save())
    assert blocks.effect == other.effect


def test_batches_that_are_all_alike_count_in_full() -> None:
    """A column that is constant has a baseline as soon as any other."""
    blocks = Blocks(1)
    for _ in range(20):
        blocks.batch(np.array([50.0]), np.array([50.0]), np.ones(1))
    assert 1.0 == blocks.effect


def test_empty_batches_are_no_event() -> None:
    """No rows, no pair."""
    blocks = Blocks(15)
    blocks.batch(np.zeros(15), np.zeros(15), SHARES)
    assert 1.0 == blocks.effect
