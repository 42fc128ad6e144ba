"""docs/eight-gigabytes.md, from its first line to its last: its files are written, its commands run in order, in a home that holds small
files of the layouts that it speaks of (original single files, gated layers alone, kohya's LoRA, a VAE, a ControlNet's folder)."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.doctor.files import find_models
from realcompo.draw import kept
from realcompo.testing.originals import UNET, VAE, original_tensors, save_original
from realcompo.testing.sources import small_checkpoint
from tests import ROOT

PAGE = ROOT / "docs" / "eight-gigabytes.md"
MARK = "<!-- run: tests/house/test_eight_gigabytes.py -->"
BLOCK = re.compile(rf"{re.escape(MARK)}\n```(toml|sh)\n(.*?)^```$", re.M | re.S)
PROJECT = 'device = "cpu"\ndtype = "float32"\nnum_inference_steps = 3\nheight = 64\nwidth = 64\n'
"""What a project file says over the page's user file: no card is needed, and seconds are enough."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the page's files; small ones, so that their configs lie beside the checkpoint, where a published one needs none."""
    from safetensors.torch import save_file

    home = tmp_path_factory.mktemp("home")
    models = home / "ComfyUI" / "models"
    for name in ("checkpoints", "gligen", "loras", "vae", "controlnet", ".config"):
        (models / name).mkdir(parents=True)
    folder = Path(small_checkpoint("sd1"))
    save_original(folder, models / "checkpoints" / "dreamshaper_8.safetensors")
    for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer"):
        shutil.copytree(folder / part, models / "checkpoints" / part, ignore=shutil.ignore_patterns("*.safetensors"))
    save_original(
        Path(small_checkpoint("gligen")),
        models / "gligen" / "gligen_sd14_textbox_pruned.safetensors",
        lambda tensors: {
            name.removeprefix(UNET): one for name, one in tensors.items() if ".fuser." in name or name.startswith(f"{UNET}position_net.")
        },
    )
    tensors = original_tensors(folder)
    vae = {name.removeprefix(VAE): (one + 0.01).contiguous() for name, one in tensors.items() if name.startswith(VAE)}
    save_file(vae, str(models / "vae" / "vae-ft-mse-840000-ema-pruned.safetensors"))
    save_file(_kohya(folder), str(models / "loras" / "ink.safetensors"))
    shutil.copytree(Path(small_checkpoint("controlnet-sd1")) / "controlnet", models / "controlnet" / "control_v11p_sd15_openpose")
    yield home
    kept._kept = None


def _kohya(folder: Path) -> dict[str, Any]:
    """A LoRA of the UNet's cross-attention by kohya's names: underscores for dots, down, up and alpha."""
    import torch
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for name, weight in load_file(str(next((folder / "unet").glob("*.safetensors")))).items():
        if name.endswith("attn2.to_k.weight"):
            module = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
            generator = torch.Generator().manual_seed(len(found))
            found[f"{module}.lora_down.weight"] = torch.randn(2, weight.shape[1], generator=generator)
            found[f"{module}.lora_up.weight"] = torch.randn(weight.shape[0], 2, generator=generator)
            found[f"{module}.alpha"] = torch.tensor(2.0)
    return found


@pytest.fixture
def desk(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "realcompo.toml").write_text(PROJECT)
    return tmp_path


def steps() -> list[tuple[str, str]]:
    """(toml, its text) or (sh, a command) in the page's order."""
    found: list[tuple[str, str]] = []
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        found += [(language, text)] if language == "toml" else [(language, line) for line in text.splitlines() if line.strip()]
    return found


def told(line: str) -> str:
    words = shlex.split(line, comments=True)
    assert words[0] == "realcompo"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


def test_all_of_the_page_is_marked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)$", text, re.M)
    assert len(BLOCK.findall(text)) == len(blocks) - 1, "all but the installation"
    assert len([one for one in steps() if one[0] == "sh"]) >= 14


def written(kind: str, text: str) -> None:
    """Write a file of the page where its first line says."""
    assert kind == "toml"
    path = Path(text.splitlines()[0].removeprefix("# ")).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_its_first_picture(desk: Path, home: Path) -> None:
    """The short form: the user file, doctor, and the first recipe."""
    outputs = {}
    for kind, text in steps():
        if kind == "toml":
            written(kind, text)
        elif text.startswith(("realcompo doctor", "realcompo check", "realcompo run first.toml  ")):
            outputs[text.split("#")[0].strip()[:24]] = told(text)
    doctor = outputs["realcompo doctor"]
    for file in ("dreamshaper_8", "gligen_sd14_textbox_pruned", "control_v11p_sd15_openpose", "ink", "vae-ft-mse-840000-ema-pruned"):
        assert re.search(rf"^{file}\b", doctor, re.M), file
    assert "option lora" in doctor and "option vae" in doctor and "controlnet/pose-sd15" in doctor and "gligen/box" in doctor
    offered = re.search(r"in a recipe: (branches = .*)", doctor)
    assert offered is not None and 'base_source = "dreamshaper_8"' in offered[1]
    Path("offered.toml").write_text(offered[1])
    told("realcompo check offered.toml")
    assert len(list(Path("pictures/first").glob("*.png"))) == 1
    assert len(find_models([home / "ComfyUI" / "models"], [])) == 5


@pytest.mark.deep
def test_every_line(desk: Path) -> None:
    for kind, text in steps():
        if kind == "toml":
            written(kind, text)
        else:
            told(text.replace("--dtype float16", "--dtype float32"))
    drawn = {path.parent.name for path in desk.rglob("*.png")}
    assert {"first", "guided", "inked", "soft", "pose", "half", "one", "tiles", "fast", "out"} <= drawn
    for name in ("inked", "soft", "guided", "fast"):
        assert _pixels(name) != _pixels("pictures/first"), f"control: {name} acts"
    assert _pixels("one") == _pixels("pictures/first"), "offloading draws the same"
    with Image.open("large.png") as large, Image.open("pets.png") as pets, Image.open("ball.png") as ball:
        assert large.size == (96, 96) and pets.size == ball.size
        assert pets.crop((0, 0, 30, 64)).tobytes() == ball.crop((0, 0, 30, 64)).tobytes(), "outside the mask it stays to the bit"
    assert len(list((desk / "out").glob("*-dreamshaper_8.png"))) == 2


def _pixels(folder: str) -> bytes:
    (path,) = (Path(folder) if Path(folder).is_dir() else Path("pictures") / folder).glob("*.png")
    with Image.open(path) as picture:
        return picture.tobytes()
