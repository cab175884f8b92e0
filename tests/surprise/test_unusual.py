"""What is unusual teaches nothing, until it is the usual."""

from __future__ import annotations

import numpy as np

from holter.surprise.unusual import Unusual

BLOCK = 32


def blocks(unusual: Unusual, high: list[bool], count: int) -> list[tuple[list[bool], bool]]:
    """Return of each of so many blocks which steps of the one signal taught, and whether it has a new usual."""
    ended = []
    for _ in range(count):
        for at, is_high in enumerate(high):
            unusual.note(np.array([is_high]), at)
        teaches, is_new_usual = unusual.end(BLOCK)
        ended.append((teaches[0].tolist(), bool(is_new_usual[0])))
    return ended


def test_a_step_that_is_unusual_teaches_nothing() -> None:
    """The others of its block do; the next block begins anew."""
    high = [at in {3, 31} for at in range(BLOCK)]
    first, second = blocks(Unusual(1), high, 1)[0][0], blocks(Unusual(1), [False] * BLOCK, 1)[0][0]
    assert first == [not one for one in high]
    assert second == [True] * BLOCK


def test_what_has_lasted_for_500_steps_is_the_new_usual() -> None:
    """From then on it teaches; when it is over, what was counted is forgotten."""
    unusual = Unusual(1)
    ended = blocks(unusual, [True] * BLOCK, 17)
    assert [False] * 16 + [True] == [is_new_usual for _, is_new_usual in ended]
    assert (any(ended[15][0]), all(ended[16][0])) == (False, True)
    blocks(unusual, [False] * BLOCK, 1)
    assert unusual.steps[0] == 0.0


def test_what_is_unusual_more_often_than_at_a_quarter_of_the_steps_teaches() -> None:
    """It is in the nature of the signal, however short it lasts each time."""
    ended = blocks(Unusual(1), [at % 3 == 0 for at in range(BLOCK)], 200)
    assert (all(ended[0][0]), all(ended[-1][0])) == (False, True)
