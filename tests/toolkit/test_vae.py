"""Decoding: in a precision that the VAE can bear, in tiles if asked for, and the VAE is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.errors import NotFinite
from realcompo.specs import BranchSpec
from realcompo.toolkit import UNetBranch, UNetOptions
from realcompo.toolkit.loading import Loader
from realcompo.toolkit.sources import open_checkpoint
from realcompo.toolkit.vae import decode_pictures, decoding_dtype

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
Fetch = Callable[[str], Path]


def small_vae(checkpoint: Fetch, **config: Any) -> Any:
    """A VAE of one's own, with other values in its config."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(str(checkpoint("sdxl")), subfolder="vae")
    vae.register_to_config(**config)
    return vae.eval()


def latents(side: int = 8) -> torch.Tensor:
    return torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(0))


def spread(picture: Any) -> int:
    low, high = zip(*picture.getextrema(), strict=True)
    return max(high) - min(low)


@pytest.mark.parametrize(
    ("config", "dtype", "decodes"),
    [
        ({"force_upcast": True}, torch.float16, torch.float32),
        ({}, torch.float16, torch.float32),  # older configs leave it out, and True is diffusers' default
        ({"force_upcast": False}, torch.float16, torch.float16),
        ({"force_upcast": True}, torch.bfloat16, torch.bfloat16),
        ({"force_upcast": True}, torch.float32, torch.float32),
        ({"force_upcast": True}, torch.float64, torch.float64),
    ],
)
def test_the_decision(config: dict[str, Any], dtype: torch.dtype, decodes: torch.dtype) -> None:
    assert decoding_dtype(config, dtype) == decodes


@pytest.mark.parametrize(("force", "loaded"), [(True, torch.float32), (False, torch.float16)])
def test_a_folders_vae_is_loaded_and_moved_in_what_it_decodes_in(checkpoint: Fetch, tmp_path: Path, force: bool, loaded: Any) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(checkpoint("sdxl"), tmp_path / "copy"))
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": force}))
    told = UNetOptions()
    assert Loader(open_checkpoint(str(folder), told), told, dtype="float16").module("vae").dtype == loaded
    shutil.rmtree(folder / "unet")
    shutil.copytree(checkpoint("sd1") / "unet", folder / "unet")
    shutil.rmtree(folder / "text_encoder_2")
    branch = UNetBranch(SPEC, told, source=str(folder))
    assert branch.to(dtype="float16").vae.dtype == loaded and branch.unet.dtype == torch.float16
    branch.to(dtype="bfloat16")
    assert branch.vae.dtype == torch.bfloat16


def test_a_vae_that_overflows_decodes_in_float32_and_is_itself_again(checkpoint: Fetch) -> None:
    """As SDXL's does: the activations of a layer go past 65504, and what is left in float16 is no picture."""
    vae = small_vae(checkpoint, force_upcast=True)
    with torch.no_grad():
        vae.post_quant_conv.weight *= 3e5
        vae.post_quant_conv.weight.clamp_(-6e4, 6e4)
        vae.decoder.conv_in.weight *= 40
    whole = decode_pictures(vae, latents())[0]
    vae.to(torch.float16)
    before = {name: (id(tensor), tensor.data_ptr(), tensor.clone()) for name, tensor in vae.named_parameters()}
    picture = decode_pictures(vae, latents())[0]
    assert spread(picture) > 20, "a picture, not one colour"
    assert max(abs(a - b) for a, b in zip(picture.tobytes(), whole.tobytes(), strict=True)) <= 2
    for name, tensor in vae.named_parameters():
        assert (
            (id(tensor), tensor.data_ptr()) == before[name][:2] and tensor.dtype == torch.float16 and torch.equal(tensor, before[name][2])
        )
    vae.register_to_config(force_upcast=False)
    with pytest.raises(NotFinite, match=r"VAE: the picture that its VAE decoded holds NaN\n.*float32.*bfloat16.*fp16-fix"):
        decode_pictures(vae, latents())  # it does overflow where nobody upcasts


def test_it_is_itself_again_after_an_error(checkpoint: Fetch) -> None:
    vae = small_vae(checkpoint, force_upcast=True).to(torch.float16)
    with pytest.raises(RuntimeError):
        decode_pictures(vae, torch.zeros(1, 5, 8, 8), tiling=True)
    assert {tensor.dtype for tensor in vae.parameters()} == {torch.float16} and not vae.use_tiling


def test_large_pictures_in_tiles(checkpoint: Fetch) -> None:
    """diffusers' own tiles, of the size that the VAE was trained for; and only while this branch decodes."""
    vae = small_vae(checkpoint)
    seen: list[tuple[int, ...]] = []
    handle = vae.decoder.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[-2:])))
    large = latents(24)  # 192 pixels; its size is 128
    tiled = decode_pictures(vae, large, tiling=True)[0]
    assert len(seen) > 1 and max(max(size) for size in seen) <= 16 and not vae.use_tiling
    seen.clear()
    decode_pictures(vae, latents(16), tiling=True)
    assert seen == [(16, 16)], "a picture of its own size is no large one"
    seen.clear()
    whole = decode_pictures(vae, large)[0]
    assert seen == [(24, 24)]
    handle.remove()
    assert tiled.size == whole.size == (192, 192) and tiled.tobytes() != whole.tobytes()
    vae.enable_tiling()
    with torch.no_grad():
        theirs = (vae.decode(large, return_dict=False)[0][0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0) * 255
    assert tiled.tobytes() == bytes(theirs.round().to(torch.uint8).flatten().tolist())
    decode_pictures(vae, latents())
    assert vae.use_tiling, "who tiled before tiles afterwards"


def test_tiling_is_this_branchs_alone(checkpoint: Fetch) -> None:
    """Two branches share a VAE; one asked for tiles."""
    folder = str(checkpoint("sd1"))
    tiled, plain = UNetBranch(SPEC, UNetOptions(vae_tiling=True), source=folder), UNetBranch(SPEC, UNetOptions(), source=folder)
    assert tiled.vae is plain.vae and not plain.vae.use_tiling
    large = latents(24)
    assert tiled.decode(large)[0].tobytes() != plain.decode(large)[0].tobytes()
