"""The comparison of all pairs: conditions of each kind from one scene, controls that change what they should, resumable records, and a
report whose claims follow the figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pairs_draw = pytest.importorskip("realcompo_mini.compare.pairs_draw")
from realcompo_mini.compare.pair import BASE, FIDELITIES, LOOKS, PAIRS, SPATIALS, Pair, blank_hints, chosen  # noqa: E402
from realcompo_mini.compare.pairs_report import COLUMNS, claims, column, report  # noqa: E402
from realcompo_mini.reader import Reading  # noqa: E402

from realcompo.conditions import Boxes, Keypoints, Segmentation  # noqa: E402
from realcompo.evaluation.measure import Figure  # noqa: E402
from tests import lacking, sliced  # noqa: E402


def test_every_pair_and_every_control_has_a_row_of_its_own() -> None:
    assert len({pair.name for pair in PAIRS}) == len({pair.slug for pair in PAIRS}) == len(PAIRS)
    assert {(p.fidelity, p.spatial) for p in PAIRS if p.spatial} >= {(f, s) for f in FIDELITIES for s in SPATIALS}
    controls = {(p.spatial, p.control) for p in PAIRS if p.control}
    assert controls >= {("mini/boxes", "shuffled"), ("layguide/sd", "unguided"), ("mini/boxes", "words")}
    assert controls >= {("mini/pose", "blank"), ("mini/segmentation", "blank")}
    assert chosen(["coloring-boxes"]) == [Pair("mini/coloring", "mini/boxes")]
    with pytest.raises(ValueError, match="no pair is called 'colouring'"):
        chosen(["colouring"])


def test_the_wrong_words_are_the_other_style_s() -> None:
    assert Pair("mini/coloring", "mini/boxes", "words").prompt() == "a cute picture of {prompt}"
    assert Pair("mini/cute", "mini/boxes", "words").prompt() == "a coloring page of {prompt}"
    assert Pair("mini/cute", "mini/boxes").prompt() is None


def test_scenes_serve_every_kind_of_condition(sprites: dict[str, np.ndarray]) -> None:
    told = pairs_draw.scenes("test", 6)
    assert [s.caption for s in told] == [s.caption for s in pairs_draw.scenes("test", 8)[:6]]
    for scene, other in itertools.pairwise(told):
        assert sum(o.kind == "person" for o in scene.objects) == 1 and len(scene.objects) in (2, 3)
        kinds = {spatial: pairs_draw.condition(spatial, scene, scene, sprites) for spatial in SPATIALS}
        assert isinstance(kinds["mini/boxes"], Boxes) and isinstance(kinds["mini/pose"], Keypoints)
        assert isinstance(kinds["mini/segmentation"], Segmentation) and isinstance(kinds["layguide/sd"], Boxes)
        for spatial, own in kinds.items():
            shuffled = pairs_draw.condition(spatial, scene, other, sprites)
            words = [item.phrase for item in own.items]
            assert all(item.phrase in words and item.span is not None for item in shuffled.items)
            assert shuffled != own


def test_blank_hints_are_black_and_leave_conditions_alone() -> None:
    branch = SimpleNamespace(hint=lambda condition, size: Image.new("RGB", size, "red"))
    blank_hints(SimpleNamespace(branches=[SimpleNamespace(), branch]))
    assert branch.hint("anything", (128, 96)).size == (96, 128) and not np.asarray(branch.hint(None, (8, 8))).any()


@pytest.mark.parametrize("pair", sliced([(pair,) for pair in PAIRS if pair.spatial and not pair.control], 3), ids=lambda pair: pair.slug)
def test_every_pair_of_the_family_composes(pair: Pair, sprites: dict[str, np.ndarray]) -> None:
    """Both act, the loss is felt, and what is drawn follows what the spatial branch is told; the control is another scene's condition."""
    if missing := lacking(*{str(pair.fidelity), str(pair.spatial), BASE} - {"layguide/sd"}):
        pytest.skip(missing)
    scene, other = pairs_draw.scenes("test", 2)
    conditions = [pairs_draw.condition(pair.spatial, scene, shown, sprites) for shown in (scene, other)]
    composer = pair.composer(num_inference_steps=2)
    result = composer([scene.caption] * 2, conditions, seed=[1, 1], output_type="latent")
    balanced = [entry for entry in result.trace.entries if len(entry.acting) == 2]
    assert balanced and all(entry.loss is not None and bool((entry.loss > 0).all()) for entry in balanced)
    right, shuffled = result.latents
    assert bool(result.latents.isfinite().all()) and float((right - shuffled).norm() / right.norm()) > 1e-2


class Painter:
    """A composer that paints grey and counts its calls."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, prompts: list[str], conditions: Any, seed: list[int]) -> Any:
        self.asked += seed
        images = [Image.new("RGB", (128, 128), (90, 90, 90)) for _ in prompts]
        return SimpleNamespace(images=images, trace=SimpleNamespace(predict_calls=30, probe_calls=4))


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the trained judges: always a cute picture, joints in the middle, nothing seen."""

    def read(images: list[Any]) -> Reading:
        looks = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).repeat(len(images), 1)
        return Reading(looks, torch.full((len(images), 18, 2), 0.5), torch.zeros(len(images), 64, 64, dtype=torch.long))

    monkeypatch.setattr(pairs_draw, "read_pictures", read)
    monkeypatch.setattr(pairs_draw, "detect", lambda images: [[] for _ in images])


def test_records_resume_and_are_reported(reading: None, sprite_file: Path, tmp_path: Path) -> None:
    painter = Painter()
    pair = Pair("mini/cute", "mini/boxes")
    pairs_draw.draw_pair(pair, "test", 3, sprite_file, tmp_path, batch=2, composer=painter)
    path = pairs_draw.file_of(tmp_path, "test", pair)
    path.write_text(path.read_text() + '{"row": "cut')  # as an interruption leaves it
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    pairs_draw.draw_pair(pair, "test", 4, sprite_file, tmp_path, batch=2, composer=painter)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["scene"] for r in records] == [0, 1, 2, 3] and painter.asked == [0, 1, 2, 2, 3]
    for r in records:
        assert (r["look"], r["look_right"], r["iou"], r["present"], r["predictions"]) == ("cute", 1, 0.0, 0, 30)
        assert 0 < r["joint_error"] < 0.75
    text = report(tmp_path, "test", sprite_file)
    assert "| cute × boxes | 4 |" in text and (tmp_path / "pairs.md").read_text() == text
    assert "cute × boxes, share of pictures of its own look: at least | 0.900 | 1.000 | yes" in text
    with Image.open(tmp_path / "pairs.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    assert (pixels == 90).all(1).sum() >= 2 * 128 * 128, "the pair's pictures are on the contact sheet"


def test_columns_are_ratios_of_sums() -> None:
    records = [
        {"scene": k, "objects": 2 + k % 2, "placed": 1, "present": 0, "exact": 0, "look_right": k % 2, "joint_error": 0.1, "iou": 0.5}
        for k in range(40)
    ]
    assert column(records, "placed").value == pytest.approx(40 / 100)
    assert column(records, "look").value == 0.5 and column(records, "look").low < 0.5 < column(records, "look").high
    assert column(records, "joints").value == pytest.approx(0.1)


def rows(**changes: dict[str, float]) -> dict[str, dict[str, Figure]]:
    base = {"placed": 0.8, "present": 0.9, "exact": 0.8, "look": 0.97, "joints": 0.05, "iou": 0.7}
    table = {pair.name: dict(base) for pair in PAIRS}
    bad = {"placed": 0.2, "look": 0.1, "joints": 0.3, "iou": 0.2}
    for pair in PAIRS:
        if pair.control or not pair.spatial:
            table[pair.name] |= bad
    for name, values in changes.items():
        table[name] |= values
    assert set(base) == set(COLUMNS)
    return {name: {c: Figure(v, v, v) for c, v in row.items()} for name, row in table.items()}


def test_claims_hold_on_good_figures_and_each_can_fail() -> None:
    attention = {"mini/fidelity": 0.3, "mini/tokencompose": 0.6}
    good = claims(rows(), attention)
    assert len(good) == 4 + 2 + 3 + 3 + 2 + 1 and all(claim.holds for claim in good), [c for c in good if not c.holds]
    pose, seg = Pair(BASE, "mini/pose"), Pair(BASE, "mini/segmentation")
    broken = {
        Pair("mini/coloring", "mini/boxes").name: {"look": 0.85},
        Pair("mini/cute", "mini/boxes", "words").name: {"look": 0.9},
        Pair(BASE, "mini/pose", "blank").name: {"joints": 0.08},
        Pair(BASE, "mini/segmentation", "shuffled").name: {"iou": 0.5},
        Pair(BASE, "mini/boxes", "shuffled").name: {"placed": 0.75},
        Pair(BASE, "layguide/sd", "unguided").name: {"placed": 0.75},
        pose.name: {"joints": 0.2},
        seg.name: {"iou": 0.3},
    }
    for name, values in broken.items():
        assert not all(claim.holds for claim in claims(rows(**{name: values}), attention)), name
    assert not all(claim.holds for claim in claims(rows(), {**attention, "mini/tokencompose": 0.32}))
    assert claims({}, {}) == [] and set(LOOKS) < set(FIDELITIES)


def test_attention_is_measured_on_rendered_scenes(sprite_file: Path, tmp_path: Path) -> None:
    if missing := lacking("fidelity"):
        pytest.skip(missing)
    pairs_draw.measure_attention(tmp_path, "test", 2, sprite_file, names=("mini/fidelity",))
    pairs_draw.measure_attention(tmp_path, "test", 2, sprite_file, names=("mini/fidelity",))
    records = [json.loads(line) for line in (tmp_path / "attention-test.jsonl").read_text().splitlines()]
    assert len(records) == 2 * len(pairs_draw.TIMES) and all(0 < r["inside"] < 1 for r in records)
