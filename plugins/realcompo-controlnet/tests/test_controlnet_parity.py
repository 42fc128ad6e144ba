"""Our ControlNet branch alone is diffusers' StableDiffusionControlNetPipeline, or SDXL's: one and two nets, scales, start and end,
noise and v."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline

from realcompo.conditions import Keypoints, Segmentation
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from tests import sliced

PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 10
POSE = Keypoints(
    {"a cat": {"nose": (0.3, 0.2), "neck": (0.3, 0.35), "right_hip": (0.25, 0.7), "left_hip": (0.36, 0.7), "left_knee": (0.4, 0.9)}}
)
TURNED = Keypoints(
    {"a cat": {"nose": (0.8, 0.9), "neck": (0.7, 0.7), "right_hip": (0.5, 0.3), "left_hip": (0.7, 0.2), "left_knee": (0.9, 0.1)}}
)


def _map(split: int) -> Segmentation:
    backdrop = [
        {"label": "sky", "polygons": [[0, 0, 64, 0, 64, split, 0, split]]},
        {"label": "grass", "polygons": [[0, split, 64, split, 64, 64, 0, 64]]},
    ]
    return Segmentation(items=[{"phrase": "a cat", "polygons": [[8, 20, 30, 20, 30, 50, 8, 50]]}], backdrop=backdrop, size=(64, 64))


CASES = {
    "controlnet/pose-sd15": ("controlnet-sd1", POSE, TURNED),
    "controlnet/seg-sd15": ("controlnet-sd1", _map(40), _map(8)),
    "controlnet/seg-sd21": ("controlnet-sd2-v", _map(40), _map(8)),
    "controlnet/pose-sdxl": ("controlnet-sdxl", POSE, TURNED),
}


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def seconds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Family → another ControlNet of that base, in a folder of its own as a hub repository has it."""
    from functools import cache

    from realcompo.testing.checkpoints import save_checkpoint

    return cache(lambda family: save_checkpoint(tmp_path_factory.mktemp("second"), family, seed=3) / "controlnet")


@pytest.fixture(scope="module")
def second(seconds: Any) -> Path:
    return seconds("controlnet-sd1")  # type: ignore[no-any-return]


def oracle(folder: Path, branch: Any, condition: Any, nets: Any = None, scheduler: str = "ddim", **asked: Any) -> torch.Tensor:
    given = {} if nets is None else {"controlnet": nets}
    if (folder / "text_encoder_2").is_dir():
        pipe = StableDiffusionXLControlNetPipeline.from_pretrained(str(folder), **given)
    else:
        pipe = StableDiffusionControlNetPipeline.from_pretrained(str(folder), safety_checker=None, **given)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = Solver(scheduler, branch.traits.schedule, STEPS, branch.traits.prediction_type).scheduler
    hint = branch.hint(condition, (128, 128))
    return pipe(
        PROMPT,
        image=hint if nets is None else [hint] * len(nets.nets),
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        latents=noise(),
        generator=[torch.Generator().manual_seed(0)],
        output_type="latent",
        **asked,
    ).images


def ours(id: str, folder: Path, condition: Any, scheduler: str = "ddim", **options: Any) -> tuple[Any, torch.Tensor]:
    branch = Registry().branch(id, options, source=str(folder))
    asked = request((PROMPT,), negatives=(NEGATIVE,), conditions=(condition,))
    generators = [torch.Generator().manual_seed(0)]
    return branch, draw_alone(branch, asked, noise(), scheduler=scheduler, steps=STEPS, generators=generators)


WINDOWS = [(1.0, 0.0, 1.0), (0.6, 0.0, 0.5), (1.0, 0.25, 0.8)]


@pytest.mark.parametrize(("scale", "start", "end", "id"), sliced([(*window, id) for window in WINDOWS for id in CASES], 5))
def test_branch_alone_is_the_pipeline(checkpoint: Any, id: str, scale: float, start: float, end: float) -> None:
    family, condition, other = CASES[id]
    folder = checkpoint(family)
    window = {"start": start, "end": end}
    branch, mine = ours(id, folder, condition, conditioning_scale=scale, **window)
    theirs = oracle(folder, branch, condition, controlnet_conditioning_scale=scale, control_guidance_start=start, control_guidance_end=end)
    print(f"{id} {scale} {start} {end}: parity {relative(theirs, mine):.1e} of {float(theirs.abs().max()):.1f}")
    assert relative(theirs, mine) < 1e-4
    for what, moved in {
        "another hint": ours(id, folder, other, conditioning_scale=scale, **window),
        "another scale": ours(id, folder, condition, conditioning_scale=scale / 2, **window),
        "no hint": ours(id, folder, condition, conditioning_scale=0.0),
    }.items():
        print(f"   {what} moves them by {relative(mine, moved[1]):.2f}")
        assert relative(mine, moved[1]) > 1e-2, f"{what} must matter, or parity shows nothing"


@pytest.mark.parametrize("scheduler", ["pndm", "euler", "dpm++-2m", "unipc"])
def test_parity_holds_for_other_solvers(checkpoint: Any, scheduler: str) -> None:
    folder = checkpoint("controlnet-sd1")
    branch, mine = ours("controlnet/pose-sd15", folder, POSE, scheduler, end=0.7)
    assert relative(oracle(folder, branch, POSE, scheduler=scheduler, control_guidance_end=0.7), mine) < 1e-4


TWO = ["controlnet/pose-sd15", "controlnet/pose-sdxl"]


@pytest.mark.parametrize(
    ("start", "end", "id"), sliced([(0.0, 1.0, TWO[0]), (0.2, 0.6, TWO[0]), (0.0, 1.0, TWO[1]), (0.2, 0.6, TWO[1])], 3)
)
def test_two_nets_are_the_pipeline_with_two(checkpoint: Any, seconds: Any, id: str, start: float, end: float) -> None:
    family = CASES[id][0]
    folder, second = checkpoint(family), seconds(family)
    other = {"source": str(second), "conditioning_scale": 0.5, "start": start, "end": end}
    branch, mine = ours(id, folder, POSE, conditioning_scale=0.8, more=[other])
    nets = MultiControlNetModel([ControlNetModel.from_pretrained(str(path)) for path in (folder / "controlnet", second)])
    theirs = oracle(
        folder,
        branch,
        POSE,
        nets,
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, start],
        control_guidance_end=[1.0, end],
    )
    print(f"{id}, two nets {start} {end}: parity {relative(theirs, mine):.1e}")
    assert relative(theirs, mine) < 1e-4
    for what, moved in {
        "another hint": ours(id, folder, TURNED, conditioning_scale=0.8, more=[other])[1],
        "the second's scale": ours(id, folder, POSE, conditioning_scale=0.8, more=[{**other, "conditioning_scale": 1.0}])[1],
        "the first's scale": ours(id, folder, POSE, conditioning_scale=0.4, more=[other])[1],
    }.items():
        assert relative(mine, moved) > 1e-2, f"{what} must matter"


@pytest.mark.parametrize("told", [{"original_size": (24, 512)}, {"crops_coords_top_left": (64, 900)}], ids=lambda told: next(iter(told)))
def test_base_and_controlnet_are_told_the_sizes(checkpoint: Any, told: dict[str, Any]) -> None:
    """SDXL: options of the base. The ControlNet must hear them too: told only the base, the latents are others."""
    folder = checkpoint("controlnet-sdxl")
    branch, mine = ours("controlnet/pose-sdxl", folder, POSE, base_options=told)
    theirs = oracle(folder, branch, POSE, **told)
    plain = ours("controlnet/pose-sdxl", folder, POSE)[1]
    print(f"{told}: parity {relative(theirs, mine):.1e}, moves the latents by {relative(plain, mine):.1e}")
    assert relative(theirs, mine) < 1e-4 and relative(plain, mine) > 1e-2
    net, forward = branch.nets[0][0], branch.nets[0][0].forward

    def deaf(*args: Any, added_cond_kwargs: Any, **kwargs: Any) -> Any:
        zeros = {name: torch.zeros_like(value) for name, value in added_cond_kwargs.items()}
        return forward(*args, added_cond_kwargs=zeros, **kwargs)

    try:
        net.forward = deaf
        asked = request((PROMPT,), negatives=(NEGATIVE,), conditions=(POSE,))
        assert relative(theirs, draw_alone(branch, asked, noise(), steps=STEPS)) > 1e-3
    finally:
        del net.forward


def test_an_empty_negative_prompt_is_the_bases_zeros(checkpoint: Any) -> None:
    folder = checkpoint("controlnet-sdxl")
    branch = Registry().branch("controlnet/pose-sdxl", source=str(folder))
    conditioning = branch.encode(request((PROMPT,), negatives=("",), conditions=(POSE,)))
    assert not conditioning.unconditional.hidden.any() and not conditioning.unconditional.pooled.any()


def test_a_pipeline_that_you_hold_is_a_source(checkpoint: Any, second: Path, tmp_path: Path) -> None:
    """With two nets in it, as an object and as the folder that it saves."""
    folder = checkpoint("controlnet-sd1")
    nets = MultiControlNetModel([ControlNetModel.from_pretrained(str(path)) for path in (folder / "controlnet", second)])
    pipe = StableDiffusionControlNetPipeline.from_pretrained(str(folder), controlnet=nets, safety_checker=None)
    asked = request((PROMPT,), negatives=(NEGATIVE,), conditions=(POSE,))
    options = {"conditioning_scale": 0.8, "more": [{"conditioning_scale": 0.5}]}
    held = Registry().branch("controlnet/pose-sd15", options, source=pipe)
    mine = draw_alone(held, asked, noise())
    assert len(held.nets) == 2 and held.nets[0][0] is nets.nets[0] and held.unet is pipe.unet
    theirs = oracle(
        folder,
        held,
        POSE,
        nets,
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.0],
        control_guidance_end=[1.0, 1.0],
    )
    assert relative(theirs, mine) < 1e-4
    pipe.save_pretrained(str(tmp_path / "saved"))
    saved = Registry().branch("controlnet/pose-sd15", options, source=str(tmp_path / "saved"))
    assert torch.equal(draw_alone(saved, asked, noise()), mine)
