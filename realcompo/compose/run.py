"""One call of a composer: what is made once (text, regions), what each step asks of the branches, and what is written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import PluginProblem
from ..interfaces import Balancer, Inpainting, Move, Moved, Needs, Prediction, Probe, ProbeResult, Regions, Request, Seen, Step
from ..noise.diffusion import Transition
from ..pictures.trace import Trace, TraceEntry
from .calls import Calls
from .candidates import Noises
from .cost import Meter
from .decided import Decided, decisions
from .inputs import PictureInputs
from .moves import move_latents
from .probe import LaggedProbe, LossScale, TrialProbe, placement_slope
from .rows import Rows, probe_of
from .undrawn import Kept


@dataclass(kw_only=True)
class Run(Calls):
    """All that belongs to one call: nothing of it outlives the call. See `Calls` for what is called, and what it leaves.

    Attributes:
        trace: what is written down.
        chances: how often the balancer wanted a probe.
        standing: (K, B) pictures that a move with `stop` has left alone.
        kept: what of the latents is not drawn; None where all is.
        inpainting: what branches whose networks inpaint are told.
        before: the first pass, where this is the second.
        told: of each row, what was decided of its picture when it was drawn first; () where it never was.
        noises: the rows of the batch: one a picture, or several until one is chosen.
    """

    trace: Trace
    chances: int = 0
    standing: Tensor = field(init=False)
    kept: Kept | None = None
    inpainting: Inpainting | None = None
    before: Run | None = None
    told: Sequence[Decided | None] = ()
    noises: Noises

    def __post_init__(self) -> None:
        super().__post_init__()
        self.meter = Meter(self.noises.pictures, self.noises.owners)
        self.noises.spare([bool(self.regions.pictures[row]) for row in self.noises.heads])
        self.standing = torch.zeros(len(self.branches), len(self.regions), dtype=torch.bool, device=self.setting.masks.device)

    def encode(self, inputs: PictureInputs, size: tuple[int, int]) -> None:
        """Each branch's text, regions and condition, once: noises of one picture share them. (An inpainting network is told latents of what
        stands around the mask, which each noise's generator draws.)"""
        apart = self.inpainting is not None
        heads = self.every.index if apart else self.noises.heads
        pictures = [inputs.pictures[row] for row in heads]
        for k, m in enumerate(self.members):
            request = Request(
                prompts=tuple(m.own_prompt(picture.prompt) for picture in pictures),
                negative_prompts=tuple(
                    picture.negative_prompt if m.entry.negative_prompt is None else m.entry.negative_prompt for picture in pictures
                ),
                regions=Regions(tuple(m.own_regions(self.regions.pictures[row]) for row in heads)),
                conditions=tuple(m.condition(picture) if m.role == "spatial" else None for picture in pictures),
                size=size,
                guidance_scale=m.guidance_scale,
                balanced=len(self.members) > 1,
                inpainting=self.inpainting if m.traits.inpaints else None,
            )
            with self.awake(k) as branch:
                told = self.meter.count("text", None, partial(branch.encode, request))
                self.conditionings.append(told if apart or not self.noises.several else branch.pick(told, self.noises.owners))
                for rows in branch.embeddings(self.conditionings[k]):
                    self.finite.see("text", rows, branch=k)
            self.scales.append(LossScale() if branch.dtype == torch.float16 else None)

    def settle(self, x: Tensor) -> Tensor:
        """After the last step, x of all noises: what the run holds is of its pictures, each by the noise that went on. Their x (B, …)."""
        rows, noises = self.noises.rows, self.noises
        if noises.several:
            self.trace, self.regions = self.trace.only(rows), self.regions.only(rows)
            self.trace.chosen, self.trace.candidates = noises.chosen, noises.worst
            self.told = [self.told[row] for row in rows] if self.told else ()
            self.finite.only(rows)
        return noises.shown(x)

    def follow(self, first: Run) -> None:
        """Go on where a first pass ended: a picture that failed there has failed."""
        self.before, self.told = first, first.told
        self.finite.failed.update(first.finite.failed)

    def finish(self) -> None:
        """After the last step: what it cost, and the trace of both passes as one."""
        self.trace.cost, self.trace.costs = self.meter.cost(), self.meter.costs()
        if self.before is not None:
            self.before.finish()
            self.trace = self.before.trace.then(self.trace)

    # -- what a step asks --------------------------------------------------------------------------------------------------

    def acting(self, needs: Needs) -> list[tuple[int, Rows]]:
        """The branches that act at a step, each with the pictures that it acts in."""
        found = [(k, self.noises.going & Rows.where(needs.acts(k, b) for b in self.every.index)) for k in range(len(self.branches))]
        return [(k, rows) for k, rows in found if rows]

    def choose(self, z: Tensor, step: Step) -> None:
        """Where a picture has several noises, and this is the step: the one of which the fidelity branch's maps at z say that its worst
        region stands best goes on, and the others are asked no more."""
        if not self.noises.due(step):
            return
        k, rows = self.setting.fidelity, self.noises.going
        read = partial(self.attend, k, step=step, rows=rows)
        look = partial(placement_slope, read, rows.of(z), self.regions_of(rows), None, graph=False)
        loss, _, _ = self.counted("look", k, look, z, step, rows)
        worst = self.setting.relative(rows.into(loss)).amax(dim=1) if loss.numel() else z.new_zeros(len(z))
        lost = torch.tensor([row in self.finite.failed or row not in rows.index for row in self.every.index], device=worst.device)
        self.noises.choose(worst.masked_fill(lost | worst.isnan(), math.inf), self.told)

    def move(self, z: Tensor, step: Step, moves: Sequence[Move | None]) -> tuple[Tensor, Moved | None]:
        """z where the moves that the balancer wants leave it, before any branch predicts; None where it wants none."""
        if not any(moves):
            return z, None
        if len(moves) != len(self.branches):
            raise PluginProblem(
                f"the balancer asked for moves by {len(moves)} branches of {len(self.branches)} at step {step.index} of {step.count}",
                mend="give Needs.moves one entry a branch, None where it moves nothing",
            )
        noise, drawn = math.sqrt(1 - step.alpha_bar), None if self.kept is None else self.kept.mask
        told = decisions(self.told, self.position, self.setting.names)
        ask = partial(self.slope, step=step)
        among = self.noises.going
        return move_latents(z, moves, ask, self.regions, noise, self.slopes, self.left, self.standing, drawn, among, told)

    def predictions_of(self, acting: Sequence[tuple[int, Rows]], z: Tensor, step: Step, needs: Needs, due: bool) -> list[Prediction]:
        """The prediction of each acting branch at z, of the kind that the run blends in."""
        return self.predictions(acting, z, step, self.reads(needs, due, step))

    def reads(self, needs: Needs, due: bool, step: Step) -> dict[int, str]:
        """Branches whose maps are read in the pass that predicts → what for: "probe" or "move", as the cost tells their slope, or "look".

        Raises:
            PluginProblem: the balancer asked for the slope of a branch that does not act.
        """
        slopes = {k: "move" for k, asked in enumerate(needs.slopes) if asked}
        if due and self.options.lagged:
            slopes |= {k: "probe" for k in range(len(self.branches))}
        acting = needs.each()
        idle = [k for k in slopes if k >= len(acting) or not acting[k]]
        if idle:
            raise PluginProblem(
                f"the balancer asked for the slope of branch {idle[0]} at step {step.index} of {step.count}, at which it does not act",
                mend="ask for slopes (Needs.slopes), and for a lagged probe, only where Needs.branches are True",
            )
        return {**{k: "look" for k, asked in enumerate(needs.looks) if asked}, **slopes}

    def probe_is_due(self) -> bool:
        """Every k-th time that the balancer wants a probe."""
        self.chances += 1
        return (self.chances - 1) % self.options.every == 0

    def trial(self, z: Tensor, step: Step, acting: Sequence[tuple[int, Rows]], predictions: Sequence[Prediction]) -> Probe:
        """The probe of the pictures in which all branches act; their guided noises are used again.

        Raises:
            PluginProblem: the balancer asked for a probe at a step at which it leaves a branch out of every picture.
        """
        rows = self.every
        for _, asked in acting:
            rows = rows & asked
        if len(acting) < len(self.branches) or not rows:
            raise PluginProblem(
                f"the balancer asked for a probe at step {step.index} of {step.count}, at which not all branches act",
                mend="ask for a probe only where Needs.branches are all True",
            )
        noises = [p.noise for p in predictions]
        shifts = [p.shift for p in predictions]
        return probe_of(rows, partial(self._trial, z, step, noises, shifts))

    def _trial(self, z: Tensor, step: Step, noises: Sequence[Tensor], shifts: Sequence[Tensor | None], rows: Rows) -> Probe:
        z, noises = rows.of(z), [rows.of(noise) for noise in noises]
        shifts = [None if shift is None else rows.of(shift) for shift in shifts]
        count = range(len(self.branches))
        transition, detached = Transition.of(step, self.solver.kind), [self.detached(k) for k in count]
        finite = self.finite if rows.whole else None
        if self.options.lagged:
            slopes = [(rows.of(self.slopes[k][0]), rows.of(self.slopes[k][1]), rows.of(self.slopes[k][2])) for k in count]
            return LaggedProbe(slopes, noises, shifts, transition, step, detached, finite)
        if not self.options.guided:
            noises = [self.unguided(k, z, step, rows) for k in count]
        return TrialProbe(
            readers=[partial(self.attend, k, rows=rows) for k in count],
            z=z,
            noises=noises,
            shifts=shifts,
            transition=transition,
            told=step if self.options.timestep == "t" else replace(step, t=max(step.t_prev, 0), alpha_bar=step.alpha_bar_prev),
            regions=self.regions_of(rows),
            detached=detached,
            scales=self.part_scales(rows),
            finite=finite,
            counted=lambda k, call: self.counted("probe", k, call, z, step, rows),
        )

    # -- what a step leaves ------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Of this step among those of all passes."""
        return len(self.trace.entries) + (0 if self.before is None else len(self.before.trace.entries))

    def decide(self, balancer: Balancer, state: Any, step: Step, moved: Moved | None) -> tuple[Any, tuple[int, ...]]:
        """The state after what the balancer decides by what this step's passes told, and the decisions; of a picture that is drawn again,
        those of the first time.

        Raises:
            PluginProblem: not a whole number a picture.
        """
        if type(balancer).decide is Balancer.decide:
            return state, ()
        found = balancer.decide(state, step, self.seen(moved))
        if found is None:
            return state, ()
        if len(found) != len(self.regions) or not all(isinstance(one, int) for one in found):
            raise PluginProblem(
                f"the balancer decided {list(found)!r} at step {step.index} of {step.count}, of {len(self.regions)} pictures",
                mend="let Balancer.decide return one whole number a picture, or None",
            )
        before = self.told or [None] * len(found)
        final = tuple(own if one is None else one.choice(self.position, own) for own, one in zip(found, before, strict=True))
        return balancer.follow(state, step, final), final

    def seen(self, moved: Moved | None) -> Seen:
        """What this step's passes told of the layout."""
        masks = self.setting.masks
        shape = (len(self.branches), len(self.regions))
        loss = masks.new_zeros(*shape, self.regions.most)
        known = torch.zeros(shape, dtype=torch.bool, device=masks.device)
        if moved is not None and moved.read is not None:
            loss, known = moved.loss.clone().to(loss), moved.read.clone()
        for k, rows in self.left.items():
            mine = rows.mask(masks.device)
            loss[k] = torch.where(mine[:, None], self.losses[k].to(loss), loss[k])
            known[k] |= mine
        return Seen(loss, known, self.regions.present().to(masks.device).sum(dim=1))

    def keep(self, x: Tensor, step: Step) -> Tensor:
        """x after a step, in the solver's own scale, with what is not drawn as it was."""
        return x if self.kept is None else self.kept.after(x, step, self.solver)

    def record(
        self,
        step: Step,
        acting: Sequence[tuple[int, Rows]],
        weights: Tensor,
        probed: ProbeResult | None,
        moved: Moved | None,
        decided: tuple[int, ...] = (),
    ) -> TraceEntry:
        """Write one step down, and learn from the same wait which pictures failed in it."""
        self.finite.send()
        self.trace.cost, self.trace.costs = self.meter.cost(), self.noises.spread(self.meter.costs())
        acts = torch.zeros(len(self.branches), len(self.regions), dtype=torch.bool)
        for k, rows in acting:
            acts[k] = rows.mask()
        entry = self.trace.record(step, tuple(self.setting.names[k] for k, _ in acting), weights, probed, moved, acts, decided)
        self.finite.read()
        return entry


def owners(owned: Sequence[Sequence[set[str]]], regions: Regions) -> Tensor:
    """(K, B, R) bool from owned[k][b], the ids that branch k brought to picture b."""
    found = torch.zeros(len(owned), len(regions), regions.most, dtype=torch.bool)
    for k, pictures in enumerate(owned):
        for b, ids in enumerate(pictures):
            for r, region in enumerate(regions.pictures[b]):
                found[k, b, r] = region.id in ids
    return found
