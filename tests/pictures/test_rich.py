"""Results as notebooks show them, without a notebook: what IPython's rich display asks for, and a run that is shown while it draws."""

from __future__ import annotations

import base64
import io
import re
import sys
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

import realcompo as rc
from realcompo.pictures.result import Result, pixel_digest
from realcompo.testing import toy_registry

BOXES = rc.Boxes({"a cat": (0.05, 0.3, 0.45, 0.9), "a dog": (0.55, 0.3, 0.95, 0.9)})


def drawn(**more: Any) -> Result:
    composer = rc.Composer(
        "toy/fidelity", "toy/spatial", balancer="core/balance", registry=toy_registry(), device="cpu", num_inference_steps=4
    )
    return composer("a <b>cat</b> and a dog, a cat", BOXES, seed=1, **more)


def images(page: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_a_result_is_its_picture_its_layout_and_its_curves() -> None:
    result = drawn()
    page = result._repr_html_()
    assert page is not None
    picture, layout, curves = images(page)
    assert pixel_digest(picture) == pixel_digest(result.image) and "realcompo" in picture.info, "its recipe travels along"
    assert min(layout.size) >= 256 and curves.width > curves.height
    outside = layout.resize(picture.size).getpixel((1, 1))
    assert outside == pytest.approx(picture.convert("RGB").getpixel((1, 1)), abs=60)
    assert pixel_digest(layout) != pixel_digest(picture.convert("RGB").resize(layout.size))
    assert "seed 1" in page and "64×64" in page


def test_a_prompt_is_text_on_the_page_not_a_part_of_it() -> None:
    page = drawn()._repr_html_()
    assert page is not None and "<b>" not in page and "&lt;b&gt;cat" in page
    assert re.search(r'alt="[^"]*&lt;b&gt;', page)
    assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page), "nothing is fetched"


def test_the_picture_alone() -> None:
    result = drawn()
    data = result._repr_png_()
    assert data is not None and pixel_digest(Image.open(io.BytesIO(data))) == pixel_digest(result.image)


def test_batches_show_each_and_tensors_nothing() -> None:
    page = drawn(num_images_per_prompt=3)._repr_html_()
    assert page is not None and len(images(page)) == 3 * 2 + 1 and "seed 3" in page
    many = drawn(num_images_per_prompt=18)._repr_html_()
    assert many is not None and "and 2 more" in many
    tensors = drawn(output_type="np")
    assert tensors._repr_html_() is None and tensors._repr_png_() is None


def test_remarks_stand_below() -> None:
    composer = rc.Composer("toy/fidelity", "toy/spatial", registry=toy_registry(), device="cpu", num_inference_steps=2)
    with pytest.warns(UserWarning, match="begin at timestep"):
        result = composer("a cat and a dog", BOXES, seed=1)
    assert "<li>2 steps of ddim begin" in (result._repr_html_() or "")


def test_a_run_is_shown_in_one_place_and_taken_away() -> None:
    pages: list[list[str]] = []

    def show(text: str) -> Any:
        pages.append([text])
        return pages[-1].append

    live = rc.Live(show=show)
    drawn(progress=live)
    (page,) = pages
    assert len(page) == 4 and "step 1 of 4" in page[0] and page[-1] == ""
    assert [image.size for image in images(page[1])]
    drawn(progress=live)
    assert len(pages) == 2, "the next run has a place of its own"
    seldom = rc.Live(every=3, show=show)
    drawn(progress=seldom)
    assert [bool(text) for text in pages[2]] == [True, False], "step 1, then the end"


def test_a_notebook_s_display_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Handle:
        def update(self, what: str) -> None:
            told.append(("update", what))

    module = ModuleType("IPython.display")
    module.HTML = lambda text: text  # type: ignore[attr-defined]

    def display(what: str, display_id: bool) -> Handle:
        told.append(("display", what))
        assert display_id
        return Handle()

    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    drawn(progress=rc.Live())
    assert [how for how, _ in told] == ["display", "update", "update", "update"]
