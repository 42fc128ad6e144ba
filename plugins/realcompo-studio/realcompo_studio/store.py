"""The studio's folder: pictures in it, and in `.studio` all else (jobs, traces, thumbnails, parents). Files appear whole or not at all.

A name that a request brings is never made into a path: it is looked for among the names that are there.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from realcompo.errors import BadPicture, RealCompoError
from realcompo.files import clear_parts, file_name, free_path, whole
from realcompo.pictures.png import Embedded, read_recipe

from .problems import not_found

OWN = ".studio"
ROOMS = ("jobs", "traces", "thumbnails", "parents", "uploads")
THUMBNAIL = 256
_PLAIN = re.compile(r"[^\x00-\x1f/\\:*?\"<>|]{1,200}")


class Store:
    """One folder.

    Raises:
        BadPicture: it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for room in ROOMS:
                (folder / OWN / room).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadPicture(f"the folder cannot be made: {error.strerror}", where=str(folder), mend="choose another: --folder") from None
        for place in (folder, *(folder / OWN / room for room in ROOMS)):
            clear_parts(place)
        for left in (folder / OWN / "uploads").iterdir():
            left.unlink()
        self._lock = threading.Lock()
        self._read: OrderedDict[tuple[str, int, int], Embedded | RealCompoError] = OrderedDict()
        self._traces: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    # -- pictures ----------------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the pictures, newest first. Links are left aside: they may lead elsewhere."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".png") and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        return [name for _, name in sorted(found, reverse=True)]

    def picture(self, name: str) -> Path:
        """The path of a picture.

        Raises:
            Denied: there is none of that name.
        """
        return self._inside(self.folder, name if name.endswith(".png") else "")

    def _inside(self, folder: Path, name: str) -> Path:
        """A plain file of a folder."""
        path = folder / name
        if not _PLAIN.fullmatch(name) or name in (".", "..") or name.startswith(".") or path.name != name:
            raise not_found(f"no file is called {name[:80]!r}", "see GET /api/pictures for the names")
        try:
            there = path.lstat()
        except (OSError, ValueError):
            raise not_found(f"there is no {name[:80]!r}", "it may have been removed: see GET /api/pictures") from None
        if not stat.S_ISREG(there.st_mode):
            raise not_found(f"{name[:80]!r} is no plain file", "see GET /api/pictures for the names")
        return path

    def embedded(self, name: str) -> Embedded:
        """What a picture carries, kept as long as its file is the same.

        Raises:
            Denied: there is none. BadPicture, BadRecipe: it carries nothing, or nothing that can be read.
        """
        path = self.picture(name)
        there = path.stat()
        key = (name, there.st_mtime_ns, there.st_size)
        with self._lock:
            found = self._read.get(key)
        if found is None:
            try:
                found = read_recipe(path)
            except RealCompoError as error:
                found = type(error)(error.what, where=name, mend=error.mend)
            with self._lock:
                self._read[key] = found
                while len(self._read) > 2000:
                    self._read.popitem(last=False)
        if isinstance(found, RealCompoError):
            raise found
        return found

    def keep(self, image: Any, title: str, trace: Mapping[str, Any] | None) -> str:
        """Write a picture under a free name made from a title, its trace first; returns the name."""
        with self._lock:
            stem = file_name(title)
            path = free_path(self.folder, stem)
            count = 1
            while self._room("traces", f"{path.stem}.json.gz").exists():  # of a picture that was since removed
                count += 1
                path = free_path(self.folder, f"{stem}-{count}")
            if trace is not None:
                self._pack("traces", path.stem, trace)
            image.save(path)
        return path.name

    def thumbnail(self, name: str) -> bytes:
        """A PNG of at most 256 pixels a side, made once."""
        path = self.picture(name)
        there = path.stat()
        kept = self._room("thumbnails", f"{path.stem}.{there.st_mtime_ns:x}.png")
        if kept.is_file():
            return kept.read_bytes()
        data = shrunk(path, THUMBNAIL)
        for old in kept.parent.glob(f"{_quoted(path.stem)}.*.png"):
            old.unlink(missing_ok=True)
        with whole(kept, links=False) as stream:
            stream.write(data)
        return data

    # -- what belongs to a picture ----------------------------------------------------------------------------------------------------

    def _room(self, room: str, name: str = "") -> Path:
        return self.folder / OWN / room / name

    def _pack(self, room: str, stem: str, data: Mapping[str, Any]) -> None:
        packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), 5, mtime=0)
        with whole(self._room(room, f"{stem}.json.gz"), links=False) as stream:
            stream.write(packed)

    def has_trace(self, name: str) -> bool:
        """Whether a picture was drawn here."""
        return self._room("traces", f"{Path(name).stem}.json.gz").is_file()

    def trace(self, name: str) -> Mapping[str, Any]:
        """What was seen while a picture was drawn; the last few are kept.

        Raises:
            Denied: it was not drawn here.
        """
        stem = self.picture(name).stem
        with self._lock:
            if stem in self._traces:
                return self._traces[stem]
        path = self._room("traces", f"{stem}.json.gz")
        if not path.is_file():
            raise not_found(f"{name!r} has no trace", "only pictures that this studio drew have one: draw it again")
        try:
            data: Mapping[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError):
            raise not_found(f"the trace of {name!r} is damaged", "draw the picture again") from None
        with self._lock:
            self._traces[stem] = data
            while len(self._traces) > 4:
                self._traces.popitem(last=False)
        return data

    def parents(self, name: str) -> list[str]:
        """Which of its parents are drawn."""
        stem = Path(name).stem
        return [which for which in ("fidelity", "spatial") if self._room("parents", f"{stem}.{which}.png").is_file()]

    def parent(self, name: str, which: str) -> Path:
        """The picture that one parent drew alone.

        Raises:
            Denied: it is not drawn.
        """
        stem = self.picture(name).stem
        if which not in self.parents(name):
            raise not_found(f"{name!r} has no parent {which[:40]!r} yet", f"ask for it: POST /api/pictures/{name}/parents")
        return self._room("parents", f"{stem}.{which}.png")

    def keep_parent(self, image: Any, name: str, which: str) -> None:
        """Write what one parent drew alone."""
        image.save(self._room("parents", f"{Path(name).stem}.{which}.png"))

    # -- jobs ---------------------------------------------------------------------------------------------------------------------------

    def write_job(self, id: str, data: Mapping[str, Any]) -> None:
        """One job, whole."""
        with whole(self._room("jobs", f"{id}.json"), links=False) as stream:
            stream.write(json.dumps(data, separators=(",", ":")).encode())

    def drop_job(self, id: str) -> None:
        """Forget a job that is over; its picture stays."""
        self._room("jobs", f"{id}.json").unlink(missing_ok=True)

    def jobs(self) -> list[Mapping[str, Any]]:
        """Jobs of earlier runs, oldest first; a file that is none is left aside."""
        found: list[Mapping[str, Any]] = []
        for path in sorted(self._room("jobs").glob("*.json")):
            try:
                data = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(data, dict) and data.get("job", {}).get("id") == path.stem:
                found.append(data)
        return found

    def upload(self) -> Path:
        """A free path for a picture that is being sent."""
        return free_path(self._room("uploads"), "upload", ".part")


def shrunk(path: Path, side: int) -> bytes:
    """A picture as a PNG of at most `side` pixels a side.

    Raises:
        BadPicture: its pixels cannot be read, or are too many.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            check_pixels(image.size, path.name)
            image.thumbnail((side, side))
            buffer = BytesIO()
            image.convert("RGB").save(buffer, "PNG")
            return buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(f"its pixels cannot be read: {error}", where=path.name, mend="take another copy of the file") from None


MOST_PIXELS = 64_000_000
"""Of a picture that is decoded: more than any that is drawn here."""


def check_pixels(size: tuple[int, int], where: str) -> None:
    """Raise BadPicture where (width, height) are more pixels than are decoded: a small file can unfold to gigabytes."""
    if size[0] * size[1] > MOST_PIXELS:
        raise BadPicture(
            f"it is of {size[0]}×{size[1]} pixels, more than {MOST_PIXELS // 1_000_000} million",
            where=where,
            mend="this is no picture of ours: do not trust the file",
        )


def _quoted(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)
