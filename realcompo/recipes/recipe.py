"""A recipe: everything that decides a picture, as validated data. files.py reads its files, configuration.py lays its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..arguments import MAX_SIDE, plain_number
from ..errors import BadOption, BadRecipe
from ..interfaces import Runtime
from .parts import MAX_DEPTH, Flag, Part, Real, Whole, check_text, plain_data, read_part
from .picture_entry import MAX_FEATHER, PICTURES, PictureEntry, dump_condition, read_condition

__all__ = [
    "DEFAULT_BALANCER",
    "DEFAULT_STEPS",
    "MAX_CANDIDATES",
    "MAX_DEPTH",
    "MAX_FEATHER",
    "MAX_STEPS",
    "MIGRATIONS",
    "PICTURES",
    "VERSION",
    "BranchEntry",
    "Candidates",
    "Carried",
    "Component",
    "GuidanceOptions",
    "Hires",
    "PictureEntry",
    "PlannerEntry",
    "ProbeOptions",
    "Recipe",
    "RecipeLike",
    "RuntimeOptions",
    "WordEmbedding",
    "Words",
    "check_text",
    "dump_condition",
    "migrate",
    "plain_data",
    "read_condition",
    "read_part",
]

VERSION = 1
"""Of the recipe format. An older one is migrated, a newer one refused."""

DEFAULT_BALANCER = "core/guided"
"""What a recipe, a composer or a command that names no balancer draws with: docs/results.md says on what evidence."""

DEFAULT_STEPS = 50
"""Where neither a recipe nor the fidelity branch's plugin says how many."""

MAX_STEPS = 10_000
"""Denoising steps: the forward processes have 1,000, and every step is looked at before a run."""

MAX_CANDIDATES = 64
"""Noises a picture."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Version n → what turns the plain data of a recipe of version n into one of version n + 1."""


class Component(Part):
    """A balancer, planner or transfer with its options."""

    name: str = Field(description="id, e.g. 'core/balance'")
    options: dict[str, Any] = Field(default_factory=dict, description="see `realcompo show NAME`")


class PlannerEntry(Component):
    """The planner of a recipe, and which of its words are used."""

    use: tuple[Literal["background", "negative"], ...] = Field(
        (),
        description="words of the planner's own to use: its background after the prompt, its negative after the negative prompt",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_component(cls, value: Any) -> Any:
        return value.model_dump() if isinstance(value, Component) and not isinstance(value, cls) else value


class BranchEntry(Part):
    """One branch of a recipe."""

    name: str = Field(description="id of the branch, e.g. 'sd/v1-5'")
    role: Literal["fidelity", "spatial"] | None = Field(None, description="its role, where the id leaves it open")
    source: str | None = Field(None, description="where its checkpoint is: hub id, folder or file; the spec's own by default")
    revision: str | None = Field(None, description="revision of a hub repository")
    prompt: str | None = Field(None, description="a prompt for this branch alone; '{prompt}' in it stands for the picture's prompt")
    negative_prompt: str | None = Field(None, description="a negative prompt for this branch alone")
    guidance_scale: Real | None = Field(None, ge=0, description="classifier-free guidance of this branch; 1 or less = none")
    device: str | None = Field(None, description="device of this branch, where it differs from the recipe's")
    options: dict[str, Any] = Field(default_factory=dict, description="see `realcompo show NAME`")
    transfer: Component | None = Field(
        None, description="f(C): how its condition becomes regions, where not by the kind's own; e.g. 'core/segments' with options"
    )


class ProbeOptions(Part):
    """How the loss is probed (see docs/algorithm.md); the defaults are ours, the published code's behaviour can be named."""

    every: Whole = Field(1, ge=1, description="probe every k-th balanced step; the coefficients stay as they are in between")
    detach: tuple[str, ...] = Field((), description="names or roles of branches whose maps are read without a gradient")
    guided: Flag = Field(
        True,
        description="trial step with the guided noise (no extra pass); false = unguided, two more passes a branch",
    )
    timestep: Literal["t", "t_prev"] = Field("t", description="timestep that the probe tells the networks")
    lagged: Flag = Field(
        False,
        description="read the maps of the pass that predicts anyway, at this step's latents, in place of a trial step: no pass of the "
        "probe's own, only its way back",
    )

    @model_validator(mode="after")
    def _no_trial(self) -> ProbeOptions:
        if self.lagged and (not self.guided or self.timestep != "t"):
            raise ValueError("a lagged probe makes no trial step: leave guided and timestep as they are, or lagged out")
        return self


class GuidanceOptions(Part):
    """Where classifier-free guidance acts, and against what; how strongly is each branch's `guidance_scale` (see docs/algorithm.md)."""

    interval: tuple[Real, Real] | None = Field(
        None,
        description="noise levels (low, high) in which branches are guided, as σ = √((1 − ᾱ)/ᾱ), noise over signal: low < σ ≤ high. "
        "Outside, only the conditional half of a branch runs. None = at every step",
    )

    unconditional: Literal["own", "shared"] = Field(
        "own",
        description="whose unconditional half guides a branch: its own; or shared, where several branches act at a step, that of the "
        "first of them (the fidelity branch, where it acts), one pass for all",
    )

    @field_validator("interval")
    @classmethod
    def _order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError("should be two noise levels, 0 ≤ low < high")
        return value


class RuntimeOptions(Part):
    """How the networks are run: changes their speed and, but for rounding, no picture. Pipelines that you hold are left as they are."""

    compile: Literal["none", "regional", "whole"] = Field(
        "none",
        description="torch.compile the networks of every step: the blocks that repeat (quick to compile), or each network as a whole",
    )
    backend: Literal["inductor", "cudagraphs", "aot_eager", "eager"] = Field(
        "inductor", description="of torch.compile; inductor needs a C++ compiler on a CPU and Triton on CUDA, the last two none"
    )
    channels_last: Flag = Field(
        False, description="convolutions see (B, h, w, C) in memory: often faster, on CUDA in half precision above all"
    )
    fuse_projections: Flag = Field(
        False, description="diffusers' fused attention: query, key and value by one product; holds their weights twice"
    )

    def told(self) -> Runtime:
        """As branches are told."""
        return Runtime(**self.model_dump())


class Hires(Part):
    """A second pass: the picture is made larger and drawn over, with the same layout. By `scale`, or by a size in pixels."""

    scale: Real | None = Field(None, gt=1, le=8, description="how many times as high and wide")
    height: Whole | None = Field(None, ge=1, le=MAX_SIDE, description="pixels, in place of scale")
    width: Whole | None = Field(None, ge=1, le=MAX_SIDE, description="pixels, in place of scale")
    strength: Real = Field(0.5, gt=0, le=1, description="share of its steps that are drawn over what was made larger")
    steps: Whole | None = Field(None, ge=1, le=MAX_STEPS, description="of which that is the share; the first pass's where it is missing")
    upscaler: Component = Field(Component(name="core/latent"), description="core/latent, core/lanczos or a plugin's")

    @model_validator(mode="before")
    @classmethod
    def _from_scale(cls, value: Any) -> Any:
        """A bare number is a scale."""
        number = plain_number(value)
        return {"scale": number} if isinstance(number, (int, float)) and not isinstance(number, bool) else value

    @model_validator(mode="after")
    def _check_size(self) -> Hires:
        if (self.scale is None) == (self.height is None and self.width is None):
            raise BadOption("hires says either a scale or a size", where="hires", mend="write 1.5, or { height = …, width = … }")
        return self


class Candidates(Part):
    """Several noises a picture for the first steps; the one whose layout stands best goes on. A number is how many."""

    count: Whole = Field(ge=1, le=MAX_CANDIDATES, description="noises a picture")
    until: Real = Field(0.3, ge=0, lt=1, description="share of the steps after which one is chosen; after one step at the earliest")

    @model_validator(mode="before")
    @classmethod
    def _from_count(cls, value: Any) -> Any:
        """A bare number is the count."""
        number = plain_number(value)
        return {"count": number} if isinstance(number, (int, float)) and not isinstance(number, bool) else value

    def before(self, steps: int) -> int:
        """The step, from 0, before which one is chosen in a run of so many."""
        return min(max(round(self.until * steps), 1), steps - 1)


class WordEmbedding(Part):
    """A textual inversion; see `realcompo.toolkit.word_options`."""

    source: str = Field(description="its file")
    token: str | None = Field(None, description="the word for it in prompts")


class Words(Part):
    """How every branch reads its words: put into the options of each that has these, unless they say otherwise."""

    prompt_weights: Literal["compel", "a1111"] | None = Field(None, description="read (red:1.3), [red] and BREAK, and weigh by that rule")
    long_prompts: Literal["cut", "chunks"] | None = Field(None, description="what becomes of words past a text encoder's last token")
    clip_skip: Whole | None = Field(None, ge=0, description="layers of the text encoders left out at the end, by diffusers' count")
    embeddings: tuple[WordEmbedding, ...] | None = Field(None, description="textual inversions: their files and words")


class Recipe(Part):
    """Everything that decides a batch of pictures."""

    version: int = Field(VERSION, description="of the recipe format")
    branches: tuple[BranchEntry, ...] = Field(
        (BranchEntry(name="mini/fidelity"), BranchEntry(name="mini/boxes")),
        description="one fidelity branch, and spatial branches",
    )
    balancer: Component = Field(Component(name=DEFAULT_BALANCER), description="rule for the weights")
    probe: ProbeOptions = Field(ProbeOptions(), description="how the loss is probed")
    guidance: GuidanceOptions = Field(GuidanceOptions(), description="where classifier-free guidance acts, and against what")
    planner: PlannerEntry | None = Field(None, description="plans the conditions that a picture leaves out")
    scheduler: str = Field("ddim", description="of the real step")
    scheduler_options: dict[str, Any] = Field(
        default_factory=dict,
        description="its settings by diffusers' names, where they differ from the checkpoint's, e.g. use_karras_sigmas = true",
    )
    noise_range: Literal["shared", "held"] = Field(
        "shared",
        description="where branches know different ranges of noise: 'shared' begins at the most noise that every branch acting there "
        "knows, 'held' where the fidelity branch does, the others held at their last timestep",
    )
    num_inference_steps: Whole = Field(DEFAULT_STEPS, ge=1, le=MAX_STEPS, description="denoising steps")
    height: Whole | None = Field(None, ge=1, le=MAX_SIDE, description="pixels; the fidelity branch's default where it is missing")
    width: Whole | None = Field(None, ge=1, le=MAX_SIDE, description="pixels")
    hires: Hires | None = Field(None, description="a second pass at a higher resolution; a number is its scale")
    candidates: Candidates | None = Field(
        None, description="several noises a picture for the first steps, of which the best placed goes on; a number is how many"
    )
    words: Words | None = Field(None, description="how every branch reads its words, in place of options of each")
    device: str | None = Field(None, description="'cuda', 'cuda:1', 'mps', 'cpu'; the best there is where it is missing")
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = Field("float32", description="of the networks")
    offload: Flag = Field(False, description="keep on the device only the network that is in use")
    runtime: RuntimeOptions = Field(RuntimeOptions(), description="how the networks are run: compiled, or laid out otherwise")
    pictures: tuple[PictureEntry, ...] = Field((), description="what to draw")

    def plain(self) -> dict[str, Any]:
        """Plain data (JSON, TOML, YAML) that `Recipe` reads back equal."""
        data = self.model_dump(mode="json", exclude_none=True, exclude={"pictures"}, fallback=repr)
        data["pictures"] = [picture.model_dump_plain() for picture in self.pictures]
        return data

    def stated(self) -> dict[str, Any]:
        """Plain data of what was stated when it was made, without the defaults: a layer."""
        data = self.model_dump(mode="json", exclude_unset=True, exclude={"pictures"}, fallback=repr)
        if "pictures" in self.model_fields_set:
            data["pictures"] = [
                {**picture.model_dump_plain(), **{name: one for name, _ in PICTURES if (one := getattr(picture, name)) is not None}}
                for picture in self.pictures
            ]  # copies as they are: one that is too large to be written has its pixels in memory
        return data

    def alone(self, index: int) -> Recipe:
        """The recipe of one of its pictures."""
        return self.model_copy(update={"pictures": (self.pictures[index],)})


def migrate(data: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
    """Plain data of a recipe of any older version as one of this version; data without a version is of this one.

    Raises:
        BadRecipe: of a newer version, or of none that ever was.
    """
    data = dict(data)
    version = data.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BadRecipe(f"version = {version!r} is no version of a recipe", where=where, mend=f"write version = {VERSION}, or leave it out")
    if version > VERSION:
        raise BadRecipe(
            f"the recipe is of version {version}, this RealCompo reads versions up to {VERSION}",
            where=where,
            mend="update RealCompo (pip install --upgrade realcompo)",
        )
    while version < VERSION:
        data = {**MIGRATIONS[version](data), "version": version + 1}
        version += 1
    return data


@dataclass(frozen=True)
class Carried:
    """A recipe that a picture carries: as little the user's own word as a file is. Options that only the user may turn on are refused."""

    recipe: Recipe
    where: str


RecipeLike = str | Path | Recipe | Carried | Mapping[str, Any] | None
"""What a call takes as a recipe: a file, the model, plain data, or nothing for the layers of configuration alone."""
