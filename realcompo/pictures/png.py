"""Reads the recipe out of a PNG, chunk by chunk. Pictures are not trusted: no pixel is decoded, sizes are bounded."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from ..errors import BadPicture, BadRecipe
from ..recipes.recipe import Recipe, migrate, plain_data

KEYWORD = "realcompo"
MAX_TEXT = 40 << 20
"""Bytes of the recipe, unpacked: with copies of what the picture was drawn over (`recipes/copies.py` bounds each)."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Embedded:
    """What a picture carries.

    Attributes:
        recipe: of this picture alone.
        facts: fingerprints, versions, digest of the pixels.
    """

    recipe: Recipe
    facts: dict[str, Any] = field(default_factory=dict)


def read_recipe(path: str | Path) -> Embedded:
    """The recipe and the facts that a PNG carries.

    Raises:
        BadPicture: no PNG, truncated, damaged, or without a recipe.
        BadRecipe: its recipe is of a newer version, or invalid.
    """
    path = Path(path).expanduser()
    where = str(path)
    try:
        if not path.is_file():
            raise BadPicture("there is no such picture", where=where, mend="check the path")
        with path.open("rb") as stream:
            found = [text for text in _texts(stream, where)]
    except OSError as error:
        raise BadPicture(f"it cannot be read: {error.strerror}", where=where, mend="check its name and permissions") from None
    if not found:
        raise BadPicture(
            "it carries no recipe",
            where=where,
            mend="give a PNG that RealCompo saved; another program may have taken the recipe out when it saved the picture again",
        )
    return _embedded(found[-1], where)


def _embedded(text: bytes, where: str) -> Embedded:
    mend = "the recipe was changed by hand or by another program; draw the picture again"
    try:
        data = json.loads(text)
        recipe, facts = plain_data(data["recipe"]), plain_data(data.get("facts", {}))
        if not isinstance(recipe, dict) or not isinstance(facts, dict):
            raise TypeError("it is no table")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadPicture(f"its recipe is damaged ({type(error).__name__}: {error})", where=where, mend=mend) from None
    migrated = migrate(recipe, where)
    try:
        return Embedded(Recipe.model_validate(migrated), facts)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRecipe(f"its recipe is invalid: {'.'.join(map(str, first['loc']))}: {first['msg']}", where=where, mend=mend) from None


def _texts(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The unpacked texts of our keyword; the whole file is walked, so that a truncated one is noticed."""
    if stream.read(8) != _SIGNATURE:
        raise BadPicture("it is no PNG", where=where, mend="only a PNG carries a recipe")
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise _truncated(where)
        length, kind = struct.unpack(">I4s", head)
        if kind == b"iTXt" and length <= MAX_TEXT:
            body = stream.read(length)
            check = stream.read(4)
            if len(body) < length or len(check) < 4:
                raise _truncated(where)
            keyword, _, rest = body.partition(b"\0")
            if keyword == KEYWORD.encode():
                if zlib.crc32(kind + body) != struct.unpack(">I", check)[0]:
                    raise BadPicture("its recipe is damaged (checksum)", where=where, mend="take another copy of the file")
                yield _unpack(rest, where)
            continue
        if _skip(stream, length + 4) < length + 4:
            raise _truncated(where)
        if kind == b"IEND":
            return


def _unpack(rest: bytes, where: str) -> bytes:
    """Of an iTXt chunk, after the keyword: flag, method, language, translated keyword, text."""
    packed, _, body = rest[:1] == b"\1", rest[1:2], rest[2:]
    try:
        text = body.split(b"\0", 2)[2]
        if not packed:
            return text
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(text, MAX_TEXT)
        if unpacker.unconsumed_tail:
            raise BadPicture(
                f"its recipe is larger than {MAX_TEXT >> 20} MiB",
                where=where,
                mend="this is no recipe of ours: do not trust the file",
            )
        return text
    except (IndexError, zlib.error):
        raise BadPicture("its recipe is damaged", where=where, mend="take another copy of the file") from None


def _skip(stream: BinaryIO, count: int) -> int:
    """Skip bytes by reading, 64 KiB at a time: seeking would not notice the end of the file."""
    done = 0
    while done < count:
        step = len(stream.read(min(count - done, 1 << 16)))
        if not step:
            break
        done += step
    return done


def _truncated(where: str) -> BadPicture:
    return BadPicture("the PNG is truncated", where=where, mend="take another copy of the file; its end is missing")
