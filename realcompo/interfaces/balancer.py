"""Balancer: the rule for the weights ξ. It knows no model and no solver.

Shapes: B pictures, K branches, R regions (the most of any picture of the batch), h × w latent pixels. No torch at run time here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..specs import NoOptions, Options, Role
from .step import Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor


LEAST = 1e-3
"""Of a picture that is outside a region: one that is all of it cannot be misplaced."""


@dataclass(frozen=True)
class Setting:
    """What a balancer is told at the start: no model, no solver.

    Attributes:
        names, roles: of the K branches.
        masks: (B, R, h, w) coverage of each region at latent resolution.
        owners: (K, B, R) bool: which branches brought which region (fidelity owns none).
        generators: B, one a picture, for balancers that draw.
        kinds: K kinds of condition ("boxes", "keypoints", …), None for branches that take none; () where it is not told.
    """

    names: tuple[str, ...]
    roles: tuple[Role, ...]
    masks: Tensor
    owners: Tensor
    generators: tuple[torch.Generator, ...] = ()
    kinds: tuple[str | None, ...] = ()

    @property
    def fidelity(self) -> int:
        """Index of the fidelity branch."""
        return self.roles.index("fidelity")

    def relative(self, loss: Tensor) -> Tensor:
        """λ_r = L_r / (1 − |M_r|): a placement loss (…, B, R) over what it is where attention knows nothing and lies evenly over the
        picture. Free of a region's size: 0 where all lies inside, 1 where nothing is known. 0 of a region that is the whole picture."""
        even = (1 - self.masks.mean(dim=(-2, -1))).clamp(min=0)
        return (even > LEAST) * loss.to(even) / even.clamp(min=LEAST)


@dataclass(frozen=True)
class Move:
    """How z is moved before a step, down the slope of one branch's own placement loss (Eq. 6), a picture at a time:
    z ← z − length · √(1 − ᾱ) · √(C·h·w) · ∇_z L / ‖∇_z L‖.

    Free of scale: how large a network's slopes are, how many pixels the latents have, changes nothing.

    Attributes:
        most: moves at this step, one after the other.
        length: of one move, as a share of the noise in z.
        threshold: mean loss a region below which a picture is left alone.
        lagged: all at once, down the slope that the branch's prediction left at the step before (`Needs.slopes`): no pass of their own.
            Where none was left, no move.
        stop: a picture that was left alone once is left alone for the rest of the run.
        pictures: B bools, which pictures it is for; None for all.
        each: B whole numbers up to `most`, how many moves each picture makes; None for `most` in all of them.
    """

    most: int = 1
    length: float = 0.03
    threshold: float = 0.0
    lagged: bool = False
    stop: bool = False
    pictures: tuple[bool, ...] | None = None
    each: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Needs:
    """What a step uses.

    Attributes:
        branches: which branches act, that is, predict: K bools for all pictures alike, or (K, B), K tuples of B bools, for each picture.
        probe: whether the balancer wants a probe; only where all branches act. Pictures at which one is idle have none: loss and gradient
            are zero there.
        moves: K, by which branch's maps z is moved before any branch predicts, or () for none; an idle branch may be asked.
        slopes: K bools, or () for none: which acting branches leave the slope of their placement loss, from the graph of the pass that
            predicts, for lagged moves at the next step.
        looks: K bools, or () for none: which acting branches tell the placement loss of their own prediction's maps, for `Balancer.decide`:
            no graph, and where a branch reads its maps in the pass that predicts, at no price.
    """

    branches: tuple[bool, ...] | tuple[tuple[bool, ...], ...]
    probe: bool = False
    moves: tuple[Move | None, ...] = ()
    slopes: tuple[bool, ...] = ()
    looks: tuple[bool, ...] = ()

    def acts(self, k: int, b: int) -> bool:
        """Whether branch k acts in picture b."""
        asked = self.branches[k]
        return asked[b] if isinstance(asked, tuple) else asked

    def each(self) -> tuple[bool, ...]:
        """K bools: which branches act in any picture."""
        return tuple(any(asked) if isinstance(asked, tuple) else bool(asked) for asked in self.branches)


@dataclass(frozen=True)
class ProbeResult:
    """Loss at the trial step (Eq. 6/9) and its gradient.

    Attributes:
        loss: (B,) summed over branches and regions.
        region_loss: (K, B, R), zero for absent regions.
        grad_weights: (K, B, 1, h, w) ∂L/∂ξ of each weight taken as free; the balancer applies the softmax Jacobian.
        grad_latents: (K, B) norms ‖∂L^c/∂z‖ of each branch's own loss (Fig. 10).
        maps: K × (B, R, h', w') the maps that were read, without a graph.
        lagged: of the passes that predicted, at this step's z and not at a trial step.
    """

    loss: Tensor
    region_loss: Tensor
    grad_weights: Tensor
    grad_latents: Tensor
    maps: tuple[Tensor, ...] = ()
    lagged: bool = False


@dataclass(frozen=True, eq=False)
class Moved:
    """What the moves of one step did.

    Attributes:
        shift: (B, C, h, w) z_after − z_before, or None where nothing was asked.
        made: (K, B) moves that each picture made by each branch's maps.
        loss: (K, B, R) before the first move of each branch; zero for branches that were not asked.
        passes: K, how often each branch's maps were read for it, for the whole batch.
        maps: K × (B, R, h', w') before the first move; empty for branches that were not asked.
        read: (K, B) bool: the pictures whose maps were read.
    """

    shift: Tensor | None
    made: Tensor
    loss: Tensor
    passes: tuple[int, ...]
    maps: tuple[Tensor | None, ...] = ()
    read: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """What the passes of a step told of the layout.

    Attributes:
        loss: (K, B, R) placement loss (Eq. 6) by each branch's maps: of its prediction where `Needs.looks` or `slopes` asked for it, else
            before the first move of the step; zero for absent regions and where nothing was read.
        known: (K, B) bool: where something was read.
        count: (B,) regions of each picture.
    """

    loss: Tensor
    known: Tensor
    count: Tensor

    def mean(self, k: int) -> list[float | None]:
        """B, the mean loss a region by branch k's maps; None where nothing was read, or where there is no region."""
        means = (self.loss[k].sum(dim=1) / self.count.clamp(min=1)).tolist()
        told = (self.known[k] & (self.count > 0)).tolist()
        return [mean if there else None for mean, there in zip(means, told, strict=True)]


Probe = Callable[["Tensor"], ProbeResult]
"""weights (K, B, 1, h, w) → the loss at the trial step that they lead to."""


class Balancer(ABC):
    """A rule for the weights ξ. Holds no state of a run: that is the value passed from start to update to update.

    Attributes:
        descends: whether an update lowers the probe's loss (Eq. 7); False of a rule that only reads the probe's maps.
    """

    descends: ClassVar[bool] = True

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

    def decide(self, state: Any, step: Step, seen: Seen) -> Sequence[int] | None:
        """A whole number a picture: what is decided at the end of this step by what was seen in it; None where nothing is.

        A decision by a threshold flips by rounding. So the state may follow what was seen by these numbers alone: they are kept with the
        picture, and one that is drawn again is told them.
        """
        return None

    def follow(self, state: Any, step: Step, decided: Sequence[int]) -> Any:
        """The state after this step's decisions."""
        return state
