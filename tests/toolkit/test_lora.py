"""The option lora: what diffusers' `load_lora_weights` draws, weights of its own, and refusals before any weight is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint
from realcompo.noise.diffusion import Solver
from realcompo.specs import BranchSpec
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit import UNetBranch, UNetOptions
from tests.toolkit.small_loras import noise, pipeline, save_lora

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 10
Fetch = Callable[[str], Path]


@pytest.fixture(scope="module")
def lora(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of UNet and text encoder in diffusers' format, opened: B starts at zero."""
    torch.manual_seed(0)
    parts = {"unet": ["to_q", "to_k", "to_v"], "text_encoder": ["q_proj", "v_proj"]}
    return save_lora(checkpoint("sd1"), tmp_path_factory.mktemp("lora"), parts)


def branch(folder: Path, **options: Any) -> UNetBranch:
    return UNetBranch(SPEC, UNetOptions(**options), source=str(folder))


def draw(one: UNetBranch) -> torch.Tensor:
    return draw_alone(one, request((PROMPT,), negatives=(NEGATIVE,)), noise(), scheduler="ddim", steps=STEPS)


def test_it_draws_what_diffusers_draws(checkpoint: Fetch, lora: Path) -> None:
    folder = checkpoint("sd1")
    pipe = pipeline(folder)
    pipe.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name="mine")
    pipe.set_adapters(["mine"], [0.7])
    one = branch(folder, lora=str(lora), lora_scale=0.7)
    pipe.scheduler = Solver("ddim", one.traits.schedule, STEPS).scheduler
    theirs = pipe(
        PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, height=128, width=128, latents=noise(), output_type="latent"
    ).images
    mine = draw(one)
    assert relative(theirs, mine) < 1e-4
    assert relative(mine, draw(branch(folder))) > 1e-2, "it must be felt, and by nobody who did not ask for it"
    assert relative(mine, draw(branch(folder, lora=str(lora), lora_scale=0.2))) > 1e-2
    torch.testing.assert_close(draw(branch(folder, lora=str(lora), lora_scale=0.0)), draw(branch(folder)))


def test_its_networks_are_its_own_and_plain(checkpoint: Fetch, lora: Path) -> None:
    folder = checkpoint("sd1")
    plain, one = branch(folder), branch(folder, lora=str(lora))
    assert one.unet is not plain.unet and one.text.encoder is not plain.text.encoder
    assert one.unet.state_dict().keys() == plain.unet.state_dict().keys(), "merged: no adapter is left to slow a step down"
    boxes = Boxes({"a cat": (0.1, 0.1, 0.6, 0.6)})
    asked, step = request((PROMPT,), conditions=(boxes,)), Solver("ddim", one.traits.schedule, 10).steps[4]
    assert relative(plain.attend(noise(), step, plain.encode(asked)), one.attend(noise(), step, one.encode(asked))) > 1e-3
    prints = [one.fingerprint(), branch(folder, lora=str(lora), lora_scale=0.5).fingerprint(), plain.fingerprint()]
    assert prints[0]["lora"] != prints[1]["lora"] and "lora" not in prints[2]


def test_bad_files(checkpoint: Fetch, lora: Path, tmp_path: Path) -> None:
    folder = checkpoint("sd1")
    pickle = tmp_path / "lora.bin"
    pickle.write_bytes(b"x")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(lora.read_bytes()[:100])
    for file, said in ((pickle, "must be a .safetensors file"), (tmp_path / "gone.safetensors", "no such LoRA")):
        with pytest.raises(BadCheckpoint, match=said):
            UNetBranch.inspect(SPEC, UNetOptions(lora=str(file)), str(folder))
    with pytest.raises(BadCheckpoint, match="is damaged or truncated"):
        branch(folder, lora=str(damaged))
    with pytest.raises(BadCheckpoint, match="would change a pipeline that you hold"):
        UNetBranch(SPEC, UNetOptions(lora=str(lora)), source=pipeline(folder))


def test_a_file_inside_a_package(checkpoint: Fetch, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec's own LoRA may not be there yet, as its checkpoint: its traits stand. A user's must be."""
    folder = checkpoint("sd1")
    package = tmp_path / "some_lora"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_lora", raising=False)
    name = "package://some_lora/weights/x.safetensors"
    spec = replace(SPEC, defaults={"lora": name}, source=str(folder))
    assert UNetBranch.inspect(spec, UNetOptions(lora=name)) == UNetBranch.inspect(SPEC, UNetOptions(), str(folder))
    for owner, options in ((SPEC, UNetOptions(lora=name)), (spec, UNetOptions(lora=name.replace("/x", "/y")))):
        with pytest.raises(BadCheckpoint, match="no such LoRA"):
            UNetBranch.inspect(owner, options, str(folder))
    with pytest.raises(BadCheckpoint, match="no such LoRA"):
        UNetBranch(spec, UNetOptions(lora=name))
    with pytest.raises(BadCheckpoint, match="'no_such_lora' is not installed"):
        UNetBranch.inspect(SPEC, UNetOptions(lora="package://no_such_lora/x.safetensors"), str(folder))
    (package / "weights" / "x.safetensors").write_bytes(lora.read_bytes())
    assert UNetBranch(spec, UNetOptions(lora=name)).fingerprint()["lora"] == branch(folder, lora=str(lora)).fingerprint()["lora"]


def test_of_another_architecture(checkpoint: Fetch, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_"
    wide = tmp_path / "wide.safetensors"
    save_file({f"{name}A.weight": torch.zeros(2, 999), f"{name}B.weight": torch.zeros(8, 2)}, str(wide))
    other = tmp_path / "other.safetensors"
    name = "transformer.blocks.0.to_k.lora_"
    save_file({f"{name}A.weight": torch.zeros(2, 8), f"{name}B.weight": torch.zeros(8, 2)}, str(other))
    for file in (wide, other):
        with pytest.raises(BadCheckpoint, match="cannot be put on this checkpoint"):
            branch(checkpoint("sd1"), lora=str(file))
