"""Wheels and sdists of the core, the plugins and the examples, built from the checkout without a trace in it, and what must be in them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .install import ROOT, Stopped

AT = "-- at "
EACH = f"""
import os, sys
from hatchling.cli import hatchling
end = sys.argv.index("--")
projects, sys.argv = sys.argv[1:end], ["hatchling", *sys.argv[end + 1 :]]
for project in projects:
    print({AT!r} + project, flush=True)
    os.chdir(project)
    hatchling()
"""
"""Hatchling's own command in each project, in one interpreter: most of a small wheel's time is Python's start."""


def build(projects: Sequence[Path], folder: Path, *, sdists: bool = False) -> list[Path]:
    """A wheel of each project, and its sdist; returns the files.

    Raises:
        Stopped: a project does not build.
    """
    kinds = ["-t", "sdist", "-t", "wheel"] if sdists else ["-t", "wheel"]
    command = [sys.executable, "-c", EACH, *map(str, projects), "--", "build", "--directory", str(folder.resolve()), *kinds]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said, _, last = done.stdout.rpartition(AT)
        raise Stopped(f"{Path(last.split(chr(10))[0]).name} does not build:\n{(said[-1000:] + last)[-4000:]}")
    return sorted(file for file in folder.iterdir() if file.name.endswith((".whl", ".tar.gz")))


def package_of(project: Path) -> str:
    """The import package of a project: the folder in it that is called like the distribution."""
    import tomllib

    with (project / "pyproject.toml").open("rb") as file:
        name: str = tomllib.load(file)["project"]["name"]
    return name.replace("-", "_")


def left_out(wheel: Path, project: Path) -> list[str]:
    """Files of the package that git holds and the wheel does not."""
    package = package_of(project)
    listed = subprocess.run(["git", "ls-files", "-z", package], cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    return [file for file in listed.split("\0") if file and file not in inside]


def wheel_of(project: Path, folder: Path) -> Path:
    """The wheel of a project among those of a folder.

    Raises:
        Stopped: there is none.
    """
    for file in folder.glob(f"{package_of(project)}-*.whl"):
        return file
    raise Stopped(f"no wheel of {project.relative_to(ROOT)} in {folder}")
