"""Services of several processes, under the servers and launchers that start them, with no set-up at all."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holter.leadership import Leadership
from holter.members import GroupName
from metricpages import free_port, get, poll, values

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux"),
    pytest.mark.timeout(300),  # a busy machine needs five times what a quiet one does
]

# The page of metrics is served both by the leader, on a port of its own, and inside the application, by any worker.
SERVICE = """
    import os
    import holter

    holter.start(
        "service", interval_seconds=0.2, samplers=[],
        exporters=[holter.Prometheus(int(os.environ["METRICS_PORT"]))],
    )
    busy = holter.gauge("app.busy", across="sum")
    busy.set(1)
    metrics = holter.prometheus_app()

    @holter.watch
    def predict(query):
        if query.startswith("fail"):
            raise ValueError(query)
        return query

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)
        try:
            predict(environ["QUERY_STRING"])
        except ValueError:
            pass
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]

    async def asgi(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/":
            predict(scope["query_string"].decode())
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        else:
            await metrics(scope, receive, send)
"""


class Service:
    """A service that runs, and what its clients have seen."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, metrics: int, log: Path) -> None:
        self.process, self.port, self.metrics, self.log = process, port, metrics, log
        self.asked = 0

    def ask(self, query: str = "x") -> int:
        """Send one request, and return which process has answered."""
        status, _, body = poll("an answer", lambda: get(f"http://127.0.0.1:{self.port}/?{query}"))
        assert status == 200, self.log.read_text()
        self.asked += 1
        return int(body)

    def ask_all(self, workers: int) -> set[int]:
        """Send requests until so many processes have answered, and return which."""
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while len(seen) < workers or self.asked % 50:
            seen.add(self.ask())
            assert time.monotonic() < deadline, self.log.read_text()
        return seen

    def counted(self, where: str = "port") -> dict[str, float]:
        """Return the page of the leader's port, or of any worker's application."""
        port = self.metrics if where == "port" else self.port
        try:
            status, _, body = get(f"http://127.0.0.1:{port}/metrics")
        except OSError:
            # The leader has ended, and the next one has not taken its port yet.
            return {}
        return values(body.decode()) if status == 200 else {}

    def failed(self) -> list[float]:
        """Return how many calls failed, of each kind of error."""
        return [value for key, value in self.counted().items() if "ValueError" in key and "_count" in key]

    def calls(self, where: str = "port") -> float:
        """Return how many calls a page counts."""
        name = "holter_call_duration_seconds_count"
        return sum(value for key, value in self.counted(where).items() if key.startswith(name))

    def counts_all(self, where: str = "port") -> bool:
        """Wait until a page counts what the clients have asked."""
        return poll(f"{self.asked} calls at the {where}", lambda: self.calls(where) == self.asked)


@contextmanager
def running(folder: Path, *command: str) -> Iterator[Service]:
    """Run the service by a *command* with the place of its port in braces, in a folder of recordings of its own."""
    (folder / "service.py").write_text(textwrap.dedent(SERVICE))
    recordings, log = folder / "recordings", folder / "log"
    recordings.mkdir(mode=0o700)
    port, metrics = free_port(), free_port()
    environment = {**os.environ, "HOLTER_DIR": str(recordings), "METRICS_PORT": str(metrics)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            cwd=folder, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield Service(process, port, metrics, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def gunicorn(*options: str) -> tuple[str, ...]:
    """Return the command of gunicorn with four workers."""
    return ("gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", *options, "service:app")


SERVERS = {
    "gunicorn": gunicorn(),
    "gunicorn, preloaded": gunicorn("--preload"),
    "uvicorn": ("uvicorn", "service:asgi", "--workers", "4", "--port", "{port}", "--log-level", "warning"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_four_workers_are_one_service(server: str, tmp_path: Path) -> None:
    """
    The leader's port and each worker's own page count what the clients have asked, of whomever.

    So they do after a worker was killed, and after the leader was, whose place and port the next one takes. At
    the end nothing is left but the recordings of those who were killed, and some bytes of totals.
    """
    with running(tmp_path, *SERVERS[server]) as service:
        workers = service.ask_all(4)
        assert service.counts_all()
        assert all(service.counts_all("application") for _ in range(8))
        living = 5 if "preloaded" in server else 4
        # Where the service was loaded before the fork, nobody else has set it.
        levels = {"holter_group_members": living, "app_busy": 1 if "preloaded" in server else living}
        # On a busy machine who leads looks at the others less often.
        poll("the levels of all", lambda: levels.items() <= service.counted().items())
        if "uvicorn" not in server:
            os.kill(workers.pop(), signal.SIGKILL)
            assert len(service.ask_all(4) - workers) == 1
            assert service.counts_all()
        leader = pid_of_leader(tmp_path / "recordings")
        if leader != service.process.pid:
            before = service.calls()
            os.kill(leader, signal.SIGKILL)
            assert service.asked == before
            poll("another leader", lambda: pid_of_leader(tmp_path / "recordings") not in (leader, None))
            service.ask_all(4)
            assert service.counts_all()
            assert service.counts_all("application")
    # Whoever ends last cannot know that no other one will be started: it leaves the totals for that one.
    left = [path for path in (tmp_path / "recordings").iterdir() if not path.name.endswith(".holter")]
    assert {path.suffix for path in left} <= {".leader", ".totals"}
    assert sum(path.stat().st_size for path in left) < 20_000
    assert "Traceback" not in service.log.read_text()


def pid_of_leader(recordings: Path) -> int | None:
    """Return the number of the process that leads the service, as others see it."""
    key = GroupName("service", "").key
    path = Leadership(recordings, key, Path("nobody"), 0).leader()
    return None if path is None else int(path.name.split("-")[1])


def test_recycled_workers_leave_page_and_disk_as_they_were(tmp_path: Path) -> None:
    """Each ends after some requests, at times all at once: no count ever falls, and after many nothing has grown."""
    recordings = tmp_path / "recordings"
    with running(tmp_path, *gunicorn("--max-requests", "8", "--max-requests-jitter", "16")) as service:
        poll("four workers", lambda: service.counted().get("holter_group_members") == 4)
        seen, shown, sizes = set(), 0.0, []
        for number in range(300):
            seen.add(service.ask("fail" if number % 7 == 0 else "x"))
            if number % 10 == 0 and (page := service.counted()):
                calls = sum(
                    value for key, value in page.items() if key.startswith("holter_call_duration_seconds_count")
                )
                assert shown <= calls <= service.asked
                shown = calls
                sizes.append((len(page), len(list(recordings.iterdir()))))
        assert service.counts_all()
        # Whoever leads may just be one of those that end.
        poll("the failed calls", lambda: service.failed() == [len(range(0, 300, 7))])
        assert len(seen) > 10
    pages, files = zip(*sizes[len(sizes) // 2 :], strict=True)
    assert max(pages) <= min(pages) + 40
    assert max(files) <= 2 * 4 + 4


@pytest.mark.heavy
@pytest.mark.timeout(1500)
def test_a_thousand_recycled_workers(tmp_path: Path) -> None:
    """Scrape time and disk are after a thousand workers what they were after a hundred."""
    recordings = tmp_path / "recordings"
    with running(tmp_path, *gunicorn("--max-requests", "3")) as service:
        seen: set[int] = set()
        figures: dict[str, tuple[float, int]] = {}
        for name, wanted in (("a hundred", 100), ("a thousand", 1_000)):
            while len(seen) < wanted:
                seen.add(service.ask())
            assert service.counts_all()
            times = []
            for _ in range(20):
                begun = time.perf_counter()
                service.counted()
                times.append(time.perf_counter() - begun)
            figures[name] = sorted(times)[10], sum(path.stat().st_blocks for path in recordings.iterdir()) * 512
        early, late = figures["a hundred"], figures["a thousand"]
        assert late[0] < 3 * early[0]
        assert late[1] < 2 * early[1]


LEADER = """
    import json, os, signal, sys, time
    import holter

    with holter.start("service", interval_seconds=0.2, samplers=[]) as monitor:
        print(json.dumps(os.getpid()), flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_ends_or_hangs_is_replaced(how: signal.Signals, tmp_path: Path) -> None:
    """By one that lives, as soon as its lock is free or it gives no sign of life; one that wakes up steps back."""
    tmp_path.chmod(0o700)
    environment = {**os.environ, "HOLTER_DIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(LEADER)]
    with ExitStack() as members:

        def member() -> subprocess.Popen[str]:
            made = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            members.enter_context(made)
            members.callback(made.communicate, timeout=30)
            assert json.loads(made.stdout.readline()) == made.pid
            return made

        first, second = member(), member()
        assert first.pid == pid_of_leader(tmp_path)
        os.kill(first.pid, how)
        poll("another leader", lambda: pid_of_leader(tmp_path) == second.pid)
        if how == signal.SIGSTOP:
            os.kill(first.pid, signal.SIGCONT)
            first.communicate()
            assert second.pid == pid_of_leader(tmp_path)


POOL = """
    import json, multiprocessing, os, sys
    import holter

    @holter.watch
    def work(number):
        return number

    if __name__ == "__main__":
        log = sys.argv[2]
        with holter.start("pool", samplers=[], exporters=[holter.LogFile(log)]) as monitor:
            with multiprocessing.get_context(sys.argv[1]).Pool(4, maxtasksperchild=5) as pool:
                assert pool.map(work, range(100), chunksize=1) == list(range(100))
                pool.close()
                pool.join()
            work(0)
"""
SPAWNED = """
    import holter
    holter.start("pool", samplers=[])
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_children_of_multiprocessing_are_counted_by_their_parent(method: str, tmp_path: Path) -> None:
    """
    With those that have ended, and without a word of set-up where they are forked.

    One that is spawned starts a monitor of its own, as a program does; here at its import.
    """
    tmp_path.chmod(0o700)
    program = textwrap.dedent(POOL)
    if method != "fork":
        program = program.replace("import holter\n", textwrap.dedent(SPAWNED).replace("\n    ", "\n"), 1)
        program = program.replace("with holter.start(", "with holter.start(", 1)
    (tmp_path / "pool.py").write_text(program)
    log = tmp_path / "log.jsonl"
    environment = {**os.environ, "HOLTER_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "pool.py", method, str(log)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    counts = [line["holter"]["count"] for line in lines if line["holter"].get("metric") == "holter.call.duration"]
    assert 101 == counts[-1], done.stderr


RANK = """
    import os, sys, time
    from pathlib import Path
    import holter

    rank = os.environ["RANK"]
    with holter.start("train", interval_seconds=0.2, samplers=[], exporters=[holter.LogFile("log.jsonl")]) as monitor:
        with holter.training("finetune", total_steps=50) as run:
            for _ in run.steps(range(50)):
                run.log(loss=1.0)
        Path(f"done-{rank}").touch()
        while len(list(Path(".").glob("done-*"))) < 4:
            time.sleep(0.05)
"""


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: pip install torch")
def test_the_ranks_of_torchrun_are_one_training(tmp_path: Path) -> None:
    """One log has the steps of all ranks, each as a series of its own."""
    tmp_path.chmod(0o700)
    (tmp_path / "train.py").write_text(textwrap.dedent(RANK))
    command = ["torch.distributed.run", "--nproc-per-node", "4", "--master-port", str(free_port()), "train.py"]
    environment: dict[str, Any] = {**os.environ, "HOLTER_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    steps: dict[int, int] = {}
    for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()):
        if line["holter"].get("metric") == "holter.training.step.duration":
            rank = int(line["labels"]["holter_training_rank"])
            steps[rank] = max(steps.get(rank, 0), line["holter"]["count"])
    assert dict.fromkeys(range(4), 50) == steps
