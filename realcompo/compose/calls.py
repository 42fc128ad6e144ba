"""How branches are called in a run: guided, as a half, for their maps, of some pictures of the batch or of all; and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import PluginProblem
from ..interfaces import Branch, Conditioning, GuidanceHalf, Prediction, Regions, Setting, Step
from ..noise.devices import steadily
from ..noise.diffusion import Solver, convert
from ..recipes.members import Member
from ..recipes.recipe import GuidanceOptions, ProbeOptions
from .cost import Meter
from .finite import Finite
from .guidance import acts, halved, twice
from .probe import LossScale, Slope, placement_slope, slope_of_maps
from .rows import Rows, joined, scale_of, total

T = TypeVar("T")

PICKS = 8
"""Picked conditionings that a branch's run keeps: pictures change hands seldom."""


@dataclass(kw_only=True)
class Calls:
    """The branches of one run, and what they left when they were called last.

    Attributes:
        members, branches, conditionings: K each, fidelity first.
        solver: the real step.
        regions: the union over branches, of B pictures.
        setting: what the balancer is told.
        options, guidance: how the loss is probed, and where guidance acts.
        offload: the device that a branch is awake on, if it sleeps on the CPU between its calls.
        hold: a branch that does not know a level is told the last that it does.
        scales: K loss scales, None where a network needs none.
        slopes: branch → what its last prediction left for the probe, or for the moves of the next step; zero for pictures that `left` does
            not name.
        left: branch → the pictures whose maps its last prediction told, and `losses` their (B, R) placement loss.
        finite: which pictures failed, and why.
        meter: what it costs.
    """

    members: Sequence[Member]
    branches: Sequence[Branch]
    solver: Solver
    regions: Regions
    setting: Setting
    options: ProbeOptions
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    offload: torch.device | None = None
    hold: bool = False
    conditionings: list[Conditioning] = field(default_factory=list)
    scales: list[LossScale | None] = field(default_factory=list)
    slopes: dict[int, Slope] = field(default_factory=dict)
    left: dict[int, Rows] = field(default_factory=dict)
    losses: dict[int, Tensor] = field(default_factory=dict)
    finite: Finite = field(init=False)
    meter: Meter = field(init=False)
    _picks: dict[tuple[int, tuple[int, ...]], Conditioning] = field(default_factory=dict)
    _ragged: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        dtypes = [branch.dtype for branch in self.branches]
        self.finite = Finite(self.setting.names, dtypes, len(self.regions), self.setting.masks.device)
        self.meter = Meter(len(self.regions))

    @property
    def every(self) -> Rows:
        """The whole batch."""
        return Rows.all(len(self.regions))

    @contextmanager
    def awake(self, k: int) -> Iterator[Branch]:
        """Branch k on its device; with offload the others sleep on the CPU. It stays up until another is called: a graph on its
        weights needs them where they were until its backward pass is over, and phases in which one branch acts move nothing."""
        if self.offload is not None:
            for other in self.branches:
                if other is not self.branches[k]:
                    other.to("cpu")
            self.branches[k].to(self.offload)
        yield self.branches[k]

    def sleep(self) -> None:
        """After the run: with offload, all branches back to the CPU."""
        if self.offload is not None:
            for branch in self.branches:
                branch.to("cpu")

    def own(self, k: int, step: Step) -> Step:
        """A step as branch k counts it: the same level, with the timestep and the scale of its own process."""
        schedule = self.branches[k].traits.schedule
        if step.schedule is None and schedule.process == self.solver.schedule.process:
            return step
        return step.seen_by(schedule, self.hold)

    # -- some pictures -----------------------------------------------------------------------------------------------------

    def conditioning(self, k: int, rows: Rows) -> Conditioning:
        """What branch k was told of these pictures."""
        if rows.whole:
            return self.conditionings[k]
        self._ragged.add(k)
        key = (k, rows.index)
        if key not in self._picks:
            for old in [one for one in self._picks if one[0] == k][: 1 - PICKS]:
                del self._picks[old]
            self._picks[key] = self.branches[k].pick(self.conditionings[k], rows.index)
        return self._picks[key]

    def regions_of(self, rows: Rows) -> Regions:
        """The regions of these pictures; R is the batch's."""
        return self.regions if rows.whole else self.regions.only(rows.index)

    def alike(self, k: int, rows: Rows, step: Step) -> list[Rows]:
        """The pictures in parts of which branch k does the same work at this step, as it would of each alone: once pictures have gone
        different ways, what it keeps between steps may serve one and not another."""
        if k not in self._ragged or len(rows) < 2:
            return [rows]
        own, parts = self.own(k, step), dict[object, list[int]]()
        for b in rows.index:
            work = self.branches[k].work(own, self.branches[k].pick(self.conditionings[k], (b,)))
            parts.setdefault(work, []).append(b)
        return [Rows(tuple(part), rows.count) for part in parts.values()]

    # -- predictions -------------------------------------------------------------------------------------------------------

    def predictions(
        self, acting: Sequence[tuple[int, Rows]], z: Tensor, step: Step, reads: Mapping[int, str] | None = None
    ) -> list[Prediction]:
        """Of each acting branch at z (B, C, h, w), of the kind that the run blends in; zero for pictures that do not ask it.

        Args:
            reads: branch → what its maps are read for: "probe" or "move", which leave their slope, or "look".
        """
        self.slopes, self.left, self.losses = {}, {}, {}
        found: list[Prediction] = []
        common: Tensor | None = None  # u of the first branch that has one, picture by picture
        having = Rows((), len(z))
        for k, rows in acting:
            parts = []
            for part in (rows & having, rows - having) if self.guidance.unconditional == "shared" else (rows,):
                for alike in self.alike(k, part, step) if part else ():
                    other = alike.of(common) if common is not None and alike.index and alike.index[0] in having.index else None
                    parts.append((alike, self.predict(k, alike.of(z), step, alike, other, (reads or {}).get(k, ""))))
            told = joined(parts)
            if self.guidance.unconditional == "shared" and told.unconditional is not None and told.shift is None:
                new = rows - having
                if new:
                    mine = told.unconditional if not having else new.into(new.of(told.unconditional))
                    common, having = mine if common is None else common + mine, having | new
            found.append(told)
        return found

    def predict(
        self, k: int, z: Tensor, step: Step, rows: Rows | None = None, unconditional: Tensor | None = None, reading: str = ""
    ) -> Prediction:
        """Branch k's prediction at z, of these pictures: guided, or its conditional half alone where guidance does not act.

        Args:
            unconditional: u of another branch at z, to guide this one by. Where this one moves z its own is asked, there: c at one z
                against u at another would make g times as much of the move.
            reading: what the maps are read for; then its halves run apart, as only one has maps.
        """
        rows = rows or self.every
        guided, apart = acts(self.guidance, step), halved(self.members[k], type(self.branches[k]))
        if not apart or (guided and unconditional is None and not reading):
            passes = 2 if twice(self.members[k]) else 1
            return self._blended(k, self._asked(k, z, step, rows, None, passes, reading), z, step, rows)
        told = self._asked(k, z, step, rows, "conditional", 1, reading)
        if guided and (unconditional is None or told.shift is not None):
            moved = z if told.shift is None else z + told.shift.to(z)
            unconditional = self._common(k, self._asked(k, moved, step, rows, "unconditional").noise, moved, step)
        return self._blended(k, told, z, step, rows, unconditional if guided else None)

    def _asked(
        self, k: int, z: Tensor, step: Step, rows: Rows, half: GuidanceHalf | None, passes: int = 1, reading: str = ""
    ) -> Prediction:
        """The prediction, or a half of it, as the branch gives it, of so many rows of the network a picture."""
        own, conditioning = self.own(k, step), self.conditioning(k, rows)

        def ask(at: Tensor) -> Prediction:
            branch, more = self.branches[k], {"read": True} if reading else {}
            if half is not None:
                return self._shaped(k, branch.predict_half(at.to(branch.device), own, conditioning, half, **more), at, step)
            return self._shaped(k, branch.predict(at.to(branch.device), own, conditioning, **more), at, step)

        way, count = f"{half or ''}{' read' if reading else ''}", passes * len(z)
        with self.awake(k):
            if not reading:
                return self.counted("predict", k, partial(ask, z), z, step, rows, way, count)
            leaf = z.detach().requires_grad_(reading == "move" or (reading == "probe" and not self.detached(k)))
            with torch.set_grad_enabled(leaf.requires_grad):
                told = self.counted("predict", k, partial(ask, leaf), z, step, rows, way, count)
                if told.maps is None:
                    raise PluginProblem(
                        f"{self.setting.names[k]} gave no maps at step {step.index} of {step.count}, though asked to read them",
                        mend="let predict, and predict_half, return maps where read is true",
                    )
                maps = self.finite.see("maps", told.maps.to(z.device), step, k, rows=rows)
                note = partial(self.finite.note, "gradient", step=step, branch=k, rows=rows)
                again = z.device.type == "cuda"  # where an operation has no steady form, the way back is gone once more
                back = partial(slope_of_maps, maps, leaf, self.regions_of(rows), scale_of(self.scales[k], rows), note, again)
                if reading == "look":
                    loss, _, _ = back()
                    self._leave(k, rows, loss)
                else:
                    slope = self.counted(reading, k, partial(steadily, z.device, back), z, step, rows, "read")
                    self._leave(k, rows, slope[0], slope)
        shift = None if told.shift is None else told.shift.detach()
        return Prediction(told.noise.detach(), None, shift, told.unconditional)

    def _shaped(self, k: int, told: Prediction, at: Tensor, step: Step) -> Prediction:
        """What branch k predicted at these latents.

        Raises:
            PluginProblem: it is no prediction, or one of another shape.
        """
        found = tuple(told.noise.shape) if isinstance(told, Prediction) else type(told).__name__
        if found != tuple(at.shape):
            raise PluginProblem(
                f"{self.setting.names[k]} predicted {found} at step {step.index} of {step.count}, of latents {tuple(at.shape)}",
                mend="let predict, and predict_half, return a Prediction whose noise has the shape of z",
            )
        return told

    def _leave(self, k: int, rows: Rows, loss: Tensor, slope: Slope | None = None) -> None:
        """Keep what maps told, beside that of other pictures of this step."""
        mine = [rows.into(one) for one in slope or ()]
        if k in self.left:
            mine = [total(pair) for pair in zip(self.slopes.get(k, ()), mine, strict=True)]
            self.left[k], self.losses[k] = self.left[k] | rows, self.losses[k] + rows.into(loss)
        else:
            self.left[k], self.losses[k] = rows, rows.into(loss)
        if mine:
            self.slopes[k] = (mine[0], mine[1], mine[2])

    def part_scales(self, rows: Rows) -> list[LossScale | None]:
        """The loss scales of these pictures."""
        return [scale_of(scale, rows) for scale in self.scales]

    def detached(self, k: int) -> bool:
        """Whether the probe reads branch k's maps without a gradient."""
        return self.members[k].role in self.options.detach or self.members[k].name in self.options.detach

    def _blended(self, k: int, told: Prediction, z: Tensor, step: Step, rows: Rows, unconditional: Tensor | None = None) -> Prediction:
        """What branch k told at z, finite, on z's device, of the kind that the run blends in; guided by u, of that kind, if it is given
        (the sum is the same in either kind, as its weights are one together)."""
        shift = None if told.shift is None else self.finite.clean("shift", told.shift.to(z), step, k, rows)
        moved = z if shift is None else z + shift
        noise = self._common(k, told.noise, moved, step)
        if unconditional is not None:
            noise = unconditional + self.members[k].guidance_scale * (noise - unconditional)
        elif told.unconditional is not None:
            unconditional = self._common(k, told.unconditional, moved, step)
        return Prediction(self.finite.clean("prediction", noise, step, k, rows), None, shift, unconditional)

    def counted(self, kind: str, k: int, call: Callable[[], T], z: Tensor, step: Step, rows: Rows, way: str = "", passes: int = 0) -> T:
        """A call of branch k, its operations counted; the first prediction of the fidelity branch is also the unit.

        Args:
            way: calls of one kind that are made in several ways.
            passes: rows of the network, of a prediction that the unit may be taken from; what reads maps besides is second choice.
        """
        part, work = f"{kind} {self.members[k].name}", self.branches[k].work(step, self.conditioning(k, rows))
        before = self.meter.spent.get(part, 0.0)
        result = self.meter.count(part, None if work is None else (k, tuple(z.shape), work, way), call, rows)
        if passes:
            self.meter.learn_unit(part, before, passes, self.members[k].role == "fidelity" and not way.endswith("read"))
        return result

    # -- maps --------------------------------------------------------------------------------------------------------------

    def attend(self, k: int, z: Tensor, step: Step, rows: Rows | None = None) -> Tensor:
        """Branch k's maps of these pictures at z, on z's device."""
        rows = rows or self.every
        with self.awake(k) as branch:
            maps = branch.attend(z.to(branch.device), self.own(k, step), self.conditioning(k, rows)).to(z.device)
        return self.finite.see("maps", maps, step, k, rows=rows)

    def slope(self, k: int, z: Tensor, rows: Rows, step: Step) -> Slope:
        """Branch k's placement loss at z, of these pictures, its slope and its maps: a move's."""
        note = partial(self.finite.note, "gradient", step=step, branch=k, rows=rows)
        read = partial(self.attend, k, step=step, rows=rows)
        call = partial(placement_slope, read, z, self.regions_of(rows), scale_of(self.scales[k], rows), True, note)
        return self.counted("move", k, call, z, step, rows)

    def unguided(self, k: int, z: Tensor, step: Step, rows: Rows) -> Tensor:
        """Branch k's prediction of its conditional half alone."""
        own, conditioning = self.own(k, step), self.conditioning(k, rows)
        with self.awake(k) as branch:
            call = partial(branch.predict_unguided, z.to(branch.device), own, conditioning)
            noise = self._common(k, self.counted("probe", k, call, z, step, rows, "unguided"), z, step)
        return self.finite.clean("prediction", noise, step, k, rows)

    def _common(self, k: int, prediction: Tensor, z: Tensor, step: Step) -> Tensor:
        """A prediction as the run blends it; of a branch that is held at another level, the picture x₀ that it sees there."""
        kind, level = self.branches[k].traits.prediction_type, self.own(k, step).alpha_bar
        if level == step.alpha_bar:
            return convert(prediction.to(z), kind, self.solver.kind, z, level)
        return convert(convert(prediction.to(z), kind, "sample", z, level), "sample", self.solver.kind, z, step.alpha_bar)
