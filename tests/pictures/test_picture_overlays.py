"""Overlays and charts: every kind is made for toys of any shape, and says what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import realcompo as rc
from realcompo.errors import UnknownName
from realcompo.interfaces import Region
from realcompo.pictures.drawing import PAPER, enlarge, fit, heat, text_size
from realcompo.pictures.overlays import SHOWS, attention, draw_layout, layout, loss, parse_shows, save_overlays, weights
from realcompo.testing import toy_registry


def draw(spatial: Any = "toy/spatial", boxes: Any = None, **options: Any) -> rc.Result:
    composer = rc.Composer(
        "toy/fidelity",
        spatial,
        registry=toy_registry(),
        num_inference_steps=10,
        device="cpu",
        balancer="core/balance",
        balancer_options={"finish": 0.8, "inside": (0.9, 0.5), "outside": (0.7, 0.1), **options},
    )
    boxes = boxes or rc.Boxes({"a cat": (0.0, 0.3, 0.5, 0.9), "a dog": (0.5, 0.3, 1.0, 0.9)})
    return composer(["a cat and a dog"] * 2, boxes, seed=3)


@pytest.fixture(scope="module")
def result() -> rc.Result:
    return draw()


def test_all_kinds_are_written_beside_the_pictures(result: rc.Result, tmp_path: Path) -> None:
    paths = result.save(tmp_path)
    written = save_overlays(result, paths, SHOWS)
    assert sorted(path.name for path in written) == sorted(f"{path.stem}.{show}.png" for path in paths for show in SHOWS)
    for path in written:
        with Image.open(path) as image:
            assert min(image.size) >= 256, "large enough to be looked at"
            assert len(image.getcolors(1 << 24)) > 20, "not empty"


def test_the_layout_shows_each_region_in_its_colour(result: rc.Result) -> None:
    sheet = layout(result)
    assert sheet is not None and sheet.size == (512, 512)
    plain = enlarge(result.image)
    changed = np.abs(np.asarray(sheet, dtype=int) - np.asarray(plain, dtype=int)).max(axis=-1) > 30
    assert changed[460, 50:200].any() or changed[455:465, 50:200].any(), "the lower edge of the first box"
    assert not changed[480:].any(), "nothing below the boxes"


def test_labels_do_not_cover_each_other() -> None:
    regions = [Region(f"r{n}", "the same words", box=(0.2, 0.2, 0.8, 0.8)) for n in range(5)]
    sheet = draw_layout(Image.new("RGB", (512, 512), PAPER), regions)
    from realcompo.pictures.drawing import colour

    pixels = np.asarray(sheet)
    areas = [int((pixels == colour(n)).all(axis=-1).sum()) for n in range(5)]
    assert min(areas) > 1000, "each label is seen"


def test_masks_are_tinted() -> None:
    mask = np.zeros((8, 8))
    mask[2:4, 2:6] = 1
    sheet = np.asarray(draw_layout(Image.new("RGB", (64, 64), (255, 255, 255)), [Region("r", "a", mask=mask)]))
    assert (sheet[24, 32] != 255).any() and (sheet[60, 60] == 255).all()


def test_weights_are_dark_where_fidelity_acts_and_light_where_spatial_does(result: rc.Result) -> None:
    sheet = weights(result)
    assert sheet is not None
    pixels = np.asarray(sheet.convert("L"), dtype=float)
    middle = pixels[sheet.height // 2]
    assert middle[40:200].mean() > middle[-200:-40].mean() + 60, "from the spatial branch alone to the fidelity branch alone"


def test_a_run_without_probe_has_no_attention_and_no_loss() -> None:
    result = draw(warmup=0.8, finish=0.8)
    assert attention(result) is None and loss(result) is None
    assert weights(result) is not None


def test_a_run_without_spatial_branch_has_no_weights() -> None:
    composer = rc.Composer("toy/fidelity", registry=toy_registry(), num_inference_steps=4, device="cpu")
    result = composer("a cat", seed=0)
    assert weights(result) is None and attention(result) is None
    assert layout(result) is not None


def test_many_branches_and_long_phrases(tmp_path: Path) -> None:
    phrase = "a very small and rather fluffy cat that has been sitting there for hours " * 3
    result = draw(
        spatial=["toy/spatial", "toy/spatial-v"], boxes=rc.Boxes([(phrase, (0.0, 0.0, 0.3, 0.3)), (phrase, (0.9, 0.9, 1.0, 1.0))])
    )
    assert len(save_overlays(result, [tmp_path / "x.png", tmp_path / "y.png"], SHOWS)) == 8


def test_the_scale_is_the_users(result: rc.Result) -> None:
    sheet = layout(result, scale=2)
    assert sheet is not None and sheet.size == (128, 128)


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("", ()),
        ("layout", ("layout", "loss")),
        ("attention, weights", ("weights", "attention", "loss")),
        ("all", SHOWS),
        ("loss", ("loss",)),
    ],
)
def test_parse_shows(text: str, shows: tuple[str, ...]) -> None:
    assert parse_shows(text) == shows


def test_an_unknown_show_is_told() -> None:
    with pytest.raises(UnknownName, match=r"knows no 'wieghts'\n.*did you mean 'weights'"):
        parse_shows("layout,wieghts")


def test_texts_are_cut_to_their_room() -> None:
    assert fit("short", 14, 400) == "short"
    cut = fit("a text that is far too long", 14, 60)
    assert cut.endswith("…") and text_size(cut, 14)[0] <= 60


def test_heat_runs_from_dark_to_light() -> None:
    light = heat(np.linspace(0, 1, 32)[None]).astype(float)[0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(light) > 0).all()
    assert (heat(np.array([[-1.0, 0.0, 2.0, 1.0]]))[0, [0, 2]] == heat(np.array([[0.0, 1.0]]))[0]).all()
