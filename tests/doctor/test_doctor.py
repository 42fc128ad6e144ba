"""`realcompo doctor`: what it says of devices, versions, plugins, settings and models; that it reads headers only; and that no file, of
whatever kind, ends it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.doctor import files, machine
from realcompo.doctor.files import Found, examine, find_models, read_header
from realcompo.doctor.fits import Uses, needs, offline, spaces
from realcompo.recipes.configuration import Settings, resolve
from realcompo.registry import Registry, installed

Shapes = Mapping[str, tuple[int, ...]]
LORA = {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)}


def hollow(path: Path, shapes: Shapes, **change: Any) -> Path:
    """A safetensors file whose tensors are a hole: its size is right, and nothing is there to be read."""
    table: dict[str, Any] = {}
    at = 0
    for name, shape in shapes.items():
        count = 2
        for side in shape:
            count *= side
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + count]}
        at += count
    header = json.dumps(table | change).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + at)
    return path


def sd1(inputs: int = 4) -> Shapes:
    """Names and shapes by which a file of SD 1.x is known: the first and the last of each part, and every block's first."""
    unet = {f"model.diffusion_model.input_blocks.{n}.0.weight": (320, 320) for n in range(1, 12)}
    return {
        **unet,
        "model.diffusion_model.input_blocks.0.0.weight": (320, inputs, 3, 3),
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with ComfyUI's folders, named in the user file, and an empty cache of the hub."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(files, "hub_cache", lambda: tmp_path / "hub")
    (tmp_path / "config.toml").write_text('models = ["~/ComfyUI/models"]\n')
    (tmp_path / "ComfyUI" / "models").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def models(home: Path) -> Path:
    return home / "ComfyUI" / "models"


@pytest.fixture(scope="module")
def uses() -> Uses:
    return Uses(installed())


# -- models ------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_known_from_its_header_and_serves_its_architecture(home: Path, uses: Uses) -> None:
    path = hollow(models(home) / "checkpoints/dreamshaper_8.safetensors", sd1())
    assert path.stat().st_blocks * 512 < 1 << 20 < path.stat().st_size, "its tensors are a hole"
    found = examine(path, "", "dreamshaper_8")
    use = uses.of(found)
    assert "single file of SD 1.x" in found.what and use.latent is not None and use.latent.name == "sd" and use.role == "fidelity"
    assert use.ids[0] == "styles/dreamshaper", "what its name speaks of comes first"
    assert {"sd/v1-5", "tokencompose/sd14-a"} <= set(use.ids) and not any(id.startswith(("sd/xl", "sd/v2", "mini")) for id in use.ids)
    assert found.numbers == (path.stat().st_size - 8 - struct.unpack("<Q", path.read_bytes()[:8])[0]) // 2


def test_other_architectures_are_told_apart(home: Path, uses: Uses) -> None:
    """Control: the same file with a UNet of another shape, or of 9 channels, is not the same."""
    other = hollow(home / "a.safetensors", {**sd1(), "model.diffusion_model.input_blocks.0.0.weight": (192, 4, 3, 3)})
    use = uses.of(examine(other, "", "a"))
    assert not use.ids and "another shape than the published SD 1.x" in use.wrong and "option config" in use.mend
    inpaints = examine(hollow(home / "b.safetensors", sd1(9)), "", "b")
    assert "inpaints" in inpaints.what and "sd/v1-5" in uses.of(inpaints).ids


@pytest.mark.parametrize("front", ["module.", "state_dict.", "net.", "_orig_mod."])
def test_a_wrappers_prefix_hides_nothing(home: Path, uses: Uses, front: str) -> None:
    wrapped = hollow(home / "w.safetensors", {front + name: shape for name, shape in sd1().items()})
    assert "sd/v1-5" in uses.of(examine(wrapped, "", "w")).ids


@pytest.mark.parametrize(
    ("family", "id", "role"),
    [("sd1", "sd/v1-5", "fidelity"), ("gligen", "gligen/box", "spatial"), ("controlnet-sd1", "controlnet/pose-sd15", "spatial")],
)
def test_folders_serve_the_ids_of_their_kind(uses: Uses, family: str, id: str, role: str, checkpoint: Callable[[str], Path]) -> None:
    use = uses.of(examine(checkpoint(family), "", f"{family}-openpose"))
    assert use.ids[0] == id and use.role == role


@pytest.mark.parametrize(
    ("shapes", "what", "option"),
    [
        (LORA, "a LoRA for SD 1.x", "option lora"),
        ({name: (4, 2048) for name in LORA}, "a LoRA for SDXL", "option lora"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "a VAE", "option vae"),
        ({"emb_params": (2, 768)}, "a textual inversion embedding", "option embeddings"),
        ({"image_proj.proj.weight": (4, 4), "ip_adapter.1.to_k_ip.weight": (4, 4)}, "an IP-Adapter", "option ip_adapter"),
        ({"double_blocks.0.img_mod.lin.weight": (4, 4)}, "a checkpoint of Flux", ""),
        ({"zz.weight": (1,)}, "a file of 1 tensors of an unknown kind", ""),
        ({}, "a file without tensors", ""),
    ],
    ids=["lora", "lora xl", "vae", "embedding", "ip-adapter", "flux", "unknown", "empty"],
)
def test_what_is_no_checkpoint_goes_where_it_belongs(home: Path, uses: Uses, shapes: Shapes, what: str, option: str) -> None:
    found = examine(hollow(home / "x.safetensors", shapes), "", "x")
    assert found.what.startswith(what) and not found.wrong
    use = uses.of(found)
    assert use.option == option and not use.ids


def test_a_folder_of_a_vae_goes_where_it_belongs(uses: Uses, checkpoint: Callable[[str], Path]) -> None:
    use = uses.of(examine(checkpoint("sd1") / "vae", "", "vae"))
    assert use.option == "option vae" and not use.ids


HOSTILE: dict[str, bytes] = {
    "empty.safetensors": b"",
    "zeros.safetensors": bytes(64),
    "page.safetensors": b"<!DOCTYPE html><html></html>",
    "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "pickle.ckpt": b"\x80\x02}q\x00.",
    "renamed.safetensors": b"\x80\x02}q\x00.",
    "cut.safetensors": struct.pack("<Q", 900) + b'{"a": {"dtype"',
    "short.safetensors": struct.pack("<Q", 62) + b'{"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}} ',
    "nested.safetensors": struct.pack("<Q", 60_001) + b'{"a":' + b"[" * 59_996,
    "list.safetensors": struct.pack("<Q", 5) + b'{"a"]',
    "shape.safetensors": struct.pack("<Q", 52) + b'{"a": {"shape": [-1], "data_offsets": [0, 0], "b":1}}',
    "numbers.safetensors": struct.pack("<Q", 58) + b'{"a": {"shape": ["x"], "data_offsets": ["y", null], "b":1}}',
    "huge.safetensors": struct.pack("<Q", 99_000_000) + b"{",
    "text.safetensors": b"{" + b" " * (2 << 20),
    "\x1b[31mred.safetensors": b"nothing",
    "half.safetensors.part": b"x",
}


def test_no_file_ends_it(home: Path) -> None:
    folder = models(home) / "checkpoints"
    folder.mkdir()
    for name, data in HOSTILE.items():
        (folder / name).write_bytes(data)
    (folder / "broken").mkdir()
    (folder / "broken" / "model_index.json").write_text('{"_class_name": [')
    (folder / "bare").mkdir()
    (folder / "bare" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    os.symlink(folder / "nowhere", folder / "dangling.safetensors")
    os.symlink(folder, folder / "loop")
    (folder / "folder.safetensors").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.safetensors")  # reading it would wait for ever
    told = CliRunner().invoke(app, ["doctor", "--json", "--no-usual"])
    assert told.exit_code == 0 and "\x1b" not in told.stdout, told.output
    rows = {Path(row["path"]).name: row for row in json.loads(told.stdout)["models"]}
    assert set(rows) == {*(name for name in HOSTILE if not name.endswith(".part")), "broken", "bare"}
    assert all(row["wrong"] and row["mend"] and not row["ids"] for row in rows.values()), rows
    assert "HTML page" in rows["page.safetensors"]["what"] and "allow_pickle" in rows["pickle.ckpt"]["wrong"]
    assert "only its configs" in rows["bare"]["wrong"]
    table = CliRunner().invoke(app, ["doctor", "--no-usual"])
    assert table.exit_code == 0 and "\x1b" not in table.output and r"\x1b[31mred" in table.output, "a name steers no terminal"


def test_a_header_is_believed_only_as_far_as_the_file_goes(home: Path) -> None:
    path = hollow(home / "a.safetensors", LORA)
    size = path.stat().st_size
    assert read_header(path, size) is not None
    os.truncate(path, size - 1)
    assert read_header(path, size - 1) is None


def test_thousands_of_files_are_asked_about_once_a_kind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By counts: a branch is asked once for all files of a kind."""
    one = hollow(models(home) / "checkpoints/m0.safetensors", sd1())
    for n in range(1, 400):
        os.link(one, one.with_name(f"m{n}.safetensors")) if n < 200 else hollow(models(home) / f"loras/l{n}.safetensors", LORA)
    registry = Registry()
    calls: list[str] = []
    plain = registry.inspect
    monkeypatch.setattr(registry, "inspect", lambda id, *rest: (calls.append(id), plain(id, *rest))[1])
    uses = Uses(registry)
    found = [(model, uses.of(model)) for model in find_models([models(home)], [])]
    assert sum("sd/v1-5" in use.ids for _, use in found) == 200 and len(found) == 400
    assert len(calls) <= len(registry.branches), calls


def test_what_the_cache_of_the_hub_holds(home: Path, uses: Uses, checkpoint: Callable[[str], Path]) -> None:
    def cached(id: str, revision: str = "abc", main: str | None = "abc") -> Path:
        repository = home / "hub" / f"models--{id.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        if main is not None:
            (repository / "refs" / "main").write_text(main)
        (repository / "snapshots" / revision).mkdir(parents=True)
        return repository / "snapshots" / revision

    shutil.copytree(checkpoint("sd1"), cached("some/style"), dirs_exist_ok=True)
    (cached("some/words") / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    hollow(cached("some/file", main="../../../../etc") / "model.safetensors", sd1())
    (cached("some/configs") / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (home / "hub" / "models--empty--one").mkdir()
    found = {one.source.rpartition("/models--")[2]: one for one in find_models([], [], home / "hub")}
    assert "sd/v1-5" in uses.of(found["some/style"]).ids
    assert "some/words" not in found, "a language model is none of ours"
    assert found["some/configs"].mend == "hf download some/configs"
    assert any(name.startswith("some--file") and one.kind is not None for name, one in found.items())
    assert found["empty/one"].wrong


def test_bare_names_where_they_are_enough(home: Path) -> None:
    for name in ("checkpoints/a", "checkpoints/b", "loras/b"):
        hollow(models(home) / f"{name}.safetensors", LORA)
    other = hollow(home / "elsewhere" / "c.safetensors", LORA)
    found = [one.source for one in find_models([models(home)], [home / "elsewhere"])]
    assert found == ["a", "checkpoints/b.safetensors", "loras/b.safetensors", str(other)]


# -- what fits together ------------------------------------------------------------------------------------------------------


def test_what_fits_together_is_a_recipe_that_checks(home: Path, uses: Uses, checkpoint: Callable[[str], Path]) -> None:
    found = [examine(checkpoint(family), "", str(checkpoint(family))) for family in ("sd1", "gligen", "sdxl")]
    told = spaces([(one, uses.of(one)) for one in found], uses.anywhere)
    assert [space.latent for space in told] == ["sd", "sdxl"]
    assert [[source for source, _ in some] for some in (told[0].draws, told[0].places)] == [[found[0].source], [found[1].source]]
    assert not told[1].places and "layguide/any" in told[1].anywhere, "SDXL's space has nothing of SD's"
    from realcompo.compose.composer import Composer

    for space in told:
        recipe = resolve({"branches": list(space.sample), "height": 64, "width": 64}).recipe
        assert len(Composer.from_recipe(recipe).members) == 2


def test_what_the_papers_pair_lacks(home: Path, uses: Uses, checkpoint: Callable[[str], Path]) -> None:
    registry = installed()
    lacking = needs(registry, Settings(), [])
    assert [one.here for one in lacking] == [False, False]
    assert lacking[0].mend.startswith("hf download stable-diffusion-v1-5/stable-diffusion-v1-5 (licence:")
    model = Found(checkpoint("sd1"), "", "my-style", "a folder", signature=("x",))
    offered = needs(registry, Settings(), [(model, uses.of(model))])
    assert '"sd/v1-5" = "my-style"' in offered[0].mend and "hf download" in offered[1].mend
    sources = {"sd/v1-5": str(checkpoint("sd1")), "gligen/box": str(checkpoint("gligen"))}
    assert [one.here for one in needs(registry, Settings(sources=sources), [])] == [True, True]
    wrong = needs(registry, Settings(sources={"sd/v1-5": str(checkpoint("sdxl"))}), [])
    assert not wrong[0].here and wrong[0].told


def test_nothing_is_fetched_whatever_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo.toolkit.sources import may_download

    monkeypatch.setenv("REALCOMPO_DOWNLOAD", "1")
    with offline():
        assert not may_download(False)
    assert may_download(False)


# -- machine -----------------------------------------------------------------------------------------------------------------


def test_versions_are_held_against_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(line.wrong for line in machine.versions())
    plain = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "diffusers" else plain(name))
    told = {line.name: line for line in machine.versions()}
    assert told["diffusers"].wrong and told["diffusers"].mend.startswith("pip install 'diffusers>=")
    assert not told["torch"].wrong

    def gone(name: str) -> str:
        if name in ("torch", "peft"):
            raise importlib.metadata.PackageNotFoundError(name)
        return plain(name)

    monkeypatch.setattr(importlib.metadata, "version", gone)
    told = {line.name: line for line in machine.versions()}
    assert told["torch"].wrong and not told["peft"].wrong and told["peft"].mend == "pip install 'realcompo[lora]'"


def test_plugins_that_fail_say_why() -> None:
    points = [EntryPoint("toy", "realcompo.testing.toys", "realcompo"), EntryPoint("broken", "no_such_module", "realcompo")]
    told = {line.name: line for line in machine.plugins(Registry(points))}
    assert not told["toy"].wrong and "branches" in told["toy"].found
    assert told["broken"].wrong and "no_such_module" in told["broken"].found and told["broken"].mend


def test_a_torch_that_is_broken_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fails() -> bool:
        raise RuntimeError("the driver is too old")

    monkeypatch.setattr(torch.cuda, "is_available", fails)
    told = machine.devices()
    assert told[-1].wrong and "driver is too old" in told[-1].found


def test_devices_have_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (7 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "RTX 4060")
    told = [line for line in machine.devices() if line.name == "cuda:0"]
    assert told and told[0].found.startswith("RTX 4060 (") and "7.0 GiB free of 8.0 GiB" in told[0].found


def test_a_user_file_that_is_wrong_is_a_line_and_exit_code_1(home: Path) -> None:
    (home / "config.toml").write_text("models = 3\n")
    told = CliRunner().invoke(app, ["doctor", "--json", "--no-usual", "--no-hub"])
    assert told.exit_code == 1, told.output
    data = json.loads(told.stdout)
    assert data["wrong"] == 1 and any("no list of folders" in line["found"] for line in data["settings"])
    (home / "config.toml").write_text('models = ["/no/such/folder"]\n')
    told = CliRunner().invoke(app, ["doctor", "--no-usual", "--no-hub"])
    assert told.exit_code == 1 and "/no/such/folder is not there" in told.output and "1 thing to mend" in told.output


def test_folders_of_other_programs_are_offered(home: Path) -> None:
    (home / "config.toml").write_text("")
    hollow(models(home) / "checkpoints/dream.safetensors", sd1())
    told = CliRunner().invoke(app, ["doctor", "--no-hub"], env={"COLUMNS": "250"})
    assert told.exit_code == 0 and f'models=["{models(home)}"]' in "".join(told.output.split()) and "dream.safetensors" in told.output
    assert "paper's v1" in told.output and "hf download" in told.output
    without = CliRunner().invoke(app, ["doctor", "--no-hub", "--no-usual"])
    assert "dream.safetensors" not in without.output, "control"
