"""One call of a composer: what is made once (text, regions, solver), and how branches are called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..arguments import called, shown
from ..errors import BadOption, PluginProblem
from ..interfaces import (
    Balancer,
    Branch,
    Conditioning,
    GuidanceHalf,
    Move,
    Moved,
    Needs,
    Prediction,
    Probe,
    ProbeResult,
    Regions,
    Request,
    Setting,
    Step,
)
from ..noise.devices import steadily
from ..noise.diffusion import Solver, Transition, convert
from ..pictures.trace import Trace, TraceEntry
from ..recipes.members import Member
from ..recipes.recipe import GuidanceOptions, ProbeOptions
from ..registry import Registry
from .cost import Meter
from .finite import Finite
from .guidance import acts, halved, twice
from .inputs import PictureInputs
from .levels import acting_at
from .moves import move_latents
from .probe import LaggedProbe, LossScale, Slope, TrialProbe, slope_of_maps

OUTPUTS = ("pil", "np", "pt", "latent")
"""What a run can give back."""

T = TypeVar("T")


@dataclass
class Run:
    """All that belongs to one call: nothing of it outlives the call.

    Attributes:
        members, branches, conditionings: K each, fidelity first.
        solver: the real step.
        regions: the union over branches, of B pictures.
        setting: what the balancer is told.
        options, guidance: how the loss is probed, and where guidance acts.
        offload: the device that a branch is awake on, if it sleeps on the CPU between its calls.
        hold: a branch that does not know a level is told the last that it does.
        finite: which pictures failed, and why.
        slopes: branch → what its last prediction left for the probe, or for the moves of the next step.
        standing: (K, B) pictures that a move with `stop` has left alone.
    """

    members: Sequence[Member]
    branches: Sequence[Branch]
    solver: Solver
    regions: Regions
    setting: Setting
    options: ProbeOptions
    trace: Trace
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    offload: torch.device | None = None
    hold: bool = False
    conditionings: list[Conditioning] = field(default_factory=list)
    scales: list[LossScale | None] = field(default_factory=list)
    chances: int = 0
    slopes: dict[int, Slope] = field(default_factory=dict)
    standing: Tensor = field(init=False)
    finite: Finite = field(init=False)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        dtypes = [branch.dtype for branch in self.branches]
        self.finite = Finite(self.setting.names, dtypes, len(self.regions), self.setting.masks.device)
        self.meter = Meter(len(self.regions))
        self.standing = torch.zeros(len(self.branches), len(self.regions), dtype=torch.bool, device=self.setting.masks.device)

    def encode(self, inputs: PictureInputs, size: tuple[int, int]) -> None:
        """Each branch's text, regions and condition, once."""
        for k, m in enumerate(self.members):
            request = Request(
                prompts=tuple(m.own_prompt(picture.prompt) for picture in inputs.pictures),
                negative_prompts=tuple(
                    picture.negative_prompt if m.entry.negative_prompt is None else m.entry.negative_prompt for picture in inputs.pictures
                ),
                regions=Regions(tuple(m.own_regions(regions) for regions in self.regions.pictures)),
                conditions=tuple(m.condition(picture) if m.role == "spatial" else None for picture in inputs.pictures),
                size=size,
                guidance_scale=m.guidance_scale,
                balanced=len(self.members) > 1,
            )
            with self.awake(k) as branch:
                self.conditionings.append(self.meter.count("text", None, partial(branch.encode, request)))
                for rows in branch.embeddings(self.conditionings[k]):
                    self.finite.see("text", rows, branch=k)
            self.scales.append(LossScale() if branch.dtype == torch.float16 else None)

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

    def reads(self, needs: Needs, due: bool, step: Step) -> dict[int, str]:
        """Branches whose predictions leave a slope at this step → what for, as the cost tells it ("probe" or "move").

        Raises:
            PluginProblem: the balancer asked it of a branch that does not act.
        """
        wanted = {k: "move" for k, asked in enumerate(needs.slopes) if asked}
        if due and self.options.lagged:
            wanted |= {k: "probe" for k in range(len(self.branches))}
        idle = [k for k in wanted if k >= len(needs.branches) or not needs.branches[k]]
        if idle:
            raise PluginProblem(
                f"the balancer asked for the slope of branch {idle[0]} at step {step.index} of {step.count}, at which it does not act",
                mend="ask for slopes (Needs.slopes), and for a lagged probe, only where Needs.branches are True",
            )
        return wanted

    def predictions(self, acting: Sequence[int], z: Tensor, step: Step, reads: Mapping[int, str] | None = None) -> list[Prediction]:
        """Of each acting branch at z, of the kind that the run blends in; see `reads`."""
        self.slopes = {}
        found: list[Prediction] = []
        for k in acting:
            shared = next((one.unconditional for one in found if one.unconditional is not None and one.shift is None), None)
            found.append(self.predict(k, z, step, shared if self.guidance.unconditional == "shared" else None, (reads or {}).get(k, "")))
        return found

    def predict(self, k: int, z: Tensor, step: Step, unconditional: Tensor | None = None, reading: str = "") -> Prediction:
        """Branch k's prediction at z: guided, or its conditional half alone where guidance does not act.

        Args:
            unconditional: (B, C, h, w) u of another branch at z, to guide this one by. Where this one moves z its own is asked, there:
                c at one z against u at another would make g times as much of the move.
            reading: what the slope is for that its pass is to leave in `slopes`; then its halves run apart, as only one has a graph.
        """
        guided, apart = acts(self.guidance, step), halved(self.members[k], type(self.branches[k]))
        if not apart or (guided and unconditional is None and not reading):
            rows = 2 if twice(self.members[k]) else 1
            return self._blended(k, self._asked(k, z, step, None, rows, reading), z, step)
        told = self._asked(k, z, step, "conditional", 1, reading)
        if guided and (unconditional is None or told.shift is not None):
            moved = z if told.shift is None else z + told.shift.to(z)
            unconditional = self._common(k, self._asked(k, moved, step, "unconditional").noise, moved, step)
        return self._blended(k, told, z, step, unconditional if guided else None)

    def _asked(self, k: int, z: Tensor, step: Step, half: GuidanceHalf | None, rows: int = 1, reading: str = "") -> Prediction:
        """The prediction, or a half of it, as the branch gives it, of so many rows of the network a picture."""
        own = self.own(k, step)

        def ask(at: Tensor) -> Prediction:
            branch, conditioning, more = self.branches[k], self.conditionings[k], {"read": True} if reading else {}
            if half is not None:
                return branch.predict_half(at.to(branch.device), own, conditioning, half, **more)
            return branch.predict(at.to(branch.device), own, conditioning, **more)

        way, count = f"{half or ''}{' read' if reading else ''}", rows * len(z)
        with self.awake(k):
            if not reading:
                return self._counted("predict", k, partial(ask, z), z, step, way, count)
            leaf = z.detach().requires_grad_(reading == "move" or not self._detached(k))
            with torch.set_grad_enabled(leaf.requires_grad):
                told = self._counted("predict", k, partial(ask, leaf), z, step, way, count)
                if told.maps is None:
                    raise PluginProblem(
                        f"{self.setting.names[k]} gave no maps at step {step.index} of {step.count}, though asked to read them",
                        mend="let predict, and predict_half, return maps where read is true",
                    )
                maps = self.finite.see("maps", told.maps.to(z.device), step, k)
                note = partial(self.finite.note, "gradient", step=step, branch=k)
                again = z.device.type == "cuda"  # where an operation has no steady form, the way back is gone once more
                back = partial(slope_of_maps, maps, leaf, self.regions, self.scales[k], note, again)
                self.slopes[k] = self._counted(reading, k, partial(steadily, z.device, back), z, step, "read")
        shift = None if told.shift is None else told.shift.detach()
        return Prediction(told.noise.detach(), None, shift, told.unconditional)

    def _detached(self, k: int) -> bool:
        """Whether the probe reads branch k's maps without a gradient."""
        return self.members[k].role in self.options.detach or self.members[k].name in self.options.detach

    def _blended(self, k: int, told: Prediction, z: Tensor, step: Step, unconditional: Tensor | None = None) -> Prediction:
        """What branch k told at z, finite, on z's device, of the kind that the run blends in; guided by u, of that kind, if it is given
        (the sum is the same in either kind, as its weights are one together)."""
        shift = None if told.shift is None else self.finite.clean("shift", told.shift.to(z), step, k)
        moved = z if shift is None else z + shift
        noise = self._common(k, told.noise, moved, step)
        if unconditional is not None:
            noise = unconditional + self.members[k].guidance_scale * (noise - unconditional)
        elif told.unconditional is not None:
            unconditional = self._common(k, told.unconditional, moved, step)
        return Prediction(self.finite.clean("prediction", noise, step, k), None, shift, unconditional)

    def _counted(self, kind: str, k: int, call: Callable[[], T], z: Tensor, step: Step, way: str = "", rows: int = 0) -> T:
        """A call of branch k, its operations counted; the first prediction of the fidelity branch is also the unit.

        Args:
            way: calls of one kind that are made in several ways.
            rows: of the network, of a prediction that the unit may be taken from; what reads maps besides is second choice.
        """
        part, work = f"{kind} {self.members[k].name}", self.branches[k].work(step, self.conditionings[k])
        before = self.meter.spent.get(part, 0.0)
        result = self.meter.count(part, None if work is None else (k, tuple(z.shape), work, way), call)
        if rows:
            self.meter.learn_unit(part, before, rows, self.members[k].role == "fidelity" and not way.endswith("read"))
        return result

    def attend(self, k: int, z: Tensor, step: Step) -> Tensor:
        """Branch k's maps at z, on z's device."""
        with self.awake(k) as branch:
            maps = branch.attend(z.to(branch.device), self.own(k, step), self.conditionings[k]).to(z.device)
        return self.finite.see("maps", maps, step, k)

    def record(self, step: Step, acting: Sequence[int], weights: Tensor, probed: ProbeResult | None, moved: Moved | None) -> TraceEntry:
        """Write one step down, and learn from the same wait which pictures failed in it."""
        self.finite.send()
        self.trace.cost = self.meter.cost()
        entry = self.trace.record(step, tuple(self.setting.names[k] for k in acting), weights, probed, moved)
        self.finite.read()
        return entry

    def move(self, z: Tensor, step: Step, moves: Sequence[Move | None]) -> tuple[Tensor, Moved | None]:
        """z where the moves that the balancer wants leave it, before any branch predicts; None where it wants none."""
        if not any(moves):
            return z, None
        if len(moves) != len(self.branches):
            raise PluginProblem(
                f"the balancer asked for moves by {len(moves)} branches of {len(self.branches)} at step {step.index} of {step.count}",
                mend="give Needs.moves one entry a branch, None where it moves nothing",
            )
        readers = [partial(self.attend, k, step=step) for k in range(len(self.branches))]
        counted = partial(self._counted, "move", z=z, step=step)
        notes = [partial(self.finite.note, "gradient", step=step, branch=k) for k in range(len(self.branches))]
        noise = math.sqrt(1 - step.alpha_bar)
        return move_latents(z, moves, readers, self.regions, self.scales, noise, counted, notes, self.slopes, self.standing)

    def probe_is_due(self) -> bool:
        """Every k-th time that the balancer wants a probe."""
        self.chances += 1
        return (self.chances - 1) % self.options.every == 0

    def trial(self, z: Tensor, step: Step, noises: Sequence[Tensor], shifts: Sequence[Tensor | None]) -> Probe:
        """The probe of a step at which all branches act; their guided noises are used again.

        Raises:
            PluginProblem: the balancer asked for a probe at a step at which it leaves a branch out.
        """
        if len(noises) < len(self.branches):
            raise PluginProblem(
                f"the balancer asked for a probe at step {step.index} of {step.count}, at which not all branches act",
                mend="ask for a probe only where Needs.branches are all True",
            )
        transition, detached = Transition.of(step, self.solver.kind), [self._detached(k) for k in range(len(self.branches))]
        if self.options.lagged:
            slopes = [self.slopes[k] for k in range(len(self.branches))]
            return LaggedProbe(slopes, noises, shifts, transition, step, detached, self.finite)
        if not self.options.guided:
            noises = [self._unguided(k, z, step) for k in range(len(self.branches))]
        return TrialProbe(
            readers=[partial(self.attend, k) for k in range(len(self.branches))],
            z=z,
            noises=noises,
            shifts=shifts,
            transition=transition,
            told=step if self.options.timestep == "t" else replace(step, t=max(step.t_prev, 0), alpha_bar=step.alpha_bar_prev),
            regions=self.regions,
            detached=detached,
            scales=self.scales,
            finite=self.finite,
            counted=partial(self._counted, "probe", z=z, step=step),
        )

    def _unguided(self, k: int, z: Tensor, step: Step) -> Tensor:
        own = self.own(k, step)
        with self.awake(k) as branch:
            unguided = self._counted(
                "probe", k, lambda: branch.predict_unguided(z.to(branch.device), own, self.conditionings[k]), z, step, "unguided"
            )
            noise = self._common(k, unguided, z, step)
        return self.finite.clean("prediction", noise, step, k)

    def _common(self, k: int, prediction: Tensor, z: Tensor, step: Step) -> Tensor:
        """A prediction as the run blends it; of a branch that is held at another level, the picture x₀ that it sees there."""
        kind, level = self.branches[k].traits.prediction_type, self.own(k, step).alpha_bar
        if level == step.alpha_bar:
            return convert(prediction.to(z), kind, self.solver.kind, z, level)
        return convert(convert(prediction.to(z), kind, "sample", z, level), "sample", self.solver.kind, z, step.alpha_bar)


def remarks(members: Sequence[Member], registry: Registry, balancer: Balancer, steps: int) -> list[str]:
    """What the branches say of a run before it is drawn (see `Branch.remarks`), each after its branch's name. The balancer is asked at
    each of `steps` which branches act, on a picture without regions."""
    acting = acting_at(members, balancer, steps)
    balanced = [i for i, acts in enumerate(acting) if len(acts) > 1 and all(acts)]
    span = (balanced[0] / steps, (balanced[-1] + 1) / steps) if balanced else None
    said = []
    for m in members:
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        said += [f"{m.name}: {remark}" for remark in cls.remarks(m.spec, m.options(registry), span)]
    return said


def owners(owned: Sequence[Sequence[set[str]]], regions: Regions) -> Tensor:
    """(K, B, R) bool from owned[k][b], the ids that branch k brought to picture b."""
    found = torch.zeros(len(owned), len(regions), regions.most, dtype=torch.bool)
    for k, pictures in enumerate(owned):
        for b, ids in enumerate(pictures):
            for r, region in enumerate(regions.pictures[b]):
                found[k, b, r] = region.id in ids
    return found


def check_outputs(output_type: Any, callback: Any, progress: Any) -> None:
    """Raise BadOption where what is to happen with the pictures cannot."""
    if output_type not in OUTPUTS:
        raise BadOption(f"output_type = {shown(output_type)}", mend=f"one of {', '.join(map(repr, OUTPUTS))}")
    called("callback_on_step_end", callback)
    called("progress", progress)


def returned_latents(told: Any, x: Tensor) -> Tensor:
    """The latents that a callback gave back, or those that it was given.

    Raises:
        BadOption: something else, or latents of another shape.
    """
    if told is None:
        return x
    if not isinstance(told, Mapping):
        raise BadOption(f"callback_on_step_end returned {shown(told)}", mend='return {"latents": …}, as in diffusers, or None')
    found = told.get("latents", x)
    if not isinstance(found, Tensor) or found.shape != x.shape or not found.is_floating_point():
        what = tuple(found.shape) if isinstance(found, Tensor) else shown(found)
        raise BadOption(
            f"callback_on_step_end returned latents of {what}, expected {tuple(x.shape)}",
            mend="return those it was given, changed in place or not",
        )
    return found.to(x)
