"""Regional prompts on every architecture: a region's words change its own pixels, and with none of them the branch is its base."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from realcompo_regional.attention import Rows, mixed

from realcompo.conditions import Boxes
from realcompo.errors import BadOption
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPT = "a photo of a cat and a dog"
LEFT = Boxes({"a cat": (0.0, 0.0, 0.5, 1.0)})
BASES = {
    "sd1": "sd/v1-5",
    "sdxl": "sd/xl-base",
    "pixart": "pixart/alpha",
    "sd3.5": "sd3/v3-5-medium",
    "flux": "flux/dev",
    "z-image": "z-image/base",
}


def regional(checkpoint: Any, family: str, **options: Any) -> tuple[Any, Any, torch.Tensor]:
    """The branch, its base alone, and noise for it."""
    source = str(checkpoint(family))
    one = Registry().branch("regional/any", {"base": BASES[family], "share": 1.0, **options}, source=source)
    base = Registry().branch(BASES[family], source=source)
    shape = (1, one.traits.latent.channels, 16, 16)
    return one, base, torch.randn(shape, generator=torch.Generator().manual_seed(3))


def first(one: Any, z: torch.Tensor, condition: Any, prompt: str = PROMPT) -> torch.Tensor:
    """Its unguided prediction at an early step."""
    kind = one.traits.prediction_type
    step = Solver("ddim", one.traits.schedule, 10, kind).steps[2]
    with torch.no_grad():
        return one.predict(z, step, one.encode(request((prompt,), conditions=(condition,), guidance_scale=1.0))).noise  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", BASES)
def test_a_regions_words_act_inside_it(checkpoint: Any, family: str) -> None:
    """With the whole prompt as a region's words, the mixture is the base's own answer; with other words it is another."""
    one, base, z = regional(checkpoint, family, base_ratio=0.0)
    plain, here = first(base, z, None), first(one, z, LEFT)
    assert relative(plain, first(one, z, None)) == 0, "without regions it is its base"
    ratio = regional(checkpoint, family, base_ratio=1.0)[0]
    assert relative(plain, first(ratio, z, LEFT)) < 1e-5, "with the whole prompt alone it is its base"
    assert relative(plain, here) > 1e-3, "a region's words must be felt"
    same = first(one, z, Boxes([(PROMPT, (0.0, 0.0, 0.5, 1.0))]))
    print(f"{family}: its words move the prediction by {relative(plain, here):.3f}, the prompt's own by {relative(plain, same):.1e}")
    assert relative(plain, same) < 1e-4, "the prompt's own words in a region's row are the base's answer"


def test_it_is_only_for_a_share_of_the_run(checkpoint: Any) -> None:
    one, base, z = regional(checkpoint, "pixart", share=0.0)
    asked = request((PROMPT,), conditions=(LEFT,), guidance_scale=3.0)
    assert torch.equal(draw_alone(one, asked, z, steps=3), draw_alone(base, asked, z, steps=3))
    always = regional(checkpoint, "pixart", share=1.0)[0]
    assert relative(draw_alone(base, asked, z, steps=3), draw_alone(always, asked, z, steps=3)) > 1e-2


def test_a_batch_is_its_pictures_alone(checkpoint: Any) -> None:
    """Ragged: two regions, none, and one that lies over another's place."""
    one, _, z = regional(checkpoint, "flux")
    prompts = (PROMPT, "a red balloon", PROMPT)
    boxes = (Boxes({"a cat": (0.0, 0.0, 0.6, 1.0), "a dog": (0.4, 0.0, 1.0, 1.0)}), Boxes(), LEFT)
    noise = torch.cat([z, z.flip(2), z.flip(3)])
    together = draw_alone(one, request(prompts, conditions=boxes, guidance_scale=1.0), noise, steps=3)
    for b in range(3):
        alone = draw_alone(one, request(prompts[b : b + 1], conditions=boxes[b : b + 1], guidance_scale=1.0), noise[b : b + 1], steps=3)
        assert relative(alone, together[b : b + 1]) < 1e-4


def test_the_mixture() -> None:
    """By hand: half of the whole prompt's answer inside, overlapping regions share a pixel, and all rows get one answer."""
    pixels = torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [5.0, 5.0, 5.0]])[:, :, None]
    mask = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    made = mixed(pixels, mask, Rows(torch.tensor([0, 0]), 1, {}, 0.5, 1))
    assert made[:, :, 0].tolist() == [[2.0, 2.5, 1.0]] * 3


def test_bases_that_cannot_be_drawn_with(checkpoint: Any) -> None:
    with pytest.raises(BadOption, match="no fidelity branch"):
        Registry().inspect("regional/any", {"base": "gligen/box"})


# -- a region's own prompt -------------------------------------------------------------------------------------------------------

FLUFFY = "a black cat with a red balloon"


def told(**words: str) -> Boxes:
    return Boxes([{"phrase": "a cat", "box": (0.0, 0.0, 0.5, 1.0), **words}])


@pytest.mark.parametrize("family", ["sd1", "sdxl", "flux"])
def test_a_regions_own_prompt_is_what_it_attends_to(checkpoint: Any, family: str) -> None:
    """It does what a region of those words does, whose maps are still read at the phrase."""
    one, _, z = regional(checkpoint, family, base_ratio=0.0)
    own = first(one, z, told(prompt=FLUFFY))
    assert relative(first(one, z, LEFT), own) > 1e-3, "its words must be felt"
    words = f"{PROMPT}, {FLUFFY}"
    phrase = Boxes([{"phrase": FLUFFY, "box": (0.0, 0.0, 0.5, 1.0)}])
    assert relative(first(one, z, phrase, words), first(one, z, told(prompt=FLUFFY), words)) < 1e-5
    asked = request((PROMPT,), conditions=(told(prompt=FLUFFY),))
    assert torch.equal(one.encode(asked).inner.weights, one.encode(request((PROMPT,), conditions=(LEFT,))).inner.weights)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_its_negative_prompt_is_what_it_is_led_away_from(checkpoint: Any, family: str) -> None:
    one, base, z = regional(checkpoint, family, base_ratio=0.0)

    def drawn(branch: Any, condition: Any, prompt: str = PROMPT, negative: str = "a dog") -> torch.Tensor:
        step = Solver("ddim", branch.traits.schedule, 10).steps[2]
        asked = request((prompt,), negatives=(negative,), conditions=(condition,), guidance_scale=4.0)
        with torch.no_grad():
            return branch.predict(z, step, branch.encode(asked)).noise  # type: ignore[no-any-return]

    assert relative(drawn(one, told()), drawn(one, told(negative_prompt="a dog"))) < 1e-5, "the picture's own is what it had"
    assert relative(drawn(one, told()), drawn(one, told(negative_prompt="two apples"))) > 1e-3
    whole = Boxes([{"phrase": "a cat", "box": (0.0, 0.0, 1.0, 1.0), "prompt": FLUFFY, "negative_prompt": "two apples"}])
    if family == "sd1":  # no pooled prompt: a region that is the whole picture, with nothing of the whole prompt, is a picture of its words
        assert relative(drawn(base, None, FLUFFY, "two apples"), drawn(one, whole)) < 1e-4


def test_its_words_may_be_longer_than_the_pictures(checkpoint: Any) -> None:
    """With weights and of two chunks, beside a prompt of one; and phrases with brackets are words."""
    base_options = {"prompt_weights": "a1111"}
    one, _, z = regional(checkpoint, "sd1", base_ratio=0.0, base_options=base_options)
    short, long = "a (black:1.4) cat", "a (black:1.4) cat BREAK a (red:0.5) sofa"
    asked = [request((PROMPT,), conditions=(told(prompt=words),)) for words in (short, long)]
    assert [one.encode(each).rows.conditional.hidden.shape[1] for each in asked] == [77, 154]
    assert relative(first(one, z, told(prompt=short)), first(one, z, told(prompt=long))) > 1e-3
    bracketed = Boxes([("a (small) cat", (0.0, 0.0, 0.5, 1.0))])
    assert torch.isfinite(first(one, z, bracketed, r"a photo of a \(small\) cat")).all()
