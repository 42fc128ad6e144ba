"""Recipes as TOML, YAML and JSON that people can read; `recipe_files` reads them back equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..conditions import BoxItem
from ..conditions.base import with_ids
from ..errors import BadRecipe
from ..files import whole, write_whole
from .files import SUFFIXES, Path_, dotted
from .picture_entry import PICTURES
from .recipe import Recipe


def to_toml(recipe: Recipe) -> str:
    """A recipe as TOML."""
    return _toml(short(recipe.plain()))


def _toml(plain: Mapping[str, Any]) -> str:
    """TOML has no null: options that are none are listed under `unset`."""
    import tomli_w

    empty: list[str] = []
    data = _without_none(plain, (), empty)
    if empty:
        data = {"unset": empty, **data}
    return one_line_arrays(tomli_w.dumps(data))


# An array of plain values over several lines, as tomli_w writes every array; newlines inside texts are escaped, so none is met.
_ROWS = re.compile(r"\[\n(?:[ ]+[^\[\]{}\n]+,\n)+[ ]*\]")


def one_line_arrays(toml: str) -> str:
    """TOML of tomli_w with short arrays on one line each."""
    return _ROWS.sub(_one_line, toml)


def _one_line(rows: re.Match[str]) -> str:
    values = [row.strip().removesuffix(",") for row in rows.group()[1:-1].strip().split("\n")]
    line = f"[{', '.join(values)}]"
    return line if len(line) <= 100 else rows.group()


def short(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data of a recipe as people write it: without what is empty, boxes as phrase → numbers where that says it all, else as a list
    of phrase and box, with ids only where they are not what reading makes of the phrases."""
    data = _without_empty(data, "scheduler_options")
    data["branches"] = [_without_empty(one, "options") for one in data.get("branches", ())]
    for key in ("balancer", "planner"):
        if key in data:
            data[key] = _without_empty(data[key], "options", "use")
    data["pictures"] = [_without_empty(_short_boxes(one), "negative_prompt", "conditions") for one in data.get("pictures", ())]
    return data


def _without_empty(table: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value or key not in names}


def _short_boxes(picture: Mapping[str, Any]) -> dict[str, Any]:
    conditions = dict(picture.get("conditions", {}))
    for key, condition in conditions.items():
        if not key == condition.get("kind") == "boxes":
            continue
        items = _without_made_ids(condition.get("items", ()))
        phrases = [item["phrase"] for item in items]
        plain = all(set(item) == {"phrase", "box"} for item in items)
        # A phrase that is called as a key of the long form would be read as that key.
        clear = len(set(phrases)) == len(phrases) and not {"kind", "items"} & set(phrases)
        conditions[key] = {item["phrase"]: item["box"] for item in items} if plain and clear else items
    return {**picture, "conditions": conditions}


def _without_made_ids(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items without ids, if reading them gives each the id that it has."""
    bare = [{key: value for key, value in item.items() if key != "id"} for item in items]
    made = with_ids([BoxItem(**item) for item in bare], "box")
    return bare if [one.id for one in made] == [item["id"] for item in items] else [dict(item) for item in items]


def to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML."""
    return _yaml(short(recipe.plain()))


def _yaml(plain: Mapping[str, Any]) -> str:
    return str(yaml.dump(plain, Dumper=_PlainDumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120))


class _PlainDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes a value that occurs twice twice: our reader takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        # PyYAML reads some of the line breaks of Unicode back as blanks, unless they are escaped.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')


_PlainDumper.add_representer(str, _PlainDumper.represent_str)


def to_json(recipe: Recipe) -> str:
    """A recipe as JSON."""
    return _json(short(recipe.plain()))


def _json(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)


def check_suffix(path: Path) -> None:
    """Refuse a file that no recipe can be written to, before anything that it should hold is made.

    Raises:
        BadRecipe: another suffix than those of recipes.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise BadRecipe(f"{path.suffix or 'no suffix'} is no format of a recipe", where=str(path), mend=f"one of {', '.join(SUFFIXES)}")


def write_recipe(recipe: Recipe, path: str | Path, notes: Iterable[str] = ()) -> Path:
    """Write a recipe in the format of the path's suffix. Pictures that it draws over are written beside it, and named in it.

    Args:
        notes: for whoever opens the file: comments at its top, where the format has any.

    Raises:
        BadRecipe: another suffix, or a place that cannot be written to.
    """
    path = Path(path).expanduser()
    writers = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml, ".json": _json}
    check_suffix(path)
    head = "" if path.suffix.lower() == ".json" else comments(notes)
    try:
        write_whole(path, head + writers[path.suffix.lower()](short(_with_files(recipe, path))))
    except UnicodeEncodeError:
        raise BadRecipe("a text in it holds half of a surrogate pair, which no file can hold", where=str(path), mend="mend it") from None
    except OSError as error:
        raise BadRecipe(f"it cannot be written: {error.strerror}", where=str(path), mend="choose another place") from None
    return path


def _with_files(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Plain data with names of files in place of copies of pictures. The files are named by their pixels, so that none is written twice,
    nor over another."""
    data = recipe.plain()
    for entry, plain in zip(recipe.pictures, data["pictures"], strict=True):
        for name, _ in PICTURES:
            copy = getattr(entry, name)
            if copy is None or not copy.here:
                continue
            file = path.with_name(f"{path.stem}-{copy.sha256[:12]}.png")
            if not file.exists():
                with whole(file, links=False) as stream:
                    copy.image(name).save(stream, "PNG")
            plain[name] = file.name
    return data


def comments(notes: Iterable[str]) -> str:
    """Notes as comments of TOML and YAML, and a free line; a note that holds lines stays a comment in each of them."""
    lines = [line for note in notes for line in re.split(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", note)]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + ("\n" if lines else "")


def _without_none(value: Any, at: Path_, empty: list[str]) -> Any:
    if isinstance(value, Mapping):
        kept = {}
        for key, one in value.items():
            if one is None:
                empty.append(dotted((*at, key)))
            else:
                kept[key] = _without_none(one, (*at, key), empty)
        return kept
    if isinstance(value, list):
        for index, one in enumerate(value):
            if one is None:
                empty.append(dotted((*at, index)))
        # A placeholder holds the place of a null in a list, until `unset` makes it one again.
        return ["" if one is None else _without_none(one, (*at, index), empty) for index, one in enumerate(value)]
    return value
