"""A word by which a process knows that it was forked."""

from __future__ import annotations

import sys

import pytest

from holter.forkword import IS_OURS, fork_word
from programs import succeed


def test_it_is_1_and_can_be_set_back() -> None:
    """Each word is one of its own; that of the package tells that this process is no unknown child."""
    word = fork_word()
    assert (1, 1) == (word[0], IS_OURS[0])
    word[0] = 0
    assert (0, 1) == (word[0], IS_OURS[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux wipes memory on a fork")
@pytest.mark.parametrize("fork", ["library.fork()", "library.syscall(clone, 17, 0, 0, 0, 0)"])
def test_it_is_0_in_a_child_that_python_does_not_know_of(fork: str) -> None:
    """However it was forked; its parent's stays 1."""
    program = f"""
        import ctypes, json, os, platform
        from holter.forkword import IS_OURS
        library, clone = ctypes.CDLL(None), {{"x86_64": 56}}.get(platform.machine(), 220)
        child = {fork}
        if not child:
            os._exit(IS_OURS[0])
        print(json.dumps([os.waitpid(child, 0)[1], IS_OURS[0]]))
    """
    assert [0, 1] == succeed(program)
