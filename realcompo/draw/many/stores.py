"""Where a batch is written: a folder, or any address that fsspec knows (``s3://bucket/batch``, ``gs://…``, ``memory://…``).

A file appears whole or not at all: by a rename in a folder, by one request in an object store, by a rename where a store has nothing
better (and there the manifest's sizes and checksums tell whether it held).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ...errors import StoreError
from ...files import clear_parts, whole

T = TypeVar("T")

WHOLE = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "hf"})
"""Protocols whose files appear by one request, whole."""

SCHEMES = WHOLE | {"file", "local", "http", "https", "ftp", "sftp", "ssh", "hdfs", "webdav"}
"""What begins an address, also one that is misspelt."""

KINDS = "a folder, s3://…, gs://…, memory://…"

WAITS = (0.1, 0.5, 2.0, 5.0, 10.0, 20.0)
"""Seconds before a store that failed is asked again."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_NEVER = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, NotImplementedError, ValueError, TypeError)
"""What asking again does not mend."""


class Store(ABC):
    """Files by name (``a-dog.png``, ``parts/a-dog.png``) below one address.

    Attributes:
        address: as the user gave it.
        whole: a file appears whole or not at all.
        shared: other processes see the same files.
    """

    address: str
    whole: bool = True
    shared: bool = True

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """A file, whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            StoreError: it is not there, or cannot be read.
        """

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Name → bytes of every file; none where nothing was written yet.

        Raises:
            StoreError: it cannot be read.
        """

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are left aside.

        Raises:
            StoreError: one cannot be removed.
        """

    def tidy(self) -> None:  # noqa: B027 - most stores have no folders
        """Remove the folder of parts, once nothing is written there any more."""


class Folder(Store):
    """A folder of this machine, or one that several mount."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.expanduser()
        self.address = str(self.path)
        self._made: set[Path] = set()

    def write(self, name: str, data: bytes) -> None:
        path = self.path / name
        try:
            if path.parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(path.parent)
            with whole(path, links=False) as stream:
                stream.write(data)
        except OSError as error:
            raise self.failed(error, name) from None

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self.failed(error, name) from None

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            for folder, _, _files in os.walk(self.path):
                below = Path(folder).relative_to(self.path).as_posix()
                prefix = "" if below == "." else f"{below}/"
                with os.scandir(folder) as entries:
                    found |= {f"{prefix}{one.name}": one.stat(follow_symlinks=False).st_size for one in entries if one.is_file()}
        except OSError as error:
            raise self.failed(error) from None
        return found

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                raise self.failed(error, name) from None

    def tidy(self) -> None:
        with contextlib.suppress(OSError):
            (self.path / "parts").rmdir()

    def failed(self, error: OSError, name: str = "") -> StoreError:
        """The error of a file."""
        where = str(self.path / name) if name else self.address
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError("the disk is full", where=where, mend="make room; the same command goes on from here")
        said = error.strerror or str(error)
        return StoreError(f"it cannot be written or read: {said}", where=where, mend="mend that, or choose another place with -o")

    def clear(self) -> None:
        """Remove the parts of files that killed runs left."""
        for folder in (self.path, self.path / "parts"):
            clear_parts(folder)


class Remote(Store):
    """An address of fsspec. A store that fails (a 500, a connection that is cut) is asked again, with longer and longer waits."""

    def __init__(self, address: str, waits: tuple[float, ...] = WAITS) -> None:
        try:
            import fsspec
        except ImportError:
            raise StoreError("addresses need fsspec", where=address, mend="pip install 'realcompo[cloud]'") from None
        self.address, self._waits = address.rstrip("/"), waits
        try:
            self._files, root = fsspec.core.url_to_fs(self.address)
        except ImportError as error:
            raise StoreError(f"its file system is not installed: {error}", where=address, mend="pip install what it names") from None
        except ValueError as error:
            raise StoreError(f"no such kind of address: {error}", where=address, mend=KINDS) from None
        except Exception as error:  # each file system has its own: no account, no such host, a folder where a file is needed
            raise StoreError(
                f"it cannot be opened: {type(error).__name__}: {error}", where=address, mend="see the documentation of its file system"
            ) from None
        self._root = root.rstrip("/")
        protocol = self._files.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self.whole = bool(self._protocols & WHOLE)
        self.shared = "memory" not in self._protocols

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        if self.whole:
            self._patiently(name, lambda: self._files.pipe_file(path, data))
            return
        part = f"{path}.{os.getpid()}.part"

        def moved() -> None:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(part, data)
            if self._files.exists(path):
                self._files.rm_file(path)
            self._files.mv(part, path)

        self._patiently(name, moved)

    def read(self, name: str) -> bytes:
        return bytes(self._patiently(name, lambda: self._files.cat_file(f"{self._root}/{name}")))

    def sizes(self) -> dict[str, int]:
        def found() -> dict[str, Any]:
            self._files.invalidate_cache()
            try:
                return dict(self._files.find(self._root, detail=True))
            except FileNotFoundError:
                return {}

        start = len(self._root.lstrip("/")) + 1
        return {path.lstrip("/")[start:]: int(facts.get("size") or 0) for path, facts in self._patiently("", found).items()}

    def remove(self, names: Iterable[str]) -> None:
        for name in names:

            def gone(path: str = f"{self._root}/{name}") -> None:
                try:
                    self._files.rm_file(path)
                except FileNotFoundError:
                    return

            self._patiently(name, gone)

    def _patiently(self, name: str, ask: Callable[[], T]) -> T:
        """What the store answers, asked again after a failure that may pass."""
        for wait in (*self._waits, None):
            try:
                return ask()
            except _NEVER as error:
                problem: Exception = error
                break
            except Exception as error:  # each file system has its own
                problem = error
            if wait is None:
                break
            time.sleep(wait)
        raise StoreError(
            f"it cannot be written or read: {type(problem).__name__}: {problem}",
            where=f"{self.address}/{name}",
            mend="once the store answers again, the same command goes on from here",
        ) from problem


def check_address(text: str) -> None:
    """Raise StoreError for what is meant as an address and would be a folder of that name."""
    scheme, colon, rest = text.partition(":")
    if colon and not is_address(text) and ("://" in rest or (scheme.lower() in SCHEMES and rest.startswith("/"))):
        raise StoreError("no such kind of address", where=text, mend=KINDS)


def is_address(text: str) -> bool:
    """Whether it is an address of fsspec, and no path."""
    return bool(_ADDRESS.match(text))


def open_store(address: str | Path) -> Store:
    """The store of a folder or an address.

    Raises:
        StoreError: no such kind of address, or what it needs is not installed.
    """
    text = str(address)
    check_address(text)
    for scheme in ("file://", "local://"):
        if text.startswith(scheme):
            return Folder(Path(text.removeprefix(scheme)))
    return Remote(text) if is_address(text) else Folder(Path(text))
