"""Recipes as data and as files: what is written is read back equal, in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import realcompo.recipes.recipe as recipes
from realcompo.conditions import Boxes, BoxItem
from realcompo.errors import BadRecipe
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.files import dotted, undotted
from realcompo.recipes.layers import recipe_layers
from realcompo.recipes.provenance import Merged
from realcompo.recipes.recipe import BranchEntry, Component, PictureEntry, ProbeOptions, Recipe, migrate
from realcompo.recipes.schema import SCHEMA_FILE, recipe_schema, schema_text
from realcompo.recipes.writing import to_json, to_toml, to_yaml, write_recipe
from tests import ROOT, examples

EXAMPLES = ROOT / "examples" / "recipes"

# Any text but lone surrogates, which are no text in a file.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PHRASES = TEXTS.filter(lambda text: bool(text.strip()))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OPTIONS = st.dictionaries(TEXTS, PLAIN, max_size=3)


@st.composite
def box_items(draw: st.DrawFn) -> BoxItem:
    shares = st.floats(0, 1, allow_subnormal=False)
    x0, x1 = sorted(draw(st.lists(shares, min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(shares, min_size=2, max_size=2, unique=True)))
    span = draw(st.none() | st.just((0, 3)))
    return BoxItem(phrase=draw(PHRASES), box=(x0, y0, x1, y1), span=span)


PICTURES = st.builds(
    PictureEntry,
    prompt=TEXTS,
    negative_prompt=TEXTS,
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    name=st.none() | TEXTS,
    conditions=st.dictionaries(st.sampled_from(["boxes", "toy/spatial"]), st.lists(box_items(), max_size=3).map(Boxes), max_size=2),
)
BRANCHES = st.builds(
    BranchEntry,
    name=TEXTS,
    role=st.sampled_from([None, "fidelity", "spatial"]),
    source=st.none() | TEXTS,
    prompt=st.none() | TEXTS,
    guidance_scale=st.none() | st.floats(0, allow_infinity=False),
    options=OPTIONS,
)
RECIPES = st.builds(
    Recipe,
    branches=st.lists(BRANCHES, max_size=3).map(tuple),
    balancer=st.builds(Component, name=TEXTS, options=OPTIONS),
    probe=st.builds(ProbeOptions, every=st.integers(1, 9), detach=st.lists(TEXTS, max_size=2).map(tuple), guided=st.booleans()),
    planner=st.none() | st.builds(Component, name=TEXTS, options=OPTIONS),
    scheduler=TEXTS,
    scheduler_options=OPTIONS,
    num_inference_steps=st.integers(1, 1000),
    height=st.none() | st.integers(1, 4096),
    device=st.none() | TEXTS,
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    offload=st.booleans(),
    pictures=st.lists(PICTURES, max_size=3).map(tuple),
)
SOME = settings(max_examples=examples(80), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SOME
@given(RECIPES)
def test_plain_data_reads_back_equal(recipe: Recipe) -> None:
    assert Recipe.model_validate(recipe.plain()) == recipe
    assert Recipe.model_validate(json.loads(json.dumps(recipe.plain()))) == recipe


@SOME
@given(RECIPES)
@pytest.mark.parametrize(("write", "suffix"), [(to_toml, ".toml"), (to_yaml, ".yaml"), (to_json, ".json")])
def test_files_read_back_equal(write: Any, suffix: str, recipe: Recipe) -> None:
    assert parse_text(write(recipe), suffix) == recipe


@SOME
@given(st.lists(st.integers(0, 99) | TEXTS, min_size=1, max_size=4))
def test_dotted_names_read_back(loc: list[str | int]) -> None:
    read = undotted(dotted(loc))
    assert [str(part) for part in read] == [str(part) for part in loc]


def test_stated_is_what_was_stated() -> None:
    recipe = Recipe(branches=("a/b",), num_inference_steps=9)  # type: ignore[arg-type]  # a bare name will do
    assert recipe.stated() == {"branches": [{"name": "a/b"}], "num_inference_steps": 9}


def test_alone_holds_one_picture() -> None:
    recipe = Recipe(pictures=(PictureEntry(prompt="a"), PictureEntry(prompt="b")))
    assert [p.prompt for p in recipe.alone(1).pictures] == ["b"]


def test_write_recipe_takes_its_format_from_the_suffix(tmp_path: Path) -> None:
    recipe = Recipe(pictures=(PictureEntry(prompt="a cat", conditions={"boxes": Boxes({"a cat": (0, 0, 1, 0.5)})}),))
    for suffix in (".toml", ".yaml", ".yml", ".json"):
        path = write_recipe(recipe, tmp_path / f"scene{suffix}")
        assert parse_text(path.read_text(encoding="utf-8"), suffix) == recipe
    assert '"a cat" = [0.0, 0.0, 1.0, 0.5]' in (tmp_path / "scene.toml").read_text()
    with pytest.raises(BadRecipe, match=r"\.ini is no format"):
        write_recipe(recipe, tmp_path / "scene.ini")


# -- versions ----------------------------------------------------------------------------------------------------------------


def test_an_older_recipe_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "VERSION", 3)
    monkeypatch.setattr(
        recipes,
        "MIGRATIONS",
        {1: lambda data: {**data, "steps": data["n"]}, 2: lambda data: {"num_inference_steps": data["steps"]}},
    )
    assert migrate({"version": 1, "n": 4}) == {"num_inference_steps": 4, "version": 3}
    assert migrate({"version": 3, "x": 1}) == {"version": 3, "x": 1}


def test_every_older_version_has_a_migration() -> None:
    assert sorted(recipes.MIGRATIONS) == list(range(1, recipes.VERSION))


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_recipe_is_refused(version: int) -> None:
    with pytest.raises(BadRecipe, match=f"of version {version}.*\n.*update RealCompo"):
        migrate({"version": version})


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_what_is_no_version_is_refused(version: Any) -> None:
    with pytest.raises(BadRecipe, match="no version of a recipe"):
        migrate({"version": version})


# -- the schema --------------------------------------------------------------------------------------------------------------


def test_the_shipped_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "write it again: realcompo show --schema > realcompo/recipes/recipe.schema.json"
    )


def test_the_schema_describes_every_key() -> None:
    schema = recipe_schema()
    assert set(Recipe.model_fields) < set(schema["properties"])
    silent = [name for name, value in schema["properties"].items() if "description" not in value and name != "$schema"]
    assert not silent
    references = {line.split('"')[3] for line in schema_text().splitlines() if '"$ref"' in line}
    assert references == {f"#/$defs/{name}" for name in schema["$defs"]}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_examples_are_recipes(path: Path) -> None:
    merged = Merged()
    for layer in recipe_layers(path, path.parent):
        merged.lay(layer)
    recipe = Recipe.model_validate(merged.data)
    assert recipe.pictures and "schema" in path.read_text(encoding="utf-8")


def test_examples_show_each_way() -> None:
    assert {path.name for path in EXAMPLES.glob("*.toml")} >= {"pets.toml", "cat-and-dog.toml", "many-pets.toml"}


BLOCK = re.compile(r"^```(toml|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_recipes_in_the_docs_are_recipes() -> None:
    blocks = BLOCK.findall((EXAMPLES.parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8"))
    read = [parse_text(text, f".{kind}") for kind, text in blocks if "[sources]" not in text]
    assert len(read) == 3
    assert read[0] == read[1], "TOML and YAML say the same"
