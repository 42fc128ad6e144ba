"""Pictures that are drawn over pictures, by recipes, batches and the command line: files beside the recipe, copies in the PNG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import realcompo as rc
from realcompo.cli import app
from realcompo.draw.batch import draw
from realcompo.errors import BadPicture, BadRecipe
from realcompo.pictures.png import read_recipe
from realcompo.recipes.configuration import resolve
from realcompo.recipes.writing import write_recipe
from realcompo.testing import toys
from tests.toyworld import toys_installed

RECIPE = """
branches = ["toy/fidelity", "toy/spatial"]
num_inference_steps = 6
device = "cpu"
balancer = "core/balance"
unset = ["planner"]

[[pictures]]
name = "over"
prompt = "a cat"
seed = 1
image = "photo.png"
strength = 0.5
conditions.boxes = { "a cat" = [0.1, 0.1, 0.6, 0.9] }

[[pictures]]
name = "part"
prompt = "a cat"
seed = 1
image = "photo.png"
mask_image = "deep/mask.png"
conditions.boxes = { "a cat" = [0.1, 0.1, 0.6, 0.9] }

[[pictures]]
name = "fresh"
prompt = "a cat"
seed = 1
conditions.boxes = { "a cat" = [0.1, 0.1, 0.6, 0.9] }
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with toys_installed("toy-none", toys, monkeypatch, tmp_path):
        shades = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(shades.repeat(8, 0).repeat(8, 1)).save(tmp_path / "photo.png")
        white = np.zeros((64, 64), np.uint8)
        white[16:48, 8:56] = 255
        (tmp_path / "deep").mkdir()
        Image.fromarray(white).save(tmp_path / "deep" / "mask.png")
        (tmp_path / "scene.toml").write_text(RECIPE)
        yield tmp_path


def test_a_batch_draws_pictures_that_begin_differently_apart_and_each_is_reproduced(desk: Path) -> None:
    found = resolve(desk / "scene.toml").recipe
    report = draw(found, desk / "out", batch_size=3)
    assert sorted(path.name for path in report.drawn) == ["fresh.png", "over.png", "part.png"]
    for path in report.drawn:
        (desk / "photo.png").rename(desk / "hidden.png")  # the PNG alone draws it again
        assert rc.reproduce(path).same
        (desk / "hidden.png").rename(desk / "photo.png")
    carried = read_recipe(desk / "out" / "part.png").recipe.pictures[0]
    assert carried.image is not None and carried.image.here and carried.mask_image is not None
    assert draw(found, desk / "out").kept and not draw(found, desk / "out").drawn, "finished ones are kept"
    other = Image.open(desk / "photo.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    other.save(desk / "photo.png")
    with pytest.raises(BadPicture, match="is not what this recipe asks for"):
        draw(resolve(desk / "scene.toml").recipe, desk / "out")


def test_a_recipe_is_written_with_its_pictures_beside_it(desk: Path) -> None:
    found = resolve(desk / "scene.toml").recipe
    for suffix in (".toml", ".yaml", ".json"):
        folder = desk / f"written{suffix}"
        folder.mkdir()
        path = write_recipe(found, folder / f"again{suffix}")
        assert len(list(folder.glob("again-*.png"))) == 2, "one for the image, which two pictures share, and one for the mask"
        assert "iVBOR" not in path.read_text(), "no copy in the text"
        assert resolve(path).recipe.pictures == found.pictures


def test_pictures_of_a_recipe_are_confined_and_told_by_line(desk: Path) -> None:
    for name, said, error in (
        ("/etc/passwd", "is not relative", BadRecipe),
        ("../photo.png", "leads outside", BadRecipe),
        ("none.png", "none.png: there is no such picture", BadPicture),
        ("scene.toml", "it is no picture that can be read here", BadPicture),
    ):
        (desk / "bad.toml").write_text(RECIPE.replace('"photo.png"', f'"{name}"', 1))
        with pytest.raises(error, match=said) as caught:
            resolve(desk / "bad.toml")
        assert "bad.toml" in str(caught.value.where)


def test_a_text_in_a_carried_recipe_opens_no_file(desk: Path) -> None:
    """What a stranger's PNG says is no path: it would have us read any file of the user's."""
    plain = resolve(desk / "scene.toml").recipe.plain()
    plain["pictures"][0]["image"] = str(desk / "photo.png")
    with pytest.raises(BadRecipe, match="image is a text"):
        rc.Recipe.model_validate(json.loads(json.dumps(plain)))


def test_check_tells_what_is_wrong_with_pictures(desk: Path) -> None:
    assert CliRunner().invoke(app, ["check", str(desk / "scene.toml")]).exit_code == 0
    Image.new("L", (64, 64)).save(desk / "deep" / "mask.png")
    checked = CliRunner().invoke(app, ["check", str(desk / "scene.toml")])
    assert checked.exit_code == 2 and "the mask is black" in checked.output
    Image.new("L", (32, 64)).save(desk / "deep" / "mask.png")
    checked = CliRunner().invoke(app, ["check", str(desk / "scene.toml")])
    assert checked.exit_code == 2 and "the mask is 32×64 pixels, the image 64×64" in checked.output
    (desk / "few.toml").write_text(RECIPE.replace("strength = 0.5", "strength = 0.1").replace("deep/mask.png", "photo.png"))
    checked = CliRunner().invoke(app, ["check", str(desk / "few.toml")])
    assert checked.exit_code == 2 and "leaves none to draw" in checked.output


def generate(desk: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["generate", "a cat", "--recipe", str(desk / "scene.toml"), "--box", "a cat=0.1,0.1,0.6,0.9", *words])


def test_the_command_line_draws_over_a_picture(desk: Path) -> None:
    photo, out = desk / "photo.png", desk / "cat.png"
    told = ["--image", str(photo), "--seed", "1", "-o", str(out)]
    done = generate(desk, *told, "--strength", "0.5")
    assert done.exit_code == 0, done.output
    entry = read_recipe(out).recipe.pictures[0]
    assert entry.strength == 0.5 and entry.image is not None and entry.mask_image is None

    done = generate(desk, *told, "--mask-box", "0.25,0.25,0.5,0.5", "--mask-box", "0.75,0,1,0.25", "--mask-feather", "0")
    assert done.exit_code == 0, done.output
    changed = (np.asarray(Image.open(out)) != np.asarray(Image.open(photo))).any(-1)
    white = np.zeros((64, 64), bool)
    white[16:32, 16:32] = white[:16, 48:] = True
    assert not (changed & ~white).any() and changed[white].mean() > 0.9

    done = generate(desk, *told, "--mask", str(desk / "deep" / "mask.png"), "--padding-mask-crop", "2")
    assert done.exit_code == 0 and read_recipe(out).recipe.pictures[0].padding_mask_crop == 2

    done = generate(desk, "--seed", "1", "-o", str(out), "--hires", "1.5", "--hires-strength", "0.6", "--upscaler", "core/lanczos")
    assert done.exit_code == 0 and Image.open(out).size == (96, 96), done.output
    assert rc.reproduce(out).same


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "none.png"], "there is no such picture"),
        (["--strength", "0.5"], "strength without an image"),
        (["--image", "photo.png", "--strength", "0"], "strength = 0 is out of bounds"),
        (["--mask-box", "0,0,1,1"], "--mask-box without --image"),
        (["--image", "photo.png", "--mask-box", "0,0,1"], "mend"),
        (["--image", "photo.png", "--mask", "deep/mask.png", "--mask-box", "0,0,1,1"], "--mask and --mask-box"),
        (["--hires", "large"], "neither a scale nor a size"),
        (["--hires-strength", "0.5"], "it is a setting of a second pass"),
        (["--upscaler", "core/lanczos"], "it is a setting of a second pass"),
        (["--hires", "2", "--upscaler", "core/lanczoz"], "no upscaler is called 'core/lanczoz'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_line_tells_what_is_wrong(words: list[str], said: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    done = generate(desk, *words, "-o", "cat.png")
    assert done.exit_code == 2 and said in done.output and not (desk / "cat.png").exists(), done.output
