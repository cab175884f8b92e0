"""The writer of a recording: what threads take, what the collector keeps up, and who is never harmed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holter import recording as module
from holter.distribution import Histogram
from holter.documents import MOST_ALERTS
from holter.errors import RecordingUnavailable
from holter.layout import Section
from holter.model import Alert, ErrorPlace, Process, Reading, Snapshot
from holter.record import CELL, LARGE_CAPACITY, SMALL_CAPACITY, ring_bytes
from holter.recorded import read_recording
from holter.recording import Recording
from holter.sections import Sections
from holter.segments import Space
from holter.series import SeriesTable
from lives import SMALL, FakeTime, Life
from programs import run, succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
NO_CELLS = np.zeros(64, CELL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which recordings may lie."""
    tmp_path.chmod(0o700)
    return tmp_path


def create(folder: Path, service: str = "sentiment", **options: Any) -> Recording:
    """Return a recording of this process."""
    return Recording.create(Process(service), folder=folder, **options)


def test_the_file_is_named_after_service_process_and_start(folder: Path) -> None:
    """For this user only; gone after a clean end, also where it has been renamed by nobody else."""
    recording = create(folder)
    assert recording.path.name.startswith(f"sentiment-{os.getpid()}-")
    assert 0o600 == recording.path.stat().st_mode & 0o777
    recording.close(clean=True)
    recording.close(clean=False)
    assert [] == list(folder.iterdir())


def test_what_a_thread_takes_is_zeroed_aligned_and_its_own(folder: Path) -> None:
    """Rings of both sizes and blocks of cells, each of exactly its size, never the same one twice."""
    recording = create(folder, space=Space())
    rings = [recording.take_ring(capacity) for capacity in (SMALL_CAPACITY, LARGE_CAPACITY, SMALL_CAPACITY)]
    cells = [recording.take_cells(rings[0][0], block) for block in range(3)]
    assert 3 == len({number for number, _ in rings})
    memories = [memory for _, memory in rings] + cells
    sizes = [ring_bytes(SMALL_CAPACITY), ring_bytes(LARGE_CAPACITY), ring_bytes(SMALL_CAPACITY), 2048, 2048, 2048]
    assert sizes == [len(memory) for memory in memories]
    for number, memory in enumerate(memories, 1):
        array = np.frombuffer(memory, np.uint8)
        assert (0, False) == (array.ctypes.data % 32, array.any())
        memory[:] = bytes([number]) * len(memory)
    assert [{number} for number in range(1, 7)] == [set(memory) for memory in memories]


def test_stock_is_finite_and_renewed(folder: Path) -> None:
    """What is taken is None when none is ready; the collector makes as many ready as were taken, and half as many."""
    recording = create(folder, space=Space())
    assert 3 == sum(recording.take_ring(SMALL_CAPACITY) is not None for _ in range(10))
    assert recording.take_ring(999) is None
    recording.stock()
    assert 4 == sum(recording.take_ring(SMALL_CAPACITY) is not None for _ in range(10))
    recording.stock()
    assert 6 == sum(recording.take_ring(SMALL_CAPACITY) is not None for _ in range(10))
    assert 32 == sum(recording.take_cells(0, 0) is not None for _ in range(100))
    recording.stock()
    assert 64 == sum(recording.take_cells(0, 0) is not None for _ in range(100))


def test_a_full_recording_gives_nothing_and_goes_on(folder: Path) -> None:
    """Where the bound is reached there are no more rings, and all else is as it was."""
    life = Life(folder, space=Space(segment_bytes=2**16, most_bytes=2**19))
    series = life.scope.series("app.hits", "{hit}", "counter")
    for _ in range(40):
        life.ring().write(series, life.clock.monotonic_ns(), 1, 0, 0)
        life.turn(now=True)
    assert 40 == read_recording(life.recording.path).totals[series].count
    assert life.recording.path.stat().st_size <= 2**19


def test_threads_take_while_the_collector_stocks(folder: Path) -> None:
    """Nothing is handed out twice, and a signal handler may take too."""
    recording = create(folder, space=Space())
    taken: list[tuple[int, memoryview]] = []
    blocks: list[memoryview] = []
    done = threading.Event()

    def take(*_: object) -> None:
        ring, cells = recording.take_ring(SMALL_CAPACITY), recording.take_cells(1, 1)
        taken.extend([ring] if ring is not None else [])
        blocks.extend([cells] if cells is not None else [])

    def go_on() -> None:
        while not done.is_set():
            take()

    before = signal.signal(signal.SIGALRM, take)
    threads = [threading.Thread(target=go_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        while len(taken) < 50 or len(blocks) < 300:
            recording.stock()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        done.set()
        for thread in threads:
            thread.join()
    addresses = [np.frombuffer(memory, np.uint8).ctypes.data for memory in (*blocks, *(ring for _, ring in taken))]
    assert len(addresses) == len(set(addresses))
    assert len(taken) == len({number for number, _ in taken})


def test_taking_makes_no_call_of_the_system(folder: Path) -> None:
    """So that a thread never waits: no file is opened, none lengthened, no lock taken."""
    recording = create(folder)
    called: list[str] = []
    # A hook for audits cannot be removed, so it is told when to listen.
    listening = [True]
    sys.addaudithook(lambda event, _: called.append(event) if listening[0] else None)
    recording.take_ring(SMALL_CAPACITY)
    recording.take_cells(0, 0)
    listening[0] = False
    assert [] == called


def test_series_are_written_once_and_as_they_come(folder: Path) -> None:
    """Each with its scope and factor, over as many sections as they need."""
    recording, table = create(folder, space=Space(most_bytes=2**21)), SeriesTable()
    for number in range(1500):
        table.intern(1, f"app.metric{number}.with.a.long.name", "s", "histogram", {"n": number}, factor=1e-9)
        if not number % 500:
            recording.learn(table.entries)
    recording.learn(table.entries)
    recording.learn(table.entries)
    with Sections(recording.path) as sections:
        content = b"".join(sections.contents(Section.SERIES))
        assert len(sections.places(Section.SERIES)) > 2
    assert len(table.entries) == content.count(b"\n")


def test_a_heartbeat_is_read_back(folder: Path) -> None:
    """The newest one, however many there were; where the last was being written, the one before."""
    recording = create(folder)
    for number in range(5):
        recording.beat(1_000 + number, 2_000 + number)
        with Sections(recording.path) as sections:
            assert (1_000 + number, 2_000 + number) == sections.beat
    recording._words[module.BEAT_WORDS[(recording._beats - 1) % 2] + 1] = 77
    with Sections(recording.path) as sections:
        assert (1_003, 2_003) == sections.beat


def test_stop_and_start_are_told(folder: Path) -> None:
    """A process lives on without a monitor, and with one again."""
    recording = create(folder)
    for running, state in ((False, "stopped"), (True, "running")):
        recording.mark(running=running)
        assert state == read_recording(recording.path).process.state


def test_an_end_that_was_not_clean_leaves_the_file(folder: Path) -> None:
    """The process counts as dead, though its number lives; what is called later does nothing, threads may store on."""
    life = Life(folder)
    ring = life.ring()
    series = life.scope.series("app.hits", "{hit}", "counter")
    ring.write(series, 1, 1, 0, 0)
    life.turn(now=True)
    life.recording.close(clean=False)
    ring.write(series, 2, 1, 0, 0)
    before = life.recording.path.read_bytes()
    life.turn(now=True)
    life.recording.mark(running=True)
    assert life.recording.take_ring(SMALL_CAPACITY) is None
    assert before == life.recording.path.read_bytes()
    contents = read_recording(life.recording.path)
    assert ("dead", 2) == (contents.process.state, contents.totals[series].count)


class TestSave:
    """What the collector has folded is saved as often as it may cost."""

    @staticmethod
    def snapshot(count: int, series: int = 1) -> Snapshot:
        """Return a snapshot with some readings."""
        total = {key: Reading(count=count, sum=1.0) for key in range(1, series + 1)}
        return Snapshot(0, 0, {}, total, {})

    @staticmethod
    def saved(recording: Recording) -> int:
        """Return how often the fold was written."""
        return recording._fold._halves.sequence if recording._fold._halves else 0

    def test_a_dear_save_is_made_rarely(self, folder: Path) -> None:
        """One of 10 ms of CPU time every 2 s, which is 0.5 %; unless it must be now."""
        fake, cpu = FakeTime(), [0]

        def spend() -> int:
            cpu[0] += 5_000_000
            return cpu[0]

        recording = create(folder, clock=fake.clock._replace(thread_cpu_ns=spend))
        saves = []
        for _ in range(100):
            recording.save([self.snapshot(1)], {}, NO_CELLS)
            saves.append(self.saved(recording))
            fake.ns += 100_000_000
        assert 9 <= saves[-1] <= 11
        recording.save([self.snapshot(1)], {}, NO_CELLS, now=True)
        assert saves[-1] + 1 == self.saved(recording)

    def test_what_does_not_fit_is_left_out_and_said(self, folder: Path) -> None:
        """In a small file some series have no reading; the busiest have."""
        life = Life(folder, space=Space(segment_bytes=2**16, most_bytes=2**19))
        ids = [life.scope.series("app.hits", "{hit}", "counter", {"n": number}) for number in range(300)]
        life.turn()
        wide = Histogram.of(np.geomspace(1, 100, 200))
        total = {series: Reading(count=1 + (place == 200), histogram=wide) for place, series in enumerate(ids)}
        life.recording.save([Snapshot(0, 0, {}, total, {})], {}, NO_CELLS, now=True)
        contents = read_recording(life.recording.path)
        assert any("there was no room" in words for words in contents.missing)
        assert 2 == contents.totals[ids[200]].count
        assert 10 < len(contents.totals) < 50

    def test_no_room_at_all_is_no_harm(self, folder: Path) -> None:
        """Cells that are elsewhere and do not fit are not saved, and nothing is raised."""
        recording = create(folder, space=Space(segment_bytes=2**16, most_bytes=2**16))
        cells = np.ones(10_000, CELL)
        recording.save([self.snapshot(1, 500)], {}, cells, now=True)
        assert 0 == self.saved(recording)


def test_alerts_and_places_are_kept_within_bounds(folder: Path) -> None:
    """The last 64 alerts, as far as there is room, the 32 places that most errors came from; what is the same rests."""
    life = Life(folder, space=Space())
    alerts = [
        Alert(f"a{number}", "Limit", "firing", "warning", number, "predict", "x", "y", "m" * (number % 7 * 900))
        for number in range(90)
    ]
    places = tuple(ErrorPlace("predict", "ValueError", f"/srv/a.py:{number} in f", 99 - number) for number in range(50))
    snapshot = life.turn()
    for alert in alerts:
        life.recording.remember(Snapshot(0, 0, snapshot.series, {}, {}, error_places=places), [alert], life.history)
    contents = read_recording(life.recording.path)
    ids = [alert.id for alert in contents.alerts]
    assert [alert.id for alert in alerts][-len(ids) :] == ids
    assert 20 < len(ids) <= MOST_ALERTS
    assert places[:32] == contents.error_places
    written = life.recording._notices._halves.sequence
    life.recording.remember(Snapshot(0, 0, snapshot.series, {}, {}, error_places=places), [], life.history)
    assert written == life.recording._notices._halves.sequence


@pytest.mark.parametrize("own_history", [True, False])
def test_the_history_is_that_of_the_scope(folder: Path, *, own_history: bool) -> None:
    """Whether the monitor lends its own or the recording keeps one."""
    life = Life(folder)
    series = life.scope.series("app.hits", "{hit}", "counter")
    ring = life.ring()
    for count in (3, 1, 2):
        for _ in range(count):
            ring.write(series, 1, 1, 0, 0)
        life.turn(own_history=own_history)
    history = read_recording(life.recording.path).history
    assert [3, 1, 2] == history.column(series)["count"].tolist()
    assert life.history.times_ns().tolist() == history.times_ns().tolist()


def test_a_forked_child_touches_nothing_of_its_parents(folder: Path) -> None:
    """It stores into rings and cells that it inherits, ends, and the parent's file is as it was; so are descriptors."""
    program = """
        import hashlib, json, os, pathlib, sys
        from holter.model import Process
        from holter.recording import Recording
        folder = pathlib.Path(sys.argv[1])
        recording = Recording.create(Process("parent"), folder=folder)
        number, ring = recording.take_ring(1024)
        cells = recording.take_cells(number, 0)
        ring[0] = 1
        digest = lambda: hashlib.sha256(recording.path.read_bytes()).hexdigest()
        before, descriptors = digest(), sorted(os.listdir("/proc/self/fd"))
        if not os.fork():
            recording.detach()
            same = sorted(os.listdir("/proc/self/fd")) == descriptors
            ring[:] = b"x" * len(ring)
            cells[:] = b"x" * len(cells)
            recording.beat(1, 2)
            recording.stock()
            recording.save([], {}, None, now=True)
            recording.mark(running=False)
            recording.close(clean=True)
            own = Recording.create(Process("child"), folder=folder)
            taken = recording.take_ring(1024) is None and own.take_ring(1024) is not None
            os._exit(0 if same and taken else 1)
        _, status = os.wait()
        print(json.dumps([status, before == digest(), sorted(path.name[:6] for path in folder.iterdir())]))
    """
    assert [0, True, ["child-", "parent"]] == succeed(program, folder)


def test_a_folder_that_is_not_safe_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given or named by the environment; and another system has none."""
    (folder / "link").symlink_to(folder)
    with pytest.raises(RecordingUnavailable, match="is a link"):
        create(folder / "link")
    monkeypatch.setenv("HOLTER_DIR", str(folder / "link"))
    with pytest.raises(RecordingUnavailable, match="is a link"):
        Recording.create(Process("sentiment"))
    monkeypatch.setenv("HOLTER_DIR", str(folder / "named"))
    assert folder / "named" == Recording.create(Process("sentiment")).path.parent
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(RecordingUnavailable, match="this is plan9"):
        create(folder)


def test_a_segment_that_is_too_small_leaves_no_file(folder: Path) -> None:
    """For what there is to tell of the process."""
    with pytest.raises(RecordingUnavailable, match="too small"):
        Recording.create(Process("a", environment={"x": "y" * 9_000}), folder=folder, space=Space(4096, 4096))
    assert [] == list(folder.iterdir())
    assert SMALL.segment_bytes == 2**16


@pytest.mark.parametrize(("options", "expected"), [("size=256k", "too little space"), ("size=64m,ro", "Read-only")])
def test_a_small_or_read_only_file_system_is_said(options: str, expected: str, tmp_path: Path) -> None:
    """The process goes on without a recording."""
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("needs the command unshare: apt-get install util-linux")
    mount = f'mount -t tmpfs -o mode=700,{options} none {tmp_path} && exec "$@"'
    before = [unshare, "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs: run as root, or let users have namespaces")
    program = """
        import pathlib, sys
        from holter.errors import RecordingUnavailable
        from holter.model import Process
        from holter.recording import Recording
        try:
            Recording.create(Process("a"), folder=pathlib.Path(sys.argv[1]))
        except RecordingUnavailable as error:
            print(error)
    """
    done = run(program, tmp_path, before=before)
    assert ("", 0) == (done.stderr, done.returncode)
    assert expected in done.stdout
