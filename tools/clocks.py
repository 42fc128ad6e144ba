"""Where Python source judges a reading of a clock. Tests may not: a busy machine would fail them. Read from syntax trees, for
tests/house/test_no_clocks.py.

A reading is tainted, and so is what is made of it: names it is assigned to (also through a container, an attribute, a loop's target, or
under a condition on it), functions that return it, parameters that it is given for. It is judged by an assert, by a comparison's helper
(`pytest.approx`, `assertLess`), and by an ``if`` that fails or raises. A `while` loop may look at a clock, and give up at a time that it
sets itself: so tests wait for a server.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CLOCKS = {
    *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time") for unit in ("", "_ns")),
    *("time.clock_gettime", "time.clock_gettime_ns", "time.ctime", "time.localtime", "time.gmtime"),
    *("timeit.timeit", "timeit.repeat", "timeit.default_timer", "timeit.Timer"),
    *("resource.getrusage", "os.times", "os.wait3", "os.wait4", "asyncio.get_event_loop.time", "asyncio.get_running_loop.time"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    *("psutil.cpu_times", "psutil.cpu_percent", "psutil.cpu_times_percent", "psutil.boot_time"),
}
METHODS = {"cpu_times", "cpu_percent", "cpu_times_percent", "elapsed_time", "create_time"}
"""Methods whose objects need not be known (psutil.Process, torch.cuda.Event)."""
WORDS = re.compile(rf"\b(time|timeit|resource|datetime|times|psutil|{'|'.join(sorted(METHODS))})\b")
"""A file without any of these reads no clock."""
JUDGES = {"approx", "isclose", "assert_close", "allclose"}
FAILS = {"fail", "exit", "skip", "xfail", "_exit", "abort"}


@dataclass(frozen=True)
class Judged:
    """A line at which a reading of a clock decides."""

    line: int
    how: str


@dataclass
class _Module:
    """What is tainted, by name: a test file is small, and two things of one name in it are better both looked at."""

    imported: dict[str, str]
    names: set[tuple[str, str]] = field(default_factory=set)
    """(function, name)"""
    attributes: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    parameters: dict[str, list[str]] = field(default_factory=dict)

    def size(self) -> int:
        return len(self.names) + len(self.attributes) + len(self.functions)


def judged(source: str, known: Iterable[str] = ()) -> list[Judged]:
    """Where a module judges a clock.

    Args:
        known: names of functions elsewhere that return readings.
    """
    tree = ast.parse(source)
    module = _spread(tree, known)
    return sorted({found for scope, body in _scopes(tree) for found in _judges(module, scope, body, False)}, key=lambda one: one.line)


def readers(source: str) -> set[str]:
    """Functions of a module that return what a clock says; other modules may import them."""
    return _spread(ast.parse(source), ()).functions


def judged_in(files: Iterable[Path]) -> dict[Path, list[Judged]]:
    """Files that judge a clock, helpers of each other's included."""
    sources = {path: path.read_text("utf-8") for path in files}
    known = {name for source in sources.values() if WORDS.search(source) for name in readers(source)}
    found = {}
    for path, source in sources.items():
        taken = {name for name in known if re.search(rf"\bimport\b.*\b{name}\b|\.{name}\(", source)}
        if taken or WORDS.search(source):
            found[path] = judged(source, taken)
    return {path: lines for path, lines in found.items() if lines}


# -- what is tainted ------------------------------------------------------------------------------------------------------------


def _spread(tree: ast.Module, known: Iterable[str]) -> _Module:
    module = _Module(_imports(tree), functions=set(known))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            module.parameters[node.name] = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    before = -1
    while module.size() != before:
        before = module.size()
        for scope, body in _scopes(tree):
            for statement in body:
                _flow(module, scope, statement, False)
    return module


def _imports(tree: ast.Module) -> dict[str, str]:
    """Local name → what it is, for modules that hold clocks."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for one in node.names:
                found[one.asname or one.name] = f"{node.module}.{one.name}"
    return found


def _scopes(tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    """The module's own statements, and each function's, nested ones under the outer one's name, whose names they see."""
    yield "", [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.body
        elif isinstance(node, ast.ClassDef):
            stack += node.body


def _dotted(module: _Module, node: ast.expr) -> str:
    """A name as the import says it, calls within left out: ``asyncio.get_running_loop().time`` is asyncio.get_running_loop.time."""
    if isinstance(node, ast.Name):
        return module.imported.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(module, node.value)}.{node.attr}"
    return _dotted(module, node.func) if isinstance(node, ast.Call) else "?"


def _tainted(module: _Module, scope: str, node: ast.AST | None) -> bool:
    """Whether anything in an expression is, or names, a reading."""
    for one in ast.walk(node) if node is not None else ():
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            if {(scope, one.id), ("", one.id)} & module.names or one.id in module.functions or module.imported.get(one.id) in CLOCKS:
                return True
        elif isinstance(one, ast.Attribute) and (
            one.attr in module.attributes | METHODS | module.functions or _dotted(module, one) in CLOCKS
        ):
            return True
    return False


def _flow(module: _Module, scope: str, node: ast.AST, under: bool) -> None:
    """Let taint flow through a statement. `under`: it runs only if a clock says so."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if under or _tainted(module, scope, node.value):
            for target in targets:
                _mark(module, scope, target)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and _tainted(module, scope, node.iter):
        _mark(module, scope, node.target)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None and _tainted(module, scope, node.context_expr):
        _mark(module, scope, node.optional_vars)
    elif isinstance(node, ast.Return | ast.Yield) and scope and (under or _tainted(module, scope, node.value)):
        module.functions.add(scope)
    elif isinstance(node, ast.Call):
        _flow_call(module, scope, node)
    under = under or (isinstance(node, ast.If) and _tainted(module, scope, node.test))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in child.body:
                _flow(module, child.name, statement, False)
                _flow(module, scope, statement, False)  # it sees the outer names, too
        else:
            _flow(module, scope, child, under)


def _flow_call(module: _Module, scope: str, node: ast.Call) -> None:
    given = [(number, one) for number, one in enumerate(node.args) if _tainted(module, scope, one)]
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in ("append", "add", "extend", "insert", "put", "update", "setdefault")
        and given
    ):
        _mark(module, scope, node.func.value)
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    names = module.parameters.get(name, [])
    own = names[1:] if names[:1] in (["self"], ["cls"]) else names
    module.names.update((name, own[number]) for number, _ in given if number < len(own))
    module.names.update((name, one.arg) for one in node.keywords if one.arg in own and _tainted(module, scope, one.value))


def _mark(module: _Module, scope: str, target: ast.expr) -> None:
    if isinstance(target, ast.Name):
        module.names.add((scope, target.id))
    elif isinstance(target, ast.Attribute):
        module.attributes.add(target.attr)
    elif isinstance(target, ast.Subscript | ast.Starred):
        _mark(module, scope, target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            _mark(module, scope, one)


# -- what judges it -----------------------------------------------------------------------------------------------------------------


def _judges(module: _Module, scope: str, body: Iterable[ast.AST], waiting: bool) -> Iterator[Judged]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _judges(module, node.name, node.body, False)
            yield from _judges(module, scope, node.body, False)
            continue
        if isinstance(node, ast.Assert) and _tainted(module, scope, node.test):
            yield Judged(node.lineno, "assert")
        elif (
            isinstance(node, ast.If) and not waiting and _tainted(module, scope, node.test) and any(map(_ends, (*node.body, *node.orelse)))
        ):
            yield Judged(node.lineno, "if … fail")
        elif isinstance(node, ast.Call) and _tainted(
            module, scope, ast.Tuple([*node.args, *(one.value for one in node.keywords)], ast.Load())
        ):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if name in JUDGES or (name.startswith("assert") and name != "assert_called"):
                yield Judged(node.lineno, name)
        yield from _judges(module, scope, ast.iter_child_nodes(node), waiting or isinstance(node, ast.While))


def _ends(node: ast.AST) -> bool:
    """Whether a statement fails, raises or leaves."""
    for one in ast.walk(node):
        if isinstance(one, ast.Raise | ast.Assert):
            return True
        if isinstance(one, ast.Call) and (one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")) in FAILS:
            return True
    return False
