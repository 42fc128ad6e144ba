"""GLIGEN's layers put onto another branch's UNet, from checkpoints in every layout; the base stays as it is. All offline."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadOption, Incompatible, UnknownName
from realcompo.registry import Registry
from realcompo.testing.checkpoints import rewrite_tensors, save_checkpoint, truncate
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.originals import CLIP, UNET, VAE, save_original

Fetch = Callable[[str], Path]
PROMPT, NEGATIVE = "a photo of a cat and a dog", "a blue car"
BOXES = Boxes({"a cat": (0.05, 0.3, 0.5, 0.95), "a dog": (0.5, 0.3, 0.95, 0.95)})
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def added(name: str) -> bool:
    return ".fuser." in name or "position_net." in name


@pytest.fixture(scope="module")
def bare(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small GLIGEN checkpoint without its gated layers: the base that it was made of."""
    folder = Path(shutil.copytree(checkpoint("gligen"), tmp_path_factory.mktemp("base") / "sd"))
    rewrite_tensors(folder / WEIGHTS, lambda t: {name: x for name, x in t.items() if not added(name)})
    config = json.loads((folder / "unet/config.json").read_text())
    (folder / "unet/config.json").write_text(json.dumps({**config, "attention_type": "default"}))
    (folder / "model_index.json").unlink()
    return str(folder)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another SD 1.x, such as a fine-tune."""
    return str(save_checkpoint(tmp_path_factory.mktemp("other") / "sd", "sd1", seed=5))


def draw(branch: Any, boxes: Boxes | None = BOXES) -> torch.Tensor:
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    return draw_alone(branch, request((PROMPT,), negatives=(NEGATIVE,), conditions=(boxes,)), noise)


def grafted(source: Any, base_source: str | None, id: str = "sd/v1-5", **options: Any) -> Any:
    return Registry().branch("gligen/box", {"base": id, "base_source": base_source, **options}, source=str(source))


# -- parity -------------------------------------------------------------------------------------------------------------------


def test_on_its_own_base_it_is_the_checkpoint(checkpoint: Fetch, bare: str) -> None:
    whole = Registry().branch("gligen/box", source=str(checkpoint("gligen")))
    back = grafted(checkpoint("gligen"), bare)
    want, have = whole.unet.state_dict(), back.unet.state_dict()
    assert want.keys() == have.keys() and all(torch.equal(want[name], have[name]) for name in want)
    assert torch.equal(draw(whole), draw(back))
    assert replace(back.traits, family="") == replace(whole.traits, family="") and back.traits.max_objects == 30
    assert back.traits.family.endswith(" with GLIGEN") and back.unet.config.attention_type == "gated"
    again = grafted(checkpoint("gligen"), str(checkpoint("gligen")))  # the base may have gates of its own: they are replaced
    assert torch.equal(draw(again), draw(back))


@pytest.mark.deep
def test_on_another_base_it_is_neither(checkpoint: Fetch, bare: str, other: str) -> None:
    branch = grafted(checkpoint("gligen"), other)
    ours, whole = draw(branch), draw(Registry().branch("gligen/box", source=str(checkpoint("gligen"))))
    base = draw(Registry().branch("sd/v1-5", source=other), None)
    assert relative(whole, ours) > 1e-1 and relative(base, ours) > 1e-1
    moved = Boxes({"a cat": (0.5, 0.0, 1.0, 0.3), "a dog": (0.5, 0.3, 0.95, 0.95)})
    assert relative(ours, draw(branch, moved)) > 1e-2, "its boxes act"
    off = grafted(checkpoint("gligen"), other, grounding_share=0.0)
    assert relative(base, draw(off)) < 1e-6, "and without them it is its base"


@pytest.mark.deep
def test_the_base_is_left_as_it_is(checkpoint: Fetch, other: str) -> None:
    base = Registry().branch("sd/v1-5", source=other)
    before = {name: tensor.clone() for name, tensor in base.unet.state_dict().items()}
    drawn = draw(base, None)
    branch = grafted(checkpoint("gligen"), other)
    draw(branch)
    after = base.unet.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(draw(base, None), drawn) and base.unet.config.attention_type == "default"
    assert base.unet.conv_in.weight is branch.unet.conv_in.weight, "one memory for what both have"
    assert base.text.encoder is branch.text.encoder and branch.vae is None
    assert not any(added(name) for name, _ in base.unet.named_parameters())


def test_fingerprints_name_both(checkpoint: Fetch, bare: str, other: str, tmp_path: Path) -> None:
    one, two = (grafted(checkpoint("gligen"), base).fingerprint() for base in (bare, other))
    assert set(one) == {"unet", "text_encoder", "gligen"}
    assert one["gligen"] == two["gligen"] and one["unet"] != two["unet"]
    folder = Path(shutil.copytree(checkpoint("gligen"), tmp_path / "g"))
    rewrite_tensors(folder / WEIGHTS, lambda t: {name: x + 1 if added(name) else x for name, x in t.items()})
    assert grafted(folder, other).fingerprint()["gligen"] != two["gligen"]


def test_it_moves_with_its_networks(checkpoint: Fetch, other: str) -> None:
    branch = grafted(checkpoint("gligen"), other)
    branch.to(dtype="float64")
    assert {parameter.dtype for parameter in branch.unet.parameters()} == {torch.float64}
    half = grafted(checkpoint("gligen"), other, allow_pickle=False)
    assert half.dtype == torch.float32
    low = Registry().branch("gligen/box", {"base": "sd/v1-5", "base_source": other}, source=str(checkpoint("gligen")), dtype="bfloat16")
    assert {parameter.dtype for parameter in low.unet.parameters()} == {torch.bfloat16}


# -- layouts ------------------------------------------------------------------------------------------------------------------


def only_gates(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(UNET): x for name, x in tensors.items() if added(name)}


def only_unet(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda t: {prefix + name.removeprefix(UNET): x for name, x in t.items() if name.startswith(UNET)}


@pytest.mark.parametrize("change", [dict, only_gates, only_unet(""), only_unet("model."), only_unet(UNET)])
def test_original_layouts_on_a_base(checkpoint: Fetch, bare: str, tmp_path: Path, change: Any) -> None:
    """A whole file; the gated layers alone, as they are passed around; the UNet alone, as it was released."""
    file = save_original(checkpoint("gligen"), tmp_path / "gligen.safetensors", change)
    branch = grafted(file, bare)
    want = Registry().branch("gligen/box", source=str(checkpoint("gligen"))).unet.state_dict()
    have = branch.unet.state_dict()
    assert want.keys() == have.keys() and all(torch.equal(want[name], have[name]) for name in want)


def release(tensors: dict[str, Any]) -> dict[str, Any]:
    """As GLIGEN's authors saved it, a table of tables: ``model``, ``autoencoder``, ``text_encoder``, and numbers of the diffusion."""
    fronts = {UNET: "model.", VAE: "autoencoder.", CLIP: "text_encoder.transformer."}
    found = {new + name.removeprefix(old): x for name, x in tensors.items() for old, new in fronts.items() if name.startswith(old)}
    return {**found, "diffusion.betas": torch.ones(1000), "diffusion.alphas_cumprod": torch.ones(1000)}


@pytest.mark.parametrize("half", [False, True], ids=["whole", "fp16"])
@pytest.mark.parametrize("layout", ["release", "web UI", "UNet with the rest", "UNet of diffusers with the rest"])
def test_files_that_stand_alone(checkpoint: Fetch, tmp_path: Path, layout: str, half: bool) -> None:
    """The whole checkpoint in one file, as the first release and as web UIs name it, and its UNet alone beside a plain checkpoint."""
    folder = checkpoint("gligen")
    want = Registry().branch("gligen/box", source=str(folder)).unet.state_dict()
    halved = (lambda t: {name: x.half() for name, x in t.items()}) if half else dict
    file, options = tmp_path / "gligen.safetensors", {"config": str(folder)}
    if layout.endswith("rest"):
        options = {"rest": str(folder)}
    if layout == "UNet of diffusers with the rest":
        shutil.copy(folder / WEIGHTS, file)
        rewrite_tensors(file, halved)
    else:
        change = {"release": release, "web UI": dict, "UNet with the rest": only_unet(UNET)}[layout]
        save_original(folder, file, lambda t: halved(change(t)))
    have = Registry().branch("gligen/box", options, source=str(file)).unet.state_dict()
    assert want.keys() == have.keys()
    assert all(torch.equal(x.half().float() if half else x, have[name]) for name, x in want.items())


@pytest.mark.parametrize("change", ["original", "web UI's prefix", "diffusers"])
def test_pruned_gates_in_fp16(checkpoint: Fetch, bare: str, tmp_path: Path, change: str) -> None:
    """The gated layers alone, halved, as ComfyUI's folder of GLIGEN has them; and by diffusers' names."""
    file = tmp_path / "gligen_sd14_textbox_pruned_fp16.safetensors"
    if change == "diffusers":
        shutil.copy(checkpoint("gligen") / WEIGHTS, file)
        rewrite_tensors(file, lambda t: {name: x.half() for name, x in t.items() if added(name)})
    else:
        front = UNET if change == "web UI's prefix" else ""
        save_original(checkpoint("gligen"), file, lambda t: {front + name: x.half() for name, x in only_gates(t).items()})
    want = Registry().branch("gligen/box", source=str(checkpoint("gligen"))).unet.state_dict()
    have = grafted(file, bare).unet.state_dict()
    assert want.keys() == have.keys()
    assert all(torch.equal(x.half().float() if added(name) else x, have[name]) for name, x in want.items())


def test_a_whole_original_file_stands_alone(checkpoint: Fetch, tmp_path: Path) -> None:
    file = save_original(checkpoint("gligen"), tmp_path / "gligen.safetensors")
    branch = Registry().branch("gligen/box", {"config": str(checkpoint("gligen"))}, source=str(file))
    whole = Registry().branch("gligen/box", source=str(checkpoint("gligen")))
    assert relative(draw(whole), draw(branch)) < 1e-6
    assert branch.traits.max_objects == 30


def test_a_single_file_as_base(checkpoint: Fetch, other: str, tmp_path: Path) -> None:
    file = save_original(Path(other), tmp_path / "sd.safetensors")
    branch = grafted(checkpoint("gligen"), str(file), base_options={"config": other})
    assert relative(draw(grafted(checkpoint("gligen"), other)), draw(branch)) < 1e-6


@pytest.mark.deep
def test_the_unet_of_a_folder_and_a_pipeline(checkpoint: Fetch, bare: str) -> None:
    from diffusers import StableDiffusionGLIGENPipeline

    whole = draw(Registry().branch("gligen/box", source=str(checkpoint("gligen"))))
    assert torch.equal(draw(grafted(checkpoint("gligen") / WEIGHTS, bare)), whole)
    pipe = StableDiffusionGLIGENPipeline.from_pretrained(str(checkpoint("gligen")), safety_checker=None)
    branch = Registry().branch("gligen/box", {"base": "sd/v1-5", "base_source": bare}, source=pipe)
    assert torch.equal(draw(branch), whole) and len(branch.fingerprint()["gligen"]) == 64


# -- refusals -----------------------------------------------------------------------------------------------------------------


def test_the_gates_alone_need_a_base(checkpoint: Fetch, tmp_path: Path) -> None:
    for change, what in ((only_gates, "the gated layers of GLIGEN alone"), (only_unet(""), "the UNet of GLIGEN on")):
        file = save_original(checkpoint("gligen"), tmp_path / "gates.safetensors", change)
        with pytest.raises(BadCheckpoint, match=rf"it is {what}[\s\S]*set the option base to a branch of SD 1.x"):
            Registry().inspect("gligen/box", source=str(file))


@pytest.mark.parametrize(
    ("family", "base", "message"),
    [
        ("sd1", "sd/v1-5", "it has no gated layers of GLIGEN: it is a StableDiffusionPipeline"),
        ("gligen", "sd/xl-base", "no such|do not fit the base"),
    ],
)
def test_other_checkpoints(checkpoint: Fetch, other: str, family: str, base: str, message: str) -> None:
    source = str(checkpoint("sdxl")) if base == "sd/xl-base" else other
    with pytest.raises((BadCheckpoint, Incompatible), match=message):
        Registry().inspect("gligen/box", {"base": base, "base_source": source}, str(checkpoint(family)))


def test_a_base_of_another_shape(checkpoint: Fetch, tmp_path: Path) -> None:
    """Another width of text, told from shapes before the base's weights are read."""
    folder = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "wide"))
    for file, key in (("unet/config.json", "cross_attention_dim"), ("text_encoder/config.json", "hidden_size")):
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**config, key: 64}))
    with pytest.raises(Incompatible, match=r"do not fit the base .*wide.*: \d+ tensors differ, among them"):
        Registry().inspect("gligen/box", {"base": "sd/v1-5", "base_source": str(folder)}, str(checkpoint("gligen")))


def test_a_base_that_is_declared_to_be_another_kind() -> None:
    with pytest.raises(Incompatible, match=r"'gligen/box' is GLIGEN for SD 1\.x, its base 'sd/v2-1' is SD 2\.x"):
        Registry().inspect("gligen/box", {"base": "sd/v2-1"})
    assert Registry().inspect("gligen/box", {"base": "sd/v1-4"}).family == "SD 1.x with GLIGEN"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"base": "sd/v1-55"}, UnknownName, "no branch is called 'sd/v1-55'"),
        ({"base": "gligen/box"}, BadOption, "'gligen/box' is no base for GLIGEN: it is a spatial branch"),
        ({"base": "sd/v1-5", "base_options": {"allow_pickle": True}}, BadOption, "base_options turns allow_pickle on"),
        ({"base": "sd/v1-5", "base_options": {"no_such": 1}}, BadOption, "has no option 'no_such'"),
    ],
)
def test_bad_bases(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Registry().inspect("gligen/box", options)


def test_damaged_gates(checkpoint: Fetch, bare: str, tmp_path: Path) -> None:
    file = save_original(checkpoint("gligen"), tmp_path / "gates.safetensors", only_gates)
    rewrite_tensors(file, lambda t: {name: x for name, x in t.items() if "middle_block" not in name})
    with pytest.raises(Incompatible, match=r"among them 'mid_block\.attentions\.0[^']*' \(missing"):
        Registry().inspect("gligen/box", {"base": "sd/v1-5", "base_source": bare}, str(file))
    truncate(file)
    with pytest.raises(BadCheckpoint, match="damaged or truncated"):
        Registry().inspect("gligen/box", {"base": "sd/v1-5", "base_source": bare}, str(file))
    pickled = tmp_path / "gates.bin"
    torch.save({"model": {}}, pickled)
    with pytest.raises(BadCheckpoint, match=r"it is pickled \(.bin\)"):
        Registry().inspect("gligen/box", {"base": "sd/v1-5", "base_source": bare}, str(pickled))


def test_phrases_are_located_in_the_bases_words(checkpoint: Fetch, bare: str) -> None:
    registry = Registry()
    from realcompo.specs import BranchSpec

    spec = registry.find(BranchSpec, "gligen/box")
    options = registry.options(spec, {"base": "sd/v1-5", "base_source": bare})
    regions = request((PROMPT,), conditions=(BOXES,)).regions.pictures[0]
    found = registry.load(spec).locate(spec, options, PROMPT, regions, str(checkpoint("gligen")))
    assert sorted(found.values()) == [("cat",), ("dog",)]
