"""What is promised: F by the digit, what is said of each figure, and the exit code. Times and bytes are stood in for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from realcompo.bench import published
from realcompo.bench.limits import BALANCED, LAGGED, SHARED, Limits, Verdict, lacking
from realcompo.bench.measuring import draw
from realcompo.bench.pairing import spread
from realcompo.bench.subjects import Subject
from realcompo.cli import app
from realcompo.errors import BadOption

from .conftest import FAST


@pytest.mark.parametrize(
    "found, limit, least, figures, state",
    [
        (1.0, 1.0, False, None, "met"),
        (1.1, 1.0, False, None, "not met"),
        (7.5, 7.5, True, None, "met"),
        (7.4, 7.5, True, None, "not met"),
        (None, 1.0, False, None, "not measured"),
        (1.1, 1.0, False, [0.9, 1.1, 1.2], "within noise"),
        (1.1, 1.0, False, [1.05, 1.1, 1.2], "not met"),
        (7.0, 7.5, True, [6.0, 7.0, 8.0], "within noise"),
    ],
)
def test_what_is_said_of_a_figure(found: float | None, limit: float, least: bool, figures: list[float] | None, state: str) -> None:
    """A figure that differs from run to run fails where its whole interval lies beyond the limit."""
    assert Verdict("x", "", limit, found, least, spread=None if figures is None else spread(figures)).state == state


@pytest.fixture
def stood_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seconds of this machine."""
    monkeypatch.setattr(Limits, "own", lambda self, limit: Verdict("own", "our own", limit, 0.01))
    monkeypatch.setattr(Limits, "alone", lambda self, limit: Verdict("alone", "alone", limit, 1.0, unit="×", spread=spread([1.0] * 6)))


@pytest.mark.usefixtures("stood_in")
@pytest.mark.deep
def test_f_of_each_form(pair: Subject) -> None:
    """Against what the runs tell themselves: the exact balance, the published algorithm, and the default at the recipe's own steps."""
    limits = Limits(pair)
    found = {one.name: one for one in limits.all()}
    assert list(found) == ["published", "exact", "lagged", "shared", "memory", "own", "alone"]
    exact = draw(pair.changed("exact", {"balancer": BALANCED}), latents=True).result.cost
    own = exact.by_kind()["predict"]
    assert found["exact"].found == pytest.approx(exact.sampling / own, rel=1e-12)
    default = draw(pair.changed("default", {"balancer": {"name": "core/guided"}}), latents=True).result.cost
    loop = published.counted(pair, default.unit)["sampling_f"]
    assert found["published"].found == pytest.approx(loop / default.sampling, rel=1e-12) and found["published"].least
    for name, tables in (("lagged", LAGGED), ("shared", SHARED)):
        absent = lacking(tables)
        if absent is not None:
            assert found[name].state == "not measured" and absent in found[name].note
            continue
        cost = draw(pair.changed(name, {**tables, "balancer": BALANCED}), latents=True).result.cost
        assert found[name].found == pytest.approx(cost.sampling / own, rel=1e-12)
        assert found[name].found < found["exact"].found  # type: ignore[operator]
    assert found["memory"].found is not None and 1.0 <= found["memory"].found < 3.0
    assert set(limits.measured["memory"]) == {"two models", "probe", "move"}


def test_an_option_that_is_not_there_is_named() -> None:
    assert lacking({"probe": {"every": 2}}) is None and lacking({"probe": {"evry": 2}}) == "probe.evry"
    assert lacking({"no_table": {"x": 1}}) == "no_table.x"


@pytest.mark.usefixtures("stood_in")
def test_a_spec_changes_limits_and_misspells_none(pair: Subject) -> None:
    assert pair.made is not None

    def limited(**limits: Any) -> Limits:
        assert pair.made is not None
        return Limits(replace(pair, made=replace(pair.made, spec=replace(pair.made.spec, limits=limits))))

    quick = dict.fromkeys(("published", "lagged", "shared", "memory"))
    (exact, *_) = limited(**quick, exact=1.0).all()
    assert exact.name == "exact" and exact.limit == 1.0 and exact.state == "not met"
    with pytest.raises(BadOption, match="exakt"):
        limited(exakt=1.0).all()


@pytest.mark.usefixtures("stood_in")
def test_a_fidelity_branch_alone_promises_less(bench: Any) -> None:
    assert [one.name for one in Limits(bench.open("sd15", arguments=FAST)).all()] == ["own", "alone"]


ASKED = ["bench", "sd15-gligen", "--mini", "--limits", "--steps", "4", "--size", "64x64", "--device", "cpu", "-q"]


@pytest.mark.usefixtures("stood_in")
@pytest.mark.deep
def test_the_command_ends_with_1_where_a_limit_is_not_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    done = CliRunner().invoke(app, [*ASKED, "-o", str(path)])
    told = json.loads(path.read_text(encoding="utf-8"))
    states = {one["name"]: one["state"] for one in told["limits"]}
    assert done.exit_code == int("not met" in states.values()), done.output
    assert states["exact"] == states["own"] == "met" and told["subject"]["small"] and told["subject"]["size"] == [64, 64]
    assert "of the published algorithm" in done.output and "≥ 7.50 ×" in done.output
    monkeypatch.setattr(Limits, "own", lambda self, limit: Verdict("own", "our own", limit, 0.03))
    done = CliRunner().invoke(app, ASKED)
    assert done.exit_code == 1 and "not met" in done.output and "3.00%" in done.output


def test_the_pipeline_draws_what_our_branch_draws(bench: Any) -> None:
    """The other side of a ratio of seconds must do the same work: the same latents, from the same noise."""
    import torch

    from realcompo.bench.peer import Peer
    from realcompo.testing.driving import relative

    for name in ("sd15", "sdxl"):
        subject = bench.open(name, arguments=FAST)
        peer = Peer(subject)
        assert peer.step(3) > 0 and peer.pipeline.unet is subject.composer.branches[0].unet
        ours = draw(subject, latents=True).result.latents
        picture = subject.pictures[0]
        told = peer.pipeline(
            [picture.prompt],
            height=64,
            width=64,
            num_inference_steps=4,
            guidance_scale=peer.guidance,
            generator=[torch.Generator().manual_seed(picture.seed)],
            output_type="latent",
        ).images
        assert relative(ours, told) < 1e-3, name
    with pytest.raises(BadOption, match="names no pipeline"):
        Peer(replace(subject, made=None))
