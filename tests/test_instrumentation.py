"""`instrument` and `uninstrument`: other people's code, now or when it is imported, and never a trouble of theirs."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import holter
from contracts.watched import internal_errors, outcomes
from holter.errors import ConfigurationError
from holter.exporters.logfile import LogFile
from holter.instrumentation import Instrumentation
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME
from holter.target import Bench, Need, Target
from programs import succeed
from receivers import over_http

SOURCE = """
import asyncio

def function(x):
    return [x] * x

def failing(x):
    raise KeyError(x)

async def later(x):
    return x

def items(x):
    yield from range(x)

class Model:
    def predict(self, batch):
        return batch
"""


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that can be imported and has not been."""
    name = f"theirs_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


def calls(monitor: Monitor, name: str) -> tuple[int, int]:
    """Return how many calls *name* has, and their units."""
    found = monitor.snapshot().find(CALL_DURATION, {CALL_NAME: name})
    return (0, 0) if found is None else (found.total.count, found.total.units)


def test_it_is_watched_from_its_import_on(monitor: Monitor, module: str) -> None:
    """With the options of `watch`, under its name behind the colon."""
    made = monitor.instrument(f"{module}:Model.predict", units=len, attributes={"model": "v7"})
    assert [f"{module}:Model.predict"] == made.waiting
    theirs = importlib.import_module(module)
    assert [] == made.waiting
    theirs.Model().predict([1, 2, 3])
    assert (1, 3) == calls(monitor, "Model.predict")
    found = monitor.snapshot().find(CALL_DURATION, {"model": "v7"})
    assert found is not None
    assert monitor.uninstrument(made)
    theirs.Model().predict([1])
    assert (1, 3) == calls(monitor, "Model.predict")


def test_it_is_watched_at_once_where_it_is_there(monitor: Monitor, module: str) -> None:
    """And bare again at the end of the block."""
    theirs = importlib.import_module(module)
    bare = theirs.function
    with monitor.instrument(f"{module}:function", name="named", units=len) as made:
        theirs.function(4)
        assert "Instrumentation(" in repr(made)
    assert bare is theirs.function
    assert (1, 4) == calls(monitor, "named")


def test_errors_coroutines_and_streams_are_what_they_are(monitor: Monitor, module: str) -> None:
    """As of what `watch` has watched, expected errors too."""
    import asyncio  # noqa: PLC0415 - of this test alone

    theirs = importlib.import_module(module)
    monitor.instrument(f"{module}:failing")
    monitor.instrument(f"{module}:later")
    monitor.instrument(f"{module}:items")
    with pytest.raises(KeyError):
        theirs.failing(1)
    monitor.uninstrument(f"{module}:failing")
    monitor.instrument(f"{module}:failing", expected=KeyError)
    with pytest.raises(KeyError):
        theirs.failing(1)
    assert 5 == asyncio.run(theirs.later(5))
    assert [0, 1] == list(theirs.items(2))
    snapshot = monitor.snapshot()
    assert {"error": 1, "expected": 1} == outcomes(snapshot, "failing")
    assert {"ok": 1} == outcomes(snapshot, "later")
    assert {"ok": 1} == outcomes(snapshot, "items")


def test_it_may_be_given_up_before_the_import(monitor: Monitor, module: str) -> None:
    """Then the import changes nothing."""
    monitor.instrument(f"{module}:function")
    assert monitor.uninstrument(f"{module}:function")
    theirs = importlib.import_module(module)
    assert not hasattr(theirs.function, "__holter_call__")


def test_the_same_again_is_the_same(monitor: Monitor, module: str) -> None:
    """With other options it is refused, and one call of `uninstrument` undoes it."""
    theirs = importlib.import_module(module)
    bare = theirs.function
    made = monitor.instrument(f"{module}:function", units=len)
    assert made is monitor.instrument(f"{module}:function", units=len)
    with pytest.raises(ConfigurationError, match="with other options: call uninstrument first"):
        monitor.instrument(f"{module}:function")
    theirs.function(2)
    assert (1, 2) == calls(monitor, "function")
    assert monitor.uninstrument(f"{module}:function")
    assert bare is theirs.function
    with pytest.raises(ConfigurationError, match="is not instrumented"):
        monitor.uninstrument(f"{module}:function")


def test_two_monitors_watch_the_same(monitor: Monitor, module: str) -> None:
    """Each sees the calls, and either may leave first."""
    theirs = importlib.import_module(module)
    bare, other = theirs.function, Monitor("other", samplers=[])
    for one in (monitor, other):
        one.instrument(f"{module}:function")
    theirs.function(1)
    monitor.uninstrument(f"{module}:function")
    theirs.function(1)
    other.uninstrument(f"{module}:function")
    assert bare is theirs.function
    assert [1, 2] == [calls(one, "function")[0] for one in (monitor, other)]


def test_what_others_hold_by_a_name_of_their_own_is_bare(monitor: Monitor, module: str) -> None:
    """The place where it is looked up is what is changed."""
    theirs = importlib.import_module(module)
    function = theirs.function
    monitor.instrument(f"{module}:function")
    function(1)
    assert (0, 0) == calls(monitor, "function")


@pytest.mark.parametrize(
    ("path", "words"),
    [("gone", "has no 'gone'"), ("Model.gone", "the class Model has no 'gone'"), ("Model", "is a class")],
)
def test_a_wrong_path_in_a_module_that_is_there_is_refused(
    monitor: Monitor, module: str, path: str, words: str
) -> None:
    """It is a set-up call, and the module's author is not the one who is told."""
    importlib.import_module(module)
    with pytest.raises(ConfigurationError, match=words):
        monitor.instrument(f"{module}:{path}")
    assert {} == internal_errors(monitor.snapshot())


@pytest.mark.parametrize("strict", [False, True])
def test_a_wrong_path_never_breaks_an_import(module: str, caplog: pytest.LogCaptureFixture, *, strict: bool) -> None:
    """It is counted, logged once and in what was returned, strict or not."""
    with Monitor("test", samplers=[], strict=strict, recording=False) as monitor:
        made = monitor.instrument(f"{module}:Model.gone")
        with caplog.at_level(logging.WARNING, "holter"):
            assert importlib.import_module(module).Model
            monitor.flush()
        assert {f"instrument {module}:Model.gone": 1} == internal_errors(monitor.snapshot())
    assert 1 == sum("the class Model has no 'gone'" in record.getMessage() for record in caplog.records)
    assert "the class Model has no 'gone'" in made.problems[0]
    assert "the class Model has no 'gone'" in repr(made)


@pytest.mark.parametrize(
    "options",
    [{"units": "no"}, {"expected": 3}, {"attributes": {"a": []}}, {"name": ""}],
    ids=str,
)
def test_options_are_checked_before_the_import(monitor: Monitor, module: str, options: Any) -> None:
    """Where the call stands that is wrong."""
    with pytest.raises(ConfigurationError):
        monitor.instrument(f"{module}:function", **options)
    assert not hasattr(importlib.import_module(module).function, "__holter_call__")


def test_what_is_no_path_and_no_target_is_refused(monitor: Monitor) -> None:
    """In words that show what is expected."""
    for wrong in ("json.dumps", len, None):
        with pytest.raises(ConfigurationError, match="or an object of holter"):
            monitor.instrument(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="expected the options where OnnxRuntime is made"):
        monitor.instrument(holter.targets.OnnxRuntime(), name="x")


class Theirs(Target):
    """A target of a user's own."""

    component: ClassVar[str] = "theirs"
    package: ClassVar[str] = "theirs"

    def __init__(self, module: str, *needs: Need) -> None:
        self.module, self.needs, self.undone = module, needs, 0  # type: ignore[misc]

    def attach(self, bench: Bench) -> None:
        bench.patch(f"{self.module}:function", units=len)
        bench.patch(f"{self.module}:Model.predict", around=lambda call, _, args, kwargs: [call(*args, **kwargs)])
        bench.undo_by(self._count)

    def _count(self) -> None:
        self.undone += 1


def test_a_target_of_ones_own(monitor: Monitor, module: str) -> None:
    """It says what to watch, and how; taken away, it is as if it had never been."""
    target = Theirs(module)
    made = monitor.instrument(target)
    theirs = importlib.import_module(module)
    assert isinstance(made, Instrumentation)
    theirs.function(3)
    assert [[1]] == theirs.Model().predict([1])
    assert (1, 3) == calls(monitor, "function")
    assert monitor.uninstrument(target)
    assert [1] == theirs.Model().predict([1])
    assert 1 == target.undone


def test_a_target_leaves_what_has_changed_alone_and_watches_the_rest(monitor: Monitor, module: str) -> None:
    """A parameter that is gone is a change of shape; its neighbours are what they were."""
    target = Theirs(module, Need(f"{module}:function", ("batch",)))
    made = monitor.instrument(target)
    theirs = importlib.import_module(module)
    theirs.function(3)
    assert [[1]] == theirs.Model().predict([1])
    assert (0, 0) == calls(monitor, "function")
    assert [f"{module}:function has no parameter 'batch'"] == made.problems
    assert {"instrument Theirs": 1} == internal_errors(monitor.snapshot())


def test_a_target_that_raises_is_counted(monitor: Monitor) -> None:
    """Whatever it raises, the program goes on."""

    class Broken(Theirs):
        def attach(self, bench: Bench) -> None:
            raise RuntimeError("trouble")

    monitor.instrument(Broken("nobody"))
    assert {"instrument Broken": 1} == internal_errors(monitor.snapshot())


def test_the_default_monitor_does_it_too(module: str) -> None:
    """By the functions of the package."""
    theirs = importlib.import_module(module)
    with holter.instrument(f"{module}:function", name=f"{module} default"):
        theirs.function(1)
    found = holter.snapshot().find(CALL_DURATION, {CALL_NAME: f"{module} default"})
    assert found is not None
    assert 1 == found.total.count


def test_nothing_is_instrumented_where_holter_is_switched_off() -> None:
    """Nor is wrapt loaded."""
    program = """
        import json, os, sys
        os.environ["HOLTER_DISABLED"] = "1"
        import holter
        bare = json.dumps
        made = holter.instrument("json:dumps")
        holter.instrument("wave:open")
        same = json.dumps is bare
        print(json.dumps([same, made.undo(), holter.uninstrument("json:dumps"), "wrapt" in sys.modules]))
    """
    assert [True, True, True, False] == succeed(program)


def test_wrapt_is_loaded_only_where_something_waits() -> None:
    """What is there is changed without it, and so is nothing at the import of holter."""
    program = """
        import json, sys
        import holter
        holter.instrument("json:dumps")
        before = "wrapt" in sys.modules
        holter.instrument("wave:open")
        print(json.dumps([before, "wrapt" in sys.modules]))
    """
    assert [False, True] == succeed(program)


def test_what_instruments_the_exporters_own_client_sees_the_program_only() -> None:
    """The figures of OTLP's own requests would be sent by further ones: they are none of the program's."""
    with over_http() as receiver:
        program = """
            import json, os, sys
            import holter
            holter.instrument("requests.sessions:Session.send")
            holter.instrument("urllib3.connectionpool:HTTPConnectionPool.urlopen")
            holter.instrument("logging:Logger.handle")
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sys.argv[1]
            import logging, requests
            logging.getLogger("holter").addHandler(logging.NullHandler())
            logging.getLogger("table").addHandler(logging.NullHandler())
            logging.getLogger("table").setLevel("INFO")
            logging.getLogger("table").propagate = False
            with holter.start("fed", samplers=[], recording=False, exporters=[
                holter.OpenTelemetry(every_seconds=60),
                holter.LogFile(logger=logging.getLogger("table"), every_seconds=60),
            ]) as monitor:
                for _ in range(20):
                    monitor.flush()
                requests.post(sys.argv[1] + "/mine", data=b"", headers={"Content-Length": "0"})
                logging.getLogger("mine").warning("mine")
                monitor.flush()
                counts = {}
                for name in ("Session.send", "HTTPConnectionPool.urlopen", "Logger.handle"):
                    found = monitor.snapshot().find("holter.call.duration", {"holter.call.name": name})
                    counts[name] = 0 if found is None else found.total.count
            print(json.dumps(counts))
        """
        done = _quiet(program, receiver.url)
        assert {"Session.send": 1, "HTTPConnectionPool.urlopen": 1, "Logger.handle": 1} == done
        # Every flush sent its figures, and the program one request of its own, which has none.
        assert len(receiver.requests) > 20
        sent = [point.count for point in receiver.points(CALL_DURATION)]
        assert sent
        assert 1 == max(sent)


def _quiet(program: str, *arguments: object) -> Any:
    from programs import run  # noqa: PLC0415 - the program logs a warning of its own

    done = run(program, *arguments)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_what_another_thread_is_importing_is_waited_for(monitor: Monitor, tmp_path: Path) -> None:
    """A module that is half there has not got its functions yet."""
    name = f"half_{tmp_path.name.replace('-', '_')}"
    started, gate = threading.Event(), threading.Event()
    sys.modules["half_gate"] = types.SimpleNamespace(started=started, gate=gate)  # type: ignore[assignment]
    source = "import half_gate\nhalf_gate.started.set()\nhalf_gate.gate.wait(30)\ndef function():\n    return 1\n"
    (tmp_path / f"{name}.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    made: list[Instrumentation] = []
    try:
        threads = [
            threading.Thread(target=importlib.import_module, args=(name,)),
            threading.Thread(target=lambda: made.append(monitor.instrument(f"{name}:function"))),
        ]
        threads[0].start()
        assert started.wait(30)
        threads[1].start()
        gate.set()
        for thread in threads:
            thread.join(30)
        sys.modules[name].function()
    finally:
        sys.path.remove(str(tmp_path))
        for one in (name, "half_gate"):
            sys.modules.pop(one, None)
    assert [[]] == [one.problems for one in made]
    assert 1 == calls(monitor, "function")[0]


def test_log_files_of_the_users_logger_are_not_fed_by_themselves(monitor: Monitor) -> None:
    """The lines that holter writes through a logger are not calls of the program."""
    seen: list[str] = []
    logger = logging.getLogger("tests.instrumentation")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    with Monitor("test", samplers=[], recording=False, exporters=[LogFile(logger=logger)]) as running:
        with running.instrument("logging:Logger.handle"):
            for _ in range(10):
                running.counter("app.work").add(1)
                running.flush()
        assert 0 == calls(running, "Logger.handle")[0]
    assert seen
