"""Samplers as the doctor tries them."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from types import MappingProxyType

from holter.checkup.samplers import exported, sampled, samplers


class Steady:
    """Yields one metric, and cannot read five others."""

    interval_seconds = 1.0
    unavailable = MappingProxyType(
        {f"app.part.{part}": f"unavailable, because it is {part}" for part in ("hot", "new", "old", "wet")}
        | {"app.whole": "unavailable, because it is hot"}
    )

    def sample(self, record):
        record("app.level", 1.0)


class Silent:
    interval_seconds = 1.0

    def sample(self, record):
        record("app.level", None)


class GPUSampler:
    """As that one behaves where its helper has to start first, and then finds nothing."""

    interval_seconds = 1.0

    def __init__(self):
        self._samples = count(1)
        self.unavailable = {}
        self.is_closed = False

    def sample(self, record):
        turn = next(self._samples)
        record("holter.gpu.helper.failures", 0, kind="counter")
        why = "the helper has not answered yet" if turn < 3 else "there is no driver"
        self.unavailable = dict.fromkeys(("hw.power", "hw.energy"), f"unavailable, because {why}")

    def close(self):
        self.is_closed = True


class Failing:
    interval_seconds = 1.0

    def sample(self, record):
        raise ZeroDivisionError


def test_every_sampler_of_holter_yields_figures() -> None:
    """Those that a monitor has by itself come first; each is named as it is imported."""
    found = list(samplers())
    assert {*exported("samplers")} <= {finding.subject for finding in found}
    assert {"ProcessSampler", "HostSampler"} <= {finding.subject for finding in found if finding.state == "ok"}
    assert {"ok", "absent"} >= {finding.state for finding in found}, found


def test_all_that_holter_exports_is_found_by_its_room() -> None:
    """What is added later is tried without being named here; other rooms, which import more, are left alone."""
    assert {"ProcessSampler", "HostSampler"} <= {*exported("samplers")}
    assert {"LogFile", "OpenTelemetry"} <= {*exported("exporters")}
    assert "LogFile" not in exported("samplers")
    program = (
        "import holter.checkup.samplers as one, sys; one.exported('samplers'); print('opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ("False\n", "") == (done.stdout, done.stderr)


def test_a_package_that_is_missing_stops_no_other_module() -> None:
    """The classes of the modules that can be imported are found."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from holter.checkup.samplers import exported; print(exported('exporters'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "'LogFile'" in done.stdout, done.stderr
    assert "Prometheus" not in done.stdout


def test_what_a_sampler_cannot_read_is_said() -> None:
    """Each reason once, with the metric's name or how many there are; no more than three."""
    state, told = sampled("Steady", Steady)[1:3]
    assert "ok" == state
    assert told.startswith("1 metric; 2 unavailable, because it is hot; app.part.new unavailable, because it is new; ")
    assert told.endswith("app.part.old unavailable, because it is old; and more")


def test_a_sampler_that_yields_nothing_is_broken() -> None:
    """After some patience; a value that is None is none."""
    assert ("Silent", "broken", "yielded nothing", "") == sampled("Silent", Silent, patience_seconds=0.0)


def test_a_gpu_that_is_not_there_is_absent() -> None:
    """That is no error; its reason is said once, as soon as the helper knows it, and the sampler is closed."""
    sampler = GPUSampler()
    assert ("GPUSampler", "absent", "there is no driver", "") == sampled("GPUSampler", lambda: sampler)
    assert sampler.is_closed


def test_a_sampler_that_raises_is_broken() -> None:
    """What was raised is said, with its place."""
    found = sampled("Failing", Failing)
    assert "broken" == found.state
    assert "ZeroDivisionError at" in found.words


def test_a_sampler_that_cannot_be_made_is_broken() -> None:
    """The others are tried all the same."""
    found = sampled("Storage", lambda: Steady("/models"))
    assert "broken" == found.state
    assert "TypeError at" in found.words
