"""Options of words on the command line: what they become, and what is refused before anything is loaded."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import realcompo as rc
from realcompo.cli import app
from realcompo.cli.words import parse_words, with_own_words
from realcompo.errors import BadOption

BOXES = rc.Boxes({"a cat": (0.0, 0.0, 0.5, 1.0), "a dog": (0.5, 0.0, 1.0, 1.0)})


def test_what_they_become() -> None:
    assert parse_words() == {} == parse_words(prompt_weights=None, embeddings=[])
    made = parse_words(prompt_weights="a1111", clip_skip=0, embeddings=["a/b.pt=<b>", "c.safetensors"])
    assert made == {
        "words": {
            "prompt_weights": "a1111",
            "clip_skip": 0,
            "embeddings": [{"source": "a/b.pt", "token": "<b>"}, {"source": "c.safetensors"}],
        }
    }
    told = with_own_words(BOXES, prompt=["a cat=a cat = grey"], negative_prompt=["a dog=a wolf"])
    assert told is not None
    assert [(one.prompt, one.negative_prompt) for one in told.items] == [("a cat = grey", None), (None, "a wolf")]
    assert with_own_words(None, prompt=None) is None and with_own_words(BOXES) == BOXES


@pytest.mark.parametrize(
    ("text", "message"), [("a cat", "not of the form"), ("a cat=", "not of the form"), ("a fox=red", "no --box is of")]
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        with_own_words(BOXES, prompt=[text])
    with pytest.raises(BadOption, match="no --box is of"):
        with_own_words(None, negative_prompt=["a cat=a dog"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt-weights", "comfy"], "prompt_weights"),
        (["--prompt-weights", "a1111"], "not closed"),
        (["--clip-skip", "99"], "clip_skip = 99"),
        (["--embedding", "none.safetensors"], "there is no such embedding"),
    ],
)
def test_generate_refuses_by_name(options: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realcompo.toolkit.loading.Loader.module", lambda *_: pytest.fail("weights were loaded"))
    found = CliRunner().invoke(app, ["generate", "a (cat on grass", "--box", "a cat=0,0,0.5,1", "-o", "never", *options])
    assert found.exit_code == 2 and message in found.output, found.output
