"""Exporters as the doctor tries them."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holter.checkup.exporters import EXPORTERS, Receiver, exporters
from holter.checkup.samplers import exported
from mending import is_allowed


def test_every_exporter_of_holter_is_tried() -> None:
    """One that is added has to say here how it is proved."""
    assert {*exported("exporters")} == {*EXPORTERS}


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("LogFile", "lines to a temporary file"),
        ("CSVFile", "lines to a temporary file"),
        ("Console", "printed 2 lines in colours"),
        ("Webhook", "sent an incident of"),
        ("Alertmanager", "sent an alert of"),
        ("Prometheus", "lines over the loopback"),
        ("OpenTelemetry", "bytes of OTLP over HTTP, which arrived"),
        ("OTLP over gRPC", "bytes of OTLP over gRPC, which arrived"),
    ],
)
def test_each_exporter_delivers(subject: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment names a proxy that is not there: the loopback needs none."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    [found] = [finding for finding in exporters() if finding.subject == subject]
    assert "ok" == found.state, found
    assert told in found.words


def test_opentelemetry_is_tried_without_its_extra() -> None:
    """By the exporter of the SDK that prints; the words say that nothing was sent."""
    program = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None\n"
        "from holter.checkup.exporters import EXPORTERS; print(EXPORTERS['OpenTelemetry']())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "handed figures to the exporter of its SDK that prints; nothing that sends is installed\n" == done.stdout


def test_a_receiver_takes_what_is_posted_and_gives_its_port_back() -> None:
    """As bytes, in order."""
    with Receiver() as receiver:
        address = receiver.url.removeprefix("http://")
        for body in (b"one", b"two"):
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("POST", "/v1/metrics", body)
            assert 200 == connection.getresponse().status
            connection.close()
    assert [b"one", b"two"] == receiver.bodies
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(address, timeout=5).connect()


@pytest.mark.skipif(
    not is_allowed("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"),
    reason="needs to mount a file system: run as root, with CAP_SYS_ADMIN",
)
def test_temporary_files_that_cannot_be_made_are_mended() -> None:
    """By a folder at home; all folders that Python would take are read-only here."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from mending import Shell, assert_mended
shell = Shell("exporters", "cd /sys/kernel")
mend = "mkdir -p ~/tmp && export TMPDIR=~/tmp"
print(assert_mended(shell, "LogFile", state="broken", mend=mend))
"""
    alone = """
        for folder in /tmp /var/tmp; do
            mount --bind $folder $folder && mount -o remount,ro,bind $folder || exit
        done
        mount -t tmpfs tmpfs /mnt && exec "$0" -c "$1"
    """
    done = subprocess.run(
        ["/usr/bin/env", "unshare", "-m", "/bin/sh", "-c", alone, sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": "/mnt", "TMPDIR": "/tmp"},  # noqa: S108 - nothing can be made in it
    )
    assert done.returncode == 0, done.stderr
    assert "no temporary file can be made to try it: " in done.stdout
