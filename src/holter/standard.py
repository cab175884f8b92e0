"""The samplers of a monitor for which nobody has named others."""

from __future__ import annotations

import sys

from holter.model import Sampler
from holter.samplers.container import ContainerSampler
from holter.samplers.gpu import GPUSampler, has_driver
from holter.samplers.host import HostSampler
from holter.samplers.process import ProcessSampler
from holter.samplers.runtime import RuntimeSampler
from holter.samplers.tree import ProcessTreeSampler


def standard_samplers() -> tuple[Sampler, ...]:
    """Return new ones of those that cost next to nothing and have something to tell here."""
    samplers: list[Sampler] = [ProcessSampler(), ProcessTreeSampler(), HostSampler(), RuntimeSampler()]
    if sys.platform == "linux":
        samplers.append(ContainerSampler())
    if has_driver():
        samplers.append(GPUSampler())
    return tuple(samplers)
