"""A recipe: everything that decides a picture, as validated data. Files and layers are read in recipe_files.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .conditions import KINDS, Condition
from .errors import BadRecipe, UnknownName, nearest

VERSION = 1
"""Of the recipe format. An older one is migrated, a newer one refused."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class BranchEntry(_Part):
    """One branch of a recipe."""

    name: str = Field(description="id of the branch, e.g. 'sd/v1-5'")
    role: Literal["fidelity", "spatial"] | None = Field(None, description="its role, where the id leaves it open")
    source: str | None = Field(None, description="where its checkpoint is: hub id, folder or file; the spec's own by default")
    revision: str | None = Field(None, description="revision of a hub repository")
    prompt: str | None = Field(None, description="a prompt for this branch alone; '{prompt}' in it stands for the picture's prompt")
    negative_prompt: str | None = Field(None, description="a negative prompt for this branch alone")
    guidance_scale: float | None = Field(None, description="classifier-free guidance of this branch; 1 or less = none")
    device: str | None = Field(None, description="device of this branch, where it differs from the recipe's")
    options: dict[str, Any] = Field(default_factory=dict, description="see `realcompo show NAME`")


class Component(_Part):
    """A balancer or a planner with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class ProbeOptions(_Part):
    """How the loss is probed (see docs/algorithm.md); the defaults are ours, the published code's behaviour can be named."""

    every: int = Field(1, ge=1, description="probe every k-th balanced step; the coefficients stay as they are in between")
    detach: tuple[str, ...] = Field((), description="names or roles of branches whose maps are read without a gradient")
    guided: bool = Field(
        True,
        description="trial step with the guided noise (no extra pass); false = unguided, two more passes a branch",
    )
    timestep: Literal["t", "t_prev"] = Field("t", description="timestep that the probe tells the networks")


class PictureEntry(_Part):
    """One picture of a recipe: what differs from picture to picture."""

    prompt: str = Field(description="what to draw")
    negative_prompt: str = Field("", description="what not to draw")
    seed: int | None = Field(None, description="of this picture's own generator; a random one where it is missing")
    name: str | None = Field(None, description="file name without suffix; made from the prompt where it is missing")
    conditions: dict[str, Condition] = Field(
        default_factory=dict,
        description="kind of condition, or name of a branch → condition; planned where it is missing",
    )

    @field_validator("conditions", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {key: read_condition(key, data) for key, data in value.items()} if isinstance(value, Mapping) else value

    def model_dump_plain(self) -> dict[str, Any]:
        """Plain data that `PictureEntry` reads back equal."""
        data = self.model_dump(mode="json", exclude_none=True, exclude={"conditions"})
        data["conditions"] = {key: dump_condition(condition) for key, condition in self.conditions.items()}
        return data


class Recipe(_Part):
    """Everything that decides a batch of pictures."""

    version: int = Field(VERSION, description="of the recipe format")
    branches: tuple[BranchEntry, ...] = Field(
        (BranchEntry(name="mini/fidelity"), BranchEntry(name="mini/boxes")),
        description="one fidelity branch, and spatial branches",
    )
    balancer: Component = Field(Component(name="core/balance"), description="rule for the weights")
    probe: ProbeOptions = Field(ProbeOptions(), description="how the loss is probed")
    planner: Component | None = Field(None, description="plans the conditions that a picture leaves out")
    scheduler: str = Field("ddim", description="of the real step")
    num_inference_steps: int = Field(50, ge=1, description="denoising steps")
    height: int | None = Field(None, ge=1, description="pixels; the fidelity branch's default where it is missing")
    width: int | None = Field(None, ge=1, description="pixels")
    device: str | None = Field(None, description="'cuda', 'cuda:1', 'mps', 'cpu'; the best there is where it is missing")
    dtype: Literal["float32", "float16", "bfloat16"] = Field("float32", description="of the networks")
    offload: bool = Field(False, description="keep on the device only the network that is in use")
    pictures: tuple[PictureEntry, ...] = Field((), description="what to draw")

    def plain(self) -> dict[str, Any]:
        """Plain data (JSON, TOML, YAML) that `Recipe` reads back equal."""
        data = self.model_dump(mode="json", exclude_none=True, exclude={"pictures"})
        data["pictures"] = [picture.model_dump_plain() for picture in self.pictures]
        return data


def read_condition(key: str, data: Any) -> Condition:
    """A condition from plain data. Its kind is its ``kind``, or the key it stands under. A list or a phrase → box table will do for boxes."""
    if isinstance(data, Condition):
        return data
    kind = data.get("kind", key) if isinstance(data, Mapping) else key
    if kind not in KINDS:
        raise UnknownName(f"no kind of condition is called {kind!r}", where="conditions", mend=nearest(kind, KINDS))
    cls: Any = KINDS[kind]
    if isinstance(data, Mapping):
        data = {name: value for name, value in data.items() if name != "kind"}
        if set(data) == {"items"}:
            data = data["items"]
    try:
        condition: Condition = cls(data)
    except (ValidationError, TypeError, ValueError) as error:
        raise BadRecipe(
            f"cannot read {kind}: {error}",
            where="conditions",
            mend="write a table of phrase = [x0, y0, x1, y1]",
        ) from error
    return condition


def dump_condition(condition: Condition) -> dict[str, Any]:
    """Plain data with its kind."""
    return {"kind": condition.kind, **condition.model_dump(mode="json", exclude_none=True)}
