"""What lasts: starts and stops under load, threads without number, exits at any moment, one call among a million."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

import holter
from programs import run, succeed

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


# Sixteen threads that never wait leave the one that starts and stops its share of the CPUs: where other programs want
# those too, it needs a minute for what takes a second of CPU time.
@pytest.mark.timeout(300)
def test_starts_and_stops_under_sixteen_threads_count_everything() -> None:
    """Whatever runs when a monitor stops or starts, in other files and rings: no call is missing, none is double."""
    told = succeed(
        """
        import json, sys, threading, time
        import holter

        # So that seventeen threads take turns quickly.
        sys.setswitchinterval(1e-4)

        @holter.watch
        def work():
            pass

        done, counts = threading.Event(), [0] * 16

        def record(place):
            while not done.is_set():
                work()
                counts[place] += 1

        threads = [threading.Thread(target=record, args=(place,)) for place in range(16)]
        for thread in threads:
            thread.start()
        stopped = []
        for turn in range(4):
            monitor = holter.start("turns", version=str(turn), samplers=[], interval_seconds=0.01)
            before = sum(counts)
            while sum(counts) < before + 2_000:
                time.sleep(0.001)
            stopped.append(monitor.stop(100))
        done.set()
        for thread in threads:
            thread.join()
        print(json.dumps([sum(counts), holter.snapshot().find(work).total.count, stopped]))
        """,
        within=280,
    )
    assert [told[0], [True] * 4] == told[1:]


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_hundred_thousand_threads_that_record_once() -> None:
    """All are counted; there are as many rings as threads at one time, and the memory of 100 threads."""
    rings, counted, grown = succeed(
        """
        import json, threading
        import psutil
        import holter
        from holter.recorder import RECORDER

        @holter.watch
        def work():
            pass

        def in_threads(count):
            for _ in range(count // 10):
                threads = [threading.Thread(target=work) for _ in range(10)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        with holter.start("threads", samplers=[]) as monitor:
            in_threads(1_000)
            before = psutil.Process().memory_info().rss
            in_threads(99_000)
            grown = psutil.Process().memory_info().rss - before
            print(json.dumps([len(RECORDER.all), monitor.snapshot().find(work).total.count, grown]))
        """,
        within=500,
    )
    assert 100_000 == counted
    assert rings < 30
    assert grown < 8 * 2**20


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_two_hundred_exits_at_random_moments() -> None:
    """By the end of the program, by sys.exit, by an exception, with threads that record: no signal, nothing said."""
    moment = random.Random(7)
    for turn in range(200):
        code = turn % 2
        done = run(
            """
            import random, sys, threading, time
            import holter

            @holter.watch
            def work():
                with holter.span("stage"):
                    pass

            def record():
                while True:
                    work()

            holter.start("exits", samplers=[], interval_seconds=0.01)
            for _ in range(3):
                threading.Thread(target=record, daemon=True).start()
            time.sleep(float(sys.argv[1]))
            sys.exit(int(sys.argv[2]))
            """,
            moment.uniform(0, 0.2),
            code,
        )
        assert ("", code) == (done.stderr, done.returncode)


@needs_linux
@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.heavy)])
def test_one_call_that_never_returns_is_named_among_all_others(seconds: float) -> None:
    """One task calls as fast as it can while another call hangs: after a kill, that one is named with its age."""
    program = """
        import asyncio
        import holter

        @holter.watch
        async def quick():
            pass

        @holter.watch
        async def stuck():
            await asyncio.Event().wait()

        async def main():
            holter.start("loop", samplers=[])
            waiting = asyncio.create_task(stuck())
            print("ready", flush=True)
            while True:
                for _ in range(1_000):
                    await quick()
                await asyncio.sleep(0)

        asyncio.run(main())
        """
    with tempfile.TemporaryDirectory(dir=os.environ.get("HOLTER_DIR")) as folder:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        environment = {**os.environ, "HOLTER_DIR": folder}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert b"ready\n" == process.stdout.readline()
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        (path,) = Path(folder).glob("*.holter")
        contents = holter.read_recording(path)
    ages = {call.name: call.age_seconds for call in contents.open_calls}
    assert seconds - 1.0 < ages["stuck"] < seconds + 30.0
    counts = {
        series.attributes["holter.call.name"]: contents.totals[series.id].count
        for series in contents.series.values()
        if series.name == "holter.call.duration" and series.id in contents.totals and not series.parent
    }
    assert counts["quick"] > 50_000 * seconds
