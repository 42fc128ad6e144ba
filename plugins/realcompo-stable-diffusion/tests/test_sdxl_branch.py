"""What an SDXL branch owes beyond parity: maps at its own places, a latent space of its own, and refusals told from config files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadOption, Incompatible
from realcompo.noise.diffusion import Solver
from realcompo.recipes.recipe import BranchEntry
from realcompo.registry import Registry
from realcompo.specs import LatentSpace
from realcompo.testing.driving import relative, request
from realcompo.toolkit.maps import attention_probabilities

PROMPT = "a photo of a cat and a red balloon"
BOXES = Boxes({"a cat": (0.05, 0.4, 0.5, 0.95), "a red balloon": (0.55, 0.05, 0.9, 0.6)})
ASKED = request((PROMPT,), conditions=(BOXES,))


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def branch(checkpoint: Any) -> Any:
    return Registry().branch("sd/xl-base", source=str(checkpoint("sdxl")))


@pytest.fixture(scope="module")
def step(branch: Any) -> Any:
    return Solver("ddim", branch.traits.schedule, 10).steps[4]


def altered(folder: Path, to: Path, part: str, **config: Any) -> Path:
    """A copy of a checkpoint without weights, and with other values in a part's config: what is said of it is told from configs."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors"))
    file = to / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return to


# -- what it is ------------------------------------------------------------------------------------------------------------------


def test_traits(checkpoint: Any, branch: Any) -> None:
    assert branch.traits.latent == LatentSpace("sdxl", 4, 8, 0.13025)
    published = Registry().inspect("sd/xl-base")
    assert (published.latent, published.default_size, published.family) == (branch.traits.latent, (1024, 1024), "SDXL")
    folder = checkpoint("sdxl")
    assert Registry().inspect("sd/xl-pipeline", source=str(folder)).default_size == (128, 128), "128 × 8 of its own config"


def test_default_size_is_the_checkpoints(checkpoint: Any, tmp_path: Path) -> None:
    real = altered(checkpoint("sdxl"), tmp_path / "real", "unet", sample_size=128)
    assert Registry().inspect("sd/xl-base", source=str(real)).default_size == (1024, 1024)


def test_its_networks(branch: Any) -> None:
    assert set(branch.networks()) == set(branch.fingerprint()) == {"unet", "text_encoder", "text_encoder_2", "vae"}
    assert [type(network).__name__ for network in branch.text.encoders] == ["CLIPTextModel", "CLIPTextModelWithProjection"]
    assert branch.text.limit == 77


def test_text_is_both_encoders_before_their_last_layer(branch: Any) -> None:
    """Against transformers alone: the layer, the order and the pooled embedding."""
    text, conditioning = branch.text, branch.encode(ASKED)
    ids = [one.tokenizer([PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids for one in text.encodings]
    assert not torch.equal(*ids), "the second tokenizer pads with another token"
    with torch.no_grad():
        outputs = [encoder(one, output_hidden_states=True) for encoder, one in zip(text.encoders, ids, strict=True)]
    expected = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    assert torch.equal(conditioning.conditional.hidden, expected) and expected.shape == (1, 77, 32 + 48)
    assert torch.equal(conditioning.conditional.pooled, outputs[1].text_embeds)
    assert relative(expected, torch.cat([output.last_hidden_state for output in outputs], dim=-1)) > 1e-2


def test_a_batch_is_each_alone(branch: Any, step: Any) -> None:
    prompts, negatives = (PROMPT, "a red balloon on grass and a cat"), ("", "a blue car")
    z = torch.cat([noise(), noise().flip(-1)])
    asked = request(prompts, negatives=negatives, conditions=(BOXES, BOXES))
    together = branch.predict(z, step, branch.encode(asked)).noise
    for b in range(2):
        alone = request(prompts[b : b + 1], negatives=negatives[b : b + 1], conditions=(BOXES,))
        assert relative(branch.predict(z[b : b + 1], step, branch.encode(alone)).noise, together[b : b + 1]) < 1e-4


def test_half_precision(checkpoint: Any, branch: Any, step: Any) -> None:
    half = Registry().branch("sd/xl-base", source=str(checkpoint("sdxl")), dtype="bfloat16")
    told = half.predict(noise(), step, half.encode(ASKED)).noise
    assert told.dtype == torch.float32 and relative(branch.predict(noise(), step, branch.encode(ASKED)).noise, told) < 0.2


# -- maps ------------------------------------------------------------------------------------------------------------------------


def test_maps_times_values_are_the_modules_output_in_a_run(branch: Any, step: Any) -> None:
    """With the real text, pooled prompt and sizes; at every place that is read."""
    seen: dict[str, tuple[Any, ...]] = {}

    def see(name: str) -> Any:
        return lambda module, args, kwargs, output: seen.update({name: (args[0], kwargs["encoder_hidden_states"], output)})

    places = branch.reader.places
    handles = [place.module.register_forward_hook(see(place.name), with_kwargs=True) for place in places]
    conditioning = branch.encode(ASKED)
    branch.predict_unguided(noise(), step, conditioning)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(places) == 3 + 2 * 3, "three layers in the down block and in each of the two of the up block, at latent/4"
    maps = []
    for place in places:
        hidden, context, output = seen[place.name]
        attn: Any = place.module
        with torch.no_grad():
            probabilities = attention_probabilities(attn, hidden, context)
            values = attn.to_v(context).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            rebuilt = attn.to_out[0]((probabilities @ values).transpose(1, 2).flatten(2))
        torch.testing.assert_close(rebuilt, output, rtol=1e-5, atol=1e-5)
        maps.append(probabilities.mean(1))
    words = branch.text.tokens(PROMPT, ASKED.regions.pictures[0])
    mean = torch.stack(maps).mean(0)
    expected = torch.stack([mean[0][:, list(indices)].mean(-1) for indices in words]).unflatten(-1, (4, 4))
    with torch.no_grad():
        torch.testing.assert_close(branch.attend(noise(), step, conditioning)[0], expected)


def test_maps_have_a_gradient_and_feel_what_the_unet_is_told(checkpoint: Any, branch: Any, step: Any) -> None:
    z = noise().requires_grad_()
    maps = branch.attend(z, step, branch.encode(ASKED))
    assert maps.shape == (1, 2, 4, 4)
    (gradient,) = torch.autograd.grad(maps[:, :, :2].sum(), z)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    told = Registry().branch("sd/xl-base", {"original_size": (8, 900)}, source=str(checkpoint("sdxl")))
    assert relative(maps.detach(), told.attend(noise(), step, told.encode(ASKED)).detach()) > 1e-4


def test_its_places(checkpoint: Any) -> None:
    """SDXL has cross-attention at latent/2 and latent/4: 64×64 and 32×32 of a 1024×1024 picture. Told before weights."""
    folder = str(checkpoint("sdxl"))
    finer = Registry().branch("sd/xl-base", {"map_divisor": 2}, source=folder)
    assert finer.reader.size(128, 128) == (64, 64) and all(".attentions." in place.name for place in finer.reader.places)
    for divisor in (1, 8):
        with pytest.raises(BadOption, match=r"divided by \d\n  mend: it has some in down at 2, down at 4, mid at 4, up at 2, up at 4"):
            Registry().inspect("sd/xl-base", {"map_divisor": divisor}, source=folder)


# -- with whom it composes -------------------------------------------------------------------------------------------------------


def placed(name: str, source: str) -> Any:
    """A fidelity branch in the spatial role, with boxes for its regions: for what it composes with, not for what it draws."""
    registry = Registry()
    spec = replace(registry.branches[name], id=f"{name}-placed", role="spatial", condition="boxes")
    return registry.load(spec)(spec, registry.options(spec), source=source)


def test_it_never_composes_with_sd(checkpoint: Any) -> None:
    folders = {"sd/xl-base": str(checkpoint("sdxl")), "sd/v1-5": str(checkpoint("sd1"))}
    for one, other in (("sd/xl-base", "sd/v1-5"), ("sd/v1-5", "sd/xl-base")):
        with pytest.raises(Incompatible, match=r"cannot compose .*: latent spaces differ .*'sdxl'"):
            Composer(BranchEntry(name=one, source=folders[one]), placed(other, folders[other]), device="cpu")
    for spatial in ("gligen/box", "controlnet/pose-sd15", "controlnet/seg-sd21"):  # by the specs' word alone
        with pytest.raises(Incompatible, match=rf"cannot compose 'sd/xl-base' with '{spatial}': latent spaces differ"):
            Composer("sd/xl-base", spatial, device="cpu")
    with pytest.raises(Incompatible, match="cannot compose 'sd/v1-5' with 'controlnet/pose-sdxl': latent spaces differ"):
        Composer("sd/v1-5", "controlnet/pose-sdxl", device="cpu")


def test_two_sdxl_branches_compose(checkpoint: Any) -> None:
    xl = BranchEntry(name="sd/xl-base", source=str(checkpoint("sdxl")))
    other = placed("sd/xl-base", str(checkpoint("controlnet-sdxl")))
    composer = Composer(xl, other, balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu")
    result = composer(PROMPT, BOXES, seed=0, output_type="latent")
    assert result.latents.isfinite().all() and len(result.trace.losses) == 2


# -- refusals --------------------------------------------------------------------------------------------------------------------


def test_what_is_no_sdxl_base(checkpoint: Any, tmp_path: Path) -> None:
    whole = checkpoint("sdxl")
    with pytest.raises(BadCheckpoint, match=r"it is no SDXL checkpoint: its UNet is told of text alone.*StableDiffusionPipeline"):
        Registry().inspect("sd/xl-base", source=str(checkpoint("sd1")))
    refiner = altered(whole, tmp_path / "refiner", "unet")
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(refiner / part)
    with pytest.raises(BadCheckpoint, match="it is an SDXL refiner"):
        Registry().inspect("sd/xl-base", source=str(refiner))
    half = altered(whole, tmp_path / "half", "unet")
    shutil.rmtree(half / "tokenizer_2")
    with pytest.raises(BadCheckpoint, match="it has no tokenizer_2"):
        Registry().inspect("sd/xl-base", source=str(half))
    for config, said in (
        (
            {"projection_class_embeddings_input_dim": 2560},
            r"expects 2560 numbers beside the text; a pooled prompt of 40 and six sizes are 88",
        ),
        ({"encoder_hid_dim_type": "text_proj"}, "it is conditioned on 'text_proj' too"),
        ({"cross_attention_dim": 2048}, r"its text encoders are 32 \+ 48 wide, its UNet expects 2048"),
        ({"in_channels": 8}, "8 in channels.*it inpaints or upscales"),
    ):
        name = next(iter(config))
        with pytest.raises(BadCheckpoint, match=said):
            Registry().inspect("sd/xl-base", source=str(altered(whole, tmp_path / name, "unet", **config)))
    with pytest.raises(BadCheckpoint, match="shifts and scales each channel by numbers of its own"):
        other = altered(whole, tmp_path / "mean", "vae", latents_mean=[0.1] * 4, latents_std=[1.0] * 4)
        Registry().inspect("sd/xl-base", source=str(other))


def test_bad_options() -> None:
    for options in ({"original_size": (1024,)}, {"crops_coords_top_left": (-1, 0)}, {"target_sizes": (8, 8)}):
        with pytest.raises(BadOption):
            Registry().inspect("sd/xl-base", options)


def test_the_checkpoint_says_whether_empty_is_zeros(checkpoint: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("sdxl"), tmp_path / "own"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    assert Registry().branch("sd/xl-base", source=str(folder)).encode_negative(("",)).hidden.any()
    (folder / "model_index.json").unlink()  # a folder without one: diffusers' own default
    assert not Registry().branch("sd/xl-base", source=str(folder)).encode_negative(("",)).hidden.any()
