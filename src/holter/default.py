"""The default monitor, which the functions of the module act on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holter.clock import SYSTEM
from holter.instruments import Instruments
from holter.metric import Attributes
from holter.options import DEFAULT_TIMEOUT
from holter.scope import Scope

if TYPE_CHECKING:
    from holter.fold import Fold
    from holter.model import Alert, Check, Exporter, Sampler, Silence, Snapshot
    from holter.monitor import Monitor
    from holter.report import Summary
    from holter.settings import OnAlert

_loaded_ns = SYSTEM.monotonic_ns()
_scope = Scope()
_instruments = Instruments(_scope)
_fold: Fold | None = None
_monitor: Monitor | None = None

watch = _instruments.watch
instrument = _instruments.instrument
uninstrument = _instruments.uninstrument
llm = _instruments.llm
span = _instruments.span
tag = _instruments.tag
training = _instruments.training
counter = _instruments.counter
gauge = _instruments.gauge
histogram = _instruments.histogram
guard = _scope.guard


def _the_fold() -> Fold:
    """Return the figures of the default scope, made when they are first wanted: recording needs none."""
    global _fold  # noqa: PLW0603 - there is one default monitor, and its figures outlast it
    if _fold is None:
        from holter.fold import ROUTER, Fold  # noqa: PLC0415 - a program that only watches pays for watching
        from holter.model import Process  # noqa: PLC0415

        _fold = Fold(_scope, Process(service="unknown_service", started_ns=_loaded_ns))
        ROUTER.attach(_fold)
    return _fold


def _the_monitor() -> Monitor:
    global _monitor  # noqa: PLW0603 - there is one default monitor
    if _monitor is None:
        from holter.monitor import Monitor  # noqa: PLC0415 - a program that only watches pays for watching

        _monitor = Monitor(fold=_the_fold())
    return _monitor


def start(
    name: str | None = None,
    *,
    version: str | None = None,
    attributes: Attributes | None = None,
    exporters: Iterable[Exporter] = (),
    checks: Iterable[Check] = (),
    samplers: Iterable[Sampler] | None = None,
    on_alert: OnAlert | None = None,
    interval_seconds: float = 1.0,
    recording: bool = True,
    group: str | None = None,
    strict: bool = False,
) -> Monitor:
    """
    Start the default monitor and return it; as ``with`` it stops at the end of the block.

    *name* is the service's, OTEL_SERVICE_NAME by default; *version* and *attributes* go with every
    figure. Each *interval_seconds* what was recorded is folded, judged by *checks* and handed to
    *exporters*; *samplers* are the process and the host by default. *on_alert* is called with the
    alert that announces an incident, and with it again when that is over, in a thread of its own. With
    *strict* internal errors raise where they happen, for tests and staging.

    With *recording* what is recorded lies in a file in memory, of at most 32 MiB, that outlives a
    process which is killed: `holter postmortem` reads it, and the next start tells how it died. A
    process that ends by itself removes it. Where no such file can be had, the first line logged
    says why, and all else is the same.

    All processes of a user that record for the service *name* are one group, whichever server or launcher has
    started them, and need no set-up: one of them leads. It judges and exports what all do together, to log,
    CSV, console and Prometheus; its place is taken when it ends. Totals of processes that have ended are kept
    while others go on. *group* is a word that sets some apart, as two deployments on one machine.

    A second start with equal arguments returns the running monitor, with others replaces it.

    >>> import holter
    >>> with holter.start("sentiment", version="v7", samplers=[]) as monitor:
    ...     monitor.is_running
    True

    Raises:
        ConfigurationError: an argument cannot work.
    """
    global _monitor  # noqa: PLW0603 - there is one default monitor, and this is where it changes
    from holter.monitor import LOGGER, Monitor  # noqa: PLC0415 - a program that only watches pays for watching

    monitor = Monitor(
        name,
        version=version,
        attributes=attributes,
        exporters=exporters,
        checks=checks,
        samplers=samplers,
        on_alert=on_alert,
        interval_seconds=interval_seconds,
        recording=recording,
        group=group or "",
        strict=strict,
        fold=_the_fold(),
    )
    if _monitor is not None and _monitor.is_running:
        if _monitor.settings == monitor.settings:
            return _monitor.start()
        LOGGER.warning("holter: start with other arguments replaces the running monitor %r", _monitor.settings.name)
        _monitor.stop()
    _monitor = monitor
    return monitor.start()


def stop(timeout: float = DEFAULT_TIMEOUT) -> bool:
    """
    Stop the default monitor; return whether everything was exported within *timeout* seconds.

    >>> import holter
    >>> holter.stop()
    True
    """
    return _the_monitor().stop(timeout)


def flush(timeout: float = DEFAULT_TIMEOUT) -> bool:
    """
    Export everything recorded before now; return whether that was done within *timeout* seconds.

    >>> import holter
    >>> holter.flush()
    True
    """
    return _the_monitor().flush(timeout)


def snapshot() -> Snapshot:
    """
    Return a reading of all series of the default monitor as of now.

    >>> import holter
    >>> holter.snapshot().lost
    0
    """
    return _the_monitor().snapshot()


def summary() -> Summary:
    """
    Return what the default monitor has seen, verdict first; ``print`` it, or take its ``to_dict()``.

    >>> import holter
    >>> sorted(holter.summary().to_dict())[:2]
    ['alerts', 'calls']
    """
    return _the_monitor().summary()


def alerts() -> tuple[Alert, ...]:
    """
    Return the alerts of the default monitor in their latest state, the oldest first.

    >>> import holter
    >>> holter.alerts()
    ()
    """
    return _the_monitor().alerts()


def silence(name: object, *, minutes: float, reason: str) -> Silence:
    """
    Tell nobody of the alerts of this *name* for so many *minutes*; return what holds from now on.

    *name* is that of a target, as a watched function, a check, an alert or an incident; *minutes* at most those of
    seven days, and 0 ends a silence before its time; *reason* is for whoever finds it. The latest silence of a name
    holds. It is logged.

    What is silenced is judged, kept and shown all the same, with the silence beside it: by `alerts`, `summary`,
    `holter top` and exporters of figures. Not told are receivers: `on_alert`, `Webhook`, `Alertmanager`. The end of
    what they had been told before is told. An alert that still fires when the silence ends is told then.

    Any process of a service may set it for all of them; it holds over restarts, where the monitor is in a group (see
    `start`).

    >>> import holter
    >>> holter.silence("predict", minutes=30, reason="deploy of v8").name
    'predict'
    >>> silence = holter.silence("predict", minutes=0, reason="deployed")

    Raises:
        ConfigurationError: an argument cannot work.
    """
    return _the_monitor().silence(name, minutes=minutes, reason=reason)


def latest() -> tuple[Snapshot | None, tuple[Alert, ...]]:
    """Return what all processes of the default monitor's group have done last, if anything, and its alerts."""
    return (None, ()) if _monitor is None else (_monitor.latest_of_all, _monitor.alerts())


def exemplars() -> None:
    """Note slow and failed calls that are in a trace, from now on: a page of metrics will tell of them."""
    _scope.notes.stand()
