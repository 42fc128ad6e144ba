"""The keys of recipe files and of the user file, from the models and the JSON schema."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from realcompo.recipes.configuration import Settings
from realcompo.recipes.recipe import VERSION, Recipe
from realcompo.recipes.schema import recipe_schema

from .markdown import attributes, cell, code, field_rows, summary, table

HEAD = ("key", "type", "default", "meaning")


def page() -> str:
    """All keys."""
    schema = recipe_schema()
    only = {name: one for name, one in schema["properties"].items() if name not in Recipe.model_fields and name != "$schema"}
    lines = [
        "# Recipe files",
        "",
        f"Every key of a recipe (version {VERSION}). [Recipes](../recipes.md) explains them;",
        "`realcompo show --schema` prints the JSON schema for editors.",
        "",
        table(HEAD, field_rows(Recipe)),
        "",
        "## Keys that only files have",
        "",
        table(("key", "meaning"), [[code(name), cell(one["description"])] for name, one in only.items()]),
        "",
        "### prompts as a table",
        "",
        table(("key", "meaning"), [[code(name), cell(one.get("description", "for all of them"))] for name, one in _prompts(only).items()]),
    ]
    for cls, names in parts(Recipe).items():
        bare = " An id alone stands for `{ name = ID }`." if "options" in cls.model_fields else ""
        lines += ["", f"## {cls.__name__}", "", f"Of {', '.join(code(one) for one in names)}: {cell(summary(cls.__doc__))}{bare}", ""]
        lines.append(table(HEAD, field_rows(cls)))
    lines += [
        "",
        "## conditions",
        "",
        "By kind, or by the name of the branch that they are for. [Conditions](../conditions.md) explains them.",
        "",
    ]
    kinds = schema["$defs"]["PictureEntry"]["properties"]["conditions"]["properties"]
    rows = [[code(kind), cell(schema["$defs"][one["$ref"].rsplit("/", 1)[1]]["description"])] for kind, one in kinds.items()]
    lines += [table(("key", "form"), rows), "", "## User file and project file", ""]
    lines += ["The keys of a recipe except `pictures`, `prompts` and `extends`, and:", "", table(("key", "meaning"), _settings())]
    return "\n".join(lines)


def parts(cls: type[BaseModel], found: dict[type[BaseModel], list[str]] | None = None) -> dict[type[BaseModel], list[str]]:
    """The models that a model's fields hold, each with the names of the fields that hold it; depth first."""
    found = {} if found is None else found
    for name, field in cls.model_fields.items():
        for one in _models(field.annotation):
            new = one not in found
            names = found.setdefault(one, [])
            if name not in names:
                names.append(name)
            if new:
                parts(one, found)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    inner = get_args(annotation)
    if inner and get_origin(annotation) is not dict:
        return [one for part in inner for one in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _prompts(only: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one["properties"] for one in only["prompts"]["anyOf"] if "properties" in one)
    return found


def _settings() -> list[list[str]]:
    said = attributes(Settings.__doc__)
    return [[code(field.name), cell(said[field.name])] for field in dataclasses.fields(Settings)]
