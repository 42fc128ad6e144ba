"""Imports point one way. The table below is the house of DESIGN.md; a module that is not in it fails, so that a new one finds its room."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from realcompo.testing.common import imported_by

ROOT = Path(__file__).parent.parent
CORE = ROOT / "realcompo"

FLOORS: list[set[str]] = [
    {"errors"},
    {"specs", "conditions", "ink"},
    {"interfaces", "hookspecs", "masks", "devices"},
    {"diffusion", "toolkit", "builtin", "trace", "placing"},
    {"probe", "charts"},
    {"registry"},
    {"recipe"},
    {"recipe_files", "recipe_schema", "png", "picture", "planning", "layouts"},
    {"merging", "recipe_writing", "inputs"},
    {"layers", "assembly", "overlays"},
    {"call"},
    {"composer"},
    {"easy", "batch"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
"""A module imports, at import time, from lower floors and its own; a folder is one room."""

UPWARD = {
    ("interfaces", "masks"): "masks are tensors, which interfaces.py may not import: on first use",
    ("batch", "easy"): "a batch keeps the composer that easy.py keeps; easy.py draws batches",
    ("__init__", "*"): "the public names, on first use",
}
"""Imports that go up or sideways, inside a function, and why."""

TORCH = {"diffusion", "toolkit", "composer", "call", "probe", "devices", "inputs", "masks", "builtin"}
"""Rooms that may import torch at run time; testing's are listed module by module."""

TORCH_IN_TESTING = {"toys", "branches", "balancers", "watch"}
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}

PRIVATE = {"call", "probe", "inputs", "assembly", "builtin", "cli", "layers", "merging", "trace", "easy", "composer"}
"""Rooms of the core that plugins stay out of: their names may change."""

DECLARING = [
    "realcompo",
    *(f"realcompo.{name}" for name in ("specs", "hookspecs", "registry", "recipe", "conditions", "interfaces", "layers")),
    *(f"realcompo.{name}" for name in ("builtin", "toolkit", "testing", "cli")),
]


@dataclass(frozen=True)
class Import:
    """One import of a file: the dotted module, and whether it stands at the top (run when the file is imported)."""

    file: Path
    line: int
    module: str
    at_top: bool


def imports(file: Path, package: str) -> Iterator[Import]:
    """All imports of a file but those for type checkers; relative ones made absolute."""

    def walk(node: ast.AST, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for other in child.orelse:
                    yield from walk(other, at_top)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(file, child.lineno, alias.name, at_top)
            elif isinstance(child, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                if child.module is None:
                    for alias in child.names:
                        yield Import(file, child.lineno, f"{module}.{alias.name}", at_top)
                else:
                    yield Import(file, child.lineno, module, at_top)
            else:
                yield from walk(child, at_top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), True)


def core_imports() -> Iterator[tuple[str, Import]]:
    """(room, import) of every file of the core."""
    for file in sorted(CORE.rglob("*.py")):
        parts = file.relative_to(CORE).with_suffix("").parts
        package = ".".join(["realcompo", *parts[:-1]])
        for found in imports(file, package):
            yield parts[0], found


def test_the_walk_sees_what_it_should(tmp_path: Path) -> None:
    """Relative and absolute, at the top and inside functions, but not what only type checkers read."""
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nfrom . import a\nfrom ..b import c\nfrom ..b.d import e\nimport torch.nn\n"
        "if TYPE_CHECKING:\n    import numpy\ntry:\n    import yaml\nexcept ImportError:\n    pass\n"
        "class K:\n    def f(self):\n        from .late import g\n"
    )
    found = {(one.module, one.at_top) for one in imports(file, "realcompo.cli")}
    top = {"typing", "realcompo.cli.a", "realcompo.b", "realcompo.b.d", "torch.nn", "yaml"}
    assert found == {*((module, True) for module in top), ("realcompo.cli.late", False)}


def room_of(module: str) -> str | None:
    """The core's room that a dotted module lies in; None for other packages. ``realcompo`` itself is the room ``__init__``."""
    parts = module.split(".")
    if parts[0] != "realcompo":
        return None
    return parts[1] if len(parts) > 1 and ((CORE / f"{parts[1]}.py").exists() or (CORE / parts[1]).is_dir()) else "__init__"


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def where(found: Import) -> str:
    return f"{found.file.relative_to(ROOT)}:{found.line} imports {found.module}"


def test_every_module_has_its_floor() -> None:
    there = {path.stem for path in CORE.glob("*.py")} | {path.name for path in CORE.iterdir() if (path / "__init__.py").exists()}
    known = set().union(*FLOORS) | {"__init__"}
    assert there - known == set(), "a new module: find it a floor in the table above, and say it in docs/architecture.md"
    assert sum(len(rooms) for rooms in FLOORS) == len(known) - 1, "a module stands on two floors"


def test_imports_point_one_way() -> None:
    wrong = []
    for room, found in core_imports():
        target = room_of(found.module)
        if target is None or room == target or room == "__init__" or target == "__init__":
            continue
        if floor(target) > floor(room) and not ((room, target) in UPWARD and not found.at_top):
            wrong.append(where(found))
    assert not wrong, "upward imports:\n" + "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle() -> None:
    """Within a floor, too: what runs at import time has an order."""
    edges: dict[str, set[str]] = {}
    for room, found in core_imports():
        target = room_of(found.module)
        if found.at_top and target not in (None, room, "__init__") and room != "__init__":
            edges.setdefault(room, set()).add(str(target))
    done: set[str] = set()

    def visit(room: str, path: tuple[str, ...]) -> None:
        assert room not in path, f"a circle: {' → '.join((*path, room))}"
        if room not in done:
            for target in sorted(edges.get(room, ())):
                visit(target, (*path, room))
            done.add(room)

    for room in sorted(edges):
        visit(room, ())


def test_torch_is_imported_where_it_may() -> None:
    wrong = []
    for room, found in core_imports():
        if found.module.split(".")[0] not in HEAVY or room in TORCH:
            continue
        if room == "testing" and (found.file.stem in TORCH_IN_TESTING or not found.at_top):
            continue
        wrong.append(where(found))
    assert not wrong, "\n".join(wrong)


def test_core_never_imports_a_plugin() -> None:
    wrong = [where(found) for _, found in core_imports() if found.module.startswith("realcompo_")]
    assert not wrong, "\n".join(wrong)


PLUGINS = {
    path.parent.name: path.parent
    for folder in (ROOT / "plugins", ROOT / "examples")
    for path in sorted(folder.glob("realcompo-*/realcompo_*/__init__.py"))
}


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_plugins_keep_to_public_names_and_to_themselves(plugin: str) -> None:
    wrong = []
    for file in sorted(PLUGINS[plugin].rglob("*.py")):
        package = ".".join([plugin, *file.relative_to(PLUGINS[plugin]).parts[:-1]])
        for found in imports(file, package):
            other = found.module.split(".")[0]
            if other.startswith("realcompo_") and other != plugin:
                wrong.append(where(found))
            private = (room_of(found.module) or "") in PRIVATE or any(part.startswith("_") for part in found.module.split("."))
            if other == "realcompo" and private and "train" not in file.parts:
                wrong.append(where(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", DECLARING)
def test_what_declares_imports_no_torch(module: str) -> None:
    assert not imported_by(module)


def test_what_installed_plugins_declare_imports_no_torch() -> None:
    from realcompo.registry import installed

    for plugin, module in installed().modules.items():
        assert not imported_by(module), f"plugin {plugin!r}"


def test_help_is_quick_and_light() -> None:
    """Neither torch nor pydantic; the best of three runs under 0.3 s of the processor's time."""
    command = [sys.executable, "-X", "importtime", "-m", "realcompo", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "pydantic", "numpy", "PIL", "diffusers"}, imported & HEAVY
    taken = []
    for _ in range(3):
        before = _children()
        subprocess.run([sys.executable, "-m", "realcompo", "--help"], capture_output=True, check=True)
        taken.append(_children() - before)
    assert min(taken) < 0.3, f"{min(taken):.2f} s"


def _children() -> float:
    """Seconds of processor time that finished child processes took: a busy machine does not make a start slower by this clock."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
