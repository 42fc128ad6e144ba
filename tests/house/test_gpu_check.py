"""tools/gpu_check.py, which no machine of ours can run at its real sizes: all of it in miniature, and the real networks without numbers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from realcompo.bench.report import plain
from realcompo.bench.subjects import quiet
from realcompo.registry import installed
from realcompo.testing.driving import request
from tests import ROOT, sliced
from tools.gpu import comparing, drawing, page
from tools.gpu.drawing import WAYS
from tools.gpu.main import main
from tools.gpu.networks import PAIRS, Pair, make

EAGER = [*WAYS, "reproduce", "offload"]


def parts(told: Mapping[str, Any]) -> dict[tuple[str, str | None, str], dict[str, Any]]:
    return {(one["pair"], one["dtype"], one["what"]): one for one in told["parts"]}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


def in_miniature(path: Path, *skipped: str) -> dict[str, Any]:
    """The JSON of the run in miniature; without compiling, for importing torch's compiler alone takes as long as all else."""
    words = [word for what in ("compiled", *skipped) for word in ("--skip", what)]
    assert main(["--mini", *words, "-o", str(path)]) == 0, path.read_text(encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both comparisons, and all that is drawn with the first pair; the second draws in make test-deep."""
    return in_miniature(tmp_path_factory.mktemp("gpu") / "card.json", "bfloat16")


@pytest.mark.deep
def test_the_run_in_miniature_is_whole(tmp_path: Path) -> None:
    """Every kind of part is done, and every check is met."""
    whole = in_miniature(tmp_path / "card.json")
    assert whole["finished"] and whole["mini"] and whole["summary"]["wrong"] == []
    first, second = (pair.name for pair in PAIRS)
    done = [(one["pair"], one["dtype"], one["what"]) for one in whole["parts"] if one["status"] == "done"]
    assert done == [
        *((name, None, "compare") for name in (first, second)),
        *((first, "float16", what) for what in ["networks", *EAGER]),
        *((second, "bfloat16", what) for what in ["networks", WAYS[1], WAYS[3], "reproduce", "offload"]),
    ]
    assert whole["summary"]["done"] == len(done) and not whole["summary"]["skipped"]
    assert whole["device"]["type"] == "cpu" and whole["versions"]["torch"] and whole["limit_s"] == 480
    assert "√" in whole["weights"]


def test_its_figures_are_those_that_it_promises(drawn: dict[str, Any]) -> None:
    """Seconds, operations and steps by part, as numbers; every way of drawing has the parts that it takes."""
    told = parts(drawn)
    assert drawn["finished"] and drawn["summary"]["wrong"] == []
    pair = PAIRS[0]
    predictions, asks = {f"predict {pair.fidelity}", f"predict {pair.spatial}"}, {f"probe {pair.fidelity}", f"probe {pair.spatial}"}
    wanted = dict(zip(WAYS, (set(), {f"move {pair.fidelity}"}, set(), asks), strict=True))
    for way, more in wanted.items():
        one = told[pair.name, "float16", way]
        names = {"encode", "decode", *more, *(predictions if way != WAYS[0] else {f"predict {pair.fidelity}"})}
        assert set(one["parts"]) == set(one["cost_f"]) == names
        assert sum(phase["steps"] for phase in one["steps"].values()) == told[pair.name, "float16", "networks"]["steps"]
        figures = [*numbers(one["parts"]), *numbers(one["cost_f"]), *numbers(one["steps"]), one["draw_s"], one["flop_of_one_f"]]
        assert len(figures) > 15 and all(math.isfinite(value) and value >= 0 for value in figures)
        assert set(one["memory"]) == {"before_bytes", "peak_bytes"}, "None on the CPU"
    again = told[pair.name, "float16", "reproduce"]
    assert again["checks"] == {"drawn from the file: same pixels": True} and again["largest_difference_of_255"] == 0
    assert told[pair.name, "float16", "offload"]["checks"]["as without offload: same pixels"]


@pytest.mark.deep
def test_compiled_networks_are_compiled_and_draw_nearly_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """The last part of the run in miniature, beside the picture that the same networks drew as they are written."""
    assert main(["--mini", "--only", f"float16 {WAYS[0]}"]) == 0
    told = parts(json.loads(capsys.readouterr().out))[PAIRS[0].name, "float16", f"{WAYS[0]}, compiled"]
    assert told["frames_compiled"] > 0 and told["backend"] == "eager"
    assert told["against_eager"]["largest_of_255"] <= 4 and told["cost_f"]


def test_its_comparison_can_fail(drawn: dict[str, Any]) -> None:
    """In half precision something differs from float32, so that a tolerance has something to judge; a smaller one is not met."""
    for pair in PAIRS:
        told = parts(drawn)[pair.name, None, "compare"]
        assert set(told["relative_difference"]) == {"float16", "bfloat16"} and told["tolerances"] == comparing.TOLERANCES
        for name, differences in told["relative_difference"].items():
            assert len(differences) == 7
            assert all(0 <= value <= comparing.TOLERANCES[name] for value in differences.values())
            assert max(differences.values()) > comparing.TOLERANCES[name] / 50


def test_what_fails_is_recorded_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(studio: Any) -> Any:
        raise RuntimeError("the card caught fire")

    monkeypatch.setattr(drawing, "reproduce", broken)
    monkeypatch.setattr(drawing, "offload", lambda studio: {"steps": studio.steps})
    monkeypatch.setattr(comparing, "compare", lambda *_: {"checks": {"float16 within 0": False}})
    asked = [word for what in ("reproduce", "offload", f"{PAIRS[0].name} compare") for word in ("--only", what)]
    assert main(["--mini", *asked, "-o", str(tmp_path / "card.json")]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    failed = [one for one in told["parts"] if one["status"] == "failed"]
    assert [one["what"] for one in failed] == ["reproduce"] * 2
    assert all(one["error"] == "RuntimeError: the card caught fire" and "test_gpu_check.py" in one["at"][-1] for one in failed)
    assert [one["status"] for one in told["parts"] if one["what"] == "offload"] == ["done"] * 2
    assert len(told["summary"]["wrong"]) == 3 and "float16 within 0" in told["summary"]["wrong"][0]
    assert "the card caught fire" in err and "NOT: float16 within 0" in err
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["parts"] == told["parts"]


def test_networks_that_cannot_be_made_cost_their_parts_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("tools.gpu.main.make", full)
    assert main(["--mini", "--only", "offload"]) == 1
    told = json.loads(capsys.readouterr().out)["parts"]
    assert [(one["what"], one["status"]) for one in told] == [("networks", "failed"), ("offload", "skipped")] * 2
    assert "out of memory" in told[0]["error"] and told[1]["why"] == "its networks were not made"


def test_after_the_limit_the_rest_is_skipped_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mini", "--limit", "0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["done"] == 0 and told["summary"]["skipped"] == len(told["parts"]) > 15 and told["finished"]
    assert "0 s were left" in told["parts"][0]["why"]


def test_a_limit_that_comes_midway_ends_the_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.gpu.clock import Limit, OutOfTime

    def over(self: Limit) -> None:
        raise OutOfTime

    monkeypatch.setattr(Limit, "check", over)  # at the end of the first step
    assert main(["--mini", "--only", "float16 core/hand-over"]) == 0
    told = json.loads(capsys.readouterr().out)["parts"][1]
    assert told["what"] == "core/hand-over" and told["status"] == "skipped" and "came while it ran" in told["why"]


NO_CARD = ("error: the networks at their real sizes want a CUDA device", "mend: ", "--mini")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is here")
def test_without_a_card_it_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert not out and all(text in err for text in NO_CARD)


@pytest.mark.deep
@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is here")
def test_the_file_is_a_program() -> None:
    """Run as docs/gpu.md says, as a file, from any folder."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "gpu_check.py")], capture_output=True, text=True, cwd=ROOT.parent, check=False
    )
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    assert all(text in done.stderr for text in NO_CARD)


def test_nan_is_a_text_in_the_json() -> None:
    assert plain({"a": [math.nan, 1.5, {"b": -math.inf}]}) == {"a": ["nan", 1.5, {"b": "-inf"}]}


SIZES = {
    "sd15-gligen": {
        "fidelity/unet": 859_520_964,
        "fidelity/vae": 83_653_863,
        "fidelity/text_encoder": 123_060_480,
        "spatial/unet": 1_068_623_204,
        "spatial/text_encoder": 123_060_480,
    },
    "sdxl-controlnet": {
        "fidelity/unet": 2_567_463_684,
        "fidelity/vae": 83_653_863,
        "fidelity/text_encoder": 123_060_480,
        "fidelity/text_encoder_2": 694_659_840,
        "spatial/controlnet": 1_251_014_160,
    },
}
"""How many numbers the published networks have."""


@pytest.mark.parametrize("pair", sliced([(pair,) for pair in PAIRS], len(PAIRS)), ids=lambda pair: pair.name)
def test_real_networks_have_the_published_sizes_and_branches_take_them(pair: Pair, tmp_path: Path) -> None:
    """On the device 'meta', which holds shapes and no numbers: what a card will be given, up to the fidelity network's prediction."""
    with quiet():
        made = make(pair, tmp_path, torch.device("meta"), torch.float16, small=False)
        sizes = made.parameters
        assert sizes == SIZES[pair.name]
        assert {network.dtype for folder, network in made.networks.items() if folder.name != "vae"} == {torch.float16}
        branches = [installed().branch(e.name, e.options, source=e.source, device="meta", dtype="float16") for e in made.entries]
        held = {id(network) for network in made.networks.values()}
        assert all(id(network) in held for branch in branches for network in branch.networks().values()), "read from a file, not lent"
        branch = branches[0]
        asked = request([pair.prompt], size=made.size, guidance_scale=1.0)
        from realcompo.noise.diffusion import Solver

        z = torch.empty(1, 4, made.size[0] // 8, made.size[1] // 8, device="meta")
        step = Solver("ddim", branch.traits.schedule, 10).steps[2]
        assert branch.predict(z, step, branch.encode(asked)).noise.shape == z.shape
    assert branch.traits.default_size == made.size == pair.size


def test_the_page_says_what_the_records_say():
    told = (ROOT / "docs" / "gpu.md").read_text("utf-8")
    assert page.page(told) == told
    record = json.loads((ROOT / "docs" / "gpu" / "h100.json").read_text("utf-8"))
    guided = parts(record)["sd15-gligen", "float16", "core/guided"]
    line = next(one for one in told.splitlines() if one.startswith("| sd15-gligen | float16 | core/guided |"))
    cost = sum(value for name, value in guided["cost_f"].items() if name.startswith(("predict", "move", "probe")))
    assert f"| {cost:.1f} | {guided['draw_s']:.2f} |" in line
    assert all(check in told for check in record["summary"]["wrong"])
