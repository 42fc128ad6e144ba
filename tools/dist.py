"""``make dist``: all wheels and sdists, checked, installed alone in a new environment outside the checkout, and drawn with there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .install import LOCK, ROOT, Line, Pip, Stopped, in_words, projects, torch_stage, total
from .wheels import build, left_out, wheel_of

DIST = ROOT / "dist"


def main() -> int:
    """Do all of it; returns the exit code."""
    try:
        check(make())
        with tempfile.TemporaryDirectory(prefix="realcompo-") as home:
            draw(Path(home))
    except Stopped as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


def make() -> list[Path]:
    """dist/, anew."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    line = Line("wheels and sdists into dist/")
    files = build(projects(), DIST, sdists=True)
    line.end(f"{len(files)} files, {in_words(sum(file.stat().st_size for file in files))}")
    return files


def check(files: list[Path]) -> None:
    """The metadata as the registry will read them, and that no file of a package stayed behind.

    Raises:
        Stopped: something is wrong.
    """
    line = Line("metadata and contents")
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Stopped(f"twine refuses the metadata:\n{done.stdout}")
    for project in projects():
        if missing := left_out(wheel_of(project, DIST), project):
            raise Stopped(f"the wheel of {project.name} lacks {', '.join(missing[:5])}")
    line.end("right")


def draw(home: Path) -> None:
    """The demo from wheels alone, below a folder outside the checkout.

    Raises:
        Stopped: it draws no picture, or something came from the checkout.
    """
    pip = Pip(home / "alone")
    torch_stage(pip)
    line = Line("the wheels, and what they stand on")
    line.end(total(pip.install("-c", str(LOCK), *(str(wheel_of(project, DIST)) for project in projects()))))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REALCOMPO", "VIRTUAL_ENV"))}
    environment["HF_HUB_OFFLINE"] = "1"

    def run(*words: str) -> str:
        command = [str(pip.python), *words]
        done = subprocess.run(command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Stopped(f"`{' '.join(words)}` ended with {done.returncode} in the new environment:\n{done.stdout[-4000:]}")
        return done.stdout

    line = Line("a picture from wheels alone")
    home_of = Path(run("-c", "import realcompo; print(realcompo.__file__)").strip())
    if not home_of.is_relative_to(pip.folder):
        raise Stopped(f"the new environment imports {home_of}")
    run("-m", "realcompo", "demo")
    drawn = [file for file in (home / "demo").glob("*.png") if "." not in file.stem]
    if len(drawn) != 1:
        raise Stopped(f"the demo wrote {len(drawn)} pictures")
    line.end(f"{drawn[0].name}, {in_words(drawn[0].stat().st_size)}")


if __name__ == "__main__":
    sys.exit(main())
