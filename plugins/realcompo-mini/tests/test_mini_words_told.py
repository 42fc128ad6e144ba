"""Words that the mini family was never trained on are told before anything is drawn: boxes given by hand pass by the planner, which
would have refused them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

import realcompo as rc
from realcompo.recipes.recipe import PictureEntry


def told(*prompts: str, **more: object) -> list[str]:
    composer = rc.Composer("mini/fidelity", "mini/boxes", device="cpu", **more)  # type: ignore[arg-type]
    return [one for one in composer.remarks([PictureEntry(prompt=prompt) for prompt in prompts]) if "small language" in one]


def test_words_it_was_not_trained_on_are_told_once_for_all_pictures() -> None:
    (remark,) = told("a unicorn", "a cat", "a unicorn and a 猫")
    assert remark.startswith("mini/fidelity, mini/boxes: ") and "'unicorn', '猫': something else is drawn" in remark
    many = told(" and ".join(f"a thing{n}" for n in range(9)))[0]
    assert "'thing5' …" in many and "thing6" not in many


def test_words_it_knows_are_not() -> None:
    assert not told("A Cat, and two striped red balloons on grass.", "a 3d picture of a cat", "")


def test_weights_of_words_are_no_words() -> None:
    assert not told("a (cat:1.3)", words={"prompt_weights": "a1111"})
    assert told("a (cat:1.3)"), "letters like others, where no rule reads them"


def test_words_of_embeddings_are_known_and_one_without_its_word_silences(tmp_path: Path) -> None:
    file = tmp_path / "thing.safetensors"
    save_file({"emb_params": torch.zeros(1, 128)}, file)  # as wide as the text encoder
    named, open_ = ({"embeddings": [{"source": str(file), **token}]} for token in ({"token": "<thing>"}, {}))
    assert not told("a <thing>", words=named)
    assert not told("a unicorn", words=open_)
    assert told("a unicorn", words=named)


def test_branches_of_open_language_say_nothing() -> None:
    composer = rc.Composer("sd/v1-5", "gligen/box", device="cpu")
    assert not [one for one in composer.remarks([PictureEntry(prompt="a unicorn")]) if "small language" in one]
