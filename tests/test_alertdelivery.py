"""Each incident arrives, always with one id, once where nobody was killed: whatever becomes of the processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from hooks import Hook, until
from troubledservice import Service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Where the incidents go."""
    with Hook() as hook:
        yield hook


@contextmanager
def pair(folder: Path, hook: Hook) -> Iterator[tuple[Service, Service]]:
    """Start two processes, the first of which leads."""
    with Service(folder, webhook=hook.url) as leader:
        leader.ask("flush")
        with Service(folder, webhook=hook.url) as other:
            other.ask("flush")
            yield leader, other


def files(folder: Path) -> list[str]:
    """Return the files of notices that wait."""
    return [path.name for path in folder.glob("*.notice")]


def test_a_receiver_that_is_down_slow_and_back_gets_each_incident_once(tmp_path: Path, hook: Hook) -> None:
    """In order; it is sent again while nobody listens, and not while an answer is awaited."""
    hook.down()
    with Service(tmp_path, webhook=f"{hook.url}/s3cr3t") as service:
        service.trouble(lasts=True)
        assert service.ask("flush")
        ((incident, state, _),) = service.ask("alerts")
        assert ("firing", 1) == (state, len(files(tmp_path)))
        (path,) = tmp_path.glob("*.notice")
        assert (0o600, False) == (path.stat().st_mode & 0o777, "s3cr3t" in path.read_text() + path.name)
        hook.free.clear()
        hook.up()
        hook.wait_until_begun(1)
        service.trouble(lasts=False)
        for _ in range(3):
            service.ask("flush", 0.1)
        assert 1 == hook.begun
        hook.free.set()
        hook.wait_for(2)
        assert [(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")] == hook.told()
        until(lambda: not files(tmp_path))
        assert [[incident, "firing"], [incident, "resolved"]] == service.ask("told")
        service.end()
    assert 2 == len(hook.requests)


def test_a_receiver_that_hangs_holds_no_exit(tmp_path: Path, hook: Hook) -> None:
    """Beyond the two seconds that a monitor has for it; what was not answered waits for the next process."""
    hook.free.clear()
    with Service(tmp_path, webhook=hook.url, timeout=60.0) as service:
        service.trouble(lasts=True)
        hook.wait_until_begun(1)
        begun = time.monotonic()
        service.end()
        assert time.monotonic() - begun < 10
    assert 1 == len(files(tmp_path))


def test_a_leader_killed_while_it_sends_has_it_sent_by_the_next(tmp_path: Path, hook: Hook) -> None:
    """With the same key, so that the receiver can tell; the end is told once."""
    with pair(tmp_path, hook) as (leader, other):
        hook.free.clear()
        leader.trouble(lasts=True)
        hook.wait_until_begun(1)
        until(lambda: other.ask("alerts"))
        ((incident, _, _),) = other.ask("alerts")
        leader.kill()
        hook.wait_until_begun(2)
        hook.free.set()
        hook.wait_for(1)
        other.trouble(lasts=False)
        until(lambda: (incident, "resolved", f"{incident}-2") in hook.told())
        assert {(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")} == set(hook.told())
        assert 1 == hook.told().count((incident, "resolved", f"{incident}-2"))
        other.end()


def test_who_is_killed_before_anything_has_arrived_leaves_it_to_the_next_start(tmp_path: Path, hook: Hook) -> None:
    """Which tells of it once, and of the alert as one that fires already."""
    hook.down()
    with Service(tmp_path, webhook=hook.url) as first:
        first.trouble(lasts=True)
        first.ask("flush")
        ((incident, _, _),) = first.ask("alerts")
        first.kill()
    hook.up()
    with Service(tmp_path, webhook=hook.url) as second:
        hook.wait_for(1)
        assert [[incident, "firing", ""]] == second.ask("alerts")
        second.trouble(lasts=False)
        hook.wait_for(2)
        second.end()
    assert [(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")] == hook.told()


def test_restarts_tell_of_an_incident_once(tmp_path: Path, hook: Hook) -> None:
    """Be it that it goes on over three of them."""
    incidents = set()
    for number in range(3):
        with Service(tmp_path, webhook=hook.url) as service:
            if not number:
                service.trouble(lasts=True)
            service.ask("flush")
            until(lambda: service.ask("alerts"))
            incidents |= {incident for incident, _, _ in service.ask("alerts")}
            if number == 2:
                service.trouble(lasts=False)
                service.ask("flush")
            service.end()
    (incident,) = incidents
    assert [(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")] == hook.told()


def test_a_reload_loses_nothing(tmp_path: Path, hook: Hook) -> None:
    """A monitor with other settings in the same process takes over what waits."""
    hook.down()
    with Service(tmp_path, webhook=hook.url) as service:
        service.trouble(lasts=True)
        service.ask("flush")
        ((incident, _, _),) = service.ask("alerts")
        service.ask("reload", 2)
        hook.up()
        hook.wait_for(1)
        service.ask("reload", 3)
        service.trouble(lasts=False)
        hook.wait_for(2)
        service.end()
    assert [(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")] == hook.told()


def test_a_reload_while_an_answer_is_awaited_sends_nothing_twice(tmp_path: Path, hook: Hook) -> None:
    """The next monitor leaves it to the thread of the last one."""
    hook.free.clear()
    with Service(tmp_path, webhook=hook.url) as service:
        service.trouble(lasts=True)
        hook.wait_until_begun(1)
        service.ask("reload", 2)
        for _ in range(3):
            service.ask("flush", 0.1)
        hook.free.set()
        hook.wait_for(1)
        until(lambda: not files(tmp_path))
        service.trouble(lasts=False)
        hook.wait_for(2)
        service.end()
    assert ["firing", "resolved"] == [state for _, state, _ in hook.told()]
    assert 2 == hook.begun


def test_a_leader_that_stops_while_an_answer_is_awaited_sends_nothing_twice(tmp_path: Path, hook: Hook) -> None:
    """Nor does the next one, as long as the old one lives."""
    with pair(tmp_path, hook) as (leader, other):
        hook.free.clear()
        leader.trouble(lasts=True)
        hook.wait_until_begun(1)
        leader.ask("reload", 2)
        other.ask("flush", 0.1), leader.ask("flush", 0.1), other.ask("flush", 0.1)
        hook.free.set()
        hook.wait_for(1)
        until(lambda: not files(tmp_path))
        leader.end()
        other.trouble(lasts=False)
        hook.wait_for(2)
        other.end()
    assert (["firing", "resolved"], 2) == ([state for _, state, _ in hook.told()], hook.begun)


def test_a_forked_child_goes_on_with_what_its_parent_leaves(tmp_path: Path, hook: Hook) -> None:
    """The incident, what waits, and nothing twice."""
    hook.down()
    with Service(tmp_path, webhook=hook.url) as service:
        service.trouble(lasts=True)
        service.ask("flush")
        ((incident, _, _),) = service.ask("alerts")
        service.ask("fork")
        hook.up()
        until(lambda: service.ask("flush") and service.ask("alerts") == [[incident, "firing", ""]])
        hook.wait_for(1)
        service.trouble(lasts=False)
        hook.wait_for(2)
        until(lambda: not files(tmp_path))
        service.ask("flush")
    assert [(incident, "firing", f"{incident}-1"), (incident, "resolved", f"{incident}-2")] == hook.told()


def test_a_silence_set_in_any_process_holds_for_all_and_over_restarts(tmp_path: Path, hook: Hook) -> None:
    """What fires is shown with it and told to nobody; when the silence ends it is told."""
    with pair(tmp_path, hook) as (leader, other):
        assert "deploy" in other.ask("silence", 30, "Predict")
        assert 0o600 == next(tmp_path.glob("*.silence")).stat().st_mode & 0o777
        leader.trouble(lasts=True)
        leader.ask("flush")
        ((incident, state, silence),) = leader.ask("alerts")
        assert ("firing", True) == (state, "deploy" in silence)
        until(lambda: other.ask("alerts") == [[incident, state, silence]])
        leader.kill(), other.kill()
    with Service(tmp_path, webhook=hook.url) as service:
        service.ask("flush")
        assert [[incident, "firing", silence]] == service.ask("alerts")
        assert ([], 0) == (service.ask("told"), hook.begun)
        service.ask("silence", 0, "predict")
        hook.wait_for(1)
        service.trouble(lasts=False)
        service.ask("flush")
        hook.wait_for(2)
        assert [[incident, "firing"], [incident, "resolved"]] == service.ask("told")
        service.end()
    assert not list(tmp_path.glob("*.silence"))


@pytest.mark.heavy
@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_notice_arrives(seed: int, kills: bool, tmp_path: Path, hook: Hook) -> None:  # noqa: FBT001
    """Forty troubles, reloads, restarts and outages: begin before end, once where nobody was killed, with one key."""
    random = Random(seed)
    ways = ["trouble"] * 3 + ["reload", "restart", "hook", "wait"] + ["kill"] * kills
    service, is_up, lasts = Service(tmp_path, webhook=hook.url), True, False
    for way in random.choices(ways, k=40):
        if way == "trouble":
            lasts = not lasts
            service.trouble(lasts=lasts)
            service.ask("flush")
        elif way == "reload":
            service.ask("reload", random.random())
        elif way in ("restart", "kill"):
            service.end() if way == "restart" else service.kill()
            service.__exit__()
            service = Service(tmp_path, webhook=hook.url)
            service.ask("flush")
        elif way == "hook":
            is_up = not is_up
            hook.up() if is_up else hook.down()
        else:
            until(lambda: service.ask("flush") is not None)  # noqa: B023 - called here only
    if not is_up:
        hook.up()
    service.trouble(lasts=True)
    service.ask("flush")
    until(lambda: not files(tmp_path), seconds=120.0)
    service.end()
    service.__exit__()
    order: dict[str, list[tuple[str, str]]] = {}
    for incident, state, key in hook.told():
        order.setdefault(incident, []).append((key, state))
    for incident, notices in order.items():
        numbers = [int(key.rpartition("-")[2]) for key, _ in notices]
        assert list(range(1, max(numbers) + 1)) == sorted(set(numbers)), (incident, notices)
        assert numbers == sorted(numbers)
        assert kills or len(numbers) == len(set(numbers)), notices
        assert {"firing", "resolved"} >= {state for _, state in notices}
        assert all((state == "firing") == (int(key.rpartition("-")[2]) % 2 == 1) for key, state in notices)
    assert "firing" == hook.told()[-1][1]
