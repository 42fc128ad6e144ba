"""Layers: defaults < recommended < user file < project file < recipe (extends) < arguments < --set, and who set what."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from realcompo.errors import BadOption, BadRecipe, PluginProblem, UnknownName
from realcompo.hookspecs import hookimpl
from realcompo.recipes.configuration import Resolved, parse_set, resolve, user_settings
from realcompo.recipes.recipe import Recipe
from realcompo.registry import Registry
from realcompo.specs import BranchSpec, NoOptions, Options, PlannerSpec
from realcompo.testing import toy_registry


class Guarded(Options):
    allow_pickle: bool = False
    power: float = 1.0


def entry(name: str, module: Any, monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    import sys

    home = ModuleType(f"layer_test_{name}")
    home.REALCOMPO_API = 1  # type: ignore[attr-defined]
    for key, value in module.items():
        setattr(home, key, value)
    monkeypatch.setitem(sys.modules, home.__name__, home)
    return EntryPoint(name, home.__name__, "realcompo")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Toys, a family that stands for the embedded default, and one that recommends."""

    def branches(plugin: str, **more: Any) -> Any:
        @hookimpl
        def register_branches() -> list[BranchSpec]:
            return [
                BranchSpec(id=f"{plugin}/fidelity", role="fidelity", summary="", target="x:Y", options=Guarded, **more),
                BranchSpec(id=f"{plugin}/boxes", role="spatial", condition="boxes", summary="", target="x:Y", options=NoOptions),
            ]

        return register_branches

    @hookimpl
    def register_planners() -> list[PlannerSpec]:
        return [PlannerSpec(id="mini/planner", summary="", target="x:Y")]

    recommended = {"num_inference_steps": 30}
    return toy_registry(
        entry("mini", {"register_branches": branches("mini"), "register_planners": register_planners}, monkeypatch),
        entry("wise", {"register_branches": branches("wise", recommended=recommended, source="org/wise")}, monkeypatch),
    )


@pytest.fixture
def home(tmp_path: Path, registry: Registry) -> Any:
    """A folder with a user file and a project; `home(...)` resolves in it."""
    (tmp_path / "project" / "deep").mkdir(parents=True)
    user = tmp_path / "config.toml"

    def go(recipe: Any = None, **more: Any) -> Resolved:
        return resolve(recipe, registry=registry, folder=tmp_path / "project" / "deep", user_file=user, **more)

    go.user, go.project, go.folder = user, tmp_path / "project" / "realcompo.toml", tmp_path / "project"  # type: ignore[attr-defined]
    return go


def test_nothing_configured_is_the_embedded_default(home: Any) -> None:
    found = home()
    assert [branch.name for branch in found.recipe.branches] == ["mini/fidelity", "mini/boxes"]
    assert found.recipe.planner is not None and found.recipe.planner.name == "mini/planner"
    assert set(found.origins.values()) == {"defaults"}


def test_nothing_configured_and_no_default_installed() -> None:
    with pytest.raises(UnknownName, match=r"needs the plugin realcompo-mini, which is not installed\n.*pip install realcompo-mini"):
        resolve(registry=toy_registry(), user_file=Path("/nonexistent"))


def test_the_default_planner_belongs_to_the_default_family(home: Any) -> None:
    assert home({"branches": ["toy/fidelity", "toy/spatial"]}).recipe.planner is None
    kept = home({"branches": ["toy/fidelity", "toy/spatial"], "planner": "mini/planner"}).recipe.planner
    assert kept is not None and kept.name == "mini/planner"


def test_each_layer_goes_over_the_one_beneath(home: Any) -> None:
    recipe = home.folder / "scene.toml"
    recipe.write_text('branches = ["wise/fidelity", "wise/boxes"]\n')
    found = home(recipe)
    assert found.recipe.num_inference_steps == 30
    assert found.origins["num_inference_steps"] == "recommended by wise/fidelity"

    home.user.write_text('num_inference_steps = 31\ndevice = "cpu"\n')
    assert home(recipe).recipe.num_inference_steps == 31
    assert home(recipe).origins["num_inference_steps"] == f"user file {home.user}"

    home.project.write_text("num_inference_steps = 32\n")
    assert home(recipe).recipe.num_inference_steps == 32
    assert home(recipe).origins["num_inference_steps"] == f"project file {home.project}"

    (home.folder / "base.yaml").write_text("num_inference_steps: 33\nscheduler: pndm\n")
    recipe.write_text('extends = "base.yaml"\nbranches = ["wise/fidelity", "wise/boxes"]\n')
    assert home(recipe).recipe.num_inference_steps == 33
    assert home(recipe).recipe.scheduler == "pndm"

    recipe.write_text(recipe.read_text() + "num_inference_steps = 34\n")
    found = home(recipe)
    assert found.recipe.num_inference_steps == 34
    assert found.origins["num_inference_steps"] == str(recipe)
    assert found.origins["scheduler"] == str(home.folder / "base.yaml")
    assert found.origins["device"] == f"user file {home.user}"
    assert found.files == (home.user, home.project, home.folder / "base.yaml", recipe)

    assert home(recipe, arguments={"num_inference_steps": 35}).recipe.num_inference_steps == 35
    found = home(recipe, arguments={"num_inference_steps": 35}, sets=["num_inference_steps=36"])
    assert found.recipe.num_inference_steps == 36
    assert found.origins["num_inference_steps"] == "--set num_inference_steps=36"


BALANCE = '[balancer]\nname = "core/balance"\noptions = { inside = [0.9, 0.5] }\n'


def test_tables_join_and_another_component_starts_anew(home: Any) -> None:
    home.user.write_text(BALANCE)
    wise = {"branches": ["wise/fidelity", "wise/boxes"]}
    joined = home({**wise, "balancer": {"options": {"rate": 0.2}}}).recipe.balancer
    assert joined.options == {"inside": [0.9, 0.5], "rate": 0.2}
    assert home({**wise, "balancer": "core/paper"}).recipe.balancer.options == {}
    assert home({**wise, "balancer": {"name": "balance", "options": {"rate": 0.2}}}).recipe.balancer.options["inside"] == [0.9, 0.5]
    assert home(wise, sets=["balancer.name=core/mean"]).recipe.balancer.options == {}
    assert home(wise, sets=["balancer.options.inside=none"]).recipe.balancer.options == {"inside": None}


def test_set_finds_branches_by_place_and_name(home: Any) -> None:
    wise = {"branches": ["wise/fidelity", "wise/boxes"]}
    for where in ("branches.1", "branches.boxes", "branches.wise/boxes"):
        assert home(wise, sets=[f"{where}.guidance_scale=5"]).recipe.branches[1].guidance_scale == 5


def test_a_file_may_set_and_unset_by_name(home: Any) -> None:
    home.user.write_text(BALANCE)
    recipe = home.folder / "scene.toml"
    recipe.write_text(
        'branches = ["wise/fidelity", "wise/boxes"]\nunset = ["balancer.options.inside"]\nset = { "branches.0.guidance_scale" = 4 }\n'
    )
    found = home(recipe)
    assert found.recipe.branches[0].guidance_scale == 4
    assert found.recipe.balancer.options == {"inside": None}
    assert found.origins["balancer.options.inside"] == str(recipe)


def test_a_recipe_object_states_only_what_it_states(home: Any) -> None:
    recipe = Recipe(branches=("wise/fidelity", "wise/boxes"))  # type: ignore[arg-type]
    assert home(recipe).recipe.num_inference_steps == 30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=5", 5),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=euler", "euler"),
        ('a="none"', "none"),
        ("a=none", None),
        ("a=[0.9, 0.5]", [0.9, 0.5]),
        ("a=sd/v1-5", "sd/v1-5"),
        ("a=my model", "my model"),
        ("a=/models/ink v2.safetensors", "/models/ink v2.safetensors"),
        ("a=~/ComfyUI/models", "~/ComfyUI/models"),
        ("a=../loras/ink.safetensors", "../loras/ink.safetensors"),
        ("a={ x = 1 }", {"x": 1}),
    ],
)
def test_set_reads_toml_values_and_bare_words(text: str, value: Any) -> None:
    assert parse_set(text)[1] == value


# -- settings ----------------------------------------------------------------------------------------------------------------


def test_sources_of_the_user_file(home: Any) -> None:
    home.user.write_text('[sources]\n"wise/fidelity" = "/disk/wise"\n')
    wise = {"branches": ["wise/fidelity", "wise/boxes"]}
    found = home(wise)
    assert found.recipe.branches[0].source == "/disk/wise"
    assert found.origins["branches.0.source"] == f"user file {home.user}"
    assert home({"branches": [{"name": "wise/fidelity", "source": "mine"}]}).recipe.branches[0].source == "mine"


def test_a_misspelt_source_is_told_and_an_absent_plugin_is_not(home: Any) -> None:
    home.user.write_text('[sources]\n"wise/fidelty" = "/disk/wise"\n"absent/branch" = "/disk/other"\n')
    with pytest.raises(UnknownName, match=r"config\.toml:2.*sources names 'wise/fidelty'.*\n.*did you mean 'wise/fidelity'"):
        home()


def test_settings_are_handed_to_planners(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    home.user.write_text('output = "pictures"\n[llm]\nmodel = "small"\nbase_url = "http://localhost:1"\n')
    home.project.write_text('[llm]\nmodel = "large"\n')
    monkeypatch.setenv("REALCOMPO_CONFIG", str(home.user))
    settings = user_settings(home.folder)
    assert settings.llm == {"model": "large", "base_url": "http://localhost:1"}
    assert settings.output == "pictures"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pictures = []", "a user file holds no pictures"),
        ("sources = 5", "sources = 5 is no table"),
        ("[sources]\nx = 5", "the source of 'x' is no text"),
        ("output = 5", "output = 5 is no folder"),
        ("num_steps = 5", "has no key 'num_steps'"),
    ],
)
def test_bad_user_files(home: Any, text: str, told: str) -> None:
    home.user.write_text(text)
    with pytest.raises((BadRecipe, UnknownName), match=told) as caught:
        home()
    assert str(home.user) in str(caught.value)


# -- trust -------------------------------------------------------------------------------------------------------------------


def test_a_recipe_may_not_let_a_pickle_in(home: Any) -> None:
    recipe = home.folder / "scene.toml"
    recipe.write_text('branches = [{ name = "wise/fidelity", options = { allow_pickle = true } }]\n')
    with pytest.raises(BadOption, match=r"scene\.toml:1.*turns allow_pickle on.*\n.*--set branches\.0\.options\.allow_pickle=true"):
        home(recipe)
    recipe.write_text('branches = ["wise/fidelity"]\nset = { "branches.0.options.allow_pickle" = true }\n')
    with pytest.raises(BadOption, match="turns allow_pickle on"):
        home(recipe)
    assert home(recipe, sets=["branches.0.options.allow_pickle=true"]).recipe.branches[0].options == {"allow_pickle": True}


def test_paths_are_confined(home: Any) -> None:
    (home.folder / "deep" / "inner").mkdir()
    recipe = home.folder / "deep" / "inner" / "scene.toml"
    (home.folder / "base.toml").write_text('branches = ["toy/fidelity"]\n')
    recipe.write_text('extends = "../../base.toml"\n')
    with pytest.raises(BadRecipe, match="leads outside"):
        home(recipe)
    home.project.write_text("")  # a project file says how far a recipe may reach
    assert home(recipe).recipe.branches[0].name == "toy/fidelity"
    (home.folder / "deep" / "link.toml").symlink_to("/etc/hostname")
    for path in ("/etc/hostname", "~/x.toml", "../../../config.toml", "../link.toml", "a\\u0000b"):
        recipe.write_text(f'extends = "{path}"\n')
        with pytest.raises(BadRecipe, match=r"extends = .*(leads outside|not relative|is no path)"):
            home(recipe)


def test_extends_in_a_circle(home: Any) -> None:
    (home.folder / "a.toml").write_text('extends = "b.toml"\n')
    (home.folder / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(BadRecipe, match=r"circle: a\.toml → b\.toml → a\.toml"):
        home(home.folder / "a.toml")


def test_prompts_files(home: Any) -> None:
    recipe = home.folder / "scene.toml"
    (home.folder / "prompts.txt").write_text("# pets\na cat\n\na dog\n")
    recipe.write_text('branches = ["toy/fidelity"]\nprompts = "prompts.txt"\n[[pictures]]\nprompt = "first"\n')
    assert [picture.prompt for picture in home(recipe).recipe.pictures] == ["first", "a cat", "a dog"]
    recipe.write_text('branches = ["toy/fidelity"]\nprompts = { file = "prompts.txt", seed = 5, each = 2, negative_prompt = "blur" }\n')
    pictures = home(recipe).recipe.pictures
    assert [(p.prompt, p.seed, p.negative_prompt) for p in pictures] == [
        ("a cat", 5, "blur"),
        ("a cat", 6, "blur"),
        ("a dog", 7, "blur"),
        ("a dog", 8, "blur"),
    ]
    for wrong, told in [
        ('"../prompts.txt"', "leads outside"),
        ('"nothing.txt"', "no such list of prompts"),
        ("{ flie = 1 }", "prompts has no key 'flie'"),
        ("{ seed = 1 }", "names no file"),
        ('{ file = "prompts.txt", each = 0 }', "whole numbers"),
        ('{ file = "prompts.txt", each = 9999 }', "more than 10000 pictures"),
    ]:
        recipe.write_text(f'branches = ["toy/fidelity"]\nprompts = {wrong}\n')
        with pytest.raises(BadRecipe, match=told):
            home(recipe)


def test_a_branch_recommends_steps_and_nothing_else(monkeypatch: pytest.MonkeyPatch, home: Any) -> None:
    @hookimpl
    def register_branches() -> list[BranchSpec]:
        return [BranchSpec(id="bold/fidelity", role="fidelity", summary="", target="x:Y", recommended={"balancer": "core/mean"})]

    registry = toy_registry(entry("bold", {"register_branches": register_branches}, monkeypatch))
    with pytest.raises(PluginProblem, match=r"bold/fidelity.*balancer; only num_inference_steps"):
        resolve({"branches": ["bold/fidelity"]}, registry=registry, user_file=home.user)


def test_explain_names_every_value(home: Any) -> None:
    home.user.write_text(BALANCE)
    found = home({"branches": ["wise/fidelity", "wise/boxes"]}, sets=["balancer.options.rate=0.3"])
    rows = {name: (value, layer) for name, value, layer in found.explain()}
    assert rows["balancer.options.rate"] == (0.3, "--set balancer.options.rate=0.3")
    assert rows["balancer.options.inside"] == ([0.9, 0.5], f"user file {home.user}")
    assert rows["branches.1.name"] == ("wise/boxes", "recipe")
    assert rows["probe.every"] == (1, "defaults")


def test_settings_of_a_scheduler_go_with_it(tmp_path: Path) -> None:
    """A layer that names another scheduler begins without the settings below it; one that names the same keeps them."""
    none = tmp_path / "none.toml"
    below = {"scheduler": "euler", "scheduler_options": {"use_karras_sigmas": True}}
    assert resolve(below, folder=tmp_path, user_file=none).recipe.scheduler_options == {"use_karras_sigmas": True}
    assert resolve(below, sets=["scheduler=ddim"], folder=tmp_path, user_file=none).recipe.scheduler_options == {}
    assert resolve(below, arguments={"scheduler": "ddim"}, folder=tmp_path, user_file=none).recipe.scheduler_options == {}
    kept = resolve(below, arguments={"scheduler": "euler"}, sets=["scheduler_options.sigma_max=9.5"], folder=tmp_path, user_file=none)
    assert kept.recipe.scheduler_options == {"use_karras_sigmas": True, "sigma_max": 9.5}
