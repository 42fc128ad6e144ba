"""Strangers' data run nothing and ask nothing: checkpoints, recipes, layouts, pictures. SECURITY.md names these tests.

Every test runs in a folder full of canaries, modules that write a file if they are imported, with a terminal that must not be asked and a
network that must not be reached.
"""

from __future__ import annotations

import builtins
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcompo.errors import BadCheckpoint, BadOption, BadPicture, RealCompoError
from realcompo.pictures.png import read_recipe
from realcompo.plans.layouts import READ, read_layouts
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import Carried, Recipe
from realcompo.registry import installed
from realcompo.testing import toy_registry
from realcompo.testing.checkpoints import WORDS
from realcompo.toolkit import Loader, TextEncoding, UNetBranch, UNetOptions, open_checkpoint
from realcompo.toolkit.loading import CLASSES
from realcompo.toolkit.lora import check_lora
from realcompo.toolkit.tensor_files import open_tensors
from tests.house.traps import ASKED, Silent, Sings, refuse, sow


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The file that a canary writes."""
    return tmp_path / "canary-sang"


@pytest.fixture
def trap(tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stranger's folder to work in. At the end no canary has sung."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    sow(folder, told)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", Silent())
    monkeypatch.setattr(builtins, "input", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(os, "system", refuse)
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)
    ASKED.clear()
    yield folder
    assert not ASKED, "asked, or reached for"
    assert not told.exists(), f"a stranger's code ran: {told.read_text()}"


@pytest.fixture
def folder(trap: Path, told: Path, checkpoint: Callable[[str], Path]) -> Path:
    """A small checkpoint in it, with canaries in each of its folders."""
    made = Path(shutil.copytree(checkpoint("sd1"), trap / "checkpoint"))
    for place in (made, *[path for path in made.iterdir() if path.is_dir()]):
        sow(place, told)
    return made


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def open_all(made: Path) -> None:
    """All that a branch does with a checkpoint: traits, tokens, networks."""
    installed().inspect("sd/v1-5", {}, str(made))
    checkpoint = open_checkpoint(str(made), UNetOptions())
    checkpoint.describe()
    loader = Loader(checkpoint, UNetOptions(), share=False)
    UNetBranch.read_text(checkpoint, UNetOptions(), loader).encode([WORDS[0]])
    loader.module("unet")
    loader.module("vae")


def refused_or_plain(use: Callable[[], Any]) -> None:
    """It may be refused with a sentence, or used without what the stranger added."""
    try:
        use()
    except RealCompoError as error:
        assert error.mend


# -- that the traps would close -----------------------------------------------------------------------------------------------------


def test_the_canaries_sing(tmp_path: Path, told: Path) -> None:
    """Each kind that the tests below rely on, read by what would run it."""
    ASKED.clear()
    sow(tmp_path, told)
    for name in ("tokenization_own", "torch"):
        subprocess.run([sys.executable, "-c", f"import {name}"], cwd=tmp_path, check=True)
        assert told.read_text() == name
        told.unlink()
    pickle.loads(pickle.dumps(Sings(told)))
    assert told.exists()
    with pytest.raises(AssertionError, match="asked"):
        Silent().readline()
    assert ASKED == ["stdin.readline"]
    ASKED.clear()


# -- checkpoints ----------------------------------------------------------------------------------------------------------------------

OWN = {"AutoTokenizer": ["tokenization_own.Own", None], "AutoModel": "modeling_own.Own", "AutoConfig": "configuration_own.Own"}


@pytest.mark.parametrize("kind", ["CLIPTokenizer", "Own", "OwnTokenizerFast", None])
def test_a_tokenizers_own_class_is_never_run(folder: Path, kind: str | None) -> None:
    config = folder / "tokenizer" / "tokenizer_config.json"
    change(config, auto_map={"AutoTokenizer": ["tokenization_own.Own", "tokenization_own.Own"]}, tokenizer_class=kind)
    refused_or_plain(lambda: TextEncoding.from_folder(folder / "tokenizer"))
    (folder / "tokenizer" / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": OWN}))
    refused_or_plain(lambda: TextEncoding.from_folder(folder / "tokenizer"))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": OWN},
        {"auto_map": OWN, "_class_name": "Own", "architectures": ["Own"], "model_type": "own"},
        {"_class_name": ["modeling_own", "Own"]},
        {"architectures": ["modeling_own.Own"]},
        {"custom_pipelines": {"x": {"impl": "own"}}, "attn_implementation": "stranger/kernel", "trust_remote_code": True},
    ],
    ids=["beside", "instead", "a pair", "dotted", "other ways"],
)
def test_a_networks_own_class_is_never_run(folder: Path, part: str, values: dict[str, Any]) -> None:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    change(folder / part / name, **values)
    refused_or_plain(lambda: open_all(folder))


@pytest.mark.parametrize(
    "values",
    [
        {"_class_name": ["pipeline", "Own"]},
        {"_class_name": "Own", "custom_pipeline": "own"},
        {"unet": ["modeling_own", "Own"]},
        {"unet": ["pipeline", "Own"], "text_encoder": ["own", "Own"], "tokenizer": ["tokenization_own", "Own"]},
    ],
)
def test_a_pipelines_own_class_is_never_run(folder: Path, values: dict[str, Any]) -> None:
    change(folder / "model_index.json", **values)
    refused_or_plain(lambda: open_all(folder))


def test_only_known_classes_are_loaded() -> None:
    """A config names a class; the library that it is of is ours to say."""
    assert {library for library, _ in CLASSES.values()} == {"diffusers", "transformers"}


@pytest.mark.parametrize("name", ["x.safetensors", "x.SAFETENSORS", "x.ckpt", "x.pt", "x.pth", "x.bin", "x.pkl", "x", "x.png", "x.json"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_pickle_under_any_name_runs_nothing(trap: Path, told: Path, name: str, allowed: bool) -> None:
    """As a source, as an adapter. Where pickles are allowed they are read as tensors only."""
    path = trap / name
    for body in (pickle.dumps(Sings(told)), pickle.dumps(Sings(told), protocol=0), zipped(pickle.dumps(Sings(told)))):
        path.write_bytes(body)
        with pytest.raises(BadCheckpoint):
            open_tensors(path, allowed)
        with pytest.raises(BadCheckpoint):
            found = open_checkpoint(str(path), UNetOptions(allow_pickle=allowed))
            found.config("unet")
        refused_or_plain(lambda: check_lora(str(path)))


def zipped(data: bytes) -> bytes:
    """A pickle as torch.save wraps it."""
    import io
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")
    return stream.getvalue()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pickle_in_a_folder_runs_nothing(folder: Path, told: Path, part: str) -> None:
    """Beside safetensors, in their place, and by their name."""
    stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
    pickled = pickle.dumps(Sings(told))
    for name in (f"{stem}.bin", "pytorch_model.bin", "training_args.bin", "scheduler.pt", "optimizer.pt"):
        (folder / part / name).write_bytes(pickled)
    refused_or_plain(lambda: open_all(folder))
    (folder / part / f"{stem}.safetensors").unlink()
    with pytest.raises(BadCheckpoint):
        open_all(folder)
    (folder / part / f"{stem}.safetensors").write_bytes(pickled)
    with pytest.raises(BadCheckpoint):
        open_all(folder)


# -- texts ----------------------------------------------------------------------------------------------------------------------------

TAGS = (
    "!!python/object/apply:os.system ['touch canary']",
    "!!python/object/new:own.Own []",
    "!!python/name:own.Own ''",
    "!!python/module:own ''",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['x']",
    "!own {}",
    "&a [*a, *a]",
)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_yaml_tags_make_nothing(trap: Path, tag: str, suffix: str) -> None:
    for text in (f"scheduler: {tag}\n", tag, f"? {tag}\n: 1\n", f"pictures: [{{prompt: {tag}}}]\n"):
        path = trap / f"scene{suffix}"
        path.write_text(text)
        with pytest.raises(RealCompoError):
            resolve(path, registry=toy_registry(), folder=trap, user_file=trap / "none.toml")


@pytest.mark.parametrize("form", [None, *READ])
def test_xml_entities_and_code_in_layouts_are_not_read(trap: Path, form: str | None) -> None:
    """Whatever formats there are: a file of the disk does not get into what is read, nothing unfolds, nothing is evaluated."""
    (trap / "secret.txt").write_text("the secret words")
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    object_ = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    size = "<size><width>10</width><height>10</height><depth>3</depth></size>"
    texts = [
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{trap}/secret.txt">]><annotation>{size}{object_.format("&x;")}</annotation>',
        f'<!DOCTYPE a [<!ENTITY l0 "lol">{lol}]><annotation>{size}{object_.format("&l11;")}</annotation>',
        f'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><annotation>{size}{object_.format("a cat")}</annotation>',
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="secret.txt" parse="text"/>',
        "Objects: [(__import__('own').Own(), [0, 0, 9, 9])]",
        "Objects: [('a cat', [0, 0, 9, open('canary', 'w')])]",
        "Caption: {prompt.__class__}\nObjects: [('a cat', [0, 0, 9, 9])]",
        '{"__reduce__": ["os.system", "x"], "py/object": "own.Own", "pictures": []}',
        pickle.dumps({"pictures": []}, protocol=0).decode("latin-1"),
    ]
    for number, text in enumerate(texts):
        for name in ("layout.xml", "layout.json", "layout.txt"):
            path = trap / name
            path.write_text(text)
            try:
                found = read_layouts(path, form)
            except RealCompoError as error:
                assert "the secret words" not in str(error)
                continue
            said = repr(found)
            assert "the secret words" not in said and len(said) < 10_000, f"text {number}"


def test_a_pickle_as_any_text_is_refused(trap: Path, told: Path) -> None:
    for name in ("scene.toml", "scene.yaml", "scene.json", "layout.json", "layout.txt"):
        (trap / name).write_bytes(pickle.dumps(Sings(told)))
        with pytest.raises(RealCompoError):
            if name.startswith("scene"):
                resolve(trap / name, registry=toy_registry(), folder=trap, user_file=trap / "none.toml")
            else:
                read_layouts(trap / name)


# -- pictures -------------------------------------------------------------------------------------------------------------------------


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(bytes(4))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in whole
    )


def carried(recipe: dict[str, Any]) -> bytes:
    return png((b"iTXt", b"realcompo\0\0\0\0\0" + json.dumps({"recipe": recipe}).encode()))


def test_chunks_of_a_picture_run_nothing(trap: Path, told: Path) -> None:
    """Other chunks, other keywords, packed or not; what unpacks to much is not unpacked."""
    pickled = pickle.dumps(Sings(told))
    bodies = [
        [
            (b"tEXt", b"realcompo\0" + pickled),
            (b"zTXt", b"realcompo\0\0" + zlib.compress(pickled)),
            (b"eXIf", pickled),
            (b"iCCP", b"x\0\0" + pickled),
        ],
        [(b"iTXt", b"realcompo\0\0\0\0\0" + pickled)],
        [(b"iTXt", b"realcompo\0\1\0\0\0" + zlib.compress(pickled))],
        [(b"iTXt", b"realcompo\0\1\0\0\0" + zlib.compress(bytes(64 << 20)))],
    ]
    for chunks in bodies:
        (trap / "a.png").write_bytes(png(*chunks))
        with pytest.raises(BadPicture):
            read_recipe(trap / "a.png")


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ({"branches": [{"name": "sd/v1-5", "source": "x.ckpt", "options": {"allow_pickle": True}}, "mini/boxes"]}, "allow_pickle"),
        ({"planner": {"name": "openai/planner", "options": {"base_url": "http://127.0.0.1:9/v1"}}}, "base_url"),
        ({"planner": {"name": "openai/planner", "options": {"key_from": "HOME"}}}, "key_from"),
        ({"planner": {"name": "openai/planner", "options": {"cache": "/tmp"}}}, "cache"),
    ],
)
def test_a_recipe_in_a_picture_is_not_the_users_word(trap: Path, recipe: dict[str, Any], name: str) -> None:
    """By `check`, `export` and `plan --keep` too, which take a PNG as they take a file: it would send the user's key to a stranger."""
    whole = {**recipe, "pictures": [{"prompt": "a cat", "seed": 1, "conditions": {"boxes": {"a cat": [0, 0, 1, 1]}}}]}
    (trap / "a.png").write_bytes(carried(whole))
    found = read_recipe(trap / "a.png").recipe
    with pytest.raises(BadOption, match=rf"a\.png[\s\S]*turns {name} on"):
        resolve(Carried(found, str(trap / "a.png")), folder=trap, user_file=trap / "none.toml")
    from typer.testing import CliRunner

    from realcompo.cli import app

    for words in (
        ["check", "a.png"],
        ["export", "a.png"],
        ["plan", "--keep", "a.png", "a cat"],
        ["plan", "--revise", "a.png", "move the cat"],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2 and f"turns {name} on" in done.output, done.output
    own = resolve(Recipe.model_validate(whole), folder=trap, user_file=trap / "none.toml")
    assert own.recipe.pictures[0].prompt == "a cat", "what the user holds in Python is their own word"


# -- where we are called ------------------------------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_a_folders_modules_are_not_ours(trap: Path, told: Path) -> None:
    """The command, called in a folder whose files are named as what we import."""
    command = Path(sys.executable).with_name("realcompo")
    if not command.exists():
        pytest.skip("the command is not installed here")
    (trap / "scene.toml").write_text('branches = ["mini/fidelity", "mini/boxes"]\npictures = [{ prompt = "a cat" }]\n')
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for words in (["list"], ["check", "scene.toml"], ["show", "mini/fidelity"]):
        done = subprocess.run(
            [str(command), *words], cwd=trap, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 2), done.stderr
        assert not told.exists()
