"""``holter demo``: the main job on real input, in half a minute."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from holter.arguments import positive_seconds
from holter.checks.drift import Drift
from holter.checks.limit import Limit
from holter.default import start
from holter.digits import STAGES, Client, Requests, Service, Trainer, load_digits
from holter.errors import MissingExtraError
from holter.exporters.console import render
from holter.exporters.csvfile import CSVFile
from holter.exporters.logfile import LogFile
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME
from holter.profile import Profile
from holter.progressbar import progress
from holter.record import Outcome
from holter.version import __version__

_CLIENTS: Final = 4
_EPOCHS: Final = 12
_SECONDS: Final = 20.0
_STEP_SECONDS: Final = 0.1


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("demo", help="train and serve a real model, meet real trouble, read the verdict")
    parser.add_argument("--seconds", type=_seconds, default=_SECONDS, help="how long to serve (default: %(default)g)")
    parser.add_argument(
        "--trouble", choices=STAGES, default=STAGES[0], help="the stage where trouble starts (default: %(default)s)"
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="where log and CSV go (default: this folder)")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        return positive_seconds("--seconds", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number of seconds greater than 0, got {text}") from None


class _Anew:
    """A check that begins anew in each run, whatever the one before it has learnt: each tells the whole story."""

    def load(self, state: Any, gap_seconds: float) -> Any:
        """Go on from nothing."""
        del state, gap_seconds
        return False


class _Limit(_Anew, Limit):
    """A limit of this run alone."""


class _Drift(_Anew, Drift):
    """A comparison with the first answers of this run."""


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return 0, or 1 if holter's counts are not those of the clients."""
    print(f"holter {__version__} demo: train a digit classifier, serve it, meet trouble, read the verdict", flush=True)
    try:
        images, labels = load_digits()
    except ImportError:
        print(MissingExtraError("scikit-learn", "demo"), file=sys.stderr)
        return 1
    log, table = arguments.folder / "holter-demo.jsonl", arguments.folder / "holter-demo.csv"
    too_many_errors = _Limit(
        CALL_DURATION,
        "error_ratio",
        above=0.05,
        window_seconds=5,
        minimum_calls=50,
        where={CALL_NAME: "predict"},
        severity="critical",
    )
    service = Service()
    # Half a minute stands for days: the baseline is that of the first answers, and looks are a second apart.
    drift = _Drift(
        Profile.of({"digit": labels}, label="digit"),
        call=service.predict,
        inputs=False,
        baseline_rows=200,
        baseline_seconds=0.0,
        every_seconds=0.5,
    )
    with start(
        "digits",
        version=__version__,
        exporters=[LogFile(log, every_seconds=2), CSVFile(table, every_seconds=2)],
        checks=[too_many_errors, drift],
        interval_seconds=0.5,
    ) as monitor:
        trainer = Trainer(monitor, images, labels, epochs=_EPOCHS)
        with progress("train", trainer.steps) as show:
            steps = iter(range(1, trainer.steps + 1))
            service.model = trainer.train(lambda: show(next(steps)))
        requests = Requests(images, labels, arguments.trouble)
        clients = _serve(service, requests, arguments.seconds)
        summary = monitor.summary()
        seen = _seen(monitor, service)
    print()
    render(summary)
    counted = {
        "predict": sum(client.answered + client.failed for client in clients),
        "predict failed": sum(client.failed for client in clients),
        "explain": sum(client.streamed + client.left for client in clients),
    }
    agrees = "as holter did" if seen == counted else f"but holter counted {seen}"
    told = ", ".join(f"{what} {count:,}" for what, count in counted.items())
    print(f"\nThe clients counted {told}: {agrees}.")
    print(f"What it answered was compared with its first answers: {drift.describe()}.")
    print(f"The log is {log.resolve()}\nthe CSV is {table.resolve()}")
    return 0 if seen == counted else 1


def _serve(service: Service, requests: Requests, seconds: float) -> list[Client]:
    """Let the clients send requests for so many *seconds*, with trouble from half-way on."""
    clients = [Client(service, requests, seed) for seed in range(_CLIENTS)]
    stopping = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stopping,)) for client in clients]
    begun = time.monotonic()
    try:
        for thread in threads:
            thread.start()
        with progress(f"serve {_CLIENTS} clients", seconds) as show:
            while (elapsed := time.monotonic() - begun) < seconds:
                show(elapsed)
                if elapsed > seconds / 2:
                    requests.trouble.set()
                stopping.wait(_STEP_SECONDS)
            show(seconds)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    return clients


def _seen(monitor: Monitor, service: Service) -> dict[str, int]:
    """Return what holter has counted, under the names of the clients' own counts."""
    snapshot = monitor.snapshot()
    predict, explain = snapshot.find(service.predict), snapshot.find(service.explain)
    failed = snapshot.find(CALL_DURATION, {CALL_NAME: "predict", CALL_OUTCOME: Outcome.ERROR.label})
    return {
        "predict": predict.total.count if predict else 0,
        "predict failed": failed.total.count if failed else 0,
        "explain": explain.total.count if explain else 0,
    }
