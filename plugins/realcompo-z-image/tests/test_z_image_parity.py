"""Our Z-Image branches alone are diffusers' pipelines, with its guidance and its ways to hold it in, and with a ControlNet; its maps
are shares of its own attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import ZImageControlNetPipeline, ZImagePipeline

from realcompo.conditions import Boxes
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.samples import POSE, TURNED, noise
from realcompo.toolkit.guard import bare
from realcompo.toolkit.joint import heads_of, rotated, whole_rows

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "")
OTHER = "a photo of two apples"
STEPS, GUIDANCE = 10, 5.0


def theirs(pipe: Any, count: int = 2, scale: float = GUIDANCE, **asked: Any) -> torch.Tensor:
    """Their scale is ours minus 1."""
    pipe.set_progress_bar_config(disable=True)
    return pipe(  # type: ignore[no-any-return]
        list(PROMPTS[:count]),
        negative_prompt=list(NEGATIVES[:count]),
        num_inference_steps=STEPS,
        guidance_scale=scale - 1,
        latents=noise(count),
        height=128,
        width=128,
        output_type="latent",
        **asked,
    ).images


def ours(branch: Any, prompts: Any = PROMPTS, negatives: Any = NEGATIVES, scale: float = GUIDANCE, conditions: Any = None) -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=scale, conditions=conditions)
    return draw_alone(branch, asked, noise(len(prompts)), steps=STEPS)


@pytest.fixture(scope="module")
def pipe(checkpoint: Any) -> Any:
    return ZImagePipeline.from_pretrained(str(checkpoint("z-image")))


def branch(checkpoint: Any, id: str = "z-image/base", **options: Any) -> Any:
    return Registry().branch(id, options, source=str(checkpoint("z-image")))


def test_branch_alone_is_the_pipeline(checkpoint: Any, pipe: Any) -> None:
    one = branch(checkpoint)
    its, mine = theirs(pipe), ours(one)
    print(f"base: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {
        "another prompt": ours(one, (OTHER, PROMPTS[1])),
        "another negative prompt": ours(one, negatives=("two apples", "")),
        "another scale": ours(one, scale=2.0),
    }.items():
        print(f"   {what} moves them by {relative(mine, moved):.2f}")
        assert relative(mine, moved) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_without_guidance(checkpoint: Any, pipe: Any) -> None:
    """Turbo's way: our 1 is their 0."""
    one = branch(checkpoint, "z-image/turbo")
    assert one.traits.guidance == "none"
    assert relative(theirs(pipe, scale=1.0), ours(one, scale=1.0)) < 1e-4


@pytest.mark.parametrize("told", [{"cfg_normalization": 0.8}, {"cfg_truncation": 0.5}], ids=lambda told: next(iter(told)))
def test_guidance_held_in(checkpoint: Any, pipe: Any, told: dict[str, float]) -> None:
    its, mine, plain = theirs(pipe, **told), ours(branch(checkpoint, **told)), ours(branch(checkpoint))
    print(f"{told}: parity {relative(its, mine):.1e}, moves them by {relative(plain, mine):.2f}")
    assert relative(its, mine) < 1e-4 and relative(plain, mine) > 1e-2


def test_controlnet_alone_is_the_pipeline(checkpoint: Any) -> None:
    folder = checkpoint("controlnet-z-image")
    base = {"base": "z-image/base"}

    def controlled(condition: Any, **options: Any) -> tuple[Any, torch.Tensor]:
        one = Registry().branch("z-image/pose", {**base, **options}, source=str(folder))
        return one, ours(one, PROMPTS[:1], NEGATIVES[:1], conditions=(condition,))

    one, mine = controlled(POSE, conditioning_scale=0.8)
    whole: Any = ZImageControlNetPipeline.from_pretrained(str(folder))
    its = theirs(whole, 1, control_image=one.picture(POSE, (128, 128)), controlnet_conditioning_scale=0.8)
    print(f"controlnet: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {
        "another hint": controlled(TURNED, conditioning_scale=0.8)[1],
        "another scale": controlled(POSE, conditioning_scale=0.4)[1],
    }.items():
        print(f"   {what} moves them by {relative(mine, moved):.3f}")
        assert relative(mine, moved) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_maps_are_shares_of_the_modules_own_rows(checkpoint: Any) -> None:
    """Rows over all keys times the values, through the module's output projection, are its output; the map is their quotient over the
    prompt's words. Two prompts of two lengths."""
    one = branch(checkpoint)
    step = Solver("flow-euler", one.traits.schedule, STEPS, "flow_prediction").steps[3]
    conditioning = one.encode(request((PROMPTS[0], PROMPTS[0] + " on the grass under the blue sky")))
    place = one.placed(one.all_places(), noise(), conditioning)[2]
    attn, seen = place.module, []
    handle = attn.register_forward_hook(lambda module, args, kwargs, output: seen.append((args, kwargs, output)), with_kwargs=True)
    with torch.no_grad():
        one.denoise(noise(), step, conditioning, "conditional")
        handle.remove()
        args, kwargs, output = seen[0]
        turns, hidden, mask = kwargs["freqs_cis"], args[0], kwargs["attention_mask"]
        cos, sin = (part.repeat_interleave(2, dim=-1)[:, None] for part in (turns.real, turns.imag))
        query, key, value = (heads_of(attn, f"to_{x}", f"norm_{x}" if x != "v" else "", hidden) for x in "qkv")
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)
        mine = place.probabilities(args, kwargs)
        for b, length in enumerate(place.lengths):
            there = slice(None) if mask is None else mask[b].bool()
            rows = whole_rows(query[b : b + 1], key[b : b + 1][:, :, there])
            made = attn.to_out[0]((rows @ value[b : b + 1][:, :, there]).transpose(1, 2).flatten(2))
            torch.testing.assert_close(made[:, :64], output[b : b + 1, :64], rtol=1e-5, atol=1e-5)
            words = rows[:, :, :64, 64 : 64 + length]
            shares = words / words.sum(dim=-1, keepdim=True)
            torch.testing.assert_close(mine[b : b + 1, ..., :length], shares, rtol=1e-5, atol=1e-6)
            assert not mine[b, ..., length:].any()
    assert len(set(place.lengths)) == 2 and bare(one.transformer) is not None


def test_words_are_found_behind_the_template(checkpoint: Any) -> None:
    """A region's tokens are those of the prompt, not of the chat template's words around it."""
    one = branch(checkpoint)
    boxes = Boxes({"a cat": (0.1, 0.1, 0.4, 0.9), "a dog": (0.5, 0.1, 0.9, 0.9)})
    asked = request(PROMPTS[:1], conditions=(boxes,))
    indices = one.text.tokens(PROMPTS[0], asked.regions.pictures[0])
    assert [one.text.token_texts(PROMPTS[0], found) for found in indices] == [("cat",), ("dog",)] or [
        "".join(one.text.token_texts(PROMPTS[0], found)).strip() for found in indices
    ] == ["cat", "dog"]
    assert one.text.unread(PROMPTS[0]) == ""
    assert "dog" in branch(checkpoint, text_length=32).text.unread(" ".join([PROMPTS[0]] * 9))
