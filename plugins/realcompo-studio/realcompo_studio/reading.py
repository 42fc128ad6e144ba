"""From the JSON of a request to a recipe: all that is wrong with its form, each with its place. No torch.

The words are the core's own: each part is read as the core reads it, and what it complains of is taken out before the rest is read, until
nothing is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from realcompo.conditions import KINDS, Condition
from realcompo.errors import BadRecipe, RealCompoError
from realcompo.recipes.configuration import explain_invalid, guarded_options, resolve
from realcompo.recipes.files import dotted
from realcompo.recipes.recipe import Carried, PictureEntry, Recipe, migrate, plain_data, read_condition
from realcompo.registry import Registry
from realcompo.specs import BalancerSpec, BranchSpec, NoOptions, PlannerSpec, Spec, TransferSpec, UpscalerSpec

from .problems import At, Problem, Unfit

MOST = 60
"""Problems that are told at once."""
_ITEM = re.compile(r"^(?:box|person|segment) (\d+)\b")


def read(data: Any, registry: Registry, sets: tuple[str, ...] = ()) -> Recipe:
    """The recipe of a request, on top of this machine's configuration.

    Args:
        sets: the user's own last layer.

    Raises:
        Unfit: with all that is wrong.
    """
    if not isinstance(data, Mapping):
        raise Unfit([Problem(BadRecipe("a recipe is a table", where="recipe", mend="send an object: {} is what is configured"))])
    try:
        plain = without_nothing(migrate(plain_data(data), "recipe"))
    except RealCompoError as error:
        raise Unfit([Problem(error, ("version",))]) from None
    except ValueError as error:
        raise Unfit([Problem(BadRecipe(str(error), where="recipe", mend="write finite numbers, and texts as names"))]) from None
    problems = [*_conditions(plain), *_form(plain)]
    if not problems:
        problems = _components(plain, registry)
    if problems:
        raise Unfit(problems[:MOST])
    stated = Recipe.model_validate(plain)
    try:
        return resolve(Carried(stated, "recipe"), sets=sets, registry=registry).recipe
    except RealCompoError as error:
        raise Unfit([Problem(error, _blamed(stated, registry))]) from None


def without_nothing(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which keys that stand for nothing are left out, so that they override nothing; an option that is none is a value."""

    def clean(table: Any) -> Any:
        return {key: value for key, value in table.items() if value is not None} if isinstance(table, Mapping) else table

    plain = clean(deepcopy(dict(data)))
    for key in ("balancer", "planner", "probe"):
        if key in plain:
            plain[key] = clean(plain[key])
    for key in ("branches", "pictures"):
        if isinstance(plain.get(key), list):
            plain[key] = [clean(one) for one in plain[key]]
    return dict(plain)


# -- conditions ----------------------------------------------------------------------------------------------------------------------


def _conditions(plain: dict[str, Any]) -> list[Problem]:
    """What is wrong with conditions; those that are right replace their data, the others are taken out."""
    found: list[Problem] = []
    pictures = plain.get("pictures")
    for index, picture in enumerate(pictures if isinstance(pictures, list) else ()):
        conditions = picture.get("conditions") if isinstance(picture, dict) else None
        if not isinstance(conditions, dict):
            continue
        for key, data in list(conditions.items()):
            at: At = ("pictures", index, "conditions", key)
            try:
                conditions[key] = read_condition(key, data)
            except RealCompoError as error:
                found += _of_items(key, data, error, at)
                del conditions[key]
    return found


def _of_items(key: str, data: Any, error: RealCompoError, at: At) -> list[Problem]:
    """The problems of a condition's items, each read alone; the whole one's where no item alone is wrong."""
    kind = data.get("kind", key) if isinstance(data, Mapping) else key
    items = data.get("items") if isinstance(data, Mapping) else None
    if kind not in KINDS or not isinstance(items, list):
        return [Problem(error, at)]
    found: list[Problem] = []
    for number, item in enumerate(items):
        if len(found) == MOST:
            break
        try:
            read_condition(kind, {**data, "items": [item], **({"backdrop": []} if "backdrop" in data else {})})
        except RealCompoError as own:
            found.append(Problem(_renumbered(own, number), (*at, "items", number)))
    if found:
        return found
    match = _ITEM.match(error.where or "")
    return [Problem(error, (*at, "items", int(match[1])) if match and int(match[1]) < len(items) else at)]


def _renumbered(error: RealCompoError, number: int) -> RealCompoError:
    """An error of an item that was read alone, as of its true number."""
    where = re.sub(r"^(box|person|segment) 0\b", lambda match: f"{match[1]} {number}", error.where or "")
    return type(error)(error.what, where=where or None, mend=error.mend)


def condition_of(kind: str, data: Any) -> Condition:
    """A condition of a request that is no recipe.

    Raises:
        Unfit: it is none.
    """
    try:
        return read_condition(kind, data)
    except RealCompoError as error:
        raise Unfit(_of_items(kind, data, error, ("conditions", kind))) from None


# -- form ----------------------------------------------------------------------------------------------------------------------------


def _form(plain: dict[str, Any]) -> list[Problem]:
    """Unknown keys and values of the wrong type, one after the other: each is told, then taken out."""
    trial = _copied(plain)
    found: list[Problem] = []
    while len(found) < MOST:
        try:
            Recipe.model_validate(trial)
        except ValidationError as error:
            first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            at = tuple(first["loc"])
            found.append(Problem(explain_invalid(error, dotted), at))
            if not _taken_out(trial, at):
                break
        except RealCompoError as error:
            found.append(Problem(error, _raised_at(trial, error)))
            break
        else:
            break
    return found


def _raised_at(data: Mapping[str, Any], error: RealCompoError) -> At | None:
    """What an error of ours was raised for: the picture, and its field where the error names one; else the recipe's field that it names."""
    for index, picture in enumerate(data.get("pictures", ())):
        try:
            PictureEntry.model_validate(picture)
        except RealCompoError:
            named = error.where is not None and error.where in PictureEntry.model_fields
            return ("pictures", index, str(error.where)) if named else ("pictures", index)
        except ValidationError:
            continue
    return (str(error.where),) if error.where in Recipe.model_fields else None


def _copied(value: Any) -> Any:
    """Tables and lists anew; conditions are values."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _taken_out(data: Any, at: At) -> bool:
    """Remove what stands at a place, or what it is inside of; False where nothing can be."""
    for end in range(len(at), 0, -1):
        node, last = data, at[end - 1]
        try:
            for part in at[: end - 1]:
                node = node[part]
        except (KeyError, IndexError, TypeError):
            continue
        if isinstance(node, dict) and last in node and last not in ("name", "prompt"):
            del node[last]
            return True
        if isinstance(node, list) and isinstance(last, int) and last < len(node):
            blank = {"branches": {"name": "-"}, "pictures": {"prompt": "-"}}
            node[last] = blank.get(str(at[0])) if end == 2 else None
            return True
    return False


# -- components ----------------------------------------------------------------------------------------------------------------------


def _components(plain: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """Names and options of branches, balancer, planner, upscaler and transfers."""
    recipe = Recipe.model_validate(plain)
    found: list[Problem] = []
    for at, part, kind in parts_of(recipe):
        if at[0] not in plain:
            continue
        try:
            spec: Spec = registry.find(kind, part.name)
        except RealCompoError as error:
            found.append(Problem(error, (*at, "name")))
            continue
        found += _options(spec, part.options, (*at, "options"), registry)
    return found


def parts_of(recipe: Recipe) -> list[tuple[At, Any, type[Any]]]:
    """(place, entry, kind of spec) of every component of a recipe."""
    parts: list[tuple[At, Any, type[Any]]] = [(("branches", n), entry, BranchSpec) for n, entry in enumerate(recipe.branches)]
    parts += [(("branches", n, "transfer"), entry.transfer, TransferSpec) for n, entry in enumerate(recipe.branches) if entry.transfer]
    parts.append((("balancer",), recipe.balancer, BalancerSpec))
    if recipe.planner is not None:
        parts.append((("planner",), recipe.planner, PlannerSpec))
    if recipe.hires is not None:
        parts.append((("hires", "upscaler"), recipe.hires.upscaler, UpscalerSpec))
    return parts


def _options(spec: Spec, values: Mapping[str, Any], at: At, registry: Registry) -> list[Problem]:
    try:
        (spec.options or NoOptions)(**{**spec.defaults, **values})
        return []
    except ValidationError as error:
        places = {str(one["loc"][0]): tuple(one["loc"]) for one in error.errors() if one["loc"]}
    except Exception:
        places = {}
    found = []
    for name in [name for name in places if name in values]:
        try:
            registry.options(spec, {name: values[name]})
        except RealCompoError as own:
            found.append(Problem(own, (*at, name)))
    if not found:
        try:
            registry.options(spec, values)
        except RealCompoError as own:
            found.append(Problem(own, at))
    return found


def _blamed(recipe: Recipe, registry: Registry) -> At | None:
    """Where a recipe turns on what only the user may; else the branches, which alone are looked at together where each is right."""
    for at, part, kind in parts_of(recipe):
        try:
            found = guarded_options(registry.find(kind, part.name), part.options)
        except RealCompoError:
            continue
        for name in found:
            return (*at, "options", *name.split("."))
    return ("branches",) if "branches" in recipe.model_fields_set else None
