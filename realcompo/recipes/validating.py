"""Whether merged layers are a recipe, and what is told where they are not: file, line, what stands there, and the mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce
from typing import Any

from pydantic import ValidationError

from ..errors import BadOption, BadRecipe, RealCompoError, UnknownName, nearest
from ..registry import Registry
from ..specs import BalancerSpec, BranchSpec, NoOptions, PlannerSpec, Spec, TransferSpec, UpscalerSpec
from .files import Path_, dotted
from .parts import Part
from .picture_entry import PictureEntry
from .provenance import Merged
from .recipe import BranchEntry, Candidates, Component, GuidanceOptions, Hires, PlannerEntry, ProbeOptions, Recipe, RuntimeOptions, Words

_FILE_KEYS = ("extends", "prompts", "set", "unset")
_GUARDED = frozenset({"allow_pickle"})
"""Options that can run a stranger's code: a recipe may not turn them on, only the user (--set, the user file, or Python)."""


def relocated(error: RealCompoError, where: str) -> RealCompoError:
    """The same error, told where it stands."""
    return type(error)(error.what, where=f"{where}: {error.where}" if error.where else where, mend=error.mend)


def validate(merged: Merged) -> Recipe:
    """The recipe that merged layers are.

    Raises:
        BadRecipe, UnknownName, BadOption: they are none; with the file and line of the layer that said so.
    """
    pictures = merged.data.get("pictures")
    for index, data in enumerate(pictures if isinstance(pictures, list) else []):
        try:
            PictureEntry.model_validate(data)
        except ValidationError:
            pass  # told below, with all others
        except RealCompoError as error:
            loc = ("pictures", index)
            raise relocated(error, f"{merged.layer(loc).where(loc)}: picture {index}") from None
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
        "candidates": Candidates,
        "words": Words,
        "pictures": PictureEntry,
    }
    return models.get(names[0], Recipe) if names else Recipe


def check_components(recipe: Recipe, merged: Merged, registry: Registry) -> None:
    """Options of every component, before anything heavy is imported.

    Raises:
        UnknownName, BadOption: with file and line; also where a recipe turns on what only the user may.
    """
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
            raise relocated(error, merged.layer(at).where(at)) from None
        except RealCompoError as error:
            at = (*loc, "name")
            raise relocated(error, merged.layer(at).where(at)) from None
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
