"""The error catalogue, read from the source: every place where an error of ours is made, with what it says and the mend.

What is put in at run time stands in ⟨ ⟩.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .markdown import cell, code, summary, table

BASE = "RealCompoError"
LONG = 32
"""Characters of an expression that is still shown."""


@dataclass(frozen=True, order=True)
class Situation:
    """One place that makes an error."""

    module: str
    what: str
    where: str
    mend: str


@dataclass
class Kind:
    """A class of errors."""

    name: str
    module: str
    base: str
    about: str
    situations: set[Situation]


def sources(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """(dotted name, tree) of every module of the core and of the plugins."""
    packages = [root / "realcompo", *(path.parent for path in root.glob("plugins/*/realcompo_*/__init__.py"))]
    for package in sorted(packages):
        for path in sorted(package.rglob("*.py")):
            yield (
                ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"),
                ast.parse(path.read_text(encoding="utf-8")),
            )


def kinds(root: Path) -> dict[str, Kind]:
    """Name → class of errors with all its situations; a class under its base.

    Raises:
        SystemExit: an error without a mend, or a class without a docstring.
    """
    trees = list(sources(root))
    classes = [(module, node) for module, tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: dict[str, Kind] = {}
    grown = True
    while grown:
        grown = False
        for module, node in classes:
            if node.name not in found:
                base = next((one.id for one in node.bases if isinstance(one, ast.Name) and (one.id in found or node.name == BASE)), None)
                if base is not None:
                    about = summary(ast.get_docstring(node))
                    if not about:
                        raise SystemExit(f"{module}.{node.name} has no docstring")
                    found[node.name] = Kind(node.name, module, base, about, set())
                    grown = True
    for module, tree in trees:
        for node, scopes in _calls(tree, ()):
            if (name := _name(node.func)) in found:
                names = {key: value for scope in scopes for key, value in _texts(scope).items()}
                found[name].situations.add(_situation(module, node, names))
    return found


Names = Mapping[str, ast.expr]
"""Local names → what they were last set to, where that is a text."""


def _calls(node: ast.AST, scopes: tuple[ast.AST, ...]) -> Iterator[tuple[ast.Call, tuple[ast.AST, ...]]]:
    """Every call, with the module and the functions around it, outermost first."""
    if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)):
        scopes = (*scopes, node)
    if isinstance(node, ast.Call):
        yield node, scopes
    for inner in ast.iter_child_nodes(node):
        yield from _calls(inner, scopes)


def _texts(scope: ast.AST) -> dict[str, ast.expr]:
    """Names that a function, or a module outside its functions, sets to a text."""
    found: dict[str, ast.expr] = {}
    for one in scope.body if isinstance(scope, ast.Module) else ast.walk(scope):
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) and not text(one.value, {}).startswith("⟨"):
            found[one.targets[0].id] = one.value
    return found


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def _situation(module: str, call: ast.Call, names: Names) -> Situation:
    told = {one.arg: one.value for one in call.keywords}
    mend = told.get("mend")
    if mend is None or (isinstance(mend, ast.Constant) and mend.value is None):
        raise SystemExit(f"{module}, line {call.lineno}: an error without a mend")
    what = call.args[0] if call.args else told["what"]
    where = text(told["where"], names) if "where" in told else ""
    return Situation(module, text(what, names), where, text(mend, names))


def text(node: ast.expr, names: Names) -> str:
    """What an expression says, as far as the source tells."""
    match node:
        case ast.Constant(value=None):
            return ""
        case ast.Constant():
            return str(node.value)
        case ast.Name(id=name) if name in names:
            return text(names[name], {other: value for other, value in names.items() if other != name})
        case ast.JoinedStr():
            return "".join(text(one, names) for one in node.values)
        case ast.FormattedValue():
            inner = text(node.value, names)
            return f"'{inner}'" if node.conversion == ord("r") and inner.startswith("⟨") else inner
        case ast.BinOp(op=ast.Add()):
            return text(node.left, names) + text(node.right, names)
        case ast.BinOp(op=ast.Mod()):
            return text(node.left, names)
        case ast.IfExp():
            ways = [one for one in (text(node.body, names), text(node.orelse, names)) if one]
            return " / ".join(dict.fromkeys(ways))
        case ast.BoolOp(op=ast.Or()):
            return " / ".join(dict.fromkeys(one for one in (text(value, names) for value in node.values) if one))
        case ast.Call(func=ast.Name(id="nearest")):
            return "did you mean ⟨the nearest⟩? known: ⟨all names⟩"
        case ast.Call(func=ast.Attribute(value=ast.Dict() as ways, attr="get"), args=[_, other]):
            return " / ".join(text(one, names) for one in [*ways.values, other])
        case ast.Call(func=ast.Attribute(attr="join"), args=[only]):
            return f"⟨{_short(only)}⟩"
        case ast.Call(func=ast.Name(id="shown" | "str" | "repr"), args=[first, *_]):
            return text(first, names)
    return f"⟨{_short(node)}⟩"


def _short(node: ast.expr) -> str:
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        node = node.elt
    if isinstance(node, ast.Call) and _name(node.func) in ("sorted", "list", "set", "tuple", "map", "dict") and node.args:
        node = node.args[-1]
    said = ast.unparse(node)
    return said if len(said) <= LONG else "…"


def page(root: Path) -> str:
    """All classes, each with its situations."""
    found = kinds(root)
    count = len({one for kind in found.values() for one in kind.situations})
    lines = [
        "# Errors and their mends",
        "",
        f"Every error that you can meet: {len(found)} kinds, {count} situations. Each says what is wrong, where, and the mend.",
        "What is put in when it happens stands in ⟨ ⟩.",
        "",
        "All are subclasses of `realcompo.errors.RealCompoError` with the attributes `what`, `where` and `mend`.",
        "On the command line they end with exit code 2; `--debug` shows the traceback.",
        "",
        table(("error", "when"), [[f"[`{name}`](#{name.lower()})", cell(found[name].about)] for name in sorted(found)]),
    ]
    for name in sorted(found):
        kind = found[name]
        under = "" if kind.base in (BASE, "Exception") else f" A kind of [`{kind.base}`](#{kind.base.lower()})."
        lines += ["", f"## {name}", "", f"{cell(kind.about)} ({code(f'{kind.module}.{name}')}){under}"]
        rows = [[cell(one.what), cell(one.where), cell(one.mend), code(one.module)] for one in sorted(kind.situations)]
        if rows:
            lines += ["", table(("what is wrong", "where", "mend", "raised in"), rows)]
    return "\n".join(lines)
