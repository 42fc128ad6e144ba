"""The rooms of realcompo/ in their order, read from the source: what docs/architecture.md shows and tests/house/test_imports.py holds.

`python -m tools.reference` writes the picture of them into docs/architecture.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from realcompo.files import made_between

ROOMS = {
    "errors": "every error a user can meet: what is wrong, where, and the mend",
    "arguments": "numbers and texts of a call: which are taken",
    "weighing": "weights of words in prompts: (red:1.3), [red], BREAK",
    "files": "files that appear whole or not at all, their names, and parts of a page that are made",
    "processes": "forward processes: noise levels, and which timestep and scale stand for each",
    "specs": "what plugins declare, as data",
    "conditions": "boxes, keypoints, segmentation: the kinds, their files, the hints drawn from them",
    "masks": "boxes and arrays to mask tensors",
    "interfaces": "the contracts: branch, transfer, balancer, planner, suite, scorer, and what passes between them",
    "hookspecs": "the hooks by which a plugin offers its components",
    "registry": "entry points, isolation, ids",
    "noise": "schedules, conversions, solvers; devices and precisions",
    "recipes": "everything that decides a picture: its model, its files, its layers of configuration",
    "plans": "from a sentence to conditions; files and suites of layouts",
    "pictures": "what a run gives back: the PNG with its recipe, traces, overlays, charts",
    "picture": "pictures/result.py by a short name, for scripts",
    "compose": "Algorithm 1: the loop, what is checked before it, the probe",
    "draw": "one picture or many by one call: generate, plan, reproduce, batches",
    "evaluation": "recipes drawn on a suite, judged, and set side by side: realcompo eval",
    "toolkit": "for authors of branches: loading, text to tokens, maps, the UNet branch",
    "builtin": "the paper's balancer and its rivals, the three transfers",
    "testing": "the conformance kit, the analytic toys, networks with random weights",
    "bench": "what a recipe costs, takes and holds; the limits that are promised",
    "doctor": "what is on this machine, and what can be drawn with it: realcompo doctor",
    "cli": "the command line, a module a verb",
    "__main__": "`python -m realcompo`",
}
"""Room → what it is, bottom up: a room imports only from rooms above it in this table, and from itself."""

START, END = "<!-- rooms: made by python -m tools.reference -->", "<!-- end of rooms -->"


@dataclass(frozen=True)
class Import:
    """One imported name of a file, dotted; whether it stands at the top (run when the file is imported), or is for type checkers only."""

    file: Path
    line: int
    module: str
    at_top: bool
    typing: bool = False


def imports(file: Path, package: str) -> Iterator[Import]:
    """All imported names of a file, as if each were a module; relative ones made absolute."""
    for line, module, at_top, typing in _imports(file.read_text(encoding="utf-8"), package):
        yield Import(file, line, module, at_top, typing)


@lru_cache(maxsize=4096)
def _imports(text: str, package: str) -> tuple[tuple[int, str, bool, bool], ...]:
    """The same of a text: line, module, at top, typing. Kept by the text itself, as several rules read every file of the house."""

    def walk(node: ast.AST, at_top: bool, typing: bool) -> Iterator[tuple[int, str, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for one in child.body:
                    yield from walk(ast.Module([one], []), at_top, True)
                for other in child.orelse:
                    yield from walk(ast.Module([other], []), at_top, typing)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield child.lineno, alias.name, at_top, typing
            elif isinstance(child, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                for alias in child.names:
                    yield child.lineno, f"{module}.{alias.name}", at_top, typing
            elif not isinstance(child, ast.expr):  # an import is a statement, and no expression holds one
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from walk(child, at_top and not inside, typing)

    return tuple(walk(ast.parse(text), True, False))


def package_imports(package: Path) -> Iterator[tuple[tuple[str, ...], Import]]:
    """(module's parts below the package, import) of every file of a package; a package's own parts are those of its folder."""
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        own = parts[:-1] if parts[-1] == "__init__" else parts
        for found in imports(file, ".".join([package.name, *parts[:-1]])):
            yield own, found


def module_of(package: Path, dotted: str) -> tuple[str, ...] | None:
    """The module of a package that a dotted name lies in, as parts below the package; None for other packages."""
    name, *parts = dotted.split(".")
    if name != package.name:
        return None
    while parts and not (package.joinpath(*parts).is_dir() or package.joinpath(*parts).with_suffix(".py").is_file()):
        parts.pop()
    return tuple(parts)


def arrows(package: Path) -> dict[str, set[str]]:
    """Room → the rooms that it imports, also inside functions and for types."""
    found: dict[str, set[str]] = {}
    for own, one in package_imports(package):
        target = module_of(package, one.module)
        if own and target and own[0] != target[0]:
            found.setdefault(own[0], set()).add(target[0])
    return found


def picture(package: Path) -> str:
    """The rooms and their arrows, as a table of Markdown."""
    drawn = arrows(package)
    order = list(ROOMS)
    lines = ["| room | what it is | imports |", "|---|---|---|"]
    for room, what in ROOMS.items():
        name = room if (package / room).is_dir() else f"{room}.py"
        lines.append(f"| `{name}` | {what} | {', '.join(sorted(drawn.get(room, ()), key=order.index)) or '–'} |")
    return "\n".join(lines) + "\n"


def drawn_into(page: str, package: Path) -> str:
    """The text of docs/architecture.md with the picture as it is now."""
    return made_between(page, START, END, picture(package))
