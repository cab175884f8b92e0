"""The house rule: floors from the ground up, imports point down only, rooms stay small."""

from __future__ import annotations

import ast
import statistics
from itertools import permutations
from pathlib import Path

import pytest

import holter
import holter.names

ROOT = Path(holter.__file__).parent

# From the ground up. A module may import from its own floor and from those below. The name of a room stands
# for all modules in it, __init__ for the package itself.
FLOORS = {
    "ground": "version errors clock words arguments options metric record values names genai reading model "
    "environment settings layout grouppaths memorylimit whereabouts halves compiled descriptors listing slowcall "
    "silencing gpufigures gpuactivity visibility kinship nvmlcalls nvml gpuhelper companion keptfiles growth treetime "
    "storedfiles wanted",
    "memory": "distribution tally series _ring ring guard recorder scope context failure probe progress logged history "
    "sizing forkword mapping folder segments directory folded past documents recording sections recovered recorded "
    "learnt recordings leadership departed launcher members differences union portholder noted ownthreads gctimer "
    "loops pauses runqueue throttling attached chosen ordering passing columns tabular lookout observing gathering "
    "notice incidents outbox keptsilences",
    "time": "fold group timeline changes verdict window measure causes rule wording sheets report slowfold slowspans "
    "budget figures loglines boundedfile polling digest totals tables memorycourse postmortem metricsdata "
    "promnames metrichelp classicbuckets pageserver exposition energy linuxprocess linuxhost linuxtree cgroups "
    "containercourse losses awaiting stacks usual hung trials breaker serving unfit "
    "straightness lows ascent backlog room levels leaking leakwords quiet moved posting quantiles "
    "frequent moments vectors relation tabledata tablefiles columnprofile profile profiletable distances evidence "
    "features blocks panes hours driftcolumn newcolumn intake driftfigures driftwords signals missing pooled stretch "
    "surprise",
    "outer rooms": "probes samplers checks exporters watch target targets",
    "top": "farewell digits progressbar instruments cost chronicle membership delivery courier casebook judge judging "
    "upkeep sampling switches guardsettings fallback "
    "standard notices monitor default checkup cli instrumentation inplace endpoint view __init__ __main__",
}

# In these rooms no module knows another one; what several need stands on a floor below.
ROOMS = ("probes", "samplers", "checks", "exporters", "cli", "targets")

# The only functions that may catch everything, as module:function; "*" for any function of the module.
BROAD_HANDLERS = {
    "guard:run",  # around callables that users give: units=, read=, on_alert
    "monitor:*",  # around plug-ins: samplers, checks, exporters
    "probes:*",  # record the outcome and raise the same exception again
}

# In C, and without an import of its own; its stub is what others see.
EXTENSION = "_hot"

BANNED_NAMES = {"utils", "util", "helpers", "helper", "base", "manager", "common", "misc"}
MOST_LINES = 400
MEDIAN_LINES = 150
MOST_POSITIONAL = 5


def _name(path: Path) -> str:
    """Return the module's name below holter, "" for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def _room(module: str) -> str:
    return module.partition(".")[0]


def _floor(module: str) -> int | None:
    """Return how high *module* stands, None if it has no place."""
    room = _room(module) or "__init__"
    return next((level for level, rooms in enumerate(FLOORS.values()) if room in rooms.split()), None)


def _imports(module: str) -> set[str]:
    """Return the modules of holter that *module* imports anywhere: at its top, lazily, for types only."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively in line {node.lineno}: name the module in full"
            # `from holter import monitor` means the module, `from holter import watch` may mean a name.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name.removeprefix("holter").removeprefix(".") for name in found if name.split(".")[0] == "holter"}
    known = {*TREES, EXTENSION}
    return {name if name in known else name.rpartition(".")[0] for name in inside} - {module, EXTENSION}


IMPORTS = {module: _imports(module) for module in TREES}


def test_every_module_stands_on_a_floor() -> None:
    """A new module is placed by one word in FLOORS."""
    homeless = [module for module in TREES if _floor(module) is None]
    assert homeless == [], f"add {homeless} to FLOORS in {Path(__file__).name}, each on the lowest floor that bears it"


@pytest.mark.parametrize("module", TREES)
def test_imports_point_down(module: str) -> None:
    """No module imports one that stands higher, lazily and for types neither."""
    level = _floor(module)
    if level is None:
        pytest.fail("it stands on no floor, see the test above")
    assert [other for other in IMPORTS[module] if (_floor(other) or 0) > level] == []


@pytest.mark.parametrize("room", ROOMS)
def test_siblings_do_not_know_each_other(room: str) -> None:
    """A module of an outer room imports no other module of that room; only the room's `__init__` may."""
    pairs = [
        (module, other)
        for module, others in IMPORTS.items()
        for other in others
        if module.startswith(f"{room}.") and _room(other) == room
    ]
    assert pairs == []


def test_there_is_no_import_cycle() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    left = {module: set(others) for module, others in IMPORTS.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}, f"each of {sorted(left)} waits for another of them"


def test_modules_are_small() -> None:
    """No module has more than 400 lines, half of them fewer than 150."""
    lines = {module: source.count("\n") for module, source in SOURCES.items()}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}
    assert statistics.median(lines.values()) < MEDIAN_LINES


def test_names_say_what_a_module_is() -> None:
    """No module is named after nothing in particular."""
    assert [module for module in TREES if BANNED_NAMES & set(module.strip("_").split("."))] == []


def _functions(tree: ast.AST, inside: str = "") -> list[tuple[str, ast.AST]]:
    """Return all nodes with the name of the outermost function or method around them."""
    found = []
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        found.append((inside, node))
        found += _functions(node, inside or (node.name if named else ""))
    return found


def test_broad_handlers_stand_only_where_they_are_named() -> None:
    """Whatever else goes wrong is seen: three places catch everything, each for its reason."""
    strangers = []
    for module, tree in TREES.items():
        for function, node in _functions(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {getattr(name, "id", "") for name in ast.walk(node.type)} if node.type else {"Exception"}
            allowed = {f"{module}:{function}", f"{module}:*", f"{_room(module)}:*"}
            if caught & {"Exception", "BaseException"} and not allowed & BROAD_HANDLERS:
                strangers.append(f"{module}:{function} in line {node.lineno}")
    assert strangers == []


def test_calls_have_few_positional_parameters() -> None:
    """A caller counts to five at most; what is beyond has a name. Closures of the hot path keep to themselves."""
    crowded = []
    for module, tree in TREES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(node for cls in classes for node in cls.body)]:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
                if len(names) - (names[:1] in (["self"], ["cls"])) > MOST_POSITIONAL:
                    crowded.append(f"{module}:{node.name}")
    assert crowded == []


def test_the_package_holds_names_only() -> None:
    """`__init__` imports and assigns, some names when they are first asked for; logic lives in rooms with a name."""
    names = (ast.ImportFrom, ast.Import, ast.Assign, ast.AnnAssign)
    docstring, *rest = TREES[""].body
    assert isinstance(docstring, ast.Expr)
    others = [node for node in rest if not isinstance(node, names)]
    assert {"__getattr__", "__dir__"} == {node.name for node in others if isinstance(node, ast.FunctionDef)}
    hidden = [node for node in others if isinstance(node, ast.If)]
    assert ["typing.TYPE_CHECKING"] == [ast.unparse(node.test) for node in hidden]
    assert len(others) == 3


def test_no_metric_name_is_a_prefix_of_another() -> None:
    """A log store maps `a` and `a.b` to one field, which cannot be a number and a group at once."""
    names = [value for key, value in vars(holter.names).items() if key.isupper() and "." in value]
    assert [(one, other) for one, other in permutations(names, 2) if other.startswith(f"{one}.")] == []


def test_the_table_names_no_module_twice() -> None:
    """One module, one floor."""
    placed = " ".join(FLOORS.values()).split()
    assert len(placed) == len(set(placed))


def _tests() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path.name, node)
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def test_every_test_states_a_fact() -> None:
    """A test's name is the behaviour, its docstring says it as a sentence."""
    assert [f"{file}:{test.name}" for file, test in _tests() if not ast.get_docstring(test)] == []
