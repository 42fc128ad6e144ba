"""Options of ControlNets, of UNets' and of transformers'; no torch here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .options import CheckpointOptions, TransformerOptions

Share = Annotated[float, Field(ge=0, le=1)]


class NetOptions(BaseModel):
    """One more ControlNet, which sees the same hint."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    source: str | None = Field(None, description="Hub id, folder or single file; none = the next ControlNet in the branch's own source.")
    revision: str | None = Field(None, description="Branch, tag or commit of its hub repository.")
    conditioning_scale: float = Field(1.0, ge=0, description="Its residuals are multiplied by this.")
    start: Share = Field(0.0, description="Share of the steps before which it does not act.")
    end: Share = Field(1.0, description="Share of the steps after which it does not act.")

    @model_validator(mode="after")
    def _order(self) -> NetOptions:
        _check_window(self.start, self.end)
        return self


class ControlOptions(CheckpointOptions):
    """The base, and how strongly and how long the hint acts."""

    base: str = Field(description="Id of the branch whose network the ControlNet steers.")
    base_source: str | None = Field(None, description="Hub id or folder of the base's checkpoint, in place of the base branch's own.")
    base_options: dict[str, Any] = Field(default_factory=dict, description="Options of the base branch (`realcompo show BASE`).")
    conditioning_scale: float = Field(1.0, ge=0, allow_inf_nan=False, description="The residuals are multiplied by this.")
    start: Share = Field(0.0, description="Share of the steps before which the hint does not act.")
    end: Share = Field(1.0, description="Share of the steps after which the hint does not act.")
    more: tuple[NetOptions, ...] = Field(
        (),
        max_length=8,
        description="Further ControlNets that see the same hint, each with source, revision, conditioning_scale, start and end; "
        "the residuals of all are added.",
    )
    hints: tuple[str, ...] = Field(
        (),
        description="Kinds of hint that the ControlNets were trained on ('canny', 'depth' …); others are refused. Left out: all are taken.",
    )
    stick_width: float = Field(
        4.0,
        gt=0,
        le=64,
        allow_inf_nan=False,
        description="Half the width of a drawn limb, and the radius of a point, in pixels of a picture whose shorter side is 512 (larger "
        "ones in proportion): what the pose ControlNet was trained on. Some of SDXL's saw thicker lines, such as 6.",
    )

    @model_validator(mode="after")
    def _order_of_acting(self) -> ControlOptions:
        _check_window(self.start, self.end)
        return self

    @property
    def first(self) -> NetOptions:
        """The branch's own ControlNet as one of several."""
        return NetOptions(conditioning_scale=self.conditioning_scale, start=self.start, end=self.end)


class TransformerControlOptions(ControlOptions, TransformerOptions):
    """What every transformer has, the base, and how strongly and how long the hint acts."""


def _check_window(start: float, end: float) -> None:
    if start >= end:
        raise ValueError(f"end {end} does not come after start {start}")
