"""Files that appear whole or not at all, their names, and parts of a page that are made. Standard library only."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

DAY = 86400.0
"""Seconds without change after which a part is left behind, whoever wrote it."""

_PART = re.compile(r"\..*\.(?P<host>[0-9a-f]{8})-(?P<process>[1-9][0-9]{0,9})-(?P<token>[0-9a-f]{8})\.part", re.DOTALL)
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,6})|/dev/(stdin|stdout|stderr)")
_open: set[str] = set()
"""Tokens of the parts that this process is writing."""
_cleared: set[str] = set()
"""Folders in which this process has looked for parts that were left."""


@contextmanager
def whole(path: Path, links: bool = True) -> Iterator[BinaryIO]:
    """A stream to write a file by: what was written is at `path` once the block has ended, and nothing is if it fails.

    A file keeps its permissions. What is no plain file (a terminal, a pipe, ``/dev/stdout``) is written straight to: there is nothing that
    could be whole.

    Args:
        links: follow a link, as is right for a file that the user named. Where the name is ours it is replaced: a folder of a stranger's
            could have us write anywhere.

    Raises:
        OSError: it cannot be written there.
    """
    goal = _goal(path, links)
    if goal is None:
        with _straight(path) as stream:
            yield stream
        return
    folder, mode = goal.parent, _mode(goal)
    if str(folder) not in _cleared:
        _cleared.add(str(folder))
        clear_parts(folder)
    # Beside its goal, so that the rename stays on one disk; opened by us, so that the umask holds as for any file.
    token = secrets.token_hex(4)
    shown = os.fsencode(goal.name)[:120].decode(errors="ignore")
    part = folder / f".{shown}.{_host()}-{os.getpid()}-{token}.part"
    _open.add(token)
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            part.chmod(mode)
        os.replace(part, goal)
    finally:
        part.unlink(missing_ok=True)
        _open.discard(token)


def write_whole(path: Path, text: str) -> None:
    """A text file, UTF-8, that appears whole or not at all (see `whole`).

    Raises:
        OSError: it cannot be written there.
    """
    data = text.encode("utf-8")  # first: a text that is none must not cost the file that is there
    with whole(path) as stream:
        stream.write(data)


def made_between(page: str, start: str, end: str, made: str) -> str:
    """A page with what stands between two of its marks made anew, an empty line on either side.

    Raises:
        ValueError: the marks do not stand there, one after the other: what was made would be written nowhere.
    """
    before, began, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not began or not ended:
        raise ValueError(f"the page has no {start} … {end}")
    text = made.strip("\n")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


def clear_parts(folder: Path) -> None:
    """Remove the parts of files that killed runs left in a folder: those of a process of this host that is gone, and any that has not
    changed for a day. Nothing else is touched: a part is known by its name, its owner, and that it is a plain file."""
    try:
        named = [(entry, told) for entry in os.scandir(folder) if (told := _PART.fullmatch(entry.name))]
        found = [(entry.path, told, entry.stat(follow_symlinks=False)) for entry, told in named]
    except OSError:
        return  # no folder, or not ours to read: whoever writes there is told
    for path, told, facts in found:
        if not stat.S_ISREG(facts.st_mode) or (hasattr(os, "geteuid") and facts.st_uid != os.geteuid()):
            continue
        ours = told["host"] == _host()
        if (ours and _gone(int(told["process"]), told["token"])) or time.time() - facts.st_mtime > DAY:
            try:
                os.unlink(path)
            except OSError:
                continue  # another run was faster, or the folder is read-only


def _gone(process: int, token: str) -> bool:
    """Whether the process that wrote a part is no more."""
    if process == os.getpid():
        return token not in _open  # a killed process had the number that is now ours, as the first of a container has
    if os.name != "posix":
        return False  # there, asking by a signal would end it; a day has to pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether a lock is ours: it goes with the process, also with a killed one; always, on systems without such locks.

    Raises:
        OSError: the lock's file cannot be written.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@cache
def _host() -> str:
    """Eight digits for this host, and for the container in it: process numbers of two are not to be compared."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    import platform

    return sha256(f"{platform.node()} {space}".encode(errors="replace")).hexdigest()[:8]


def _goal(path: Path, links: bool) -> Path | None:
    """The plain file that a path means; None where what is there is no plain file.

    Raises:
        OSError: a folder is there, or a file that must not be written to.
    """
    if _DESCRIPTOR.fullmatch(str(path)):
        return None
    try:
        there = path.stat()
    except FileNotFoundError:
        return Path(os.path.realpath(path)) if links else path
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    plain = stat.S_ISREG(there.st_mode)
    if plain and not links and path.is_symlink():
        return path
    if not os.access(path, os.W_OK):  # a rename would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return Path(os.path.realpath(path)) if plain else None


def _mode(goal: Path) -> int | None:
    """The permissions of the plain file that is there."""
    try:
        there = goal.lstat().st_mode
    except FileNotFoundError:
        return None
    return stat.S_IMODE(there) if stat.S_ISREG(there) else None


def _straight(path: Path) -> BinaryIO:
    """A stream to what is no plain file. One of our own descriptors is shared: opened anew, a file behind it would be cut to nothing and
    then written over by what else is said there."""
    told = _DESCRIPTOR.fullmatch(str(path))
    if told is None:
        return path.open("wb")
    number = int(told[1]) if told[1] else ("stdin", "stdout", "stderr").index(told[2])
    return os.fdopen(os.dup(number), "wb")


_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))])


def file_name(text: str) -> str:
    """A safe file name without suffix from any text, at most 100 bytes: letters and digits of any script, dots, dashes."""
    text = unicodedata.normalize("NFC", text).lower()
    name = re.sub(r"[^\w.]+", "-", text).strip("-._")
    name = re.sub(r"\.{2,}", ".", name)
    name = name.encode()[:100].decode(errors="ignore").rstrip("-._")
    return f"{name or 'picture'}-" if name.split(".")[0] in _RESERVED else name or "picture"


def free_path(folder: Path, stem: str, suffix: str = ".png") -> Path:
    """A path in a folder at which nothing is, not even a link that leads nowhere: stem, stem-2, stem-3 …"""
    path, count = folder / f"{stem}{suffix}", 1
    while os.path.lexists(path):
        count += 1
        path = folder / f"{stem}-{count}{suffix}"
    return path
