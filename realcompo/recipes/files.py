"""Recipe files: TOML, YAML and JSON to plain data.

Files are not trusted: sizes are bounded, nothing is evaluated, paths are confined.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ..conditions.named import names_a_file, read_named_file
from ..errors import BadPicture, BadRecipe
from .copies import PictureCopy
from .option_pictures import tables, with_pictures
from .parts import plain_data
from .picture_entry import PICTURES, dump_condition
from .recipe import migrate

MAX_BYTES = 1 << 20
MAX_PROMPTS = 10_000
MAX_EXTENDS = 16
SUFFIXES = (".toml", ".yaml", ".yml", ".json")

Path_ = tuple[str | int, ...]
"""Where a value stands in plain data: ("branches", 0, "guidance_scale")."""


@dataclass(frozen=True)
class RecipeFile:
    """A file that was read: its text is kept so that an error can name a line.

    Attributes:
        data: its plain data, migrated; without ``$schema``, ``extends`` and ``prompts`` (those are resolved).
    """

    path: Path
    text: str
    data: dict[str, Any] = field(default_factory=dict)

    def where(self, loc: Path_ = ()) -> str:
        """``scene.toml:12`` where the line can be told, else the path alone."""
        line = _line(self.path, self.text, loc) if loc else None
        return f"{self.path}:{line}" if line else str(self.path)


# -- reading -----------------------------------------------------------------------------------------------------------------


def read_text(path: Path, what: str = "recipe") -> str:
    """A small text file, UTF-8.

    Raises:
        BadRecipe: not there, not a plain file, too large, not text.
    """
    try:
        if not path.exists():
            first = ', or make one: realcompo plan "a cat and a dog" -o scene.toml' if what == "recipe" else ""
            raise BadRecipe(f"there is no such {what}", where=str(path), mend=f"check the path{first}")
        if not path.is_file():
            raise BadRecipe("it is no plain file", where=str(path), mend=f"name the {what} itself")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadRecipe(f"it cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from None
    if len(raw) > MAX_BYTES:
        raise BadRecipe(f"it is larger than {MAX_BYTES >> 20} MiB", where=str(path), mend=f"split it: a {what} is a small text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecipe(f"it is no UTF-8 text (byte {error.start})", where=str(path), mend=f"is it a {what}? Save it as UTF-8") from None


def parse(text: str, suffix: str, where: str) -> dict[str, Any]:
    """Plain data of a text in the format of `suffix`.

    Raises:
        BadRecipe: it does not parse (with the line), or it holds no table.
    """
    try:
        if suffix == ".toml":
            data: Any = tomllib.loads(text)
        elif suffix == ".json":
            data = json.loads(text, object_pairs_hook=_distinct)
        else:
            data = yaml.load(text, Loader=_PlainLoader)  # a subclass of SafeLoader
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        line = _error_line(error)
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise BadRecipe(
            f"it is no {suffix[1:].upper()}: {reason}",
            where=f"{where}:{line}" if line else where,
            mend="mend that line; docs/recipes.md shows each format",
        ) from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise BadRecipe(f"it holds a {type(data).__name__}, not a table", where=where, mend="write key = value (TOML), key: value (YAML)")
    try:
        return dict(plain_data(data))
    except ValueError as error:
        raise BadRecipe(str(error), where=where, mend="write a finite number, and texts as names") from None


def read_file(path: Path) -> RecipeFile:
    """One file, migrated; `extends` and `prompts` still in it.

    Raises:
        BadRecipe: unreadable, of a newer version, or not of a known format.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise BadRecipe(
            f"{path.suffix or 'a file without suffix'} is no format of a recipe",
            where=str(path),
            mend=f"realcompo reproduce {path.name}; or realcompo check {path.name} -o scene.toml takes the recipe out"
            if path.suffix.lower() == ".png"
            else f"one of {', '.join(SUFFIXES)}",
        )
    text = read_text(path)
    data = parse(text, path.suffix.lower(), str(path))
    file = RecipeFile(path, text)
    data = migrate(data, file.where(("version",)))
    data.pop("$schema", None)
    return RecipeFile(path, text, data)


def read_chain(path: Path, root: Path | None = None) -> list[RecipeFile]:
    """A recipe and what it extends, the farthest first, `prompts` made into `pictures`.

    Args:
        path: the recipe.
        root: no file outside this folder is read; the recipe's own folder by default.

    Raises:
        BadRecipe: see `read_file`; a circle, or a path that leads outside.
    """
    path = path.expanduser()
    resolved = path.resolve()
    root = root.resolve() if root is not None and resolved.is_relative_to(root.resolve()) else resolved.parent
    chain: list[RecipeFile] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        here = following.resolve()
        if here in seen:
            circle = " → ".join(one.name for one in (*seen[seen.index(here) :], here))
            raise BadRecipe(f"recipes extend each other in a circle: {circle}", where=str(path), mend="take one extends out")
        if len(seen) == MAX_EXTENDS:
            raise BadRecipe(f"more than {MAX_EXTENDS} recipes extend each other", where=str(path), mend="join some of them")
        seen.append(here)
        file = read_file(following)
        data = dict(file.data)
        parent = data.pop("extends", None)
        _expand_prompts(data, file, root)
        _expand_conditions(data, file, root)
        _expand_pictures(data, file, root)
        chain.append(RecipeFile(file.path, file.text, data))
        following = None if parent is None else _confined(file, parent, root, "extends")
    return chain[::-1]


def _confined(file: RecipeFile, text: Any, root: Path, key: str) -> Path:
    """The path that a recipe names, relative to its own folder and inside `root`."""
    where = file.where((key,))
    if not isinstance(text, str) or not text or "\0" in text:
        raise BadRecipe(f"{key} = {text!r} is no path", where=where, mend=f'write {key} = "other.toml"')
    path = Path(text)
    if path.is_absolute() or path.drive or text.startswith(("~", "\\")):
        raise BadRecipe(
            f"{key} = {text!r} is not relative", where=where, mend="name a file beside the recipe: a recipe must not roam the disk"
        )
    found = file.path.parent / path
    try:
        inside = found.resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # a name of thousands of letters, links in a circle
        raise BadRecipe(f"{key} = {text!r} is no path ({error})", where=where, mend=f'write {key} = "other.toml"') from None
    if not inside:
        raise BadRecipe(
            f"{key} = {text!r} leads outside {root}",
            where=where,
            mend="move the file beside the recipe, or put a realcompo.toml in the folder that holds both",
        )
    return found


def _expand_prompts(data: dict[str, Any], file: RecipeFile, root: Path) -> None:
    """``prompts = "file.txt"`` or ``{file, negative_prompt, seed, each}`` to entries of `pictures`, `each` a line."""
    said = data.pop("prompts", None)
    if said is None:
        return
    where = file.where(("prompts",))
    table = said if isinstance(said, Mapping) else {"file": said}
    unknown = set(table) - {"file", "negative_prompt", "seed", "each"}
    if unknown or "file" not in table:
        wrong = f"prompts has no key {min(unknown)!r}" if unknown else "prompts names no file"
        raise BadRecipe(wrong, where=where, mend='write prompts = "prompts.txt", or { file, negative_prompt, seed, each }')
    each, seed = table.get("each", 1), table.get("seed")
    if type(each) is not int or each < 1 or type(seed) not in (int, type(None)):
        raise BadRecipe("prompts.each and prompts.seed are whole numbers, each at least 1", where=where, mend="write each = 4, seed = 0")
    path = _confined(file, table["file"], root, "prompts")
    lines = [line.strip() for line in read_text(path, "list of prompts").splitlines()]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise BadRecipe("it holds no prompt", where=str(path), mend="write one a line; lines that begin with # are left out")
    if len(prompts) * each > MAX_PROMPTS:
        raise BadRecipe(f"it asks for more than {MAX_PROMPTS} pictures", where=str(path), mend="split it")
    own = {"negative_prompt": table["negative_prompt"]} if "negative_prompt" in table else {}
    pictures = [
        {"prompt": prompt, **own, **({} if seed is None else {"seed": seed + index * each + copy})}
        for index, prompt in enumerate(prompts)
        for copy in range(each)
    ]
    before = data.get("pictures", [])
    data["pictures"] = [*before, *pictures] if isinstance(before, list) else before


def _expand_conditions(data: dict[str, Any], file: RecipeFile, root: Path) -> None:
    """``keypoints = { file = "pose.json", phrases = [...] }`` to what the file holds: a picture carries its pose and map, not a path."""
    pictures = data.get("pictures")
    for index, picture in enumerate(pictures if isinstance(pictures, list) else ()):
        conditions = picture.get("conditions") if isinstance(picture, dict) else None
        if not isinstance(conditions, dict):
            continue
        for key, told in conditions.items():
            kind = told.get("kind", key) if isinstance(told, dict) else key
            if isinstance(kind, str) and names_a_file(kind, told):
                path = _confined(file, told["file"], root, "file")
                where = file.where(("pictures", index, "conditions"))
                conditions[key] = dump_condition(read_named_file(kind, path, told, where))


def _expand_pictures(data: dict[str, Any], file: RecipeFile, root: Path) -> None:
    """``image = "photo.png"`` and ``mask_image`` to copies of the files beside the recipe: a picture carries what it was drawn from."""
    pictures = data.get("pictures")
    read: dict[tuple[Path, str], PictureCopy] = {}

    def copy(value: Any, name: str) -> Any:
        return PictureCopy.of(_confined(file, value, root, name), name=name) if isinstance(value, str) else value

    for _, entry in tables(data.get("branches")):
        entry["options"] = with_pictures(entry["options"], copy)
    for index, picture in enumerate(pictures if isinstance(pictures, list) else ()):
        for name, mode in PICTURES:
            if isinstance(picture, dict) and isinstance(picture.get(name), str):
                path = _confined(file, picture[name], root, name)
                if (path, mode) not in read:
                    try:
                        read[path, mode] = PictureCopy.of(path, mode, name)
                    except BadPicture as error:
                        where = file.where(("pictures", index, name))
                        raise BadPicture(f"{picture[name]}: {error.what}", where=where, mend=error.mend) from None
                picture[name] = read[path, mode]


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON table whose keys are all different."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is written twice")
    return table


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML is untyped
    """Safe YAML without aliases (a few lines of them unfold to gigabytes) and without a key that is written twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: aliases (*name) are not taken")
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, IndexError, KeyError, ValueError) as error:  # PyYAML's, of a tag that its value is none of
            if not isinstance(node, yaml.ScalarNode):
                raise
            kind = node.tag.rpartition(":")[2]
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {node.value[:80]!r} is no {kind}") from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.YAMLError(f"line {node.value[position][0].start_mark.line + 1}: the key {key!r} is written twice")
        return super().construct_mapping(node, deep)


# -- lines -------------------------------------------------------------------------------------------------------------------


def _error_line(error: Exception) -> int | None:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    found = re.search(r"line (\d+)", str(error))
    return int(found.group(1)) if found else None


def _line(path: Path, text: str, loc: Path_) -> int | None:
    """The line (from 1) on which the key of `loc` stands; None where it cannot be told for sure."""
    return _toml_line(text, loc) if path.suffix.lower() == ".toml" else _yaml_line(text, loc)


@lru_cache(maxsize=4)
def _yaml_tree(text: str) -> Any:
    """The nodes of a text, kept: reading YAML is slow, and a recipe is asked for many lines."""
    try:
        return yaml.compose(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _yaml_line(text: str, loc: Path_) -> int | None:
    node = _yaml_tree(text)
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                return line
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _toml_line(text: str, loc: Path_) -> int | None:
    """tomllib keeps no positions: look for the key, in its own [[table]] where there are several."""
    lines = text.splitlines()
    first, last = 0, len(lines)
    names = [part for part in loc if isinstance(part, str)]
    if len(loc) > 1 and isinstance(loc[1], int):
        headers = [n for n, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{re.escape(str(loc[0]))}\s*\]\]", line)]
        if loc[1] < len(headers):
            first = headers[loc[1]]
            last = headers[loc[1] + 1] if loc[1] + 1 < len(headers) else last
            if len(names) == 1:
                return first + 1
    for name in reversed(names):  # a bare name in `branches` has no key of its own
        pattern = re.compile(rf"""(?:^|[\s\[{{,.])["']?{re.escape(name)}["']?\s*(?:=|\]|\.)""")
        found = [n for n in range(first, last) if pattern.search(lines[n])]
        if found:
            return found[0] + 1 if len(found) == 1 or first else None
    return None


# -- dotted names ------------------------------------------------------------------------------------------------------------


def dotted(loc: Sequence[str | int]) -> str:
    """``branches.0.options."a.b"``, as --set and `set` write it."""
    return ".".join(str(part) if re.fullmatch(r"[\w/+-]+", str(part)) else json.dumps(part) for part in loc)


def undotted(text: str) -> Path_:
    """The inverse of `dotted`; numbers are positions in lists.

    Raises:
        BadRecipe: not a dotted name.
    """
    return tuple(_parts(text))


def _parts(text: str) -> Iterator[str | int]:
    pattern = re.compile(r'"(?:[^"\\]|\\.)*"|[^".]+')
    position = 0
    while True:
        found = pattern.match(text, position)
        try:
            if found is None:
                raise ValueError
            part = found.group()
            yield json.loads(part) if part.startswith('"') else int(part) if part.isascii() and part.isdigit() else part.strip()
        except ValueError:
            raise BadRecipe(f"{text!r} is no dotted name", mend="write for example branches.0.guidance_scale") from None
        position = found.end()
        if position == len(text):
            return
        if text[position] != ".":
            raise BadRecipe(f"{text!r} is no dotted name", mend="write for example branches.0.guidance_scale")
        position += 1
