"""Files of JSON lines that only grow: a line is there whole or not at all, whenever the run is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadOption
from ..files import whole


def write_own(path: Path, text: str) -> None:
    """A text whose name is ours, whole or not at all; a link in its place is replaced, for the folder may be a stranger's.

    Raises:
        BadOption: it cannot be written.
    """
    try:
        with whole(path, links=False) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> BadOption:
    """The error of a file that cannot be written."""
    return BadOption(f"it cannot be written: {error.strerror}", where=str(path), mend="choose another folder with -o")


class Lines:
    """The lines of a file by their key; a later line of one key stands in place of the earlier.

    Args:
        path: of the file; made with the first line.
        key: of a line, by which it is found.
        writing: what a killed run left of a last line is taken off the file.

    Raises:
        BadOption: it cannot be read.
    """

    def __init__(self, path: Path, key: str, writing: bool = True) -> None:
        self.path, self.key = path, key
        self._found: dict[str, dict[str, Any]] = {}
        try:
            text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        except OSError as error:
            raise BadOption(f"it cannot be read: {error.strerror}", where=str(path), mend="check its permissions") from None
        good = [line for line in text.split("\n") if self._read(line)]
        kept = "".join(f"{line}\n" for line in good)
        if writing and kept != text:
            write_own(path, kept)

    def _read(self, line: str) -> bool:
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            return False
        if not isinstance(record, dict) or not isinstance(record.get(self.key), str):
            return False
        self._found[record[self.key]] = record
        return True

    def get(self, key: str) -> dict[str, Any] | None:
        """The last line of a key."""
        return self._found.get(key)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a line: one write, so that a kill leaves all of it or a part without an end, which the next run takes off.

        Raises:
            BadOption: it cannot be written, or it holds what JSON does not.
        """
        try:
            data = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
        except (TypeError, ValueError) as error:
            raise BadOption(f"it is no plain data: {error}", where=str(self.path), mend="let the scorer return numbers and texts") from None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self._found[str(record[self.key])] = dict(record)
