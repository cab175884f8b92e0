"""The sliding window: what is in it, what it holds, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from holter.window import PANES, Window

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Ends:
    """A stretch that remembers which intervals it is made of."""

    ends_ns: tuple[int, ...]

    def then(self, later: Ends) -> Ends:
        """Return both, in order."""
        Ends.merges += 1
        return Ends(self.ends_ns + later.ends_ns)


Ends.merges = 0


@given(
    st.lists(st.integers(min_value=1, max_value=4000), min_size=1, max_size=PANES),
    st.integers(min_value=1, max_value=60_000),
)
def test_up_to_120_intervals_leave_one_by_one(lengths_ms: list[int], window_ms: int) -> None:
    """The window is exactly the intervals that ended less than its length ago, in order."""
    # Panes are a 120th of the window; shorter intervals than that share one.
    lengths_ms = [max(length, window_ms // PANES + 1) for length in lengths_ms]
    window, ended, now_ns = Window[Ends](window_ms / 1000), [], 0
    for length in lengths_ms:
        now_ns += length * 1_000_000
        ended.append(now_ns)
        expected = tuple(end for end in ended if end > now_ns - window_ms * 1_000_000)
        assert window.add(now_ns, Ends((now_ns,))).ends_ns == expected


@given(st.lists(st.integers(min_value=0, max_value=300), min_size=1, max_size=400), st.integers(1, 20_000))
def test_more_intervals_leave_in_panes_of_a_120th(lengths_ms: list[int], window_ms: int) -> None:
    """Nothing of the window is missing, nothing older than a 120th beyond it is left, order is kept."""
    window, ended, now_ns = Window[Ends](window_ms / 1000), [], 0
    for length in lengths_ms:
        now_ns += length * 1_000_000
        ended.append(now_ns)
        held = window.add(now_ns, Ends((now_ns,))).ends_ns
        assert held == tuple(ended[len(ended) - len(held) :])
        must = [end for end in ended if end > now_ns - window_ms * 1_000_000]
        assert len(held) >= len(must)
        assert held[0] > now_ns - window_ms * 1_000_000 - window_ms * 1_000_000 // PANES or len(held) == len(must)


def test_an_hour_at_ten_a_second_is_held_in_some_120_stretches() -> None:
    """Memory does not grow with the window, and a reading costs about three merges."""
    window, most, readings = Window[Ends](3600.0), 0, 4 * 36_000
    Ends.merges = 0
    for tick in range(1, readings + 1):
        window.add(tick * SECOND // 10, Ends(()))
        most = max(most, len(window._older) + len(window._newer))
    assert most <= PANES + 3
    assert Ends.merges / readings <= 3


def test_a_long_silence_empties_the_window() -> None:
    """After a gap longer than the window only the newest is in it."""
    window = Window[Ends](10.0)
    for second in range(1, 30):
        window.add(second * SECOND, Ends((second,)))
    assert window.add(1000 * SECOND, Ends((1000,))).ends_ns == (1000,)
