"""What became of each picture of a batch, as lines of JSON that only grow, beside the pictures: any machine goes on from it.

A line is one of

- ``{"manifest": 1, "format": …, "pictures": …}``: what the batch is; the first;
- ``{"weights": ID, "branches": {…}}``: fingerprints of the weights that lines below name by ID;
- ``{"picture": FILE, "request": …, "state": "done", "size": …, "pixels": …, "by": ID}``; and, where
  scorers judged it, ``"scores": {SCORER: {"asked": …, "score": …}}`` (scores.py); where a planner placed things, ``"planned": {…}``, and
  ``"words": {"prompt": …}`` if it said more;
- ``{"picture": FILE, "request": …, "state": "failed", "error": …, "tries": …}``;
- ``{"shard": FILE, "size": …, "sha256": …, "pictures": [FILE, …]}``.

A picture without a line is pending. A later line of one picture stands in place of the earlier; a line that is torn is none. In a folder
they are appended to manifest.jsonl, each by one write that is synced. An object store cannot append: there they are written in segments,
manifest/000000.jsonl and so on, whole. A batch that is complete has one manifest.jsonl, in the recipe's order.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import BadOption, StoreError
from ...files import claimed
from ..entries import other_weights, weights_id
from .stores import Folder, Store

LOCK = ".lock"
"""A file of a folder that is locked while a batch is drawn there."""
NAME, SEGMENTS = "manifest.jsonl", "manifest/"
VERSION = 1
FLUSH = 64
"""Lines of a segment: what a killed run may have to find again by reading pictures."""

_KEYS = ("picture", "weights", "shard")


class Manifest:
    """The manifest of a batch.

    Args:
        store: where the batch is.
        sizes: of the store's files, as listed.
        head: what the batch is: lines of another are refused.

    Raises:
        StoreError: it cannot be read. BadOption: it is another batch's, or of a newer version.
    """

    def __init__(self, store: Store, sizes: Mapping[str, int], head: Mapping[str, Any]) -> None:
        self.store, self.head = store, {"manifest": VERSION, **head}
        self._lines: dict[str, dict[str, str]] = {key: {} for key in _KEYS}
        self._segments = sorted(name for name in sizes if name.startswith(SEGMENTS))
        self._waiting: list[str] = []
        self._states: dict[str, str] = {}
        begun = False
        for name in [*([NAME] if NAME in sizes else []), *self._segments]:
            begun = self._read(store.read(name)) or begun
        if isinstance(store, Folder):
            _mend(store)
        self._begun = begun

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def get(self, picture: str) -> dict[str, Any] | None:
        """The last line of a picture."""
        line = self._lines["picture"].get(picture)
        return None if line is None else dict(json.loads(line))

    def state(self, picture: str) -> str | None:
        """ "done", "failed", or None: pending."""
        return self._states.get(picture)

    @property
    def shards(self) -> dict[str, dict[str, Any]]:
        """Shard → its line."""
        return {name: json.loads(line) for name, line in self._lines["shard"].items()}

    @property
    def weights(self) -> dict[str, Any]:
        """ID → fingerprints by branch."""
        return {name: json.loads(line)["branches"] for name, line in self._lines["weights"].items()}

    def __len__(self) -> int:
        return len(self._lines["picture"])

    def _read(self, data: bytes) -> bool:
        begun = False
        for text in data.decode("utf-8", "replace").split("\n"):
            try:
                line = json.loads(text)
            except (json.JSONDecodeError, RecursionError):
                continue
            if not isinstance(line, dict):
                continue
            if "manifest" in line:
                self._check(line)
                begun = True
            self._keep(line, text)
        return begun

    def _keep(self, line: Mapping[str, Any], text: str) -> None:
        for key in _KEYS:
            if isinstance(line.get(key), str) and _sound(key, line):
                self._lines[key][line[key]] = text
                if key == "picture":
                    self._states[line[key]] = str(line.get("state"))
                return

    def _check(self, line: Mapping[str, Any]) -> None:
        where = f"{self.store.address}/{NAME}"
        if not isinstance(line["manifest"], int) or line["manifest"] > VERSION:
            raise BadOption(f"it is of version {line['manifest']}", where=where, mend="update RealCompo (pip install --upgrade realcompo)")
        for key, value in self.head.items():
            if key == "plan" and line.get(key) != value:
                raise BadOption(
                    "the shards that are there hold other pictures than this recipe's",
                    where=where,
                    mend="draw the recipe that it was begun with, or choose another place with -o",
                )
            if key not in ("manifest", "pictures") and line.get(key) != value:
                raise BadOption(
                    f"the batch was begun with {key} = {line.get(key)!r}, and this one has {value!r}",
                    where=where,
                    mend="say the same as when it was begun, or choose another place with -o",
                )

    # -- writing ---------------------------------------------------------------------------------------------------------------

    def by(self, branches: Mapping[str, Any], others: bool = False, where: str | None = None) -> str:
        """The ID of weights by their fingerprints; said once.

        Args:
            others: a batch may hold pictures by different weights.
            where: the picture that they drew.

        Raises:
            DifferentWeights: pictures of other weights are there.
        """
        found = weights_id(branches)
        if found in self._lines["weights"]:
            return found
        if not others and (there := self.weights):
            raise other_weights(there, branches, where or self.store.address)
        self.add({"weights": found, "branches": branches})
        return found

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            StoreError: it cannot be written.
        """
        self._begin()
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
        self._append(text)
        self._keep(line, text)

    def begin(self) -> None:
        """Write what the batch is, where that was not written yet: a store that takes nothing says so before anything is drawn.

        Raises:
            StoreError: it cannot be written.
        """
        self._begin()
        self.flush()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._append(json.dumps(self.head, ensure_ascii=False))

    def _append(self, text: str) -> None:
        if isinstance(self.store, Folder):
            _appended(self.store, text)
            return
        self._waiting.append(text)
        if len(self._waiting) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait for their segment.

        Raises:
            StoreError: it cannot be written; they go on waiting.
        """
        if self._waiting:
            last = int(self._segments[-1].removeprefix(SEGMENTS).partition(".")[0]) if self._segments else -1
            name = f"{SEGMENTS}{last + 1:06d}.jsonl"
            self.store.write(name, _joined(self._waiting))
            self._segments.append(name)
            self._waiting = []

    def finish(self, order: Iterable[str]) -> None:
        """All lines in one file, in the recipe's order, then the segments go. A kill in the midst leaves a manifest that says the same.

        Raises:
            StoreError: it cannot be written.
        """
        self.store.write(NAME, _joined(self._ordered(order)))
        self._waiting = []
        self.store.remove(self._segments)
        self._segments = []

    def _ordered(self, order: Iterable[str]) -> Iterator[str]:
        yield json.dumps(self.head, ensure_ascii=False)
        yield from (line for _, line in sorted(self._lines["weights"].items()))
        left = dict(self._lines["picture"])
        for name in order:
            if name in left:
                yield left.pop(name)
        yield from (line for _, line in sorted(left.items()))
        yield from (line for _, line in sorted(self._lines["shard"].items()))


_PARTS: dict[str, dict[str, type]] = {
    "weights": {"branches": dict},
    "shard": {"size": int, "sha256": str, "pictures": list},
    "done": {"request": str, "size": int, "pixels": str, "by": str},
    "failed": {"request": str, "error": str},
}
_MORE = ("planned", "words", "scores")


def _sound(key: str, line: Mapping[str, Any]) -> bool:
    """Whether a line has what is read of it: one that was damaged, or written by another hand, is none."""
    parts = _PARTS.get(str(line.get("state")) if key == "picture" else key)
    return (
        parts is not None
        and all(isinstance(line.get(name), kind) for name, kind in parts.items())
        and all(isinstance(line.get(name, {}), dict) for name in _MORE)
    )


def at_work(where: str) -> BadOption:
    """The error of a folder in which a batch is being drawn."""
    return BadOption("another run is at work in it", where=where, mend="wait for it, or choose another folder with -o")


def check_free(folder: Path) -> None:
    """Raise BadOption where a batch is being drawn: who keeps no manifest would draw its pictures, too."""
    if not (folder / LOCK).is_file():
        return
    with contextlib.suppress(OSError), claimed(folder / LOCK) as free:  # a folder that may only be read is drawn into by nobody
        if not free:
            raise at_work(str(folder))


def begun_as(folder: Path) -> str | None:
    """The format of the batch that a folder holds; None: no manifest lies in it."""
    try:
        with (folder / NAME).open(encoding="utf-8", errors="replace") as stream:
            head = json.loads(stream.readline())
    except (OSError, ValueError, RecursionError):
        return None
    return str(head.get("format")) if isinstance(head, dict) and "manifest" in head else None


def _mend(store: Folder) -> None:
    """Take a torn last line off the file, so that the next one begins on its own."""
    path = store.path / NAME
    if not path.exists():
        return
    try:
        with path.open("r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            back = min(end, 1 << 20)
            stream.seek(end - back)
            tail = stream.read(back)
            if tail and not tail.endswith(b"\n"):
                stream.truncate(end - back + tail.rfind(b"\n") + 1)
    except OSError as error:
        raise StoreError(f"it cannot be written: {error.strerror}", where=str(path), mend="check its permissions") from None


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _appended(store: Folder, text: str) -> None:
    """One write, synced: a kill leaves all of it, or a part without an end. A part that a full disk left is taken off at once."""
    path, data = store.path / NAME, f"{text}\n".encode()
    try:
        store.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            start, written = os.lseek(descriptor, 0, os.SEEK_END), 0
            try:
                while written < len(data):
                    written += os.write(descriptor, data[written:])
            except OSError:
                os.ftruncate(descriptor, start)
                raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise store.failed(error, NAME) from None
