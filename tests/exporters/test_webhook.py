"""Incidents as JSON at a web address."""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from contracts.receiver import ReceiverContract
from contracts.snapshots import PROCESS, START_NS, alert
from holter.exporters.webhook import Webhook, encode
from holter.notice import Notice, Undelivered, decode_notice, encode_notice
from hooks import Hook

# Of 127.0.0.1, signed by nobody, good for a hundred years.
CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"


class TestContract(ReceiverContract):
    """What every receiver must satisfy."""

    def build(self, url: str, **options: Any) -> Webhook:
        """Return one that posts there."""
        return Webhook(url, **options)


def test_the_body_is_versioned_and_has_what_the_page_says() -> None:
    """Each field, with its type."""
    told = Notice(
        "5e1f", 3, "firing", START_NS, alert(related=("embed: rose",)), (alert(id="b"), alert()), (alert(id="c"),),
        PROCESS,
    )  # fmt: skip
    body = json.loads(encode(told))
    assert ["version", "key", "incident", "state", "time", "text", "service", "alert", "others"] == list(body)
    assert (1, "5e1f-3", "5e1f", "firing") == tuple(body[name] for name in ("version", "key", "incident", "state"))
    assert "sentiment: firing: predict is slow; next: look at its stages" == body["text"]
    assert {
        "name": "sentiment", "version": "v7", "instance": "5f0c", "host": "box", "pid": 4711,
        "attributes": {"deployment.environment.name": "test"},
    } == body["service"]  # fmt: skip
    assert (["embed: rose"], 0.412) == (body["alert"]["related"], body["alert"]["evidence"]["p99"])
    assert ["b", "c"] == [one["id"] for one in body["others"]]


def test_each_notice_has_a_key_of_its_own_in_the_header() -> None:
    """The same however often it is sent."""
    with Hook() as hook:
        webhook = Webhook(f"{hook.url}/a/b?c=d")
        for number in (1, 1, 2):
            webhook.send(Notice("5e1f", number, "firing", START_NS, alert(), (alert(),)), 5.0)
    assert ["5e1f-1", "5e1f-1", "5e1f-2"] == [one.headers["Idempotency-Key"] for one in hook.requests]
    assert {("/a/b?c=d", "close")} == {(one.path, one.headers["Connection"]) for one in hook.requests}


def test_what_waits_is_kept_for_the_url_or_for_a_name() -> None:
    """A new address takes over what waits for the old one, if both have the name."""
    one, other = Webhook("http://a.example.com"), Webhook("http://b.example.com")
    assert one.receiver != other.receiver
    named = [Webhook(f"http://{host}.example.com", name="ops").receiver for host in "ab"]
    assert named[0] == named[1]


def test_notices_are_read_as_they_were_written() -> None:
    """But for the evidence of those that joined, and beyond sixteen of them."""
    told = Notice("5e1f", 3, "resolved", START_NS, alert(), (alert(id="b"), alert()), (), PROCESS)
    back = decode_notice(encode_notice(told))
    assert (told.alert, told.told, told.key, told.state) == (back.alert, back.told, back.key, back.state)
    assert ("sentiment", "v7", 4711) == (back.process.service, back.process.version, back.process.pid)
    many = Notice("5e1f", 3, "firing", START_NS, alert(), (alert(),), tuple(alert(id=str(n)) for n in range(99)))
    assert 16 == len(decode_notice(encode_notice(many)).joined)


def test_a_certificate_that_nobody_trusts_is_refused_unless_the_context_does() -> None:
    """TLS as Python has it by default; nothing is sent before the certificate is known."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    told = Notice("5e1f", 1, "firing", START_NS, alert(), (alert(),))
    with Hook(context=server) as hook:
        url = hook.url.replace("http:", "https:")
        with pytest.raises(Undelivered, match="certificate is not trusted"):
            Webhook(url).send(told, 5.0)
        assert 0 == hook.begun
        Webhook(url, context=ssl.create_default_context(cafile=CERTIFICATE)).send(told, 5.0)
        assert 1 == len(hook.requests)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the descriptors of a process in /proc")
def test_a_child_that_is_forked_meanwhile_does_not_keep_the_connection() -> None:
    """Else the receiver would wait for it after the end of its parent."""

    def sockets() -> set[str]:
        links = set()
        for path in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                links.add(str(path.readlink()))
        return {link for link in links if link.startswith("socket:")}

    told = Notice("5e1f", 1, "firing", START_NS, alert(), (alert(),))
    with Hook() as hook:
        before = sockets()
        hook.free.clear()
        thread = threading.Thread(target=Webhook(hook.url).send, args=(told, 30.0))
        thread.start()
        hook.wait_until_begun(1)
        during = sockets() - before
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, b"\n".join(link.encode() for link in sockets() & during))
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            kept = pipe.read().split()
        hook.free.set()
        thread.join(30)
    # The server's end of it is in this process too; that it has, as nobody told it not to.
    assert (2, 1) == (len(during), len(kept))


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_proxies_are_those_of_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for this machine. Plain requests are the proxy's, with its authorization; one that refuses TLS is said."""
    told = Notice("5e1f", 1, "firing", START_NS, alert(), (alert(),))
    with Hook() as proxy:
        monkeypatch.setenv(variable, proxy.url.replace("//", "//user:word@"))
        monkeypatch.delenv("no_proxy", raising=False)
        if variable == "https_proxy":
            with pytest.raises(Undelivered, match="Tunnel connection failed: 501"):
                Webhook("https://alerts.example.com/hook").send(told, 5.0)
            return
        Webhook("http://alerts.example.com/hook").send(told, 5.0)
        (request,) = proxy.requests
        assert ("http://alerts.example.com/hook", "alerts.example.com") == (request.path, request.headers["Host"])
        assert "Basic dXNlcjp3b3Jk" == request.headers["Proxy-Authorization"]
        with Hook() as hook:
            Webhook(hook.url).send(told, 5.0)
            assert (1, 1) == (len(hook.requests), len(proxy.requests))
