"""Names of pictures by a template: what fields become, that no prompt leads out of the folder, and what is no template."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realcompo.errors import BadOption, UnknownName
from realcompo.pictures.naming import LONGEST, Names, is_template
from realcompo.recipes.recipe import PictureEntry, Recipe

RECIPE = Recipe.model_validate(
    {"branches": [{"name": "sd/v1-5", "source": "~/models/dream_8.safetensors", "role": "fidelity"}, "gligen/box"]}
)
NOW = datetime(2026, 11, 28, 14, 25, 30)


def named(text: str, prompt: str = "A cat, and a Dog!", index: int = 3) -> str:
    return Names.read(text, "here", now=NOW).stem(RECIPE, PictureEntry(prompt=prompt, seed=7), index)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{seed}-{prompt:.5}.png", "7-a-cat"),
        ("{seed:06}", "000007"),
        ("{date}/{time}-{index:03}.png", "2026-11-28/142530-003"),
        ("{model}+{spatial}.PNG", "dream_8+gligen-box"),
        ("{{x}}-{name}", "{x}-a-cat-and-a-dog"),
        ("{seed}/", "7/a-cat-and-a-dog"),
        ("v1.5 {seed}", "v1.5 7"),
        ("{width}x{steps}.png", "picturex50"),
    ],
)
def test_fields(text: str, name: str) -> None:
    assert named(text) == name


def test_folders_before_the_first_field_are_the_users(tmp_path: Path) -> None:
    assert Names.read("~/out/a-{seed}.png", "here").folder == Path("~/out").expanduser()
    assert Names.read("/{seed}.png", "here").folder == Path("/") and Names.read("{seed}", "here").folder == Path(".")
    (tmp_path / "{old}").mkdir()
    assert not is_template(tmp_path / "{old}") and is_template(tmp_path / "{new}"), "a folder that is there is one"


@given(st.text(max_size=300))
def test_no_prompt_leads_out_of_the_folder(prompt: str) -> None:
    for text in ("{prompt}.png", "{prompt:.3}/{name}", "x{prompt:.1}"):
        told = Names.read(f"out/{text}", "here", now=NOW).stem(RECIPE, PictureEntry.model_construct(prompt=prompt, seed=1), 1)
        parts = told.split("/")
        assert len(parts) == 1 + text.count("/") and not {"", ".", ".."} & set(parts)
        assert all(not part.startswith((".", "-")) and len(part.encode()) <= LONGEST and part.isprintable() for part in parts)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("{sede}.png", UnknownName, "did you mean 'seed'"),
        ("{prompt.__class__}.png", UnknownName, "no field"),
        ("{seed[0]}.png", UnknownName, "no field"),
        ("{}.png", UnknownName, "no field"),
        ("{seed", BadOption, "no template"),
        ("seed}", BadOption, "no template"),
        ("{seed!r}.png", BadOption, "has no format"),
        ("{prompt:>999999999}.png", BadOption, "has no format"),
        ("{prompt:{seed}}.png", BadOption, "has no format"),
        ("{seed:.3f}.png", BadOption, "has no format"),
        ("{seed}.jpg", BadOption, "cannot carry the recipe"),
        ("{seed}\n.png", BadOption, "control characters"),
    ],
)
def test_what_is_no_template_is_told(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Names.read(text, "here")


def test_a_name_that_is_too_long_is_told() -> None:
    with pytest.raises(BadOption, match="longer than"):
        named("{prompt}{prompt}{prompt}", prompt="x" * 200)
    assert len(named("{prompt:.80}{prompt:.80}{prompt:.80}", prompt="x" * 200)) == 240


def test_collisions_are_numbered(tmp_path: Path) -> None:
    names = Names.read(f"{tmp_path}/{{prompt:.1}}", "here")
    entry = PictureEntry(prompt="a cat", seed=1)
    (tmp_path / "a.png").touch()
    (tmp_path / "a-2.png").symlink_to(tmp_path / "nowhere")
    assert names.free(RECIPE, entry, 1) == tmp_path / "a-3.png"
    assert names.free(RECIPE, entry, 2, [tmp_path / "a-3.png"]) == tmp_path / "a-4.png"
