"""Layouts as plain JSON, the one format that holds all of a layout. The models here are its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...arguments import MAX_SIDE
from ...conditions import Boxes
from ...errors import BadCondition
from .base import CANVAS, Layout

SCHEMA_FILE = Path(__file__).with_name("layout.schema.json")
_ROWS = re.compile(r"\[\n\s+[-\d.e+]+(?:,\n\s+[-\d.e+]+)*\n\s+\]")
MOST = 1000
"""Boxes of a picture."""

Share = Annotated[float, Field(ge=0, le=1)]
Place = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PlainObject(_Strict):
    """One object."""

    phrase: str = Field(pattern=r"\S", description="words of the prompt that the box holds")
    box: tuple[Share, Share, Share, Share] = Field(
        description="x0, y0, x1, y1 as shares of the picture's width and height, from the top left; x0 < x1, y0 < y1"
    )
    id: str = Field("", description="names the region; made from the phrase where it is missing")
    span: tuple[Place, Place] | None = Field(None, description="(start, end) characters of the prompt, where the phrase is not enough")


class PlainPicture(_Strict):
    """One picture."""

    prompt: str = Field(description="what to draw")
    objects: list[PlainObject] = Field(max_length=MOST, description="what stands where")
    negative_prompt: str = Field("", description="what not to draw")
    background: str = Field("", description="words for the scene without its things")
    width: int = Field(CANVAS[1], ge=1, le=MAX_SIDE, description="pixels")
    height: int = Field(CANVAS[0], ge=1, le=MAX_SIDE, description="pixels")
    seed: int | None = Field(None, ge=-(2**63), lt=2**64, description="of the picture")
    name: str | None = Field(None, description="file name without suffix")

    @model_validator(mode="after")
    def _check(self) -> PlainPicture:
        self.layout()  # boxes with area, ids that differ
        return self

    def layout(self) -> Layout:
        """Its layout.

        Raises:
            BadCondition: a box without area, or an id used twice.
        """
        items = Boxes([one.model_dump() for one in self.objects]).items
        size = (self.height, self.width)
        return Layout(self.prompt, items, self.negative_prompt, self.background, size, self.seed, self.name)


class PlainLayouts(_Strict):
    """A file of layouts. `realcompo import` makes a recipe of it, `realcompo export --to json` writes it."""

    json_schema: str | None = Field(None, alias="$schema", description="for editors")
    format: Literal["realcompo-layout"] = Field(description="what this file is")
    version: Literal[1] = Field(1, description="of the format")
    pictures: list[PlainPicture] = Field(description="one layout each")


def layout_schema() -> dict[str, Any]:
    """The JSON schema of layout files."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PlainLayouts.model_json_schema()}


def schema_text() -> str:
    """As it stands in layout.schema.json."""
    return json.dumps(layout_schema(), indent=2, ensure_ascii=False) + "\n"


def dump(layouts: Sequence[Layout]) -> tuple[str, list[str]]:
    """JSON of layouts; it loses nothing."""
    pictures = []
    for layout in layouts:
        own = layout.own_ids()
        objects = [
            {
                "phrase": item.phrase,
                "box": list(item.box),
                **({"id": item.id} if own else {}),
                **({"span": list(item.span)} if item.span is not None else {}),
            }
            for item in layout.items
        ]
        extras = {"negative_prompt": layout.negative_prompt, "background": layout.background, "seed": layout.seed, "name": layout.name}
        told = {key: value for key, value in extras.items() if value is not None and (value or key in ("seed", "name"))}
        pictures.append({"prompt": layout.prompt, **told, "width": layout.size[1], "height": layout.size[0], "objects": objects})
    data = {"format": "realcompo-layout", "version": 1, "pictures": pictures}
    return _short_rows(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)) + "\n", []


def load(data: Any, where: str) -> list[Layout]:
    """Layouts of plain data.

    Raises:
        BadCondition: not of the schema, or a box that cannot be drawn.
    """
    try:
        return [picture.layout() for picture in PlainLayouts.model_validate(data).pictures]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadCondition(
            f"{place}: {first['msg']}", where=where, mend="see the schema: realcompo show layout --schema; pictures hold prompt and objects"
        ) from None
    except BadCondition as error:
        raise BadCondition(error.what, where=f"{where}: {error.where}", mend=error.mend) from None


def _short_rows(text: str) -> str:
    """Lists of numbers on one line each. A line break inside a text is escaped in JSON, so none is met."""
    return _ROWS.sub(lambda found: " ".join(found.group().split()).replace("[ ", "[").replace(" ]", "]"), text)
