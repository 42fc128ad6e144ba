"""What docs/studio.md and API.md show: the client runs as it stands, and every route that is written of exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from studio_client import TOKEN, Client, serving

from realcompo.pictures.png import read_recipe
from realcompo.registry import installed
from tests import ROOT, lacking

PAGE = (ROOT / "docs" / "studio.md").read_text("utf-8")
API = (ROOT / "plugins" / "realcompo-studio" / "API.md").read_text("utf-8")


def client_text() -> str:
    (text,) = re.findall(r"^```python\n(import json, sys\n.*?)^```", PAGE, re.M | re.S)
    assert isinstance(text, str)
    return text


def test_the_client_is_short() -> None:
    assert len(client_text().splitlines()) <= 20


def test_the_client_draws(tmp_path: Path) -> None:
    if lacking("fidelity", "boxes"):
        pytest.skip(lacking("fidelity", "boxes"))
    (tmp_path / "client.py").write_text(client_text())
    with serving(tmp_path / "studio", registry=installed()) as client:
        words = [sys.executable, "client.py", f"http://127.0.0.1:{client.port}", TOKEN]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "decoding" in done.stdout and "spatial alone" in done.stdout
    with Image.open(tmp_path / "pets.png") as image:
        image.load()
    assert read_recipe(tmp_path / "pets.png").recipe.pictures[0].seed == 7


def test_every_route_is_written_of_and_every_one_written_of_exists(client: Client) -> None:
    there = {re.sub(r"\{[a-z]+\}", "*", path) for path in client.get("/api/openapi.json").json["paths"]}
    told = {re.sub(r"/(ID|NAME|N)\b", "/*", path) for path in re.findall(r"/api/[\w/]*\w", API)}
    told = {path for path in told if path not in ("/api/openapi", "/api/pictures/*/parents/fidelity")}
    told |= {"/api/pictures/*/parents/*"} if "parents/fidelity" in API else set()
    assert told == there
