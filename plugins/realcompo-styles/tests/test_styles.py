"""Styles are data; their trigger words reach their own branch alone, and phrases are found in the longer prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint
from realcompo.registry import installed
from realcompo.specs import BranchSpec
from realcompo.testing import small_source
from realcompo.testing.driving import relative
from realcompo.testing.sources import small_checkpoint
from realcompo.toolkit.text import TextEncoding

STYLES = ["styles/coloring-pages", "styles/cuteyukimix", "styles/dreamshaper"]
PROMPT = "a photo of a cat and a dog"
BOXES = Boxes({"a cat": (0.0, 0.25, 0.5, 1.0), "a dog": (0.5, 0.25, 1.0, 1.0)})


@pytest.mark.parametrize("id", STYLES)
def test_it_is_stable_diffusion_with_other_weights(id: str) -> None:
    spec, parent = installed().find(BranchSpec, id), installed().find(BranchSpec, "sd/v1-5")
    assert (spec.target, spec.role, spec.traits) == (parent.target, parent.role, parent.traits)
    assert spec.source not in (None, parent.source) and spec.licence
    assert spec.prompt is None or "{prompt}" in spec.prompt
    assert small_source(spec) == small_checkpoint("sd1")


def compose(**style: Any) -> Composer:
    return Composer(
        {"name": "styles/coloring-pages", "source": small_checkpoint("sd1"), **style},
        {"name": "gligen/box", "source": small_checkpoint("gligen")},
        balancer="core/balance",
        balancer_options={"warmup": 0.0},
        num_inference_steps=2,
        device="cpu",
    )


def heard(composer: Composer, boxes: Boxes, prompt: str = PROMPT) -> list[tuple[str, list[str]]]:
    """What each branch's text encoder was given, and the words that its maps are read at."""
    found: list[tuple[str, list[str]]] = []
    for branch in composer.branches:
        encode = branch.encode

        def listening(request: Any, encode: Any = encode, text: TextEncoding = branch.text) -> Any:  # type: ignore[attr-defined]
            asked, regions = request.prompts[0], request.regions.pictures[0]
            found.append((asked, [" ".join(text.token_texts(asked, i)) for i in text.tokens(asked, regions)]))
            return encode(request)

        branch.encode = listening  # type: ignore[method-assign]
    composer(prompt, boxes, seed=1, output_type="latent")
    return found


def test_trigger_words_reach_their_branch_alone() -> None:
    assert heard(compose(), BOXES) == [(f"{PROMPT}, coloring page", ["cat", "dog"]), (PROMPT, ["cat", "dog"])]


def test_a_prompt_of_the_branch_takes_their_place() -> None:
    assert heard(compose(prompt="{prompt}"), BOXES)[0][0] == PROMPT
    assert heard(compose(prompt="blue grass, {prompt}"), BOXES)[0] == (f"blue grass, {PROMPT}", ["cat", "dog"])


def test_spans_are_those_of_the_pictures_prompt() -> None:
    """They point at the same words in the longer prompt; in a prompt without the picture's, the phrase is looked for."""
    prompt = "a cat, two cats"
    boxes = Boxes([{"phrase": "cat", "box": (0.0, 0.0, 0.5, 1.0), "span": (11, 15)}])
    assert heard(compose(prompt="red car, {prompt}"), boxes, prompt) == [(f"red car, {prompt}", ["cats"]), (prompt, ["cats"])]
    assert heard(compose(prompt="a black cat"), boxes, prompt)[0] == ("a black cat", ["cat"])


def test_words_matter() -> None:
    plain, styled = (compose(**more)(PROMPT, BOXES, seed=1, output_type="latent").latents for more in ({"prompt": "{prompt}"}, {}))
    assert relative(plain, styled) > 1e-3


def test_the_recipe_in_the_picture_draws_it_again() -> None:
    result = compose()(PROMPT, BOXES, seed=1, output_type="latent")
    again = Composer.from_recipe(result.recipe).compose(result.recipe.pictures, output_type="latent")
    assert torch.equal(result.latents, again.latents)


def test_a_checkpoint_of_ones_own_with_a_lora(tmp_path: Path) -> None:
    """A LoRA that is not there is known before any weight is loaded."""
    gone = {"lora": str(tmp_path / "gone.safetensors")}
    entry = {"name": "sd/v1-5", "source": small_checkpoint("sd1"), "prompt": "{prompt}, in red", "options": gone}
    with pytest.raises(BadCheckpoint, match="there is no such LoRA"):
        Composer(entry, {"name": "gligen/box", "source": small_checkpoint("gligen")})
