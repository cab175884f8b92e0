"""What is around holter: switches, folders and ports are taken away, and mended by what is printed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mending import Shell, assert_mended

needs_sys = pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs a folder where nobody can make a file: /sys"
)

_HOLDER = """
import socket, sys
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_a_switch_that_is_off_is_mended() -> None:
    """HOLTER_DISABLED costs the health, as nothing is recorded."""
    told = assert_mended(
        Shell("around probes", "export HOLTER_DISABLED=1"),
        "HOLTER_DISABLED",
        state="broken",
        mend="unset HOLTER_DISABLED",
    )
    assert "HOLTER_DISABLED=1 is set: nothing is recorded" == told


@needs_sys
def test_a_folder_that_cannot_be_written_is_mended(tmp_path: Path) -> None:
    """By going home; nobody, root neither, makes a file in /sys."""
    told = assert_mended(Shell("around", "cd /sys/kernel", HOME=str(tmp_path)), "folder", state="missing", mend="cd")
    assert "this folder cannot be written (" in told


@needs_sys
def test_where_home_cannot_be_written_either_another_folder_is_made() -> None:
    """As for a user of a container that has none."""
    shell = Shell("around", "cd /sys/kernel", HOME="/sys/kernel")
    assert_mended(shell, "folder", state="missing", mend='cd "$(mktemp -d)"')


def test_a_port_in_use_is_mended() -> None:
    """By ending whoever has it, who is named with its number; another port that is free is told."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        shell = Shell(f"around --port {port}")
        told = assert_mended(shell, f"port {port}", state="broken", mend=f"kill {holder.pid}")
        assert f"(process {holder.pid}): stop that, or give another port, such as " in told
        assert -15 == holder.wait()


def test_a_port_that_is_free_is_well() -> None:
    """Nothing stays behind there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, found = Shell(f"around --port {port}").examine()
    assert (0, "ok", "free") == (code, found[f"port {port}"]["state"], found[f"port {port}"]["words"])


def test_a_port_that_another_process_of_holter_serves_is_well(tmp_path: Path) -> None:
    """It is given to the next one of the service."""
    program = (
        "import holter, sys\n"
        "page = holter.Prometheus(0); holter.start('shop', samplers=[], exporters=[page]); holter.flush()\n"
        "print(page.port, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "HOLTER_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        code, found = Shell(f"around --port {port}", HOLTER_DIR=str(tmp_path)).examine()
        assert (0, "ok") == (code, found[f"port {port}"]["state"]), found
        assert "served by another process of holter" in found[f"port {port}"]["words"]
        server.communicate("")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user: run as root")
def test_a_port_for_the_privileged_is_said() -> None:
    """What no command mends has none."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1:
        pytest.skip("needs ports that only root may take: sysctl net.ipv4.ip_unprivileged_port_start=1024")
    # What another user may not read is imported before.
    program = (
        "import encodings.idna, os; from holter.checkup.surroundings import port\n"
        "os.setresuid(65534, 65534, 65534); print(*port(1))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "is for privileged programs; give one above 1023" in done.stdout, done.stderr
    assert "mend=''" in done.stdout
