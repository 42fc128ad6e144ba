"""What a plugin declares: data only, with string targets, so that declaring a plugin imports no torch.

A target is written ``"package.module:Class"`` and imported on first use (see registry.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from .errors import Incompatible
from .processes import FlowSchedule as FlowSchedule
from .processes import NoiseSchedule as NoiseSchedule
from .processes import PredictionType as PredictionType
from .processes import Schedule as Schedule
from .processes import SigmaSchedule as SigmaSchedule

API_VERSION = 1
"""The plugin API that this host speaks. A plugin module states the one it was written for as ``REALCOMPO_API``."""

Role = Literal["fidelity", "spatial"]


class Options(BaseModel):
    """Base of every component's options: unknown names are errors; give each field a ``description``."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class NoOptions(Options):
    """For components that have nothing to choose."""


@dataclass(frozen=True)
class LatentSpace:
    """The space that a branch denoises in. Two branches compose only where these are equal.

    Attributes:
        name: of the autoencoder family, e.g. ``"sd"`` or ``"sdxl"``: the same shape is not yet the same space.
        channels: of a latent.
        downscale: picture pixels per latent pixel along a side.
        scaling_factor, shift_factor: latent = (encoded − shift_factor) · scaling_factor.
        rgb: what a latent pixel looks like, for quick previews: one row (red, green, blue) a channel and a last one that is added, so that
            latents @ rows + last row is in [−1, 1]. None: the published numbers of the name, where there are some
            (`realcompo.interfaces.previews`). It decides no picture, so spaces that differ in it alone are equal.
    """

    name: str
    channels: int = 4
    downscale: int = 8
    scaling_factor: float = 0.18215
    shift_factor: float = 0.0
    rgb: tuple[tuple[float, float, float], ...] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Traits:
    """What is known of a branch before any weight is loaded: stated by its spec, or read from its config files.

    Attributes:
        latent: the space that it denoises in.
        schedule: its forward process (`NoiseSchedule`, `FlowSchedule` or `SigmaSchedule`), and how a scheduler spaces its steps.
        family: architecture by name, e.g. ``"SD 1.x"``; shown to users.
        prediction_type: what the network predicts; converted in diffusion.py where branches differ.
        default_size: (height, width) of a picture in pixels.
        size_multiple: height and width must be multiples of this (pixels).
        max_side: the most pixels along a side that its network has places for, or None.
        max_objects: the most regions in one picture, or None.
        vocabulary: the only words it knows (planners are told), or None for open text.
        classes: the only classes of a segmentation map that it has colours for (planners are told), or None for ADE20K's.
        hints: the kinds of hint that it knows, or None for all.
        guidance: how it is guided: by a second pass; by a number that its network is told, in one pass; or, distilled, not at all.
        moves_latents: its predictions may carry a shift δ of the latents (ALGORITHM: a branch that moves z).
        inpaints: its network is told what is to be drawn anew and what stands around it (`Request.inpainting`): it needs a mask.
        distilled: it was taught to draw in a few steps (latent consistency, trajectory consistency, Lightning …), by itself or by its LoRA.
    """

    latent: LatentSpace
    family: str
    schedule: Schedule = field(default_factory=NoiseSchedule)
    prediction_type: PredictionType = "epsilon"
    default_size: tuple[int, int] = (512, 512)
    size_multiple: int = 8
    max_objects: int | None = None
    vocabulary: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    moves_latents: bool = False
    hints: tuple[str, ...] | None = None
    guidance: Literal["passes", "embedded", "none"] = "passes"
    inpaints: bool = False
    max_side: int | None = None
    distilled: bool = False

    def check_side(self, name: str, size: tuple[int, int]) -> None:
        """Refuse a (height, width) in pixels that the network of `name` has no places for.

        Raises:
            Incompatible.
        """
        if self.max_side is not None and max(size) > self.max_side:
            raise Incompatible(
                f"{name} cannot take {size[1]}×{size[0]} pixels: its network has places for {self.max_side} along a side",
                mend=f"draw at most {self.max_side} pixels along a side",
            )


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """Common to all components.

    Attributes:
        id: ``plugin/component``; the part before the slash is the plugin's entry-point name.
        target: ``"package.module:Class"``.
        summary: one line for `realcompo list`.
        options: the pydantic class of its options.
        defaults: values of options that differ from the class's own.
    """

    id: str
    summary: str
    target: str | None = None
    options: type[Options] | None = None
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class BranchSpec(_Spec):
    """A denoiser.

    Attributes:
        role: ``"fidelity"`` (draws and decodes) or ``"spatial"`` (places).
        condition: the kind of condition it takes (``"boxes"``), or None.
        base: id of a branch that this one inherits target, options, role, condition and traits from.
        source: where its checkpoint is: hub id or ``"package://module/path"``; a recipe or the user file may override it.
        revision: of the hub repository.
        traits: what is known without loading; a class may read more from config files (`Branch.inspect`).
        guidance_scale: its default.
        licence: of the weights.
        requires: extras or packages that it needs, for error messages.
        sample: a prompt and boxes for `realcompo show`.
        accepts: class names of objects in memory that can be its source (``"StableDiffusionPipeline"``).
        prompt: its prompt where the recipe gives it none of its own, with the words that its checkpoint wants to hear; '{prompt}' stands
            for the picture's. Not inherited: trigger words belong to one checkpoint.
        recommended: ``{"num_inference_steps": …}`` that suits this branch; the fidelity branch's is the layer above the defaults, and what
            a `Composer` takes that is told no other. Nothing else: what balances a pair is not a branch's to say.
    """

    role: Role | None = None
    condition: str | None = None
    base: str | None = None
    source: str | None = None
    revision: str | None = None
    traits: Traits | None = None
    guidance_scale: float | None = None
    licence: str | None = None
    requires: tuple[str, ...] = ()
    sample: Mapping[str, Any] | None = None
    accepts: tuple[str, ...] = ()
    prompt: str | None = None
    recommended: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TransferSpec(_Spec):
    """f(C) → regions (Eq. 8) for one kind of condition.

    Attributes:
        condition: the kind that it takes.
    """

    condition: str


@dataclass(frozen=True, kw_only=True)
class BalancerSpec(_Spec):
    """A rule for the weights ξ."""


@dataclass(frozen=True, kw_only=True)
class PlannerSpec(_Spec):
    """From a prompt to a condition.

    Attributes:
        kinds: of condition that it can plan.
    """

    kinds: tuple[str, ...] = ("boxes",)


@dataclass(frozen=True, kw_only=True)
class UpscalerSpec(_Spec):
    """What makes the pictures of a first pass larger, for the second (`hires`)."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of a scorer's: a column of the table.

    Attributes:
        name: by which tables and commands call it.
        title: over the column.
        top: of what a picture's record holds, the number that is added up over the pictures.
        bottom: the number that the sum is divided by, added up alike; None divides by the number of pictures.
        less: less is better.
        whole: judged of all pictures together by `Scorer.whole`; `top` and `bottom` are not read.
    """

    name: str
    title: str
    top: str = ""
    bottom: str | None = None
    less: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class SuiteSpec(_Spec):
    """Prompts, and what is known of each: what recipes are drawn and judged by.

    Attributes:
        scorers: ids of the scorers that judge it where no others are named.
        licence: of its data.
    """

    scorers: tuple[str, ...] = ()
    licence: str | None = None


Label = Literal["prompt", "conditions", "truth"]


@dataclass(frozen=True, kw_only=True)
class ScorerSpec(_Spec):
    """What judges pictures.

    Attributes:
        columns: of the table.
        reads: what it reads of a case beside the picture: "prompt", "conditions", "truth". A change of these changes its scores, a change
            of any other does not.
        requires: extras or packages that it needs, for error messages.
        licence: of its weights.
    """

    columns: tuple[Column, ...] = ()
    reads: tuple[Label, ...] = ()
    requires: tuple[str, ...] = ()
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec(_Spec):
    """A recipe whose networks are made with random weights, for `realcompo bench NAME`: measured without a checkpoint.

    Attributes:
        target: ``"package.module:function"``: whether the networks are to be small → name of each checkpoint → what it holds
            (`realcompo.testing.synthetic.Parts`).
        recipe: plain data of a recipe with one picture; ``"synthetic://NAME"`` in it stands for the folder of the checkpoint NAME.
        small: keys of the recipe that differ for small networks, such as the size.
        pipeline: class of diffusers that draws with the fidelity branch's checkpoint alone: `--limits` times it beside the branch.
        limits: name of a limit of `--limits` → its figure here, where it differs; None where the limit is not asked.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    pipeline: str | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)


Spec = BranchSpec | TransferSpec | BalancerSpec | PlannerSpec | UpscalerSpec | SuiteSpec | ScorerSpec | SyntheticSpec
