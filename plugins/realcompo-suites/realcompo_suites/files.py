"""Files that the user names: read as text, with errors that say which option names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realcompo.errors import BadOption


def named(path: str | None, option: str, what: str) -> Path:
    """The path of an option.

    Raises:
        BadOption: the option is not set, or nothing is there.
    """
    if path is None:
        raise BadOption(f"no {what} is named", where=f"option {option}", mend=f"say --with {option}=PATH")
    found = Path(path).expanduser()
    if not found.exists():
        raise BadOption(f"there is no {what}", where=str(found), mend=f"check --with {option}=PATH")
    return found


def text_of(path: Path) -> str:
    """A file's text, UTF-8.

    Raises:
        BadOption: it cannot be read, or is no text.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"it cannot be read: {error}", where=str(path), mend="is it the right file?") from None


def json_of(text: str, where: str) -> Any:
    """JSON.

    Raises:
        BadOption: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadOption(f"it is no JSON: {error}", where=where, mend="is it the right file?") from None
