"""A real terminal, by tmux: what a program shows in it, and keys that are pressed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Self

SOON = 60.0
_TMUX = shutil.which("tmux") or "tmux"


class Terminal:
    """A *command* in a terminal of a size of its own; ended at the end of the `with`."""

    def __init__(self, command: Sequence[str], columns: int = 80, lines: int = 24, **environment: str) -> None:
        self._socket = f"holter-{uuid.uuid4().hex[:12]}"
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), *command]
        # The shell waits, so that what was shown last can be read after the end.
        shell = f"{shlex.join(words)}; echo ended with $?; exec sleep 600"
        size = ("-x", str(columns), "-y", str(lines))
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "one", *size, shell)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        # Without the variables that would make this a part of a session around it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        environment |= {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(
            [_TMUX, "-u", "-L", self._socket, *arguments],
            capture_output=True, text=True, check=True, env=environment, timeout=SOON,
        )  # fmt: skip
        return done.stdout

    def screen(self, *, escapes: bool = False) -> str:
        """Return what is shown, with the escapes of colours where asked for."""
        return self._tmux("capture-pane", "-p", "-t", "one", *(["-e"] if escapes else []))

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", "-t", "one", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        self._tmux("resize-window", "-t", "one", "-x", str(columns), "-y", str(lines))

    def until(self, is_shown: str | Callable[[str], object]) -> str:
        """Return the screen as soon as it shows that text, or satisfies that condition."""
        deadline = time.monotonic() + SOON
        while True:
            screen = self.screen()
            if is_shown in screen if isinstance(is_shown, str) else is_shown(screen):
                return screen
            assert time.monotonic() < deadline, f"not shown: {is_shown}, but\n{screen}"
            time.sleep(0.05)
