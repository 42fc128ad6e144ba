"""What a GLIGEN branch owes beyond parity: pictures with layouts of their own, its limit, its share, its network left alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadCondition, BadOption, PhraseNotFound
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

LAYOUTS = (
    Boxes({"a cat": (0.1, 0.1, 0.6, 0.6)}),
    Boxes({"a cat": (0.0, 0.3, 0.4, 0.9), "a dog": (0.5, 0.3, 1.0, 0.9)}),
    Boxes([("apples", (0.0, 0.0, 0.3, 0.3)), ("apples", (0.6, 0.6, 1.0, 1.0)), ("a red balloon", (0.4, 0.1, 0.7, 0.5))]),
    Boxes({"a cat": (0, 0, 0.4, 0.4), "a dog": (0.5, 0, 1, 0.4), "a car": (0, 0.5, 0.4, 1), "the house": (0.5, 0.5, 1, 1)}),
    None,
)
PROMPTS = (
    "a photo of a cat",
    "a cat and a dog",
    "two apples and a red balloon",
    "a cat, a dog, a car and the house",
    "a red house on grass",
)


@pytest.fixture(scope="module")
def branch(checkpoint) -> Any:  # type: ignore[no-untyped-def]
    return Registry().branch("gligen/box", source=str(checkpoint("gligen")))


def noise(count: int) -> torch.Tensor:
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(b)) for b in range(count)])


def middle_step(branch: Any) -> Any:
    return Solver("ddim", branch.traits.schedule, 10).steps[5]


def test_a_batch_of_layouts_is_each_alone(branch: Any) -> None:
    together = draw_alone(branch, request(PROMPTS, conditions=LAYOUTS), noise(5))
    for b in range(5):
        alone = draw_alone(branch, request(PROMPTS[b : b + 1], conditions=LAYOUTS[b : b + 1]), noise(5)[b : b + 1])
        assert relative(alone, together[b : b + 1]) < 1e-4


def test_maps_of_a_batch_are_each_alone(branch: Any) -> None:
    step, z = middle_step(branch), noise(5)
    maps = branch.attend(z, step, branch.encode(request(PROMPTS, conditions=LAYOUTS)))
    assert maps.shape == (5, 4, 4, 4)
    for b, count in enumerate((1, 2, 3, 4, 0)):
        alone = branch.attend(z[b : b + 1], step, branch.encode(request(PROMPTS[b : b + 1], conditions=LAYOUTS[b : b + 1])))
        assert alone.shape[1] == count
        torch.testing.assert_close(maps[b, :count], alone[0], rtol=1e-4, atol=1e-6)
        assert not maps[b, count:].any()


def test_two_regions_of_one_word_have_one_map_and_two_boxes(branch: Any) -> None:
    asked = request(PROMPTS[2:3], conditions=LAYOUTS[2:3])
    maps = branch.attend(noise(1), middle_step(branch), branch.encode(asked))
    torch.testing.assert_close(maps[0, 0], maps[0, 1])
    one = request(PROMPTS[2:3], conditions=(Boxes([("apples", (0.0, 0.0, 0.3, 0.3)), ("a red balloon", (0.4, 0.1, 0.7, 0.5))]),))
    assert relative(draw_alone(branch, asked, noise(1)), draw_alone(branch, one, noise(1))) > 1e-2


def test_no_boxes_is_not_the_bare_network(branch: Any) -> None:
    """Null tokens take part in the gated attention: a picture without boxes is padded like all others."""
    asked = request(("a cat",))
    step, conditioning = middle_step(branch), branch.encode(asked)
    assert not conditioning.extra.masks.any()
    assert branch.told(noise(1), step, conditioning, "both")["cross_attention_kwargs"]["gligen"]["masks"].shape == (2, 30)


def test_more_boxes_than_the_checkpoint_takes(branch: Any) -> None:
    boxes = Boxes([("apples", (0.0, 0.0, 0.3, 0.3))] * 31)
    with pytest.raises(BadCondition, match="31 boxes, but the checkpoint takes at most 30"):
        branch.encode(request(("apples",), conditions=(boxes,)))


def test_a_phrase_that_is_not_in_the_prompt(branch: Any) -> None:
    with pytest.raises(PhraseNotFound, match="'a dog' is not in the prompt"):
        branch.encode(request(("a cat",), conditions=(Boxes({"a dog": (0, 0, 1, 1)}),)))


def test_fusers_are_left_as_they_were(branch: Any) -> None:
    fusers = [module for module in branch.unet.modules() if type(module).__name__ == "GatedSelfAttentionDense"]
    step, z = middle_step(branch), noise(1)
    conditioning = branch.encode(request(PROMPTS[:1], conditions=LAYOUTS[:1]))
    on = branch.predict(z, step, conditioning).noise
    try:
        for fuser in fusers:
            fuser.enabled = False  # as diffusers' pipeline leaves them
        assert torch.equal(branch.predict(z, step, conditioning).noise, on)
        branch.attend(z, step, conditioning)
        assert not any(fuser.enabled for fuser in fusers)
    finally:
        for fuser in fusers:
            fuser.enabled = True


def test_bad_share(checkpoint) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadOption):
        Registry().branch("gligen/box", {"grounding_share": 1.5}, source=str(checkpoint("gligen")))


def test_plain_checkpoint_is_refused_before_its_weights(checkpoint) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadCheckpoint, match="no gated attention"):
        Registry().inspect("gligen/box", source=str(checkpoint("sd1")))


def test_a_pipeline_that_has_run_is_a_branch_too(checkpoint, branch: Any) -> None:  # type: ignore[no-untyped-def]
    """diffusers' pipeline leaves its fusers off after a run; the branch has them on while it runs, and off afterwards."""
    from diffusers import StableDiffusionGLIGENPipeline

    pipe = StableDiffusionGLIGENPipeline.from_pretrained(str(checkpoint("gligen")), safety_checker=None)
    pipe.enable_fuser(False)
    held = Registry().branch("gligen/box", source=pipe)
    asked = request(PROMPTS[1:2], conditions=LAYOUTS[1:2])
    assert torch.equal(draw_alone(held, asked, noise(1)), draw_alone(branch, asked, noise(1)))
    fusers = [module for module in pipe.unet.modules() if type(module).__name__ == "GatedSelfAttentionDense"]
    assert fusers and not any(fuser.enabled for fuser in fusers)


def test_declaring_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, realcompo_gligen as p; list(p.register_branches()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
