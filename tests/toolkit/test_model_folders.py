"""Checkpoints by bare names in the user's model folders: what is found, what is ambiguous, and that no name changes its meaning."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from realcompo.errors import BadCheckpoint, BadRecipe
from realcompo.recipes.configuration import resolve, user_settings
from realcompo.testing.ip_adapters import save_ip_adapter
from realcompo.testing.originals import save_original
from realcompo.testing.sources import small_checkpoint
from realcompo.toolkit.inversions import find_inversions
from realcompo.toolkit.ip_adapter import find_ip_adapter
from realcompo.toolkit.ip_options import IpAdapterOptions
from realcompo.toolkit.lora import lora_path
from realcompo.toolkit.model_folders import find_model, walk_models
from realcompo.toolkit.options import CheckpointOptions, UNetOptions
from realcompo.toolkit.sources import locate_part, open_checkpoint
from realcompo.toolkit.word_options import Embedding
from realcompo.toolkit.words import word_print

Desk = Callable[..., Path]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Make empty files in ComfyUI's and A1111's folders, and a user file that names these; gives the home."""
    comfy, web = tmp_path / "ComfyUI" / "models", tmp_path / "stable-diffusion-webui" / "models"
    for folder in (comfy / "checkpoints", web / "Stable-diffusion"):
        folder.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "config.toml"))

    def make(*names: str, models: str = '["~/ComfyUI/models", "stable-diffusion-webui/models"]') -> Path:
        (tmp_path / "config.toml").write_text(f"models = {models}\n")
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


DREAM = "ComfyUI/models/checkpoints/sd15/dreamshaper_8.safetensors"


def test_folders_are_the_user_files_then_the_projects(desk: Desk) -> None:
    home = desk()
    assert user_settings().models == (home / "ComfyUI/models", home / "stable-diffusion-webui/models"), "relative ones are beside the file"
    (home / "work" / "realcompo.toml").write_text('models = ["weights", "~/ComfyUI/models"]\n')
    assert user_settings().models[2:] == (home / "work" / "weights",), "each once"
    assert "models" not in resolve(None).recipe.plain(), "it decides no picture by itself"


@pytest.mark.parametrize("name", ["dreamshaper_8", "dreamshaper_8.safetensors", "sd15/dreamshaper_8.safetensors"])
def test_a_file_is_found_by_stem_name_or_end_of_its_path(desk: Desk, name: str) -> None:
    home = desk(DREAM, "ComfyUI/models/checkpoints/dreamshaper_8.png", "ComfyUI/models/checkpoints/dreamshaper_8.vae.pt")
    assert find_model(name) == home / DREAM


def test_folders_in_the_layout_of_diffusers_are_one_model(desk: Desk) -> None:
    home = desk(
        "ComfyUI/models/diffusers/dream/model_index.json", "ComfyUI/models/diffusers/dream/unet/diffusion_pytorch_model.safetensors"
    )
    assert find_model("dream") == home / "ComfyUI/models/diffusers/dream"
    with pytest.raises(BadCheckpoint, match="nothing is called so"):
        find_model("diffusion_pytorch_model")


def test_a_name_that_several_have_is_an_error_that_lists_them(desk: Desk) -> None:
    other = "stable-diffusion-webui/models/Stable-diffusion/dreamshaper_8.safetensors"
    desk(DREAM, other)
    with pytest.raises(BadCheckpoint, match="2 files or folders") as told:
        open_checkpoint("dreamshaper_8", CheckpointOptions())
    assert "checkpoints/sd15/dreamshaper_8.safetensors, Stable-diffusion/dreamshaper_8.safetensors" in str(told.value)
    assert (
        find_model("Stable-diffusion/dreamshaper_8.safetensors") == user_settings().models[1] / "Stable-diffusion/dreamshaper_8.safetensors"
    )


def test_one_file_by_two_ways_is_one(desk: Desk) -> None:
    home = desk(DREAM)
    os.symlink(home / DREAM, home / "stable-diffusion-webui/models/Stable-diffusion/dreamshaper_8.safetensors")
    os.symlink(home / "ComfyUI/models", home / "ComfyUI/models/checkpoints/again")
    assert find_model("dreamshaper_8").resolve() == home / DREAM  # type: ignore[union-attr]


def test_a_pickle_beside_safetensors_does_not_count_unless_it_is_allowed(desk: Desk) -> None:
    pickled = DREAM.replace(".safetensors", ".ckpt")
    home = desk(DREAM, pickled)
    assert find_model("dreamshaper_8") == home / DREAM
    with pytest.raises(BadCheckpoint, match="2 files"):
        find_model("dreamshaper_8", allow_pickle=True)
    (home / DREAM).unlink()
    assert find_model("dreamshaper_8") == home / pickled, "the loader then says that it is pickled"


def test_what_has_a_meaning_keeps_it(desk: Desk) -> None:
    """A path that is there comes first; hub ids, absolute and explicit paths are never looked for in the folders."""
    home = desk(DREAM, "work/dreamshaper_8/model_index.json", "ComfyUI/models/org/name/model_index.json")
    (home / "work/dreamshaper_8/model_index.json").write_text("{}")
    assert open_checkpoint("dreamshaper_8", CheckpointOptions()).folder == home / "work" / "dreamshaper_8"
    for text in ("org/name", "./dreamshaper_8.safetensors", "../dreamshaper_8", "~/dreamshaper_8", str(home / "dreamshaper_8"), "a\\b", ""):
        assert find_model(text) is None, text
    with pytest.raises(BadCheckpoint, match="local cache of the hub"):
        open_checkpoint("org/name", CheckpointOptions())
    with pytest.raises(BadCheckpoint, match="no such folder"):
        open_checkpoint(Path("dreamshaper_8.safetensor"), CheckpointOptions())


def test_what_is_not_there_is_told_with_the_nearest(desk: Desk) -> None:
    desk(DREAM, models='["~/ComfyUI/models", "/no/such/disk"]')
    with pytest.raises(BadCheckpoint, match="did you mean 'dreamshaper_8'") as told:
        open_checkpoint("dreamshaper8", CheckpointOptions())
    assert "/no/such/disk is not there" in str(told.value)


def test_without_folders_all_is_as_before(desk: Desk) -> None:
    desk(DREAM, models="[]")
    assert find_model("dreamshaper_8") is None
    with pytest.raises(BadCheckpoint, match="no such folder"):
        open_checkpoint("dreamshaper_8", CheckpointOptions())


@pytest.mark.parametrize(
    "models", ['"~/models"', "[3]", '[""]', '["a\\u0000b"]', "{ a = 1 }"], ids=["text", "number", "empty", "nul", "table"]
)
def test_folders_that_are_none_are_told_with_their_line(desk: Desk, models: str) -> None:
    desk(models=models)
    with pytest.raises(BadRecipe, match=r"config\.toml:1.*no list of folders"):
        user_settings()


def test_walks_are_bounded(desk: Desk) -> None:
    home = desk(DREAM, "ComfyUI/models/" + "deep/" * 12 + "far.safetensors", "ComfyUI/models/.hidden/a.safetensors")
    assert [place.name for _, place in walk_models([home / "ComfyUI/models"])] == ["dreamshaper_8.safetensors"]
    left = [2]
    assert not list(walk_models([home / "ComfyUI/models"], left)) and left[0] < 0, "control: so many entries are too many"


def test_a_bare_name_loads_what_its_path_loads(desk: Desk) -> None:
    home = desk()
    folder = Path(small_checkpoint("sd1"))
    file = save_original(folder, home / "ComfyUI/models/checkpoints/dreamshaper_8.safetensors")
    vae = home / "ComfyUI/models/vae/soft.safetensors"
    vae.parent.mkdir()
    vae.symlink_to(file)
    found = open_checkpoint("dreamshaper_8", UNetOptions(config=str(folder)))
    assert found.single is not None and found.single.file.path == file and found.where == "dreamshaper_8", "the recipe keeps the name"
    assert locate_part("soft.safetensors", UNetOptions()) == vae
    lora = home / "ComfyUI/models/loras/ink.safetensors"
    lora.parent.mkdir()
    lora.write_text(json.dumps({}))
    assert lora_path("ink") == lora


def test_embeddings_and_ip_adapters_have_bare_names(desk: Desk) -> None:
    """Of a word that no file names, the file's own; an encoder is a folder of the model folders, or stands beside its adapter."""
    models = desk() / "ComfyUI/models"
    word, folder = models / "embeddings/frost.safetensors", models / "ipadapter"
    word.parent.mkdir()
    save_file({"emb_params": torch.zeros(2, 32)}, word)
    adapter = save_ip_adapter(folder, Path(small_checkpoint("sd1")), "plain")
    adapter.rename(folder / "style_sd15.safetensors")
    options = UNetOptions(embeddings=({"source": "frost"},))
    (found,) = find_inversions(options.embeddings, options, {"text_encoder": 32})
    assert (found.token, found.path) == ("frost", word)
    assert word_print(options) == word_print(UNetOptions(embeddings=({"source": str(word)},)))
    shown = Image.new("RGB", (8, 8))
    for encoder in (None, "image_encoder"):
        told = IpAdapterOptions(source="style_sd15", image_encoder=encoder, image=shown)
        assert find_ip_adapter(told).file.path == folder / "style_sd15.safetensors"
        assert find_ip_adapter(told).encoder == folder / "image_encoder"
    for act in (
        lambda: find_inversions((Embedding(source="frosty"),), options, {"text_encoder": 32}),
        lambda: find_ip_adapter(IpAdapterOptions(source="style_sd16", image=shown)),
    ):
        with pytest.raises(BadCheckpoint, match=r"did you mean .(frost|style_sd15)\W"):
            act()
