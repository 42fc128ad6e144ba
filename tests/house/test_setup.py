"""The set-up: `make`, tools/install.py, and what they promise on a machine that has python3, pip and venv."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import realcompo
from tests import ROOT
from tools import install
from tools.first_minute import as_seen

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def make(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TORCH_INDEX"))}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


# -- Python ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "refused"), [((3, 10), True), ((2, 7), True), ((3, 15), True), ((3, 11), False), ((3, 14), False)])
def test_a_python_that_does_not_fit_is_told_at_once(tmp_path: Path, version: tuple[int, int], refused: bool) -> None:
    """A Python that says it is another; installing starts with one that fits only (here it stops: there is nothing to run)."""
    fake = tmp_path / "python-fake"
    number = ".".join(map(str, version))
    fake.write_text(
        f'#!/bin/sh\ntest "$1" = --version && echo "Python {number}.1" && exit\ntest "$1" = -c || {{ echo "runs $*"; exit 9; }}\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = ({version[0]}, {version[1]}, 1); $2"\n'.replace("; $2", "\n$2")
    )
    fake.chmod(0o755)
    done = make(f"PYTHON={fake}", f"VENV={tmp_path / 'venv'}", "demo")
    assert done.returncode != 0 and not (tmp_path / "venv").exists()
    if refused:
        assert f"needs Python 3.11 to 3.14; {fake} is Python {number}.1" in done.stderr and "runs" not in done.stdout
        assert "make PYTHON=" in done.stderr
    else:
        assert "runs tools/install.py torch" in done.stdout and "needs Python" not in done.stderr


def test_no_python_is_told_too(tmp_path: Path) -> None:
    done = make("PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}", "demo")
    assert done.returncode != 0 and "no-such-python is" in done.stderr and "needs Python 3.11 to 3.14" in done.stderr


def test_the_pythons_are_the_same_wherever_they_are_named() -> None:
    supported = re.search(r"^PYTHONS := (.*)$", MAKEFILE, re.M)
    assert supported is not None
    pythons = supported[1].split()
    assert [one.rpartition(":: ")[2] for one in PROJECT["classifiers"]] == pythons
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == pythons
    assert f"Python {pythons[0]} to {pythons[-1]}" in (ROOT / "README.md").read_text(encoding="utf-8")
    for project in install.projects():
        said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert said["requires-python"] == f">={pythons[0]}", project.name


# -- versions ----------------------------------------------------------------------------------------------------------------


def test_the_version_is_stated_once() -> None:
    """In realcompo/__init__.py; what is installed has it from there."""
    for project in install.projects():
        said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        assert "version" in said["project"]["dynamic"] and "version" not in said["project"]
        assert (project / said["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "realcompo" / "__init__.py"
    assert install.version() == realcompo.__version__


def pins(name: str) -> dict[str, str]:
    """Package → version, of a file of constraints."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return {plain(line.split("==")[0]): line.split("==")[1] for line in lines if line}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_that_is_needed_is_pinned() -> None:
    """What the core, the plugins and the extras that `make` installs stand on, however deep, as this environment has it."""
    pinned, seen = pins("constraints.txt"), set()
    wanted = [(plain(name), "") for name in ("pip", "hatchling", "editables")]
    extras = ("", "lora", "serve", "docs", "lint", "test", "browser", "cloud", "parquet", "ray", "s3-test")
    wanted += [("realcompo", extra) for extra in extras] + [("realcompo-openai", "")]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            needs = [Requirement(one) for one in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue  # not installed in this environment
        assert name in pinned or name.startswith("realcompo") or name == "setuptools", f"constraints.txt pins no {name}"
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                wanted += [(plain(need.name), one) for one in ("", *need.extras)]


def test_the_lowest_versions_are_those_that_were_tested() -> None:
    """Each lower bound of the core stands in constraints-lowest.txt; torch's is wider: no older CPU build was at hand."""
    lowest = pins("constraints-lowest.txt")
    for need in map(Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lora"]]):
        if need.name == "torch":
            continue
        (bound,) = need.specifier
        assert bound.operator == ">=" and lowest[plain(need.name)] == bound.version, need


# -- pip's talk --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "version", "size", "here"),
    [
        ("  Downloading rich-15.0.0-py3-none-any.whl (310 kB)\n", "rich", "15.0.0", 310e3, False),
        ("Using cached PyYAML-6.0.3-cp311-cp311-manylinux.whl (1.2 MB)\n", "pyyaml", "6.0.3", 1.2e6, False),
        ("Downloading https://x/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-linux.whl (190.3 MB)\n", "torch", "2.13.0+cpu", 190.3e6, False),
        ("  Downloading x_y-1.tar.gz (12 bytes)\n", "x-y", "1", 12, False),
    ],
)
def test_what_pip_fetches_is_read(line: str, name: str, version: str, size: float, here: bool) -> None:
    assert install.package_of(line) == install.Package(name, version, size, here)


def test_what_pip_finds_on_the_disk_is_read(tmp_path: Path) -> None:
    wheel = tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux.whl"
    wheel.write_bytes(b"x" * 1000)
    assert install.package_of(f"Processing {wheel} (from realcompo==0.1.0)\n") == install.Package("torch", "2.13.0+cpu", 1000, here=True)


@pytest.mark.parametrize(
    "line", ["Collecting rich", "  Downloading rich-15.0.0-py3-none-any.whl.metadata (18 kB)", "WARNING: Location 'x' is ignored"]
)
def test_other_talk_is_none_of_ours(line: str) -> None:
    assert install.package_of(line) is None


class FakePip:
    """A pip on a machine where only some calls succeed."""

    def __init__(self, folder: Path, answers: Mapping[str, str]) -> None:
        self.folder, self.answers, self.asked = folder, answers, []

    def __call__(self, *words: str, setting: Mapping[str, str] | None = None, seen: Callable[[str], None] = lambda line: None) -> str:
        self.asked.append((words, setting))
        if words[0] not in self.answers:
            raise install.Stopped("no")
        return self.answers[words[0]]


INDEX = f"--index-url {install.CPU_INDEX}"


@pytest.mark.parametrize(
    ("platform", "wanted", "answers", "options"),
    [
        ("linux", "https://x/cu126", {"install": "", "index": "2.13.0"}, "--index-url https://x/cu126"),
        ("linux", "", {"install": "", "index": "2.13.0+cpu"}, "--no-deps"),
        ("linux", "", {"index": "torch (2.14.1)\nAvailable versions: 2.14.1+cpu, 2.13.0+cpu\n"}, f"--no-deps {INDEX}"),
        ("linux", "", {"index": "torch (2.14.1)\nAvailable versions: 2.14.1+cpu, 12.13.0+cpu, 2.13.0.1\n"}, "--no-deps"),
        ("linux", "", {}, "--no-deps"),
        ("darwin", "", {"index": "torch 2.13.0"}, "--no-deps"),
    ],
    ids=["TORCH_INDEX", "on the disk", "the CPU index", "the CPU index lacks it", "the CPU index is silent", "no CUDA there"],
)
def test_where_torch_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, wanted: str, answers: dict[str, str], options: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    pip = FakePip(tmp_path, answers)
    assert " ".join(install.torch_source(pip, "torch==2.13.0", wanted, tmp_path).options) == options  # type: ignore[arg-type]
    for words, setting in pip.asked:  # the CPU index is asked alone, briefly, whatever else pip knows
        if words[0] == "index":
            assert setting == {"PIP_EXTRA_INDEX_URL": install.CPU_INDEX, "PIP_FIND_LINKS": str(tmp_path)} and "--retries" in words


def test_pip_fails_aloud(tmp_path: Path) -> None:
    """Its last words, and where the rest stands."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho it cannot be; exit 1\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    with pytest.raises(install.Stopped, match=r"it cannot be\n.*install.log"):
        install.Pip(tmp_path)("install", "x")
    assert "it cannot be" in (tmp_path / "install.log").read_text()


# -- the first minute --------------------------------------------------------------------------------------------------------

NUMBER = r"\d+(\.\d+)?"
SIZE = rf"{NUMBER} (kB|MB|GB)"
FORMS = [
    r"\$ make demo",
    r"setting up \.venv, once \(Python 3\.\d+\.\d+\)",
    r"  the environment … made, \d+ s",
    rf"  torch {NUMBER}\.\d+ … {SIZE} (on this disk|from \S+|from pip's index), \d+ s",
    rf"  [a-z][a-z ,]+ … \d+ packages, {SIZE}, \d+ s",
    r"  realcompo \d+\.\d+\.\d+ and its \d+ plugins, from this folder",
    r'drawing "[^"]+" with the embedded models …',
    rf"drawing +━+ +(\d+)/\1( loss {NUMBER})? +\d+:\d\d:\d\d",
    r"planned layout \(shares of width and height\)",
    r"region +x0 +y0 +x1 +y1",
    r"■ [a-z ]+?( +[01]\.\d{3}){4}",
    r"(picture)? +~/realcompo/demo/[\w.-]+\.png",
    r"try next",
    r"  realcompo [a-z]+.*",
    r"",
]
"""Every line that the first minute may have: our own words only."""


def strange(text: str) -> list[str]:
    return [line for line in text.splitlines() if not any(re.fullmatch(form, line) for form in FORMS)]


def test_the_first_minute_is_in_our_words_alone() -> None:
    """No warning, no word of another program; what `make first-minute` wrote in a terminal of a fresh clone."""
    text = (ROOT / "docs" / "first-minute.txt").read_text(encoding="utf-8")
    assert not strange(text)
    assert "warning" not in text.lower()
    for part in ("torch 2.", "from this folder", "━", "picture   ~/realcompo/demo/"):
        assert part in text


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: Location 'x' is ignored",
        "Looking in indexes: https://x",
        "/usr/lib/x.py:3: UserWarning: x",
        "Loading weights: 100%|███| 3/3",
        "touch x",
    ],
)
def test_a_strange_line_is_seen(line: str) -> None:
    assert strange(f"try next\n{line}\n") == [line]


def test_what_is_seen_last_of_a_line_stays() -> None:
    assert as_seen("\x1b[1ma\x1b[0m\r\nbar 1/2\r\x1b[2Kbar 2/2\r\nin /x/y/z.png\r\n", {"/x/y": "~/r"}) == "a\nbar 2/2\nin ~/r/z.png\n"


# -- the Makefile ------------------------------------------------------------------------------------------------------------


def test_help_names_every_target() -> None:
    done = make("help")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert sorted(listed) == sorted(phony.split()) and done.stdout.count("##") == 0


def test_ci_calls_the_readmes_commands() -> None:
    """And `make check` is lint, test, test-deep; .ci/run calls the last two."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs == ["make demo", "make check", "make dist"]
    assert re.search(r"^check: lint test test-deep\b", MAKEFILE, re.M)
    assert (ROOT / ".ci/run").read_text().splitlines()[-2:] == ["make test", "make test-deep"]
