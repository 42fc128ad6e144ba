"""IP-Adapters: our branch is diffusers' pipeline, also with a picture for each region; a pair draws; bad files are refused by name."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from safetensors.torch import load_file, save_file

import realcompo as rc
from realcompo.draw.reproduce import safe_recipe
from realcompo.errors import BadCheckpoint, BadCondition, BadOption, BadPicture, RealCompoError
from realcompo.noise.diffusion import Solver
from realcompo.pictures.png import read_recipe
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.ip_adapters import save_ip_adapter
from realcompo.toolkit.loading import Loader

PROMPT, NEGATIVE, STEPS = "a photo of a cat and a dog", "a blue car", 4
BOXES = rc.Boxes({"a cat": (0.0, 0.0, 0.5, 1.0), "a dog": (0.5, 0.0, 1.0, 0.5)})
FAMILIES = {"sd1": ("sd/v1-5", StableDiffusionPipeline), "sdxl": ("sd/xl-base", StableDiffusionXLPipeline)}


def noise() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((50, 40))


@pytest.fixture(scope="module")
def adapter(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(family, kind) → the file; and the pictures beside it."""
    folder = tmp_path_factory.mktemp("ip")
    for n in range(3):
        picture(n).save(folder / f"{n}.png")

    def made(family: str, kind: str = "plain") -> Path:
        file = folder / f"{family}-{kind}" / "adapter.safetensors"
        return file if file.is_file() else save_ip_adapter(file.parent, checkpoint(family), kind)  # type: ignore[arg-type]

    return made


def shown(file: Path, n: int) -> str:
    return str(file.parent.parent / f"{n}.png")


def draw(checkpoint: Any, family: str, told: Any, conditions: Any = None) -> torch.Tensor:
    branch = Registry().branch(FAMILIES[family][0], {} if told is None else {"ip_adapter": told}, source=str(checkpoint(family)))
    asked = request((PROMPT,), negatives=(NEGATIVE,), conditions=conditions)
    return draw_alone(branch, asked, noise(), scheduler="ddim", steps=STEPS)


def theirs(checkpoint: Any, family: str, file: Path, scale: Any, images: Any, masks: Any = None) -> torch.Tensor:
    id, cls = FAMILIES[family]
    pipe = cls.from_pretrained(str(checkpoint(family)), **({"safety_checker": None} if family == "sd1" else {}))
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder="image_encoder")
    pipe.set_ip_adapter_scale(scale)
    pipe.scheduler = Solver("ddim", Registry().inspect(id, source=str(checkpoint(family))).schedule, STEPS).scheduler
    more = {} if masks is None else {"cross_attention_kwargs": {"ip_adapter_masks": masks}}
    found: torch.Tensor = pipe(
        PROMPT, negative_prompt=NEGATIVE, ip_adapter_image=images, num_inference_steps=STEPS, height=128, width=128, guidance_scale=7.5,
        latents=noise(), output_type="latent", **more,
    ).images  # fmt: skip
    return found


@pytest.mark.parametrize(("family", "kind"), [("sd1", "plain"), ("sd1", "plus"), ("sdxl", "plain")])
def test_a_picture_is_seen_as_the_pipeline_sees_it(checkpoint: Any, adapter: Any, family: str, kind: str) -> None:
    file = adapter(family, kind)
    mine = draw(checkpoint, family, {"source": str(file), "scale": 0.7, "image": shown(file, 0)})
    assert relative(theirs(checkpoint, family, file, 0.7, picture(0)), mine) < 1e-4
    for other in (None, {"source": str(file), "scale": 0.7, "image": shown(file, 1)}):
        assert relative(mine, draw(checkpoint, family, other)) > 1e-2, "the picture must be felt"
    if kind == "plus":
        assert relative(mine, draw(checkpoint, family, {"source": str(file), "scale": 0.2, "image": shown(file, 0)})) > 1e-2
        torch.testing.assert_close(
            draw(checkpoint, family, {"source": str(file), "scale": 0.0, "image": shown(file, 0)}), draw(checkpoint, family, None)
        )


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_pictures_of_regions_are_the_pipelines_masks(checkpoint: Any, adapter: Any, family: str) -> None:
    """The picture of each region inside its mask, that of the whole outside of both."""
    file = adapter(family)
    told = {"source": str(file), "scale": 0.8, "image": shown(file, 0), "regions": {"a cat": shown(file, 1), "a dog": shown(file, 2)}}
    mine = draw(checkpoint, family, told, (BOXES,))
    masks = np.zeros((3, 128, 128), dtype=np.uint8)
    masks[1, :, :64], masks[2, :64, 64:], masks[0, 64:, 64:] = 255, 255, 255
    processed = IPAdapterMaskProcessor().preprocess([Image.fromarray(one) for one in masks], height=128, width=128)
    images = [[picture(0), picture(1), picture(2)]]
    its = theirs(checkpoint, family, file, [[0.8, 0.8, 0.8]], images, [processed.reshape(1, 3, 128, 128)])
    assert relative(its, mine) < 1e-4
    moved = rc.Boxes({"a cat": (0.5, 0.0, 1.0, 1.0), "a dog": (0.0, 0.0, 0.5, 0.5)})
    assert relative(mine, draw(checkpoint, family, told, (moved,))) > 1e-2, "the masks must be felt"


@pytest.mark.deep
def test_a_pair_draws_and_is_drawn_again(checkpoint: Any, adapter: Any, tmp_path: Path) -> None:
    """On both branches; gated layers and maps beside the adapter's processors; a batch is its pictures alone; the file carries pictures."""
    file = adapter("sd1")
    fidelity = {
        "name": "sd/v1-5",
        "source": str(checkpoint("sd1")),
        "options": {"ip_adapter": {"source": str(file), "image": shown(file, 0)}},
    }
    regions = {"ip_adapter": {"source": str(file), "regions": {"a cat": shown(file, 1)}}}
    spatial = {"name": "gligen/box", "source": str(checkpoint("gligen")), "options": regions}

    def composer(*branches: Any) -> rc.Composer:
        return rc.Composer(*branches, height=128, width=128, num_inference_steps=4, balancer="core/balance")

    def latents(one: rc.Composer, boxes: Any = BOXES, seed: Any = 3) -> torch.Tensor:
        prompts = [PROMPT] * len(boxes) if isinstance(boxes, list) else PROMPT
        return one(prompts, boxes, seed=seed, output_type="latent").latents

    pair = composer(fidelity, spatial)
    mine = latents(pair)
    assert relative(mine, latents(composer({**fidelity, "options": {}}, spatial))) > 1e-2
    assert relative(mine, latents(composer(fidelity, {**spatial, "options": {}}))) > 1e-2
    moved = rc.Boxes({"a cat": (0.5, 0.0, 1.0, 1.0), "a dog": (0.0, 0.0, 0.5, 0.5)})
    torch.testing.assert_close(latents(pair, [moved, BOXES], [9, 3])[1:], mine, rtol=1e-4, atol=1e-4)
    assert pair(PROMPT, BOXES, seed=3).trace.probe_calls > 0
    pair(PROMPT, BOXES, seed=3).image.save(tmp_path / "pair.png")
    weights = pair.facts(pair._solver(4))["weights"]
    assert {"ip_adapter", "image_encoder"} <= weights["sd/v1-5"].keys() & weights["gligen/box"].keys()
    assert rc.reproduce(tmp_path / "pair.png").same
    held = pair.recipe().branches[0].options["ip_adapter"]["image"]
    assert np.array_equal(Image.open(io.BytesIO(base64.b64decode(held["png"]))), picture(0))


@pytest.mark.deep
def test_on_the_base_of_a_graft(checkpoint: Any, adapter: Any) -> None:
    """GLIGEN's layers on another branch's UNet, which has the adapter: told of the branch, it holds for its base."""
    file = adapter("sd1")
    base = {"base": "sd/v1-5", "base_source": str(checkpoint("sd1"))}
    told = {"ip_adapter": {"source": str(file), "regions": {"a cat": shown(file, 1)}}}
    asked = request((PROMPT,), conditions=(BOXES,))
    drawn = []
    for options in (base, {**base, **told}):
        branch = Registry().branch("gligen/box", options, source=str(checkpoint("gligen")))
        drawn.append(draw_alone(branch, asked, noise(), steps=2))
    assert relative(*drawn) > 1e-2


def test_a_strangers_picture_opens_no_file(checkpoint: Any, adapter: Any, tmp_path: Path) -> None:
    """A recipe in a picture carries its pictures: a path in it is refused, wherever it stands. Its copies are taken."""
    source, file = str(checkpoint("sd1")), adapter("sd1")
    told = {"source": str(file), "image": shown(file, 0)}
    composer = rc.Composer(
        {"name": "sd/v1-5", "source": source, "options": {"ip_adapter": told}}, height=64, width=64, num_inference_steps=1
    )
    composer(PROMPT, seed=1).image.save(tmp_path / "a.png")
    embedded = read_recipe(tmp_path / "a.png")
    safe_recipe(embedded, tmp_path / "a.png")
    (own,) = embedded.recipe.branches
    for options in ({"ip_adapter": told}, {"base_options": {"ip_adapter": {"source": "x", "regions": {"a cat": "/etc/passwd"}}}}):
        branches = (own.model_copy(update={"options": options}),)
        spoiled = replace(embedded, recipe=embedded.recipe.model_copy(update={"branches": branches}))
        with pytest.raises(BadOption, match="names a file as ip_adapter"):
            safe_recipe(spoiled, tmp_path / "a.png")


def test_a_recipe_file_names_pictures_beside_it(checkpoint: Any, adapter: Any, tmp_path: Path) -> None:
    file = adapter("sd1")
    picture(0).save(tmp_path / "cat.png")
    entry = {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": {"ip_adapter": {"source": str(file), "image": "cat.png"}}}
    recipe = {
        "version": 1,
        "branches": [entry],
        "height": 128,
        "width": 128,
        "num_inference_steps": 2,
        "pictures": [{"prompt": PROMPT, "seed": 1}],
    }
    (tmp_path / "a.json").write_text(json.dumps(recipe))
    drawn = rc.run(tmp_path / "a.json")
    drawn.image.save(tmp_path / "a.png")
    assert rc.reproduce(tmp_path / "a.png").same
    entry["options"]["ip_adapter"]["image"] = "../cat.png"  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps(recipe))
    with pytest.raises(RealCompoError, match="outside"):
        rc.run(tmp_path / "a.json")


def test_refused_before_weights_are_loaded(checkpoint: Any, adapter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "module", lambda *_: pytest.fail("a network was loaded"))
    file, xl = adapter("sd1"), adapter("sdxl")
    encoder, image = str(file.parent / "image_encoder"), shown(file, 0)
    tensors = load_file(str(file))

    def spoiled(name: str, change: dict[str, torch.Tensor], without: str = "-") -> str:
        kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(without)}
        save_file({**kept, **change}, str(tmp_path / name))
        return str(tmp_path / name)

    (tmp_path / "x.bin").write_bytes(b"x")
    lora = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"
    save_file({lora: torch.ones(2, 8)}, str(tmp_path / "lora.safetensors"))
    for told, kind, said in (
        ({"source": str(tmp_path / "gone.safetensors")}, BadCheckpoint, "no such IP-Adapter"),
        ({"source": str(tmp_path / "x.bin")}, BadCheckpoint, "must be a .safetensors file"),
        ({"source": str(tmp_path / "lora.safetensors")}, BadCheckpoint, "it is a LoRA.*, not an IP-Adapter"),
        ({"source": spoiled("empty.safetensors", {}, "i")}, BadCheckpoint, "without tensors"),
        (
            {"source": spoiled("odd.safetensors", {"ip_adapter.1.surprise": torch.ones(1)})},
            BadCheckpoint,
            "'ip_adapter.1.surprise' has no place",
        ),
        ({"source": spoiled("face.safetensors", {"ip_adapter.0.to_k_lora.down.weight": torch.ones(1)})}, BadCheckpoint, "FaceID"),
        ({"source": spoiled("half.safetensors", {}, "ip_adapter.1.")}, BadCheckpoint, "attentions, the network"),
        ({"source": str(xl), "image_encoder": encoder}, BadCheckpoint, "its text is 80 wide, this checkpoint's 32"),
        ({"source": str(file), "image_encoder": str(tmp_path)}, BadCheckpoint, "lacks its image encoder"),
        ({"source": str(file), "image": str(tmp_path / "no.png")}, BadPicture, "no such picture"),
        ({"source": str(file), "image": None}, BadOption, "shown no picture"),
        ({"source": str(file), "scale": float("inf")}, RealCompoError, "finite"),
    ):
        table = {"image_encoder": encoder, "image": image, **told}
        with pytest.raises(kind, match=said):
            rc.Composer({"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": {"ip_adapter": table}})


def test_a_region_that_is_none(checkpoint: Any, adapter: Any) -> None:
    """Of no picture of a run: said. To a branch alone it is a picture without the region, in which nothing is seen."""
    file = adapter("sd1")

    def told(name: str) -> dict[str, Any]:
        return {"source": str(file), "regions": {name: shown(file, 1)}}

    plain, absent, seen = (draw(checkpoint, "sd1", one, (BOXES,)) for one in (None, told("a cow"), told("a cat")))
    assert relative(plain, absent) < 1e-4 < 1e-3 < relative(plain, seen)
    fidelity = {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": {"ip_adapter": told("a cow")}}
    pair = rc.Composer(fidelity, {"name": "gligen/box", "source": str(checkpoint("gligen"))}, height=128, width=128)
    with pytest.raises(BadCondition, match="'a cow', which is no region"):
        pair(PROMPT, BOXES, seed=1)
