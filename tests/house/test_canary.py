"""The canary of conftest.py, a key that every test has in its environment, is in nothing that the session wrote, printed or reported.

Runs last. Planted copies prove that the search can find it.
"""

from __future__ import annotations

import gzip
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tests import ROOT

HOLDERS = {ROOT / "conftest.py", ROOT / "plugins/realcompo-openai/tests/llm_canary.py"}
"""The sources that make it."""
OTHERS = {".git", ".venv", "__pycache__"}


def secret() -> str:
    """As every test had it."""
    key = os.environ["OPENAI_API_KEY"]
    assert key.startswith("sk-canary-")
    return key


def files(folder: Path, since: float = 0.0) -> Iterator[Path]:
    """Files below a folder that were written since a time; links are not followed."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - OTHERS)
        for path in (Path(here, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
                yield path


def holds(path: Path, text: str) -> bool:
    """Whether a file holds a text: as it stands, compressed, in an archive, or in a picture's text chunks."""
    wanted = text.encode()
    try:
        data = _written(path)
    except PermissionError:  # a test took its rights away
        return False
    return wanted in data or any(wanted in inner for inner in _inside(path, data))


def _written(path: Path) -> bytes:
    """What was written to a file, without the holes of a sparse one: checkpoints of full size that hold a header only, gigabytes each."""
    about = path.stat()
    if not hasattr(os, "SEEK_DATA") or about.st_blocks * 512 >= about.st_size:
        return path.read_bytes()
    parts, place = [], 0
    with path.open("rb") as file:
        while place < about.st_size:
            try:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            end = os.lseek(file.fileno(), place, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), end - place, place))
            place = end
    return b"\0".join(parts)


def _inside(path: Path, data: bytes) -> Iterator[bytes]:
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.decompress(data)
        elif data[:4] == b"PK\x03\x04" and len(data) < 50_000_000:
            with zipfile.ZipFile(path) as archive:
                # what is stored as it stands was searched as it stands
                yield from (archive.read(one) for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED)
        elif data[:4] == b"\x89PNG":
            with Image.open(path) as picture:
                picture.load()
                yield repr(picture.info).encode()
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile):  # a test damaged it: it is searched as it stands
        return


def test_a_planted_copy_is_overheard(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    """For the next test to find."""
    if request.config.getoption("capture") == "no":
        pytest.skip("nothing is captured")
    logging.getLogger("planted").warning("the key is %s", secret())


def test_the_canary_was_not_overheard(overheard: list[tuple[str, str]], request: pytest.FixtureRequest) -> None:
    planted = set() if request.config.getoption("capture") == "no" else {"test_a_planted_copy_is_overheard"}
    assert {test.rsplit("::")[-1] for test, _ in overheard} == planted


def test_the_canary_is_in_no_file(written: Path) -> None:
    """Below the session's own folder, and in the checkout (what hypothesis, pytest and builds keep there)."""
    key = secret()
    assert all(key in path.read_text(encoding="utf-8") for path in HOLDERS)
    planted = written / "caches" / "planted"
    planted.mkdir()
    (planted / "plain").write_text(f"x{key}y")
    (planted / "squeezed").write_bytes(gzip.compress(key.encode()))
    with zipfile.ZipFile(planted / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", key * 3)
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt("realcompo", f"a recipe with {key}", zip=True)
    with (planted / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(key.encode())
    Image.new("RGB", (8, 8)).save(planted / "picture.png", pnginfo=chunk)
    try:
        started = (written / "started").stat().st_mtime
        candidates = [*files(written), *files(ROOT, started)]
        found = {path for path in candidates if holds(path, key)} - HOLDERS
        assert found == {planted / name for name in ("plain", "squeezed", "archive", "sparse", "picture.png")}
    finally:
        for path in planted.iterdir():
            path.unlink()
