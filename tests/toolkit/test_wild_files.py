"""Single files and folders as they are passed around, each loaded by its path alone and equal to the plain folder to the bit. All offline.

What is written here is written by `realcompo.testing.originals` and `.wild`, which know the layouts from what is published of them.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realcompo.errors import BadCheckpoint, Mended
from realcompo.registry import Registry
from realcompo.testing.checkpoints import rewrite_tensors
from realcompo.testing.originals import UNET, VAE, original_tensors, save_original
from realcompo.testing.wild import in_eight_bits, shard, with_average
from realcompo.toolkit.averaged import dotted
from tests import sliced

Fetch = Callable[[str], Path]
Change = Callable[[dict[str, Any]], Mapping[str, Any]]
IDS = {"sd1": "sd/v1-5", "sd2-v": "sd/v2-1", "sdxl": "sd/xl-base"}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def written(checkpoint: Fetch, tmp_path: Path) -> Callable[[str, Change], Path]:
    """Family, change → its small checkpoint as a single file, with the configs of its shape (none of the published ones) beside it."""

    def write(family: str, change: Change = dict) -> Path:
        folder = tmp_path / family
        if not folder.exists():
            shutil.copytree(checkpoint(family), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        return save_original(checkpoint(family), folder / "model.safetensors", change)

    return write


def networks(family: str, source: Path, **options: Any) -> dict[str, dict[str, torch.Tensor]]:
    branch = Registry().branch(IDS[family], options, source=str(source))
    return {part: network.state_dict() for part, network in branch.networks().items()}


@cache
def as_it_is(family: str, folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Of a small checkpoint as it is."""
    return networks(family, folder)


def equal(mine: Any, theirs: Any) -> bool:
    """Every tensor of every network, to the bit."""
    return mine.keys() == theirs.keys() and all(
        mine[part].keys() == theirs[part].keys() and all(torch.equal(mine[part][name], theirs[part][name]) for name in theirs[part])
        for part in theirs
    )


def as_folder(checkpoint: Fetch, family: str, change: Change, place: Path) -> Path:
    """The folder of a family whose tensors went through a change each, whatever their names."""
    folder = Path(shutil.copytree(checkpoint(family), place))
    for file in folder.glob("*/*.safetensors"):
        rewrite_tensors(file, change)
    return folder


# -- averaged weights ----------------------------------------------------------------------------------------------------------


def larger(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor * 2 for name, tensor in tensors.items() if name.startswith(UNET)}


@pytest.mark.parametrize("family", sliced([(family,) for family in IDS], 3))
def test_average_alone(checkpoint: Fetch, written: Any, family: str) -> None:
    """Names without dots get them back: every tensor of SD 1.x, 2.x and SDXL; and it is said."""
    file = written(family, lambda t: with_average(t, t, alone=True))
    with pytest.warns(Mended, match=r"averaged weights \(EMA\) alone, which are taken"):
        mine = networks(family, file)
    assert equal(mine, as_it_is(family, checkpoint(family)))


def test_average_beside_the_plain_weights(checkpoint: Fetch, written: Any) -> None:
    file = written("sd1", lambda t: with_average(t, larger(t)))
    with pytest.warns(Mended, match="beside the plain ones, which are taken; the option ema = true"):
        plain = networks("sd1", file)
    average = networks("sd1", file, ema=True)
    want = as_it_is("sd1", checkpoint("sd1"))
    assert equal(plain, want) and not equal(average, want), "two networks of one file are kept apart"
    assert all(torch.equal(average["unet"][name], 2 * want["unet"][name]) for name in want["unet"])


def test_average_that_is_not_there_or_not_whole(written: Any) -> None:
    with pytest.raises(BadCheckpoint, match=r"holds no averaged weights \(EMA\)"):
        networks("sd1", written("sd1"), ema=True)
    lost = "model_ema.diffusion_modelmiddle_block0in_layers2weight"
    file = written("sd1", lambda t: {name: x for name, x in with_average(t, t).items() if name != lost})
    with pytest.raises(BadCheckpoint, match=r"1 of its averaged weights .* missing, among them that of 'model.*middle_block.0.in_layers.2"):
        networks("sd1", file, ema=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Mended)
        file = written("sd1", lambda t: {name: x for name, x in with_average(t, t, alone=True).items() if name != lost})
        with pytest.raises(BadCheckpoint, match="tensors of its unet are missing"):
            networks("sd1", file)
    file = written("sd1", lambda t: {**with_average(t, t, alone=True), "model_ema.diffusion_modelinput_blocks11odd": torch.ones(1)})
    with pytest.raises(BadCheckpoint, match=r"'model_ema\.diffusion_modelinput_blocks11odd', which is none of a UNet"):
        networks("sd1", file)


@pytest.mark.parametrize("family", IDS)
def test_every_name_gets_its_dots_back(checkpoint: Fetch, family: str) -> None:
    names = [name for name in original_tensors(checkpoint(family)) if name.startswith(UNET)]
    assert [dotted(name.removeprefix(UNET).replace(".", "")) for name in names] == names
    assert dotted(names[0].removeprefix(UNET).replace(".", "") + "odd") is None


# -- numbers -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sliced([("float8_e4m3fn",), ("bfloat16",), ("float8_e5m2",), ("float16",)], 2))
def test_narrow_numbers(checkpoint: Fetch, written: Any, tmp_path: Path, kind: str) -> None:
    """All of a file's numbers, text encoder and VAE too; SDXL's second text encoder, whose projection is turned, with them."""
    dtype = getattr(torch, kind)
    family = "sdxl" if kind == "float8_e4m3fn" else "sd1"

    def narrow(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}

    def back(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: x.to(dtype).float() if x.is_floating_point() else x for name, x in tensors.items()}

    want = networks(family, as_folder(checkpoint, family, back, tmp_path / "folder"))
    assert equal(networks(family, written(family, narrow)), want)
    assert not equal(want, as_it_is(family, checkpoint(family)))


@pytest.mark.parametrize("style", sliced([("scale_weight",), ("weight_scale",), ("rows",)], 2))
def test_eight_bits_with_scales(checkpoint: Fetch, written: Any, style: str) -> None:
    """W = scale · W₈: the plain file of these products is the oracle."""
    original = original_tensors(checkpoint("sd1"))
    stored, meant = in_eight_bits(original, UNET, style)
    assert any("scale" in name for name in stored)
    want = networks("sd1", written("sd1", lambda _: meant))
    mine = networks("sd1", written("sd1", lambda _: stored))
    assert equal(mine, want) and not equal(mine, as_it_is("sd1", checkpoint("sd1")))


def test_scales_and_numbers_that_cannot_be_read(checkpoint: Fetch, written: Any) -> None:
    stored, _ = in_eight_bits(original_tensors(checkpoint("sd1")), UNET, "weight_scale")
    scale = next(name for name in stored if name.endswith("to_q.weight_scale"))
    with pytest.raises(BadCheckpoint, match=rf"the scale '{scale}' of shape \(3, 2\)[\s\S]*quantised in blocks"):
        networks("sd1", written("sd1", lambda _: {**stored, scale: torch.ones(3, 2)}))
    weight = scale.replace(".weight_scale", ".weight")
    with pytest.raises(BadCheckpoint, match=rf"1 tensors of its unet are stored as I8, among them '{weight}': it is quantised"):
        networks("sd1", written("sd1", lambda t: {**t, weight: t[weight].to(torch.int8)}))
    with pytest.raises(BadCheckpoint, match="too many, among them"):
        networks("sd1", written("sd1", lambda t: {**t, scale: torch.ones(1)}))  # a scale of a weight that is not in eight bits


# -- what is old, or a mark ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sliced([(family,) for family in IDS], 3))
def test_stale_buffers(checkpoint: Fetch, written: Any, family: str) -> None:
    """`position_ids` as merged files have them (rounded to floating numbers, some lost), the schedule's tables, a training's counters."""

    def stale(tensors: dict[str, Any]) -> dict[str, Any]:
        ids = {name.replace("position_embedding.weight", "position_ids"): torch.arange(77.0)[None] for name in tensors}
        ids = {name: x for name, x in ids.items() if name.endswith("position_ids")}
        tables = {"alphas_cumprod": torch.ones(1000), "betas": torch.ones(1000), "model_ema.num_updates": torch.tensor(3)}
        return {**tensors, **ids, **tables, "global_step": torch.tensor(470000)}

    assert equal(networks(family, written(family, stale)), as_it_is(family, checkpoint(family)))


def test_marks_of_sdxl_derivatives(checkpoint: Fetch, written: Any) -> None:
    """`v_pred` and `ztsnr`, empty tensors: what is predicted and a schedule that ends in pure noise are taken from them."""
    empty = torch.zeros(0)
    file = written("sdxl", lambda t: {**t, "v_pred": empty, "ztsnr": empty})
    branch = Registry().branch("sd/xl-base", source=str(file))
    assert branch.traits.prediction_type == "v_prediction" and branch.traits.schedule.rescale_betas_zero_snr
    assert equal(networks("sdxl", file), as_it_is("sdxl", checkpoint("sdxl")))
    told = Registry().inspect("sd/xl-base", {"prediction_type": "epsilon"}, str(file))
    assert told.prediction_type == "epsilon", "the option has the last word"
    plain = Registry().inspect("sd/xl-base", {}, str(written("sdxl")))
    assert plain.prediction_type == "epsilon" and not plain.schedule.rescale_betas_zero_snr


def test_a_tensor_of_the_unet_that_nobody_reads(checkpoint: Fetch, written: Any) -> None:
    """A network that lacks it would draw otherwise, as one that is told its guidance does: refused by name; junk beside the UNet is not."""
    more = {f"{UNET}time_embed.cond_proj.weight": torch.zeros(32, 256)}
    with pytest.raises(BadCheckpoint, match=r"1 tensors too many, among them 'time_embed\.cond_proj\.weight'"):
        networks("sd1", written("sd1", lambda t: {**t, **more}))
    assert equal(networks("sd1", written("sd1", lambda t: {**t, "cond_proj.weight": torch.zeros(3)})), as_it_is("sd1", checkpoint("sd1")))


# -- files that lack a part ------------------------------------------------------------------------------------------------------


def without(*fronts: str) -> Change:
    return lambda tensors: {name: x for name, x in tensors.items() if not name.startswith(fronts)}


def unet_alone(front: str) -> Change:
    return lambda tensors: {front + name.removeprefix(UNET): x for name, x in tensors.items() if name.startswith(UNET)}


EVERY_RUN = ["without text encoders", "without a VAE", "UNet alone", "UNet alone, diffusers"]
LAYOUTS = [*EVERY_RUN, "UNet alone, bare", "UNet alone, fp16"]


@pytest.mark.parametrize(
    ("family", "layout"),
    [
        pytest.param(family, layout, marks=[] if family == "sd1" and layout in EVERY_RUN else pytest.mark.deep)
        for family in IDS
        for layout in LAYOUTS
    ],
)
def test_what_a_file_lacks_comes_from_the_rest(checkpoint: Fetch, tmp_path: Path, family: str, layout: str) -> None:
    """Beside a folder, whose other parts it takes; far from any config."""
    changes = {
        "without text encoders": without("cond"),
        "without a VAE": without(VAE),
        "UNet alone": unet_alone(UNET),
        "UNet alone, bare": unet_alone(""),
    }
    file, folder = tmp_path / "model.safetensors", checkpoint(family)
    want = networks(family, folder)
    options: dict[str, Any] = {"rest": str(folder)}
    if layout in changes:
        save_original(folder, file, changes[layout])
        options |= {"config": str(folder)} if layout == "without a VAE" else {}
    else:
        tensors = load_file(str(folder / "unet" / WEIGHTS))
        save_file({name: x.half() if "fp16" in layout else x for name, x in tensors.items()}, str(file))
        if "fp16" in layout:
            want["unet"] = {name: x.half().float() for name, x in want["unet"].items()}
    assert equal(networks(family, file, **options), want)
    assert Registry().inspect(IDS[family], options, str(file)) == Registry().inspect(IDS[family], {}, str(folder))


def test_what_a_file_lacks_is_asked_for(checkpoint: Fetch, written: Any) -> None:
    with pytest.raises(BadCheckpoint, match=r"it has no 'vae'[\s\S]*name one by the option vae, or .* by the option rest"):
        networks("sd1", written("sd1", without(VAE)))
    assert equal(networks("sd1", written("sd1", without(VAE)), vae=str(checkpoint("sd1") / "vae")), as_it_is("sd1", checkpoint("sd1")))
    for change in (without("cond"), unet_alone(UNET)):
        with pytest.raises(BadCheckpoint, match=r"it is the UNet of .* alone[\s\S]*set the option rest to a whole checkpoint"):
            networks("sd1", written("sd1", change))
    with pytest.raises(BadCheckpoint, match=r"but of another shape than|it is an SDXL checkpoint"):
        networks("sd1", checkpoint("sdxl") / "unet" / WEIGHTS, rest=str(checkpoint("sd1")))


def test_parts_from_two_files_are_both_in_the_fingerprint(checkpoint: Fetch, tmp_path: Path) -> None:
    file = tmp_path / "unet.safetensors"
    shutil.copy(checkpoint("sd1") / "unet" / WEIGHTS, file)
    one = Registry().branch("sd/v1-5", {"rest": str(checkpoint("sd1"))}, source=str(file)).fingerprint()
    other = as_folder(checkpoint, "sd1", lambda t: {name: x * 2 for name, x in t.items()}, tmp_path / "other")
    two = Registry().branch("sd/v1-5", {"rest": str(other)}, source=str(file)).fingerprint()
    assert {part for part in one if one[part] != two[part]} == {"text_encoder", "vae"}


def test_a_tensor_that_stands_there_twice(written: Any) -> None:
    """Under two names that are one: which of them is meant is not guessed."""
    name = "cond_stage_model.transformer.text_model.final_layer_norm.bias"
    file = written("sd1", lambda t: {**t, name.replace("text_model.", ""): t[name] + 1})
    with pytest.raises(BadCheckpoint, match=r"'cond_stage_model\.transformer\.final_layer_norm\.bias' and .*are one"):
        networks("sd1", file)


# -- folders -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "behind"), sliced([("", False), ("fp16", False), ("fp16", True)], 2))
def test_shards_with_an_index(checkpoint: Fetch, tmp_path: Path, variant: str, behind: bool) -> None:
    folder = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "sd1"))
    for part in ("unet", "vae", "text_encoder"):
        shard(next((folder / part).glob("*.safetensors")), variant=variant, behind=behind)
    assert equal(networks("sd1", folder), as_it_is("sd1", checkpoint("sd1")))
    for index in (folder / "unet").glob("*.index*.json"):
        index.unlink()
    with pytest.raises(BadCheckpoint, match="the index of its 2 weight files is missing"):
        networks("sd1", folder)


def test_fp16_variants(checkpoint: Fetch, tmp_path: Path) -> None:
    """Alone, they are taken; beside plain files, by the option."""
    half = as_folder(checkpoint, "sd1", lambda t: {name: x.half().float() for name, x in t.items()}, tmp_path / "half")
    both = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "both"))
    for file in both.glob("*/*.safetensors"):
        tensors = {name: x.half() for name, x in load_file(str(file)).items()}
        save_file(tensors, str(file.with_name(f"{file.stem}.fp16.safetensors")), metadata={"format": "pt"})
    assert equal(networks("sd1", both), as_it_is("sd1", checkpoint("sd1")))
    assert equal(networks("sd1", both, variant="fp16"), networks("sd1", half))
    for file in both.glob("*/*.fp16.safetensors"):
        file.with_name(file.name.replace(".fp16", "")).unlink()
    assert equal(networks("sd1", both), networks("sd1", half))


@pytest.mark.parametrize(
    "files", sliced([({"tokenizer.json", "tokenizer_config.json"},), ({"tokenizer.json"},), ({"vocab.json", "merges.txt"},)], 2)
)
def test_tokenizers_of_one_file_or_two(checkpoint: Fetch, tmp_path: Path, files: set[str]) -> None:
    folder = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "sd1"))
    for file in (folder / "tokenizer").iterdir():
        if file.name not in files:
            file.unlink()
    assert {file.name for file in (folder / "tokenizer").iterdir()} == files
    mine, theirs = (Registry().branch("sd/v1-5", source=str(one)).text for one in (folder, checkpoint("sd1")))
    prompts = ["a Photo of a cat, and naïve 🎈", ""]
    told = [text.tokenizer(prompts, padding="max_length", max_length=text.limit, truncation=True)["input_ids"] for text in (mine, theirs)]
    assert told[0] == told[1] and mine.limit == theirs.limit == 77
    index = json.loads((folder / "model_index.json").read_text())
    assert index["tokenizer"], "the folder is still a pipeline's"
