"""What a person does on the page, in the words of a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from studio_client import Client

PATIENCE = 180_000
"""Milliseconds until a test gives up: for busy machines; nothing is asserted of it."""
Share = tuple[float, float]
PETS = "a cat and a red car"


def expect(what: Any) -> Any:
    """Playwright's assertions, which wait for what they assert; imported here, so that tests are collected where no browser is."""
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=PATIENCE)
    return waiting(what)


@dataclass
class Tab:
    """One tab of the browser."""

    page: Any
    studio: Client
    complaints: list[str] = field(default_factory=list)
    shown: str | None = None
    """Name of the picture on the stage when Draw was pressed: what `done` waits for is another one."""

    @classmethod
    @contextmanager
    def opened(cls, browser: Any, studio: Client, *, context: Any = None, **options: Any) -> Iterator[Tab]:
        """A tab in a browser profile of its own, or in `context` beside another tab."""
        own = context or browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        page = own.new_page()
        page.set_default_timeout(PATIENCE)
        tab = cls(page, studio)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        page.on("console", lambda line: tab.complaints.append(line.text) if line.type == "error" and "404" not in line.text else None)
        page.goto(f"http://127.0.0.1:{studio.port}/?token={studio.token}")
        tab.settled()
        try:
            yield tab
        finally:
            page.close()
            if context is None:
                own.close()

    def settled(self) -> None:
        """Until the server has looked at all components, and the page knows."""
        self.page.get_by_text("do not fit").wait_for()

    # -- the canvas ------------------------------------------------------------------------------------------------------------

    @property
    def stage(self) -> dict[str, float]:
        """Where the stage is, in pixels of the page."""
        found: dict[str, float] = self.page.get_by_test_id("stage").bounding_box()
        return found

    def at(self, share: Share) -> Share:
        """A share of the picture as a place on the page."""
        stage = self.stage
        return stage["x"] + share[0] * stage["width"], stage["y"] + share[1] * stage["height"]

    def drag(self, start: Share, end: Share) -> None:
        """With the mouse, in a few moves, as hands do."""
        (x0, y0), (x1, y1) = self.at(start), self.at(end)
        mouse = self.page.mouse
        mouse.move(x0, y0)
        mouse.down()
        for part in (0.3, 0.7, 1.0):
            mouse.move(x0 + part * (x1 - x0), y0 + part * (y1 - y0))
        mouse.up()

    def click(self, share: Share) -> None:
        self.page.mouse.click(*self.at(share))

    def box(self, start: Share, end: Share, phrase: str) -> None:
        """Draw a box and name it."""
        self.drag(start, end)
        self.page.get_by_label("What is here?").fill(phrase)
        self.page.keyboard.press("Enter")
        self.page.locator(".naming").wait_for(state="detached")
        self.page.get_by_role("button", name=f"{phrase}, from").last.wait_for()

    def two_boxes(self, steps: int = 4) -> None:
        """A layout that most tests begin with; its prompt is `PETS`."""
        self.box((0.06, 0.42), (0.46, 0.9), "a cat")
        self.box((0.56, 0.5), (0.94, 0.88), "a red car")
        self.steps(steps)

    def canvas(self, name: str) -> None:
        """Boxes, Poses or Paint."""
        self.page.get_by_role("group", name="What is drawn on the canvas").get_by_role("button", name=name).click()

    def person(self, pose: str, phrase: str) -> None:
        """Add somebody and say who it is. The next question is another form, so this one has to be gone."""
        self.page.get_by_label("Add a person in a pose").select_option(pose)
        self.page.get_by_label("Who is this?").fill(phrase)
        self.page.keyboard.press("Enter")
        self.page.locator(".naming").wait_for(state="detached")

    def sideways(self) -> int:
        """Pixels by which the page is wider than its window: it would scroll sideways."""
        wider: int = self.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        return wider

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    # -- what the page holds ---------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What decides the picture, as the tab keeps it over a reload. The page writes it a moment after a change, and when it is left."""
        self.page.evaluate("() => window.dispatchEvent(new Event('pagehide'))")
        found: dict[str, Any] = json.loads(self.page.evaluate("() => sessionStorage.getItem('realcompo-studio')"))["document"]
        return found

    @property
    def boxes(self) -> dict[str, list[float]]:
        """Phrase → box."""
        return {one["phrase"]: one["box"] for one in self.document()["boxes"]}

    # -- drawing -----------------------------------------------------------------------------------------------------------------

    def steps(self, count: int) -> None:
        self.page.get_by_label("Steps", exact=True).fill(str(count))

    def draw(self) -> None:
        earlier = self.page.locator("img.picture[src$='/image']")
        self.shown = earlier.get_attribute("alt") if earlier.count() else None
        self.button("Draw").click()

    def status(self, text: str) -> None:
        """Until the line beside Draw says so."""
        self.page.get_by_test_id("status").get_by_text(text).wait_for()

    def watch_the_stage(self) -> None:
        """From now on, what is shown on the stage is written down, and where the stage is when it is shown."""
        self.page.evaluate(
            """() => {
                window.seen = [];
                const stage = document.querySelector('.stage');
                const look = () => {
                    const image = stage.querySelector('img.picture');
                    const frame = stage.getBoundingClientRect();
                    const place = [frame.x, frame.y, frame.width, frame.height];
                    if (image && image.src !== window.seen.at(-1)?.[0]) window.seen.push([image.src, place]);
                };
                new MutationObserver(look).observe(stage, { subtree: true, childList: true, attributes: true });
            }"""
        )

    def heat(self, name: str, drawn: str) -> np.ndarray:
        """The colours (height, width, 3) of the map of that name over the picture, once `drawn`, an expression over its `pixels`, holds.

        A canvas is there a moment before its maps are, which come from the server, and so empty or with the colours of the map before.
        """
        found = self.page.wait_for_function(
            f"""(name) => {{
                const canvas = [...document.querySelectorAll('.stage > canvas.heat')].find((one) => one.ariaLabel === name);
                if (!canvas) return null;
                const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                return {drawn} ? [canvas.height, canvas.width, ...pixels] : null;
            }}""",
            arg=name,
        ).json_value()
        return np.array(found[2:], dtype=np.uint8).reshape(found[0], found[1], 4)[..., :3]

    def seen_on_the_stage(self) -> list[tuple[str, list[float]]]:
        """(address of a picture, (x, y, width, height) of the stage), in the order of showing."""
        return [(address, place) for address, place in self.page.evaluate("() => window.seen")]

    def done(self) -> Path:
        """Until the picture that Draw was pressed for is there, not the one before it; its file."""
        self.page.wait_for_function(
            """shown => {
                const image = document.querySelector("img.picture[src$='/image']");
                return image && image.alt.startsWith("Picture: ") && image.alt !== shown;
            }""",
            arg=self.shown,
        )
        self.status("Done")
        return self.file(self.page.get_by_test_id("picture").get_attribute("alt").removeprefix("Picture: "))

    def file(self, name: str) -> Path:
        assert self.studio.studio is not None
        path: Path = self.studio.studio.settings.folder / name
        assert path.is_file(), name
        return path
