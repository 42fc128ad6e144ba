"""A1111's line of settings: read back by the public format's own expression, from PNG text, PNG EXIF, JPEG and WebP."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from realcompo.cli.parameters import model_facts
from realcompo.pictures.parameters import MODEL, parameters_text
from realcompo.pictures.png import read_recipe
from realcompo.pictures.result import Picture
from realcompo.recipes.recipe import Recipe

PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""How A1111 reads one setting of the last line."""


def parsed(text: str) -> dict[str, str]:
    """A1111's reader, from its public description: the last line holds the settings if it has at least three; a line that begins with
    "Negative prompt:" begins the negative prompt, which goes on until there."""
    *lines, last = text.strip().split("\n")
    if len(PARAMETER.findall(last)) < 3:
        lines, last = [*lines, last], ""
    found: dict[str, str] = {"prompt": "", "negative": ""}
    part = "prompt"
    for line in (one.strip() for one in lines):
        if line.startswith("Negative prompt:"):
            part, line = "negative", line[16:].strip()
        found[part] += ("" if found[part] == "" else "\n") + line
    for name, value in PARAMETER.findall(last):
        found[name] = json.loads(value) if value[:1] == '"' and value[-1:] == '"' else value
    return found


def recipe(**more: Any) -> Recipe:
    picture = {"prompt": "a cat, a dog", "seed": 7, **more.pop("picture", {})}
    first = {"name": "sd/v1-5", "role": "fidelity", "source": "~/m/dream_8.safetensors", "guidance_scale": 7.5, **more.pop("first", {})}
    branches = [first, {"name": "gligen/box", "role": "spatial"}, {"name": "controlnet/pose-sd15", "role": "spatial"}]
    return Recipe.model_validate({"branches": branches, "height": 512, "width": 768, "pictures": [picture], **more})


def fields(told: Recipe, **facts: Any) -> dict[str, str]:
    return parsed(parameters_text(told, facts, (768, 512)))


def test_what_a1111_has_fields_for() -> None:
    read = fields(recipe(picture={"negative_prompt": "blur"}), **{MODEL: "0123456789abcdef"}, versions={"realcompo": "0.1"})
    assert read == {
        "prompt": "a cat, a dog",
        "negative": "blur",
        "Steps": "50",
        "Sampler": "DDIM",
        "CFG scale": "7.5",
        "Seed": "7",
        "Size": "768x512",
        "Model hash": "0123456789",
        "Model": "dream_8",
        "Spatial": "gligen/box, controlnet/pose-sd15",
        "Balancer": "core/guided",
        "Version": "RealCompo 0.1",
    }


def test_a_second_pass_a_vae_a_lora_and_words() -> None:
    first = {"options": {"vae": "v/soft.safetensors", "lora": "l/ink.safetensors", "lora_scale": 0.8, "clip_skip": 1}}
    hires = {"scale": 1.5, "strength": 0.4, "steps": 30, "upscaler": "core/lanczos"}
    read = fields(recipe(first=first, hires=hires, scheduler="dpm++-2m-karras"))
    wanted = {"VAE": "soft", "LoRA": "ink:0.8", "Clip skip": "2", "Denoising strength": "0.4", "Hires upscale": "1.5", "Hires steps": "30"}
    assert wanted.items() <= read.items() and (read["Hires upscaler"], read["Sampler"]) == ("Lanczos", "DPM++ 2M")
    assert read["Schedule type"] == "Karras" and "Model hash" not in read, "what is not known is left out"


@pytest.mark.parametrize(("scales", "read"), [([0.8, 0.5], "ink:0.8, wash:0.5"), (0.7, "ink:0.7, wash:0.7")], ids=["each", "all"])
def test_several_loras(scales: Any, read: str) -> None:
    options = {"lora": ["l/ink.safetensors", "wash"], "lora_scale": scales}
    assert fields(recipe(first={"options": options}))["LoRA"] == read
    assert "LoRA" not in fields(recipe(first={"options": {"lora": None, "lora_scale": 1.0}})), "control"


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a (red) cat [here] \\o/", r"a \(red\) cat \[here\] \\o/"),
        ("one\ntwo", "one\ntwo"),
        ("a\nNegative prompt: b", "a Negative prompt: b"),
        ("Steps: 3, Sampler: x, Seed: 4", "Steps: 3, Sampler: x, Seed: 4"),
        ("naïve 猫", "naïve 猫"),
    ],
    ids=["brackets", "lines", "a false negative", "false settings", "letters"],
)
def test_prompts_are_read_as_they_were_meant(prompt: str, read: str) -> None:
    found = fields(recipe(picture={"prompt": prompt}))
    assert (found["prompt"], found["negative"], found["Seed"]) == (read, "", "7")


def test_weights_of_words_stay_where_words_are_weighed() -> None:
    told = recipe(picture={"prompt": "a (red:1.3) cat"}, first={"options": {"prompt_weights": "a1111"}})
    assert fields(told)["prompt"] == "a (red:1.3) cat"
    assert fields(recipe(picture={"prompt": "a (red:1.3) cat"}))["prompt"] == r"a \(red:1.3\) cat", "control"


def test_values_cannot_break_out_of_their_field() -> None:
    read = fields(recipe(first={"source": 'x/a, Seed: 9, b: "c".safetensors'}))
    assert read["Seed"] == "7" and read["Model"] == 'a, Seed: 9, b: "c"'


def user_comment(tiff: bytes) -> str:
    """EXIF's UserComment, by the letters of its standard: IFD0 → ExifIFD (8769) → UserComment (9286)."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = "<" if tiff[:2] == b"II" else ">"

    def entry(at: int, wanted: int) -> tuple[int, int]:
        (count,) = struct.unpack(f"{order}H", tiff[at : at + 2])
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length, value = struct.unpack(f"{order}HHII", tiff[place : place + 12])
            if tag == wanted:
                assert tag != 0x9286 or kind == 7, "its type is UNDEFINED"
                return length, value
        raise AssertionError(f"no tag {wanted:#x}")

    _, inner = entry(struct.unpack(f"{order}I", tiff[4:8])[0], 0x8769)
    length, at = entry(inner, 0x9286)
    data = tiff[at : at + length]
    assert data.startswith(b"UNICODE\0")
    return data[8:].decode("utf-16-be")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("prompt", ["a cat", "猫 and a dog"])
def test_every_format_carries_it(ending: str, prompt: str, tmp_path: Path) -> None:
    told = recipe(picture={"prompt": prompt})
    picture = Picture.of(Image.new("RGB", (768, 512), "red"), told, {})
    picture.save(tmp_path / f"a.{ending}", parameters=True)
    with Image.open(tmp_path / f"a.{ending}") as seen:
        text = user_comment(seen.info["exif"])
        assert parsed(text)["prompt"] == prompt and parsed(text)["Size"] == "768x512"
        if ending == "png":
            assert seen.info["parameters"] == text == picture.parameters()
    if ending == "png":
        assert read_recipe(tmp_path / "a.png").recipe == told, "the recipe is beside it"


def test_nothing_is_written_unasked(tmp_path: Path) -> None:
    Picture.of(Image.new("RGB", (8, 8)), recipe(), {}).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as seen:
        assert "parameters" not in seen.info and "exif" not in seen.info


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    file = tmp_path / "dream.safetensors"
    save_file({}, str(file))
    told = recipe(first={"source": str(file)})
    assert model_facts(told) == {MODEL: hashlib.sha256(file.read_bytes()).hexdigest()}
    assert model_facts(recipe(first={"source": str(tmp_path)})) == {}, "a folder has no hash of A1111's"
    assert model_facts(recipe(first={"source": "no-such-thing"})) == {}
