"""Imports point one way: between rooms in the order of tools/house.py, and within a room without a circle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from realcompo.testing.common import imported_by
from tests import ROOT, sliced
from tools.house import END, ROOMS, START, Import, arrows, drawn_into, imports, module_of, package_imports

CORE = ROOT / "realcompo"

TORCH = {"noise", "toolkit", "compose", "masks", "builtin", "bench"}
"""Rooms that may import torch at run time; testing's are listed module by module."""

TORCH_IN_TESTING = {"toys", "branch_use", "branches", "balancers", "watch", "synthetic"}
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}

PRIVATE = {"compose", "draw", "builtin", "bench", "cli"}
"""Rooms of the core that plugins stay out of: their names may change."""

MOST_MODULES, MOST_FOLDERS = 12, 15
"""What a newcomer takes in at a glance."""

DECLARING = [
    "realcompo",
    *(f"realcompo.{name}" for name in ("specs", "hookspecs", "registry", "conditions", "interfaces")),
    *(f"realcompo.recipes.{name}" for name in ("recipe", "files", "writing", "schema", "configuration", "members")),
    *(f"realcompo.draw.{name}" for name in ("generate", "plan", "reproduce", "batch", "many.run", "many.engines")),
    *(f"realcompo.{name}" for name in ("builtin", "toolkit", "testing", "cli")),
]


def where(found: Import) -> str:
    return f"{found.file.relative_to(ROOT)}:{found.line} imports {found.module}"


def test_the_walk_sees_what_it_should(tmp_path: Path) -> None:
    """Relative and absolute, at the top and inside functions, and what only type checkers read is marked."""
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nfrom . import a\nfrom ..b import c\nfrom ..b.d import e\nimport torch.nn\n"
        "if TYPE_CHECKING:\n    import numpy\ntry:\n    import yaml\nexcept ImportError:\n    pass\n"
        "class K:\n    def f(self):\n        from .late import g\n"
    )
    found = {(one.module, one.at_top, one.typing) for one in imports(file, "realcompo.cli")}
    top = {"typing.TYPE_CHECKING", "realcompo.cli.a", "realcompo.b.c", "realcompo.b.d.e", "torch.nn", "yaml"}
    assert found == {*((module, True, False) for module in top), ("realcompo.cli.late.g", False, False), ("numpy", True, True)}


def test_every_module_stands_in_a_room() -> None:
    modules = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    folders = {path.name for path in CORE.iterdir() if (path / "__init__.py").exists()}
    assert modules | folders == set(ROOMS), "a new module: find it a room in tools/house.py"
    assert len(modules) + 1 <= MOST_MODULES and len(folders) <= MOST_FOLDERS


def ways_back(package: Path) -> Iterator[str]:
    """Imports of a room from one that is not above it in the table, wherever they stand. The package's own names come from everywhere."""
    order = list(ROOMS)
    for own, found in package_imports(package):
        target = module_of(package, found.module)
        if own and target and own[0] != target[0] and order.index(target[0]) > order.index(own[0]):
            yield f"{'.'.join(own)}:{found.line} imports {found.module}"


def circles(package: Path) -> Iterator[str]:
    """Modules of one room that import each other in a circle, also inside functions; types aside, a package's own __init__ aside."""
    edges: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for own, found in package_imports(package):
        target = module_of(package, found.module)
        if own and target and own != target and own[0] == target[0] and not found.typing:
            edges.setdefault(own, set()).add(target)
    done: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], path: tuple[tuple[str, ...], ...]) -> Iterator[str]:
        if module in path:
            yield " → ".join(".".join(one) for one in (*path[path.index(module) :], module))
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                yield from visit(target, (*path, module))
            done.add(module)

    for module in sorted(edges):
        yield from visit(module, ())


def test_imports_point_one_way() -> None:
    wrong = list(ways_back(CORE))
    assert not wrong, "ways back:\n" + "\n".join(wrong)


PACKAGES = [CORE, *sorted(path.parent for path in (ROOT / "plugins").glob("*/realcompo_*/__init__.py"))]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_imports_itself_in_a_circle(package: Path) -> None:
    found = list(circles(package))
    assert not found, "circles:\n" + "\n".join(found)


def test_a_way_back_and_a_circle_are_seen(tmp_path: Path) -> None:
    """One line more in a copy, and each is told: at the top, inside a function, for types."""
    core = Path(shutil.copytree(CORE, tmp_path / "realcompo", ignore=shutil.ignore_patterns("__pycache__", "published")))
    assert not list(ways_back(core))
    before = list(circles(core))
    for line in (
        "from .draw import kept",
        "def f():\n    from .draw import kept",
        "import typing\nif typing.TYPE_CHECKING:\n    from .draw import kept",
    ):
        text = (core / "registry.py").read_text("utf-8")
        (core / "registry.py").write_text(f"{text}\n{line}\n", "utf-8")
        assert [one.split()[-1] for one in ways_back(core)] == ["realcompo.draw.kept"], line
        (core / "registry.py").write_text(text, "utf-8")
    with (core / "draw" / "kept.py").open("a") as file:
        file.write("\ndef f():\n    from .plan import plan\n")
    assert [one for one in circles(core) if one not in before] == ["draw.kept → draw.plan → draw.kept"]


def test_the_page_shows_the_rooms() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert START in page and END in page
    assert drawn_into(page, CORE) == page, "docs/architecture.md is stale: make reference"
    assert arrows(CORE)["draw"] >= {"compose", "recipes"} and "draw" not in arrows(CORE)["compose"]


def core_imports() -> Iterator[tuple[str, Import]]:
    """(room, import at run time) of every file of the core."""
    for own, found in package_imports(CORE):
        if not found.typing:
            yield (own[0] if own else "__init__"), found


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
            room = (module_of(CORE, found.module) or ("",))[0]
            private = room in PRIVATE or any(part.startswith("_") for part in found.module.split("."))
            if other == "realcompo" and private and "train" not in file.parts:
                wrong.append(where(found))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("module",), sliced([(module,) for module in DECLARING], 6))
def test_what_declares_imports_no_torch(module: str) -> None:
    """Each alone, in an interpreter of its own: nothing that another imported before stands in for what it forgot."""
    assert not imported_by(module)


def test_what_declares_together_imports_no_torch(tmp_path: Path) -> None:
    """All of them and all installed plugins in one interpreter: what none imports, no one does."""
    from realcompo.registry import installed

    (tmp_path / "declaring.py").write_text("".join(f"import {name}\n" for name in [*DECLARING, *installed().modules.values()]), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert not imported_by("declaring")
    # control: a torch that is imported is seen; an empty one, as the real one takes seconds
    (tmp_path / "torch.py").touch()
    (tmp_path / "forgetful.py").write_text("import torch\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert imported_by("forgetful") == ("torch",)


@pytest.mark.deep
def test_what_installed_plugins_declare_imports_no_torch() -> None:
    """Each alone."""
    from realcompo.registry import installed

    for plugin, module in installed().modules.items():
        assert not imported_by(module), f"plugin {plugin!r}"
