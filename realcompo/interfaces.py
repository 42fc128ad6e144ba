"""The contracts: Branch, ConditionTransfer, Balancer, Planner, and the values that pass between them.

Shapes: B pictures, K branches, R regions (the most of any picture of the batch), h × w latent pixels. No torch at run time here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .conditions import Box, Condition
from .errors import PlanningError
from .specs import BranchSpec, NoOptions, Options, Role, Traits

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where in the run we are: goes wherever a bare t would.

    Attributes:
        index, count: this step and how many there are.
        t, t_prev: timesteps of the network's training schedule (t_prev < t; it may be negative at the end).
        alpha_bar, alpha_bar_prev: ᾱ at t and at the end of this step's first-order transition, in [0, 1].
    """

    index: int
    count: int
    t: float
    t_prev: float
    alpha_bar: float
    alpha_bar_prev: float

    @property
    def share(self) -> float:
        """The share of the run that is over when this step begins, in [0, 1)."""
        return self.index / self.count


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture that belongs to a phrase of its prompt.

    Attributes:
        id: names the region across branches; unique in a picture.
        phrase: words of the prompt.
        box: (x0, y0, x1, y1) in [0, 1], or
        mask: (H, W) array in [0, 1] of any resolution with the picture's aspect ratio.
        span: (start, end) characters of the prompt; overrides the search for the phrase.
    """

    id: str
    phrase: str
    box: Box | None = None
    mask: np.ndarray[Any, Any] | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Regions:
    """The regions of a batch: `pictures[i]` are those of picture i. Ragged: pictures may have different numbers."""

    pictures: tuple[tuple[Region, ...], ...]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def most(self) -> int:
        """R: the most regions of any picture."""
        return max((len(picture) for picture in self.pictures), default=0)

    def masks(self, h: int, w: int) -> Tensor:
        """(B, R, h, w) fractional coverage in [0, 1]; never empty for a region with area; zeros where a picture has no such region."""
        from .masks import rasterise

        return rasterise(self.pictures, h, w)

    def present(self) -> Tensor:
        """(B, R) bool: which regions exist. Guard with it before any division."""
        from .masks import presence

        return presence(self.pictures)

    @staticmethod
    def union(parts: Sequence[Regions]) -> Regions:
        """Regions of several spatial branches by id: each id counts once, the first to bring it wins."""
        pictures = []
        for per_branch in zip(*(part.pictures for part in parts), strict=True):
            merged: dict[str, Region] = {}
            for regions in per_branch:
                for region in regions:
                    merged.setdefault(region.id, region)
            pictures.append(tuple(merged.values()))
        return Regions(tuple(pictures))


@dataclass(frozen=True)
class Request:
    """What a branch is asked to encode, once a run, for the whole batch of B pictures.

    Attributes:
        prompts, negative_prompts: B each, already this branch's own where the recipe gives it one.
        regions: the union over all branches, by id; the order of maps follows it.
        conditions: B conditions of this branch's kind, or B Nones.
        size: (height, width) in pixels.
        guidance_scale: 1 or less means no guidance (one forward pass, not two).
        balanced: other branches of the run are blended with this one.
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    regions: Regions
    conditions: tuple[Condition | None, ...]
    size: tuple[int, int]
    guidance_scale: float
    balanced: bool = False


Conditioning = Any
"""What `Branch.encode` returns: the branch's own business, passed back to it unread."""


@dataclass(frozen=True)
class Prediction:
    """A branch's guided prediction at z.

    Attributes:
        noise: (B, C, h, w), of the branch's own prediction type, at z + shift.
        maps: (B, R, h', w') of the conditional half with a graph to z, only if read.
        shift: (B, C, h, w) δ by which the branch moved z before predicting, or None.
    """

    noise: Tensor
    maps: Tensor | None = None
    shift: Tensor | None = None


class Branch(ABC):
    """A denoiser. One network, any number of runs; all that belongs to a run lies in its conditioning.

    Subclasses set `options_class`; the registry builds them as ``Class(spec, options, source=…, device=…, dtype=…)``.
    """

    spec: BranchSpec
    options: Options
    traits: Traits

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """What can be known without loading weights: the spec's traits, or better, from config files.

        Raises:
            BadCheckpoint: the source is missing or of another architecture.
        """
        if spec.traits is None:
            raise NotImplementedError(f"{cls.__name__} must override inspect, or its spec must state traits")
        return spec.traits

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        """Region id → the token texts that its maps will be read at, from tokenizer files alone; None if they are not at hand.

        Raises:
            PhraseNotFound: a phrase is not in the prompt or lies past the encoder's last token.
        """
        return None

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        """What a user should know before a run that can be drawn, but hardly as meant: `realcompo check` prints it as a warning.

        Args:
            balanced: shares of the run at which the steps in which all branches act begin and end; None where there are none.
        """
        return ()

    @abstractmethod
    def __init__(
        self,
        spec: BranchSpec,
        options: Options,
        *,
        source: Any = None,
        device: Any = "cpu",
        dtype: Any = None,
    ) -> None: ...

    @abstractmethod
    def encode(self, request: Request) -> Conditioning:
        """Text, regions and condition to whatever predict and attend need. Once a run; without a graph.

        Raises:
            PhraseNotFound, BadCondition: see errors.py.
        """

    @abstractmethod
    def predict(self, z: Tensor, step: Step, conditioning: Conditioning, read: bool = False) -> Prediction:
        """Guided prediction at z (B, C, h, w) in the variance-preserving scale. Mutates no input. No graph unless `read`."""

    @abstractmethod
    def attend(self, z: Tensor, step: Step, conditioning: Conditioning) -> Tensor:
        """Cross-attention maps (B, R, h', w') of the conditional half at z, ≥ 0, fp32 (fp64 for fp64 z), differentiable in z;
        runs no more of the network than the maps need. Rows of absent regions are zero."""

    def predict_unguided(self, z: Tensor, step: Step, conditioning: Conditioning) -> Tensor:
        """The conditional half's prediction without guidance, (B, C, h, w): only for the published code's trial step."""
        raise NotImplementedError(f"{self.spec.id} offers no unguided prediction")

    def decode(self, z: Tensor) -> list[Image.Image]:
        """Latents (B, C, h, w) to B pictures. Fidelity branches must override it."""
        raise NotImplementedError(f"{self.spec.id} does not decode: it is a {self.spec.role} branch")

    def preview(self, z: Tensor) -> list[Image.Image]:
        """A quick look at unfinished latents; the full decoder unless overridden."""
        return self.decode(z)

    @abstractmethod
    def to(self, device: Any = None, dtype: Any = None) -> Branch:
        """Move the network; returns self."""

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype: ...

    def fingerprint(self) -> dict[str, str]:
        """Part of the checkpoint → digest of its weights; what `reproduce` compares."""
        return {}


class ConditionTransfer(ABC):
    """f(C) → regions with masks (Eq. 8)."""

    kind: ClassVar[str]

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def __call__(self, condition: Condition, size: tuple[int, int]) -> tuple[Region, ...]:
        """Regions of one picture of `size` (height, width) pixels; none may be empty."""


@dataclass(frozen=True)
class Setting:
    """What a balancer is told at the start: no model, no solver.

    Attributes:
        names, roles: of the K branches.
        masks: (B, R, h, w) coverage of each region at latent resolution.
        owners: (K, B, R) bool: which branches brought which region (fidelity owns none).
        generators: B, one a picture, for balancers that draw.
    """

    names: tuple[str, ...]
    roles: tuple[Role, ...]
    masks: Tensor
    owners: Tensor
    generators: tuple[torch.Generator, ...] = ()

    @property
    def fidelity(self) -> int:
        """Index of the fidelity branch."""
        return self.roles.index("fidelity")


@dataclass(frozen=True)
class Needs:
    """Which branches act at a step (K bools), and whether the balancer wants a probe."""

    branches: tuple[bool, ...]
    probe: bool = False


@dataclass(frozen=True)
class ProbeResult:
    """Loss at the trial step (Eq. 6/9) and its gradient.

    Attributes:
        loss: (B,) summed over branches and regions.
        region_loss: (K, B, R), zero for absent regions.
        grad_weights: (K, B, 1, h, w) ∂L/∂ξ of each weight taken as free; the balancer applies the softmax Jacobian.
        grad_latents: (K, B) norms ‖∂L^c/∂z‖ of each branch's own loss (Fig. 10).
        maps: K × (B, R, h', w') the maps that were read, without a graph; to look at, not to balance by.
    """

    loss: Tensor
    region_loss: Tensor
    grad_weights: Tensor
    grad_latents: Tensor
    maps: tuple[Tensor, ...] = ()


Probe = Callable[["Tensor"], ProbeResult]
"""weights (K, B, 1, h, w) → the loss at the trial step that they lead to."""


class Balancer(ABC):
    """A rule for the weights ξ. Holds no state of a run: that is the value passed from start to update to update."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def start(self, setting: Setting) -> Any:
        """The state before the first step."""

    @abstractmethod
    def needs(self, state: Any, step: Step) -> Needs:
        """What this step uses; phases cost only what they use."""

    @abstractmethod
    def weights(self, state: Any, step: Step) -> Tensor:
        """ξ (K, B, 1, h, w), ≥ 0, summing to 1 over K at every pixel, 0 for branches that `needs` leaves out."""

    def update(self, state: Any, step: Step, probe: Probe) -> tuple[Any, ProbeResult | None]:
        """The state after this step's probe (Eq. 7). Called only where `needs` asked for a probe."""
        return state, None


@dataclass(frozen=True)
class PlanRequest:
    """What a planner is asked.

    Attributes:
        prompt: the user's sentence.
        size: (height, width) pixels.
        kinds: of condition that are wanted, each of the same layout: things stand in the same places in all of them.
        max_objects: the least of the branches' limits, or None.
        vocabulary: the only words the branches know, or None.
        keep: regions that must stay as they are.
        seed: the same seed plans the same.
        layout, wish: how things stand now, and what is wanted otherwise ("move the dog left"); only asked of a planner that `revises`.
        before: the condition that `keep` or `layout` are the regions of: the points and pixels that a box does not tell.
        classes: the only classes of a segmentation map that the branches have colours for, or None for ADE20K's.
    """

    prompt: str
    size: tuple[int, int]
    kinds: tuple[str, ...] = ("boxes",)
    max_objects: int | None = None
    vocabulary: tuple[str, ...] | None = None
    keep: tuple[Region, ...] = ()
    seed: int = 0
    layout: tuple[Region, ...] = ()
    wish: str = ""
    before: Condition | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """A planner's answer. `condition`, `more`: one condition for each kind that was asked for (placing.py makes them of boxes and phrases);
    `transcript`: what was said on the way, kept in the picture; `background`, `negative`: words for the scene without its things and for
    what must not be seen, used only if the recipe asks; `remarks`: what the user should know."""

    condition: Condition
    transcript: tuple[dict[str, Any], ...] = field(default=())
    background: str = ""
    negative: str = ""
    remarks: tuple[str, ...] = ()
    more: tuple[Condition, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them."""
        return (self.condition, *self.more)


class Planner(ABC):
    """From a prompt to a condition. `revises` says whether it takes requests with a `wish`."""

    revises: ClassVar[bool] = False

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def plan(self, request: PlanRequest) -> Plan:
        """A valid plan.

        Raises:
            PlanningError: no valid layout; says why.
        """

    async def try_many(self, requests: Sequence[PlanRequest]) -> list[Plan | PlanningError]:
        """Plans of a batch, each failure in its place. A planner that asks a server overrides it, with a limit on requests in flight."""

        def one(request: PlanRequest) -> Plan | PlanningError:
            try:
                return self.plan(request)
            except PlanningError as error:
                return error

        return [one(request) for request in requests]

    def requested(self, request: PlanRequest) -> dict[str, Any] | None:
        """What a server would be sent first, as plain data without any key; None if none is asked."""
        return None
