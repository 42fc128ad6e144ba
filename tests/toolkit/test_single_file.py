"""Single files in the original layout: told from their header, refused before their weights, loaded equal to the folder. All offline."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
from collections.abc import Callable, Mapping
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
    OPEN_CLIP,
    UNET,
    VAE,
    XL_CLIP,
    XL_OPEN_CLIP,
    clip_tensors,
    open_clip_tensors,
    original_tensors,
    save_original,
    unet_tensors,
    vae_tensors,
)
from realcompo.toolkit import Loader, TextEncoding, UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.configs import clip_tokenizer, published
from realcompo.toolkit.conversion import empty_network
from realcompo.toolkit.kinds import identify

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl", "gligen")
Fetch = Callable[[str], Path]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)


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


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, no tensor may be read."""
    import safetensors

    class Header:
        def __init__(self, path: Any, framework: str) -> None:
            assert framework == "numpy", "only names and shapes"
            self.file = original(path, framework=framework)

        def __enter__(self) -> Any:
            opened = self.file.__enter__()
            return type("Names", (), {name: getattr(opened, name) for name in ("keys", "get_slice", "metadata")})

        def __exit__(self, *_: Any) -> None:
            self.file.__exit__(None, None, None)

    original = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Header)


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


# -- published architectures ---------------------------------------------------------------------------------------------------


PUBLISHED = {
    ("sd1", "unet"): 859_520_964,
    ("sd2", "unet"): 865_910_724,
    ("sdxl", "unet"): 2_567_463_684,
    ("sd1", "vae"): 83_653_863,
    ("sd2", "vae"): 83_653_863,
    ("sdxl", "vae"): 83_653_863,
    ("sd1", "text_encoder"): 123_060_480,
    ("sd2", "text_encoder"): 340_387_840,
    ("sdxl", "text_encoder"): 123_060_480,
    ("sdxl", "text_encoder_2"): 694_659_840,
}
"""How many parameters the published networks have."""


@pytest.fixture(scope="module")
def full() -> Mapping[str, dict[str, tuple[int, ...]]]:
    """Family → names and shapes of a published single file. The networks have no numbers."""
    networks: dict[tuple[str, str], Any] = {}
    for family, part in PUBLISHED:
        config = published(family)[part]
        library = "diffusers" if "_class_name" in config else "transformers"
        name = config.get("_class_name") or config["architectures"][0]
        networks[family, part] = empty_network(config, library, name)
        assert sum(parameter.numel() for parameter in networks[family, part].parameters()) == PUBLISHED[family, part], (family, part)

    def state(family: str, part: str) -> dict[str, Any]:
        return dict(networks[family, part].state_dict())

    found = {}
    for family in ("sd1", "sd2", "sdxl"):
        tensors = {UNET + name: t for name, t in unet_tensors(state(family, "unet"), networks[family, "unet"].config).items()}
        tensors |= {VAE + name: t for name, t in vae_tensors(state(family, "vae"), networks[family, "vae"].config).items()}
        if family == "sd2":
            tensors |= {OPEN_CLIP + name: t for name, t in open_clip_tensors(state(family, "text_encoder")).items()}
        else:
            prefix = CLIP if family == "sd1" else XL_CLIP
            tensors |= {prefix + name: t for name, t in clip_tensors(state(family, "text_encoder")).items()}
        if family == "sdxl":
            tensors |= {XL_OPEN_CLIP + name: t for name, t in open_clip_tensors(state(family, "text_encoder_2")).items()}
        found[family] = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return found


def hollow(file: Path, shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Path:
    """A safetensors file of these shapes in half precision, whose numbers take no room on the disk."""
    table: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(table).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + end)
    return file


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("sd1", {}, ("sd", "SD 1.x", "epsilon", (512, 512))),
        ("sd1", {"prediction_type": "v_prediction"}, ("sd", "SD 1.x", "v_prediction", (512, 512))),
        ("sd2", {"prediction_type": "v_prediction"}, ("sd", "SD 2.x", "v_prediction", (768, 768))),
        ("sd2", {"prediction_type": "epsilon"}, ("sd", "SD 2.x", "epsilon", (512, 512))),
        ("sdxl", {}, ("sdxl", "SDXL", "epsilon", (1024, 1024))),
    ],
)
def test_a_published_file_needs_no_configs(full: Any, tmp_path: Path, unread: None, family: str, options: Any, expected: Any) -> None:
    file = hollow(tmp_path / "model.safetensors", full[family])
    found = UNetBranch.inspect(SPEC, UNetOptions(**options), str(file))
    assert (found.latent.name, found.family, found.prediction_type, found.default_size) == expected
    assert found.schedule.process == (1000, 0.00085, 0.012, "scaled_linear", False)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_tensor_of_a_published_file_has_its_place(full: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """The loader's comparison of names and shapes passes; then it would read."""
    options = UNetOptions(prediction_type="epsilon")
    opened = open_checkpoint(hollow(tmp_path / "model.safetensors", full[family]), options)
    monkeypatch.setattr("realcompo.toolkit.tensor_files.TensorFile.read", lambda *_: (_ for _ in ()).throw(InterruptedError))
    for part in [part for there, part in PUBLISHED if there == family]:
        with pytest.raises(InterruptedError):
            Loader(opened, options, share=False).module(part)


def test_what_a_file_predicts_is_asked_for(full: Any, tmp_path: Path) -> None:
    file = hollow(tmp_path / "model.safetensors", full["sd2"])
    with pytest.raises(BadCheckpoint, match=r"SD 2.x in the original layout, and nothing in it tells[\s\S]*option prediction_type"):
        UNetBranch.inspect(SPEC, UNetOptions(), str(file))
    for mark, told in (("v", "v_prediction"), ("epsilon", "epsilon")):  # trainers write it down
        hollow(file, full["sd2"], **{"modelspec.prediction_type": mark})
        assert UNetBranch.inspect(SPEC, UNetOptions(), str(file)).prediction_type == told
    hollow(file, {**full["sdxl"], "v_pred": (0,), "ztsnr": (0,)})
    found = UNetBranch.inspect(SPEC, UNetOptions(), str(file))
    assert found.prediction_type == "v_prediction" and found.schedule.rescale_betas_zero_snr


def test_the_option_holds_for_folders_too(checkpoint: Fetch) -> None:
    folder = str(checkpoint("sd1"))
    assert UNetBranch.inspect(SPEC, UNetOptions(), folder).prediction_type == "epsilon"
    assert UNetBranch.inspect(SPEC, UNetOptions(prediction_type="v_prediction"), folder).prediction_type == "v_prediction"


# -- the tokenizer ------------------------------------------------------------------------------------------------------------


def test_the_shipped_tokenizer_is_clips() -> None:
    """Ids as they are published in CLIP's and transformers' own documentation."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("hello world!")["input_ids"] == [49406, 3306, 1002, 256, 49407]
    padded = [clip_tokenizer(pad)("a dog", padding="max_length")["input_ids"] for pad in ("<|endoftext|>", "!")]
    assert [ids[:4] for ids in padded] == [[49406, 320, 1929, 49407]] * 2 and [ids[-1] for ids in padded] == [49407, 0]
    assert all(len(ids) == 77 for ids in padded)


def test_phrases_are_found_with_it(full: Any, tmp_path: Path, unread: None) -> None:
    file = hollow(tmp_path / "model.safetensors", full["sd1"])
    text = TextEncoding.from_checkpoint(open_checkpoint(file, UNetOptions()))
    assert text.token_texts("a Photo of a cat", [2, 5]) == ("Photo", "cat")
    assert not text.tokenizer("naïve 🎈 x")["input_ids"].count(49408)


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
