"""A picture carries its recipe, is written whole or not at all, and is drawn again from its PNG alone."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import realcompo as rc
from realcompo.draw import generate, kept, reproduce
from realcompo.errors import BadOption, BadPicture, BadRecipe, DifferentWeights, UnknownName
from realcompo.files import file_name
from realcompo.pictures.png import read_recipe
from realcompo.pictures.result import Picture, sign
from realcompo.recipes.recipe import PictureEntry, Recipe
from realcompo.registry import Registry
from realcompo.testing import toy_registry
from realcompo.testing.toys import ToyBranch

BOXES = rc.Boxes({"a cat": (0.0, 0.2, 0.5, 1.0), "a dog": (0.5, 0.2, 1.0, 1.0)})
ONE = rc.Boxes({"a dog": (0.5, 0.2, 1.0, 1.0)})


@pytest.fixture(scope="module")
def registry() -> Registry:
    return toy_registry()


@pytest.fixture(scope="module")
def result(registry: Registry) -> rc.Result:
    composer = rc.Composer("toy/fidelity", "toy/spatial", registry=registry, num_inference_steps=5, device="cpu")
    return composer(["a cat and a dog", "a dog: sitting/down"], [BOXES, ONE], seed=[3, 9])


@pytest.fixture
def saved(result: rc.Result, tmp_path: Path) -> list[Path]:
    return result.save(tmp_path)


def rewrite(path: Path, change: Any) -> Path:
    """The PNG with its recipe's JSON changed by hand."""
    found = read_recipe(path)
    data = {"recipe": found.recipe.plain(), "facts": found.facts}
    change(data)
    info = PngInfo()
    info.add_itxt("realcompo", json.dumps(data))
    with Image.open(path) as image:
        image.save(path.with_name("changed.png"), pnginfo=info)
    return path.with_name("changed.png")


# -- carrying ----------------------------------------------------------------------------------------------------------------


def test_each_picture_carries_its_own_recipe(result: rc.Result, saved: list[Path]) -> None:
    assert [path.name for path in saved] == ["a-cat-and-a-dog.png", "a-dog-sitting-down.png"]
    for index, path in enumerate(saved):
        found = read_recipe(path)
        assert found.recipe == result.recipe.alone(index)
        assert found.recipe.pictures[0].seed == (3, 9)[index]
        assert found.facts["weights"] == result.facts["weights"]
        assert found.facts["batch"] == {"index": index, "size": 2}
        with Image.open(path) as image:
            assert image.tobytes() == result.images[index].tobytes()


def test_a_picture_is_a_pil_image(result: rc.Result, tmp_path: Path) -> None:
    picture = result.image
    assert isinstance(picture, Picture) and isinstance(picture, Image.Image)
    assert picture.copy().recipe == picture.recipe
    again = pickle.loads(pickle.dumps(picture))
    assert again.recipe == picture.recipe and again.tobytes() == picture.tobytes()
    assert type(picture.resize((8, 8))) is Image.Image, "no recipe draws what was made of a picture"
    picture.save(tmp_path / "x.jpg")
    picture.save(tmp_path / "x.webp", lossless=True)
    with pytest.raises(BadPicture, match="no PNG"):
        read_recipe(tmp_path / "x.jpg")


def test_saving_into_a_stream_and_with_chunks_of_ones_own(result: rc.Result, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Author", "me")
    stream = io.BytesIO()
    result.image.save(stream, format="PNG", pnginfo=info)
    (tmp_path / "x.png").write_bytes(stream.getvalue())
    assert read_recipe(tmp_path / "x.png").recipe == result.image.recipe
    with Image.open(tmp_path / "x.png") as image:
        assert image.text["Author"] == "me"  # type: ignore[attr-defined]


def test_nothing_is_written_over(result: rc.Result, saved: list[Path], tmp_path: Path) -> None:
    assert [path.name for path in result.save(tmp_path)] == ["a-cat-and-a-dog-2.png", "a-dog-sitting-down-2.png"]


def test_tensors_are_no_files(registry: Registry, tmp_path: Path) -> None:
    composer = rc.Composer("toy/fidelity", registry=registry, num_inference_steps=2, device="cpu")
    with pytest.raises(BadPicture, match="tensors"):
        composer("a cat", output_type="pt", seed=0).save(tmp_path)


def test_facts_that_json_cannot_hold_do_not_cost_the_picture(tmp_path: Path) -> None:
    recipe = Recipe(pictures=(PictureEntry(prompt="x", seed=0),))
    (picture,) = sign([Image.new("RGB", (4, 4))], recipe, {"a": float("inf"), "b": object(), 3: (1, 2)})  # type: ignore[dict-item]
    picture.save(tmp_path / "x.png")
    facts = read_recipe(tmp_path / "x.png").facts
    assert facts["a"] == "inf" and facts["3"] == [1, 2]


# -- whole or not at all -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_save_leaves_nothing(
    result: rc.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"older")

    def broken(self: Any, stream: Any, *args: Any, **kwargs: Any) -> None:
        stream.write(b"\x89PNG half of it")
        raise error

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(error):
        result.image.save(path)
    assert path.read_bytes() == b"older"
    assert [one.name for one in tmp_path.iterdir()] == ["x.png"]


def test_bad_places(result: rc.Result, tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match=r"its folder does not exist\n.*make"):
        result.image.save(tmp_path / "none" / "x.png")
    with pytest.raises(BadPicture, match=r"\.what is no format"):
        result.image.save(tmp_path / "x.what")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadPicture, match="cannot be written"):
        result.image.save(tmp_path / "folder.png")
    assert [one.name for one in tmp_path.iterdir()] == ["folder.png"]


# -- names -------------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_file_names_are_safe(text: str) -> None:
    name = file_name(text)
    assert name and len(name.encode()) <= 101
    assert not set(name) & set('/\\:*?"<>|\0\n ') and not name.startswith((".", "-")) and ".." not in name
    assert file_name(name).rstrip("-") == name.rstrip("-")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a cat and a dog", "a-cat-and-a-dog"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "con-"),
        ("", "picture"),
        ("…", "picture"),
        ("Ein Kätzchen", "ein-kätzchen"),
        ("猫と犬", "猫と犬"),
    ],
)
def test_file_names(text: str, name: str) -> None:
    assert file_name(text) == name


# -- reading -----------------------------------------------------------------------------------------------------------------


def test_every_truncation_is_told(saved: list[Path], tmp_path: Path) -> None:
    whole = saved[0].read_bytes()
    for length in [0, 4, 8, 20, 33, len(whole) // 2, len(whole) - 13, len(whole) - 1]:
        path = tmp_path / "cut.png"
        path.write_bytes(whole[:length])
        with pytest.raises(BadPicture, match=r"truncated|no PNG") as caught:
            read_recipe(path)
        assert "cut.png" in str(caught.value) and caught.value.mend


def test_a_damaged_recipe_is_told(saved: list[Path]) -> None:
    data = bytearray(saved[0].read_bytes())
    place = data.index(b"realcompo\0") + 40
    data[place] ^= 0xFF
    saved[0].write_bytes(bytes(data))
    with pytest.raises(BadPicture, match="damaged"):
        read_recipe(saved[0])


def test_pictures_without_a_recipe(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(BadPicture, match=r"carries no recipe\n.*RealCompo saved"):
        read_recipe(tmp_path / "plain.png")
    with pytest.raises(BadPicture, match="no such picture"):
        read_recipe(tmp_path / "none.png")


def test_a_recipe_that_unfolds_to_gigabytes_is_refused(saved: list[Path], tmp_path: Path) -> None:
    body = b"realcompo\0\1\0\0\0" + zlib.compress(b" " * (64 << 20), 9)
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(BadPicture, match="larger than 40 MiB"):
        read_recipe(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (lambda data: data["recipe"].update(version=2), BadRecipe, "of version 2"),
        (lambda data: data["recipe"].update(prompt="x"), BadRecipe, "its recipe is invalid: prompt"),
        (lambda data: data.pop("recipe"), BadPicture, "its recipe is damaged"),
        (lambda data: data.update(recipe=[]), BadPicture, "its recipe is damaged"),
        (lambda data: data.update(facts="x"), BadPicture, "its recipe is damaged"),
    ],
)
def test_changed_recipes(saved: list[Path], change: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        read_recipe(rewrite(saved[0], change))


# -- reproducing -------------------------------------------------------------------------------------------------------------


def test_the_same_pixels(registry: Registry, saved: list[Path], tmp_path: Path) -> None:
    for path in saved:
        with warnings.catch_warnings(record=True):
            found = reproduce.reproduce(path, registry=registry)
        assert found.same and found.largest == 0 and not found.edited
        assert any("in a batch of 2" in note for note in found.notes)
        assert read_recipe(path).recipe == found.result.recipe
        found.result.image.save(tmp_path / "again.png")  # and again from the reproduction
        assert reproduce.reproduce(tmp_path / "again.png", registry=registry).notes == ()


def test_other_weights_are_an_error_that_names_both(registry: Registry, saved: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyBranch, "fingerprint", lambda self: {"toy": "abcd"})
    with pytest.raises(DifferentWeights, match=r"weights of 'toy/fidelity' are others .*toy: toy/fidelity .* in the picture, abcd here"):
        reproduce.reproduce(saved[0], registry=registry)


def test_other_versions_are_a_warning(registry: Registry, saved: list[Path]) -> None:
    path = rewrite(saved[0], lambda data: data["facts"]["versions"].update(torch="1.0"))
    with pytest.warns(UserWarning, match=r"torch 1\.0 drew the picture, .* is here"):
        assert reproduce.reproduce(path, registry=registry).same


def test_an_edited_picture_is_told(registry: Registry, saved: list[Path]) -> None:
    info = PngInfo()
    with Image.open(saved[0]) as image:
        info.add_itxt("realcompo", image.text["realcompo"])  # type: ignore[attr-defined]
        image.putpixel((0, 0), (1, 2, 3))
        image.save(saved[0], pnginfo=info)
    with warnings.catch_warnings(record=True):
        found = reproduce.reproduce(saved[0], registry=registry)
    assert not found.same and found.edited and 0 < found.changed < 0.01


def test_no_seed_no_reproduction(registry: Registry, saved: list[Path]) -> None:
    path = rewrite(saved[0], lambda data: data["recipe"]["pictures"][0].pop("seed"))
    with pytest.raises(BadPicture, match="no seed gives"):
        reproduce.reproduce(path, registry=registry)


def test_a_picture_of_a_plugin_that_is_not_here(registry: Registry, saved: list[Path]) -> None:
    path = rewrite(saved[0], lambda data: data["recipe"]["branches"][1].update(name="alien/branch"))
    with pytest.raises(UnknownName, match=r"changed\.png: it was drawn with 'alien/branch': no branch is called"):
        reproduce.reproduce(path, registry=registry)


def test_a_picture_may_not_let_a_pickle_in(registry: Registry, saved: list[Path]) -> None:
    path = rewrite(saved[0], lambda data: data["recipe"]["branches"][0].update(options={"allow_pickle": True}))
    with pytest.raises(BadOption, match="turns allow_pickle on"):
        reproduce.reproduce(path, registry=registry)


def test_no_planner_of_a_strangers_picture_is_asked(registry: Registry, saved: list[Path]) -> None:
    def change(data: Any) -> None:
        data["recipe"]["planner"] = {"name": "evil/planner"}
        data["recipe"]["pictures"][0]["conditions"] = {}

    with pytest.raises(rc.RealCompoError, match="has no boxes"):
        reproduce.reproduce(rewrite(saved[0], change), registry=registry)


def test_damaged_pixels_are_told(registry: Registry, saved: list[Path]) -> None:
    data = saved[0].read_bytes()
    place = data.index(b"IDAT") + 20
    saved[0].write_bytes(data[:place] + b"\0" * 40 + data[place + 40 :])
    with pytest.raises(BadPicture, match=r"pixels cannot be read|not the same"):
        found = reproduce.reproduce(saved[0], registry=registry)
        assert found.same


def test_short_names_are_functions(result: rc.Result) -> None:
    assert callable(rc.run) and callable(rc.generate) and callable(rc.plan) and callable(rc.reproduce)


# -- the short ways in -------------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.chdir(tmp_path)


def test_generate(plain: None, registry: Registry) -> None:
    more: dict[str, Any] = {"fidelity": "toy/fidelity", "spatial": "toy/spatial", "device": "cpu", "registry": registry}
    result = rc.generate("a cat and a dog", BOXES, seed=3, num_inference_steps=5, **more)
    assert result.recipe.num_inference_steps == 5
    before = kept._kept
    again = rc.generate("a cat and a dog", BOXES, seed=3, num_inference_steps=5, **more)
    assert kept._kept is before, "the composer is kept, so that weights are loaded once"
    assert again.image.tobytes() == result.image.tobytes()
    other = rc.generate("a cat and a dog", BOXES, seed=3, num_inference_steps=5, balancer="core/mean", **more)
    assert other.recipe.balancer.name == "core/mean"


def test_a_file_s_name_becomes_no_folder(result: rc.Result, tmp_path: Path) -> None:
    """`result.save("x.png")` made a folder x.png, into which the next `image.save("x.png")` could not be written."""
    with pytest.raises(BadPicture, match=r"x\.png: it names a file.*\n  mend: name a folder, or result\.image\.save"):
        result.save(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there.png").mkdir()
    assert result.save(tmp_path / "there.png") and result.save(tmp_path / "v1.5"), "folders that are there, or have a dot"


def test_a_file_is_no_recipe_of_a_composer_and_a_list_no_prompt_of_a_plan(plain: None, registry: Registry) -> None:
    for wrong in ("scene.toml", {"branches": ["toy/fidelity"]}):
        with pytest.raises(BadOption, match=r"from_recipe takes a Recipe, not a (str|dict)\n  mend: rc\.run"):
            rc.Composer.from_recipe(wrong, registry)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match=r"prompt = \['a cat'\] is no text"):
        rc.plan(["a cat"], registry=registry)  # type: ignore[arg-type]


def test_remarks_name_the_line_that_asked(plain: None, registry: Registry) -> None:
    """A newcomer sees a file of ours otherwise, and looks for the mistake there."""
    one = rc.Composer(
        registry.branch("toy/fidelity"), registry.branch("toy/spatial"), device="cpu", num_inference_steps=2, registry=registry
    )
    more: dict[str, Any] = {"fidelity": "toy/fidelity", "spatial": "toy/spatial", "device": "cpu", "registry": registry}
    for call in (
        lambda: one("a cat and a dog", BOXES, seed=0),
        lambda: rc.generate("a cat and a dog", BOXES, seed=3, num_inference_steps=2, **more),
    ):
        with pytest.warns(rc.errors.Remark, match="2 steps of ddim begin") as told:
            call()
        assert {item.filename for item in told} == {__file__}


def test_generate_tells_what_it_does_not_take(plain: None, registry: Registry) -> None:
    with pytest.raises(UnknownName, match=r"generate takes no 'stpes'"):
        rc.generate("x", stpes=5, registry=registry)
    for name, here in {
        "steps": "num_inference_steps",
        "boxes": r"rc\.Boxes",
        "torch_dtype": "dtype",
        "negative": "negative_prompt",
    }.items():
        with pytest.raises(UnknownName, match=rf"generate takes no '{name}'\n  mend: (write|give) {here}"):
            rc.generate("x", **{name: 5}, registry=registry)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="spatial is given without fidelity"):
        rc.generate("x", spatial="toy/spatial", registry=registry)
    with pytest.raises(BadOption, match="takes no object as a branch"):
        rc.generate("x", fidelity=object(), registry=registry)
    with pytest.raises(rc.RealCompoError, match="has no boxes"):
        rc.generate("x", fidelity="toy/fidelity", spatial="toy/spatial", registry=registry)


def test_run_and_plan(plain: None, registry: Registry) -> None:
    recipe = {"branches": ["toy/fidelity", "toy/spatial"], "num_inference_steps": 3, "device": "cpu"}
    with pytest.raises(BadRecipe, match="it draws nothing"):
        generate.run(recipe, registry=registry)
    pictures = [{"prompt": "a dog", "conditions": {"boxes": {"a dog": [0, 0, 1, 0.5]}}}] * 2
    first, again = (generate.run({**recipe, "pictures": pictures}, registry=registry) for _ in range(2))
    seeds = [picture.seed for picture in first.recipe.pictures]
    assert len(set(seeds)) == 2 and None not in seeds, "missing seeds are made from what is asked"
    assert seeds == [picture.seed for picture in again.recipe.pictures]
    with pytest.raises(BadOption, match="names no planner"):
        rc.plan("a dog", recipe=recipe, registry=registry)
