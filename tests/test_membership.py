"""What a monitor has to do with the other processes of its service, be they of another holter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import holter
from metricpages import poll
from programs import succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

MEMBER = """
    import json, logging, sys
    import holter
    from holter.layout import MAJOR

    logging.basicConfig(level="WARNING", format="%(message)s")

    @holter.watch(name="predict")
    def predict():
        return None

    def last(monitor, name):
        found = monitor.snapshot().find(name)
        return None if found is None else found.total.last

    log = holter.LogFile(sys.argv[1], every_seconds=0.1)
    with holter.start("service", interval_seconds=0.1, samplers=[], exporters=[log]) as monitor:
        print(json.dumps([MAJOR, holter.__file__]), flush=True)
        for line in sys.stdin:
            for _ in range(int(line)):
                predict()
            names = ("holter.group.members", "holter.group.skipped", "holter.internal_errors")
            known = {name: last(monitor, name) for name in names}
            of_all = monitor.latest_of_all.find("holter.call.duration")
            print(json.dumps(known | {"calls": 0 if of_all is None else of_all.total.count}), flush=True)
"""


class Process:
    """A process of the service, with the holter of one of two environments."""

    def __init__(self, folder: Path, source: Path | None, number: int, program: str) -> None:
        self.log, self.errors = folder / f"log-{number}.jsonl", folder / f"errors-{number}"
        recordings = folder / "recordings"
        recordings.mkdir(mode=0o700, exist_ok=True)
        environment = {**os.environ, "HOLTER_DIR": str(recordings)}
        if source is not None:
            environment["PYTHONPATH"] = str(source)
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(program), str(self.log)],
                cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self.major, self.file = self.told()

    def told(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        return json.loads(line)

    def work(self, times: int = 0) -> dict[str, float | None]:
        """Make so many calls, and return what the process knows."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return dict(self.told())

    def end(self) -> None:
        """End as a program does."""
        self.process.communicate(timeout=60)

    def logged(self) -> list[int]:
        """Return how many calls each line of the log has counted."""
        lines = [json.loads(line)["holter"] for line in self.log.read_text().splitlines()]
        return [line["count"] for line in lines if line.get("metric") == "holter.call.duration"]

    def alerts(self) -> list[str]:
        """Return the states of the alerts in the log."""
        lines = [json.loads(line)["holter"] for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [line["alert"]["state"] for line in lines if "alert" in line]


@pytest.fixture
def other_holter(tmp_path: Path) -> Path:
    """A second environment: a holter of its own, which writes another format."""
    source = tmp_path / "other"
    shutil.copytree(Path(holter.__file__).parent, source / "holter", ignore=shutil.ignore_patterns("__pycache__"))
    layout = source / "holter" / "layout.py"
    before, constant, after = layout.read_text().partition("MAJOR: Final = 1\n")
    assert constant
    layout.write_text(f"{before}MAJOR: Final = 2\n{after}")
    return source


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Make processes, which end with the test."""
    with ExitStack() as made:

        def make(source: Path | None, program: str = MEMBER) -> Process:
            process = Process(tmp_path, source, len(list(tmp_path.glob("errors-*"))), program)
            made.enter_context(process.process)
            made.callback(process.process.kill)
            return process

        yield make


def settled(processes: list[Process], wanted: dict[str, float]) -> None:
    """Wait until one of some processes of one format knows what is *wanted*."""
    poll(
        str(wanted),
        lambda: any(wanted.items() <= process.work().items() for process in processes),
    )


@pytest.mark.parametrize("first", ["this", "other"])
def test_processes_of_two_formats_leave_each_other_alone(
    first: str, begin: Callable[..., Process], other_holter: Path, tmp_path: Path
) -> None:
    """
    Each leaves the other out, counts and names it, whichever came first, and tells of its own kind all that it did.

    They are harmed neither while both run nor when one of them ends or is killed: no count falls, nothing is
    left behind.
    """
    sources = [None, other_holter] if first == "this" else [other_holter, None]
    pairs = [[begin(source), begin(source)] for source in sources]
    assert [[1, 1], [2, 2]] == sorted([process.major for process in pair] for pair in pairs)
    assert {first == "this", first != "this"} == {Path(pair[0].file).is_relative_to(tmp_path) for pair in pairs}
    for pair, each in zip(pairs, (10, 100), strict=True):
        for process in pair:
            process.work(each)
    for pair, each in zip(pairs, (20, 200), strict=True):
        settled(pair, {"holter.group.members": 2, "holter.group.skipped": 2, "calls": each})
    for pair, others in ((pairs[0], pairs[1]), (pairs[1], pairs[0])):
        told = "".join(process.errors.read_text() for process in pair).splitlines()
        assert {str(process.process.pid) for process in others} == {line.split("-")[1] for line in told}
        for line in told:
            assert f"is left out of the figures of all processes: {tmp_path}" in line
            assert f"has format {others[0].major}, this holter" in line
    # One of the one kind is killed, one of the other ends: who is left has what they did.
    pairs[0][0].process.kill()
    pairs[0][0].process.wait()
    pairs[1][0].end()
    # What was killed stays to be looked at, and is left out as long.
    for pair, each, skipped in zip(pairs, (20, 200), (1, 2), strict=True):
        settled(pair[1:], {"holter.group.members": 1, "holter.group.skipped": skipped, "calls": each})
        assert None is pair[1].work()["holter.internal_errors"]
    pairs[1][1].end()
    settled(pairs[0][1:], {"holter.group.skipped": 0, "calls": 20})
    # What the one that was killed had not told yet is in the totals, and so in the next line.
    pairs[0][1].work(1)
    pairs[0][1].end()
    for pair, each in zip(pairs, (21, 200), strict=True):
        logs = [process.logged() for process in pair]
        assert each == max(max(counts, default=0) for counts in logs)
        assert all(counts == sorted(counts) for counts in logs)
        assert "Traceback" not in "".join(process.errors.read_text() for process in pair)
    left = [path.name for path in (tmp_path / "recordings").iterdir() if ".holter" in path.name]
    assert [str(pairs[0][0].process.pid)] == [name.split("-")[1] for name in left]


STOPPED = """
    import json
    import holter
    from holter.chronicle import CHRONICLE
    from holter.departed import TotalsFiles
    from holter.leadership import is_led
    from holter.members import GroupName

    @holter.watch
    def predict():
        return None

    with holter.start("service", samplers=[]) as monitor:
        predict()
        monitor.flush()
    folder, key = CHRONICLE.recording.path.parent, GroupName("service", "").key
    (leader,) = folder.glob("*.leader")
    before = TotalsFiles(folder, key).newest().told
    predict()
    seen = [holter.snapshot().find(predict).total.count, len(str(holter.summary())) > 0]
    after = TotalsFiles(folder, key).newest().told
    print(json.dumps([is_led(leader), seen, len(before) > 0, before == after]))
"""


def test_who_looks_at_a_monitor_that_was_stopped_does_not_lead_by_that() -> None:
    """What it had told of when it gave up the lead is there for whoever leads next, who would begin anew else."""
    assert [False, [2, True], True, True] == succeed(STOPPED)


OF_ITSELF = """
    import json, logging, os, sys
    import holter
    from holter.chronicle import CHRONICLE

    logging.basicConfig(level="WARNING", format="%(message)s")
    trouble = ""


    class Trouble:
        own_process = True

        def judge(self, snapshot):
            pid = snapshot.process.pid
            return [] if not trouble else [holter.Alert(
                id=f"trouble-{pid}", check="trouble", state=trouble, severity="warning", since_ns=snapshot.time_ns,
                target="me", expected="none", seen="some", message=f"{pid} has trouble",
            )]


    log = holter.LogFile(sys.argv[1], every_seconds=0.1)
    settings = dict(interval_seconds=0.1, samplers=[], exporters=[log], checks=[Trouble()])
    with holter.start("service", on_alert=lambda alert: print(alert.id, file=sys.stderr), **settings) as monitor:
        print(json.dumps([1, holter.__file__]), flush=True)
        for line in sys.stdin:
            trouble = {0: "", 1: "firing", 2: "resolved"}[int(line)]
            monitor.flush()
            known = [[one.id, one.state, one.evidence["process.pid"]] for one in holter.alerts()]
            leads = CHRONICLE.recording is not None and monitor._membership.leads
            print(json.dumps({"pid": os.getpid(), "alerts": known, "leads": leads}), flush=True)
"""


def test_what_a_process_has_of_itself_is_known_to_all_logged_by_itself_and_told_by_whoever_leads(
    begin: Callable[..., Process],
) -> None:
    """Its own logger has it; callback and log of the service, which are the leader's, have it once."""
    processes = [begin(None, OF_ITSELF) for _ in range(3)]
    known = [process.work(0) for process in processes]
    assert [True, False, False] == sorted((bool(one["leads"]) for one in known), reverse=True)
    leader, troubled, other = sorted(processes, key=lambda process: not process.work(0)["leads"])
    pid = troubled.process.pid
    for state, order in (("firing", 1), ("resolved", 2)):
        assert [[f"trouble-{pid}", state, pid]] == troubled.work(order)["alerts"]
        for process in (leader, other):
            poll(state, lambda one=process, state=state: one.work(0)["alerts"] == [[f"trouble-{pid}", state, pid]])
        poll(f"{state} in the log", lambda state=state: [*leader.alerts()][-1:] == [state])
    assert [f"holter: firing: {pid} has trouble"] == troubled.errors.read_text().splitlines()
    assert [f"trouble-{pid}"] * 2 == leader.errors.read_text().splitlines()
    assert "" == other.errors.read_text()
    assert ["firing", "resolved"] == leader.alerts()
    # Whoever comes next tells again of what fires.
    troubled.work(1)
    poll("firing again", lambda: leader.alerts() == ["firing", "resolved", "firing"])
    leader.end()
    poll("an heir", lambda: troubled.work(0)["leads"] or other.work(0)["leads"])
    poll("the heir's log", lambda: "firing" in [*troubled.alerts(), *other.alerts()])
