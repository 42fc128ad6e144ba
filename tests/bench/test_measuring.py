"""What is told of a draw: F to the digit, every part with the calls that it had, and the turns of two recipes. No time is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.bench import measuring
from realcompo.bench.clock import Parts
from realcompo.bench.measuring import compare, draw, measure
from realcompo.bench.report import record, text
from realcompo.bench.subjects import Bench, Subject, quiet
from realcompo.errors import BadOption, UnknownName
from realcompo.noise.spans import span, watched
from realcompo.recipes.recipe import DEFAULT_BALANCER
from realcompo.registry import installed
from realcompo.specs import SyntheticSpec
from realcompo.testing.synthetic import make
from tests import sliced

from .conftest import FAST

PAPER = {"balancer": {"name": "core/paper", "options": {"warmup": 0.5}}}


def test_f_is_what_the_run_tells(pair: Subject) -> None:
    """The exact balance: two steps of the spatial branch alone, two of both with a probe."""
    subject = pair.changed("paper", PAPER)
    told = measure(subject, 1, memory=False).told()
    result = subject.composer.compose(subject.pictures)
    assert told["sampling_f"] == result.cost.sampling and told["flop_of_one_f"] == result.cost.unit
    assert told["cost_f"] == {("encode" if part == "text" else part): value for part, value in result.cost.parts.items()}
    assert told["cost_f"]["predict sd/v1-5"] == 4.0, "two steps of two rows"
    assert told["steps"] == 4 and told["pictures"] == 1
    assert {phase: one["steps"] for phase, one in told["seconds"]["phases"].items()} == {"spatial alone": 2, "balanced": 2}


def test_every_part_is_there_with_its_calls(pair: Subject) -> None:
    """Forward and backward of probes and moves apart; each draw's parts and its own rest are all of it."""
    one = draw(pair.changed("paper", PAPER))
    calls = {part: len(found) for part, found in one.parts.items()}
    probes = {f"probe {name} {way}": 2 for name in ("sd/v1-5", "gligen/box") for way in ("forward", "backward")}
    assert calls == {"encode": 2, "predict gligen/box": 4, "predict sd/v1-5": 2, **probes, "solver": 4, "decode": 1}
    assert all(value >= 0 for found in one.parts.values() for value in found)
    moved = draw(
        pair.changed("default", {"balancer": {"name": DEFAULT_BALANCER, "options": {"plant": 0.25, "until": 0.75, "threshold": 0.0}}})
    )
    calls = {part: len(found) for part, found in moved.parts.items() if part.startswith("move")}
    assert calls == {"move sd/v1-5 forward": 12, "move sd/v1-5 backward": 12}
    assert not draw(pair, parts=False).parts


def test_parts_leave_out_what_is_within_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own: one tick a look."""
    ticks = iter(range(100))
    monkeypatch.setattr("realcompo.bench.clock.time.perf_counter", lambda: float(next(ticks)))
    clock = Parts(torch.device("cpu"))
    with watched(clock), span("text"):  # 0 … 1
        pass
    with watched(clock), span("probe x"), span("backward"):  # 2 (3 … 4) 5
        pass
    with pytest.raises(KeyError), watched(clock), span("move x"):  # 6 … 7: an error ends a part, too
        raise KeyError
    assert clock.found == {"encode": [1.0], "probe x backward": [1.0], "probe x forward": [2.0], "move x forward": [1.0]}
    assert clock.whole == {"encode": [1.0], "probe x": [3.0], "move x": [1.0]}
    with span("text"):
        assert len(clock.found["encode"]) == 1, "nobody watches any more"


@pytest.mark.deep
def test_two_are_drawn_in_turn(pair: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A B B A after one draw of each; with the ratio of each pair, and of F."""
    other = pair.changed("hand-over", {"balancer": {"name": "core/hand-over"}})
    order: list[str] = []
    before = measuring.draw
    monkeypatch.setattr(measuring, "draw", lambda subject, **more: (order.append(subject.label), before(subject, **more))[1])
    a, b, ratio = compare(pair, other, 2)
    assert order == ["sd15-gligen", "hand-over", "sd15-gligen", "hand-over", "hand-over", "sd15-gligen"]
    assert ratio.figures == tuple(x.seconds / y.seconds for x, y in zip(a.draws, b.draws, strict=True))
    told = record([a, b], ratio)
    assert told["against"]["sampling_f"] == a.cost.sampling / b.cost.sampling > 1
    again = json.loads(text(told))
    assert [one["label"] for one in again["measured"]] == ["sd15-gligen", "hand-over"]
    assert again["measured"][0]["memory"]["peak_bytes"] > again["measured"][0]["memory"]["weights_bytes"] > 0
    assert again["device"]["type"] == "cpu" and again["versions"]["torch"] and "√" in again["measured"][0]["networks"]
    assert str(pair.made.folders["fidelity"].parent) not in text(told), "a folder of this machine"  # type: ignore[union-attr]
    assert again["measured"][0]["recipe"]["branches"][1]["source"] == "synthetic://spatial"
    assert rc.recipes.recipe.Recipe.model_validate(again["measured"][0]["recipe"]).branches[0].name == "sd/v1-5"


def test_networks_of_one_name_are_made_once(bench: Bench, pair: Subject) -> None:
    other = bench.open("gligen/sd15-gligen", sets=["balancer=core/paper"], arguments=FAST)
    assert other.composer.branches[0].unet is pair.composer.branches[0].unet  # type: ignore[attr-defined]
    assert other.composer.recipe().balancer.name == "core/paper"
    half = bench.open("sd15-gligen", arguments={**FAST, "dtype": "bfloat16"})
    assert half.composer.branches[0].dtype == torch.bfloat16
    alone = pair.changed("alone", {}, spatial=False)
    assert len(alone.composer.members) == 1 and not alone.pictures[0].conditions


DEEP = pytest.param("flux-controlnet", marks=pytest.mark.deep)


RANDOM = ("sd15", "sdxl", "sdxl-controlnet", "sd3", "sd3-t5", "sd3-controlnet", "flux")


@pytest.mark.parametrize("name", [*sliced([(name,) for name in RANDOM], 3), DEEP])
def test_all_random_networks_draw(bench: Bench, name: str) -> None:
    flow = name.startswith(("sd3", "flux"))  # its scheduler has no such setting
    asked = {**FAST, "num_inference_steps": 2, **({"scheduler_options": {}} if flow else {})}
    told = draw(bench.open(name, arguments=asked)).result
    passes = 1 if name == "flux" else 2  # its guidance is a number that it is told
    assert told.cost.sampling >= 2 * passes and torch.isfinite(told.latents).all()


def test_transformers_have_their_published_sizes(tmp_path: Path) -> None:
    """On the device 'meta', which holds no numbers: transformers, their text encoders and VAE, and a ControlNet of half its depth."""
    host = installed()
    for name, sizes in {
        "sd3-t5": {"transformer": 2_028_328_000, "text_encoder_3": 4_762_310_656, "text_encoder": 123_650_304, "vae": 83_819_683},
        "sd3-controlnet": {"transformer": 2_028_328_000, "controlnet": 1_062_855_168},
        "flux": {"transformer": 11_901_408_320, "text_encoder_2": 4_762_310_656, "text_encoder": 123_060_480, "vae": 83_819_683},
    }.items():
        with quiet():
            made = make(host.find(SyntheticSpec, name), tmp_path / name, torch.device("meta"), torch.float16, False, host)
        found = {part.split("/")[1]: count for part, count in made.parameters.items()}
        assert found.items() >= sizes.items(), name


def test_pictures_and_files_and_the_default(bench: Bench, pair: Subject, tmp_path: Path) -> None:
    """A recipe that brings no picture draws its branches' sample, planned once; a PNG draws what it carries."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        plain = Bench(stack, copies=2)
        default = plain.open(None, arguments={"device": "cpu"})
        assert [m.name for m in default.composer.members] == ["mini/fidelity", "mini/boxes"] and len(default.pictures) == 2
        assert default.pictures[1].seed == (default.pictures[0].seed or 0) + 1
        assert all(one.conditions for one in default.pictures)
        (path,) = rc.generate("a red balloon", seed=3, device="cpu", num_inference_steps=2).save(tmp_path)
        carried = plain.open(str(path))
        assert carried.pictures[0].prompt == "a red balloon" and carried.composer.num_inference_steps == 2
        recipe = tmp_path / "scene.toml"
        recipe.write_text('num_inference_steps = 3\npictures = [{ prompt = "a blue car", seed = 5 }]\n', encoding="utf-8")
        assert plain.open(str(recipe)).pictures[0].conditions, "planned before anything is timed"
        with pytest.raises(UnknownName, match="neither a recipe's file") as found:
            plain.open("sd15-glgen")
        assert "sd15-gligen" in str(found.value.mend)
    with pytest.raises(BadOption, match="names its networks itself"):
        bench.open(str(recipe))


def test_a_stranger_declares_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the hook alone: what its function returns is made, and its recipe finds it."""
    import importlib.metadata
    from contextlib import ExitStack

    from realcompo.registry import Registry

    (tmp_path / "stranger_nets.py").write_text(
        "from realcompo import hookimpl\nfrom realcompo.specs import SyntheticSpec\nREALCOMPO_API = 1\n"
        "@hookimpl\ndef register_synthetics():\n"
        "    yield SyntheticSpec(id='stranger/tiny', summary='tiny', target='stranger_nets:made', recipe={'branches': ["
        "{'name': 'sd/v1-5', 'source': 'synthetic://it'}], 'pictures': [{'prompt': 'a cat', 'seed': 1}]})\n"
        "def made(small):\n    from realcompo.testing.synthetic import small_parts\n    return {'it': small_parts('sd1')}\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [*importlib.metadata.entry_points(group="realcompo"), importlib.metadata.EntryPoint("stranger", "stranger_nets", "realcompo")]
    with ExitStack() as stack:
        host: Any = Registry(points)
        subject = Bench(stack, registry=host).open("tiny", arguments=FAST)
        assert draw(subject).result.cost.sampling == 2.0 * FAST["num_inference_steps"]  # type: ignore[operator]
