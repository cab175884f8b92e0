"""The open calls that hang: which take far longer than usual, and which of those in each other is to be told of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from holter.model import OpenCall, Series, Snapshot
from holter.usual import Allowance, Limit, Usuals, is_step

MOST_NAMED: Final = 8

_Key = tuple[int, int, int]


class Still(NamedTuple):
    """
    What does not go on: of which series, in words, for how long, and how long it may.

    ``calls`` are those in flight that hang, the oldest first, ``around`` the names of open calls that wait for them.
    """

    series: int
    name: str
    kind: str
    """ "call", "item" (of a stream), "step" (of a training run), "pause" (between steps) or "silence"."""
    seconds: float
    limit: Limit
    calls: tuple[OpenCall, ...] = ()
    around: tuple[str, ...] = ()
    thread: int = 0
    """The native id of the thread where to look, 0 for the main one."""


class HungCalls:
    """
    Tells which of the calls that *is_judged* hang, by series.

    Of calls that are nested in each other, where all hang, the innermost that does is told of. Who is told of once
    stays so until it ends, even if one inside it comes to hang too, which is the same trouble.
    """

    def __init__(self, allowance: Allowance, is_judged: Callable[[Series], bool], *, is_chosen: bool) -> None:
        self._allowance, self._is_judged, self._is_chosen = allowance, is_judged, is_chosen
        self._usuals = Usuals()
        self._told: set[_Key] = set()

    def look(self, snapshot: Snapshot) -> Iterator[Still]:
        """Yield of each series with calls that hang what is known of them."""
        waiting = {
            _key(call): (call, seconds)
            for call in snapshot.open_calls
            if (seconds := waited_seconds(call, snapshot)) > self._allowance.least_seconds
        }
        if waiting:
            self._usuals.see(snapshot)
        limits: dict[tuple[int, bool], Limit] = {}
        hung: dict[_Key, tuple[OpenCall, float]] = {}
        for key, (call, seconds) in waiting.items():
            series, is_stream = snapshot.series.get(call.series), call.asked_ns != 0
            if series is None or not self._is_judged(series):
                continue
            kind = call.series, is_stream
            if kind not in limits:
                limits[kind] = self._limit(series, is_stream=is_stream)
            if seconds > limits[kind].seconds:
                hung[key] = call, seconds
        told = self._chosen(hung, snapshot.open_calls)
        self._told = told
        families: dict[tuple[int, bool], list[_Key]] = defaultdict(list)
        for key in told:
            families[hung[key][0].series, hung[key][0].asked_ns != 0].append(key)
        for kind, keys in families.items():
            series = snapshot.series[kind[0]]
            found = sorted((hung[key] for key in keys), key=lambda one: -one[1])
            oldest, seconds = found[0]
            yield Still(
                series.id,
                oldest.name,
                "item" if kind[1] else "step" if is_step(series) else "call",
                seconds,
                limits[kind],
                tuple(call for call, _ in found),
                _around(oldest, snapshot.open_calls),
                oldest.thread,
            )

    def _limit(self, series: Series, *, is_stream: bool) -> Limit:
        known = self._usuals.of(series, is_stream=is_stream)
        is_training = is_step(series)
        if not known.ended and not (self._is_chosen or is_training or self._allowance.after_seconds is not None):
            # As main() and what serves, which are meant to last.
            return Limit(float("inf"), "")
        noun = "item" if is_stream else "step" if is_training else "call"
        return self._allowance.limit(known, noun, is_training=is_training)

    def _chosen(self, hung: dict[_Key, tuple[OpenCall, float]], open_calls: Iterable[OpenCall]) -> set[_Key]:
        """Return which of those that hang to tell of."""
        threads: dict[int, list[OpenCall]] = defaultdict(list)
        for call in open_calls:
            threads[call.thread].append(call)
        told = hung.keys() & self._told
        # The innermost first.
        for key in sorted(hung.keys() - told, key=lambda one: -one[1]):
            call = hung[key][0]
            beside = [one for one in threads[call.thread] if _key(one) in told and one.series != call.series]
            if not any(is_inside(one, call) or is_inside(call, one) for one in beside):
                told.add(key)
        return told


def waited_seconds(call: OpenCall, snapshot: Snapshot) -> float:
    """Return for how long *call* has been at work: of a stream, at its next item, 0 while its consumer has the last."""
    if call.asked_ns:
        return max(0.0, (snapshot.monotonic_ns - call.asked_ns) / 1e9) if call.asked_ns > 0 else 0.0
    return call.age_seconds


def is_inside(inner: OpenCall, outer: OpenCall) -> bool:
    """
    Whether *outer* cannot go on before *inner* does.

    That is so in one task; and what runs on the thread itself keeps all that began before it in this thread, the
    tasks of its event loop too.
    """
    if inner.thread != outer.thread or inner.start_ns <= outer.start_ns or inner.asked_ns < 0:
        return False
    return inner.task in {0, outer.task} or not outer.task


def _around(call: OpenCall, open_calls: Iterable[OpenCall]) -> tuple[str, ...]:
    names = [one.name for one in open_calls if one.series != call.series and is_inside(call, one)]
    return tuple(dict.fromkeys(reversed(names)))[:MOST_NAMED]


def _key(call: OpenCall) -> _Key:
    return call.series, call.start_ns, call.thread
