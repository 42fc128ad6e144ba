"""A layout: a sentence and its boxes, apart from the models that draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...conditions import Boxes, BoxItem, Size
from ...conditions.base import with_ids
from ...errors import BadCondition
from ...recipes.recipe import PictureEntry

CANVAS: Size = (512, 512)
"""(height, width) in pixels where nothing is said."""


@dataclass(frozen=True)
class Layout:
    """What the formats hold, each as far as it can.

    Attributes:
        prompt: the sentence; empty where a file has none.
        items: boxes with phrases, in shares of the picture.
        negative_prompt: what must not be seen.
        background: words for the scene without its things; beside the prompt, not part of it.
        size: (height, width) in pixels.
        seed, name: of the picture.
        remarks: what was put right when it was read.
    """

    prompt: str
    items: tuple[BoxItem, ...]
    negative_prompt: str = ""
    background: str = ""
    size: Size = CANVAS
    seed: int | None = None
    name: str | None = None
    remarks: tuple[str, ...] = ()

    def own_ids(self) -> bool:
        """Whether its boxes have ids other than those that are made from the phrases."""
        made = with_ids([item.model_copy(update={"id": ""}) for item in self.items], "box")
        return tuple(item.id for item in made) != tuple(item.id for item in self.items)


def layout_of(picture: PictureEntry, size: Size = CANVAS) -> tuple[Layout, list[str]]:
    """The layout of a recipe's picture, and what no layout file holds of it.

    Raises:
        BadCondition: the picture has no boxes.
    """
    boxes = {key: one for key, one in picture.conditions.items() if isinstance(one, Boxes)}
    others = [key for key in picture.conditions if key not in boxes]
    where = f"picture {picture.name or picture.prompt!r}"
    if not boxes:
        held = f"it holds {', '.join(others)}" if others else "plan it first: realcompo plan"
        raise BadCondition("it has no boxes to export", where=where, mend=f"{held}; layout files hold boxes")
    key = "boxes" if "boxes" in boxes else next(iter(boxes))
    lost = [f"{where}: {other} (layout files hold boxes only)" for other in others]
    lost += [f"{where}: the boxes told to {other!r} alone" for other in boxes if other != key]
    return (
        Layout(
            prompt=picture.prompt,
            items=boxes[key].items,
            negative_prompt=picture.negative_prompt,
            size=size,
            seed=picture.seed,
            name=picture.name,
        ),
        lost,
    )


def picture_of(layout: Layout, prompt: str | None = None, use: Sequence[str] = ()) -> tuple[PictureEntry, list[str]]:
    """The layout as a picture of a recipe, and what the user should know.

    Args:
        prompt: in place of the layout's own.
        use: "background": put its background after the prompt.
    """
    remarks = list(layout.remarks)
    words = prompt or layout.prompt
    if not words.strip():
        words = ", ".join(dict.fromkeys(item.phrase for item in layout.items))
        remarks.append(f"the file holds no prompt; it is made of the phrases: {words!r} (say another with --prompt)")
    elif words != layout.prompt:
        spanned = any(item.span is not None for item in layout.items)
        layout = _without_spans(layout)
        remarks += ["spans of the phrases counted characters of another prompt: they are left out"] if spanned else []
    absent = [item.phrase for item in layout.items if item.span is None and item.phrase.lower() not in words.lower()]
    if absent:
        told = ", ".join(map(repr, dict.fromkeys(absent)))
        remarks.append(f"not in the prompt, word for word: {told} (realcompo check says what is read instead)")
    if layout.background and "background" not in use:
        remarks.append(f"the background {layout.background!r} is not part of the prompt (add it with --use background)")
    elif layout.background:
        words = f"{words}, {layout.background}"
    return (
        PictureEntry(
            prompt=words,
            negative_prompt=layout.negative_prompt,
            seed=layout.seed,
            name=layout.name,
            conditions={"boxes": Boxes(list(layout.items))},
        ),
        remarks,
    )


def _without_spans(layout: Layout) -> Layout:
    from dataclasses import replace

    return replace(layout, items=tuple(item.model_copy(update={"span": None}) for item in layout.items))
