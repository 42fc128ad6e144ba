"""Our FLUX.1 branches alone are diffusers' pipelines: dev-like with embedded guidance and with a second pass, schnell-like,
with one and two union ControlNets."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxMultiControlNetModel, FluxPipeline
from realcompo_flux.branch import packed, unpacked

from realcompo.errors import BadCheckpoint, BadOption
from realcompo.registry import Registry
from realcompo.testing.checkpoints import save_checkpoint
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.samples import POSE, TURNED, noise

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "")
OTHER = "a photo of two apples"
STEPS = 10
SHORT = 16
"""Tokens of a prompt beside a union ControlNet: its mode is one token more, and among 512 it would not be felt."""


@pytest.fixture(scope="module")
def pipes(checkpoint: Any) -> Any:
    """Family → theirs, loaded once."""

    def loaded(family: str) -> Any:
        pipe: Any = FluxPipeline.from_pretrained(str(checkpoint(family)))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return cache(loaded)


def theirs(pipe: Any, count: int = 2, **asked: Any) -> torch.Tensor:
    found = pipe(
        list(PROMPTS[:count]),
        num_inference_steps=STEPS,
        latents=packed(noise(count)),
        height=128,
        width=128,
        output_type="latent",
        **asked,
    ).images
    return unpacked(found, noise(count))  # type: ignore[no-any-return]


def ours(branch: Any, prompts: Any = PROMPTS, negatives: Any = NEGATIVES, scale: float = 3.5, conditions: Any = None) -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=scale, conditions=conditions)
    return draw_alone(branch, asked, noise(len(prompts)), steps=STEPS)


def test_dev_is_the_pipeline(checkpoint: Any, pipes: Any) -> None:
    """One pass, told its guidance, with a shift that grows with the picture."""
    branch = Registry().branch("flux/dev", source=str(checkpoint("flux")))
    assert branch.traits.guidance == "embedded" and branch.traits.schedule.use_dynamic_shifting
    its, mine = theirs(pipes("flux"), guidance_scale=3.5), ours(branch)
    print(f"dev: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    for what, moved in {"another prompt": ours(branch, (OTHER, PROMPTS[1])), "another scale": ours(branch, scale=7.0)}.items():
        print(f"   {what} moves them by {relative(mine, moved):.2f}")
        assert relative(mine, moved) > 1e-2, f"{what} must matter, or parity shows nothing"
    assert torch.equal(mine, ours(branch, negatives=("two apples", ""))), "without a second pass there is no negative prompt"


def test_a_second_pass(checkpoint: Any, pipes: Any) -> None:
    branch = Registry().branch("flux/dev", {"true_cfg_scale": 4.0}, source=str(checkpoint("flux")))
    its = theirs(pipes("flux"), guidance_scale=3.5, true_cfg_scale=4.0, negative_prompt=list(NEGATIVES))
    mine = ours(branch)
    print(f"true cfg: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    assert relative(mine, ours(branch, negatives=("two apples", ""))) > 1e-2, "the negative prompt must matter"


def test_schnell_is_the_pipeline(checkpoint: Any, pipes: Any) -> None:
    branch = Registry().branch("flux/schnell", source=str(checkpoint("flux-schnell")))
    assert branch.traits.guidance == "none" and branch.text.limit == 256
    its, mine = theirs(pipes("flux-schnell"), guidance_scale=0.0, max_sequence_length=256), ours(branch, scale=1.0)
    print(f"schnell: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    assert relative(mine, ours(branch, (OTHER, PROMPTS[1]), scale=1.0)) > 1e-2


# -- ControlNets ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("second"), "controlnet-flux", seed=3) / "controlnet"


def controlled(folder: Path, condition: Any = POSE, **options: Any) -> tuple[Any, torch.Tensor]:
    options = {"base_options": {"text_length": SHORT}, **options}
    branch = Registry().branch("flux/pose", options, source=str(folder))
    return branch, ours(branch, PROMPTS[:1], NEGATIVES[:1], conditions=(condition,))


def oracle(folder: Path, branch: Any, nets: Any = None, mode: Any = 4, **asked: Any) -> torch.Tensor:
    given = {} if nets is None else {"controlnet": nets}
    pipe: Any = FluxControlNetPipeline.from_pretrained(str(folder), **given)
    pipe.set_progress_bar_config(disable=True)
    hint = branch.picture(POSE, (128, 128))
    many = {"control_image": hint, "control_mode": mode} if nets is None else {"control_image": [hint] * 2, "control_mode": [mode] * 2}
    return theirs(pipe, 1, guidance_scale=3.5, max_sequence_length=SHORT, **many, **asked)


@pytest.mark.parametrize(("scale", "start", "end"), [(1.0, 0.0, 1.0), (0.6, 0.2, 0.7)])
def test_union_controlnet_is_the_pipeline(checkpoint: Any, scale: float, start: float, end: float) -> None:
    folder, window = checkpoint("controlnet-flux"), {"start": start, "end": end}
    branch, mine = controlled(folder, conditioning_scale=scale, **window)
    its = oracle(folder, branch, controlnet_conditioning_scale=scale, control_guidance_start=start, control_guidance_end=end)
    print(f"union {scale} {start} {end}: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    others = {
        "another hint": controlled(folder, TURNED, conditioning_scale=scale, **window),
        "another scale": controlled(folder, conditioning_scale=scale / 2, **window),
    }
    if (start, end) == (0.0, 1.0):  # for half a run, one token more is not felt enough
        others["another mode"] = controlled(folder, conditioning_scale=scale, mode=2)
    for what, moved in others.items():
        print(f"   {what} moves them by {relative(mine, moved[1]):.3f}")
        assert relative(mine, moved[1]) > 1e-2, f"{what} must matter, or parity shows nothing"


def test_two_nets_are_the_pipeline_with_two(checkpoint: Any, second: Path) -> None:
    folder = checkpoint("controlnet-flux")
    branch, mine = controlled(folder, conditioning_scale=0.8, more=[{"source": str(second), "conditioning_scale": 0.5}])
    nets = FluxMultiControlNetModel([FluxControlNetModel.from_pretrained(str(path)) for path in (folder / "controlnet", second)])
    its = oracle(folder, branch, nets, controlnet_conditioning_scale=[0.8, 0.5])
    print(f"two nets: parity {relative(its, mine):.1e}")
    assert relative(its, mine) < 1e-4
    assert relative(mine, controlled(folder, conditioning_scale=0.8)[1]) > 1e-2, "the second must matter"


def test_a_mode_that_is_not_there(checkpoint: Any) -> None:
    with pytest.raises(BadOption, match="7 modes"):
        controlled(checkpoint("controlnet-flux"), mode=9)


# -- LoRA -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lora(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the transformer in diffusers' layout, opened: B starts at zero."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from torch import nn

    torch.manual_seed(0)
    pipe: Any = FluxPipeline.from_pretrained(str(checkpoint("flux")))
    pipe.transformer.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_k", "add_v_proj", "proj_mlp"]))
    for name, parameter in pipe.transformer.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)
    folder = tmp_path_factory.mktemp("lora")
    FluxPipeline.save_lora_weights(str(folder), transformer_lora_layers=get_peft_model_state_dict(pipe.transformer))
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_is_diffusers(checkpoint: Any, lora: Path) -> None:
    own: Any = FluxPipeline.from_pretrained(str(checkpoint("flux")))
    own.set_progress_bar_config(disable=True)
    own.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name="mine")
    own.set_adapters(["mine"], [0.7])
    one = Registry().branch("flux/dev", {"lora": str(lora), "lora_scale": 0.7}, source=str(checkpoint("flux")))
    its, mine, plain = theirs(own, guidance_scale=3.5), ours(one), ours(Registry().branch("flux/dev", source=str(checkpoint("flux"))))
    print(f"LoRA: parity {relative(its, mine):.1e}, moves them by {relative(plain, mine):.2f}")
    assert relative(its, mine) < 1e-4 and relative(plain, mine) > 1e-2
    assert set(one.fingerprint()) == {"transformer", "text_encoder", "text_encoder_2", "vae", "lora"}


@pytest.mark.parametrize(("family", "id"), [("sd3", "sd3/medium"), ("pixart", "pixart/alpha")])
def test_a_lora_of_another_architecture_is_refused_before_weights(checkpoint: Any, lora: Path, family: str, id: str) -> None:
    with pytest.raises(BadCheckpoint, match=r"it is for FLUX\.1"):
        Registry().inspect(id, {"lora": str(lora)}, str(checkpoint(family)))
