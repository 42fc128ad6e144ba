"""Options of the passing plugin."""

from pydantic import Field

from realcompo.specs import Options


class BranchOptions(Options):
    sharpness: float = Field(1.5, description="slope of the attention")
    words: tuple[str, ...] = Field(("a", "the"), description="words that say nothing")
    seed: int = Field(0, description="of the random weights")


class StepOptions(Options):
    warmup: float = Field(0.3, ge=0, le=1, description="share of the steps that the spatial branches take alone")
    rate: float = Field(5.0, description="of a gradient step")
