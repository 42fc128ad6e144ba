"""One picture of a recipe: what differs from picture to picture, and its conditions as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ..arguments import MAX_SIDE, SEEDS
from ..conditions import KINDS, Condition
from ..errors import BadOption, BadRecipe, UnknownName, nearest
from .copies import PictureCopy
from .parts import Part, Real, Whole

MAX_FEATHER = 1024
"""Pixels of a mask's edge."""

PICTURES: tuple[tuple[Literal["image", "mask_image"], Literal["RGB", "L"]], ...] = (("image", "RGB"), ("mask_image", "L"))
"""Fields of a picture that are pictures themselves, and their modes."""


class PictureEntry(Part):
    """One picture of a recipe: what differs from picture to picture."""

    prompt: str = Field(description="what to draw")
    negative_prompt: str = Field("", description="what not to draw")
    seed: Whole | None = Field(
        None, ge=SEEDS[0], le=SEEDS[1], description="of this picture's own generator; made from the picture itself where it is missing"
    )
    name: str | None = Field(None, description="file name without suffix; made from the prompt where it is missing")
    conditions: dict[str, Condition] = Field(
        default_factory=dict,
        description="kind of condition, or name of a branch → condition; planned where it is missing",
    )
    image: PictureCopy | None = Field(None, description="a picture to begin with; in a recipe file, the name of a file beside it")
    strength: Real | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the steps that are drawn over the picture: 1 all; 0.8 where it is missing, 1 with a mask",
    )
    mask_image: PictureCopy | None = Field(
        None, description="of the picture's size: what is white is drawn anew, what is black stays to the bit"
    )
    mask_feather: Whole | None = Field(
        None, ge=0, le=MAX_FEATHER, description="pixels inside the mask over which the new fades in from its edge; 4 where it is missing"
    )
    padding_mask_crop: Whole | None = Field(
        None, ge=0, le=MAX_SIDE, description="draw only the mask's surroundings, with so many pixels around it, at the full size"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_pictures(cls, value: Any) -> Any:
        """Pictures in memory as copies. A text is none: a path that a recipe holds is not followed here."""
        if not isinstance(value, Mapping):
            return value
        made = {}
        for name, mode in PICTURES:
            if isinstance(value.get(name), str):
                raise BadRecipe(
                    f"{name} is a text",
                    where=name,
                    mend=f"{name} = 'file.png' stands in a recipe file; in Python a pathlib.Path",
                )
            if value.get(name) is not None and not isinstance(value[name], Mapping):
                made[name] = PictureCopy.of(value[name], mode, name)
        return {**value, **made} if made else value

    @model_validator(mode="after")
    def _check_pictures(self) -> PictureEntry:
        """What goes with what.

        Raises:
            BadOption: a strength, a mask or its settings without what they are for; a mask of another size.
        """
        if self.image is None:
            for name in ("strength", "mask_image"):
                if getattr(self, name) is not None:
                    raise BadOption(f"{name} without an image", where=name, mend="give image, the picture to begin with")
        if self.mask_image is None:
            for name in ("mask_feather", "padding_mask_crop"):
                if getattr(self, name) is not None:
                    raise BadOption(f"{name} without a mask", where=name, mend="give mask_image: white where the picture is drawn anew")
        elif self.image is not None and self.mask_image.size != self.image.size:
            wide, high = self.mask_image.size
            raise BadOption(
                f"the mask is {wide}×{high} pixels, the image {self.image.size[0]}×{self.image.size[1]}",
                where="mask_image",
                mend="draw the mask on the image itself: a pixel for a pixel",
            )
        return self

    @field_validator("conditions", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {key: read_condition(key, data) for key, data in value.items()} if isinstance(value, Mapping) else value

    @property
    def beginning(self) -> tuple[object, ...]:
        """What the pictures of one batch must share: whether they begin with an image, at which strength, and whether with a mask."""
        return self.image is not None, self.mask_image is not None, self.strength

    def model_dump_plain(self) -> dict[str, Any]:
        """Plain data that `PictureEntry` reads back equal."""
        data = self.model_dump(mode="json", exclude_none=True, exclude={"conditions"}, fallback=repr)
        data["conditions"] = {key: dump_condition(condition) for key, condition in self.conditions.items()}
        return data


def read_condition(key: str, data: Any) -> Condition:
    """A condition from plain data. Its kind is its ``kind``, or the key it stands under; boxes: a list or a phrase → box table."""
    if isinstance(data, Condition):
        return data
    kind = data.get("kind", key) if isinstance(data, Mapping) else key
    if not isinstance(kind, str) or kind not in KINDS:
        mend = nearest(str(kind), KINDS)
        if isinstance(data, (list, tuple)) and len(data) == 4:  # phrase → box, without the kind
            mend = f"boxes stand under their kind: rc.Boxes({{{kind!r}: …}}), or boxes = {{ … }} in a recipe; {mend}"
        raise UnknownName(f"no kind of condition is called {kind!r}", where="conditions", mend=mend)
    cls: Any = KINDS[kind]
    if isinstance(data, Mapping):
        data = {name: value for name, value in data.items() if name != "kind"}
        if set(data) == {"items"}:
            data = data["items"]
    try:
        condition: Condition = cls(data)
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise BadRecipe(
            f"cannot read {kind}: {error}",
            where="conditions",
            mend=cls.form,
        ) from error
    return condition


def dump_condition(condition: Condition) -> dict[str, Any]:
    """Plain data with its kind."""
    return {"kind": condition.kind, **condition.model_dump(mode="json", exclude_none=True)}
