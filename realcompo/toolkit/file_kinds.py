"""What a file is that was given for weights or a config and cannot be read as such: told from its first bytes, for messages.

Most of these are not damaged at all: a Git LFS pointer, the web page of a login, a renamed pickle. Each is called what it is, with its
mend, wherever a file is read: sources, parts of a folder, adapters, VAEs, configs.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path

from ..errors import BadCheckpoint

UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".incomplete", ".aria2", ".opdownload", ".!qb", ".!ut", ".tmp", ".filepart")
"""Endings of downloads that are still running, or were broken off."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_AGAIN = "fetch or copy it again"
_HEADER_LIMIT = 100_000_000  # safetensors' own
_PAGE = "open its address in a browser (it may want you to log in or to accept a licence), and download the file itself"
_CONVERT = "choose or convert to a .safetensors file"

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"GGUF", "a GGUF file, which is for llama.cpp and its kin", "choose the .safetensors file of the same model"),
    (b"lmgg", "a GGML file", "choose the .safetensors file of the same model"),
    (b"tjgg", "a GGML file", "choose the .safetensors file of the same model"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow)", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"\x1f\x8b", "a gzip archive", "unpack it, and give the file in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and give the file in it"),
    (b"Rar!", "a RAR archive", "unpack it, and give the file in it"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it, and give the file in it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it, and give the file in it"),
    (b"BZh", "a bzip2 archive", "unpack it, and give the file in it"),
    (b"\x89PNG", "a PNG picture", "give the weights, not a preview of them"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the weights, not a preview of them"),
    (b"RIFF", "a WebP picture or a film", "give the weights, not a preview of them"),
    (b"GIF8", "a GIF picture", "give the weights, not a preview of them"),
    (b"%PDF", "a PDF document", _AGAIN),
)
_OLD_PICKLES = (b"(dp", b"(lp", b"ccollections", b"ccopy_reg", b"c__builtin__", b"ctorch", b"(d.", b"(l.", b"cbuiltins")
_PAGES = ("<!doctype html", "<html", "<head", "<body", "<script", "<!--")


def looks_like_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, and that header."""
    head = _head(path, 9)
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] <= _HEADER_LIMIT


def is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle does, or is torch.save's archive of one."""
    head = _head(path, 512)
    return (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or _archive_of_pickle(path, head)


def not_weights(path: Path, expected: str = "weights", error: object = None) -> BadCheckpoint:
    """The error for a file that cannot be read: what it is instead, as far as its first bytes tell.

    Args:
        expected: what it should hold: "weights", or "a table" for a config.
        error: what the reader said, for a file that is of the right kind but damaged.
    """
    what, mend = describe(path, error)
    verb = "is" if what.startswith(("a ", "an ", "nothing", "damaged")) else "cannot be read:"
    tail = f", not {expected}" if what.startswith(("a ", "an ")) else ""
    return BadCheckpoint(f"{path.name} {verb} {what}{tail}", where=str(path.parent), mend=mend)


def describe(path: Path, error: object = None) -> tuple[str, str]:
    """(what a file is, in words with an article where one goes before; the mend)."""
    if path.is_dir():
        inside = sorted(one.name for one in path.iterdir() if one.suffix == ".safetensors")
        return "a folder", f"give a file in it, such as {inside[0]}" if inside else "give a file"
    try:
        size, head = path.stat().st_size, _head(path, 512)
    except OSError as problem:
        return str(problem.strerror or problem), "check the path and who may read it"
    if path.suffix.lower() in UNFINISHED:
        return "a download that is not finished", "let the download end, or fetch it again"
    if not size:
        return "damaged or truncated: it is empty", _AGAIN
    if not head.strip(b"\0"):
        return "nothing but zeros: a download that never came", _AGAIN
    for magic, what, mend in _MAGIC:
        if head.startswith(magic):
            return what, mend
    if head.startswith(b"PK"):
        return _archive(path, head)
    if is_pickle(path) or head.startswith(_OLD_PICKLES):
        return _pickle(path)
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it, and give the file in it"
    if looks_like_safetensors(path):
        return _safetensors(path, size, error)
    text = _text(head)
    return _words(path, text, error) if text is not None else (f"damaged or truncated{_said(error)}", _AGAIN)


def unfinished(folder: Path, stem: str = "") -> str:
    """A half-sentence that names a broken download in a folder whose name begins with `stem`; "" where there is none."""
    if not folder.is_dir():
        return ""
    found = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in UNFINISHED and one.name.startswith(stem))
    return f", but {found[0]}, a download that is not finished" if found else ""


def brief(error: object, most: int = 240) -> str:
    """What another library said, in one line that can be read."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _said(error: object) -> str:
    return f" ({brief(error)})" if error else ""


def _text(head: bytes) -> str | None:
    for encoding in ("utf-8-sig", "utf-16") if head.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig",):
        for cut in range(4):  # a letter may be cut in two at the end
            try:
                text = head[: len(head) - cut].decode(encoding)
            except UnicodeDecodeError:
                continue
            printable = all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
            return text.strip() if printable else None
    return None


def _words(path: Path, text: str, error: object) -> tuple[str, str]:
    low = text.lower()
    if low.startswith("version https://git-lfs") or "git-lfs.github.com/spec" in low:
        return "a Git LFS pointer", "fetch the file itself: `git lfs pull` in its repository, or download it from its page"
    if "/annex/objects/" in low:
        return "a git-annex pointer", "fetch the file itself: `git annex get` in its repository"
    if low.startswith(_PAGES) or "<html" in low:
        return "an HTML page: a web page was saved in its place", _PAGE
    if low.startswith(("<?xml", "<error")):
        return "an XML page: a server's answer was saved in its place", _PAGE
    if low.startswith(("{", "[")):
        return _json(path, error)
    first = brief(text, 60)
    return f"a text ({first!r})", _AGAIN if path.suffix == ".json" else _PAGE


def _json(path: Path, error: object) -> tuple[str, str]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError):
        return f"damaged or truncated{_said(error)}" if path.suffix == ".json" else "a JSON text that is cut short", _AGAIN
    if isinstance(value, dict) and "weight_map" in value:
        return "an index of weights, which names the files that hold them", "give the folder that it lies in"
    if isinstance(value, dict) and ("error" in value or "message" in value):
        said = brief(value.get("error") or value.get("message"), 80)
        return f"a JSON answer of a server ({said!r})", _PAGE
    return "a JSON text", "give the weights that belong to it" if path.suffix != ".json" else _AGAIN


def _pickle(path: Path) -> tuple[str, str]:
    mend = _CONVERT
    if path.suffix.lower() == ".safetensors":
        mend += "; renaming does not convert, and reading a pickle could run any code"
    return "a pickle, whatever its name says" if path.suffix.lower() == ".safetensors" else "a pickle", mend


def _archive(path: Path, head: bytes) -> tuple[str, str]:
    if not head.startswith(b"PK\x03\x04"):
        return "a zip archive without a file in it", _AGAIN
    if _archive_of_pickle(path, head):
        return _pickle(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a zip archive that is cut short", _AGAIN
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)", _CONVERT
    return "a zip archive", "unpack it, and give the file in it"


def _archive_of_pickle(path: Path, head: bytes) -> bool:
    """torch.save's archive, also one that is cut short: its first entry is the pickle."""
    return head.startswith(b"PK\x03\x04") and (b"data.pkl" in head or b"/version" in head[:80])


def _safetensors(path: Path, size: int, error: object) -> tuple[str, str]:
    (length,) = struct.unpack("<Q", _head(path, 8))
    if 8 + length > size:
        return f"damaged or truncated: it ends within its header, after {size:,} bytes", _AGAIN
    try:
        table = json.loads(_head(path, 8 + length)[8:])
        ends = [entry["data_offsets"][1] for name, entry in table.items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
        return f"damaged or truncated{_said(error)}", _AGAIN
    if whole > size:
        return f"damaged or truncated: {size:,} of its {whole:,} bytes are there", f"let the download end, or {_AGAIN}"
    if whole < size:
        return f"damaged or truncated: it has {size:,} bytes where its header tells of {whole:,}", _AGAIN
    return f"damaged or truncated{_said(error)}", _AGAIN
