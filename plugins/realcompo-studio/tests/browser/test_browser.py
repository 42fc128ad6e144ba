"""The page in a browser, at length (make test-deep): every tool, every way back, every field's error. Each test has a tab of its own on one server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driver import Tab
from PIL import Image
from studio_client import Client

from realcompo.pictures.png import read_recipe

pytestmark = pytest.mark.deep
PETS = "a cat and a red car"


def two_boxes(tab: Tab, steps: int = 4) -> None:
    """A layout that most tests begin with."""
    tab.box((0.06, 0.42), (0.46, 0.9), "a cat")
    tab.box((0.56, 0.5), (0.94, 0.88), "a red car")
    tab.steps(steps)


# -- the canvas ------------------------------------------------------------------------------------------------------------------


def test_a_box_is_dragged_resized_undone_and_redone(tab: Tab) -> None:
    two_boxes(tab)
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
    two_boxes(tab)
    cat = tab.boxes["a cat"]
    tab.drag((0.7, 0.7), (0.7, 0.7 + cat[1] - tab.boxes["a red car"][1] + 0.005))
    assert tab.boxes["a red car"][1] == cat[1]


def test_boxes_need_no_mouse(tab: Tab) -> None:
    """Adds, names, moves, resizes, duplicates and deletes by keyboard alone."""
    page = tab.page
    page.locator(".box-layer").focus()
    page.keyboard.press("n")
    page.keyboard.type("a cat")
    page.keyboard.press("Enter")
    box = page.get_by_role("button", name="a cat, from")
    box.focus()
    before = tab.boxes["a cat"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    after = tab.boxes["a cat"]
    assert after == pytest.approx([before[0] + 0.02, before[1], before[2] + 0.02, before[3] + 0.02], abs=1e-6)
    page.keyboard.press("Control+d")
    assert len(tab.document()["boxes"]) == 2
    page.keyboard.press("Enter")
    page.get_by_label("What is here?").fill("a dog")
    page.keyboard.press("Enter")
    box.focus()
    page.keyboard.press("Delete")
    assert [one["phrase"] for one in tab.document()["boxes"]] in (["a dog"], ["a cat"])


def test_a_finger_draws_as_a_mouse_does(browser: Any, studio: Client) -> None:
    with Tab.opened(browser, studio, has_touch=True) as tab:
        line = tab.page.context.new_cdp_session(tab.page)
        points = [tab.at((x, x)) for x in (0.2, 0.35, 0.5)]
        for kind, point in (("touchStart", points[0]), ("touchMove", points[1]), ("touchMove", points[2]), ("touchEnd", None)):
            touches = [] if point is None else [{"x": point[0], "y": point[1]}]
            line.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        tab.page.get_by_label("What is here?").fill("a cat")
        tab.page.keyboard.press("Enter")
        assert tab.boxes["a cat"] == pytest.approx([0.2, 0.2, 0.5, 0.5], abs=0.02)


def test_a_joint_is_dragged_hidden_and_brought_back(tab: Tab) -> None:
    """And two people are two regions: the canvas of poses brings its branch along."""
    page = tab.page
    tab.canvas("Poses")
    for pose, phrase in (("waving", "a blue person"), ("standing", "a red person")):
        page.get_by_label("Add a person in a pose").select_option(pose)
        page.get_by_label("Who is this?").fill(phrase)
        page.keyboard.press("Enter")
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
    page.get_by_label("Prompt").fill("a house on grass")
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


# -- planning --------------------------------------------------------------------------------------------------------------------


def test_a_sentence_is_planned_revised_and_what_is_locked_stays(tab: Tab) -> None:
    page = tab.page
    page.get_by_label("Prompt").fill("a cat and a dog on grass")
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
    tab.page.get_by_label("Prompt").fill("a cat and a dog on grass")
    tab.steps(3)
    tab.draw()
    path = tab.done()
    (picture,) = read_recipe(path).recipe.pictures
    assert {one.phrase: list(one.box) for one in picture.conditions["boxes"].items} == tab.boxes


# -- runs ------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_in_its_midst_and_drawn_again(tab: Tab) -> None:
    two_boxes(tab, steps=400)
    tab.draw()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    tab.button("Cancel").click()
    tab.status("Stopped")
    tab.steps(3)
    tab.draw()
    assert read_recipe(tab.done()).recipe.num_inference_steps == 3


def test_a_reload_finds_the_run_and_the_page(tab: Tab) -> None:
    two_boxes(tab, steps=400)
    tab.draw()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    before = tab.document()
    tab.page.reload()
    tab.page.locator("img.picture[src*='/previews/']").wait_for()
    tab.status("of 400")
    assert tab.document() == before
    tab.button("Cancel").click()
    tab.status("Stopped")


def test_two_tabs_draw_at_once_and_keep_apart(browser: Any, studio: Client) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    with Tab.opened(browser, studio, context=context) as one, Tab.opened(browser, studio, context=context) as other:
        one.box((0.1, 0.1), (0.5, 0.6), "a cat")
        other.box((0.5, 0.4), (0.9, 0.9), "a house")
        for tab in (one, other):
            tab.steps(4)
            tab.draw()
        cat, house = read_recipe(one.done()).recipe.pictures[0], read_recipe(other.done()).recipe.pictures[0]
        assert (cat.prompt, house.prompt) == ("a cat", "a house")
        assert set(one.boxes) == {"a cat"} and set(other.boxes) == {"a house"}
        other.page.get_by_role("tab", name="Gallery").click()
        for name in ("a cat", "a house"):
            other.page.get_by_role("button", name=f"Open {name}, seed 7").first.wait_for()
    context.close()


def test_the_command_reproduces_what_the_page_drew(tab: Tab) -> None:
    two_boxes(tab)
    tab.draw()
    path = tab.done()
    done = subprocess.run([sys.executable, "-m", "realcompo", "reproduce", str(path)], capture_output=True, text=True, cwd=path.parent.parent)
    assert done.returncode == 0, done.stdout + done.stderr


# -- look inside -----------------------------------------------------------------------------------------------------------------


def test_look_inside_tells_who_drew_where_and_why(tab: Tab) -> None:
    """Timeline, weights, attention, curves, a region's own loss, the sentence of each phase, and both models alone."""
    page = tab.page
    two_boxes(tab, steps=10)
    tab.draw()
    path = tab.done()
    page.get_by_text("mini/boxes planted a cat here in steps 1 to 3").wait_for()
    slider = page.get_by_label("Step", exact=True)
    slider.fill("0")
    page.locator(".look .sentence", has_text="mini/boxes draws alone").wait_for()
    weight = page.get_by_role("button", name="Weight of mini/boxes")
    weight.click()
    canvas = page.locator(".stage > canvas.heat")
    canvas.wait_for()
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    page.wait_for_timeout(500)
    assert set(canvas.evaluate(pixels)[:4]) == {255, 234, 70}, "all of the say, everywhere"
    slider.fill("3")
    page.locator(".look .sentence", has_text="mini/fidelity draws now").wait_for()
    page.get_by_role("button", name="a cat", exact=False).filter(has_text="inside").click()
    page.get_by_role("img", name="Attention to a cat").wait_for()
    heat = np.array(page.locator(".stage > canvas.heat").evaluate(pixels)).reshape(-1, 4)[:, 0]
    side = int(len(heat) ** 0.5)
    assert heat.reshape(side, side)[side // 2 :, : side // 2].mean() > heat.reshape(side, side)[: side // 2, side // 2 :].mean()
    page.get_by_role("button", name="a cat, from").hover()
    page.locator(".curves .is-strong").wait_for()
    page.locator(".legend li.is-on", has_text="a cat").wait_for()
    page.get_by_role("button", name="Draw with each model alone").click()
    page.get_by_role("img", name="mini/fidelity alone").wait_for()
    page.get_by_role("img", name="mini/boxes alone").wait_for()
    assert path.is_file()


# -- gallery ---------------------------------------------------------------------------------------------------------------------


def test_a_picture_of_the_gallery_brings_everything_back_and_two_are_compared(tab: Tab) -> None:
    page = tab.page
    two_boxes(tab)
    page.get_by_label("Not in the picture").fill("snow")
    page.get_by_label("Seed", exact=True).fill("41")
    tab.draw()
    first = tab.done()
    drawn = tab.document()
    page.get_by_role("button", name="Delete a cat").click()
    page.get_by_label("Prompt").fill("a red car")
    page.get_by_label("Not in the picture").fill("")
    page.get_by_label("Seed", exact=True).fill("42")
    tab.draw()
    tab.page.locator("img.picture[alt*='a-red-car']").wait_for()
    tab.done()
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_role("button", name=f"Open {PETS}, seed 41").click()
    page.get_by_text("Back as it was drawn").wait_for()
    back = tab.document()
    for key in ("prompt", "negative", "seed", "steps"):
        assert back[key] == drawn[key], key
    assert {one["phrase"]: one["box"] for one in back["boxes"]} == {one["phrase"]: one["box"] for one in drawn["boxes"]}

    page.get_by_role("button", name=f"Choose {first.name} for comparing").click()
    page.get_by_role("button", name="for comparing").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    dialog = page.get_by_role("dialog", name="Compare")
    dialog.get_by_label("How much of the left picture is seen").fill("25")
    assert dialog.locator(".is-over").evaluate("image => getComputedStyle(image).clipPath").startswith("inset(0px 75%")
    dialog.get_by_role("button", name="Close").click()

    page.get_by_role("tab", name="Recipe").click()
    recipe = page.get_by_test_id("recipe")
    recipe.get_by_text('"a cat" = [').wait_for()
    page.get_by_role("button", name="Python").click()
    recipe.get_by_text("import realcompo").wait_for()
    page.get_by_role("button", name="Command line").click()
    recipe.get_by_text("realcompo").first.wait_for()
    with page.expect_download() as caught:
        page.get_by_role("link", name="PNG").click()
    assert Path(caught.value.path()).read_bytes() == first.read_bytes()


def dropped(tab: Tab, data: bytes, name: str) -> None:
    """A file from the desktop falls onto the page."""
    carried = tab.page.evaluate_handle(
        """([bytes, name]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([Uint8Array.from(bytes)], name, { type: 'image/png' }));
            return carried;
        }""",
        [list(data), name],
    )
    tab.page.dispatch_event(".app", "drop", {"dataTransfer": carried})


def test_a_png_that_is_dropped_brings_its_state(tab: Tab) -> None:
    page = tab.page
    two_boxes(tab)
    tab.draw()
    data, drawn = tab.done().read_bytes(), tab.boxes
    page.get_by_role("button", name="Delete a cat").click()
    page.get_by_role("button", name="Delete a red car").click()
    page.get_by_label("Prompt").fill("")
    dropped(tab, data, "mine.png")
    page.get_by_text("Everything of mine.png is back").wait_for()
    assert tab.boxes == drawn
    assert page.get_by_label("Prompt").input_value() == PETS
    tab.button("Undo").click()
    assert tab.boxes == {}


def test_a_file_that_is_none_of_ours_is_refused_beside_draw_and_changes_nothing(tab: Tab) -> None:
    two_boxes(tab)
    before = tab.document()
    for data, name in ((b"not a picture", "a.png"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "b.png")):
        dropped(tab, data, name)
        tab.page.locator(".draw-bar .notes").wait_for()
    assert tab.document() == before
    tab.complaints.clear()  # the browser writes each refusal to its console


# -- strangers -------------------------------------------------------------------------------------------------------------------


def test_a_strangers_branch_has_its_form_without_a_line_of_the_page(tab: Tab) -> None:
    """examples/realcompo-hello: chosen, told a guidance scale, drawn; a stranger's balancer has a field for each of its options."""
    page = tab.page
    page.get_by_label("Picture model").select_option("hello/fidelity")
    hello = page.get_by_label("hello/boxes")
    hello.wait_for()
    assert hello.is_checked(), "the page takes a layout model that fits"
    assert page.get_by_label("mini/boxes").is_disabled()
    page.locator(".spatial-branch", has=hello).locator("summary").click()
    page.locator(".spatial-branch", has=hello).get_by_label("guidance scale").fill("1.5")
    page.get_by_label("Who has the say at each point").select_option("hello-more/pulse")
    page.locator(".field", has=page.get_by_label("Who has the say at each point")).locator("summary").click()
    form = page.locator(".field", has=page.get_by_label("Who has the say at each point")).locator(".options")
    from realcompo_hello_more.options import PulseOptions

    for name in PulseOptions.model_fields:
        form.get_by_label(name.replace("_", " ")).wait_for()
    tab.box((0.1, 0.1), (0.5, 0.6), "a star")
    tab.steps(4)
    tab.draw()
    recipe = read_recipe(tab.done()).recipe
    assert [(one.name, one.guidance_scale) for one in recipe.branches] == [("hello/fidelity", 1.0), ("hello/boxes", 1.5)]
    assert recipe.balancer.name == "hello-more/pulse"


def test_what_does_not_compose_is_grey_and_says_why(tab: Tab) -> None:
    tab.page.get_by_text("do not fit mini/fidelity").click()
    row = tab.page.locator(".spatial-branch", has=tab.page.get_by_label("hello/boxes"))
    assert row.get_by_label("hello/boxes").is_disabled()
    assert "latent spaces differ" in row.inner_text()


# -- errors ----------------------------------------------------------------------------------------------------------------------


def test_an_error_of_every_kind_of_field_stands_beside_its_field(tab: Tab) -> None:
    """Typed nonsense, numbers out of range, options of branches and of the balancer, a thing without words: each note is in its field's own place,
    the field is marked, and all go when they are mended."""
    page = tab.page
    two_boxes(tab)

    def field(label: str) -> Any:
        return page.get_by_label(label, exact=True)

    def noted(where: Any, text: str) -> None:
        where.locator(".notes", has_text=text).first.wait_for()

    def place(label: str) -> Any:
        return page.locator(".field", has=field(label)).last

    for label, wrong, text in (
        ("Seed", "soon", "no number"),
        ("Steps", "0", "greater than or equal to 1"),
        ("Width", "77", "multiple"),
        ("Height", "9999999", "less than or equal to"),
    ):
        right = field(label).input_value()
        field(label).fill(wrong)
        noted(place(label), text)
        field(label).fill(right)
        place(label).locator(".notes").wait_for(state="detached")

    branch = page.locator(".spatial-branch", has=page.get_by_label("mini/boxes"))
    branch.locator("summary").click()
    for label, wrong, text in (
        ("guidance scale", "-1", "At least 0"),
        ("guidance scale", "much", "no number"),
        ("grounding share", "1.5", "At most 1"),
        ("map divisor", "1.5", "whole number"),
        ("base options", "{", "no JSON"),
        ("base options", "[1]", "dictionary"),
    ):
        control = branch.get_by_label(label, exact=True)
        option = branch.locator(".option", has=page.get_by_label(label, exact=True))
        control.fill(wrong)
        noted(option, text)
        control.fill("")
        branch.locator(".notes").first.wait_for(state="detached")

    balancer = page.locator(".field", has=page.get_by_label("Who has the say at each point"))
    balancer.locator("summary").click()
    balancer.get_by_label("plant", exact=True).fill("0.9")
    noted(balancer, "until")
    balancer.get_by_label("plant", exact=True).fill("")
    balancer.locator(".notes").wait_for(state="detached")

    words = page.get_by_label("Words of box 1")
    words.fill("")
    words.press("Enter")
    noted(page.locator(".thing").first, "without a phrase")
    assert words.get_attribute("aria-invalid") == "true"
    words.fill("a zebra")
    words.press("Enter")
    page.locator(".thing").first.locator(".notes").wait_for(state="detached")
    page.get_by_label("Prompt").fill("a red car")
    page.get_by_text("The prompt does not say “a zebra”").wait_for()

    page.get_by_label("Change the layout in words").fill("sing to the car")
    page.get_by_role("button", name="Change", exact=True).click()
    noted(page.locator(".plan"), "")
    tab.complaints.clear()  # the browser writes each refusal to its console
