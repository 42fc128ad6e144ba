"""Verbs that other distributions bring: found by their entry points, imported when they are called, harmless when they are broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from realcompo.cli import app, plugged

MODULE = "tests_a_strangers_verb"


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[EntryPoint, ...]]]:
    """The table of verbs, as if these were installed."""
    module = ModuleType(MODULE)

    def greet(name: str = typer.Argument(help="Whom."), loud: bool = typer.Option(False, "--loud", help="Shout.")) -> None:
        """Greet somebody."""
        typer.echo(f"hello {name}".upper() if loud else f"hello {name}")

    module.greet = greet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    table: dict[str, tuple[EntryPoint, ...]] = {}
    monkeypatch.setattr(plugged, "plugged", lambda: table)
    yield table


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, plugged.GROUP)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_a_stranger_s_verb_is_one_of_ours(points: dict[str, tuple[EntryPoint, ...]]) -> None:
    points["greet"] = (point("greet", f"{MODULE}:greet"),)
    assert run("greet", "Ann", "--loud") == (0, "HELLO ANN\n")
    code, help_text = run("--help")
    assert code == 0 and "Greet somebody." in help_text and help_text.index("generate") < help_text.index("greet")
    code, own = run("greet", "-h")
    assert code == 0 and "--loud" in own


def test_the_core_s_names_stay_the_core_s(points: dict[str, tuple[EntryPoint, ...]]) -> None:
    points["list"] = (point("list", f"{MODULE}:greet"),)
    code, said = run("list", "--help")
    assert code == 0 and "Whom" not in said and "Greet" not in said and "List" in said


@pytest.mark.parametrize("value", ["no_such_module_anywhere:verb", f"{MODULE}:nothing"])
def test_a_broken_verb_costs_no_other_and_says_why(points: dict[str, tuple[EntryPoint, ...]], value: str) -> None:
    points["broken"] = (point("broken", value),)
    points["greet"] = (point("greet", f"{MODULE}:greet"),)
    assert run("--help")[0] == 0 and run("greet", "Ann")[0] == 0
    code, said = run("broken", "with", "words")
    assert code == 2 and "cannot be loaded" in said and "mend: install" in said


def test_two_that_claim_one_verb_are_both_named(points: dict[str, tuple[EntryPoint, ...]]) -> None:
    points["greet"] = (point("greet", f"{MODULE}:greet"), point("greet", "other:greet"))
    code, said = run("greet", "Ann")
    assert code == 2 and MODULE in said and "other:greet" in said and "uninstall" in said


def test_a_verb_of_the_documentation_that_is_not_installed_says_what_brings_it(points: dict[str, tuple[EntryPoint, ...]]) -> None:
    code, said = run("studio")
    assert code == 2 and "pip install 'realcompo[studio]'" in said
    assert "studio" not in run("--help")[1]
    code, said = run("no-such-verb")
    assert code == 2 and "No such command" in said


def test_entry_points_of_this_environment_are_found(tmp_path: Path) -> None:
    """A distribution as pip leaves one: a folder on the path, with its entry points in a file."""
    facts = tmp_path / "realcompo_greeter-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: realcompo-greeter\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[realcompo.commands]\ngreeter = greeter:verb\n")
    (tmp_path / "greeter.py").write_text('def verb() -> None:\n    """Greet."""\n    print("hello")\n')
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from realcompo.cli import main; sys.argv[1:] = ['greeter']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
