"""Strangers' plugins, as strangers meet them: core, plugins and examples built as wheels, installed (not editable) in a fresh environment
outside the checkout, used there. Nothing is fetched: the heavy dependencies are those of the interpreter that runs the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests import ROOT, lacking
from tools.wheels import build

EXAMPLES = [ROOT / "examples" / name for name in ("realcompo-hello", "realcompo-hello-more")]
MINI = "realcompo-mini"
PLUGINS = sorted(file.parent for file in (ROOT / "plugins").glob("*/pyproject.toml"))


@dataclass(frozen=True)
class Elsewhere:
    """A fresh environment, and a folder beside it to work in."""

    python: Path
    home: Path
    wheels: Path

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run ``python …`` there; returns what it says on both streams."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "REALCOMPO", "XDG"))}
        environment |= {"HOME": str(self.home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [str(self.python), *command],
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def realcompo(self, *command: str, code: int | None = 0) -> str:
        return self.run("-m", "realcompo", *command, code=code)

    def commands(self, *commands: str) -> str:
        """Run ``realcompo …`` for each in one process, which imports torch once; each must succeed."""
        code = (
            "import shlex, sys\nfrom typer.testing import CliRunner\nfrom realcompo.cli import app\nfor line in sys.argv[1:]:\n"
            "    done = CliRunner().invoke(app, shlex.split(line))\n    print(done.output)\n"
            "    if done.exit_code:\n        sys.exit(f'{line} ended with {done.exit_code}: {done.exception!r}')"
        )
        return self.run("-c", code, *commands)

    def install(self, *names: str) -> None:
        wheels = [str(next(self.wheels.glob(f"{name.replace('-', '_')}-*.whl"))) for name in names]
        self.run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", *wheels)

    def uninstall(self, name: str) -> None:
        self.run("-m", "pip", "uninstall", "--quiet", "--yes", name)


@pytest.fixture(scope="module")
def elsewhere(shared: Path) -> Elsewhere:
    """With everything installed but the embedded family, whose 70 MB of weights take longer to pack than all the rest; made once a run, by
    the worker that comes first. Nothing in it changes."""
    home = shared / "elsewhere"
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            wheels = build_wheels(home, [ROOT, *(one for one in PLUGINS if one.name != MINI), *EXAMPLES])
            borrow_dependencies(home / "heavy" / "site-packages")
            place = environment(home, wheels, home / "heavy" / "site-packages")
            place.install(*(file.name.split("-")[0] for file in wheels.glob("*.whl")))
            (home / "ready").touch()
    return Elsewhere(home / "env" / "bin" / "python", home, home / "wheels")


def environment(home: Path, wheels: Path, heavy: Path) -> Elsewhere:
    """A fresh environment with the heavy dependencies, and none of ours."""
    venv.create(home / "env", symlinks=True)
    site = home / "env" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    (site / "heavy.pth").write_text(f"{heavy}\n")
    return Elsewhere(home / "env" / "bin" / "python", home, wheels)


def build_wheels(home: Path, sources: Sequence[Path]) -> Path:
    """Nothing is written into the checkout."""
    wheels = home / "wheels"
    assert len(build(sources, wheels)) == len(sources)
    return wheels


def borrow_dependencies(folder: Path) -> Path:
    """A folder of links to this interpreter's packages, all but ours: an editable install of the checkout must not be seen."""
    folder.mkdir(parents=True)  # named as such folders are: hypothesis parses every module that it takes for the tester's own
    for place in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
        for package in Path(place).iterdir():
            ours = package.name.lower().startswith(("realcompo", "__editable__")) or package.suffix == ".pth"
            if not ours and not (folder / package.name).exists():
                (folder / package.name).symlink_to(package)
    return folder


def test_nothing_comes_from_the_checkout(elsewhere: Elsewhere) -> None:
    code = "import realcompo as a, realcompo_hello as b, realcompo_hello_more as c; print(a.__file__, b.__file__, c.__file__)"
    for file in elsewhere.run("-c", code).split():
        assert Path(file).is_relative_to(elsewhere.home / "env"), file


def test_list_names_each_component_with_its_distribution(elsewhere: Elsewhere) -> None:
    said = elsewhere.realcompo("list")
    for id, distribution in {
        "hello/fidelity": "realcompo-hello",
        "hello/boxes": "realcompo-hello",
        "hello-more/dots": "realcompo-hello-more",
        "hello-more/pulse": "realcompo-hello-more",
        "hello-more/row": "realcompo-hello-more",
        "hello-more/pets": "realcompo-hello-more",
        "hello-more/contrast": "realcompo-hello-more",
        "hello-more/crisp": "realcompo-hello-more",
        "core/balance": "realcompo",
    }.items():
        rows = [line.split() for line in said.splitlines() if line.split()[:1] == [id]]
        assert rows and distribution in rows[0], f"{id} of {distribution} is not in:\n{said}"
    assert "problem" not in said.lower(), said


@pytest.mark.deep
def test_the_conformance_kit_passes_there(elsewhere: Elsewhere) -> None:
    said = elsewhere.commands("test hello", "test hello-more")
    assert said.count(" passed") >= 2 and "failed" not in said


RECIPE = """
version = 1
num_inference_steps = 4
planner = {name = "hello-more/row"}
balancer = {name = "hello-more/pulse"}
device = "cpu"
branches = [{name = "hello/fidelity"}, {name = "hello/boxes"}]
pictures = [{prompt = "a cat and a dog", seed = 3, name = "pets"}]
"""


def test_a_picture_is_drawn_there(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """By strangers' branches, planner and balancer, from a recipe file; and again from the picture alone."""
    (tmp_path / "scene.toml").write_text(RECIPE)
    elsewhere.commands(f"run {tmp_path}/scene.toml --output {tmp_path}", f"reproduce {tmp_path}/pets.png")
    (picture,) = tmp_path.rglob("*.png")
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (64, 64)


@pytest.mark.deep
def test_a_strangers_suite_and_scorer_run_there(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Their wheels' suite is drawn by their wheels' branches and judged by their wheels' scorer."""
    (tmp_path / "both.toml").write_text(RECIPE.replace('"hello-more/pulse"', '"core/fixed", options = {spatial = 1.0}'))
    (tmp_path / "plain.toml").write_text(RECIPE.replace(', {name = "hello/boxes"}', ""))
    said = elsewhere.commands(f"eval hello-more/pets {tmp_path}/both.toml {tmp_path}/plain.toml -o {tmp_path}/out")
    assert "| plain |" in said and "contrast" in said
    both, plain = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert both["drawn"] == plain["drawn"] == 6
    assert plain["gaps"]["hello-more/contrast.contrast"]["high"] < 0 and not both["gaps"]


@pytest.mark.deep
def test_a_condition_of_a_strangers_kind_is_drawn_with_a_toy(elsewhere: Elsewhere) -> None:
    code = """
import json, realcompo as rc
from realcompo.registry import installed
from realcompo.testing import toy_registry
from realcompo_hello_more.dots import Dot, Dots
registry = toy_registry(*(p for p in __import__("importlib.metadata").metadata.entry_points(group="realcompo")))
composer = rc.Composer("toy/fidelity", "hello/boxes", balancer="core/balance", registry=registry, device="cpu", num_inference_steps=3)
dots = Dots(items=(Dot(phrase="a cat", x=0.3, y=0.5, radius=0.2), Dot(phrase="a dog", x=0.8, y=0.5, radius=0.1)))
result = composer("a cat and a dog", {"hello/boxes": dots}, seed=0)
print(json.dumps([result.image.size, [r.phrase for r in result.regions], [e.loss is not None for e in result.trace.entries]]))
"""
    size, phrases, probed = json.loads(elsewhere.run("-c", code).splitlines()[-1])
    assert (size, phrases) == ([64, 64], ["a cat", "a dog"]) and any(probed)


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
@pytest.mark.deep
def test_the_embedded_default_draws_there(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """In an environment of its own, of the core and all plugins. Weights, tokenizer and schema are package data."""
    wheels = build_wheels(tmp_path, [ROOT, *PLUGINS])
    own = environment(tmp_path, wheels, elsewhere.home / "heavy" / "site-packages")
    own.install(*(file.name.split("-")[0] for file in wheels.glob("*.whl")))
    code = f"""
import realcompo as rc, realcompo_mini
assert str(realcompo_mini.__file__).startswith({str(tmp_path / "env")!r})
result = rc.generate("a cat and a red balloon on grass", seed=7, num_inference_steps=4, device="cpu")
result.image.save({str(tmp_path / "pets.png")!r})
print(len(result.regions), len(set(result.image.getdata())))
"""
    regions, colours = map(int, own.run("-c", code).split()[-2:])
    assert regions == 2 and colours > 50
    assert (tmp_path / "pets.png").stat().st_size > 1000


def test_package_data_is_in_the_wheels(elsewhere: Elsewhere) -> None:
    files = {path.relative_to(elsewhere.home).name for path in elsewhere.home.glob("env/lib/*/site-packages/realcompo/**/*.*")}
    assert "py.typed" in files and any(file.endswith(".json") for file in files)
    code = "from realcompo.toolkit.configs import clip_tokenizer, published; print(len(clip_tokenizer()), *published('sdxl'))"
    assert elsewhere.run("-c", code).splitlines()[-1].startswith("49408 unet vae text_encoder")


@pytest.mark.deep
def test_a_removed_distribution_takes_its_rows_along(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """In an environment of its own: what stands on the removed one is listed still, and says what is missing when it is asked for."""
    own = environment(tmp_path, elsewhere.wheels, elsewhere.home / "heavy" / "site-packages")
    own.install("realcompo", "realcompo-hello", "realcompo-hello-more")
    assert {"hello/boxes", "hello-more/pulse"} <= {line.split()[0] for line in own.realcompo("list").splitlines() if line.strip()}
    own.uninstall("realcompo-hello")
    said = own.realcompo("list")
    first = {line.split()[0] for line in said.splitlines() if line.strip()}
    assert not {"hello/boxes", "hello/fidelity"} & first and "hello-more/pulse" in first
    assert "install the plugin 'hello'" in own.realcompo("test", "hello-more/left", code=None)
    own.uninstall("realcompo-hello-more")
    assert "hello" not in own.realcompo("list")
