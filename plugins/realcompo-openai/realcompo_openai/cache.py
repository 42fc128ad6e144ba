"""Replies on disk. An entry appears whole or not at all, whenever the process is killed; its digest is checked."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

VERSION = 1
_STALE = 3600.0
"""Seconds after which a temporary file has surely been left behind by a killed process."""


def key_of(**decides: Any) -> str:
    """The digest of all that decides a reply."""
    text = json.dumps({"version": VERSION, **decides}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """A folder of JSON entries.

    Args:
        folder: made when something is first put into it; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._swept = False

    def get(self, key: str) -> dict[str, Any] | None:
        """The entry, or None; a damaged one counts as none."""
        if self.folder is None:
            return None
        try:
            read = json.loads(self._path(key).read_text("utf-8"))
            entry = read["entry"]
            whole = read["key"] == key and read["digest"] == _digest(entry)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return entry if whole and isinstance(entry, dict) else None

    def put(self, key: str, entry: dict[str, Any]) -> None:
        """Keep an entry. A folder that cannot be written to costs the cache, not the plan."""
        if self.folder is None:
            return
        path = self._path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"key": key, "digest": _digest(entry), "entry": entry}, file, ensure_ascii=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if self.folder is None:
            raise TypeError("no folder")
        return self.folder / key[:2] / f"{key}.json"

    def _sweep(self) -> None:
        """Remove what killed processes left, once a process."""
        if self._swept or self.folder is None:
            return
        self._swept = True
        for left in self.folder.glob("*/.new-*"):
            try:
                if time.time() - left.stat().st_mtime > _STALE:
                    left.unlink()
            except OSError:
                continue


def _digest(entry: Any) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
