"""A result as notebooks show it: its pictures, the layout drawn on each, the curves of its run. No notebook is needed.

Notebooks ask an object for ``_repr_html_`` and ``_repr_png_`` (IPython's rich display); `Result` has both and hands the work to this
module. `Live` shows a run while it draws, in one place of the page that is written over after each step.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from .charts import loss_chart
from .drawing import enlarge
from .overlays import draw_layout

if TYPE_CHECKING:
    from ..interfaces import Step
    from .result import Result

MOST = 16
"""Pictures of a batch that are shown."""
SIDE = 256
"""Pixels of the shorter side of a picture on the page, at least: small ones are enlarged."""
_CARD = "display:inline-block;vertical-align:top;margin:0 12px 12px 0;font:13px system-ui,sans-serif"


def png(image: Image.Image) -> bytes:
    """An image as a PNG; a picture of ours keeps its recipe in it."""
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def html(result: Result) -> str | None:
    """A batch on a page: of each picture itself, its layout, its words; then the curves of the first. None where the run gave tensors."""
    pictures = [image for image in result.images if isinstance(image, Image.Image)]
    if not pictures:
        return None
    cards = [_card(result, index) for index in range(min(len(pictures), MOST))]
    left = len(pictures) - len(cards)
    if left > 0:
        cards.append(f"<p>… and {left} more</p>")
    chart = loss_chart(result.trace, 0) if result.trace.entries else None
    if chart is not None:
        cards.append(f"<div>{_img(chart, 'loss and gradients over the steps')}</div>")
    told = "".join(f"<li>{escape(remark)}</li>" for remark in result.remarks)
    return f'<div class="realcompo-result">{"".join(cards)}{f"<ul>{told}</ul>" if told else ""}</div>'


def _card(result: Result, index: int) -> str:
    image, regions = result.images[index], result.batch_regions.pictures[index]
    entry = result.recipe.pictures[index] if index < len(result.recipe.pictures) else None
    words = "" if entry is None else f"{escape(entry.prompt)}<br><small>seed {entry.seed}, {image.width}×{image.height}</small>"
    shown = [_img(image, entry.prompt if entry is not None else "picture", data=png(image))]
    if regions:
        drawn = draw_layout(enlarge(image, least=SIDE), regions)
        shown.append(_img(drawn, "its layout: " + ", ".join(region.phrase for region in regions)))
    return f'<div style="{_CARD}">{" ".join(shown)}<br>{words}</div>'


def _img(image: Image.Image, what: str, data: bytes | None = None) -> str:
    """An image of the page, in its text: nothing is fetched."""
    told = base64.b64encode(png(image) if data is None else data).decode()
    grow = max(1, -(-SIDE // min(image.size)))
    size = f'width="{image.width * grow}" height="{image.height * grow}"'
    return f'<img alt="{escape(what, quote=True)}" {size} src="data:image/png;base64,{told}">'


class Live:
    """A progress function that shows a run in a notebook: ``rc.generate(prompt, progress=Live())``.

    What the run expects is shown after each step in one place, and taken away at the end, when the notebook shows the result.

    Args:
        every: show every so many steps.
        show: how a place of the page is made: called with HTML the first time, it returns a function that takes the HTML that follows.
            IPython's display by default.
    """

    def __init__(self, every: int = 1, show: Callable[[str], Callable[[str], Any]] | None = None) -> None:
        self.every, self._show = max(1, every), show or _ipython
        self._update: Callable[[str], Any] | None = None

    def __call__(self, step: Step, event: Any) -> None:
        """After a denoising step."""
        last = step.index + 1 == step.count
        if step.index % self.every and not last:
            return
        text = "" if last else self._page(step, event.preview())
        if self._update is None:
            self._update = self._show(text)
        else:
            self._update(text)
        if last:
            self._update = None

    def _page(self, step: Step, previews: Sequence[Image.Image]) -> str:
        shown = " ".join(_img(image, f"what step {step.index + 1} expects") for image in previews[:MOST])
        return f'<div class="realcompo-live">{shown}<br>step {step.index + 1} of {step.count}</div>'


def _ipython(text: str) -> Callable[[str], Any]:
    """A place on the page of IPython's; its display is looked for only when something is shown.

    Raises:
        ImportError: there is no IPython.
    """
    from IPython.display import HTML, display  # a notebook brings it

    handle = display(HTML(text), display_id=True)
    return lambda told: handle.update(HTML(told))
