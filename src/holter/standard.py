"""The samplers of a monitor for which nobody has named others."""

from __future__ import annotations

from holter.model import Sampler
from holter.samplers.host import HostSampler
from holter.samplers.process import ProcessSampler
from holter.samplers.runtime import RuntimeSampler


def standard_samplers() -> tuple[Sampler, ...]:
    """Return new ones of those that cost next to nothing and have something to tell here."""
    return ProcessSampler(), HostSampler(), RuntimeSampler()
