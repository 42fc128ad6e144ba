"""A recipe: everything that decides a picture, as validated data. files.py reads its files, configuration.py lays its layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..arguments import MAX_SIDE, SEEDS, flag, plain_number, real, shown, whole
from ..conditions import KINDS, Condition
from ..errors import BadOption, BadRecipe, UnknownName, nearest
from ..interfaces import Runtime
from .copies import PictureCopy

VERSION = 1
"""Of the recipe format. An older one is migrated, a newer one refused."""


DEFAULT_BALANCER = "core/guided"
"""What a recipe, a composer or a command that names no balancer draws with: docs/results.md says on what evidence."""

DEFAULT_STEPS = 50
"""Where neither a recipe nor the fidelity branch's plugin says how many."""

MAX_STEPS = 10_000
"""Denoising steps: the forward processes have 1,000, and every step is looked at before a run."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Version n → what turns the plain data of a recipe of version n into one of version n + 1."""


def _by(rule: Callable[[str, Any], Any]) -> BeforeValidator:
    """A rule of arguments.py as pydantic asks for it: the same types are taken in a recipe and in a call."""

    def check(value: Any) -> Any:
        try:
            return value if value is None else rule("it", value)
        except BadOption as error:
            raise ValueError(str(error.mend).replace("write", "should be", 1)) from None

    return BeforeValidator(check)


Whole = Annotated[int, _by(whole)]
Real = Annotated[float, _by(real)]
Flag = Annotated[bool, _by(flag)]


class _Part(BaseModel):
    # A number that is not finite decides no picture, and JSON cannot hold it.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("options", "scheduler_options", mode="before", check_fields=False)
    @classmethod
    def _plain_options(cls, value: Any) -> Any:
        return plain_data(value) if isinstance(value, Mapping) else value

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """A bare name will do for a branch, a balancer or a planner without more to say."""
        return {"name": value} if isinstance(value, str) and "options" in cls.model_fields else value


MAX_DEPTH = 64
"""Tables and lists inside each other: a recipe has nine, and what walks it calls itself."""


def plain_data(value: Any, depth: int = 0) -> Any:
    """Plain data as files hold it: tuples become lists, paths become texts, numpy's numbers Python's; an object in memory is left as it is.

    Raises:
        ValueError: a number that is not finite, a key that is not a text, a text that no file can hold, or too many tables in each other.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} tables or lists stand in each other")
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise ValueError(f"a name must be a text, not {wrong[0]!r}")
        return {check_text(key): plain_data(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(one, depth + 1) for one in value]
    value = plain_number(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return str(value) if isinstance(value, PurePath) else value


def check_text(text: str) -> str:
    """The text, if it is one: JSON can spell half a surrogate pair, which no file and no tokenizer takes.

    Raises:
        ValueError: it holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text[:60]!r} holds half of a surrogate pair, which is no character") from None
    return text


P = TypeVar("P", bound=_Part)


def read_part(cls: type[P], data: Mapping[str, Any], where: str) -> P:
    """A part of a recipe from a mapping of the caller's.

    Raises:
        UnknownName: a key that it has not. BadRecipe: a value that it cannot take.
    """
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise BadOption(f"{where} cannot be {shown(data)}", mend=f"give a table of {', '.join(cls.model_fields)}")
    try:
        return cls(**data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UnknownName(f"{where} has no {name!r}", mend=nearest(name, cls.model_fields)) from None
        raise BadRecipe(
            f"{name}: {first['msg'].removeprefix('Value error, ')}", where=where, mend=f"its fields: {', '.join(cls.model_fields)}"
        ) from None


class Component(_Part):
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


class BranchEntry(_Part):
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


class ProbeOptions(_Part):
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


class GuidanceOptions(_Part):
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


class RuntimeOptions(_Part):
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


MAX_FEATHER = 1024
"""Pixels of a mask's edge."""

PICTURES: tuple[tuple[Literal["image", "mask_image"], Literal["RGB", "L"]], ...] = (("image", "RGB"), ("mask_image", "L"))
"""Fields of a picture that are pictures themselves, and their modes."""


class PictureEntry(_Part):
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


class Hires(_Part):
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


class WordEmbedding(_Part):
    """A textual inversion; see `realcompo.toolkit.word_options`."""

    source: str = Field(description="its file")
    token: str | None = Field(None, description="the word for it in prompts")


class Words(_Part):
    """How every branch reads its words: put into the options of each that has these, unless they say otherwise."""

    prompt_weights: Literal["compel", "a1111"] | None = Field(None, description="read (red:1.3), [red] and BREAK, and weigh by that rule")
    long_prompts: Literal["cut", "chunks"] | None = Field(None, description="what becomes of words past a text encoder's last token")
    clip_skip: Whole | None = Field(None, ge=0, description="layers of the text encoders left out at the end, by diffusers' count")
    embeddings: tuple[WordEmbedding, ...] | None = Field(None, description="textual inversions: their files and words")


class Recipe(_Part):
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


def read_condition(key: str, data: Any) -> Condition:
    """A condition from plain data. Its kind is its ``kind``, or the key it stands under; boxes: a list or a phrase → box table."""
    if isinstance(data, Condition):
        return data
    kind = data.get("kind", key) if isinstance(data, Mapping) else key
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnknownName(f"no kind of condition is called {kind!r}", where="conditions", mend=nearest(str(kind), KINDS))
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


@dataclass(frozen=True)
class Carried:
    """A recipe that a picture carries: as little the user's own word as a file is. Options that only the user may turn on are refused."""

    recipe: Recipe
    where: str


RecipeLike = str | Path | Recipe | Carried | Mapping[str, Any] | None
"""What a call takes as a recipe: a file, the model, plain data, or nothing for the layers of configuration alone."""
