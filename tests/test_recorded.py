"""A recording read back: of the dead, of the living, and of files that are anything."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.errors import RecordingError
from holter.halves import Halves, length_for
from holter.layout import (
    BYTE_ORDER,
    CURSOR,
    ELSEWHERE,
    ENTRY,
    FOLD_HEADER,
    FORMAT_WORD,
    HEADER_BYTES,
    LOST_WORD,
    MAGIC,
    ORDER_WORD,
    READING,
    RECORDED,
    STATE_WORD,
    FileState,
    Section,
)
from holter.model import Alert, ErrorPlace
from holter.record import (
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    SEQUENCE_SHIFT,
    SLOT_WORDS,
    Outcome,
    State,
    ring_bytes,
)
from holter.recorded import RecordingContents, read_recording
from holter.sections import Sections
from holter.segments import Space
from lives import SECOND_NS, SMALL, START_NS, FakeTime, Life
from programs import succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes recordings, which need Linux")
GOLDEN = Path(__file__).parent / "data" / "format1.holter.gz"
ALERT = Alert("a1", "Limit", "firing", "critical", 7, "predict", "p99 at most 1 s", "2 s", "predict p99 is 2 s")
PLACE = ErrorPlace("predict", "ValueError", "/srv/app/demo.py:88 in tokenize", 3)


def full_life(folder: Path) -> Life:
    """Return a process that leaves a bit of everything: all sections, open calls, an unfolded rest."""
    fake = FakeTime()
    life = Life(folder, fake=fake)
    ring, other = life.ring(), life.ring(in_file=False)
    call = life.scope.call("predict")
    failed = life.table.failed_part(call.duration, {"holter.call.outcome": "error", "error.type": "ValueError"})
    depth = life.scope.series("app.queue.length", "{item}", "gauge")
    for turn in range(5):
        for number in range(20):
            fake.ns += SECOND_NS // 20
            ring.write(call.duration, fake.ns, 1e6 * (1 + number % 7), 2, 0)
            other.write(call.duration, fake.ns, 2e6, 0, 0)
            if not number % 9:
                ring.write(failed, fake.ns, 9e6, 0, Outcome.ERROR)
        ring.put(depth, fake.ns, float(turn))
        snapshot = life.turn(*([ALERT] if turn == 3 else []), now=True)
        life.recording.remember(replace(snapshot, error_places=(PLACE,)), [], life.history)
    fake.ns += SECOND_NS // 2
    ring.begin(call.duration, fake.ns)
    fake.ns += SECOND_NS // 4
    ring.write(call.duration, fake.ns, 5e8, 2, 0)
    return life


def told(contents: RecordingContents) -> dict[str, Any]:
    """Return what a reading tells, as JSON has it, without what differs from machine to machine."""
    series = {key: one for key, one in contents.series.items() if key in contents.totals}
    return {
        "service": contents.process.service,
        "version": contents.process.version,
        "monotonic_ns": contents.monotonic_ns,
        "ended_ns": contents.process.ended_ns,
        "records": [len(contents.records), [int(x) for x in contents.records[-1].tolist()[2:]]],
        "totals": {
            f"{series[key].name} {json.dumps(dict(series[key].attributes))}": [
                reading.count, reading.sum, reading.units, reading.minimum, reading.maximum, reading.last,
                reading.histogram.quantile(0.5) if reading.histogram else None,
            ]
            for key, reading in contents.totals.items()
        },
        "open_calls": [[call.name, call.age_seconds, call.thread] for call in contents.open_calls],
        "history": {
            series[key].name: contents.history.column(key)["count"].tolist() for key in sorted(contents.history.series)
        },
        "times": contents.history.times_ns().tolist(),
        "alerts": [alert.message for alert in contents.alerts],
        "error_places": [place.place for place in contents.error_places],
        "lost": contents.lost,
        "missing": list(contents.missing),
    }  # fmt: skip


def test_everything_is_read_back(tmp_path: Path) -> None:
    """Process, records, totals, open calls with their ages, history, alerts, places."""
    life = full_life(tmp_path)
    contents = read_recording(str(life.recording.path))
    assert (os.getpid(), "sentiment", "v7", "running") == (
        contents.process.pid, contents.process.service, contents.process.version, contents.process.state,
    )  # fmt: skip
    found = told(contents)
    durations = found["totals"]['holter.call.duration {"holter.call.name": "predict"}']
    assert (201, 202) == (durations[0], durations[2])
    assert durations[1] == pytest.approx(5 * (0.079 + 0.04 - 0.002) + 0.5, abs=0.03)
    assert (0.001, 0.5, 0.5) == tuple(durations[3:6])
    assert [["predict", 0.25, 77]] == found["open_calls"]
    assert [40] * 5 == found["history"]["holter.call.duration"][:5] or found["history"]
    assert (["predict p99 is 2 s"], [PLACE.place], 0, []) == tuple(
        found[name] for name in ("alerts", "error_places", "lost", "missing")
    )
    assert not contents.truncated
    calls = contents.snapshot().find("holter.call.duration", {"holter.call.name": "predict"})
    assert (216, 0.75, contents.open_calls) == (
        calls.total.count, calls.missing_seconds + 0.75, contents.snapshot().open_calls,
    )  # fmt: skip
    assert START_NS + contents.monotonic_ns == contents.process.ended_ns == contents.wall_ns(contents.monotonic_ns)


def test_records_are_sorted_by_time_and_in_the_unit_of_their_series(tmp_path: Path) -> None:
    """Over all rings, each with its outcome, sequence and units; of an unknown series as they were recorded."""
    life = Life(tmp_path)
    one, two = life.ring(), life.ring()
    call, depth = life.scope.call("predict").duration, life.scope.series("app.queue.length", "{item}", "gauge")
    one.write(call, 30, 5e8, 7, Outcome.TIMEOUT)
    two.put(depth, 10, 2.5)
    one.write(99, 20, 4.0, 0, 0)
    life.recording.learn(life.table.entries)
    records = read_recording(life.recording.path).records
    assert RECORDED == records.dtype
    rings = [int(records["ring"][1]), int(records["ring"][0])]
    assert rings == sorted(set(rings))
    expected = [
        (10, 2.5, 1, depth, 0, rings[1], 0),
        (20, 4.0, 2, 99, 0, rings[0], 0),
        (30, 0.5, 1, call, 7, rings[0], 4),
    ]
    assert expected == records.tolist()


class Bytes:
    """A recording with one ring of 1,024 records, set by hand."""

    def __init__(self, folder: Path) -> None:
        self.life = Life(folder)
        self.series = self.life.scope.series("app.hits", "{hit}", "counter")
        self.life.recording.learn(self.life.table.entries)
        self.words = self.life.ring().words

    def set(
        self, sequence: int, state: State = State.COMMITTED, index: int | None = None, *, head: bool = True
    ) -> None:
        """Let a record be there, where its sequence belongs or at another index."""
        at = FIRST_RECORD_WORD + 4 * ((sequence - 1) % 1024 if index is None else index)
        self.words[at], self.words[at + 1], self.words[at + 3] = (
            sequence << SEQUENCE_SHIFT | state,
            sequence,
            self.series,
        )
        if head:
            self.words[HEAD_WORD] = sequence

    def read(self) -> tuple[list[int], int]:
        """Return the sequences that are read, and how many are lost."""
        contents = read_recording(self.life.recording.path)
        assert contents.records["time_ns"].tolist() == contents.records["sequence"].tolist()
        # Of a process that lives, the collector says how many are lost.
        self.life.recording._words[STATE_WORD] = FileState.FAILED
        lost = read_recording(self.life.recording.path).lost
        self.life.recording._words[STATE_WORD] = FileState.RUNNING
        return contents.records["sequence"].tolist(), lost


def test_only_whole_records_of_the_last_round_count(tmp_path: Path) -> None:
    """What was being written, lies in a place that is not its own or is of an earlier round is left out."""
    ring = Bytes(tmp_path)
    for sequence in range(1, 1025):
        ring.set(sequence)
    assert (list(range(1, 1025)), 0) == ring.read()
    ring.set(1025)
    assert (list(range(2, 1026)), 1) == ring.read()
    ring.set(1026, State.BUSY)
    assert (list(range(3, 1026)), 2) == ring.read()
    ring.set(1028)
    assert ([*range(5, 1026), 1028], 1028 - 1022) == ring.read()
    ring.set(4000, index=500, head=False)
    assert ([*range(5, 501), *range(502, 1026), 1028], 7) == ring.read()


def test_a_record_that_changes_while_it_is_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer comes round between the two looks: what the first one saw may be half of each round."""
    ring = Bytes(tmp_path)
    for sequence in range(1, 1025):
        ring.set(sequence)
    plain = Sections.read
    looks = []

    def read(sections: Sections, offset: int, size: int) -> bytes:
        content = plain(sections, offset, size)
        if size == ring_bytes(1024) and not looks:
            ring.set(1025 + 7, State.BUSY)
            looks.append(offset)
        return content

    monkeypatch.setattr(Sections, "read", read)
    # The first ring of the file, which this one is.
    assert [sequence for sequence in range(1, 1025) if sequence != 8] == ring.read()[0]


def test_a_sequence_far_ahead_is_damaged_and_hides_no_other(tmp_path: Path) -> None:
    """A flipped bit high up would make all others look old; where the head is damaged it does not count."""
    ring = Bytes(tmp_path)
    for sequence in range(1, 11):
        ring.set(sequence)
    ring.set(4 + 2**40, head=False)
    assert ([1, 2, 3, 5, 6, 7, 8, 9, 10], 1) == ring.read()
    for sequence in range(1, 11):
        ring.set(sequence + 2**20, head=False)
    ring.words[HEAD_WORD] = 3
    assert [sequence + 2**20 for sequence in range(1, 11)] == ring.read()[0]


def test_a_record_that_is_just_being_committed_is_left_for_later(tmp_path: Path) -> None:
    """Its commit may be there before its payload is; the head, which comes last, tells that both are."""
    ring = Bytes(tmp_path)
    for sequence in range(1, 11):
        ring.set(sequence)
    ring.set(11, head=False)
    assert list(range(1, 11)) == ring.read()[0]
    ring.words[HEAD_WORD] = 11
    assert list(range(1, 12)) == ring.read()[0]


def test_open_calls_are_named_with_their_ages(tmp_path: Path) -> None:
    """The oldest first, as of the last record where it came after the last heartbeat; of unknown series by number."""
    fake = FakeTime()
    life = Life(tmp_path, fake=fake)
    ring = life.ring()
    call = life.scope.call("predict").duration
    run = life.scope.timer("holter.training.step.duration", {"holter.training.name": "digits"})
    ring.begin(run, fake.ns - 7 * SECOND_NS)
    ring.begin(call, fake.ns - 3 * SECOND_NS)
    ring.begin(12345, fake.ns - 9 * SECOND_NS)
    ring.release(ring.begin(call, fake.ns))
    life.turn()
    words = ring.words
    for place, start in enumerate((-(2**63), 2**62), 100):
        words.cast("B").cast("q")[FIRST_SLOT_WORD + place * SLOT_WORDS] = start
    ring.write(call, fake.ns + SECOND_NS, 1, 0, 0)
    found = read_recording(life.recording.path).open_calls
    assert [("series 12345", 10.0), ("digits", 8.0), ("predict", 4.0)] == [(one.name, one.age_seconds) for one in found]


def test_a_record_with_an_impossible_time_makes_no_age(tmp_path: Path) -> None:
    """One flipped bit would let a call run for centuries."""
    fake = FakeTime()
    life = Life(tmp_path, fake=fake)
    ring, call = life.ring(), life.scope.call("predict").duration
    ring.write(call, fake.ns + SECOND_NS, 1, 0, 0)
    ring.write(call, 2**62, 1, 0, 0)
    life.turn()
    assert fake.ns + SECOND_NS == read_recording(life.recording.path).monotonic_ns


KILLED = """
    import mmap, pathlib, sys, time
    from holter._ring import Ring
    from holter.model import Process
    from holter.record import EPOCH_WORD
    from holter.recording import Recording
    from holter.series import SeriesTable

    recording = Recording.create(Process("killed"), folder=pathlib.Path(sys.argv[1]))
    table = SeriesTable()
    series = table.intern(1, "app.hits", "{hit}", "counter", {})
    recording.learn(table.entries)
    number, memory = recording.take_ring(16384)
    ring = Ring(16384, memory, lambda block: recording.take_cells(number, block))
    ring.words[EPOCH_WORD] = 1
    with open(sys.argv[2], "r+b") as file:
        acknowledged = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    print("ready", flush=True)
    for count in range(1, 10**9):
        ring.write(series, count, float(count), count % 1000, 0)
        acknowledged[0] = count
"""


def test_what_was_recorded_before_a_kill_is_there(tmp_path: Path) -> None:
    """20 processes are killed as they write: each record that was acknowledged is whole, totals at most one more."""
    tmp_path.chmod(0o700)
    word = tmp_path / "acknowledged"
    random = np.random.default_rng(0)
    for _ in range(20):
        word.write_bytes(bytes(8))
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(word)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(random.uniform(0, 0.02))
            child.kill()
        acknowledged = int.from_bytes(word.read_bytes(), "little")
        (path,) = tmp_path.glob("*.holter")
        contents = read_recording(path)
        path.unlink()
        records = contents.records
        assert contents.process.state == "dead"
        # None where the kill came before the first one.
        assert sum(total.count for total in contents.totals.values()) - acknowledged in (0, 1)
        first = max(1, acknowledged - 16384 + 2)
        assert set(range(first, acknowledged + 1)) <= set(records["sequence"].tolist())
        assert (records["value"] == records["sequence"]).all()
        assert (records["units"] == records["sequence"] % 1000).all()
        assert contents.lost == max(0, acknowledged - 16384) or contents.lost - acknowledged + 16384 in (0, 1)


COLLECTING = """
    import pathlib, sys
    sys.path.insert(0, sys.argv[2])
    import numpy as np
    from lives import Life
    from holter.model import Alert
    from holter.segments import Space

    life = Life(pathlib.Path(sys.argv[1]), space=Space(segment_bytes=2**17, most_bytes=2**23))
    ring, random = life.ring(), np.random.default_rng(0)
    print("ready", flush=True)
    for turn in range(10**6):
        for number in range(1 + turn % 40):
            series = life.scope.series("app.hits", "{hit}", "counter", {"n": number, "text": "x" * (turn % 30)})
            ring.write(series, life.clock.monotonic_ns(), float(random.lognormal(0, 3)), 0, 0)
        alert = Alert(str(turn), "Limit", "firing", "critical", turn, "t", "e", "s", "m" * (turn % 500))
        snapshot = life.turn(alert, now=True)
"""


def test_a_kill_in_the_midst_of_the_collectors_work_leaves_a_whole_file(tmp_path: Path) -> None:
    """Fold, history, series, alerts: whatever was being written, the one before is there, and nothing is missing."""
    tmp_path.chmod(0o700)
    random = np.random.default_rng(1)
    for _ in range(12):
        command = [sys.executable, "-c", textwrap.dedent(COLLECTING), str(tmp_path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(random.uniform(0, 0.3))
            child.kill()
        (path,) = tmp_path.glob("*.holter")
        contents = read_recording(path)
        path.unlink()
        assert () == contents.missing
        counts = [reading.count for reading in contents.totals.values()]
        newest = max((int(alert.id) for alert in contents.alerts), default=-1)
        # Intervals are ended one after the other; a kill may come between two sections of one.
        assert newest in range(contents.history.added - 2, contents.history.added + 1)
        written = sum(1 + turn % 40 for turn in range(newest + 1))
        assert written <= sum(counts) <= written + 2 * 40
        assert all(np.diff(contents.history.times_ns()) > 0)


def test_a_live_process_is_read_without_a_torn_record(tmp_path: Path) -> None:
    """For a while, again and again, while another process writes at full speed."""
    tmp_path.chmod(0o700)
    (tmp_path / "acknowledged").write_bytes(bytes(8))
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(tmp_path / "acknowledged")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        (path,) = tmp_path.glob("*.holter")
        seen = 0
        for _ in range(60):
            contents = read_recording(path)
            assert (contents.records["value"] == contents.records["sequence"]).all()
            assert contents.process.state == "running"
            seen += len(contents.records)
        child.kill()
    assert seen > 10_000


LIVING = """
    import os, pathlib, sys

    os.environ["HOLTER_PURE_PYTHON"] = sys.argv[2]
    from holter.model import Process
    from holter.recording import Recording

    print(Recording.create(Process("elsewhere"), folder=pathlib.Path(sys.argv[1])).path, flush=True)
    sys.stdin.read()
"""
OTHER_MACHINE = """
    import json, os, sys

    os.environ["HOLTER_PURE_PYTHON"] = sys.argv[2]
    system = (*os.uname()[:4], sys.argv[3])
    os.uname = lambda: os.uname_result(system)
    import holter

    try:
        print(json.dumps(holter.read_recording(sys.argv[1]).process.state))
    except holter.RecordingError as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.skipif(
    find_spec("holter._hot") is None, reason="needs the extension, `apt install gcc python3-dev`, reinstall"
)
@pytest.mark.parametrize("writer", ["pure Python", "C"])
def test_what_this_machine_may_show_out_of_order_is_not_read_while_its_process_lives(
    writer: str, tmp_path: Path
) -> None:
    """An x86-64 keeps the order of stores; elsewhere writer and reader need the extension, until the process ends."""
    tmp_path.chmod(0o700)
    is_pure = {"pure Python": "1", "C": "0"}
    command = [sys.executable, "-c", textwrap.dedent(LIVING), str(tmp_path), is_pure[writer]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        path = child.stdout.readline().strip()
        told = {
            (reader, machine): succeed(OTHER_MACHINE, path, is_pure[reader], machine)
            for reader, machine in [("pure Python", "x86_64"), ("pure Python", "aarch64"), ("C", "aarch64")]
        }
        child.kill()
    assert "running" == told["pure Python", "x86_64"]
    for reader in ("pure Python", "C"):
        if writer == reader == "C":
            assert "running" == told[reader, "aarch64"]
        else:
            assert f"process {child.pid} runs: on aarch64" in told[reader, "aarch64"]
            assert f"written in {writer}, read in {reader}. Once" in told[reader, "aarch64"]
    assert "dead" == succeed(OTHER_MACHINE, path, "1", "aarch64")


WATCHED = """
    import json, threading
    import holter
    from holter.chronicle import CHRONICLE
    from holter.recorder import RECORDER

    hits = holter.counter("app.hits")
    done = threading.Event()

    def write():
        while not done.is_set():
            hits.add(1)

    threads = [threading.Thread(target=write) for _ in range(2)]
    with holter.start("watched", interval_seconds=0.02, samplers=[]) as monitor:
        for thread in threads:
            thread.start()
        path, seen, beyond = CHRONICLE.recording.path, [], 0
        # Each look waits some fifty times for the GIL, which two others want.
        while len(seen) < 10 or not seen[-1]:
            seen.append(holter.read_recording(path).lost)
            beyond += seen[-1] > RECORDER.lost
        done.set()
        for thread in threads:
            thread.join()
    stopped = holter.read_recording(path)
    print(json.dumps([seen == sorted(seen), beyond, stopped.process.state, stopped.lost == RECORDER.lost]))
"""


def test_what_a_live_process_has_lost_never_falls() -> None:
    """Read again and again while threads overrun their rings: what its collector had lost by its last interval."""
    assert [True, 0, "stopped", True] == succeed(WATCHED)


def test_what_a_collector_has_read_is_not_lost_while_its_process_lives(tmp_path: Path) -> None:
    """Records that it read and has not saved yet are no loss, unless it dies before it does."""
    life = Life(tmp_path)
    ring, hits = life.ring(), life.scope.series("app.hits", "{hit}", "counter")
    life.turn(now=True)
    for _ in range(3):
        for number in range(1_000):
            ring.write(hits, number, 1, 0, 0)
        life.router.drain()
    assert 0 == read_recording(life.recording.path).lost
    life.recording.close(clean=False)
    assert 3_000 - 1_024 == read_recording(life.recording.path).lost


def test_how_many_are_lost_is_taken_from_the_fold_where_the_word_is_damaged(tmp_path: Path) -> None:
    """A flipped bit makes no loss of billions; a file of a writer that did not say it has the fold's."""
    life = Life(tmp_path)
    ring, hits = life.ring(), life.scope.series("app.hits", "{hit}", "counter")
    for number in range(2_000):
        ring.write(hits, number, 1, 0, 0)
    life.turn(now=True)
    for flipped in (0, 1 << 50, 1):
        life.recording._words[LOST_WORD] ^= flipped
        assert 2_000 - 1_024 == read_recording(life.recording.path).lost
    life.recording._words[LOST_WORD] = 0
    assert 2_000 - 1_024 == read_recording(life.recording.path).lost


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a recording with all sections."""
    life = full_life(tmp_path_factory.mktemp("content"))
    content = life.recording.path.read_bytes()
    life.recording.close(clean=True)
    return content


def exhaust(path: Path) -> int:
    """Read a file as far as it can be, all that it tells too; return the peak of the memory that reading took."""
    tracemalloc.start()
    try:
        try:
            contents = read_recording(path)
        except RecordingError as error:
            assert str(error)  # noqa: PT017 - both answers are right
            return tracemalloc.get_traced_memory()[1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for reading in contents.totals.values():
        assert reading.histogram is None or reading.histogram.quantile(0.99) is not None
    assert len(contents.history.times_ns()) == len(contents.history)
    repr(contents)
    return peak


@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject, content: bytes, tmp_path_factory: Any) -> None:
    """Bits that flip, bytes that are others, an end that is missing: within four times the file, and at once."""
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    directory = st.integers(0, 4_000)
    for _ in range(data.draw(st.integers(0, 12)) if damaged else 0):
        at = data.draw(directory | st.integers(0, len(damaged) - 1)) % len(damaged)
        size = data.draw(st.sampled_from([1, 1, 4, 8]))
        value = data.draw(st.sampled_from([b"\xff", b"\0", b"\x7f", b"\x01"]) | st.binary(min_size=1, max_size=1))
        damaged[at : at + size] = value * len(damaged[at : at + size])
    path = tmp_path_factory.mktemp("damaged") / "file.holter"
    path.write_bytes(damaged)
    begun = time.perf_counter()
    assert exhaust(path) < 4 * len(damaged) + 2**20
    assert time.perf_counter() - begun < 10


def hostile(folder: Path, fill: Callable[[int], bytes], kind: Section, size: int = 2**22) -> Path:
    """Return a file with the header of a recording that is filled with sections of one *kind*."""
    life = Life(folder, space=Space(segment_bytes=2**16, most_bytes=2**22))
    life.turn()
    content = bytearray(life.recording.path.read_bytes())
    life.recording.close(clean=True)
    end = len(content)
    rows = np.frombuffer(content, ENTRY, 32, HEADER_BYTES)
    unused = int(np.flatnonzero(rows["kind"] == 0)[0])
    rows["kind"][rows["kind"] == kind] = 77
    body = fill(size)
    entry = np.array([(end, len(body), 0, kind, 1)], ENTRY).tobytes()
    at = HEADER_BYTES + unused * ENTRY.itemsize
    content[at : at + ENTRY.itemsize] = entry
    path = folder / "hostile.holter"
    path.write_bytes(content + body)
    return path


def _whole(content: bytes) -> bytes:
    """Return the halves of a section that hold *content*, with the checksum that it should have."""
    memory = bytearray(length_for(len(content)))
    Halves(memoryview(memory), 99).write([content])
    return bytes(memory)


def _fold(size: int, **counts: int) -> bytes:
    """Return a fold that is filled with rows of one kind."""
    header = np.zeros(1, FOLD_HEADER)
    for name, count in counts.items():
        header[name] = count
    return _whole(header.tobytes() + np.arange(1, size // 8, dtype="<i8").tobytes())


def _line(number: int) -> bytes:
    return b'[%d,1,1,"a","","gauge",{},null]\n' % number


FILLS: dict[str, tuple[Section, Callable[[int], bytes]]] = {
    "short lines": (Section.SERIES, lambda size: size.to_bytes(8, "little") + b"\n" * (size - 8)),
    "short series": (
        Section.SERIES,
        lambda size: size.to_bytes(8, "little") + b"".join(map(_line, range(size // 32)))[: size - 8],
    ),
    "deep lists": (Section.NOTICES, lambda size: _whole(b"[" * (size // 17))),
    "empty lists": (Section.NOTICES, lambda size: _whole(b'{"alerts":[' + b"[]," * (size // 60) + b"[]]}")),
    "a long identity": (Section.IDENTITY, lambda size: b'{"service":[' + b"[]," * (size // 60) + b"[]]}"),
    "cells of all blocks": (
        Section.CELLS,
        lambda _: np.arange(1, 33, dtype="<u8").tobytes() + b"\x01" * (32 * 2048),
    ),
    "readings": (Section.FOLD, lambda size: _fold(size, readings=(size // 2 - 200) // READING.itemsize)),
    "cells elsewhere": (Section.FOLD, lambda size: _fold(size // 2, cells=(size // 2 - 200) // ELSEWHERE.itemsize)),
    "cursors": (Section.FOLD, lambda size: _fold(size // 2, cursors=(size // 2 - 200) // CURSOR.itemsize)),
    "a ring": (
        Section.RING,
        lambda size: b"\x01" * (128 + 257 * 32) + np.array(
            [(n << 8 | 2, n, n, n % 5, 1) for n in range(1, size // 64 + 1)],
            "<u8,<i8,<f8,<u4,<u4",
        ).tobytes(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_a_hostile_file_takes_no_more_than_four_times_its_size(name: str, tmp_path: Path) -> None:
    """Whatever is small in a file and large in memory."""
    kind, fill = FILLS[name]
    path = hostile(tmp_path, fill, kind)
    begun = time.perf_counter()
    assert exhaust(path) < 4 * path.stat().st_size + 2**20
    assert time.perf_counter() - begun < 20


def test_a_file_that_is_cut_off_while_it_is_read_is_read_as_far_as_it_goes(tmp_path: Path, content: bytes) -> None:
    """The length that was told at first is not trusted either."""
    path = tmp_path / "file.holter"
    path.write_bytes(content)
    with Sections(path) as sections:
        os.truncate(path, 70_000)
        for kind in Section:
            assert all(len(part) <= len(content) for part in sections.contents(kind))


class TestGolden:
    """A file of format 1 that was written once, and must be read for ever."""

    @staticmethod
    def unpacked(folder: Path, **words: int) -> Path:
        """Return the file with some words of its header replaced."""
        content = gzip.decompress(GOLDEN.read_bytes())
        header = np.frombuffer(content[:HEADER_BYTES], "<u8").copy()
        for word, value in words.items():
            header[int(word[1:])] = value
        path = folder / "golden.holter"
        path.write_bytes(header.tobytes() + content[HEADER_BYTES:])
        return path

    def test_it_tells_what_it_told_then(self, tmp_path: Path) -> None:
        """All of it."""
        expected = json.loads(GOLDEN.with_suffix("").with_suffix(".json").read_text(encoding="utf-8"))
        contents = read_recording(self.unpacked(tmp_path))
        assert expected == json.loads(json.dumps(told(contents)))
        assert ("dead", True) == (contents.process.state, contents.process.is_sure)
        assert gzip.decompress(GOLDEN.read_bytes()).startswith(MAGIC)

    def test_the_writer_of_today_writes_the_same(self, tmp_path: Path) -> None:
        """What is told of a recording of the same life."""
        expected = json.loads(GOLDEN.with_suffix("").with_suffix(".json").read_text(encoding="utf-8"))
        assert expected == json.loads(json.dumps(told(read_recording(full_life(tmp_path).recording.path))))

    def test_another_byte_order_and_later_formats_are_answered(self, tmp_path: Path) -> None:
        """A major one is refused in words, of a minor one what is known is read."""
        swapped = int.from_bytes(BYTE_ORDER.to_bytes(8, "little"), "big")
        with pytest.raises(RecordingError, match="other byte order"):
            read_recording(self.unpacked(tmp_path, **{f"_{ORDER_WORD}": swapped}))
        with pytest.raises(RecordingError, match="format 3"):
            read_recording(self.unpacked(tmp_path, **{f"_{FORMAT_WORD}": 3}))
        later = read_recording(self.unpacked(tmp_path, **{f"_{FORMAT_WORD}": 1 << 32 | 1}))
        assert (True, 121) == (later.truncated, len(later.records))


if __name__ == "__main__":
    # Writes the golden file anew: only where the format has changed, with a new number.
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = full_life(Path(name)).recording.path
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        text = json.dumps(told(read_recording(path)), indent=1)
        GOLDEN.with_suffix("").with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    assert SMALL.segment_bytes == 2**16
