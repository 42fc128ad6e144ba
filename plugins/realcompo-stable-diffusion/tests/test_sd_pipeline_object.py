"""A pipeline that the user holds, with LoRAs, processors and a VAE of its own, is a branch, and stays what it was, bit by bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request

PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 4
BOXES = Boxes({"a cat": (0.05, 0.3, 0.5, 0.95), "a dog": (0.5, 0.3, 0.95, 0.95)})


class OwnProcessor(AttnProcessor):
    """A user's processor, which counts its calls and changes the result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.calls += 1
        return 1.05 * super().__call__(*args, **kwargs)


def parts(pipe: Any) -> list[str]:
    return [part for part in ("unet", "text_encoder", "text_encoder_2", "vae") if getattr(pipe, part, None) is not None]


def lora_file(folder: Path, pipe: Any) -> Path:
    """A LoRA in diffusers' format for UNet and text encoders."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    states = {}
    for part in parts(pipe)[:-1]:
        network = getattr(pipe, part)
        targets = ["to_q", "to_k", "to_v"] if part == "unet" else ["q_proj", "v_proj"]
        network.add_adapter(LoraConfig(r=2, target_modules=targets))
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.5)
        states[f"{part}_lora_layers"] = get_peft_model_state_dict(network)
    pipe.save_lora_weights(str(folder), **states)
    return folder


def load(folder: Path) -> Any:
    two = (folder / "text_encoder_2").is_dir()
    cls: Any = StableDiffusionXLPipeline if two else StableDiffusionPipeline
    pipe = cls.from_pretrained(str(folder), **({} if two else {"safety_checker": None}))
    pipe.set_progress_bar_config(disable=True)
    return pipe


IDS = {"StableDiffusionPipeline": "sd/pipeline", "StableDiffusionXLPipeline": "sd/xl-pipeline"}
both = pytest.mark.parametrize("pipe", ["sd1", pytest.param("sdxl", marks=pytest.mark.deep)], indirect=True)


def held(pipe: Any) -> Any:
    """The branch that takes it, as a composer finds it."""
    from realcompo.recipes.members import member

    found = member(pipe, "fidelity", Registry())
    assert found.spec.id == IDS[type(pipe).__name__]
    return found.build(Registry(), "cpu", None)


@pytest.fixture(scope="module")
def lora(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Family → the folder of a LoRA for it, made once."""

    def made(family: str) -> Path:
        torch.manual_seed(0)
        return lora_file(tmp_path_factory.mktemp("lora"), load(checkpoint(family)))

    return cache(made)


@pytest.fixture
def pipe(request: pytest.FixtureRequest, checkpoint: Any, lora: Any) -> Any:
    """With a LoRA at 0.7, processors, a VAE, a scheduler and training flags that are the user's."""
    family = getattr(request, "param", "sd1")
    pipe = load(checkpoint(family))
    pipe.load_lora_weights(str(lora(family)), adapter_name="mine")
    pipe.set_adapters(["mine"], [0.7])
    for name, processor in pipe.unet.attn_processors.items():
        pipe.unet.set_attn_processor({**pipe.unet.attn_processors, name: OwnProcessor() if "attn2" in name else processor})
    for i, parameter in enumerate(pipe.unet.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    with torch.no_grad():
        pipe.vae.decoder.conv_in.weight *= 1.1
    pipe.unet.up_blocks[0].train()
    return pipe


def draw(pipe: Any) -> torch.Tensor:
    return pipe(PROMPT, negative_prompt=NEGATIVE, num_inference_steps=2, height=128, width=128, latents=noise(), output_type="pt").images


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def state(pipe: Any) -> dict[str, Any]:
    """All that a branch could have changed."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found: dict[str, Any] = {"scheduler": (id(pipe.scheduler), dict(pipe.scheduler.config))}
    for part in parts(pipe):
        network = getattr(pipe, part)
        found[part] = {
            "id": id(network),
            "modules": [(name, id(module), module.training) for name, module in network.named_modules()],
            "hooks": [len(getattr(module, kind)) for module in network.modules() for kind in kinds],
            "parameters": [(n, id(p), p.requires_grad, p.dtype, p.device, p.grad is None) for n, p in network.named_parameters()],
            "tensors": {name: tensor.clone() for name, tensor in network.state_dict().items()},
        }
    found["processors"] = [(name, id(processor)) for name, processor in pipe.unet.attn_processors.items()]
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def use(branch: Any) -> None:
    """Everything that a run does with a branch."""
    step = Solver("ddim", branch.traits.schedule, 10).steps[5]
    conditioning = branch.encode(request((PROMPT,), negatives=(NEGATIVE,), conditions=(BOXES,)))
    z = noise().requires_grad_()
    torch.autograd.grad(branch.attend(z, step, conditioning)[:, :, :2].sum(), z)
    torch.autograd.grad(branch.predict(z, step, conditioning, read=True).maps[:, :, :2].sum(), z)
    branch.predict(noise(), step, conditioning)
    branch.predict_unguided(noise(), step, conditioning)
    branch.decode(noise())
    branch.fingerprint()
    branch.to("cpu", torch.float16)  # stays where, and as, its owner put it


@both
def test_it_is_bit_identical_before_and_after(pipe: Any) -> None:
    images, before = draw(pipe), state(pipe)
    use(held(pipe))
    assert same(before, state(pipe))
    assert torch.equal(images, draw(pipe))


@pytest.mark.parametrize("where", ["down_blocks.1.resnets.0", "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", "conv_out"])
@pytest.mark.parametrize("call", ["attend", "predict", "read"])
def test_it_is_bit_identical_after_an_interruption(pipe: Any, where: str, call: str) -> None:
    images, before = draw(pipe), state(pipe)
    branch = Registry().branch("sd/pipeline", source=pipe)
    step = Solver("ddim", branch.traits.schedule, 10).steps[5]
    conditioning = branch.encode(request((PROMPT,), conditions=(BOXES,)))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = pipe.unet.get_submodule(where).register_forward_pre_hook(interrupt)
    calls = {"attend": branch.attend, "predict": branch.predict, "read": lambda *args: branch.predict(*args, read=True)}
    if (where, call) == ("conv_out", "attend"):
        calls[call](noise().requires_grad_(), step, conditioning)  # it never gets there
    else:
        with pytest.raises(KeyboardInterrupt):
            calls[call](noise().requires_grad_(), step, conditioning)
    handle.remove()
    assert same(before, state(pipe)) and torch.is_grad_enabled()
    assert torch.equal(images, draw(pipe))


@both
def test_it_draws_what_the_pipeline_draws(pipe: Any) -> None:
    def ours() -> torch.Tensor:
        branch = held(pipe)
        if isinstance(pipe, StableDiffusionXLPipeline):
            pipe.scheduler = Solver("pndm", branch.traits.schedule, STEPS).scheduler  # its own is Euler's, in another scale
        return draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,)), noise(), scheduler="pndm", steps=STEPS)

    mine = ours()
    theirs = pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        height=128,
        width=128,
        guidance_scale=7.5,
        latents=noise(),
        output_type="latent",
    ).images
    assert relative(theirs, mine) < 1e-4
    counts = [p.calls for p in pipe.unet.attn_processors.values() if isinstance(p, OwnProcessor)]
    assert min(counts) > 0, "its own processors run"
    pipe.disable_lora()
    assert relative(mine, ours()) > 1e-2, "its LoRA is felt"


@both
def test_fingerprint_knows_the_lora_and_its_scale(pipe: Any) -> None:
    branch = held(pipe)
    first = branch.fingerprint()
    pipe.set_adapters(["mine"], [0.5])
    second = branch.fingerprint()
    assert all((first[part] != second[part]) == (part != "vae") for part in parts(pipe))
    pipe.set_adapters(["mine"], [0.7])
    assert branch.fingerprint() == first


def test_traits_are_the_pipelines_own(checkpoint: Any) -> None:
    pipe = load(checkpoint("sd2-v"))
    traits = Registry().inspect("sd/pipeline", source=pipe)
    assert traits.prediction_type == "v_prediction" and traits.latent.name == "sd"
    assert Registry().branch("sd/pipeline", source=pipe).unet is pipe.unet


def test_other_pipelines_are_refused(checkpoint: Any) -> None:
    pipe = load(checkpoint("sdxl"))
    with pytest.raises(BadCheckpoint, match="it is an SDXL checkpoint: a StableDiffusionXLPipeline"):
        Registry().inspect("sd/pipeline", source=pipe)
    with pytest.raises(BadCheckpoint, match="it is an SDXL checkpoint"):
        Registry().inspect("sd/v1-5", source=str(checkpoint("sdxl")))
    with pytest.raises(BadCheckpoint, match="it is no SDXL checkpoint: its UNet is told of text alone"):
        Registry().inspect("sd/xl-pipeline", source=load(checkpoint("sd1")))
    bare = load(checkpoint("sd1"))
    bare.text_encoder = None
    with pytest.raises(BadCheckpoint, match="it has no text_encoder"):
        Registry().inspect("sd/pipeline", source=bare)


def test_declaring_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, realcompo_stable_diffusion as p; list(p.register_branches()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_known_without_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`check` and the walk over pairs need no download: the spec's word stands in for files that are not here."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)
    traits = Registry().inspect("sd/v2-1")
    assert (traits.prediction_type, traits.default_size, traits.family) == ("v_prediction", (768, 768), "SD 2.x")
    with pytest.raises(BadCheckpoint, match="download = true"):
        Registry().branch("sd/v2-1")
