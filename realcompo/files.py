"""Files that appear whole or not at all, and their names. Standard library only."""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A stream to write a file by: what was written is at `path` once the block has ended, and nothing is if it fails.

    Raises:
        OSError: it cannot be written there.
    """
    # Beside its goal, so that the rename stays on one disk; opened by us, so that the umask holds as for any file.
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))])


def file_name(text: str) -> str:
    """A safe file name without suffix from any text, at most 100 bytes: letters and digits of any script, dots, dashes."""
    text = unicodedata.normalize("NFC", text).lower()
    name = re.sub(r"[^\w.]+", "-", text).strip("-._")
    name = re.sub(r"\.{2,}", ".", name)
    name = name.encode()[:100].decode(errors="ignore").rstrip("-._")
    return f"{name or 'picture'}-" if name.split(".")[0] in _RESERVED else name or "picture"


def free_path(folder: Path, stem: str, suffix: str = ".png") -> Path:
    """A path in a folder at which nothing is: stem, stem-2, stem-3 …"""
    path, count = folder / f"{stem}{suffix}", 1
    while path.exists():
        count += 1
        path = folder / f"{stem}-{count}{suffix}"
    return path
