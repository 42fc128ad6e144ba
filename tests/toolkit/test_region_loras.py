"""A LoRA in a region: none of it where the mask is empty, the plain one where it covers the picture, and between them felt inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import realcompo as rc
from realcompo.cli import app
from realcompo.draw.batch import draw
from realcompo.draw.many.run import draw_many
from realcompo.errors import BadCheckpoint, BadCondition, RealCompoError
from realcompo.interfaces import Regions, Request
from realcompo.interfaces.regions import Region
from realcompo.noise.diffusion import Solver
from realcompo.recipes.copies import PictureCopy
from realcompo.recipes.writing import write_recipe
from realcompo.registry import Registry
from realcompo.specs import BranchSpec
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit import UNetBranch, UNetOptions
from realcompo.toolkit.loading import Loader

SPEC = BranchSpec(id="x/y", summary="", role="fidelity", options=UNetOptions)
PROMPT = "a photo of a cat and a dog"
BOXES = rc.Boxes({"a cat": (0.0, 0.0, 0.5, 1.0), "a dog": (0.5, 0.0, 1.0, 0.5)})
Fetch = Callable[[str], Path]


def noise(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def files(checkpoint: Fetch, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two LoRAs in kohya's layout: of every attention, feed-forward and convolution of the UNet (a LoCon), and of what reads text alone.
    Third, the first with a module of the text encoder; fourth, with a time embedding's. Last, of the last
    convolution alone."""
    found = UNetBranch(SPEC, UNetOptions(), source=str(checkpoint("sd1")))
    folder, made = tmp_path_factory.mktemp("loras"), []
    draw = torch.Generator().manual_seed(0)

    def state(part: str, network: Any, wanted: Callable[[str], bool]) -> dict[str, torch.Tensor]:
        table = {}
        for name, module in network.named_modules():
            if wanted(name) and getattr(module, "weight", None) is not None and module.weight.ndim in (2, 4):
                out, inside, *kernel = module.weight.shape
                stem = f"{part}_{name.replace('.', '_')}"
                table[f"{stem}.lora_down.weight"] = torch.randn(2, inside, *kernel, generator=draw) / inside**0.5
                table[f"{stem}.lora_up.weight"] = 0.4 * torch.randn(out, 2, *([1] * len(kernel)), generator=draw)
        return table

    every = state("lora_unet", found.unet, lambda name: "attentions" in name or ("resnets" in name and "time_emb" not in name))
    words = state("lora_unet", found.unet, lambda name: name.endswith(("attn2.to_k", "attn2.to_v")))
    encoder = state("lora_te", found.text.encoders[0], lambda name: name.endswith("q_proj"))
    time = state("lora_unet", found.unet, lambda name: name.endswith("time_emb_proj"))
    last = state("lora_unet", found.unet, lambda name: name == "conv_out")
    for n, table in enumerate((every, words, {**every, **encoder}, {**every, **time}, last)):
        made.append(str(folder / f"{n}.safetensors"))
        save_file(table, made[-1])
    return made


def branch(checkpoint: Fetch, dtype: Any = None, **options: Any) -> UNetBranch:
    return UNetBranch(SPEC, UNetOptions(**options), source=str(checkpoint("sd1")), dtype=dtype)


def masked(*masks: np.ndarray[Any, Any] | None) -> Request:
    """A request of a picture a mask, of the cat; None is a picture without a cat."""
    pictures = tuple(() if mask is None else (Region("cat", "a cat", mask=mask),) for mask in masks)
    count = len(masks)
    return Request((PROMPT,) * count, ("",) * count, Regions(pictures), (None,) * count, (128, 128), 7.5)


def part(x0: float, x1: float, y0: float = 0, y1: float = 1) -> np.ndarray[Any, Any]:
    mask = np.zeros((128, 128), dtype=np.float32)
    mask[round(128 * y0) : round(128 * y1), round(128 * x0) : round(128 * x1)] = 1
    return mask


def predicted(one: UNetBranch, asked: Request, empty: bool = False) -> torch.Tensor:
    """The guided prediction at one noisy picture, (B, C, h, w); with every region's mask emptied."""
    step = next(iter(Solver("ddim", one.traits.schedule, 4).steps))
    told = one.encode(asked)
    if empty and told.regional is not None:  # no layout may have one, so that it is made here
        told = replace(told, regional=replace(told.regional, masks=torch.zeros_like(told.regional.masks)))
    return one.predict(noise().expand(len(asked.prompts), -1, -1, -1), step, told).noise


@pytest.mark.parametrize("which", [0, 1], ids=["all of the UNet", "what reads text"])
def test_from_nothing_to_the_plain_one(checkpoint: Fetch, files: list[str], which: int) -> None:
    """The mask is all that decides: empty, none of it to the bit; full, the LoRA in the weights. One batch holds four layouts."""
    double, told = torch.float64, {"lora": files[which], "lora_scale": 0.7}  # guidance makes float32's rounding 1e-5
    none, whole, local = (branch(checkpoint, double, **more) for more in ({}, told, {**told, "lora_region": "a cat"}))
    plain, changed = (predicted(one, masked(part(0, 1))) for one in (none, whole))
    assert relative(plain, changed) > 1e-2, "the control: it changes the picture"
    assert torch.equal(predicted(local, masked(part(0, 1)), empty=True), plain)
    assert relative(changed, predicted(local, masked(part(0, 1)))) < 1e-6
    batch = predicted(local, masked(part(0, 1), part(0, 0.5), None, part(0.5, 1)))
    each = [plain if m is None else predicted(local, masked(m)) for m in (part(0, 1), part(0, 0.5), None, part(0.5, 1))]
    torch.testing.assert_close(batch, torch.cat(each), rtol=1e-4, atol=1e-4)
    assert relative(each[1], each[3]) > 1e-2, "where the region lies is felt"


@pytest.mark.parametrize(("which", "most"), [(4, 1e-9), (0, 0.65)], ids=["the last convolution", "all of the UNet"])
def test_inside_and_less_outside(checkpoint: Fetch, files: list[str], which: int, most: float) -> None:
    """Outside of the mask the last convolution is the plain one. A change of all layers goes as far as the layers after it mix what lies
    apart, by attention and norms, which with random weights is far, and still is less than inside. Shares are of the means in the far
    quarter and in the mask; the control is without a region."""
    plain = predicted(branch(checkpoint), masked(part(0, 1)))
    shares = []
    for options in ({"lora_region": "cat"}, {}):
        moved = predicted(branch(checkpoint, lora=files[which], **options), masked(part(0, 0.5))) - plain
        columns = moved.abs().mean(dim=(0, 1, 2))
        assert columns[:8].mean() > 1e-2
        shares.append(float(columns[12:].mean() / columns[:8].mean()))
    assert shares[0] < most < 0.8 < shares[1], shares


def test_each_region_its_own(checkpoint: Fetch, files: list[str]) -> None:
    """Two LoRAs in two regions, and one more on the whole; the order of the list is of no account, nor is what was there before."""

    def drawn(one: UNetBranch) -> torch.Tensor:
        return draw_alone(one, request((PROMPT,), conditions=(BOXES,)), noise(), steps=2)

    told = {"lora": (files[0], files[1], files[1]), "lora_scale": (0.7, 1.0, 0.2), "lora_region": ("a cat", "a dog", "")}
    one = branch(checkpoint, **told)
    mine = drawn(one)
    turned = branch(checkpoint, **{name: tuple(reversed(values)) for name, values in told.items()})
    torch.testing.assert_close(mine, drawn(turned), rtol=1e-4, atol=1e-4)
    for change in ({"lora_region": ("a dog", "a cat", "")}, {"lora_scale": (0.7, 0.0, 0.2)}, {"lora_scale": (0.7, 1.0, 0.0)}):
        assert one.switch(UNetOptions(**{**told, **change}))
        assert relative(mine, drawn(one)) > 1e-3, change
    assert one.switch(UNetOptions(**told)) and torch.equal(drawn(one), mine)
    assert sorted(p.rsplit(" at ")[1] for p in one.fingerprint()["lora"].split(" + ")) == ["0.2", "0.7 in a cat", "1.0 in a dog"]
    assert one.switch(UNetOptions()) and torch.equal(drawn(one), drawn(branch(checkpoint)))


def test_on_the_base_of_a_graft(checkpoint: Fetch, files: list[str]) -> None:
    """GLIGEN's layers on a copy of another branch's UNet, whose LoRA acts in it: told of the branch, it holds for its base."""
    drawn = []
    for told in ({}, {"lora": files[0], "lora_region": "a cat"}, {"lora": files[0], "lora_region": "a dog"}):
        options = {"base": "sd/v1-5", "base_source": str(checkpoint("sd1")), **told}
        one = Registry().branch("gligen/box", options, source=str(checkpoint("gligen")))
        drawn.append(draw_alone(one, request((PROMPT,), conditions=(BOXES,)), noise(), steps=1))
    assert min(relative(a, b) for a, b in zip(drawn, drawn[1:] + drawn[:1], strict=True)) > 1e-2


@pytest.mark.deep
def test_a_pair_draws_and_is_drawn_again(checkpoint: Fetch, files: list[str], tmp_path: Path) -> None:
    """On a fidelity branch and on the base under GLIGEN's layers; a layout of each picture's own."""
    source = str(checkpoint("sd1"))
    told = {"lora": files[0], "lora_region": "a cat"}

    def composer(fidelity: Any, spatial: Any) -> rc.Composer:
        gated = {"base": "sd/v1-5", "base_source": source, **spatial}
        return rc.Composer(
            {"name": "sd/v1-5", "source": source, "options": fidelity},
            {"name": "gligen/box", "source": str(checkpoint("gligen")), "options": gated},
            height=128, width=128, num_inference_steps=2,
        )  # fmt: skip

    def latents(one: rc.Composer, *boxes: rc.Boxes) -> torch.Tensor:
        return one([PROMPT] * len(boxes), list(boxes), seed=[3] * len(boxes), output_type="latent").latents

    pair = composer(told, told)
    mine = latents(pair, BOXES)
    for fewer in ((told, {}), ({}, told)):
        assert relative(mine, latents(composer(*fewer), BOXES)) > 1e-3
    moved = rc.Boxes({"a cat": (0.5, 0.0, 1.0, 1.0), "a dog": (0.0, 0.0, 0.5, 0.5)})
    both = latents(pair, moved, BOXES)
    torch.testing.assert_close(both[1:], mine, rtol=1e-4, atol=1e-4)
    assert relative(both[:1], mine) > 1e-2
    pair(PROMPT, BOXES, seed=3).image.save(tmp_path / "pair.png")
    assert rc.reproduce(tmp_path / "pair.png").same


def test_maps_have_a_graph_and_are_read_once(checkpoint: Fetch, files: list[str]) -> None:
    """An attention that answers twice is read once; what has no place yet is not seen in them."""
    asked = request((PROMPT,), conditions=(BOXES,))
    maps = []
    for options in ({}, {"lora": files[1], "lora_region": "a cat"}):
        one = branch(checkpoint, **options)
        step = next(iter(Solver("ddim", one.traits.schedule, 4).steps))
        z = noise().requires_grad_()
        found = one.attend(z, step, one.encode(asked))
        (grad,) = torch.autograd.grad(found[:, 0, :2].sum(), z)
        assert torch.isfinite(grad).all() and grad.abs().max() > 0
        maps.append(found.detach())
    assert maps[0].shape == maps[1].shape and relative(*maps) > 1e-5


def test_refused_before_weights_are_loaded(checkpoint: Fetch, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "module", lambda *_: pytest.fail("a network was loaded"))
    for options, said in (
        ({"lora": files[2], "lora_region": "a cat"}, "'a cat' alone: it changes .* of the text_encoder"),
        ({"lora": files[3], "lora_region": "a cat"}, "time_emb_proj of the unet, which has no place"),
        ({"lora": files[:2], "lora_region": ["a cat"]}, "1 regions for 2 LoRAs"),
        ({"lora_region": "a cat"}, "there is no LoRA"),
    ):
        with pytest.raises(RealCompoError, match=said):
            rc.Composer({"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": options})
    for file in files[2:4]:  # the control: on the whole picture they are taken
        assert Registry().inspect("sd/v1-5", {"lora": file}, source=str(checkpoint("sd1")))


def recipe(checkpoint: Fetch, pictures: list[dict[str, Any]], **lora: Any) -> rc.Recipe:
    fidelity = {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": lora}
    spatial = {"name": "gligen/box", "source": str(checkpoint("gligen"))}
    size = {"height": 128, "width": 128, "num_inference_steps": 1}
    return rc.Recipe.model_validate({"branches": [fidelity, spatial], "pictures": pictures, **size})


DOG = {"prompt": PROMPT, "seed": 1, "conditions": {"boxes": {"a dog": (0.5, 0.0, 1.0, 0.5)}}}
CAT = {**DOG, "conditions": {"boxes": {"a cat": (0.0, 0.0, 0.5, 0.5)}}}


def drawn(told: rc.Recipe, folder: Path, batch_size: int = 1) -> tuple[list[Path], list[np.ndarray[Any, Any]]]:
    files = draw(told, folder, batch_size=batch_size).drawn
    return files, [np.asarray(Image.open(file)).astype(int) for file in files]


def test_a_picture_without_the_region_is_drawn_as_without_the_lora(checkpoint: Fetch, files: list[str], tmp_path: Path) -> None:
    """Alone as beside one that has it: a name is one where any picture of the run has it, whatever the batches are."""
    told = recipe(checkpoint, [DOG, CAT], lora=files[0], lora_region="a cat")
    places, mine = drawn(told, tmp_path / "alone")
    _, together = drawn(told, tmp_path / "together", 2)
    _, plain = drawn(recipe(checkpoint, [DOG, CAT]), tmp_path / "plain")
    assert np.array_equal(mine[0], plain[0]), "the LoRA does nothing in it"
    assert np.abs(mine[1] - plain[1]).max() > 2, "control: it does in the one that has the region"
    assert np.abs(mine[0] - together[0]).max() <= 1
    assert rc.reproduce(places[0]).same, "by itself"


@pytest.mark.deep
def test_a_region_that_the_mask_leaves_out(checkpoint: Fetch, files: list[str], tmp_path: Path) -> None:
    """Of inpainting: it is none of this picture's, so that the LoRA does nothing; the control is a mask with the region in it."""
    for n, corner in enumerate((64, 0)):
        white = np.zeros((128, 128), dtype=np.uint8)
        white[corner:, corner:] = 255  # the cat is at the top left
        over = {"image": Image.new("RGB", (128, 128), (90, 120, 30)), "mask_image": Image.fromarray(white)}
        copies = {name: PictureCopy.of(one, "L" if name == "mask_image" else "RGB", name) for name, one in over.items()}
        pictures = [{**CAT, **copies}]
        _, mine = drawn(recipe(checkpoint, pictures, lora=files[0], lora_region="a cat"), tmp_path / f"mine-{n}")
        _, plain = drawn(recipe(checkpoint, pictures), tmp_path / f"plain-{n}")
        assert np.array_equal(mine[0], plain[0]) == (n == 0)


def test_a_region_that_is_none(checkpoint: Fetch, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no picture of the run: said before weights are loaded, whatever draws it."""
    monkeypatch.setattr(Loader, "module", lambda *_: pytest.fail("a network was loaded"))
    told = recipe(checkpoint, [DOG, CAT], lora=files[0], lora_region="a cow")
    pair = rc.Composer.from_recipe(told)
    for act in (
        lambda: pair(PROMPT, BOXES, seed=1),
        lambda: draw(told, tmp_path / "one"),
        lambda: draw(told, tmp_path / "two", batch_size=2),
        lambda: draw_many(told, tmp_path / "many"),
        lambda: rc.run(told),
    ):
        with pytest.raises(BadCondition, match="'a cow', which is no region"):
            act()
    write_recipe(told, tmp_path / "scene.json")
    assert CliRunner().invoke(app, ["check", str(tmp_path / "scene.json")]).exit_code == 2
    write_recipe(recipe(checkpoint, [DOG, CAT], lora=files[0], lora_region="a cat"), tmp_path / "fine.json")
    assert CliRunner().invoke(app, ["check", str(tmp_path / "fine.json")]).exit_code == 0, "the control"


def test_numbers_that_are_none_leave_nothing(checkpoint: Fetch, files: list[str], tmp_path: Path) -> None:
    spoiled = str(tmp_path / "nan.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in load_file(files[1]).items()}, spoiled)
    one, asked = branch(checkpoint, lora=files[0]), masked(part(0, 1))
    with pytest.raises(BadCheckpoint, match="overflowed"):
        one.switch(UNetOptions(lora=(files[0], spoiled), lora_region=("a cat", "a cat")))
    assert torch.equal(predicted(one, asked), predicted(branch(checkpoint), asked))
