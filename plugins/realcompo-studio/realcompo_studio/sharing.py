"""A recipe as a text to copy: JSON, TOML, YAML, Python, a command line. Each draws the same picture."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from realcompo.conditions import Boxes, Condition
from realcompo.errors import RealCompoError
from realcompo.files import file_name
from realcompo.recipes.configuration import parse_set, resolve
from realcompo.recipes.files import dotted
from realcompo.recipes.recipe import Recipe
from realcompo.recipes.writing import short, to_json, to_toml, to_yaml
from realcompo.registry import Registry

Form = Literal["json", "toml", "yaml", "python", "command"]
SUFFIX: dict[str, str] = {"json": ".json", "toml": ".toml", "yaml": ".yaml", "python": ".py", "command": ".sh"}


def text_of(recipe: Recipe, form: Form, registry: Registry) -> tuple[str, str]:
    """(text, file name) of a recipe in a form."""
    first = recipe.pictures[0] if recipe.pictures else None
    stem = file_name((first.name or first.prompt) if first is not None else "scene")
    if form == "command":
        text = command_of(recipe, registry, stem)
    elif form == "python":
        text = python_of(recipe, stem)
    else:
        text = {"json": to_json, "toml": to_toml, "yaml": to_yaml}[form](recipe)
    return text, stem + SUFFIX[form]


# -- Python ------------------------------------------------------------------------------------------------------------------------------


def python_of(recipe: Recipe, stem: str) -> str:
    """A script of the public names: a composer, and a call a picture."""
    data = short(recipe.plain())
    fidelity, *spatial = sorted(data["branches"], key=lambda one: one.get("role") != "fidelity")
    asked = {"fidelity": fidelity, "spatial": spatial}
    rest = ("balancer", "probe", "planner", "scheduler", "scheduler_options", "num_inference_steps", "height", "width")
    asked |= {name: data[name] for name in (*rest, "device", "dtype", "offload") if data.get(name)}
    lines = ["import realcompo as rc", "", "composer = rc.Composer("]
    lines += [f"    {name}={_indented(value, 4)}," for name, value in asked.items()]
    lines.append(")")
    for number, picture in enumerate(recipe.pictures):
        conditions = ", ".join(f"{key!r}: {_condition(one)}" for key, one in picture.conditions.items())
        call = [repr(picture.prompt), f"{{{conditions}}}" if conditions else "None"]
        if picture.negative_prompt:
            call.append(f"negative_prompt={picture.negative_prompt!r}")
        if picture.seed is not None:
            call.append(f"seed={picture.seed}")
        name = stem if number == 0 else f"{stem}-{number + 1}"
        lines += ["result = composer(", *(f"    {one}," for one in call), ")", f"result.image.save({name + '.png'!r})"]
    return "\n".join(lines) + "\n"


def _condition(condition: Condition) -> str:
    """A condition as the call that makes it."""
    data = condition.model_dump(mode="json", exclude_none=True)
    told = {name: value for name, value in data.items() if value != []}
    first = [repr(told.pop("items"))] if condition.kind in ("boxes", "keypoints") and "items" in told else []
    return f"rc.{type(condition).__name__}({', '.join([*first, *(f'{name}={value!r}' for name, value in told.items())])})"


def _indented(value: Any, by: int) -> str:
    text = pprint.pformat(value, width=120 - by, sort_dicts=False)
    return text.replace("\n", "\n" + " " * by)


# -- the command line ----------------------------------------------------------------------------------------------------------------------


def command_of(recipe: Recipe, registry: Registry, stem: str) -> str:
    """`realcompo generate` with all that differs from the defaults; where that cannot say it (poses, maps, several pictures), the recipe
    as a file and `realcompo run`."""
    words = _generate(recipe, registry) if len(recipe.pictures) == 1 else None
    if words is not None:
        return " ".join(map(shlex.quote, words)) + "\n"
    text, end = to_toml(recipe), "RECIPE"
    while end in text:  # a stranger's prompt ends no text of the shell's
        end += "_"
    return f"cat > {stem}.toml <<'{end}'\n{text}{end}\nrealcompo run {stem}.toml\n"


def _generate(recipe: Recipe, registry: Registry) -> list[str] | None:
    picture = recipe.pictures[0]
    words = ["realcompo", "generate", picture.prompt]
    if picture.prompt.startswith("-") or picture.name is not None or picture.seed is None:
        return None
    for key, condition in picture.conditions.items():
        if key != "boxes" or not isinstance(condition, Boxes):
            return None
        plain = Boxes([(item.phrase, item.box) for item in condition.items])
        if plain != condition or not condition.items:  # ids or spans of their own
            return None
        words += [word for item in condition.items for word in ("--box", f"{item.phrase}={','.join(map(repr, item.box))}")]
    if any(phrase != phrase.strip() for phrase in (item.phrase for c in picture.conditions.values() for item in getattr(c, "items", ()))):
        return None
    words += ["--seed", str(picture.seed)]
    if picture.negative_prompt:
        words += ["--negative", picture.negative_prompt]
    fidelity, *spatial = sorted(recipe.branches, key=lambda one: one.role != "fidelity")
    words += ["--fidelity", fidelity.name, *(word for one in spatial for word in ("--spatial", one.name))]
    named = {"branches": [{"name": one.name, "role": one.role} for one in (fidelity, *spatial)]}
    try:
        base = resolve(named, registry=registry).recipe.plain()
    except RealCompoError:
        return None
    whole = recipe.model_copy(update={"branches": (fidelity, *spatial)}).plain()
    if not spatial and base.get("planner") != whole.get("planner"):
        return None
    sets = list(_different(base, whole, ()))
    if any(one is None for one in sets):
        return None
    return [*words, *(word for one in sets for word in ("--set", str(one)))]


def _different(base: Any, whole: Any, at: tuple[str | int, ...]) -> Iterator[str | None]:
    """``name=value`` of each leaf that differs; None where no --set can say it."""
    if at == ("pictures",) or at[-1:] == ("role",):
        return
    if isinstance(base, Mapping) and isinstance(whole, Mapping):
        for key in [*whole, *(key for key in base if key not in whole)]:
            yield from _different(base.get(key), whole.get(key), (*at, key))
    elif isinstance(base, list) and isinstance(whole, list) and at == ("branches",) and len(base) == len(whole):
        for index, (one, other) in enumerate(zip(base, whole, strict=True)):
            yield from _different(one, other, (*at, index))
    elif base != whole:
        said = f"{dotted(at)}={'none' if whole is None else _toml(whole)}"
        try:
            exact = parse_set(said)[1] == whole
        except RealCompoError:
            exact = False
        yield said if exact else None


def _toml(value: Any) -> str:
    """A value as TOML; numbers and texts as JSON has them, tables inline."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
