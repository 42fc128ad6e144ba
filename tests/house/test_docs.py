"""Every block of code in README and docs runs, or says why not.

By language: Python runs, in order, one namespace a page. TOML, YAML and JSON are read as what they are: a recipe, a user file, examples for
the planner, a suite, a layout, or a listing. Commands of `realcompo` run in a folder with a recipe and a picture, on small random
checkpoints. `text` is what something prints. A comment before a block says otherwise::

    <!-- not run: REASON -->
    <!-- run: FILE -->          the tests in FILE run it
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.plans.layouts import read_layouts
from realcompo.plans.layouts.scoring import read_suite
from realcompo.recipes.configuration import resolve, user_settings
from realcompo.registry import installed
from realcompo.testing.sources import small_checkpoint
from tests import ROOT, lacking

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>run|not run): (?P<why>[^>]+?) -->\n)?^(?P<fence>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S
)
ELSEWHERE = {
    "make ": "they install; .ci/run runs `make test`, which is this",
    "pip install": "it installs; tests/house/test_strangers.py installs from wheels",
    "export ": "the tests set what they need",
    "python -m realcompo_mini.train": "hours; plugins/realcompo-mini/tests trains a few steps",
    "python -m realcompo_mini.preview": "half a minute of drawing; plugins/realcompo-mini/tests/test_mini_preview.py has its parts",
    "python -m realcompo_controlnet.photo": "it needs weights and an extra; plugins/realcompo-controlnet/tests has its parts",
}
"""How a command begins → why it does not run here."""
USER_KEYS = {"sources", "llm", "output", "models", "parameters"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    mark: str | None
    why: str
    language: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """Those of a page; of the languages that are to run here, if any are named."""
    found = [
        Block(one["mark"], (one["why"] or "").strip(), one["language"].strip(), one["text"])
        for one in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
    return [one for one in found if not languages or (one.language in languages and one.mark is None)]


def having(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language in {"python", "py", "toml", "yaml", "json", "sh", "text"}, f"a block of {block.language!r}:\n{block.text}"
        if block.mark == "not run":
            assert len(block.why) > 8, f"say why this is not run:\n{block.text}"
        elif block.mark == "run":
            assert page.name in (ROOT / block.why).read_text(encoding="utf-8"), f"{block.why} does not speak of {page.name}"
        if block.language == "py":
            assert block.text in listings(), f"no file of examples/ is this:\n{block.text}"
        if block.language == "text":
            assert not re.search(r"^(import|from|realcompo|pip|python|make|\[\[?\w+\]\]?$)\b", block.text, re.M), "this is code"


def test_the_tables_of_marks_are_read() -> None:
    """Controls: what the pattern must see."""
    page = "x\n\n<!-- not run: it is dear -->\n```sh\nrm -rf /\n```\n\n```toml\na = 1\n```\n````text\n```\n````\n"
    assert [(one["mark"], one["why"], one["language"]) for one in BLOCK.finditer(page)] == [
        ("not run", "it is dear", "sh"),
        (None, None, "toml"),
        (None, None, "text"),
    ]


@cache
def listings() -> tuple[str, ...]:
    """Texts of the files that a page may show whole; tests/house/test_examples.py checks that each stands under its own name."""
    return tuple(path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.*") if path.suffix in {".py", ".toml"})


# -- Python ------------------------------------------------------------------------------------------------------------------


LONG = {"from-a-picture.md", "tutorial.md"}
"""Pages that draw many pictures; what they show is run in `make test-deep`."""
FEW = 6
"""Steps of a picture in every run; the page's own number in `make test-deep`."""


def pages(*languages: str) -> list[Any]:
    return [pytest.param(page, marks=[pytest.mark.deep] * (page.name in LONG)) for page in having(*languages)]


@pytest.mark.parametrize("page", [page for page in having("python") if page.name not in LONG], ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a few steps, where a page leaves their number to the model."""
    spec = installed().branches["mini/fidelity"]
    monkeypatch.setitem(installed().branches, spec.id, replace(spec, recommended={"num_inference_steps": FEW}))
    run_there(page, tmp_path, monkeypatch)


@pytest.mark.deep
@pytest.mark.parametrize("page", having("python"), ids=name_of)
def test_python_blocks_run_as_they_stand(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_there(page, tmp_path, monkeypatch)


def run_there(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python in a folder of its own, with nobody's settings."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(folder / "none.toml"))
    if any("mini/" in block.text or "rc.generate(" in block.text for block in blocks(page, "python")) and lacking("fidelity", "boxes"):
        pytest.skip(lacking("fidelity", "boxes"))
    run_python(page)


def run_python(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": page.stem}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block.text, f"{page.name}, block {number}", "exec"), namespace)


# -- files -------------------------------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}


@pytest.mark.parametrize("page", pages(*READERS), ids=name_of)
def test_files_are_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    found = blocks(page, *READERS)
    if any(re.search(r"^(file|image) = ", block.text, re.M) for block in found):
        run_python(page)  # its examples write the files that its recipes name
    read: list[Any] = []
    for number, block in enumerate(found):
        if block.text in listings():
            continue
        data = READERS[block.language](block.text)
        path = tmp_path / f"block{number}.{block.language}"
        path.write_text(block.text, encoding="utf-8")
        if block.language == "json":
            assert len(read_layouts(path)) == len(data["pictures"])
        elif "example" in data:
            _examples(path, data)
        elif "prompt" in data:
            assert len(read_suite(path)) == len(data["prompt"])
        elif USER_KEYS & data.keys():
            _user_file(path, data, monkeypatch)
        else:
            read.append(resolve(path).recipe)
            if block.language == "yaml":
                assert read[-1] == read[-2], "the YAML says something else than the TOML before it"


def _examples(path: Path, data: dict[str, Any]) -> None:
    examples = pytest.importorskip("realcompo_openai.examples")
    assert len(examples.load_examples(str(path))) == len(data["example"])


def _user_file(path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("REALCOMPO_CONFIG", str(path))
        assert user_settings().llm == data.get("llm", {})
        assert resolve(None).files == (path,)
        if "llm" in data and "openai/planner" in installed().planners:
            assert installed().planner("openai/planner").options.model == data["llm"]["model"]


# -- commands ----------------------------------------------------------------------------------------------------------------


SCENE = """
branches = ["sd/v1-5", "gligen/box"]
[[pictures]]
prompt = "a cat and a dog"
seed = 3
[pictures.conditions.boxes]
"a cat" = [0.05, 0.3, 0.5, 0.95]
"a dog" = [0.5, 0.3, 0.95, 0.95]
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in: scene.toml and people's own settings, which stand small random networks for the large ones."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scene.toml").write_text(SCENE)
    sources = {"sd/v1-5": small_checkpoint("sd1"), "gligen/box": small_checkpoint("gligen")}
    (tmp_path / "user.toml").write_text(
        'branches = ["sd/v1-5", "gligen/box"]\nplanner = "mini/planner"\nnum_inference_steps = 2\ndevice = "cpu"\nheight = 64\nwidth = 64\n'
        + "[sources]\n"
        + "".join(f'"{id}" = "{place}"\n' for id, place in sources.items())
    )
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "user.toml"))
    monkeypatch.setenv("COLUMNS", "200")
    with _language_model(monkeypatch):
        yield tmp_path


@contextlib.contextmanager
def _language_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that lays out the pages' prompts, where the plugin that asks it is installed."""
    try:
        from realcompo_openai import conformance as kit
    except ImportError:
        yield
        return
    left, right = (0.05, 0.4, 0.25, 0.9), (0.28, 0.4, 0.48, 0.9)
    layouts: dict[str, Any] = {
        "two cats to the left of a red sofa": [("two cats", left), ("two cats", right), ("a red sofa", (0.55, 0.3, 0.95, 0.9))],
        "a cat and a red balloon on grass": [("a cat", left), ("a red balloon", (0.6, 0.1, 0.9, 0.4))],
        "a cat and a dog": [("a cat", left), ("a dog", (0.6, 0.4, 0.9, 0.9))],
    }
    with kit.LocalServer(lambda body, speaker: kit.reply_of(layouts.get(kit.prompt_of(body), []))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield


@pytest.mark.parametrize("page", pages("sh"), ids=name_of)
def test_commands_run(page: Path, desk: Path) -> None:
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or any(line.startswith(start) for start in ELSEWHERE):
                continue
            assert words[0] == "realcompo", f"nothing here runs {line!r}: mark the block, or add to ELSEWHERE"
            for name in {"pets.png"} & set(words[2:]):
                if not (desk / name).exists() and words[words.index(name) - 1] not in ("-o", "--output"):
                    told(["generate", "a cat and a dog", "--seed", "7", "-o", name])
            told(words[1:])


def told(words: list[str]) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"realcompo {shlex.join(words)}\n{result.output}"
    return result.output


def test_a_command_that_is_wrong_is_seen(desk: Path) -> None:
    with pytest.raises(AssertionError, match="no branch is called"):
        told(["generate", "a cat", "--fidelity", "sd/v9"])


# -- links -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert not missing, f"{page.name} links to {missing}"
