"""What is sampled where nobody says what."""

from __future__ import annotations

from holter.standard import standard_samplers


def test_each_monitor_has_samplers_of_its_own() -> None:
    """What one remembers from its last sample is no other's business."""
    first, second = standard_samplers(), standard_samplers()
    assert [type(one) for one in first] == [type(one) for one in second]
    assert not {id(one) for one in first} & {id(one) for one in second}
    assert {"ProcessSampler", "HostSampler", "RuntimeSampler"} <= {type(one).__name__ for one in first}
