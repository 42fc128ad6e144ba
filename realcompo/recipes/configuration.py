"""Configuration in layers: defaults < what the fidelity branch recommends < user file < project file < recipe < --set.

Every value remembers the layer that it came from, so that an error can name file and line, and `check --explain` can say who
set what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadOption, RealCompoError, UnknownName, nearest
from ..registry import Registry, installed
from ..specs import BranchSpec
from .files import Path_, RecipeFile, dotted, parse, undotted
from .layers import (
    MAX_SETS,
    Settings,
    config_layers,
    default_user_file,
    file_layer,
    parse_set,
    project_file,
    recipe_layers,
    recommended,
    user_settings,
)
from .provenance import Layer, Merged, value_at
from .recipe import Recipe, RecipeLike
from .validating import check_components, explain_invalid, guarded_options, relocated, validate

__all__ = [
    "MAX_SETS",
    "Resolved",
    "Settings",
    "default_user_file",
    "explain_invalid",
    "guarded_options",
    "parse_set",
    "parse_text",
    "project_file",
    "resolve",
    "user_settings",
]

DEFAULT_PLUGIN = "mini"


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
    lower, settings, holders = config_layers(folder or Path.cwd(), user_file or default_user_file())
    upper = [*recipe_layers(recipe, folder or Path.cwd()), Layer("arguments", dict(arguments or {}), trusted=True)]
    upper += [Layer(f"--set {text}", sets=(parse_set(text),), trusted=True) for text in sets]
    standing = {key: value for key, value in Recipe().plain().items() if key != "pictures"}
    defaults = Layer("defaults", {**standing, "planner": {"name": f"{DEFAULT_PLUGIN}/planner"}}, trusted=True)

    first = _merge([defaults, *lower, *upper])
    spec = _fidelity(validate(first), first, registry)
    merged = _merge([defaults, *recommended(spec), *lower, *upper])
    if not spec.id.startswith(f"{DEFAULT_PLUGIN}/") and merged.layer(("planner", "name")) is defaults:
        merged.data.pop("planner")  # the default planner speaks the language of the default family only
        merged.origins = {loc: layer for loc, layer in merged.origins.items() if loc[0] != "planner"}
    found = validate(merged)
    _override_sources(merged, found, settings, holders, registry)
    found = validate(merged)
    check_components(found, merged, registry)
    files = tuple(layer.file.path for layer in (*lower, *upper) if layer.file is not None)
    return Resolved(found, {dotted(loc): layer.name for loc, layer in merged.origins.items()}, settings, files)


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
            raise relocated(error, layer.where(loc)) from None
    roles = [entry.role or spec.role or "spatial" for entry, spec in zip(recipe.branches, specs, strict=True)]
    if roles.count("fidelity") != 1:
        raise BadOption(
            f"a recipe has one fidelity branch, this one has {roles.count('fidelity')}",
            where=merged.layer(("branches",)).where(("branches",)),
            mend="set role = 'fidelity' on one branch",
        )
    place = roles.index("fidelity")
    if specs[place].role == "spatial":  # a recipe's role does not make it decode
        raise BadOption(
            f"{specs[place].id!r} is a spatial branch, asked for as fidelity",
            where=merged.layer(("branches", place, "role")).where(("branches", place, "role")),
            mend="name a fidelity branch (`realcompo list` says the role of each), and this one as spatial",
        )
    return specs[place]


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


def _merge(layers: Iterable[Layer]) -> Merged:
    merged = Merged()
    for layer in layers:
        merged.lay(layer)
    return merged


def parse_text(text: str, suffix: str, where: str = "recipe") -> Recipe:
    """A recipe from a text alone, without layers, `extends` or `prompts`."""
    data = parse(text, suffix, where)
    file = RecipeFile(Path(where), text, data)
    merged = _merge([Layer(where, file=file), file_layer(where, file, dict(data), trusted=False)])
    return validate(merged)
