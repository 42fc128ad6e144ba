"""Our SDXL branch alone is diffusers' StableDiffusionXLPipeline: solvers, sizes, empty negative prompts, a LoRA; and all of it is felt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import nn

from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit import Text

PROMPTS = ("a photo of a cat and a dog", "a red balloon on the grass")
NEGATIVES = ("a blue car", "two apples")
OTHER = "a photo of two apples"
STEPS, GUIDANCE = 10, 5.0


def noise(count: int = 1) -> torch.Tensor:
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(b)) for b in range(count)])


@pytest.fixture(scope="module")
def pipe(checkpoint: Any) -> Any:
    pipe = StableDiffusionXLPipeline.from_pretrained(str(checkpoint("sdxl")))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def branch(checkpoint: Any, **options: Any) -> Any:
    return Registry().branch("sd/xl-base", options, source=str(checkpoint("sdxl")))


def theirs(pipe: Any, negatives: Any = NEGATIVES[:1], count: int = 1, scheduler: str = "ddim", **asked: Any) -> torch.Tensor:
    pipe.scheduler = Solver(scheduler, Registry().inspect("sd/xl-pipeline", source=pipe).schedule, STEPS).scheduler
    return pipe(  # type: ignore[no-any-return]
        list(PROMPTS[:count]),
        negative_prompt=negatives if negatives is None else list(negatives),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise(count),
        height=128,
        width=128,
        generator=[torch.Generator().manual_seed(b) for b in range(count)],
        output_type="latent",
        **asked,
    ).images


def ours(one: Any, prompts: Any = PROMPTS[:1], negatives: Any = NEGATIVES[:1], scheduler: str = "ddim") -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=GUIDANCE)
    generators = [torch.Generator().manual_seed(b) for b in range(len(prompts))]
    return draw_alone(one, asked, noise(len(prompts)), scheduler=scheduler, steps=STEPS, generators=generators)


@pytest.fixture(scope="module")
def plain(checkpoint: Any) -> torch.Tensor:
    """What the branch draws by default."""
    return ours(branch(checkpoint))


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm++-2m"])
def test_branch_alone_is_the_pipeline(checkpoint: Any, pipe: Any, scheduler: str) -> None:
    one = branch(checkpoint)
    its, mine = theirs(pipe, NEGATIVES, 2, scheduler), ours(one, PROMPTS, NEGATIVES, scheduler)
    print(f"{scheduler}: parity {relative(its, mine):.1e} of {float(its.abs().max()):.1f}")
    assert relative(its, mine) < 1e-4
    assert relative(mine, ours(one, (OTHER, PROMPTS[1]), NEGATIVES, scheduler)) > 1e-2, "the prompt must matter, or parity shows nothing"


@pytest.mark.parametrize(
    "told",
    [
        {"original_size": (24, 512)},
        {"crops_coords_top_left": (64, 900)},
        {"target_size": (1024, 700)},
        {"negative_original_size": (512, 64), "negative_target_size": (900, 30), "negative_crops_coords_top_left": (7, 300)},
    ],
    ids=lambda told: next(iter(told)),
)
def test_sizes_that_the_unet_is_told(checkpoint: Any, pipe: Any, plain: torch.Tensor, told: dict[str, Any]) -> None:
    """One picture: for several, diffusers 0.42 hands the negative sizes to the wrong rows."""
    its, mine = theirs(pipe, **told), ours(branch(checkpoint, **told))
    print(f"{told}: parity {relative(its, mine):.1e}, moves the latents by {relative(plain, mine):.1e}")
    assert relative(its, mine) < 1e-4
    assert relative(plain, mine) > 1e-2, "the sizes must matter, or parity shows nothing"


def test_an_empty_negative_prompt(checkpoint: Any, pipe: Any, plain: torch.Tensor) -> None:
    """Zeros, as the checkpoint says and the pipeline does without one; the encoded empty text if asked for; each picture for itself."""
    zeros, encoded = branch(checkpoint), branch(checkpoint, force_zeros_for_empty_prompt=False)
    without, empty = ours(zeros, negatives=("",)), ours(encoded, negatives=("",))
    assert relative(theirs(pipe, None), without) < 1e-4
    assert relative(theirs(pipe, ("",)), empty) < 1e-4
    assert relative(without, empty) > 1e-2 and relative(without, plain) > 1e-2
    mixed = ours(zeros, (PROMPTS[0], PROMPTS[0]), ("", NEGATIVES[0]))
    assert relative(without[0], mixed[0]) < 1e-4
    text = zeros.encode_negative(("", "a car"))
    assert not text.hidden[0].any() and not text.pooled[0].any() and text.hidden[1].any() and text.pooled[1].any()


def test_the_pooled_prompt_alone_moves_the_latents(checkpoint: Any, plain: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    one = branch(checkpoint)
    encode = one.encode

    def pooled_of_another(asked: Any) -> Any:
        right, other = encode(asked), one.text.encode((OTHER,))
        return replace(right, conditional=Text(right.conditional.hidden, other.pooled))

    monkeypatch.setattr(one, "encode", pooled_of_another)
    assert relative(plain, ours(one)) > 1e-2


# -- LoRA ------------------------------------------------------------------------------------------------------------------------

TARGETS = {"unet": ["to_q", "to_k", "to_v"], "text_encoder": ["q_proj", "v_proj"], "text_encoder_2": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def loras(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA of each network alone and one of all, in diffusers' format, opened: B starts at zero."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(0)
    pipe, states, files = StableDiffusionXLPipeline.from_pretrained(str(checkpoint("sdxl"))), {}, {}
    for part, targets in TARGETS.items():
        network = getattr(pipe, part)
        network.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=targets))
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.5)
        states[f"{part}_lora_layers"] = get_peft_model_state_dict(network)
    for name, chosen in {"all": states, **{part: {f"{part}_lora_layers": states[f"{part}_lora_layers"]} for part in TARGETS}}.items():
        folder = tmp_path_factory.mktemp(name)
        StableDiffusionXLPipeline.save_lora_weights(str(folder), **chosen)
        files[name] = folder / "pytorch_lora_weights.safetensors"
    return files


@pytest.mark.deep
def test_a_lora_of_all_three_networks_is_diffusers(checkpoint: Any, loras: dict[str, Path], plain: torch.Tensor) -> None:
    own = StableDiffusionXLPipeline.from_pretrained(str(checkpoint("sdxl")))
    own.set_progress_bar_config(disable=True)
    own.load_lora_weights(str(loras["all"].parent), weight_name=loras["all"].name, adapter_name="mine")
    own.set_adapters(["mine"], [0.7])
    one = branch(checkpoint, lora=str(loras["all"]), lora_scale=0.7)
    its, mine = theirs(own), ours(one)
    print(f"LoRA: parity {relative(its, mine):.1e}, moves the latents by {relative(plain, mine):.2f}")
    assert relative(its, mine) < 1e-4
    assert relative(plain, mine) > 1e-2 and relative(mine, ours(branch(checkpoint, lora=str(loras["all"]), lora_scale=0.2))) > 1e-2
    assert relative(plain, ours(branch(checkpoint))) == 0, "felt by nobody who did not ask for it"
    assert set(one.fingerprint()) == {"unet", "text_encoder", "text_encoder_2", "vae", "lora"}


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
def test_a_lora_of_one_text_encoder_changes_that_one(checkpoint: Any, loras: dict[str, Path], part: str) -> None:
    """The two encoders' names begin alike: neither may take the other's."""
    one, without = branch(checkpoint, lora=str(loras[part])), branch(checkpoint)
    before, after = without.text.encode(PROMPTS[:1]), one.text.encode(PROMPTS[:1])
    first, second = (slice(0, 32), slice(32, None)) if part == "text_encoder" else (slice(32, None), slice(0, 32))
    assert relative(before.hidden[..., first], after.hidden[..., first]) > 1e-2
    assert torch.equal(before.hidden[..., second], after.hidden[..., second])
    assert torch.equal(before.pooled, after.pooled) == (part == "text_encoder")
