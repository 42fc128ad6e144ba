"""docs/reference is what the specs and the source say: current, complete by oracles that share no code with the generator."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest
from pydantic import Field
from typer.testing import CliRunner

import realcompo
from realcompo import hookspecs, specs
from realcompo.cli import app
from realcompo.errors import RealCompoError
from realcompo.recipes.recipe import Recipe
from realcompo.registry import GROUP, Registry, installed
from realcompo.specs import BalancerSpec, Options
from tests import ROOT
from tools.reference import components, errors
from tools.reference.pages import FOLDER, pages, stale


def letters(text: str) -> str:
    """Without what Markdown adds, or a table loses."""
    return re.sub(r"\W+|_", "", text.replace("&lt;", "<"))


def sections(name: str) -> dict[str, str]:
    """Heading → text, of a committed page."""
    parts = re.split(r"^## (.*)\n", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


# -- current -----------------------------------------------------------------------------------------------------------------


def test_pages_are_current(made: dict[str, str]) -> None:
    assert stale(made) == [], "run `make reference` and commit docs/reference"


@pytest.mark.deep
def test_the_command_says_the_same_in_another_process_without_torch() -> None:
    """Another seed of hashing, so that no page depends on the order of a set."""
    code = (
        "import sys; from tools.reference.__main__ import main; code = main(['--check']); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_stale_missing_and_stray_pages_are_told(made: dict[str, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "reference"))
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert stale(made, folder) == []
    (folder / "cli.md").write_text(made["cli.md"].replace("--seed", "--sed", 1))
    (folder / "hooks.md").unlink()
    (folder / "old.md").write_text("# Old\n")
    assert stale(made, folder) == ["cli.md", "hooks.md", "old.md"]


# -- complete ----------------------------------------------------------------------------------------------------------------


def own_components() -> Iterator[tuple[str, str, Any]]:
    registry = installed()
    for kind in ("branches", "transfers", "balancers", "planners"):
        for id in getattr(registry, kind):
            if registry.distribution(id).startswith("realcompo") and "hello" not in id:
                yield kind, id, registry.find(type(getattr(registry, kind)[id]), id)


def test_every_option_of_every_component_is_there() -> None:
    seen = 0
    for kind, id, spec in own_components():
        section = sections(f"{kind}.md")[id]
        assert letters(spec.summary) in letters(section)
        for name, field in (spec.options.model_fields if spec.options else {}).items():
            (row,) = re.findall(rf"^\| `{name}` \|.*$", section, re.MULTILINE)
            assert letters(field.description) in letters(row), f"{id}, {name}"
            seen += 1
    assert seen > 100


def test_every_hook_and_every_field_of_a_spec_is_there() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    told = sections("hooks.md")
    hooks = [name for name in vars(manager.hook) if not name.startswith("_")]
    assert len(hooks) >= 4
    for hook in hooks:
        assert hook in told
    kinds = (specs.BranchSpec, specs.TransferSpec, specs.BalancerSpec, specs.PlannerSpec, specs.SyntheticSpec)
    for cls in (*kinds, specs.Traits, specs.LatentSpace):
        for field in fields(cls):
            (row,) = re.findall(rf"^\| `{field.name}` \|.*$", told[cls.__name__], re.MULTILINE)
            assert len(row.split("|")[4].strip()) > 5, row


def test_every_verb_and_every_option_of_the_command_line_is_there() -> None:
    told = sections("cli.md")
    run = CliRunner(env={"COLUMNS": "200"})
    verbs = re.findall(r"^\W*([a-z]+)\s{2,}", run.invoke(app, ["--help"]).output.split("Commands")[1], re.MULTILINE)
    assert {"generate", "run", "check", "plan", "list", "show", "reproduce"} <= set(verbs)
    for verb in verbs:
        said = run.invoke(app, [verb, "--help"]).output
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said))
        assert named and named <= set(re.findall(r"--[a-z][a-z-]+", told[f"realcompo {verb}"])), verb


def test_every_key_of_a_recipe_is_there() -> None:
    text = (FOLDER / "recipe.md").read_text(encoding="utf-8")

    def walk(schema: Any) -> Iterator[str]:
        for part in (schema, *schema.get("$defs", {}).values()):
            yield from part.get("properties", {})

    missing = [name for name in walk(Recipe.model_json_schema()) if f"| `{name}` |" not in text]
    assert not missing


def modules() -> Iterator[str]:
    """Every module of the core and of the installed plugins."""
    packages = [realcompo, *(importlib.import_module(name.split(".")[0]) for name in installed().modules.values())]
    for package in {one.__name__: one for one in packages if hasattr(one, "__path__")}.values():
        yield package.__name__
        yield from (one.name for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None))


def kinds(cls: type[Exception] = RealCompoError) -> Iterator[type[Exception]]:
    yield cls
    for one in cls.__subclasses__():
        yield from kinds(one)


def test_every_kind_of_error_is_there() -> None:
    for name in modules():
        if name.endswith(".errors"):
            importlib.import_module(name)
    told = sections("errors.md")
    own = {cls for cls in kinds() if cls.__module__.startswith(("realcompo.", "realcompo_"))}
    assert len(own) >= 14
    for cls in own:
        assert letters((cls.__doc__ or "").split("\n\n")[0]) in letters(told[cls.__name__])


def test_every_raised_message_is_there_with_a_mend() -> None:
    """By a regular expression over the source: the first plain words of each message. The generator reads syntax trees."""
    told = (FOLDER / "errors.md").read_text(encoding="utf-8")
    rows = [line for line in told.splitlines() if line.startswith("| ") and line.endswith("` |")]
    names = "|".join(cls.__name__ for cls in kinds())
    raised = re.compile(rf"raise (?:{names})\(\s*f?\"((?:[^\"\\]|\\.)*)\"")
    everything, seen = letters(told), 0
    for folder in (ROOT / "realcompo", *sorted(ROOT.glob("plugins/*/realcompo_*"))):
        for path in folder.rglob("*.py"):
            for message in raised.findall(path.read_text(encoding="utf-8")):
                plain = max((letters(piece) for piece in re.split(r"\{[^}]*\}", message.replace('\\"', '"'))), key=len)
                assert plain in everything, f"{path.name}: {message}"
                seen += 1
    assert seen > 150
    assert all(line.split(" | ")[2].strip() for line in rows), "an error without a mend"


# -- able to fail ------------------------------------------------------------------------------------------------------------


class Described(Options):
    speed: float = Field(3.25, gt=0, description="how fast the flange turns")


class Silent(Options):
    speed: float = 3.25


def stranger(options: type[Options], monkeypatch: pytest.MonkeyPatch) -> Registry:
    module = ModuleType("flange_plugin")
    module.REALCOMPO_API = 1  # type: ignore[attr-defined]
    spec = BalancerSpec(id="flange/turn", summary="Turns.", target="flange_plugin:Turn", options=options)
    module.register_balancers = realcompo.hookimpl(lambda: [spec])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flange_plugin", module)
    registry = Registry([EntryPoint("flange", "flange_plugin", GROUP)])
    assert not registry.problems
    return registry


def test_a_new_option_changes_the_page_and_needs_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    page = components.page(stranger(Described, monkeypatch), "balancers", None)
    assert "| `speed` | number, > 0 | `3.25` | how fast the flange turns |" in page and "## flange/turn" in page
    assert "flange" not in components.page(installed(), "balancers", None)
    with pytest.raises(SystemExit, match="speed has no description"):
        components.page(stranger(Silent, monkeypatch), "balancers", None)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('raise BadOption("the flange is loose")', "an error without a mend"),
        ('raise BadOption("the flange is loose", mend=None)', "an error without a mend"),
        ("class FlangeError(RealCompoError):\n    pass", "FlangeError has no docstring"),
    ],
)
def test_an_error_without_mend_or_docstring_is_refused(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "realcompo").mkdir()
    shutil.copy(ROOT / "realcompo" / "errors.py", tmp_path / "realcompo")
    (tmp_path / "realcompo" / "flange.py").write_text('raise BadOption(f"{n} flanges", where="here", mend="turn it" if n else "buy one")\n')
    assert "| ⟨n⟩ flanges | here | turn it / buy one | `realcompo.flange` |" in errors.page(tmp_path)
    (tmp_path / "realcompo" / "more.py").write_text(source + "\n")
    with pytest.raises(SystemExit, match=said):
        errors.page(tmp_path)
