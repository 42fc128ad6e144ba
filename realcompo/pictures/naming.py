"""Names of pictures by a template: ``{seed}-{prompt:.40}.png``, ``{date}/{model}/{index:03}.png``.

Folders and words between the fields are the user's. What a field becomes is letters, digits, dots and dashes alone (`files.file_name`), so
that no prompt leads out of the folder, hides a file or names a device. Everything that can be wrong with a template is told when it is
read, before anything is drawn.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..errors import BadOption, UnknownName, nearest
from ..files import file_name
from ..recipes.recipe import PictureEntry, Recipe

FIELDS = {
    "seed": "the picture's seed",
    "prompt": "its prompt",
    "name": "its name in the recipe, else its prompt",
    "index": "its number in this command, from 1",
    "model": "the fidelity branch: the name of its checkpoint, or its id",
    "spatial": "the spatial branches' ids",
    "steps": "how many steps",
    "width": "in pixels, where the recipe says",
    "height": "likewise",
    "date": "of the command: 2026-11-28",
    "time": "of the command: 142530",
}
"""Field → what it becomes."""
MOMENTS = ("date", "time")
LONGEST = 240
"""Bytes of a name: file systems take 255, and a number may come behind it."""

_NUMBERS = ("seed", "index", "steps", "width", "height")
_Piece = tuple[Literal["text", "field"], str, str]


def is_template(text: str | Path) -> bool:
    """Whether a text names files by fields; a folder that is there is a folder, whatever it is called."""
    return "{" in str(text) and not os.path.isdir(os.path.expanduser(text))


@dataclass(frozen=True)
class Names:
    """A template that was read.

    Attributes:
        folder: the folders before the first field.
        pieces: what comes after them.
        now: of the command; the same for all its pictures.
    """

    folder: Path
    pieces: tuple[_Piece, ...]
    now: datetime

    @classmethod
    def read(cls, text: str, where: str, *, again: bool = False, now: datetime | None = None) -> Names:
        """A template.

        Args:
            text: with fields in braces; a doubled brace is a brace. Without an ending, .png is added.
            where: who says it, for messages.
            again: the files must be found again by the same command later, so that it may not speak of the moment.

        Raises:
            UnknownName: a field that there is not. BadOption: braces that do not close, a format that a field has not, another ending.
        """
        mend = f"fields are {', '.join(f'{{{name}}}' for name in FIELDS)}, {{prompt:.40}} cuts, {{seed:06}} fills up; {{{{ is a brace"
        pieces: list[_Piece] = []
        try:
            parsed = list(string.Formatter().parse(os.path.expanduser(text)))
        except ValueError as error:
            raise BadOption(f"it is no template: {error}", where=where, mend=mend) from None
        for words, name, form, conversion in parsed:
            if re.search(r"[\x00-\x1f\x7f]", words):
                raise BadOption("a name holds no control characters", where=where, mend=mend)
            if words:
                pieces.append(("text", words, ""))
            if name is None:
                continue
            if name not in FIELDS:
                raise UnknownName(f"no field is called {{{name}}}", where=where, mend=f"{nearest(name, FIELDS)}; {mend}")
            if conversion or not re.fullmatch(r"0?[1-9]?\d?" if name in _NUMBERS else r"(\.[1-9]\d{0,2})?", form or ""):
                told = f"{form}{f'!{conversion}' if conversion else ''}"
                raise BadOption(f"{{{name}}} has no format {told!r}", where=where, mend=mend)
            if again and name in MOMENTS:
                raise BadOption(
                    f"{{{name}}} would name the files of a run that goes on anew",
                    where=where,
                    mend="leave it out: the run must find its files",
                )
            pieces.append(("field", name, form or ""))
        return cls(*_split(_ended(pieces, where)), now or datetime.now())

    def stem(self, recipe: Recipe, entry: PictureEntry, index: int) -> str:
        """A picture's path below `folder`, without its ending; `index` from 1.

        Raises:
            BadOption: a part of it is longer than a file's name may be.
        """
        known = _values(recipe, entry, index, self.now)
        told = "".join(words if kind == "text" else _filled(known, words, form) for kind, words, form in self.pieces)
        parts = [part for part in told.split("/") if part not in ("", ".")]
        long = [part for part in parts if len(part.encode()) > LONGEST]
        if long:
            raise BadOption(
                f"the name {long[0][:40]}… is longer than {LONGEST} bytes", where="the template of names", mend="cut fields: {prompt:.40}"
            )
        return "/".join(parts) or "picture"

    def free(self, recipe: Recipe, entry: PictureEntry, index: int, taken: Iterable[Path] = ()) -> Path:
        """A path at which nothing is, nor any of those that are taken: numbered where it has to be."""
        stem, count, used = self.stem(recipe, entry, index), 1, set(taken)
        path = self.folder / f"{stem}.png"
        while path in used or os.path.lexists(path):
            count += 1
            path = self.folder / f"{stem}-{count}.png"
        return path


def _ended(pieces: list[_Piece], where: str) -> list[_Piece]:
    """The pieces without their ending, which is .png."""
    kind, words, _ = pieces[-1] if pieces else ("text", "", "")
    if kind == "text" and words.endswith("/"):
        return [*pieces, ("field", "name", "")]
    ending = re.search(r"\.\w{1,5}$", words) if kind == "text" else None
    if ending is None:
        return pieces
    if ending[0].lower() != ".png":
        raise BadOption(f"{ending[0]} cannot carry the recipe", where=where, mend="let the template end in .png; convert it afterwards")
    rest = words[: -len(ending[0])]
    return [*pieces[:-1], *([("text", rest, "")] if rest else [])]  # type: ignore[list-item]


def _split(pieces: list[_Piece]) -> tuple[Path, tuple[_Piece, ...]]:
    if pieces and pieces[0][0] == "text" and "/" in pieces[0][1]:
        folder, _, rest = pieces[0][1].rpartition("/")
        return Path(folder or "/"), ((("text", rest, ""),) if rest else ()) + tuple(pieces[1:])
    return Path("."), tuple(pieces)


def _values(recipe: Recipe, entry: PictureEntry, index: int, now: datetime) -> dict[str, int | str | None]:
    first = next((one for one in recipe.branches if one.role != "spatial"), None)
    source = first.source if first is not None else None
    return {
        "seed": entry.seed,
        "prompt": entry.prompt,
        "name": entry.name or entry.prompt,
        "index": index,
        "model": (Path(source).stem if source else first.name) if first is not None else "",
        "spatial": "+".join(one.name for one in recipe.branches if one is not first),
        "steps": recipe.num_inference_steps,
        "width": recipe.width,
        "height": recipe.height,
        "date": now.strftime("%Y-%m-%d"),
        "time": now.strftime("%H%M%S"),
    }


def _filled(known: dict[str, int | str | None], name: str, form: str) -> str:
    value = known[name]
    if isinstance(value, int):
        return format(value, form)
    text = file_name(str(value) if value is not None else "")
    return text[: int(form[1:])].rstrip("-._") or "picture" if form.startswith(".") else text
