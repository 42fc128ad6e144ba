"""Our SD 3 and 3.5 branches alone are diffusers' pipelines, with skip-layer guidance, with one and two ControlNets; and what they are told
is felt."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3ControlNetModel, SD3MultiControlNetModel, StableDiffusion3ControlNetPipeline, StableDiffusion3Pipeline

import realcompo as rc
from realcompo.errors import Incompatible
from realcompo.registry import Registry
from realcompo.testing.checkpoints import save_checkpoint
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.samples import POSE, TURNED, noise
from realcompo.toolkit import Loader

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "")
OTHER = "a photo of two apples"
STEPS, GUIDANCE = 10, 5.0
CASES = {"sd3": "sd3/medium", "sd3.5": "sd3/v3-5-medium"}


@pytest.fixture(scope="module")
def pipes(checkpoint: Any) -> Any:
    """Family → theirs, loaded once."""

    def loaded(family: str) -> Any:
        pipe: Any = StableDiffusion3Pipeline.from_pretrained(str(checkpoint(family)))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return cache(loaded)


def theirs(pipe: Any, count: int = 2, **asked: Any) -> torch.Tensor:
    return pipe(  # type: ignore[no-any-return]
        list(PROMPTS[:count]),
        negative_prompt=list(NEGATIVES[:count]),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(count),
        height=128,
        width=128,
        output_type="latent",
        **asked,
    ).images


def ours(branch: Any, prompts: Any = PROMPTS, negatives: Any = NEGATIVES, conditions: Any = None) -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=GUIDANCE, conditions=conditions)
    return draw_alone(branch, asked, noise(len(prompts)), steps=STEPS)


@pytest.mark.parametrize("family", CASES)
def test_branch_alone_is_the_pipeline(checkpoint: Any, pipes: Any, family: str) -> None:
    branch = Registry().branch(CASES[family], source=str(checkpoint(family)))
    its, mine = theirs(pipes(family)), ours(branch)
    print(f"{family}: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {
        "another prompt": ours(branch, (OTHER, PROMPTS[1])),
        "another negative prompt": ours(branch, negatives=("two apples", "")),
    }.items():
        print(f"   {what} moves them by {relative(mine, moved):.2f}")
        assert relative(mine, moved) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_a_picture_larger_than_its_table_of_places_is_refused_before_weights(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers says so in the midst of the first step."""
    entry = rc.BranchEntry(name="sd3/medium", source=str(checkpoint("sd3")))
    most = Registry().inspect("sd3/medium", {}, str(checkpoint("sd3"))).max_side
    config = json.loads((checkpoint("sd3") / "transformer" / "config.json").read_text(encoding="utf-8"))
    assert most == config["pos_embed_max_size"] * config["patch_size"] * 8
    monkeypatch.setattr(Loader, "module", lambda *_: pytest.fail("weights were loaded"))
    wrong: tuple[dict[str, Any], ...] = ({"height": most + 16}, {"width": most + 16}, {"hires": most / 64 + 1})
    for size in wrong:
        with pytest.raises(Incompatible, match=f"places for {most} along a side"):
            rc.Composer(entry, device="cpu", num_inference_steps=4, **{"height": 64, "width": 64, **size})(OTHER)
    assert rc.check_picture(rc.Composer(entry, device="cpu", height=most, width=64), rc.PictureEntry(prompt=OTHER), 0)


def test_skip_layer_guidance(checkpoint: Any, pipes: Any) -> None:
    told = {"skip_layers": (1, 2), "skip_scale": 2.0, "skip_start": 0.05, "skip_stop": 0.6}
    branch = Registry().branch("sd3/v3-5-medium", told, source=str(checkpoint("sd3.5")))
    its = theirs(
        pipes("sd3.5"),
        1,
        skip_guidance_layers=[1, 2],
        skip_layer_guidance_scale=2.0,
        skip_layer_guidance_start=0.05,
        skip_layer_guidance_stop=0.6,
    )
    mine = ours(branch, PROMPTS[:1], NEGATIVES[:1])
    plain = ours(Registry().branch("sd3/v3-5-medium", source=str(checkpoint("sd3.5"))), PROMPTS[:1], NEGATIVES[:1])
    print(f"skip layers: parity {relative(its, mine):.1e}, moves them by {relative(plain, mine):.2f}")
    assert relative(its, mine) < 1e-4 and relative(plain, mine) > 1e-2


def test_a_checkpoint_without_t5(checkpoint: Any, tmp_path: Path) -> None:
    """Zeros in its place, as diffusers has it, and maps at CLIP's tokens."""
    folder = tmp_path / "small"
    shutil.copytree(checkpoint("sd3"), folder, ignore=lambda _, names: [name for name in names if name.endswith("_3")])
    index = (folder / "model_index.json").read_text(encoding="utf-8")
    for name, old in (("text_encoder_3", '"transformers",\n    "T5EncoderModel"'), ("tokenizer_3", '"transformers",\n    "T5Tokenizer"')):
        assert f'"{name}": [\n    {old}' in index
        index = index.replace(f'"{name}": [\n    {old}', f'"{name}": [\n    null,\n    null')
    (folder / "model_index.json").write_text(index, encoding="utf-8")
    pipe: Any = StableDiffusion3Pipeline.from_pretrained(str(folder), text_encoder_3=None, tokenizer_3=None)
    pipe.set_progress_bar_config(disable=True)
    branch = Registry().branch("sd3/medium", source=str(folder))
    assert relative(theirs(pipe), ours(branch)) < 1e-4
    assert set(branch.fingerprint()) == {"transformer", "text_encoder", "text_encoder_2", "vae"}
    assert branch.text.read == (0,)


# -- ControlNets ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another ControlNet of that base, in a folder of its own as a hub repository has it."""
    return save_checkpoint(tmp_path_factory.mktemp("second"), "controlnet-sd3", seed=3) / "controlnet"


def controlled(folder: Path, condition: Any = POSE, **options: Any) -> tuple[Any, torch.Tensor]:
    branch = Registry().branch("sd3/pose", options, source=str(folder))
    return branch, ours(branch, PROMPTS[:1], NEGATIVES[:1], (condition,))


def oracle(folder: Path, branch: Any, nets: Any = None, condition: Any = POSE, **asked: Any) -> torch.Tensor:
    given = {} if nets is None else {"controlnet": nets}
    pipe: Any = StableDiffusion3ControlNetPipeline.from_pretrained(str(folder), **given)
    pipe.set_progress_bar_config(disable=True)
    hint = branch.picture(condition, (128, 128))
    return theirs(pipe, 1, control_image=hint if nets is None else [hint] * len(nets.nets), **asked)


@pytest.mark.parametrize(("scale", "start", "end"), [(1.0, 0.0, 1.0), (0.6, 0.2, 0.7)])
def test_controlnet_alone_is_the_pipeline(checkpoint: Any, scale: float, start: float, end: float) -> None:
    folder, window = checkpoint("controlnet-sd3"), {"start": start, "end": end}
    branch, mine = controlled(folder, conditioning_scale=scale, **window)
    its = oracle(folder, branch, controlnet_conditioning_scale=scale, control_guidance_start=start, control_guidance_end=end)
    print(f"controlnet {scale} {start} {end}: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {
        "another hint": controlled(folder, TURNED, conditioning_scale=scale, **window),
        "another scale": controlled(folder, conditioning_scale=scale / 2, **window),
    }.items():
        print(f"   {what} moves them by {relative(mine, moved[1]):.3f}")
        assert relative(mine, moved[1]) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_two_nets_are_the_pipeline_with_two(checkpoint: Any, second: Path) -> None:
    folder = checkpoint("controlnet-sd3")
    branch, mine = controlled(folder, conditioning_scale=0.8, more=[{"source": str(second), "conditioning_scale": 0.5, "end": 0.6}])
    nets = SD3MultiControlNetModel([SD3ControlNetModel.from_pretrained(str(path)) for path in (folder / "controlnet", second)])
    its = oracle(
        folder, branch, nets, controlnet_conditioning_scale=[0.8, 0.5], control_guidance_start=[0.0, 0.0], control_guidance_end=[1.0, 0.6]
    )
    print(f"two nets: parity {relative(its, mine):.1e}")
    assert relative(its, mine) < 1e-4
    assert relative(mine, controlled(folder, conditioning_scale=0.8)[1]) > 1e-2, "the second must matter"


def test_maps_feel_the_hint(checkpoint: Any) -> None:
    branch = Registry().branch("sd3/pose", source=str(checkpoint("controlnet-sd3")))
    from realcompo.noise.diffusion import Solver

    step = Solver("flow-euler", branch.traits.schedule, STEPS, "flow_prediction").steps[4]
    with torch.no_grad():
        one, other = (
            branch.attend(noise(1), step, branch.encode(request(PROMPTS[:1], conditions=(condition,)))) for condition in (POSE, TURNED)
        )
    assert one.shape == (1, 1, 8, 8) and relative(one, other) > 1e-4
