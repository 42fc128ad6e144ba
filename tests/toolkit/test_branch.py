"""UNetBranch: guidance, precision, maps on the way, size, pictures; and what its subclasses may lean on."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.conditions import Boxes
from realcompo.errors import Incompatible, PhraseNotFound
from realcompo.interfaces import Prediction, Step
from realcompo.noise.diffusion import Solver
from realcompo.specs import BranchSpec, LatentSpace, Traits
from realcompo.testing.driving import relative, request
from realcompo.toolkit import UNetBranch, UNetConditioning, UNetOptions

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
OPTIONS = UNetOptions()
BOXES = Boxes({"a cat": (0.1, 0.1, 0.6, 0.6), "a dog": (0.5, 0.3, 1.0, 0.9)})
ASKED = request(("a cat and a dog", "a dog and a cat"), negatives=("", "a car"), conditions=(BOXES, BOXES))
Fetch = Callable[[str], Path]


@pytest.fixture(scope="module")
def branch(checkpoint: Fetch) -> UNetBranch:
    return UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd1")))


@pytest.fixture(scope="module")
def step(branch: UNetBranch) -> Step:
    return Solver("ddim", branch.traits.schedule, 10).steps[4]


def noise(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_guidance_is_the_formula(branch: UNetBranch, step: Step) -> None:
    conditioning = branch.encode(ASKED)
    conditional = branch.predict_unguided(noise(), step, conditioning)
    unconditional = branch.denoise(noise(), step, conditioning, "unconditional").detach()
    guided = branch.predict(noise(), step, conditioning).noise
    torch.testing.assert_close(guided, unconditional + 7.5 * (conditional - unconditional), rtol=1e-4, atol=1e-4)
    alone = branch.encode(request(ASKED.prompts, guidance_scale=1.0))
    assert alone.unconditional is None
    torch.testing.assert_close(branch.predict(noise(), step, alone).noise, conditional)


@pytest.mark.parametrize("scale", [7.5, 1.0])
def test_reading_on_the_way(branch: UNetBranch, step: Step, scale: float) -> None:
    conditioning = branch.encode(request(ASKED.prompts, conditions=ASKED.conditions, guidance_scale=scale))
    z = noise().requires_grad_()
    told = branch.predict(z, step, conditioning, read=True)
    assert told.maps is not None and not told.noise.requires_grad
    torch.testing.assert_close(told.noise, branch.predict(noise(), step, conditioning).noise, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(told.maps, branch.attend(noise(), step, conditioning))
    (gradient,) = torch.autograd.grad(told.maps[:, :, :2].sum(), z)
    assert gradient.abs().max() > 0
    assert branch.predict(z, step, conditioning).noise.grad_fn is None, "no graph unless read"


def test_maps_of_no_regions(branch: UNetBranch, step: Step) -> None:
    conditioning = branch.encode(request(ASKED.prompts))
    assert branch.attend(noise(), step, conditioning).shape == (2, 0, 4, 4)


def test_inputs_are_not_changed(branch: UNetBranch, step: Step) -> None:
    z, conditioning = noise(), branch.encode(ASKED)
    texts = conditioning.conditional.hidden.clone()
    branch.predict(z, step, conditioning)
    branch.attend(z, step, conditioning)
    assert torch.equal(z, noise()) and torch.equal(texts, conditioning.conditional.hidden)


def test_where_a_network_lies_is_read_off_it_and_not_searched(checkpoint: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: device and precision are diffusers' own answers, also under hooks of somebody else, without its walk over all modules."""
    branch = UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd1")), dtype=torch.bfloat16)
    network, seen = branch.network, []
    walk = torch.nn.Module.named_modules

    def watched(self: torch.nn.Module, *args: Any, **more: Any) -> Iterator[Any]:
        for one in walk(self, *args, **more):
            seen.append(one)
            yield one

    monkeypatch.setattr(torch.nn.Module, "named_modules", watched)
    assert (branch.device, branch.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert len(seen) < 20, "the first that holds a number ends it"
    assert (network.device, network.dtype) == (branch.device, branch.dtype) and len(seen) > 200, "control: diffusers' walks are seen"
    own = copy.deepcopy(network)
    own.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    monkeypatch.setattr(UNetBranch, "network", own)
    assert next(own.parameters()).dtype == torch.float8_e4m3fn and branch.dtype == own.dtype == torch.bfloat16


@pytest.mark.parametrize(("dtype", "near"), [("bfloat16", 0.2), ("float16", 0.03)])
def test_half_precision_takes_and_gives_float32(checkpoint: Fetch, branch: UNetBranch, step: Step, dtype: str, near: float) -> None:
    half = UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd1")), dtype=dtype)
    assert half.dtype == getattr(torch, dtype)
    assert half.vae.dtype == (torch.float32 if dtype == "float16" else torch.bfloat16), "many VAEs overflow in float16"
    told = half.predict(noise(), step, half.encode(ASKED)).noise
    full = branch.predict(noise(), step, branch.encode(ASKED)).noise
    assert told.dtype == torch.float32
    assert relative(full, told) < near
    z = noise().requires_grad_()
    maps = half.attend(z, step, half.encode(ASKED))
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, branch.attend(noise(), step, branch.encode(ASKED)), rtol=0.1, atol=0.01)
    (gradient,) = torch.autograd.grad(maps[:, :, :2].sum() * 2**12, z)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    assert len(half.decode(noise())) == 2


def test_double_precision(checkpoint: Fetch, step: Step) -> None:
    double = UNetBranch(SPEC, OPTIONS, source=str(checkpoint("sd2-v")), dtype="float64")
    conditioning = double.encode(ASKED)
    assert double.predict(noise(torch.float64), step, conditioning).noise.dtype == torch.float64
    assert double.attend(noise(torch.float64), step, conditioning).dtype == torch.float64
    double.to(dtype="float32")


@pytest.mark.parametrize("size", [(100, 128), (128, 4), (0, 128)])
def test_sizes_that_it_cannot_take(branch: UNetBranch, size: tuple[int, int]) -> None:
    with pytest.raises(Incompatible, match="both must be multiples of 8"):
        branch.encode(request(("a cat",), size=size))


def test_any_multiple_will_do(branch: UNetBranch, step: Step) -> None:
    conditioning = branch.encode(request(("a cat and a dog",), conditions=(BOXES,), size=(136, 104)))
    z = torch.randn(1, 4, 17, 13)
    assert branch.predict(z, step, conditioning).noise.shape == z.shape
    assert branch.attend(z, step, conditioning).shape == (1, 2, 5, 4)


def test_pictures_are_the_pipelines(checkpoint: Fetch, branch: UNetBranch) -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    with torch.no_grad():
        decoded = pipe.vae.decode(noise() / pipe.vae.config.scaling_factor, return_dict=False)[0]
    theirs = pipe.image_processor.postprocess(decoded, output_type="pil")
    for mine, its in zip(branch.decode(noise()), theirs, strict=True):
        assert mine.size == (128, 128)
        assert max(abs(a - b) for a, b in zip(mine.tobytes(), its.tobytes(), strict=True)) <= 1


def test_a_deep_compression_autoencoder(checkpoint: Fetch, tmp_path: Path) -> None:
    """The mini family's kind of VAE."""
    import shutil

    import diffusers

    cls: Any = diffusers.AutoencoderDC
    layers = {"encoder_layers_per_block": (0, 1, 1, 1), "decoder_layers_per_block": (0, 1, 1, 1)}
    widths = {"encoder_block_out_channels": (4, 8, 16, 32), "decoder_block_out_channels": (4, 8, 16, 32)}
    plain = {"encoder_qkv_multiscales": ((),) * 4, "decoder_qkv_multiscales": ((),) * 4}
    blocks = {"encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock", "upsample_block_type": "pixel_shuffle"}
    vae = cls(latent_channels=4, scaling_factor=0.7, downsample_block_type="pixel_unshuffle", **layers, **widths, **plain, **blocks)
    folder = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "dc"))
    shutil.rmtree(folder / "vae")
    vae.save_pretrained(str(folder / "vae"))
    spec = BranchSpec(id="x/y", summary="", source=str(folder), traits=Traits(LatentSpace("mini", 4, 8, 0.7), "mini"))
    mini = UNetBranch(spec, OPTIONS)
    assert mini.traits.latent == LatentSpace("mini", 4, 8, 0.7) and mini.traits.family == "mini"
    assert [picture.size for picture in mini.decode(noise())] == [(128, 128)] * 2


def test_locate_reads_the_tokenizer_alone(checkpoint: Fetch) -> None:
    folder = str(checkpoint("sd1"))
    found = UNetBranch.locate(SPEC, OPTIONS, ASKED.prompts[0], ASKED.regions.pictures[0], folder)
    assert found == {"a cat": ("cat",), "a dog": ("dog",)}
    assert UNetBranch.locate(SPEC, OPTIONS, "a cat", (), "/nowhere/at/all") is None
    with pytest.raises(PhraseNotFound):
        UNetBranch.locate(SPEC, OPTIONS, "a cat", ASKED.regions.pictures[0], folder)


def test_threads_that_share_a_network_do_not_meet(branch: UNetBranch, step: Step) -> None:
    """One thread's map reading may neither be seen nor stopped by another's prediction."""
    conditioning = branch.encode(ASKED)
    maps, told = branch.attend(noise(), step, conditioning), branch.predict(noise(), step, conditioning).noise
    failures: list[BaseException] = []

    def work(read: bool) -> None:
        try:
            for _ in range(6):
                if read:
                    torch.testing.assert_close(branch.attend(noise(), step, conditioning), maps)
                else:
                    torch.testing.assert_close(branch.predict(noise(), step, conditioning).noise, told)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_graphs_are_freed(branch: UNetBranch, step: Step) -> None:
    conditioning = branch.encode(ASKED)
    z = noise().requires_grad_()
    torch.autograd.grad(branch.attend(z, step, conditioning).sum(), z)
    gc.collect()
    before = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
    for _ in range(3):
        torch.autograd.grad(branch.attend(z, step, conditioning).sum(), z)
    gc.collect()
    assert sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()) <= before + 2


# -- what later branches lean on ----------------------------------------------------------------------------------------------


class Guided(UNetBranch):
    """A branch in the manner of layout guidance: moves z uphill on its own maps before predicting."""

    def predict(self, z: torch.Tensor, step: Step, conditioning: UNetConditioning, read: bool = False) -> Prediction:
        with torch.enable_grad():
            moving = z.detach().requires_grad_()
            maps = self.attend(moving, step, conditioning)
            (slope,) = torch.autograd.grad(maps[:, :, :2].sum(), moving)
        shift = slope / slope.abs().max()
        told = super().predict(z + shift, step, conditioning, read)
        return Prediction(told.noise, told.maps, shift)


class Hinted(UNetBranch):
    """A branch in the manner of ControlNet: residuals that follow z, with a graph."""

    strength = 1.0

    def told(self, sample: torch.Tensor, step: Step, conditioning: UNetConditioning, half: Any) -> Mapping[str, Any]:
        hint = self.strength * sample.mean(dim=(1, 2, 3), keepdim=True)
        return {"mid_block_additional_residual": hint.expand(-1, 16, 2, 2), "down_block_additional_residuals": [hint * 0] * 8}


def test_a_branch_that_moves_latents_fits(checkpoint: Fetch, branch: UNetBranch, step: Step) -> None:
    guided = Guided(SPEC, OPTIONS, source=str(checkpoint("sd1")))
    assert guided.unet is branch.unet, "v3 of the paper: one network on both sides"
    conditioning = guided.encode(ASKED)
    with torch.no_grad():
        told = guided.predict(noise(), step, conditioning)
    assert told.shift is not None and told.shift.shape == noise().shape
    torch.testing.assert_close(told.noise, branch.predict(noise() + told.shift, step, conditioning).noise)


def test_a_branch_with_residuals_fits(checkpoint: Fetch, branch: UNetBranch, step: Step) -> None:
    hinted = Hinted(SPEC, UNetOptions(places=("up",)), source=str(checkpoint("sd1")))
    conditioning = hinted.encode(ASKED)
    z = noise().requires_grad_()
    maps = hinted.attend(z, step, conditioning)
    (with_hint,) = torch.autograd.grad(maps[:, :, :2].sum(), z)
    assert not torch.allclose(hinted.predict(noise(), step, conditioning).noise, branch.predict(noise(), step, conditioning).noise)
    hinted.strength = 0.0
    (without,) = torch.autograd.grad(hinted.attend(z, step, conditioning)[:, :, :2].sum(), z)
    assert not torch.allclose(with_hint, without), "the residual's own graph counts"
