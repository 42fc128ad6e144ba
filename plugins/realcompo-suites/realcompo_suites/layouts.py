"""A suite of the user's own: a file of layouts."""

from __future__ import annotations

from realcompo.conditions import Boxes
from realcompo.errors import BadOption
from realcompo.files import file_name
from realcompo.interfaces import Case, Suite
from realcompo.plans.layouts import picture_of, read_layouts
from realcompo_suites.files import named
from realcompo_suites.options import LayoutOptions

FIRST_SEED = 42


class LayoutFile(Suite):
    """Each layout of a file, with so many noises."""

    options: LayoutOptions

    def cases(self, seed: int | None = None) -> list[Case]:
        path = named(self.options.file, "file", "file of layouts")
        found: list[Case] = []
        taken: set[str] = set()
        for layout in read_layouts(path):
            picture, _ = picture_of(layout)
            name = base = file_name(layout.name or picture.prompt)
            count = 1
            while name in taken:
                count += 1
                name = f"{base}-{count}"
            taken.add(name)
            boxes = picture.conditions["boxes"]
            objects = [{"phrase": item.phrase, "box": list(item.box)} for item in boxes.items] if isinstance(boxes, Boxes) else []
            for noise in range(self.options.images):
                found.append(
                    Case(
                        id=f"{name}-{noise}",
                        prompt=picture.prompt,
                        negative_prompt=picture.negative_prompt,
                        seed=(FIRST_SEED if seed is None else seed) + noise,
                        scene=name,
                        conditions=picture.conditions,
                        truth={"objects": objects},
                    )
                )
        if not found:
            raise BadOption("it holds no layouts", where=str(path), mend="is it the right file?")
        return found
