"""Checkpoints by their bare names: ``source = "dreamshaper_8"`` is looked for in the user's model folders, those of other programs perhaps.

The folders are `models` of the user file (and of the project file). A name is looked for only where it is neither a path that is there nor
a hub id, so that nothing that has a meaning today gets another. Names are compared, files are not opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import BadCheckpoint, nearest
from .file_kinds import unfinished
from .tensor_files import ENDINGS, PICKLES

DEEPEST = 8
"""Folders within folders that are looked into."""
MOST = 200_000
"""Entries of all folders: a home given by mistake must not hang a command."""
SHOWN = 8
"""Candidates that an error lists."""

_BARE = re.compile(r"[^/\\:\x00-\x1f][^\\:\x00-\x1f]*")


def model_folders() -> tuple[Path, ...]:
    """The folders of the user file and the project file, the user's first.

    Raises:
        BadRecipe: one of these files cannot be read.
    """
    from ..recipes.configuration import user_settings

    return user_settings().models


def find_model(text: str, allow_pickle: bool = False, folders: Sequence[Path] | None = None) -> Path | None:
    """The file, or the folder in diffusers' layout, that a name means; None where no folders are configured, or it is no such name.

    Args:
        text: a stem (``dreamshaper_8``), a file's name with its ending, or the end of its path (``loras/ink.safetensors``).
        allow_pickle: pickled files count as much as safetensors; else only where there is nothing but them.
        folders: to look in; those of the user file by default.

    Raises:
        BadCheckpoint: nothing, or more than one, is called so.
    """
    path = Path(text)
    if (
        not _BARE.fullmatch(text)
        or text.startswith(("~", "."))
        or ".." in path.parts
        or (len(path.parts) > 1 and path.suffix not in ENDINGS)
    ):
        return None
    folders = model_folders() if folders is None else folders
    if not folders:
        return None
    found: dict[Path, tuple[Path, Path]] = {}  # resolved → as found, and the model folder
    names: set[str] = set()
    left = [MOST]
    for folder, place in walk_models(folders, left):
        if place.parts[-len(path.parts) :] == path.parts or (len(path.parts) == 1 and is_file_of(place) and place.stem == text):
            found.setdefault(place.resolve(), (place, folder))
        names.add(place.stem if is_file_of(place) else place.name)
    safe = {real: one for real, one in found.items() if one[0].suffix.lower() not in PICKLES}
    if not allow_pickle and safe:
        found = safe
    if len(found) == 1:
        return next(iter(found.values()))[0]
    where = text
    if found:
        listed = sorted((place.relative_to(folder).as_posix() for place, folder in found.values()), key=str.lower)
        raise BadCheckpoint(
            f"{len(found)} files or folders are called so: {', '.join(listed[:SHOWN])}{' …' if len(listed) > SHOWN else ''}",
            where=where,
            mend="write the one that you mean with its folder and ending, or its whole path",
        )
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    broken = next((said for folder in folders if (said := unfinished(folder, path.stem))), "")
    raise BadCheckpoint(
        f"nothing is called so in the model folders {', '.join(map(str, folders))}{broken}"
        + (f"; only their first {MOST:,} entries were looked at" if left[0] < 0 else "")
        + (f" (of which {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there)" if missing else ""),
        where=where,
        mend=f"{nearest(path.stem, names) if names else 'no checkpoint is in them'}; a hub id is written organisation/name",
    )


def is_file_of(place: Path) -> bool:
    """Whether a place that `walk_models` gave is a file, not a folder."""
    return place.suffix.lower() in ENDINGS


def walk_models(folders: Sequence[Path], left: list[int] | None = None) -> Iterator[tuple[Path, Path]]:
    """(model folder, file of weights or folder in diffusers' layout) of all that lies in some folders, in the order of their names.

    `left` holds how many entries are looked at, and what is left of them afterwards: less than 0 where there were more.

    Links are followed, each real folder is entered once; hidden ones are left out, and so is what cannot be read. The parts of a diffusers
    folder are its own.
    """
    seen: set[tuple[int, int]] = set()
    left = [MOST] if left is None else left
    for folder in folders:
        yield from ((folder, place) for place in _walk(folder, 0, seen, left))


def _walk(folder: Path, depth: int, seen: set[tuple[int, int]], left: list[int]) -> Iterator[Path]:
    try:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in seen or depth > DEEPEST:
            return
        seen.add((facts.st_dev, facts.st_ino))
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    left[0] -= len(inside)
    if left[0] < 0:
        return
    names = {entry.name for entry in inside}
    whole = depth > 0 and ("model_index.json" in names or ("config.json" in names and any(name.endswith(ENDINGS) for name in names)))
    if whole or (depth > 0 and {"unet", "vae"} <= names and not any(name.endswith(ENDINGS) for name in names)):
        yield folder
        return
    for entry in inside:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _walk(folder / entry.name, depth + 1, seen, left)
            elif entry.name.lower().endswith(ENDINGS) and entry.is_file():
                yield folder / entry.name
        except OSError:
            continue
