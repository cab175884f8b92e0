"""A histogram made to measure: of so many buckets at most, or of values that were counted but not read."""

from __future__ import annotations

import numpy as np

from holter.distribution import NO_BUCKETS, Buckets, Histogram


def within(histogram: Histogram, most_buckets: int) -> Histogram:
    """Return the same values in at most *most_buckets* (4 or more) a sign, at the finest scale that allows it."""
    while max(histogram.positive.size, histogram.negative.size) > most_buckets:
        histogram = histogram.downscale(histogram.scale - 1)
    return histogram


def spread(sample: Histogram, count: int) -> Histogram:
    """
    Return *count* values that are distributed as those of *sample*, whole ones by largest remainder.

    Raises:
        ValueError: the sample holds no value to go by.
    """
    sizes = [sample.negative.size, 1, sample.positive.size]
    weights = np.concatenate([sample.negative.counts, [sample.zero_count], sample.positive.counts]).astype(object)
    if not (held := int(weights.sum())):
        raise ValueError(f"expected a sample with values, to distribute {count} more, got none")
    # In Python's integers: the products may pass 2**63.
    whole, rest = weights * count // held, weights * count % held
    shares = whole.astype(np.int64)
    shares[np.argsort(-rest.astype(np.float64), kind="stable")[: count - int(shares.sum())]] += 1
    negative, zero, positive = np.split(shares, np.cumsum(sizes)[:-1])
    return Histogram(
        scale=sample.scale,
        zero_count=int(zero[0]),
        positive=_trimmed(sample.positive.offset, positive),
        negative=_trimmed(sample.negative.offset, negative),
    )


def _trimmed(offset: int, counts: np.ndarray) -> Buckets:
    occupied = counts.nonzero()[0]
    if not len(occupied):
        return NO_BUCKETS
    first, last = int(occupied[0]), int(occupied[-1])
    return Buckets(offset + first, counts[first : last + 1].tobytes())
