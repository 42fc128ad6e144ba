"""Draws the pictures of docs/studio.md: ``python plugins/realcompo-studio/tools/screenshots.py [STATE …]``. Minutes on two cores.

Each state is arrived at as a person would; pictures are drawn by the embedded family. 1280×800; 256 colours where all are too many.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / "browser")]

from driver import Tab  # noqa: E402
from PIL import Image  # noqa: E402
from studio_client import serving  # noqa: E402

from realcompo.registry import installed  # noqa: E402

FOLDER = ROOT / "docs" / "studio"
LARGEST = 250_000
"""Bytes of a picture."""


def three_things(tab: Tab) -> None:
    tab.box((0.06, 0.45), (0.46, 0.87), "a cat")
    tab.box((0.52, 0.62), (0.96, 0.92), "a blue car")
    tab.box((0.6, 0.08), (0.9, 0.5), "a red balloon")
    tab.page.get_by_label("Prompt", exact=True).fill("a cat, a blue car and a red balloon on grass")


def layout(tab: Tab) -> None:
    """Three things have their places."""
    three_things(tab)
    tab.page.mouse.move(*tab.at((0.3, 0.7)))


def growing(tab: Tab) -> None:
    """In the midst of the run, which is long enough to be met there on any machine."""
    three_things(tab)
    tab.steps(80)
    tab.draw()
    tab.page.locator("[data-testid=status]", has_text="Step 26").wait_for()
    tab.page.locator(".tile").nth(3).wait_for()


def inside(tab: Tab) -> None:
    """Why each thing stands where it does."""
    three_things(tab)
    tab.draw()
    tab.done()
    tab.page.get_by_label("Step", exact=True).fill("8")
    tab.page.get_by_role("button", name="a cat", exact=False).filter(has_text="inside").click()
    tab.page.get_by_role("img", name="Attention to a cat").wait_for()
    tab.page.locator(".panel-body").evaluate("body => { body.scrollTop = 330; }")
    tab.page.mouse.move(640, 770)


def poses(tab: Tab) -> None:
    """Two people as they were drawn."""
    page = tab.page
    tab.canvas("Poses")
    for pose, phrase, x in (("waving", "a red person", -0.22), ("arms raised", "a blue person", 0.24)):
        page.get_by_label("Add a person in a pose").select_option(pose)
        page.get_by_label("Who is this?").fill(phrase)
        page.keyboard.press("Enter")
        tab.drag((0.5, 0.55) if x < 0 else (0.25, 0.55), (0.5 + x, 0.55))
    page.get_by_label("Prompt", exact=True).fill("a red person and a blue person on snow")
    page.get_by_label(re.compile(r"mini/boxes(?!-)")).uncheck()
    tab.steps(12)
    tab.draw()
    tab.done()


def paint(tab: Tab) -> None:
    """A painted map, in dark."""
    page = tab.page
    page.get_by_label("Prompt", exact=True).fill("a house and a red car on grass")
    tab.canvas("Paint")
    page.get_by_label("Class to paint").select_option("grass")
    tab.button("Fill what is connected").click()
    tab.click((0.5, 0.5))
    tab.button("Polygon: click corners, close at the first or with Enter").click()
    for name, corners in (
        ("house", ((0.08, 0.7), (0.08, 0.38), (0.28, 0.18), (0.48, 0.38), (0.48, 0.7))),
        ("car", ((0.54, 0.86), (0.54, 0.72), (0.62, 0.7), (0.67, 0.6), (0.84, 0.6), (0.88, 0.7), (0.96, 0.72), (0.96, 0.86))),
    ):
        page.get_by_label("Class to paint").select_option(name)
        for corner in (*corners, corners[0]):
            tab.click(corner)
    page.get_by_role("tab", name="Recipe").click()
    page.get_by_test_id("recipe").get_by_text("house").first.wait_for()


def gallery(tab: Tab) -> None:
    """What was drawn, two pictures compared."""
    page = tab.page
    three_things(tab)
    tab.steps(12)
    before = tab.studio.get("/api/pictures").json["total"]
    for count, seed in enumerate(("3", "11"), start=1):
        page.get_by_label("Seed", exact=True).fill(seed)
        tab.draw()
        while tab.studio.get("/api/pictures").json["total"] < before + count:
            page.wait_for_timeout(200)
        tab.done()
    page.get_by_role("tab", name="Gallery").click()
    for _ in range(2):
        page.get_by_role("button", name="Choose").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_label("How much of the left picture is seen").fill("50")


STATES: dict[str, tuple[Callable[[Tab], None], str]] = {
    "layout": (layout, "light"),
    "growing": (growing, "light"),
    "inside": (inside, "dark"),
    "poses": (poses, "light"),
    "paint": (paint, "dark"),
    "gallery": (gallery, "light"),
}


def taken(tab: Tab) -> bytes:
    """The page as a small PNG."""
    tab.page.wait_for_timeout(200 if tab.button("Cancel").is_visible() else 1500)
    whole = Image.open(io.BytesIO(tab.page.screenshot(animations="disabled"))).convert("RGB")
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    for most in (256, 160, 96):
        if stream.tell() <= LARGEST:
            break
        stream = io.BytesIO()
        colours = whole.quantize(most, kmeans=3)
        whole.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main(names: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        sync_playwright() as playwright,
        serving(Path(place) / "studio", registry=installed(), warm=True) as studio,
    ):
        import shutil

        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names or list(STATES):
            arrive, paper = STATES[name]
            with Tab.opened(browser, studio, color_scheme=paper) as tab:
                tab.page.set_default_timeout(900_000)
                arrive(tab)
                (FOLDER / f"{name}.png").write_bytes(taken(tab))
                if tab.button("Cancel").is_visible():
                    tab.button("Cancel").click()
                print(name, (FOLDER / f"{name}.png").stat().st_size, *tab.complaints)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
