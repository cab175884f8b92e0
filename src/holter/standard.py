"""The samplers of a monitor for which nobody has named others."""

from __future__ import annotations

from holter.model import Sampler
from holter.samplers.gpu import GPUSampler, has_driver
from holter.samplers.host import HostSampler
from holter.samplers.process import ProcessSampler


def standard_samplers() -> tuple[Sampler, ...]:
    """Return new ones of those that cost next to nothing and have something to tell here."""
    return ProcessSampler(), HostSampler(), *([GPUSampler()] if has_driver() else [])
