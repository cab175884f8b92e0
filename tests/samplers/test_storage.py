"""Checkpoints and model files, and the room that there is for more."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import holter
from contracts.sampled import Sampled
from holter.clock import SYSTEM
from holter.errors import ConfigurationError
from holter.model import Sampler
from holter.samplers import storage
from holter.samplers.storage import Storage

HOUR = 3600


def sample(sampler: Storage) -> Sampled:
    """Return one sample."""
    sampled = Sampled()
    sampler.sample(sampled)
    return sampled


def patient(*paths: object, **options: Any) -> Storage:
    """Return one that waits for its walk as long as it takes."""
    return Storage(paths, _patience_seconds=60.0, **options)


def test_a_folder_that_grows_is_told(tmp_path: Path) -> None:
    """Its bytes, its files and how old the newest is."""
    clock = SYSTEM._replace(wall_ns=lambda: 10 * HOUR * 10**9)
    sampler, folder = patient(tmp_path, _clock=clock), str(tmp_path)
    assert sample(sampler).values[f"holter.storage.size {folder}"] == 0
    for number in (1, 2):
        (tmp_path / f"step-{number}").write_bytes(b"x" * 1000)
        os.utime(tmp_path / f"step-{number}", (number * HOUR, number * HOUR))
        told = sample(sampler)
        assert told[f"holter.storage.size {folder}"] == 1000 * number
        assert told[f"holter.storage.files {folder}"] == number
        assert told[f"holter.storage.newest_age {folder}"] == (10 - number) * HOUR
    assert sampler.unavailable == {}


def test_a_file_from_the_future_is_new(tmp_path: Path) -> None:
    """Another machine's clock, or one that was set back: no age is negative."""
    (tmp_path / "file").touch()
    sampler = patient(tmp_path, _clock=SYSTEM._replace(wall_ns=lambda: 0))
    assert sample(sampler)[f"holter.storage.newest_age {tmp_path}"] == 0


def test_a_path_may_come_later(tmp_path: Path) -> None:
    """Until then the reason is told, and the room of the file system that it will lie in."""
    late = tmp_path / "late"
    sampler = patient(late, tmp_path)
    told = sample(sampler)
    assert f"holter.storage.size {late}" not in told.values
    assert f"holter.storage.size {tmp_path}" in told.values
    assert sampler.unavailable["holter.storage.size"].startswith("unavailable, because of FileNotFoundError")
    late.mkdir()
    assert sample(sampler)[f"holter.storage.size {late}"] == 0
    assert sampler.unavailable == {}


def test_room_is_told_once_a_file_system(tmp_path: Path) -> None:
    """By the conventions' names; the share that is used is df's."""
    (tmp_path / "a").mkdir()
    told = sample(patient(tmp_path, tmp_path / "a", "/proc/self/status"))
    rooms = {name: value for name, value in told.values.items() if name.startswith("system.filesystem.utilization")}
    mountpoint = next(iter(rooms)).split()[-1]
    used, free = (told[f"system.filesystem.usage {state} {mountpoint}"] for state in ("used", "free"))
    assert rooms[f"system.filesystem.utilization used {mountpoint}"] == pytest.approx(used / (used + free))
    assert len(rooms) == 1


def test_more_than_a_walk_may_look_at_is_said(tmp_path: Path) -> None:
    """The figure is that of the part."""
    for number in range(20):
        (tmp_path / str(number)).write_text("x")
    sampler = patient(tmp_path, most_entries=10)
    assert sample(sampler)[f"holter.storage.files {tmp_path}"] == 10
    assert sampler.unavailable["holter.storage.size"] == (
        f"unavailable in part, because {tmp_path} has more than 10 files and folders, and the others are not counted"
    )


def test_a_disk_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample ends without figures, starts no second walk, says why after its interval, and heals."""
    released, walks, now = threading.Event(), [], [0]
    real = storage.count_files

    def hangs(path: str, most: int) -> Any:
        walks.append(path)
        released.wait(60)
        return real(path, most)

    monkeypatch.setattr(storage, "count_files", hangs)
    clock = SYSTEM._replace(monotonic_ns=lambda: now[0])
    sampler = Storage(tmp_path, interval_seconds=5.0, _clock=clock, _patience_seconds=0.001)
    assert sample(sampler).values == {}
    assert sampler.unavailable == {}
    now[0] = 7 * 10**9
    assert sample(sampler).values == {}
    assert sampler.unavailable == {"holter.storage.size": "unavailable, because the disk takes more than 7 s"}
    assert walks == [str(tmp_path)]
    sampler._patience_seconds = 60.0
    released.set()
    assert sample(sampler)[f"holter.storage.size {tmp_path}"] == 0
    assert sampler.unavailable == {}


def test_a_forked_child_walks_by_itself(tmp_path: Path) -> None:
    """The walk that its parent had begun goes on in the parent alone."""
    sampler = patient(tmp_path)
    sampler._walk = walk = storage._Walk((str(tmp_path),), 10, SYSTEM)
    walk.done.wait(60)
    walk.pid = -1
    (tmp_path / "file").write_text("12345")
    assert sample(sampler)[f"holter.storage.size {tmp_path}"] == 5


def test_a_monitor_tells_it(tmp_path: Path) -> None:
    """Through the public API, and by the paths that were given, made whole."""
    (tmp_path / "file").write_text("12345")
    with holter.Monitor("tune", samplers=[holter.Storage(tmp_path, interval_seconds=0.05)]) as monitor:
        found = None
        while found is None:
            found = monitor.snapshot().find("holter.storage.size", {"holter.storage.path": str(tmp_path)})
        assert found.total.last == 5


def test_relative_paths_are_those_of_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may go elsewhere."""
    monkeypatch.chdir(tmp_path)
    sampler = Storage("checkpoints")
    monkeypatch.chdir("/")
    assert sampler.paths == (str(tmp_path / "checkpoints"),)


def test_it_is_a_sampler_of_the_whole_host(tmp_path: Path) -> None:
    """With settings that read equal where they are."""
    assert isinstance(Storage(tmp_path), Sampler)
    assert Storage.whole_host
    told = f"Storage(['{tmp_path}'], interval_seconds=60.0, most_entries=10000)"
    assert told == repr(Storage(tmp_path)) == repr(Storage([str(tmp_path)], interval_seconds=60))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "1 to 20 paths, got 0"),
        (([f"/{number}" for number in range(21)],), {}, "1 to 20 paths, got 21"),
        ((3,), {}, "paths must be a path or several, got 3"),
        (([3],), {}, "paths must be a path or several, got 3"),
        ((b"/data",), {}, "paths must be a path or several, got b'/data'"),
        ((["a\0b"],), {}, "paths must be a path or several"),
        (("/data",), {"interval_seconds": 0}, "interval_seconds must be"),
        (("/data",), {"most_entries": 0}, "most_entries must be a whole number from 1 on, got 0"),
        (("/data",), {"most_entries": True}, "most_entries must be"),
        (("/data",), {"most_entries": 1.5}, "most_entries must be"),
    ],
)
def test_what_cannot_work_is_refused(arguments: Any, options: Any, message: str) -> None:
    """At construction, by name."""
    with pytest.raises(ConfigurationError, match=message):
        Storage(*arguments, **options)
