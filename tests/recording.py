"""A recorder of its own with everything that reads it, apart from that of the process."""

from __future__ import annotations

import time
from typing import Any

from holter.fold import Fold, Router
from holter.model import Process, Snapshot
from holter.probes.blocks import Spans, Tags
from holter.recorder import Recorder
from holter.scope import Scope
from holter.watch import watch


class Recording:
    """What a monitor has, without its threads: whoever tests decides when what is read."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.router = Router(self.recorder)
        self.scope, self.fold = self.add_scope()
        self.spans, self.tags = Spans(self.scope), Tags(self.scope)

    def add_scope(self, **options: Any) -> tuple[Scope, Fold]:
        """Return one more scope on the same rings, with its fold."""
        scope = Scope(recorder=self.recorder)
        fold = Fold(scope, Process(service="test", started_ns=time.monotonic_ns()), **options)
        self.router.attach(fold)
        return scope, fold

    def watch(self, function: Any, **options: Any) -> Any:
        """Return *function* watched."""
        return watch(self.scope, function, **options)

    def drain(self) -> int:
        """Read all rings."""
        return self.router.drain()

    def snapshot(self) -> Snapshot:
        """Return a reading of everything until now."""
        self.drain()
        return self.fold.close(time.monotonic_ns(), time.time_ns())
