"""Configuration in layers: defaults < what the fidelity branch recommends < user file < project file < recipe < --set.

Every value remembers the layer that it came from, so that an error can name file and line, and `check --explain` can say who
set what.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import BadOption, BadRecipe, PluginProblem, RealCompoError, UnknownName, nearest
from ..registry import Registry, installed
from ..specs import BalancerSpec, BranchSpec, NoOptions, PlannerSpec, Spec, TransferSpec, UpscalerSpec
from .files import Path_, RecipeFile, dotted, parse, read_chain, read_file, undotted
from .parts import Part, plain_data
from .picture_entry import PictureEntry
from .provenance import Layer, Merged, value_at
from .recipe import (
    BranchEntry,
    Carried,
    Component,
    GuidanceOptions,
    Hires,
    PlannerEntry,
    ProbeOptions,
    Recipe,
    RecipeLike,
    RuntimeOptions,
    Words,
)

PROJECT_FILE = "realcompo.toml"
DEFAULT_PLUGIN = "mini"
SETTINGS = ("sources", "llm", "output", "models", "parameters")
"""What the user file and the project file may hold beside the keys of a recipe."""

MAX_SETS = 500  # entries of `set` and `unset` in a file: each is laid on all data
_FILE_KEYS = ("extends", "prompts", "set", "unset")
_GUARDED = frozenset({"allow_pickle"})
"""Options that can run a stranger's code: a recipe may not turn them on, only the user (--set, the user file, or Python)."""


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


@dataclass(frozen=True)
class Resolved:
    """A recipe and where each of its values came from.

    Attributes:
        recipe: validated.
        origins: dotted name → name of the layer.
        settings: of the user and project files.
        files: that were read, the user's first.
    """

    recipe: Recipe
    origins: Mapping[str, str]
    settings: Settings
    files: tuple[Path, ...]

    def explain(self) -> list[tuple[str, Any, str]]:
        """(dotted name, value, layer) of every value, pictures left out."""
        rows = []
        for name, layer in self.origins.items():
            if not name.startswith("pictures"):
                rows.append((name, value_at(self.recipe.plain(), undotted(name)), layer))
        return sorted(rows, key=lambda row: [part.rjust(4, "0") if part.isdigit() else part for part in row[0].split(".")])


# -- from layers to a recipe -------------------------------------------------------------------------------------------------


def parse_set(text: str) -> tuple[Path_, Any]:
    """``branches.0.guidance_scale=5``: the value is a TOML value; a bare word is a text, and none is no value.

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
    if not re.fullmatch(r"[\w][\w ./:+@~-]*", value):
        raise BadRecipe(f"{value!r} is no value", where=where, mend='write a TOML value: 5, true, "text", [0.9, 0.5]')
    return loc, value


def resolve(
    recipe: RecipeLike = None,
    *,
    sets: Sequence[str] = (),
    arguments: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    folder: Path | None = None,
    user_file: Path | None = None,
) -> Resolved:
    """A recipe from all layers. Imports no torch and loads no weights.

    Args:
        recipe: a file, a `Recipe` (what it states), the one of a picture (`Carried`), plain data, or nothing.
        sets: ``name=value`` each, the last layer.
        arguments: what a caller says in Python or by CLI options; the layer beneath `sets`.
        folder: where the project file is looked for, upward; the working directory by default.
        user_file: in place of the user's own.

    Raises:
        BadRecipe, UnknownName, BadOption: with file and line where they can be told.
    """
    registry = registry or installed()
    lower, settings, holders = _config_layers(folder or Path.cwd(), user_file or default_user_file())
    upper = [*_recipe_layers(recipe, folder or Path.cwd()), Layer("arguments", dict(arguments or {}), trusted=True)]
    upper += [Layer(f"--set {text}", sets=(parse_set(text),), trusted=True) for text in sets]
    standing = {key: value for key, value in Recipe().plain().items() if key != "pictures"}
    defaults = Layer("defaults", {**standing, "planner": {"name": f"{DEFAULT_PLUGIN}/planner"}}, trusted=True)

    first = _merge([defaults, *lower, *upper])
    spec = _fidelity(_validate(first), first, registry)
    merged = _merge([defaults, *_recommended(spec), *lower, *upper])
    if not spec.id.startswith(f"{DEFAULT_PLUGIN}/") and merged.layer(("planner", "name")) is defaults:
        merged.data.pop("planner")  # the default planner speaks the language of the default family only
        merged.origins = {loc: layer for loc, layer in merged.origins.items() if loc[0] != "planner"}
    found = _validate(merged)
    _override_sources(merged, found, settings, holders, registry)
    found = _validate(merged)
    _check_components(found, merged, registry)
    files = tuple(layer.file.path for layer in (*lower, *upper) if layer.file is not None)
    return Resolved(found, {dotted(loc): layer.name for loc, layer in merged.origins.items()}, settings, files)


def default_user_file() -> Path:
    """REALCOMPO_CONFIG, or config.toml in the platform's folder for it."""
    named = os.environ.get("REALCOMPO_CONFIG")
    if named is not None:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_config_path("realcompo") / "config.toml"


def user_settings(folder: Path | None = None) -> Settings:
    """The settings of the user and project files, for planners and others that need them without a recipe."""
    return _config_layers(folder or Path.cwd(), default_user_file())[1]


def project_file(folder: Path) -> Path | None:
    """The nearest realcompo.toml, upward from a folder."""
    folder = folder.resolve()
    return next((path for one in (folder, *folder.parents) if (path := one / PROJECT_FILE).is_file()), None)


def _config_layers(folder: Path, user: Path) -> tuple[list[Layer], Settings, dict[str, Layer]]:
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
        layers.append(_file_layer(f"{kind} {path}", file, data, trusted=kind == "user file"))
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


def _recipe_layers(recipe: Any, folder: Path) -> list[Layer]:
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
        _file_layer(str(file.path), file, dict(file.data), trusted=False)
        for file in read_chain(Path(recipe), project.parent if project is not None else None)
    ]


def _file_layer(name: str, file: RecipeFile, data: dict[str, Any], *, trusted: bool) -> Layer:
    said, unset = data.pop("set", {}), data.pop("unset", [])
    if not isinstance(said, Mapping):
        raise BadRecipe("set is no table", where=file.where(("set",)), mend='write set = { "branches.0.guidance_scale" = 5 }')
    if not isinstance(unset, list) or not all(isinstance(one, str) for one in unset):
        raise BadRecipe("unset is no list of names", where=file.where(("unset",)), mend='write unset = ["balancer.options.inside"]')
    if len(said) + len(unset) > MAX_SETS:
        raise BadRecipe(f"set and unset hold more than {MAX_SETS} names", where=file.where(("set",)), mend="write the tables themselves")
    sets = [(undotted(key), value) for key, value in said.items()] + [(undotted(key), None) for key in unset]
    return Layer(name, data, tuple(sets), file, trusted)


def _recommended(spec: BranchSpec) -> list[Layer]:
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


def _merge(layers: Iterable[Layer]) -> Merged:
    merged = Merged()
    for layer in layers:
        merged.lay(layer)
    return merged


# -- checks ------------------------------------------------------------------------------------------------------------------


def _relocated(error: RealCompoError, where: str) -> RealCompoError:
    return type(error)(error.what, where=f"{where}: {error.where}" if error.where else where, mend=error.mend)


def _validate(merged: Merged) -> Recipe:
    pictures = merged.data.get("pictures")
    for index, data in enumerate(pictures if isinstance(pictures, list) else []):
        try:
            PictureEntry.model_validate(data)
        except ValidationError:
            pass  # told below, with all others
        except RealCompoError as error:
            loc = ("pictures", index)
            raise _relocated(error, f"{merged.layer(loc).where(loc)}: picture {index}") from None
    try:
        return Recipe.model_validate(merged.data)
    except ValidationError as error:
        raise explain_invalid(error, lambda loc: merged.layer(loc).where(loc)) from None


def explain_invalid(error: ValidationError, where: Any) -> RealCompoError:
    """The first complaint of pydantic about a recipe, as an error of ours; `where` maps its place to a file and line."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelt key explains the missing one
    loc: Path_ = tuple(first["loc"])
    model = _model(loc[:-1])
    if first["type"] == "extra_forbidden":
        known = [*model.model_fields, *(_FILE_KEYS if model is Recipe else ())]
        holder = dotted(loc[:-1]) or "a recipe"
        return UnknownName(f"{holder} has no key {loc[-1]!r}", where=where(loc), mend=nearest(str(loc[-1]), known))
    field_ = model.model_fields.get(str(loc[-1])) if loc else None
    meaning = f"{loc[-1]}: {field_.description}" if field_ is not None and field_.description else "see docs/recipes.md"
    if first["type"] == "missing":
        return BadRecipe(f"{dotted(loc[:-1])} has no {loc[-1]}", where=where(loc[:-1]), mend=f"add {meaning}")
    try:
        said = repr(first["input"])
    except ValueError:  # Python writes no number of thousands of digits
        said = "a number of thousands of digits, or a table of such"
    said = said if len(said) <= 80 else said[:77] + "…"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("valid tuple", "list")
    message = re.sub("valid dictionary( or instance of .*)?", "table", message)
    return BadRecipe(f"{dotted(loc)} {message} (it is {said})", where=where(loc), mend=meaning)


def _model(loc: Path_) -> type[Part]:
    names = [part for part in loc if isinstance(part, str)]
    models: dict[str, type[Part]] = {
        "branches": BranchEntry,
        "balancer": Component,
        "planner": PlannerEntry,
        "probe": ProbeOptions,
        "guidance": GuidanceOptions,
        "runtime": RuntimeOptions,
        "hires": Hires,
        "words": Words,
        "pictures": PictureEntry,
    }
    return models.get(names[0], Recipe) if names else Recipe


def _fidelity(recipe: Recipe, merged: Merged, registry: Registry) -> BranchSpec:
    """The fidelity branch's spec. All branches are looked up, so that an unknown one is told with its line."""
    specs = []
    for index, entry in enumerate(recipe.branches):
        loc: Path_ = ("branches", index, "name")
        layer = merged.layer(loc)
        try:
            specs.append(registry.find(BranchSpec, entry.name))
        except RealCompoError as error:
            if layer.name == "defaults" and entry.name not in registry.branches:
                reason = next(
                    (f": {problem.reason}" for problem in registry.problems if problem.plugin == DEFAULT_PLUGIN),
                    ", which is not installed",
                )
                raise UnknownName(
                    f"nothing is configured, and the embedded default needs the plugin realcompo-{DEFAULT_PLUGIN}{reason}",
                    mend=f"install it (pip install realcompo-{DEFAULT_PLUGIN}), or name branches in a recipe; "
                    "`realcompo list` shows those here",
                ) from None
            raise _relocated(error, layer.where(loc)) from None
    roles = [entry.role or spec.role or "spatial" for entry, spec in zip(recipe.branches, specs, strict=True)]
    if roles.count("fidelity") != 1:
        raise BadOption(
            f"a recipe has one fidelity branch, this one has {roles.count('fidelity')}",
            where=merged.layer(("branches",)).where(("branches",)),
            mend="set role = 'fidelity' on one branch",
        )
    return specs[roles.index("fidelity")]


def _override_sources(merged: Merged, recipe: Recipe, settings: Settings, holders: Mapping[str, Layer], registry: Registry) -> None:
    """Checkpoints that the user keeps elsewhere; what the recipe itself names as source comes first."""
    plugins = {id.partition("/")[0] for id in registry.branches}
    for name in settings.sources:
        if name not in registry.branches and name.partition("/")[0] in plugins:
            raise UnknownName(
                f"sources names {name!r}, which is no branch",
                where=holders[name].where(("sources", name)),
                mend=nearest(name, registry.branches),
            )
    for index, entry in enumerate(recipe.branches):
        id = registry.find(BranchSpec, entry.name).id
        if id in settings.sources and entry.source is None:
            merged.put(("branches", index, "source"), settings.sources[id], holders[id])


def _check_components(recipe: Recipe, merged: Merged, registry: Registry) -> None:
    """Options of every component, before anything heavy is imported."""
    parts: list[tuple[Path_, Any, type[Any]]] = [(("branches", i), entry, BranchSpec) for i, entry in enumerate(recipe.branches)]
    parts += [
        (("branches", i, "transfer"), entry.transfer, TransferSpec) for i, entry in enumerate(recipe.branches) if entry.transfer is not None
    ]
    parts += [(("balancer",), recipe.balancer, BalancerSpec)]
    parts += [(("planner",), recipe.planner, PlannerSpec)] if recipe.planner is not None else []
    parts += [(("hires", "upscaler"), recipe.hires.upscaler, UpscalerSpec)] if recipe.hires is not None else []
    for loc, part, kind in parts:
        try:
            spec: Spec = registry.find(kind, part.name)
            registry.options(spec, part.options)
        except BadOption as error:
            wrong = next((name for name in part.options if repr(name) in f"{error.where} {error.what}"), None)
            at = (*loc, "options", wrong) if wrong is not None else (*loc, "options")
            raise _relocated(error, merged.layer(at).where(at)) from None
        except RealCompoError as error:
            at = (*loc, "name")
            raise _relocated(error, merged.layer(at).where(at)) from None
        for name in guarded_options(spec, part.options):
            at = (*loc, "options", *name.split("."))
            if not merged.layer(at).trusted:
                on = reduce(lambda table, key: table[key], name.split("."), part.options)
                said = f"--set {dotted(at)}={'true' if on is True else '…'}"
                raise BadOption(
                    f"the recipe turns {name} on, which a stranger's recipe could misuse",
                    where=merged.layer(at).where(at),
                    mend=f"if you trust it, say so yourself: {said} (or put it into the user file)",
                )


def guarded_options(spec: Spec, options: Mapping[str, Any]) -> list[str]:
    """Names of the options that are on and that only the user may turn on, also in tables of another branch's options, such as
    ``base_options.allow_pickle``. A plugin adds its own: a class attribute ``guarded``."""
    guarded = _GUARDED | frozenset(getattr(spec.options or NoOptions, "guarded", ()))
    own = [name for name in guarded if options.get(name)]
    tables = {name: value for name, value in options.items() if isinstance(value, Mapping)}
    return sorted([*own, *(f"{name}.{inner}" for name, table in tables.items() for inner in guarded_options(spec, table))])


def parse_text(text: str, suffix: str, where: str = "recipe") -> Recipe:
    """A recipe from a text alone, without layers, `extends` or `prompts`."""
    data = parse(text, suffix, where)
    file = RecipeFile(Path(where), text, data)
    merged = _merge([Layer(where, file=file), _file_layer(where, file, dict(data), trusted=False)])
    return _validate(merged)
