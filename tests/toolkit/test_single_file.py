"""Single files in the original layout: told from their header, refused before their weights, loaded equal to the folder. All offline."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.errors import BadCheckpoint
from realcompo.specs import BranchSpec
from realcompo.testing.checkpoints import rewrite_tensors, truncate
from realcompo.testing.originals import (
    CLIP,
    UNET,
    VAE,
    original_tensors,
    save_original,
)
from realcompo.toolkit import Loader, UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.kinds import identify

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl", "gligen")
Fetch = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("nobody_asks")


@pytest.fixture(scope="module")
def single(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> Fetch:
    """Family → its small checkpoint as one file; read only."""
    made: dict[str, Path] = {}

    def fetch(family: str) -> Path:
        if family not in made:
            made[family] = save_original(checkpoint(family), tmp_path_factory.mktemp("single") / f"{family}.safetensors")
        return made[family]

    return fetch


@pytest.fixture
def copy(single: Fetch, tmp_path: Path) -> Fetch:
    """A copy to damage."""
    return lambda family: Path(shutil.copy(single(family), tmp_path))


# -- the same as a folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_are_those_of_the_folder(family: str, checkpoint: Fetch, single: Fetch) -> None:
    folder, file = checkpoint(family), single(family)
    options = UNetOptions(config=str(folder))
    mine, theirs = open_checkpoint(str(file), options), open_checkpoint(folder, UNetOptions())
    parts = ["unet", "vae", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])]
    for part in parts:
        ours, oracle = Loader(mine, options).module(part), Loader(theirs, UNetOptions()).module(part)
        assert type(ours) is type(oracle) and not ours.training
        have, want = ours.state_dict(), oracle.state_dict()
        assert have.keys() == want.keys() and all(torch.equal(have[name], want[name]) for name in want), part
        assert all(parameter.device.type == "cpu" and parameter.requires_grad for parameter in ours.parameters())


def test_traits_of_a_file_are_those_of_its_folder(checkpoint: Fetch, single: Fetch, unread: None) -> None:
    for family in FAMILIES:
        folder = str(checkpoint(family))
        mine = UNetBranch.inspect(SPEC, UNetOptions(config=folder), str(single(family)))
        assert mine == UNetBranch.inspect(SPEC, UNetOptions(), folder), family


def test_dtype_and_half_precision_files(checkpoint: Fetch, copy: Fetch) -> None:
    file = copy("sd1")
    rewrite_tensors(file, lambda t: {name: x.half() if x.is_floating_point() else x for name, x in t.items()})
    options = UNetOptions(config=str(checkpoint("sd1")))
    branch = UNetBranch(SPEC, options, source=str(file), dtype="float16")
    assert branch.dtype == torch.float16 and branch.vae.dtype == torch.float32, "a VAE that overflows is upcast, as from a folder"
    assert UNetBranch(SPEC, options, source=str(file)).dtype == torch.float32


def test_a_file_is_shared_and_its_digest_is_the_files(checkpoint: Fetch, copy: Fetch) -> None:
    file = copy("sd1")
    options = UNetOptions(config=str(checkpoint("sd1")))
    one, two = (UNetBranch(SPEC, options, source=str(file)) for _ in range(2))
    assert one.unet is two.unet and one.text.encoder is two.text.encoder
    first = one.fingerprint()
    assert set(first) == {"unet", "text_encoder", "vae"}
    rewrite_tensors(file, lambda t: {name: x + 1 if "conv" in name else x for name, x in t.items()})
    assert UNetBranch(SPEC, options, source=str(file)).fingerprint() != first


def test_the_option_holds_for_folders_too(checkpoint: Fetch) -> None:
    folder = str(checkpoint("sd1"))
    assert UNetBranch.inspect(SPEC, UNetOptions(), folder).prediction_type == "epsilon"
    assert UNetBranch.inspect(SPEC, UNetOptions(prediction_type="v_prediction"), folder).prediction_type == "v_prediction"


def test_another_vocabulary_needs_its_tokenizer(checkpoint: Fetch, single: Fetch, tmp_path: Path) -> None:
    configs = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "configs"))
    shutil.rmtree(configs / "tokenizer")
    options = UNetOptions(config=str(configs))
    with pytest.raises(BadCheckpoint, match=r"has \d+ tokens, CLIP's tokenizer 49408[\s\S]*a folder 'tokenizer'"):
        UNetBranch.read_text(open_checkpoint(single("sd1"), options), options)


# -- refusals, before weights ---------------------------------------------------------------------------------------------------


def part_of(*prefixes: str, strip: str = "") -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda t: {name.removeprefix(strip): x for name, x in t.items() if name.startswith(prefixes)}


def lora(_: Any) -> dict[str, Any]:
    return {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": torch.zeros(1)}


def widened(tensors: dict[str, Any]) -> dict[str, Any]:
    name = UNET + "input_blocks.0.0.weight"
    return {**tensors, name: tensors[name].repeat(1, 2, 1, 1).contiguous()}


def refiner(tensors: dict[str, Any]) -> dict[str, Any]:
    kept = {name: x for name, x in tensors.items() if not name.startswith("conditioner.")}
    return {**kept, "conditioner.embedders.0.model.token_embedding.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("sd1", lora, "it is a LoRA, not a Stable Diffusion checkpoint"),
        ("sd1", part_of(VAE), "it is a VAE"),
        ("sd1", part_of(VAE, strip=VAE), "it is a VAE"),
        ("sd1", part_of(CLIP, strip=CLIP), "it is a text encoder"),
        ("sd1", part_of(UNET), "it is the UNet of a Stable Diffusion with text 32 wide alone, in the original layout"),
        ("sdxl", part_of(UNET, strip=UNET), "it is the UNet of SDXL alone"),
        ("sd1", lambda t: {"control_model.zero_convs.0.0.weight": torch.zeros(1)}, "it is a ControlNet"),
        ("sd1", widened, "SD 1.x whose UNet takes 8 channels: it upscales or edits pictures"),
        ("sdxl", refiner, "it is the refiner of SDXL"),
        ("sd1", lambda t: {"emb_params": torch.zeros(1, 2)}, "it is a textual inversion embedding"),
        ("sd1", lambda t: {"double_blocks.0.img_mlp.0.weight": torch.zeros(1)}, "it is a checkpoint of Flux"),
        ("sd1", lambda t: {"w": torch.zeros(1)}, r"a file of 1 tensors of an unknown kind \(the first is 'w'\)"),
        ("sd1", lambda t: {}, "a file without tensors"),
    ],
)
def test_other_files_say_what_they_are(
    checkpoint: Fetch, copy: Fetch, request: pytest.FixtureRequest, family: str, change: Any, message: str
) -> None:
    file = copy(family)
    rewrite_tensors(file, change)
    request.getfixturevalue("unread")
    with pytest.raises(BadCheckpoint, match=message):
        UNetBranch.inspect(SPEC, UNetOptions(config=str(checkpoint(family))), str(file))


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "the UNet of a folder in diffusers' layout"),
        ("vae/diffusion_pytorch_model.safetensors", "a VAE"),
        ("text_encoder/model.safetensors", r"a text encoder \(CLIP\)"),
    ],
)
def test_files_of_a_folder(checkpoint: Fetch, unread: None, file: str, what: str) -> None:
    with pytest.raises(BadCheckpoint, match=f"it is {what}, not a Stable Diffusion checkpoint"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(checkpoint("sd1") / file))


def test_a_diffusers_controlnet(checkpoint: Fetch, unread: None) -> None:
    file = checkpoint("controlnet-sd1") / "controlnet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(BadCheckpoint, match="it is a ControlNet"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(file))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_an_unknown_shape_needs_configs(checkpoint: Fetch, single: Fetch, unread: None, family: str) -> None:
    file = str(single(family))
    with pytest.raises(BadCheckpoint, match=r"of another shape than the published SD[\s\S]*starts with 8 channels[\s\S]*option config"):
        UNetBranch.inspect(SPEC, UNetOptions(), file)
    other = {"sd1": "sdxl", "sd2": "sdxl", "sdxl": "sd1"}[family]
    with pytest.raises(BadCheckpoint, match="of another shape than the configs in"):
        UNetBranch.inspect(SPEC, UNetOptions(config=str(checkpoint(other))), file)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated(copy: Fetch, checkpoint: Fetch, share: float) -> None:
    file = copy("sd1")
    truncate(file, share)
    with pytest.raises(BadCheckpoint, match="is damaged or truncated"):
        UNetBranch.inspect(SPEC, UNetOptions(config=str(checkpoint("sd1"))), str(file))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if ".emb_layers." not in k}, r"\d+ tensors of its unet are missing, among them"),
        (lambda t: {k: v for k, v in t.items() if "decoder.up.2" not in k}, r"\d+ tensors of its vae are missing"),
        (lambda t: {k: v for k, v in t.items() if "layers.1.mlp" not in k}, r"\d+ tensors of its text_encoder are missing"),
        (lambda t: {k: v[:1] if "middle_block.0.in" in k else v for k, v in t.items()}, "of its unet are of another shape"),
        (lambda t: {**t, UNET + "input_blocks.1.1.transformer_blocks.5.x": torch.zeros(1)}, "its unet has 1 tensors too many"),
    ],
)
def test_incomplete(checkpoint: Fetch, copy: Fetch, request: pytest.FixtureRequest, damage: Any, message: str) -> None:
    file = copy("sd1")
    rewrite_tensors(file, damage)
    request.getfixturevalue("unread")
    options = UNetOptions(config=str(checkpoint("sd1")))
    loader = Loader(open_checkpoint(file, options), options, share=False)
    (part,) = re.findall("unet|vae|text_encoder", message)
    with pytest.raises(BadCheckpoint, match=message):
        loader.module(part)


def test_without_a_vae(checkpoint: Fetch, copy: Fetch) -> None:
    file = copy("sd1")
    rewrite_tensors(file, lambda t: {name: x for name, x in t.items() if not name.startswith(VAE)})
    with pytest.raises(BadCheckpoint, match="it has no VAE, so nothing tells its latent space"):
        UNetBranch.inspect(SPEC, UNetOptions(config=str(checkpoint("sd1"))), str(file))
    options = UNetOptions(config=str(checkpoint("sd1")), latent_space="sd")
    spatial = BranchSpec(id="x/z", summary="", role="spatial", options=UNetOptions)
    assert UNetBranch(spatial, options, source=str(file)).vae is None
    with pytest.raises(BadCheckpoint, match="it has no 'vae'"):
        UNetBranch(SPEC, options, source=str(file))


def test_files_that_are_not_there_and_other_endings(tmp_path: Path) -> None:
    for source, message in (
        ("models/model.safetensors", "there is no such file"),
        (str(tmp_path / "x.ckpt"), "there is no such file"),
    ):
        with pytest.raises(BadCheckpoint, match=message):
            open_checkpoint(source, UNetOptions())
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(BadCheckpoint, match=r"model.txt is a text \('hello'\), not weights"):
        open_checkpoint(tmp_path / "model.txt", UNetOptions())
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(BadCheckpoint, match="is a pickle, whatever its name says"):
        open_checkpoint(tmp_path / "model.safetensors", UNetOptions())


# -- pickles ------------------------------------------------------------------------------------------------------------------


class Mischief:
    """What a pickle can do."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def test_pickles(single: Fetch, checkpoint: Fetch, tmp_path: Path) -> None:
    tensors = load_file(str(single("sd1")))
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": tensors, "global_step": 470000}, file)
    options = UNetOptions(config=str(checkpoint("sd1")))
    with pytest.raises(BadCheckpoint, match=r"it is pickled \(.ckpt\): reading it could run any code[\s\S]*safetensors"):
        UNetBranch.inspect(SPEC, options, str(file))
    trusted = UNetOptions(config=str(checkpoint("sd1")), allow_pickle=True)
    theirs = Loader(open_checkpoint(file, trusted), trusted).module("unet")
    ours = Loader(open_checkpoint(single("sd1"), options), options).module("unet")
    assert all(torch.equal(a, b) for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True))
    torch.save({"state_dict": tensors, "callbacks": Mischief()}, file)
    with pytest.raises(BadCheckpoint, match="it cannot be unpickled"):
        open_checkpoint(file, trusted)


# -- kinds, by other prefixes ---------------------------------------------------------------------------------------------------


def test_other_prefixes(checkpoint: Fetch, tmp_path: Path) -> None:
    """The tables of GLIGEN's own release are called model, autoencoder and text_encoder; older text encoders lack text_model."""
    tensors = original_tensors(checkpoint("gligen"))
    table = {UNET: "model.", VAE: "autoencoder.", CLIP + "text_model.": "text_encoder.transformer."}
    renamed = {next(new + name.removeprefix(old) for old, new in table.items() if name.startswith(old)): x for name, x in tensors.items()}
    kind = identify({name: tuple(x.shape) for name, x in renamed.items()})
    assert kind.family == "sd1" and kind.gated and kind.what == "a single file of GLIGEN on SD 1.x in the original layout"
    save_file({name: x.contiguous() for name, x in renamed.items()}, str(tmp_path / "gligen.safetensors"))
    options = UNetOptions(config=str(checkpoint("gligen")))
    opened = open_checkpoint(tmp_path / "gligen.safetensors", options)
    for part in ("unet", "vae", "text_encoder"):
        want = Loader(open_checkpoint(checkpoint("gligen"), UNetOptions()), UNetOptions()).module(part).state_dict()
        have = Loader(opened, options).module(part).state_dict()
        assert all(torch.equal(have[name], want[name]) for name in want), part
