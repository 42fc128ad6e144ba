"""The canvas and the planner in a browser: boxes, people and maps by mouse, finger and keyboard; sentences that place and revise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driver import Tab, expect
from PIL import Image
from studio_client import Client

from realcompo.pictures.png import read_recipe

pytestmark = pytest.mark.deep


def test_a_box_is_dragged_resized_undone_and_redone(tab: Tab) -> None:
    tab.two_boxes()
    tab.button("Snap to other things and to the middle").click()
    before = tab.boxes["a cat"]
    tab.drag((0.2, 0.6), (0.3, 0.5))
    moved = tab.boxes["a cat"]
    assert moved == pytest.approx([before[0] + 0.1, before[1] - 0.1, before[2] + 0.1, before[3] - 0.1], abs=0.005)
    tab.drag((moved[2], moved[3]), (moved[2] + 0.1, moved[3] - 0.2))
    resized = tab.boxes["a cat"]
    assert resized == pytest.approx([moved[0], moved[1], moved[2] + 0.1, moved[3] - 0.2], abs=0.01)
    tab.button("Undo (Ctrl+Z)").click()
    assert tab.boxes["a cat"] == moved
    tab.page.locator(".box-layer").focus()
    tab.page.keyboard.press("Control+z")
    assert tab.boxes["a cat"] == before
    tab.page.keyboard.press("Control+Shift+z")
    tab.button("Redo (Ctrl+Shift+Z)").click()
    assert tab.boxes["a cat"] == resized


def test_boxes_snap_to_each_other(tab: Tab) -> None:
    tab.two_boxes()
    cat = tab.boxes["a cat"]
    tab.drag((0.7, 0.7), (0.7, 0.7 + cat[1] - tab.boxes["a red car"][1] + 0.005))
    assert tab.boxes["a red car"][1] == cat[1]


def test_boxes_need_no_mouse(tab: Tab) -> None:
    """Adds, names, moves, resizes, duplicates and deletes by keyboard alone.

    The words are typed at once: the field must have the focus before the next key, not after the next painting."""
    page = tab.page
    page.locator(".box-layer").focus()
    page.keyboard.press("n")
    page.keyboard.type("a cat")
    page.keyboard.press("Enter")
    box = page.get_by_role("button", name="a cat, from")
    box.wait_for()
    box.focus()
    before = tab.boxes["a cat"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    after = tab.boxes["a cat"]
    assert after == pytest.approx([before[0] + 0.02, before[1], before[2] + 0.02, before[3] + 0.02], abs=1e-6)
    page.keyboard.press("Control+d")
    expect(box).to_have_count(2)
    assert len(tab.document()["boxes"]) == 2
    page.keyboard.press("Enter")
    page.get_by_label("What is here?").fill("a dog")
    page.keyboard.press("Enter")
    expect(box).to_have_count(1)
    box.focus()
    page.keyboard.press("Delete")
    box.wait_for(state="detached")
    assert [one["phrase"] for one in tab.document()["boxes"]] == ["a dog"]


def test_a_finger_draws_as_a_mouse_does(browser: Any, studio: Client) -> None:
    with Tab.opened(browser, studio, has_touch=True) as tab:
        line = tab.page.context.new_cdp_session(tab.page)
        points = [tab.at((x, x)) for x in (0.2, 0.35, 0.5)]
        for kind, point in (("touchStart", points[0]), ("touchMove", points[1]), ("touchMove", points[2]), ("touchEnd", None)):
            touches = [] if point is None else [{"x": point[0], "y": point[1]}]
            line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        tab.page.get_by_label("What is here?").fill("a cat")
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("button", name="a cat, from").wait_for()
        assert tab.boxes["a cat"] == pytest.approx([0.2, 0.2, 0.5, 0.5], abs=0.02)


def test_a_joint_is_dragged_hidden_and_brought_back(tab: Tab) -> None:
    """And two people are two regions: the canvas of poses brings its branch along."""
    page = tab.page
    tab.canvas("Poses")
    for pose, phrase in (("waving", "a blue person"), ("standing", "a red person")):
        tab.person(pose, phrase)
    document = tab.document()
    assert [one["name"] for one in document["spatial"]] == ["mini/boxes", "mini/pose"]
    person = document["people"][1]
    assert len(person["points"]) == 18
    start = person["points"]["left_wrist"]
    tab.click((start[0], start[1]))
    tab.drag((start[0], start[1]), (0.9, 0.2))
    assert tab.document()["people"][1]["points"]["left_wrist"] == pytest.approx([0.9, 0.2], abs=0.01)
    others = {name: at for name, at in tab.document()["people"][1]["points"].items() if name != "left_wrist"}
    assert others == {name: at for name, at in person["points"].items() if name != "left_wrist"}
    tab.button("Undo (Ctrl+Z)").click()
    assert tab.document()["people"][1]["points"]["left_wrist"] == start
    tab.button("Redo (Ctrl+Shift+Z)").click()
    page.get_by_role("button", name="left wrist of a red person").focus()
    page.keyboard.press("h")
    assert "left_wrist" not in tab.document()["people"][1]["points"]
    page.get_by_role("button", name="Show 1 hidden joint of a red person").click()
    assert tab.document()["people"][1]["points"]["left_wrist"] == pytest.approx([0.9, 0.2], abs=0.01)
    tab.steps(3)
    tab.draw()
    (picture,) = read_recipe(tab.done()).recipe.pictures
    drawn = {one.phrase: one.points for one in picture.conditions["keypoints"].items}
    assert {name: list(at) for name, at in drawn["a red person"].items()} == tab.document()["people"][1]["points"]


def test_a_map_is_painted_and_drawn_from(tab: Tab) -> None:
    """Fill, brush, polygon and eraser; the words of the prompt make a region of what is painted."""
    page = tab.page
    page.get_by_label("Prompt", exact=True).fill("a house on grass")
    tab.canvas("Paint")
    page.get_by_label("Class to paint").select_option("grass")
    tab.button("Fill what is connected").click()
    tab.click((0.5, 0.5))
    page.get_by_label("Class to paint").select_option("house")
    tab.button("Polygon: click corners, close at the first or with Enter").click()
    for corner in ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75), (0.25, 0.25)):
        tab.click(corner)
    tab.button("Eraser").click()
    tab.drag((0.3, 0.5), (0.35, 0.5))
    tab.button("Brush").click()
    tab.drag((0.1, 0.1), (0.2, 0.1))
    tab.steps(3)
    tab.draw()
    (picture,) = read_recipe(tab.done()).recipe.pictures
    condition = picture.conditions["segmentation"]
    (house,), (grass,) = condition.items, condition.backdrop
    assert (house.phrase, house.label, grass.label) == ("a house", "house", "grass")
    height, width = condition.size
    inside, ground = condition.mask(house), condition.mask(grass)
    assert not (inside & ground).any()
    for share, where in (((0.6, 0.6), inside), ((0.15, 0.1), inside), ((0.9, 0.9), ground)):
        assert where[int(share[1] * height), int(share[0] * width)], share
    assert not (inside | ground)[int(0.5 * height), int(0.32 * width)], "what was erased is of no segment"


def test_a_picture_is_traced_and_never_sent(tab: Tab, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 40, 90)).save(tmp_path / "photo.png")
    sent: list[str] = []
    tab.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    tab.page.get_by_test_id("trace-file").set_input_files(tmp_path / "photo.png")
    assert tab.page.locator(".tracing").evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    assert not [url for url in sent if "import" in url]
    tab.button("Take the traced picture away").click()
    tab.page.locator(".tracing").wait_for(state="detached")


def test_a_sentence_is_planned_revised_and_what_is_locked_stays(tab: Tab) -> None:
    page = tab.page
    page.get_by_label("Prompt", exact=True).fill("a cat and a dog on grass")
    page.get_by_role("button", name="Plan the layout").click()
    page.get_by_role("button", name="a dog, from").wait_for()
    planned = tab.boxes
    assert set(planned) == {"a cat", "a dog"}
    page.get_by_label("Change the layout in words").fill("move the dog down")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_test_id("sentence").get_by_text("Changed as you said").wait_for()
    assert tab.boxes["a dog"][1] > planned["a dog"][1]
    assert tab.boxes["a cat"] == planned["a cat"]
    page.get_by_role("button", name="Keep a cat where it is when planning").click()
    page.get_by_label("Seed", exact=True).fill("99")
    page.get_by_role("button", name="Plan anew").click()
    page.get_by_test_id("sentence").get_by_text("Placed.").wait_for()
    assert tab.boxes["a cat"] == planned["a cat"]
    assert tab.boxes["a dog"] != planned["a dog"]


def test_an_empty_canvas_is_planned_when_it_is_drawn(tab: Tab) -> None:
    """Who only writes a sentence gets a picture, and sees on the canvas where things were placed."""
    tab.page.get_by_label("Prompt", exact=True).fill("a cat and a dog on grass")
    tab.steps(3)
    tab.draw()
    path = tab.done()
    (picture,) = read_recipe(path).recipe.pictures
    assert {one.phrase: list(one.box) for one in picture.conditions["boxes"].items} == tab.boxes
