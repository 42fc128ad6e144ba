"""Options of the core's own balancers and transfers. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..specs import Options

Share = Annotated[float, Field(ge=0, le=1)]
Run = tuple[Share, Share]
"""A weight at the first and at the last balanced step, linear between them."""


class BalanceOptions(Options):
    """See ALGORITHM: ξ = softmax(Coe + log π), Coe ← Coe − ρ ∂L/∂Coe."""

    warmup: Share = Field(0.3, description="share of the steps at the start in which the spatial branches act alone")
    finish: Share = Field(1.0, description="share of the steps after which the fidelity branch acts alone; 1 = never")
    inside: Run | None = Field(
        None,
        description="prior weight of the spatial branches inside the regions, (first, last) balanced step; none = equal weights",
    )
    outside: Run | None = Field(
        None,
        description="prior weight of the spatial branches outside the regions, (first, last) balanced step; none = as inside",
    )
    rule: Literal["scale-free", "running", "published"] = Field(
        "scale-free",
        description="how a gradient becomes an update: scale-free divides by its root mean square over branches and pixels of one "
        "picture; running by the largest such value so far; published takes rate·√(1 → ½) times the raw gradient",
    )
    rate: float = Field(0.1, description="update rate ρ; negative only as a control")
    floor: float = Field(
        1e-9,
        gt=0,
        description="least root mean square that is divided by, so that a zero gradient stays zero",
    )
    smoothing: float = Field(
        1.0,
        ge=0,
        description="standard deviation of a Gaussian blur of the gradient, in latent pixels; 0 = none",
    )
    initial: Literal["zero", "independent"] = Field(
        "zero",
        description="Coe before the first step: zero (the same as the paper's equal draws), or independent draws from N(0, 1)",
    )

    @model_validator(mode="after")
    def _phases(self) -> BalanceOptions:
        if self.warmup > self.finish:
            raise ValueError(f"finish {self.finish} comes before warmup {self.warmup} ends")
        return self


class GuidedOptions(Options):
    """See guided.py."""

    plant: Share = Field(0.3, description="share of the steps at the start in which the spatial branches act alone")
    hold: Share = Field(
        0.6,
        description="the same for branches whose condition says more than boxes do (poses, maps): a loss over rectangles does not hold it",
    )
    until: Share = Field(0.5, description="share of the steps after which z is moved no more and the fidelity branch draws freely")
    moves: int = Field(
        12,
        ge=0,
        le=1000,
        description="moves of z in the whole run at most, spread over the steps between plant and until; 0 = a plain hand-over",
    )
    length: float = Field(0.03, ge=-1, le=1, description="of one move, as a share of the noise in z; negative only as a control")
    threshold: float = Field(0.2, ge=0, le=1, description="mean loss a region below which a picture is left alone")
    every: int = Field(1, ge=1, description="moves fall to every k-th of those steps: those of k steps at the first of them")
    lagged: bool = Field(
        False,
        description="move down the slope that the fidelity branch's own prediction left at the step before, all moves of a step at once: "
        "no pass of their own, only the way back of one that runs anyway",
    )
    stop: bool = Field(False, description="a picture that was left alone once is asked no more: its regions stand")

    @model_validator(mode="after")
    def _phases(self) -> GuidedOptions:
        if self.plant > self.until:
            raise ValueError(f"until {self.until} comes before plant {self.plant} ends")
        return self


class FeedbackOptions(Options):
    """See feedback.py: λ is the placement loss of a picture's worst region, over what it is where attention lies evenly over the
    picture."""

    plant: Run = Field(
        (0.3, 0.3),
        description="(least, most) share of the steps at the start in which the spatial branches act alone: between them, until regions "
        "stand by their own maps",
    )
    hold: Share = Field(0.6, description="the same for branches whose condition says more than boxes do (poses, maps), whatever is seen")
    until: Share = Field(
        0.5, description="share of the steps after which z is moved no more, whatever is seen, and the fidelity branch draws freely"
    )
    moves: int = Field(
        16,
        ge=0,
        le=1000,
        description="moves of z in the whole run at most, spread over the steps from a picture's first after planting to `until`: a "
        "picture that stands before makes fewer",
    )
    length: float = Field(0.03, ge=-1, le=1, description="of one move, as a share of the noise in z; negative only as a control")
    stands: tuple[Share, Share] = Field(
        (0.8, 0.8),
        description="λ at which regions stand, (planting by the spatial branches' maps, moving by the fidelity branch's); 0 = never",
    )
    still: float | None = Field(
        0.0,
        ge=0,
        le=1,
        description="a phase also ends at a step that takes away no more than this share of λ: what no longer falls; none = not asked",
    )

    @model_validator(mode="after")
    def _phases(self) -> FeedbackOptions:
        if self.plant[0] > self.plant[1]:
            raise ValueError(f"plant {self.plant} has its least share after its most")
        if self.plant[1] > self.until:
            raise ValueError(f"until {self.until} comes before plant {self.plant[1]} ends")
        return self


class FixedOptions(Options):
    """One weight."""

    spatial: Share = Field(0.5, description="weight of the spatial branches together; 0 or 1 leaves the others out of the run")


class MeanOptions(Options):
    """Equal weights."""

    warmup: Share = Field(0.0, description="share of the steps at the start in which the spatial branches act alone")


class HandOverOptions(Options):
    """When."""

    share: Share = Field(0.5, description="share of the steps that the spatial branches take before they hand over")


class SwitchOptions(Options):
    """At which level."""

    sigma: float = Field(
        2.0,
        ge=0,
        description="noise over signal √((1 − ᾱ)/ᾱ): the spatial branches draw the steps above it, the fidelity branch those below",
    )


class DivisionOptions(Options):
    """See division.py."""

    fairness: Literal["proportional", "none"] = Field(
        "proportional", description="proportional: every branch gets at least 1/K of what it would get alone; none: whoever gains most"
    )
    smoothing: float = Field(
        4.096,
        gt=0,
        description="β of the divergence from the division of the step before, times the latent pixels: 4.096 is the paper's 0.001 at "
        "64 × 64",
    )
    fictitious: bool = Field(
        True, description="one more player, who wants every pixel alike and draws the mean of all: it takes what nobody asks for"
    )


class KeypointTransferOptions(Options):
    """From a pose to a region."""

    margin: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how much wider than the points the rectangle is at each side, as a share of it; 0, the paper's, cuts hair and soles",
    )
    least: float = Field(
        0.02, gt=0, le=1, description="the least width and height, as a share of the picture's: one point alone has no area"
    )


class SegmentTransferOptions(Options):
    """From a segment to a region."""

    shape: Literal["rectangle", "exact"] = Field(
        "rectangle", description="the min/max rectangle of a segment, as in the paper, or exactly its pixels"
    )


class LatentOptions(Options):
    """How latents are interpolated."""

    mode: Literal["bilinear", "bicubic", "nearest-exact"] = Field("bicubic", description="between latent pixels")
