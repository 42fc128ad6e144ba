"""Each bad recipe has its message, its place and its mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realcompo.errors import BadCondition, BadOption, BadRecipe, RealCompoError, UnknownName
from realcompo.recipes.configuration import resolve
from realcompo.registry import Registry
from realcompo.testing import toy_registry

TOYS = 'branches = ["toy/fidelity", "toy/spatial"]\n'


@pytest.fixture(scope="module")
def registry() -> Registry:
    return toy_registry()


def told(registry: Registry, path: Path, **more: Any) -> RealCompoError:
    with pytest.raises(RealCompoError) as caught:
        resolve(path, registry=registry, user_file=Path("/nonexistent"), folder=path.parent, **more)
    assert caught.value.mend, "an error names its mend"
    return caught.value


TOML = [
    ("x = = 1", BadRecipe, 1, "it is no TOML: Invalid value", "mend that line"),
    (
        TOYS + "num_inference_stpes = 1",
        UnknownName,
        2,
        "a recipe has no key 'num_inference_stpes'",
        "did you mean 'num_inference_steps'?",
    ),
    (
        TOYS + "num_inference_steps = 0",
        BadRecipe,
        2,
        "num_inference_steps should be greater than or equal to 1 (it is 0)",
        "denoising steps",
    ),
    (TOYS + "height = 99999", BadRecipe, 2, "height should be less than or equal to 16384", "pixels"),
    (TOYS + 'dtype = "float33"', BadRecipe, 2, "dtype should be 'float32', 'float16'", "of the networks"),
    (TOYS + "[probe]\nevry = 1", UnknownName, 3, "probe has no key 'evry'", "did you mean 'every'?"),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\n[[pictures]]\nprmpt = 'x'",
        UnknownName,
        5,
        "pictures.1 has no key 'prmpt'",
        "did you mean 'prompt'?",
    ),
    (TOYS + "[[pictures]]\nseed = 1", BadRecipe, 2, "pictures.0 has no prompt", "add prompt: what to draw"),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\nseed = 'k'",
        BadRecipe,
        4,
        "pictures.0.seed should be a whole number",
        "seed: of this picture",
    ),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\nconditions.boxes = { a = [0, 0, 2, 1] }",
        BadCondition,
        2,
        "lies outside the picture",
        "divide pixels",
    ),
    (TOYS + "[[pictures]]\nprompt = 'x'\nconditions.boxes = { a = [0, 0, 0, 1] }", BadCondition, 2, "has no area", "x0 < x1"),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\nconditions.boxes = { a = [0, 0, 1] }",
        BadCondition,
        2,
        "a box has 4 numbers, not 3",
        "(x0, y0, x1, y1)",
    ),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\nconditions.boxs = { a = [0, 0, 1, 1] }",
        UnknownName,
        2,
        "no kind of condition is called 'boxs'",
        "'boxes'?",
    ),
    (TOYS + "pictures = 5", BadRecipe, 2, "pictures should be a list (it is 5)", "what to draw"),
    ("branches = 5", BadRecipe, 1, "branches should be a list", "one fidelity branch"),
    (TOYS + "balancer = 5", BadRecipe, 2, "balancer should be a table", "rule for the weights"),
    (TOYS + "scheduler = nan", BadRecipe, None, "nan is not a finite number", "finite number"),
    (TOYS + "[balancer.options]\nrate = inf", BadRecipe, None, "inf is not a finite number", "finite number"),
    ("branches = ['toy/fidelty']", UnknownName, 1, "no branch is called 'toy/fidelty'", "did you mean 'toy/fidelity'?"),
    ("branches = ['toy/fidelity', 'toy/fidelity-v']", BadOption, 1, "one fidelity branch, this one has 2", "set role"),
    ("branches = ['toy/spatial']", BadOption, 1, "one fidelity branch, this one has 0", "set role"),
    (
        "[[branches]]\nname = 'toy/spatial'\nrole = 'fidelity'",
        BadOption,
        3,
        "'toy/spatial' is a spatial branch, asked for as fidelity",
        "name a fidelity branch",
    ),
    (
        TOYS + "[[pictures]]\nprompt = 'x'\nconditions = { 'a cat' = [0, 0, 0.5, 1] }",
        UnknownName,
        2,
        "no kind of condition is called 'a cat'",
        "boxes stand under their kind: rc.Boxes({'a cat': …})",
    ),
    ("[[branches]]\nname = 'toy/fidelity'\nguidance = 5", UnknownName, 3, "branches.0 has no key 'guidance'", "'guidance_scale'?"),
    (
        "[[branches]]\nname = 'toy/fidelity'\n[branches.options]\nspred = 5",
        BadOption,
        4,
        "toy/fidelity has no option 'spred'",
        "'spread'?",
    ),
    (
        TOYS + "balancer = { name = 'core/balance', options = { rat = 1 } }",
        BadOption,
        2,
        "core/balance has no option 'rat'",
        "'rate'?",
    ),
    (
        TOYS + "balancer = { name = 'core/balance', options = { warmup = 2 } }",
        BadOption,
        2,
        "less than or equal to 1 (got 2)",
        "realcompo show core/balance",
    ),
    (TOYS + "balancer = 'core/blance'", UnknownName, 2, "no balancer is called 'core/blance'", "'core/balance'?"),
    (TOYS + "planner = 'x/y'", UnknownName, 2, "no planner is called 'x/y'", "known: "),
    (TOYS + "version = 2", BadRecipe, 2, "the recipe is of version 2", "update RealCompo"),
    (TOYS + "set = 5", BadRecipe, 2, "set is no table", "write set"),
    (TOYS + "unset = 'x'", BadRecipe, 2, "unset is no list of names", "write unset"),
    (TOYS + "set = { 'branches.7.role' = 'spatial' }", UnknownName, 2, "branches has no place 7: it holds 2", "count from 0 to 1"),
    (TOYS + "set = { 'branches..role' = 'spatial' }", BadRecipe, None, "is no dotted name", "branches.0.guidance_scale"),
    (TOYS + "sources = { x = 'y' }", UnknownName, 2, "a recipe has no key 'sources'", "known: "),
]


@pytest.mark.parametrize(("text", "kind", "line", "what", "mend"), TOML, ids=[row[3] for row in TOML])
def test_bad_toml(
    registry: Registry, tmp_path: Path, text: str, kind: type[RealCompoError], line: int | None, what: str, mend: str
) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(text, encoding="utf-8")
    error = told(registry, path)
    assert type(error) is kind
    assert what in str(error)
    assert mend in str(error.mend)
    if line is not None:
        assert f"scene.toml:{line}" in str(error.where)


YAML = [
    ("a: [1", BadRecipe, 1, "it is no YAML", "mend that line"),
    ("a: &x 1\nb: *x", BadRecipe, 2, "aliases (*name) are not taken", "mend that line"),
    ("branches: [toy/fidelity]\ndevice: cpu\ndevice: cuda", BadRecipe, 3, "the key 'device' is written twice", "mend that line"),
    (
        "branches: [toy/fidelity]\npictures:\n  - prompt: x\n  - prompt: y\n    sead: 1",
        UnknownName,
        5,
        "pictures.1 has no key 'sead'",
        "'seed'?",
    ),
    ("- 1\n- 2", BadRecipe, None, "it holds a list, not a table", "key: value"),
    ("!!python/object/apply:os.system ['true']", BadRecipe, 1, "could not determine a constructor", "mend that line"),
    ('device: cpu\nnum_inference_steps: !!timestamp "soon"', BadRecipe, 2, "'soon' is no timestamp", "mend that line"),
    ("num_inference_steps: !!int ''", BadRecipe, 1, "'' is no int", "mend that line"),
    ("offload: !!bool maybe", BadRecipe, 1, "'maybe' is no bool", "mend that line"),
    ("1: 2", BadRecipe, None, "a name must be a text, not 1", "texts as names"),
]


@pytest.mark.parametrize(("text", "kind", "line", "what", "mend"), YAML, ids=[row[3] for row in YAML])
def test_bad_yaml(
    registry: Registry, tmp_path: Path, text: str, kind: type[RealCompoError], line: int | None, what: str, mend: str
) -> None:
    path = tmp_path / "scene.yaml"
    path.write_text(text, encoding="utf-8")
    error = told(registry, path)
    assert type(error) is kind
    assert what in str(error)
    assert mend in str(error.mend)
    if line is not None:
        assert f"scene.yaml:{line}" in str(error.where)


SETS = [
    ("seed", BadRecipe, "not of the form name=value"),
    ("=5", BadRecipe, "not of the form name=value"),
    ("device=\nversion=3", BadRecipe, "is no value"),
    ("device=$(reboot)", BadRecipe, "is no value"),
    ("branches.5.role=spatial", UnknownName, "branches has no place 5: it holds 2"),
    ("branches.foo.role=spatial", UnknownName, "branches has no place 'foo'"),
    ("branches.0.guidance_scal=3", UnknownName, "branches.0 has no key 'guidance_scal'"),
    ("brnches.0.guidance_scale=3", UnknownName, "a recipe has no key 'brnches'"),
    ("scheduler.name=3", BadRecipe, "scheduler.name cannot be set: scheduler is no table"),
    ("branches.0.options.spred=3", BadOption, "toy/fidelity has no option 'spred'"),
    ("num_inference_steps=many", BadRecipe, "should be a whole number"),
]


@pytest.mark.parametrize(("text", "kind", "what"), SETS, ids=[repr(row[0]) for row in SETS])
def test_bad_sets(registry: Registry, tmp_path: Path, text: str, kind: type[RealCompoError], what: str) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(TOYS)
    error = told(registry, path, sets=[text])
    assert type(error) is kind
    assert what in str(error)
    assert f"--set {text}" in str(error.where)


def test_json_says_each_key_once(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "scene.json").write_text('{"branches": ["toy/fidelity"],\n"device": "cpu", "device": "cuda"}')
    assert "the key 'device' is written twice" in str(told(registry, tmp_path / "scene.json"))


def test_files_that_are_no_recipes(registry: Registry, tmp_path: Path) -> None:
    assert "there is no such recipe" in str(told(registry, tmp_path / "none.toml"))
    (tmp_path / "scene.ini").write_text("")
    assert ".ini is no format of a recipe" in str(told(registry, tmp_path / "scene.ini"))
    (tmp_path / "folder.toml").mkdir()
    assert "no plain file" in str(told(registry, tmp_path / "folder.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8 text" in str(told(registry, tmp_path / "binary.toml"))
    (tmp_path / "large.toml").write_text("#" * (1 << 20) + "\n")
    assert "larger than 1 MiB" in str(told(registry, tmp_path / "large.toml"))
    (tmp_path / "deep.toml").write_text("x = " + "[" * 5000)
    assert "it is no TOML" in str(told(registry, tmp_path / "deep.toml"))
    (tmp_path / "deep.yaml").write_text("[" * 5000)
    assert "it is no YAML" in str(told(registry, tmp_path / "deep.yaml"))
