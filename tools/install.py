"""Fills .venv, a stage at a time, and says in one line each what came and how large it was: ``python tools/install.py STAGE``.

Standard library only: it runs before anything is installed. pip does the work, under its own configuration (its proxies, mirrors, wheels on
disk) and constraints.txt; what pip says goes to .venv/install.log, and is shown where pip fails.

Stages, in order, each of which stands on those before it::

    torch   the environment, the pinned pip and build backend, torch
    run     core and plugins, editable, with what they stand on
    test    what tests, linters and docs need
    browser what the studio's page is tested with; where it cannot be had, that is said, and those tests are skipped
    ray     Ray, for the batches that are drawn on it; where it cannot be had, those tests are skipped
    s3      a store that speaks S3 and its client, for batches in buckets; where they cannot be had, those tests are skipped
    dist    what checks wheels

Where torch comes from (PyPI's build for Linux is that for CUDA: gigabytes that a machine without a GPU fetches for nothing):

1. the index that TORCH_INDEX names;
2. a wheel that pip's configuration has on this machine's disk;
3. on Linux, PyTorch's index of CPU builds, if it answers and has this version for this Python;
4. whatever pip's configuration names: PyPI as a rule.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 5
"""Seconds in which an index must answer."""
UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
FETCHED = re.compile(r"^\s*(?:Downloading|Using cached) (?:\S*/)?(?P<file>[^/\s]+\.(?:whl|tar\.gz)) \((?P<size>[\d.]+) (?P<unit>\w+)\)$")
FOUND = re.compile(r"^\s*Processing (?P<file>\S+\.(?:whl|tar\.gz))(?: |$)")


@dataclass(frozen=True)
class Package:
    """A file that pip installs from: name and version as its file name has them, bytes, and whether it was on the disk."""

    name: str
    version: str
    size: float
    here: bool


class Stopped(Exception):
    """pip failed; its last words."""


@dataclass(frozen=True)
class Pip:
    """The pip of an environment, talking into a log."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def log(self) -> Path:
        return self.folder / "install.log"

    def __call__(self, *words: str, setting: Mapping[str, str] | None = None, seen: Callable[[str], None] = lambda line: None) -> str:
        """Run ``pip WORDS``; `seen` gets each line as soon as pip says it.

        Raises:
            Stopped: pip ended with an error.
        """
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
        said: list[str] = []
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(setting or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for line in process.stdout or ():
                log.write(line)
                said.append(line)
                seen(line)
        if process.wait():
            raise Stopped("".join(said[-12:]) + f"(all that pip said: {self.log})")
        return "".join(said)

    def install(
        self, *words: str, setting: Mapping[str, str] | None = None, seen: Callable[[Package], None] = lambda package: None
    ) -> list[Package]:
        """``pip install WORDS``; returns what it fetched or found. Modules are compiled when first imported: most of torch never is."""
        packages: dict[str, Package] = {}

        def look(line: str) -> None:
            package = package_of(line)
            if package is not None and package.name not in packages:
                packages[package.name] = package
                seen(package)

        self("install", "--progress-bar", "off", "--no-compile", *words, setting=setting, seen=look)
        return list(packages.values())


def package_of(line: str) -> Package | None:
    """What a line of pip's tells of: ``Downloading rich-15.0.0-py3-none-any.whl (310 kB)``, ``Processing /…/torch-….whl``."""
    if match := FETCHED.match(line):
        name, version = names(match["file"])
        return Package(name, version, float(match["size"]) * UNITS.get(match["unit"], 1), here=False)
    if match := FOUND.match(line):
        path = Path(match["file"])
        name, version = names(path.name)
        return Package(name, version, path.stat().st_size if path.is_file() else 0, here=True)
    return None


def names(file: str) -> tuple[str, str]:
    """``torch-2.13.0%2Bcpu-cp311-….whl`` → torch, 2.13.0+cpu."""
    parts = unquote(file).removesuffix(".tar.gz").split("-")
    return parts[0].lower().replace("_", "-"), parts[1] if len(parts) > 1 else ""


def in_words(size: float) -> str:
    """Bytes as people say them."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= 0.95 * one:
            return f"{size / one:.0f} {unit}" if size >= 9.5 * one else f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def pinned(name: str) -> str:
    """``name==version`` of constraints.txt."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.strip()
    raise Stopped(f"constraints.txt pins no {name}")


def projects(root: Path = ROOT) -> list[Path]:
    """The core's folder and each plugin's."""
    return [root, *sorted(file.parent for file in root.glob("plugins/*/pyproject.toml"))]


class Line:
    """One stage in one line: what it is, at once; how large, as soon as that is known; how long it took, at the end."""

    def __init__(self, what: str) -> None:
        self._start = time.monotonic()
        self.say(f"  {what} … ")

    def say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self, text: str = "") -> None:
        self.say(f"{text}, {time.monotonic() - self._start:.0f} s\n")


def total(packages: list[Package]) -> str:
    """``52 packages, 84 MB``."""
    count = len(packages)
    return f"{count} package{'s' * (count != 1)}, {in_words(sum(one.size for one in packages))}" if count else "all there"


@dataclass(frozen=True)
class Source:
    """Where a torch comes from: in words, as options of pip, and as variables for it."""

    words: str
    options: tuple[str, ...]
    setting: Mapping[str, str]


def torch_source(pip: Pip, torch: str, wanted: str, empty: Path) -> Source:
    """The first that there is (see the module).

    Args:
        torch: ``torch==VERSION``.
        wanted: TORCH_INDEX, or nothing.
        empty: a folder without files.
    """
    if wanted:  # with what it stands on: some of that is on its index alone
        again = ("--force-reinstall",) if list(pip.folder.glob("lib/python*/site-packages/torch/version.py")) else ()
        return Source(f"from {wanted}", ("--index-url", wanted, *again), {})
    with contextlib.suppress(Stopped):
        pip("install", "--dry-run", "--no-deps", "--no-index", torch)
        return Source("on this disk", ("--no-deps",), {})
    if sys.platform == "linux":
        # That index alone: pip's configuration may name more, and only a value overrules it. Its proxy and certificates stay.
        alone = {"PIP_EXTRA_INDEX_URL": CPU_INDEX, "PIP_FIND_LINKS": str(empty)}
        options = ("--index-url", CPU_INDEX)
        with contextlib.suppress(Stopped):
            had = pip("index", "versions", *options, "--timeout", str(PATIENCE), "--retries", "0", "torch", setting=alone)
            if re.search(rf"\b{re.escape(torch.split('==')[1])}(\+cpu)?(,|\s|$)", had):
                return Source(f"from {CPU_INDEX}", ("--no-deps", *options), alone)
    return Source("from pip's index", ("--no-deps",), {})


def torch_stage(pip: Pip) -> None:
    """The environment, and torch: first and pinned, so that nothing that follows pulls another build in."""
    print(f"setting up {pip.folder.name}, once (Python {sys.version.split()[0]})", flush=True)
    if not pip.python.exists():
        line = Line("the environment")
        subprocess.run([sys.executable, "-m", "venv", str(pip.folder)], check=True)
        line.end("made")
    line = Line("pip and the build backend")
    line.end(total(pip.install("-c", str(LOCK), pinned("pip"), "hatchling", "editables")))
    torch = pinned("torch")
    line = Line(torch.replace("==", " "))
    with tempfile.TemporaryDirectory() as empty:
        source = torch_source(pip, torch, os.environ.get("TORCH_INDEX", "").strip(), Path(empty))

        def size(package: Package) -> None:
            if package.name == "torch":
                line.say(f"{in_words(package.size)} {source.words}")

        pip.install(*source.options, torch, setting=source.setting, seen=size)
    line.end()


def run_stage(pip: Pip) -> None:
    """What the core and the plugins stand on, then these, editable."""
    line = Line("what it stands on")
    places = [word for place in projects() for word in ("-e", str(place))]
    packages = pip.install("-c", str(LOCK), "--no-build-isolation", *places)
    line.end(total(packages))
    print(f"  realcompo {version()} and its {len(projects()) - 1} plugins, from this folder", flush=True)


def test_stage(pip: Pip) -> None:
    """The tools of tests, linters and docs."""
    line = Line("tools of tests, linters and docs")
    line.end(total(pip.install("-c", str(LOCK), "--no-build-isolation", "-e", f"{ROOT}[test,lint,lora,serve,docs]")))


def browser_stage(pip: Pip) -> None:
    """Playwright, a Chromium (Debian's if it is there, else Playwright's, else Debian's fetched by root) and the page's own tools."""
    line = Line("what the studio's page is tested with")
    try:
        packages = pip.install("-c", str(LOCK), "--no-build-isolation", "-e", f"{ROOT}[browser]")
    except Stopped:
        line.end("not to be had: the browser's tests are skipped")
        return
    ways = [[str(pip.python), "-m", "playwright", "install", "chromium"]]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        ways.append(["apt-get", "install", "--yes", "--no-install-recommends", "chromium"])
    found = any(map(shutil.which, CHROMIUMS)) or any(ran(pip, way) for way in ways)
    page = ROOT / "plugins" / "realcompo-studio" / "page"
    tools = shutil.which("npm") is not None and ran(pip, ["npm", "ci", "--prefix", str(page), "--no-audit", "--no-fund"])
    line.end(
        total(packages)
        + ("" if found else ", no Chromium to be had")
        + ("" if tools else ", no npm: axe and the page's own tests are skipped")
    )


def ray_stage(pip: Pip) -> None:
    """Ray, for the batches that are drawn on it; where it has no wheel for this Python, their tests are skipped."""
    line = Line("Ray, for batches on clusters")
    try:
        line.end(total(pip.install("-c", str(LOCK), "--no-build-isolation", "-e", f"{ROOT}[ray]")))
    except Stopped:
        line.end("not to be had: its tests are skipped")


def s3_stage(pip: Pip) -> None:
    """An S3 of this machine and its client."""
    line = Line("a store that speaks S3")
    try:
        line.end(total(pip.install("-c", str(LOCK), "--no-build-isolation", "-e", f"{ROOT}[s3-test]")))
    except Stopped:
        line.end("not to be had: its tests are skipped")


def ran(pip: Pip, command: list[str]) -> bool:
    """Whether a program of others' did what it was asked; what it says goes to the log."""
    with pip.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode == 0


def dist_stage(pip: Pip) -> None:
    """What builds and checks wheels."""
    line = Line("what checks wheels")
    line.end(total(pip.install("-c", str(LOCK), "--no-build-isolation", "-e", f"{ROOT}[dist]")))


def version() -> str:
    """Of all that is made here; it stands in realcompo/__init__.py alone."""
    text = (ROOT / "realcompo" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.M)
    if match is None:
        raise Stopped("realcompo/__init__.py states no __version__")
    return match[1]


STAGES: dict[str, Callable[[Pip], None]] = {
    "torch": torch_stage,
    "run": run_stage,
    "test": test_stage,
    "browser": browser_stage,
    "ray": ray_stage,
    "s3": s3_stage,
    "dist": dist_stage,
}


def main() -> int:
    """Run the stages that are named; returns the exit code."""
    pip = Pip(ROOT / os.environ.get("VENV", ".venv"))
    try:
        for stage in sys.argv[1:]:
            STAGES[stage](pip)
    except Stopped as error:
        print(f"\nerror: the set-up stopped. pip's last words:\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
