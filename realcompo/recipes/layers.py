"""The layers of configuration beneath and above a recipe: which files hold them, what a file may say in one, and ``name=value``.

The user file and the project file also hold settings beside the keys of a recipe.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadRecipe, PluginProblem
from ..specs import BranchSpec
from .files import Path_, RecipeFile, read_chain, read_file, undotted
from .parts import plain_data
from .provenance import Layer
from .recipe import Carried, Recipe

PROJECT_FILE = "realcompo.toml"
SETTINGS = ("sources", "llm", "output", "models", "parameters")
"""What the user file and the project file may hold beside the keys of a recipe."""

MAX_SETS = 500  # entries of `set` and `unset` in a file: each is laid on all data


@dataclass(frozen=True)
class Settings:
    """What the user file and the project file say beside a recipe.

    Attributes:
        sources: id of a branch → hub id or folder of its checkpoint.
        llm: the table of the LLM server, as planners read it. Keys of accounts belong into the environment, not here.
        output: folder for pictures, or a template of their names.
        parameters: write A1111's line of settings into pictures, beside their recipe.
        models: folders in which a source, a LoRA or a VAE is found by its bare name; absolute.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    llm: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    models: tuple[Path, ...] = ()
    parameters: bool = False


def default_user_file() -> Path:
    """REALCOMPO_CONFIG, or config.toml in the platform's folder for it."""
    named = os.environ.get("REALCOMPO_CONFIG")
    if named is not None:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_config_path("realcompo") / "config.toml"


def user_settings(folder: Path | None = None) -> Settings:
    """The settings of the user and project files, for planners and others that need them without a recipe."""
    return config_layers(folder or Path.cwd(), default_user_file())[1]


def project_file(folder: Path) -> Path | None:
    """The nearest realcompo.toml, upward from a folder."""
    folder = folder.resolve()
    return next((path for one in (folder, *folder.parents) if (path := one / PROJECT_FILE).is_file()), None)


def config_layers(folder: Path, user: Path) -> tuple[list[Layer], Settings, dict[str, Layer]]:
    """The layers beneath a recipe, the settings beside it, and which layer gave which source."""
    layers, settings, holders = [], Settings(), {}
    project = project_file(folder)
    for kind, path in (("user file", user), ("project file", project)):
        if path is None or not path.is_file():
            continue
        file = read_file(path)
        data = dict(file.data)
        for key in ("pictures", "prompts", "extends"):
            if key in data:
                raise BadRecipe(f"a {kind} holds no {key}", where=file.where((key,)), mend="put pictures into a recipe file")
        own = {key: data.pop(key) for key in SETTINGS if key in data}
        settings = _settings(settings, own, file)
        layers.append(file_layer(f"{kind} {path}", file, data, trusted=kind == "user file"))
        holders.update(dict.fromkeys(own.get("sources", {}), layers[-1]))
    return layers, settings, holders


def _settings(under: Settings, own: Mapping[str, Any], file: RecipeFile) -> Settings:
    for key, kind in (("sources", Mapping), ("llm", Mapping), ("output", str)):
        if key in own and not isinstance(own[key], kind):
            raise BadRecipe(
                f"{key} = {own[key]!r} is no {'table' if kind is Mapping else 'folder'}",
                where=file.where((key,)),
                mend="see docs/recipes.md",
            )
    wrong = [id for id, source in own.get("sources", {}).items() if not isinstance(source, str)]
    if wrong:
        raise BadRecipe(
            f"the source of {wrong[0]!r} is no text", where=file.where(("sources", wrong[0])), mend="write a hub id or a folder"
        )
    if not isinstance(own.get("parameters", False), bool):
        raise BadRecipe(f"parameters = {own['parameters']!r}", where=file.where(("parameters",)), mend="write true or false")
    models = own.get("models", [])
    if not isinstance(models, list) or not all(isinstance(one, str) and one.strip() and "\0" not in one for one in models):
        raise BadRecipe(
            f"models = {models!r} is no list of folders", where=file.where(("models",)), mend='write models = ["~/ComfyUI/models"]'
        )
    here = file.path.parent.absolute()  # a relative folder is beside its file
    folders = [Path(os.path.normpath(here / os.path.expanduser(one))) for one in models]
    return Settings(
        models=tuple(dict.fromkeys((*under.models, *folders))),
        sources={**under.sources, **own.get("sources", {})},
        llm={**under.llm, **own.get("llm", {})},
        output=own.get("output", under.output),
        parameters=own.get("parameters", under.parameters),
    )


def recipe_layers(recipe: Any, folder: Path) -> list[Layer]:
    """Of what a call takes as a recipe (`RecipeLike`): a layer a file, what it extends first. Only what is said in Python is trusted."""
    if recipe is None:
        return []
    if isinstance(recipe, Recipe):
        return [Layer("recipe", recipe.stated(), trusted=True)]
    if isinstance(recipe, Carried):
        return [Layer(recipe.where, recipe.recipe.stated(), trusted=False)]
    if isinstance(recipe, Mapping):
        return [Layer("recipe", dict(recipe), trusted=True)]
    project = project_file(folder)
    return [
        file_layer(str(file.path), file, dict(file.data), trusted=False)
        for file in read_chain(Path(recipe), project.parent if project is not None else None)
    ]


def file_layer(name: str, file: RecipeFile, data: dict[str, Any], *, trusted: bool) -> Layer:
    """The layer of a file's data, its tables `set` and `unset` taken out of them.

    Raises:
        BadRecipe: these are no table and no list of names, or too long.
    """
    said, unset = data.pop("set", {}), data.pop("unset", [])
    if not isinstance(said, Mapping):
        raise BadRecipe("set is no table", where=file.where(("set",)), mend='write set = { "branches.0.guidance_scale" = 5 }')
    if not isinstance(unset, list) or not all(isinstance(one, str) for one in unset):
        raise BadRecipe("unset is no list of names", where=file.where(("unset",)), mend='write unset = ["balancer.options.inside"]')
    if len(said) + len(unset) > MAX_SETS:
        raise BadRecipe(f"set and unset hold more than {MAX_SETS} names", where=file.where(("set",)), mend="write the tables themselves")
    sets = [(undotted(key), value) for key, value in said.items()] + [(undotted(key), None) for key in unset]
    return Layer(name, data, tuple(sets), file, trusted)


def recommended(spec: BranchSpec) -> list[Layer]:
    """What a fidelity branch's plugin recommends, if it does.

    Raises:
        PluginProblem: it recommends what is not its business, or no plain data.
    """
    if not spec.recommended:
        return []
    try:
        data = plain_data(spec.recommended)
        if set(data) - {"num_inference_steps"}:
            raise ValueError(f"{', '.join(sorted(set(data) - {'num_inference_steps'}))}; only num_inference_steps may be recommended")
    except ValueError as error:
        raise PluginProblem(
            f"what {spec.id!r} recommends is no part of a recipe: {error}", mend="ask the plugin's author to mend `recommended` of its spec"
        ) from None
    return [Layer(f"recommended by {spec.id}", data, trusted=True)]


def parse_set(text: str) -> tuple[Path_, Any]:
    """``branches.0.guidance_scale=5``: the value is a TOML value; a bare word or path is a text, and none is no value.

    Raises:
        BadRecipe: no such form.
    """
    name, sign, value = text.partition("=")
    where, value = f"--set {text}", value.strip()
    if not sign or not name.strip():
        raise BadRecipe("it is not of the form name=value", where=where, mend="write for example --set branches.0.guidance_scale=5")
    loc = undotted(name.strip())
    if value in ("none", "null"):
        return loc, None
    try:
        read = tomllib.loads(f"value = {value}")
        if set(read) == {"value"}:
            return loc, plain_data(read["value"])
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        pass
    if not re.fullmatch(r"(\w|~?/|\.{1,2}/)[\w ./:+@~-]*", value):
        raise BadRecipe(f"{value!r} is no value", where=where, mend='write a TOML value: 5, true, "text", [0.9, 0.5]')
    return loc, value
