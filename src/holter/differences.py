"""What came after an earlier reading of the same series, where only cumulative readings are known."""

from __future__ import annotations

import numpy as np

from holter.distribution import NO_BUCKETS, Buckets, Histogram, edge
from holter.reading import Reading


def since(now: Reading, before: Reading) -> Reading:
    """
    Return what *now* has and *before*, an earlier reading of the same series, had not.

    Counts and the histogram are exact; the sum is, but for the rounding of a float. Which of the extremes are
    new is known only where they are those of all time: else they are edges of the histogram's buckets, off by
    at most twice its error.
    """
    if not before.count and before.last is None:
        return now
    histogram = _difference(now.histogram, before.histogram)
    low, high = _range(histogram)
    is_newer = now.last is not None and now.last_ns > before.last_ns
    return Reading(
        count=max(0, now.count - before.count),
        sum=now.sum - before.sum,
        units=max(0, now.units - before.units),
        minimum=now.minimum if now.minimum != before.minimum or low is None else max(low, now.minimum or low),
        maximum=now.maximum if now.maximum != before.maximum or high is None else min(high, now.maximum or high),
        last=now.last if is_newer else None,
        histogram=histogram,
        first_ns=now.last_ns if is_newer else 0,
        last_ns=now.last_ns if is_newer else 0,
    )


def _difference(now: object, before: object) -> Histogram | None:
    if not isinstance(now, Histogram):
        return None
    if not isinstance(before, Histogram) or before.scale < now.scale:
        return now
    earlier = before.downscale(now.scale)
    return Histogram(
        now.scale,
        max(0, now.zero_count - earlier.zero_count),
        max(0, now.nonfinite - earlier.nonfinite),
        _less(now.positive, earlier.positive),
        _less(now.negative, earlier.negative),
    )


def _less(now: Buckets, before: Buckets) -> Buckets:
    if not before.size:
        return now
    counts = np.zeros(max(now.last, before.last) - min(now.offset, before.offset) + 1, np.int64)
    first = min(now.offset, before.offset)
    counts[now.offset - first :][: now.size] += now.counts
    counts[before.offset - first :][: before.size] -= before.counts
    filled = np.flatnonzero(counts > 0)
    if not len(filled):
        return NO_BUCKETS
    start, end = int(filled[0]), int(filled[-1]) + 1
    return Buckets(first + start, counts[start:end].clip(0).tobytes())


def _range(histogram: Histogram | None) -> tuple[float | None, float | None]:
    """Return between which edges the values of *histogram* lie."""
    if histogram is None or not histogram.count:
        return None, None
    scale, below, above = histogram.scale, histogram.negative, histogram.positive
    ends = [-edge(below.last + 1, scale), -edge(below.offset, scale)] if below.size else []
    ends += [0.0] if histogram.zero_count else []
    ends += [edge(above.offset, scale), edge(above.last + 1, scale)] if above.size else []
    return ends[0], ends[-1]
