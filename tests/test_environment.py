"""What a process is: fingerprint, commit, packages, and nothing secret."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holter
from holter.environment import describe
from programs import succeed


def test_tells_what_runs_where() -> None:
    """Service, version, process, host, and in full Python, platform and packages with their versions."""
    process = describe("sentiment", "v7", {"region": "eu"}, 42)
    assert ("sentiment", "v7", {"region": "eu"}, 42) == (
        process.service,
        process.version,
        process.attributes,
        process.started_ns,
    )
    assert (os.getpid(), platform.node()) == (process.pid, process.host)
    environment = process.environment
    assert (platform.python_version(), holter.__version__) == (environment["python"], environment["holter"])
    assert np.__version__ == environment["packages"]["numpy"]
    assert json.loads(json.dumps(environment)) == environment


def test_each_start_has_its_own_instance_and_the_same_fingerprint() -> None:
    """The hash says whether two processes ran the same; the instance tells them apart."""
    one, other = describe("a", None, {}, 0), describe("b", "v2", {"x": 1}, 1)
    assert one.instance != other.instance
    assert (one.fingerprint, 12) == (other.fingerprint, len(one.fingerprint))


def test_holds_no_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the environment, stays there."""
    monkeypatch.setenv("SECRET_TOKEN", "canary-5b1f")
    process = describe("a", None, {}, 0)
    assert "canary" not in json.dumps([process.environment, process.host, process.instance, process.fingerprint])
    assert "SECRET_TOKEN" not in repr(process)


def test_runs_no_program_and_imports_nothing_heavy() -> None:
    """A start is quick: no git, no subprocess, no importlib.metadata."""
    program = """
        import json, sys
        import holter
        from holter.environment import describe
        started = []
        sys.addaudithook(lambda event, _: started.append(event) if event in
                         ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork") else None)
        describe("a", None, {}, 0)
        print(json.dumps([started, "importlib.metadata" in sys.modules]))
    """
    assert [[], False] == succeed(program)


def git(folder: Path, *arguments: str) -> str:
    """Run git in *folder* and return what it says."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit, and a folder in it."""
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "commit", "--allow-empty", "--message=first")
    (tmp_path / "deep" / "down").mkdir(parents=True)
    return tmp_path


def commit_in(folder: Path) -> object:
    """Return the commit that a process in *folder* tells."""
    program = "import json, holter.environment as e; print(json.dumps(e.describe('a', None, {}, 0).environment))"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout).get("commit")


def test_names_the_commit_that_is_checked_out(repository: Path) -> None:
    """As git does: on a branch, detached, packed, in a worktree; none where there is no commit or no repository."""
    head = git(repository, "rev-parse", "HEAD")
    found = [commit_in(repository / "deep" / "down")]
    git(repository, "pack-refs", "--all")
    found.append(commit_in(repository))
    git(repository, "worktree", "add", str(repository / "tree"))
    found.append(commit_in(repository / "tree"))
    git(repository, "checkout", "--detach")
    found.append(commit_in(repository))
    assert [head] * 4 == found


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    """A branch that is not born yet, and files that only look like a repository."""
    git(tmp_path, "init")
    assert None is commit_in(tmp_path)
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe broken")
    assert None is commit_in(tmp_path)
