"""Options that other programs have are told by what is written here, not by a guess at their letters."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.cli.elsewhere import PLACES


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "here"),
    [
        (("generate", "a cat", "--scheduler", "euler"), "Write --set scheduler=euler"),
        (("generate", "a cat", "--width", "512"), "Write --size 512x768"),
        (("run", "scene.toml", "--width", "512"), "Write --set width=512"),
        (("run", "scene.toml", "--steps", "5"), "Write --set num_inference_steps=20"),
        (("generate", "a cat", "--negative-prompt", "x"), "Write --negative WORDS"),
        (("generate", "a cat", "--cfg-scale", "7"), "Write --set branches.0.guidance_scale=5"),
        (("generate", "a cat", "--model", "x"), "Write --fidelity ID"),
    ],
    ids=lambda words: " ".join(words[::2]) if isinstance(words, tuple) else "",
)
def test_an_option_of_another_program_is_told_by_its_name_here(words: tuple[str, ...], here: str) -> None:
    said = run(*words)
    assert f"No such option: {words[2]}. {here}" in said and "Possible options" not in said


def test_others_are_told_as_ever() -> None:
    assert "--steps" in run("generate", "a cat", "--stepps", "5"), "its neighbours by letters"
    assert "Write" not in run("list", "--scheduler", "euler"), "a verb without --set"


def test_the_list_of_verbs_breaks_no_sentence() -> None:
    """A docstring's line break is one of the list, too: the first paragraph of a verb is one line."""
    from typer.main import get_command

    verbs = get_command(app).commands  # type: ignore[attr-defined]
    broken = [name for name, verb in verbs.items() if "\n" in (verb.help or "").strip().partition("\n\n")[0]]
    assert len(verbs) > 10 and not broken


def test_what_is_proposed_is_there() -> None:
    """Each proposal is an option of some verb, so that none is told for ever and never found."""
    from typer.main import get_command

    known = {option for verb in get_command(app).commands.values() for one in verb.params for option in one.opts}  # type: ignore[attr-defined]
    assert {words.split()[0] for here in PLACES.values() for words in here} <= known
