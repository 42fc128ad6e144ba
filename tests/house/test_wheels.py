"""Wheels hold all that git holds of a package: json, layouts, published configs, weights; and an sdist builds the same wheel.

tests/house/test_strangers.py installs and uses them; `make dist` draws from them alone.
"""

from __future__ import annotations

import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import realcompo
from tests import ROOT
from tools.install import projects
from tools.wheels import build, left_out, package_of, wheel_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of all but the family with its 70 MB of weights, and sdists."""
    folder = tmp_path_factory.mktemp("wheels")
    build([project for project in projects() if project.name != "realcompo-mini"], folder, sdists=True)
    return folder


def test_no_file_stays_behind(folder: Path) -> None:
    for project in projects():
        if project.name != "realcompo-mini":
            assert left_out(wheel_of(project, folder), project) == []


def test_a_file_that_stays_behind_is_seen(folder: Path, tmp_path: Path) -> None:
    whole = wheel_of(ROOT, folder)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / whole.name, "w") as new:
        for name in old.namelist():
            if not name.endswith("py.typed"):
                new.writestr(name, old.read(name))
    assert left_out(tmp_path / whole.name, ROOT) == ["realcompo/py.typed"]


def test_metadata_say_what_a_registry_asks(folder: Path) -> None:
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            said = message_from_bytes(archive.read(name))
        assert said["Version"] == realcompo.__version__ and said["License-Expression"] == "Apache-2.0"
        assert said["Requires-Python"] == ">=3.11" and said["Description-Content-Type"] == "text/markdown"
        assert said["Summary"] and len(str(said.get_payload())) > 80, wheel.name


def test_an_sdist_builds_the_wheel_without_the_checkout(folder: Path, tmp_path: Path) -> None:
    """Its version is read from a file that it does not hold: the sdist's own metadata know it."""
    (sdist,) = folder.glob("realcompo_gligen-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (again,) = build([source], tmp_path / "again")
    (first,) = folder.glob("realcompo_gligen-*.whl")
    assert again.name == first.name and again.read_bytes() == first.read_bytes()


def test_the_core_sdist_holds_the_core_alone(folder: Path) -> None:
    (sdist,) = folder.glob("realcompo-[0-9]*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames()}
    assert tops == {"realcompo", "CHANGELOG.md", "README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert package_of(ROOT) == "realcompo"
