"""Shards: so many pictures of the plan in one file, a WebDataset tar or a Parquet table. Which pictures, the recipe decides: so a shard's
bytes are the same whoever drew them and in whatever order."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import StoreError
from ...pictures.png import KEYWORD

Format = Literal["png", "webdataset", "parquet"]
SUFFIXES: dict[str, str] = {"webdataset": ".tar", "parquet": ".parquet"}


@dataclass(frozen=True)
class Member:
    """A picture of a shard: its place in the plan, its file as a folder of pictures would call it, and its PNG."""

    index: int
    name: str
    data: bytes


def shard_name(number: int, format: Format) -> str:
    """Of the number-th shard."""
    return f"shard-{number:06d}{SUFFIXES[format]}"


def pack(members: Sequence[Member], format: Format) -> bytes:
    """A shard's bytes.

    Raises:
        StoreError: a picture is damaged, or the format's library is not installed.
    """
    return _tar(members) if format == "webdataset" else _table(members)


def unpack(data: bytes, format: Format, where: str) -> dict[str, bytes]:
    """Name of each picture → its PNG.

    Raises:
        StoreError: the shard is damaged, or the format's library is not installed.
    """
    table = _arrow() if format == "parquet" else None
    try:
        return _unpacked(data, table)
    except (tarfile.TarError, OSError, ValueError, KeyError, EOFError) as error:  # their ways to say that it is torn
        raise StoreError(
            f"the shard is damaged: {error}", where=where, mend="remove it and run the same again: its pictures are drawn again"
        ) from None


def _unpacked(data: bytes, table: Any) -> dict[str, bytes]:
    if table is not None:
        rows = table.read_table(io.BytesIO(data), columns=["name", "image"]).to_pylist()
        return {row["name"]: row["image"]["bytes"] for row in rows}
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for one in tar:
            key, _, kind = one.name.partition(".")
            stream = tar.extractfile(one)
            found.setdefault(key, {})[kind] = b"" if stream is None else stream.read()
    return {json.loads(parts["json"])["name"]: parts["png"] for parts in found.values()}


def _tar(members: Sequence[Member]) -> bytes:
    """NUMBER.png, NUMBER.txt (the prompt) and NUMBER.json (name, seed, recipe, facts), as WebDataset groups them; no times, no owners."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            row = _row(member)
            text = json.dumps({key: row[key] for key in ("name", "prompt", "seed", "recipe", "facts")}, ensure_ascii=False)
            for kind, data in (("json", text.encode()), ("png", member.data), ("txt", str(row["prompt"]).encode())):
                entry = tarfile.TarInfo(f"{member.index:08d}.{kind}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _table(members: Sequence[Member]) -> bytes:
    """A row a picture; `image` has bytes and path, as Hugging Face's datasets read pictures."""
    arrow = _arrow()
    import pyarrow as pa

    rows = []
    for member in members:
        row = _row(member)
        told = {key: json.dumps(row[key], ensure_ascii=False) for key in ("recipe", "facts")}
        rows.append({**row, **told, "index": member.index, "image": {"bytes": member.data, "path": member.name}})
    schema = pa.schema(
        [
            ("index", pa.int64()),
            ("name", pa.string()),
            ("prompt", pa.string()),
            ("seed", pa.int64()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("recipe", pa.string()),
            ("facts", pa.string()),
        ]
    )
    stream = io.BytesIO()
    arrow.write_table(pa.Table.from_pylist(rows, schema=schema), stream, compression="NONE")  # a PNG is compressed already
    return stream.getvalue()


def check_format(format: Format) -> None:
    """Raise StoreError where what a format needs is not installed."""
    if format == "parquet":
        _arrow()


def _arrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise StoreError("Parquet needs pyarrow", where="--format parquet", mend="pip install 'realcompo[parquet]'") from None
    return pyarrow.parquet


def _row(member: Member) -> dict[str, Any]:
    """What a PNG says of itself; it is one that we wrote."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(member.data)) as image:
            told = json.loads(image.info[KEYWORD])
    except (OSError, SyntaxError, ValueError, KeyError) as error:  # PIL's ways to say that it is torn
        raise StoreError(
            f"the picture is damaged: {error}", where=member.name, mend="remove it, or the shard that holds it, and run the same again"
        ) from None
    entry = told["recipe"]["pictures"][0]
    return {"name": member.name, "prompt": entry["prompt"], "seed": entry.get("seed"), "recipe": told["recipe"], "facts": told["facts"]}
