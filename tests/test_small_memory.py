"""A container's /dev/shm of 64 MiB, shared by several workers: space runs out, and nobody gets SIGBUS."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

SERVICE = """
    import os
    import holter

    holter.start("small", samplers=[])
    calls = holter.counter("app.calls")

    @holter.watch
    def predict(number):
        # More than the first ring of a thread holds, so that it wants a larger one.
        for turn in range(3_000):
            calls.add(1)
        # Many series, so that cells are wanted too.
        holter.gauge(f"app.gauge.{number}").set(number)

    def app(environ, start_response):
        predict(int(environ["QUERY_STRING"]))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
FILL = """
    from pathlib import Path

    def fill():
        # To the last page, as a neighbour does.
        with open("/dev/shm/neighbour", "wb", buffering=0) as file:
            for size in (2**20, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass

    def recorded():
        return sum(path.stat().st_blocks * 512 for path in Path("/dev/shm").glob("holter-*/*.holter"))

    def give_way():
        Path("/dev/shm/neighbour").unlink()
"""


def in_small_memory(program: str, folder: Path, within: float) -> Any:
    """Run a *program* in *folder* with a /dev/shm of its own of 64 MiB; return the line of JSON that it prints."""
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("needs the command unshare: apt-get install util-linux")
    before = [unshare, "-rm", "sh", "-c", 'mount -t tmpfs -o size=64m,mode=1777 none /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs: run as root, or let users have namespaces")
    (folder / "service.py").write_text(textwrap.dedent(SERVICE))
    (folder / "program.py").write_text(textwrap.dedent(FILL) + textwrap.dedent(program))
    environment = {name: value for name, value in os.environ.items() if name != "HOLTER_DIR"}
    done = subprocess.run(
        [*before, sys.executable, "program.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="needs gunicorn: pip install gunicorn")
def test_four_workers_of_gunicorn_survive_a_full_shared_memory(tmp_path: Path) -> None:
    """Each answers on, while a neighbour takes all that is left; their recordings keep within half of it."""
    told = in_small_memory(
        """
        import http.client, json, signal, socket, subprocess, sys
        import collections

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        log = open("gunicorn.log", "wb")
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-w", "4", "-b", f"127.0.0.1:{port}", "service:app"],
            stderr=log, stdout=log,
        )

        def answered(number):
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                try:
                    connection.request("GET", f"/?{number}")
                    response = connection.getresponse()
                    assert response.status == 200, open("gunicorn.log").read()
                    return response.read().decode()
                except ConnectionRefusedError:
                    assert server.poll() is None, open("gunicorn.log").read()
                finally:
                    connection.close()

        def serve(first):
            seen = collections.Counter(answered(number) for number in range(first, first + 200))
            while len(seen) < 4:
                seen[answered(first)] += 1
            return sorted(seen)

        before = serve(0)
        used = recorded()
        fill()
        during = serve(1_000)
        give_way()
        after = serve(2_000)
        server.send_signal(signal.SIGTERM)
        print(json.dumps([before == during == after, used, server.wait(30), open("gunicorn.log").read()]))
        """,
        tmp_path,
        within=100,
    )
    same_workers, used, code, log = told
    assert same_workers, log
    assert (0, 0) == (code, log.count("SIGBUS"))
    assert 0 < used <= 2**25


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: pip install torch")
@pytest.mark.filterwarnings("ignore")
def test_a_torch_data_loader_survives_a_full_shared_memory(tmp_path: Path) -> None:
    """
    Its four workers record beside the batches that they hand over; when nothing is left, holter is not what fails.

    64 workers that only load make no file and no thread of holter's.
    """
    told = in_small_memory(
        """
        import json, os, threading, warnings
        from pathlib import Path
        import holter
        import torch

        warnings.simplefilter("ignore")
        monitor = holter.start("loader", samplers=[])

        @holter.watch
        def load(index):
            return torch.full((64, 64), float(index))

        class Watched(torch.utils.data.Dataset):
            def __len__(self):
                return 512

            def __getitem__(self, index):
                return load(index)

        class Bare(Watched):
            def __len__(self):
                return 64

            def __getitem__(self, index):
                names = [thread.name for thread in threading.enumerate() if "holter" in thread.name]
                return torch.tensor(len(names))

        def total(dataset, **options):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return float(sum(batch.sum() for batch in torch.utils.data.DataLoader(dataset, **options)))

        expected = 64 * 64 * sum(range(512))
        load(0)
        files = len(list(Path("/dev/shm").glob("holter-*/*.holter")))
        idle_threads = total(Bare(), num_workers=64)
        idle_files = len(list(Path("/dev/shm").glob("holter-*/*.holter"))) - files
        sums = [total(Watched(), num_workers=4, batch_size=8)]
        # All but what batches need: recordings find less than they like, and go without.
        fill()
        with open("/dev/shm/neighbour", "r+b") as file:
            file.truncate(file.seek(0, 2) - 16 * 2**20)
        sums.append(total(Watched(), num_workers=4, batch_size=8))
        give_way()
        print(json.dumps([files, idle_threads, idle_files, [one == expected for one in sums], monitor.stop(20)]))
        """,
        tmp_path,
        within=110,
    )
    assert [1, 0.0, 0, [True, True], True] == told
