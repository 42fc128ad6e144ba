"""What the fuzzing found once, each as it was found: told in a sentence now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from realcompo_openai.client import _answer
from realcompo_openai.reply import Unreadable, parse_reply

import realcompo as rc
from realcompo.conditions import BoxItem
from realcompo.conditions.base import with_ids
from realcompo.conditions.boxes import MAX_BOXES
from realcompo.conditions.files import read_json
from realcompo.conditions.named import read_named_file
from realcompo.errors import (
    LONGEST,
    BadCheckpoint,
    BadCondition,
    BadOption,
    BadPicture,
    BadRecipe,
    RealCompoError,
    UnknownName,
    nearest,
    printable,
)
from realcompo.files import write_whole
from realcompo.pictures.png import read_recipe
from realcompo.plans.layouts import parse_layouts
from realcompo.plans.layouts import read_layouts as parse_file
from realcompo.recipes import files as recipe_files
from realcompo.recipes.configuration import MAX_SETS, resolve
from realcompo.recipes.recipe import MAX_DEPTH, MAX_STEPS, PictureEntry, Recipe, plain_data, read_condition
from realcompo.recipes.writing import write_recipe
from realcompo.registry import Registry
from realcompo.specs import BranchSpec
from realcompo.testing import toy_registry
from realcompo.toolkit.kinds import identify
from tests.fuzz.pictures import chunk

HUGE = 10**400
HALF = '"\\ud800"'


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """The recipe of a text."""

    def reader(text: str, suffix: str = ".json") -> Recipe:
        path = tmp_path / f"scene{suffix}"
        path.write_text(text)
        return resolve(path, registry=toy_registry(), folder=tmp_path, user_file=tmp_path / "none.toml").recipe

    return reader


def toy(**more: Any) -> str:
    return json.dumps({"branches": ["toy/fidelity", "toy/spatial"], **more})


# -- texts that are none -----------------------------------------------------------------------------------------------------------


def test_half_a_surrogate_pair_is_no_text(read: Any, tmp_path: Path) -> None:
    """JSON can spell it; no file and no tokenizer takes it."""
    with pytest.raises(BadRecipe, match="surrogate"):
        read(toy(pictures=[{"prompt": "x"}]).replace('"x"', HALF))
    with pytest.raises(BadRecipe, match="surrogate"):
        read(toy(pictures=[{"prompt": "x"}]).replace('"prompt"', HALF))
    with pytest.raises(BadCondition, match="surrogate"):
        parse_layouts(f'{{"format": "realcompo-layout", "pictures": [{{"prompt": {HALF}, "objects": []}}]}}')
    (tmp_path / "pose.json").write_text(f'{{"people": [{HALF}]}}')
    with pytest.raises(BadCondition, match="surrogate"):
        read_json(tmp_path / "pose.json")
    with pytest.raises(Unreadable, match="surrogate"):
        parse_reply(f'{{"objects": [], "background": {HALF}}}')
    with pytest.raises(Unreadable, match="surrogate"):
        parse_reply(f'Here: {{"objects": [], "background": {HALF}}}')
    body = f'{{"choices": [{{"message": {{"content": {HALF}}}}}]}}'
    assert _answer(body.encode()).text == "?"
    png = tmp_path / "a.png"
    text = b'{"recipe": {"pictures": [{"prompt": %s}]}, "facts": {}}' % HALF.encode()
    ours = chunk(b"iTXt", b"realcompo\0\0\0\0\0" + text)
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + ours + chunk(b"IEND", b""))
    with pytest.raises(BadPicture, match="surrogate"):
        read_recipe(png)


def test_a_recipe_made_in_python_with_half_a_pair_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    write_whole(path, "old")
    with pytest.raises(BadRecipe, match="surrogate"):
        write_recipe(Recipe(pictures=(PictureEntry(prompt="\ud800"),)), path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


# -- numbers ------------------------------------------------------------------------------------------------------------------------


def test_numbers_of_hundreds_of_digits(read: Any, tmp_path: Path) -> None:
    boxes = {"prompt": "a cat", "conditions": {"boxes": {"a cat": [0, 0, HUGE, 1]}}}
    with pytest.raises(BadCondition, match="digits"):
        read(toy(pictures=[boxes]))
    with pytest.raises(BadCondition, match="digits"):
        rc.Boxes({"a cat": (0, 0, HUGE, 1)})
    with pytest.raises(RealCompoError):
        read_condition("boxes", [{"phrase": "a cat", "box": [0, 0, HUGE, 1]}])
    annotation = {"image_id": 1, "category_id": 1, "bbox": [0, 0, HUGE, 1]}
    coco = {"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [annotation], "categories": [{"id": 1, "name": "a cat"}]}
    with pytest.raises(BadCondition):
        parse_layouts(json.dumps(coco), "coco")
    coco["images"] = [{"id": 1, "width": HUGE, "height": 9}]
    annotation["bbox"] = [0, 0, 1, 1]
    with pytest.raises(BadCondition):
        parse_layouts(json.dumps(coco), "coco")
    for form, people in (
        ("openpose", {"people": [{"pose_keypoints_2d": [HUGE] * 54}]}),
        ("coco", [{"image_id": 1, "keypoints": [HUGE] * 51}]),
    ):
        (tmp_path / "pose.json").write_text(json.dumps(people))
        with pytest.raises(BadCondition):
            read_named_file("keypoints", tmp_path / "pose.json", {"phrases": ["a dancer"], "format": form}, "scene.toml")


@pytest.mark.parametrize("number", [str(HUGE), "0x" + "f" * 6000], ids=["400 digits", "7,000 digits"])
def test_settings_of_hundreds_of_digits(read: Any, number: str) -> None:
    """A whole number that no float holds, and one that Python refuses to write down."""
    for line in (
        f"num_inference_steps = {number}",
        f"height = {number}",
        f"branches = [{{name = 'toy/fidelity', guidance_scale = {number}}}]",
    ):
        with pytest.raises(RealCompoError) as caught:
            read(line + ("" if "branches" in line else '\nbranches = ["toy/fidelity"]'), ".toml")
        assert len(str(caught.value)) < 1000


def test_steps_are_bounded(read: Any) -> None:
    """Every step is looked at before a run, by `check` too: a milliard of them hung it."""
    with pytest.raises(BadRecipe, match="num_inference_steps"):
        read(toy(num_inference_steps=10**9))
    assert read(toy(num_inference_steps=MAX_STEPS)).num_inference_steps == MAX_STEPS


# -- values of other kinds ----------------------------------------------------------------------------------------------------------


def test_ids_and_kinds_that_are_tables(read: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="kind"):
        read(toy(pictures=[{"prompt": "x", "conditions": {"boxes": {"kind": {}, "items": []}}}]))
    good = {"images": [{"id": 1, "width": 9, "height": 9}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]}
    for place, name in (("images", "id"), ("annotations", "image_id"), ("annotations", "category_id"), ("categories", "id")):
        for wrong in ([], {}, [{}]):
            data = json.loads(json.dumps({**good, "categories": [{"id": 1, "name": "a cat"}]}))
            data[place][0][name] = wrong
            with pytest.raises(BadCondition):
                parse_layouts(json.dumps(data), "coco")
    (tmp_path / "pose.json").write_text("[]")
    for told in ({"format": []}, {"phrases": ["x"], "size": ["a", {}]}, {"phrases": ["x"], "image_id": []}, {"phrases": 3}):
        with pytest.raises(BadCondition):
            read_named_file("keypoints", tmp_path / "pose.json", told, "scene.toml")


@pytest.mark.parametrize("shape", [(), (4,), (320, 4), (1, 2, 3, 4, 5)])
def test_a_first_convolution_of_any_rank(shape: tuple[int, ...]) -> None:
    unet = "model.diffusion_model."
    shapes = {f"{unet}input_blocks.0.0.weight": shape, f"{unet}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": ()}
    kind = identify(shapes)
    assert kind.family is None and "no convolution" in kind.what


def test_configs_of_any_value_are_told_by_their_source(checkpoint: Any, tmp_path: Path) -> None:
    import shutil

    from realcompo.registry import installed

    folder = Path(shutil.copytree(checkpoint("sd1"), tmp_path / "copy"))
    config = folder / "unet" / "config.json"
    good = json.loads(config.read_text())
    for name, value in (
        ("down_block_types", 3),
        ("down_block_types", [3]),
        ("sample_size", "x"),
        ("out_channels", None),
        ("block_out_channels", {}),
    ):
        config.write_text(json.dumps({**good, name: value}))
        try:
            installed().inspect("sd/v1-5", {}, str(folder))
        except RealCompoError as error:
            assert str(folder) in str(error)
    config.write_text(json.dumps({key: value for key, value in good.items() if key != "out_channels"}))
    try:
        installed().inspect("sd/v1-5", {}, str(folder))
    except RealCompoError as error:
        assert error.mend


def test_what_a_strangers_inspect_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry = toy_registry()
    monkeypatch.setattr(type(registry), "load", lambda self, spec: Broken)
    with pytest.raises(BadCheckpoint, match=r"KeyError: 'channels'"):
        registry.inspect("toy/fidelity", {}, "a/b")


class Broken:
    @classmethod
    def inspect(cls, spec: BranchSpec, options: Any, source: Any = None) -> Any:
        return {}["channels"]


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000 + "y", "circle/x"])
def test_paths_that_no_disk_holds(read: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    pose = {"prompt": "x", "conditions": {"keypoints": {"file": name, "phrases": ["x"]}}}
    for told in ({"extends": f"{name}.toml"}, {"prompts": name}, {"pictures": [pose]}):
        with pytest.raises((BadRecipe, BadCondition)):
            read(toy(**told))
    for reader in (read_recipe, parse_file, read_json):
        with pytest.raises((BadCondition, BadPicture)):
            reader(tmp_path / name)


# -- depth, length, number ------------------------------------------------------------------------------------------------------------


def test_deep_tables(read: Any) -> None:
    with pytest.raises(BadRecipe, match="stand in each other"):
        read(".".join(["a"] * 900) + " = 1", ".toml")
    with pytest.raises(BadRecipe, match="stand in each other"):
        read('{"a":' * 900 + "1" + "}" * 900)
    inner: Any = 1
    for _ in range(MAX_DEPTH):
        inner = [inner]
    assert plain_data(inner) == inner
    with pytest.raises(ValueError, match="stand in each other"):
        plain_data([inner])


def test_messages_are_bounded_and_steer_no_terminal() -> None:
    error = BadOption("x" * 50_000, where="\x1b[2J", mend="‮good \ud800")
    assert len(str(error)) < 2 * LONGEST and "\x1b" not in str(error) and "‮" not in str(error)
    str(error).encode()
    assert "\\x1b[2J" in str(error)
    assert printable("a cat\nund ein Hündchen 好") == "a cat\nund ein Hündchen 好"
    assert nearest("q" * 10**6, ["a"]) == "known: a"


def test_equal_phrases_are_numbered_in_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n equal phrases the last tried n names: seconds for a thousand, hours for a file that is let in."""
    items = [BoxItem(phrase="a cat", box=(0, 0, 1, 1)) for _ in range(3000)]
    tries = 0

    class Counted(set):  # type: ignore[type-arg]
        def __contains__(self, one: object) -> bool:
            nonlocal tries
            tries += 1
            return super().__contains__(one)

    monkeypatch.setattr("realcompo.conditions.base.set", Counted, raising=False)
    named = with_ids(items, "box")
    assert [one.id for one in named[:3]] == ["a cat", "a cat#2", "a cat#3"] and len({one.id for one in named}) == 3000
    assert 3000 <= tries < 3 * 3000


def test_boxes_and_sets_are_bounded(read: Any) -> None:
    with pytest.raises(BadCondition, match="more than"):
        rc.Boxes([("a cat", (0, 0, 1, 1))] * (MAX_BOXES + 1))
    assert len(rc.Boxes([("a cat", (0, 0, 1, 1))] * MAX_BOXES).items) == MAX_BOXES
    with pytest.raises(BadRecipe, match="more than"):
        read("".join(f'set."a{n}" = 1\n' for n in range(MAX_SETS + 1)), ".toml")


def test_yaml_is_composed_once_for_all_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line that was asked for read the whole text again: minutes for a recipe of a few hundred poses."""
    composed = []
    real = recipe_files.yaml.compose
    monkeypatch.setattr(recipe_files.yaml, "compose", lambda *words, **more: composed.append(1) or real(*words, **more))
    recipe_files._yaml_tree.cache_clear()
    file = recipe_files.RecipeFile(tmp_path / "scene.yaml", "".join(f"k{n}: 1\n" for n in range(50)))
    assert [file.where((f"k{n}",)).rpartition(":")[2] for n in range(50)] == [str(n + 1) for n in range(50)]
    assert len(composed) == 1
