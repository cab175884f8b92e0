"""What every receiver of incidents that posts to a web address must satisfy."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.snapshots import PROCESS, START_NS, alert, busy_story, hostile_alert
from holter.errors import ConfigurationError
from holter.model import Exporter
from holter.notice import Notice, Undelivered
from hooks import Hook

SECRET = "s3cr3t"  # noqa: S105 - it is there to be looked for


class ReceiverContract:
    """The contract; a test class inherits it and says how a receiver is built, and to which path it posts."""

    path = "/"

    def build(self, url: str, **options: Any) -> Any:
        """Return a new receiver that posts to *url*."""
        raise NotImplementedError

    @pytest.fixture
    def hook(self) -> Iterator[Hook]:
        """Where it posts to."""
        with Hook() as hook:
            yield hook

    def notice(self, **facts: Any) -> Notice:
        """Return one of an incident that has begun, but for *facts*."""
        usual: dict[str, Any] = {
            "incident": "5e1f", "number": 1, "state": "firing", "time_ns": START_NS, "alert": alert(),
            "told": (alert(),), "process": PROCESS,
        }  # fmt: skip
        return Notice(**{**usual, **facts})

    def test_has_the_shape_of_an_exporter_and_of_a_receiver(self) -> None:
        """The monitor finds all that it calls."""
        receiver = self.build("http://localhost:1")
        assert (True, True, True) == (isinstance(receiver, Exporter), receiver.whole_group, callable(receiver.send))

    def test_tells_what_since_when_expected_seen_and_the_next_step(self, hook: Hook) -> None:
        """With the incident and who is concerned."""
        self.build(hook.url).send(self.notice(), 5.0)
        (request,) = hook.requests
        text = json.dumps(request.body)
        wanted = (
            "5e1f", "predict is slow", "2026-11-22T13:03:09.225Z", "p99 below 200 ms", "412 ms", "look at its stages",
            "sentiment", "v7", "critical",
        )  # fmt: skip
        assert [] == [one for one in wanted if one not in text]
        assert self.path == request.path

    def test_lets_no_text_break_out(self, hook: Hook) -> None:
        """Whatever an alert says arrives as harmless text."""
        one = hostile_alert()
        self.build(hook.url).send(self.notice(alert=one, told=(one,), joined=(one,)), 5.0)
        texts: list[str] = []

        def walk(value: Any) -> None:
            if isinstance(value, dict):
                texts.extend(value)
                walk(list(value.values()))
            elif isinstance(value, list):
                for inner in value:
                    walk(inner)
            elif isinstance(value, str):
                texts.append(value)

        walk(hook.requests[0].body)
        assert [] == [text for text in texts if not text.isprintable()]

    def test_exports_alerts_where_no_monitor_does_better(self, hook: Hook) -> None:
        """From any iterable, from any thread; figures are not for it."""
        receiver = self.build(hook.url)
        work = (one for one in [alert(), alert(id="b", state="resolved")])
        thread = threading.Thread(target=receiver.export, args=(busy_story().snapshot(), work))
        thread.start()
        thread.join()
        receiver.export(busy_story().snapshot(), [])
        assert 2 == len(hook.requests)

    @pytest.mark.parametrize(
        ("status", "is_final"),
        [(500, False), (503, False), (429, False), (404, False), (401, False), (302, False), (400, True), (422, True)],
    )
    def test_what_is_not_taken_is_said(self, hook: Hook, status: int, is_final: bool) -> None:  # noqa: FBT001 - a case
        """And whether it makes sense to send it again; nothing is sent elsewhere."""
        hook.statuses, hook.more = [status], {"Retry-After": "7", "Location": "/other"}
        with pytest.raises(Undelivered, match=f"it answers {status}") as caught:
            self.build(hook.url).send(self.notice(), 5.0)
        assert (is_final, 7.0, 1) == (caught.value.is_final, caught.value.again_seconds, hook.begun)

    def test_a_receiver_that_hangs_or_is_not_there_is_given_up_in_time(self, hook: Hook) -> None:
        """By whichever time limit is the shorter."""
        hook.free.clear()
        begun = time.monotonic()
        for receiver, timeout in ((self.build(hook.url, timeout=0.1), 30.0), (self.build(hook.url), 0.1)):
            with pytest.raises(Undelivered, match="in time"):
                receiver.send(self.notice(), timeout)
        assert time.monotonic() - begun < 10
        hook.free.set()
        hook.down()
        with pytest.raises(Undelivered, match="Connection refused"):
            self.build(hook.url).send(self.notice(), 5.0)

    def test_sends_what_authorises(self, hook: Hook) -> None:
        """Headers, or user and password of the URL; both arrive."""
        self.build(hook.url, headers={"Authorization": f"Bearer {SECRET}"}).send(self.notice(), 5.0)
        self.build(hook.url.replace("//", f"//us%40er:{SECRET}@")).send(self.notice(), 5.0)
        one, other = (request.headers["Authorization"] for request in hook.requests)
        assert (f"Bearer {SECRET}", "Basic dXNAZXI6czNjcjN0") == (one, other)

    def test_keeps_secrets(self) -> None:
        """They are in nothing that is printed; settings that differ by them only are different all the same."""
        made = [
            self.build(f"https://user:{word}@example.com/{word}?token={word}", headers={"X-Key": word})
            for word in (SECRET, SECRET, "other")
        ]
        shown = [repr(made[0]), made[0].where, str(made[0])]
        assert [] == [text for text in shown if SECRET in text]
        assert (True, True) == (repr(made[0]) == repr(made[1]), repr(made[0]) != repr(made[2]))
        assert all("https://example.com" in text for text in shown)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("ftp://example.com/s3cr3t", "scheme 'ftp'"),
            ("file:///etc/s3cr3t", "scheme 'file'"),
            ("example.com/s3cr3t", "scheme ''"),
            ("http:///s3cr3t", "without a host"),
            ("http://example.com:99999/s3cr3t", "cannot be taken apart"),
            ("http://example.com/s3cr3t\r\nX: y", "printable ASCII"),
            ("http://exämple.com/s3cr3t", "printable ASCII"),
            (None, "got NoneType"),
        ],
    )
    def test_refuses_what_is_no_address_and_does_not_repeat_it(self, url: Any, words: str) -> None:
        """It may hold a secret, and errors are printed."""
        with pytest.raises(ConfigurationError, match=words) as caught:
            self.build(url)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"headers": {"X-Key": "s3cr3t\r\nY: z"}}, "headers must have names"),
            ({"headers": {"X Key": "s3cr3t"}}, "headers must have names"),
            ({"headers": {"X": 3}}, "got 'X' with a int"),
            ({"headers": ["s3cr3t"]}, "headers must be a dict"),
            ({"timeout": 0}, "timeout must be greater than 0"),
            ({"timeout": "s"}, "timeout must be a finite number"),
            ({"context": "s3cr3t"}, "context must be an ssl.SSLContext, got str"),
            ({"name": ""}, "name must be a str that is not empty"),
        ],
    )
    def test_refuses_what_cannot_work(self, options: dict[str, Any], words: str) -> None:
        """With what was expected and what came, but no value that may be secret."""
        with pytest.raises(ConfigurationError, match=words) as caught:
            self.build("http://localhost:1", **options)
        assert SECRET not in str(caught.value)
        assert self.build("https://localhost:1", context=ssl.create_default_context()).timeout > 0

    def test_closes_in_time_and_more_than_once(self, hook: Hook) -> None:
        """With or without something sent before."""
        receiver = self.build(hook.url)
        receiver.close(0.5)
        receiver.send(self.notice(), 5.0)
        begun = time.monotonic()
        receiver.close(0.5), receiver.close(0.5)
        assert time.monotonic() - begun < 1.0
