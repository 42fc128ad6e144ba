"""What a run writes down: loss, gradients and weights a step. Kept on the CPU, in plain tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..interfaces import Moved, ProbeResult, Step


@dataclass(frozen=True, eq=False)
class TraceEntry:
    """One step of one run, B pictures and K branches.

    Attributes:
        step: where in the run.
        acting: names of the branches that were called.
        acts: (K, B) bool: for which pictures.
        weights: ξ (K, B, h, w), zero for branches that did not act.
        loss: (B,) at the trial step, or None where there was no probe.
        region_loss: (K, B, R), likewise.
        grad_latents: (K, B) ‖∂L^c/∂z‖, likewise.
        grad_weights: (B,) root mean square of ∂L/∂ξ, likewise.
        maps: K × (B, R, h', w') that the probe read, likewise empty.
        moves: (K, B) moves of z by each branch's maps, or None where none was asked for.
        move_loss: (K, B, R) before the first move, likewise.
        move_maps: K × (B, R, h', w') before the first move, None for branches that were not asked.
        spent: F of sampling a picture, from the run's first step to the end of this one (see `Cost`): the mean over the batch.
        spent_each: B, of each picture.
        decided: B whole numbers, what the balancer decided of each picture at the end of the step; () where nothing was.
    """

    step: Step
    acting: tuple[str, ...]
    weights: Tensor
    loss: Tensor | None = None
    region_loss: Tensor | None = None
    grad_latents: Tensor | None = None
    grad_weights: Tensor | None = None
    maps: tuple[Tensor, ...] = ()
    moves: Tensor | None = None
    move_loss: Tensor | None = None
    move_maps: tuple[Tensor | None, ...] = ()
    spent: float = 0.0
    spent_each: tuple[float, ...] = ()
    acts: Tensor | None = None
    decided: tuple[int, ...] = ()

    @property
    def seen(self) -> tuple[Tensor | None, ...]:
        """K × (B, R, h', w') that a probe, or else a move, read at this step; None for branches that were not asked, empty where none."""
        return self.maps or self.move_maps

    @property
    def placement(self) -> Tensor | None:
        """(K, B, R) loss of each region by those maps, or None."""
        return self.region_loss if self.region_loss is not None else self.move_loss

    def phase(self, names: Sequence[str], index: int | None = None) -> str:
        """What the run is doing, of branches `names`, fidelity first; with `index`, what it does with that picture."""
        acting: Sequence[str] = self.acting
        if index is not None and self.acts is not None:
            acting = [name for k, name in enumerate(names) if bool(self.acts[k, index])]
        if len(acting) == len(names):
            return "balanced"
        if names[0] not in acting:
            return "spatial alone"
        asked = self.moves is not None and (index is None or self.move_loss is None or bool(self.move_loss[:, index].any()))
        return "fidelity guided" if asked else "fidelity alone"

    def only(self, pictures: Sequence[int]) -> TraceEntry:
        """Of these pictures alone."""
        rows = list(pictures)
        kept = replace(self, weights=self.weights[:, rows])
        if self.spent_each:
            each = tuple(self.spent_each[b] for b in rows)
            kept = replace(kept, spent_each=each, spent=sum(each) / max(len(each), 1))
        if self.decided:
            kept = replace(kept, decided=tuple(self.decided[b] for b in rows))
        if self.acts is not None:
            kept = replace(kept, acts=self.acts[:, rows])
        if self.moves is not None and self.move_loss is not None:
            kept = replace(
                kept,
                moves=self.moves[:, rows],
                move_loss=self.move_loss[:, rows],
                move_maps=tuple(None if maps is None else maps[rows] for maps in self.move_maps),
            )
        if self.loss is None or self.region_loss is None or self.grad_latents is None or self.grad_weights is None:
            return kept
        return replace(
            kept,
            loss=self.loss[rows],
            region_loss=self.region_loss[:, rows],
            grad_latents=self.grad_latents[:, rows],
            grad_weights=self.grad_weights[rows],
            maps=tuple(maps[rows] for maps in self.maps),
        )


@dataclass(frozen=True)
class Cost:
    """What a run cost a picture, in F: one conditional forward pass of the fidelity network for one picture, counted in operations.

    Attributes:
        parts: "text", "encode", "decode", and "predict ID", "probe ID", "move ID" of each branch that was called → F.
        unit: floating point operations of one F.
    """

    parts: Mapping[str, float] = field(default_factory=dict)
    unit: float = 1.0

    @property
    def sampling(self) -> float:
        """F of predictions, probes and moves: what limits and tables are told in."""
        return sum(value for part, value in self.parts.items() if part not in ("text", "encode", "decode"))

    @property
    def total(self) -> float:
        """F of everything."""
        return sum(self.parts.values())

    def then(self, other: Cost) -> Cost:
        """This and what a following run cost, in this one's F."""
        scale, parts = other.unit / self.unit, dict(self.parts)
        for part, spent in other.parts.items():
            parts[part] = parts.get(part, 0.0) + scale * spent
        return Cost(parts, self.unit)

    @classmethod
    def mean(cls, costs: Sequence[Cost]) -> Cost:
        """Of several pictures of one run."""
        names = dict.fromkeys(part for one in costs for part in one.parts)
        parts = {part: sum(one.parts.get(part, 0.0) for one in costs) / len(costs) for part in names}
        return cls(parts, costs[0].unit if costs else 1.0)

    def by_kind(self) -> dict[str, float]:
        """Kind ("text", "encode", "predict", "probe", "move", "decode") → F, over all branches."""
        found: dict[str, float] = {}
        for part, value in self.parts.items():
            kind = part.split(" ")[0]
            found[kind] = found.get(kind, 0.0) + value
        return found


@dataclass
class Trace:
    """All steps of a run, and how often the networks were called.

    Attributes:
        cost, costs: F of a picture in the mean, and of each.
        chosen: B, the number of the noise that went on, of several; () where a picture has one.
        candidates: B × N, how the worst region of each noise stood at the choice (0 in its place, 1 as if nothing were known), likewise.
    """

    names: tuple[str, ...]
    entries: list[TraceEntry] = field(default_factory=list)
    predict_calls: int = 0
    probe_calls: int = 0
    move_calls: int = 0
    cost: Cost = field(default_factory=Cost)
    costs: tuple[Cost, ...] = ()
    chosen: tuple[int, ...] = ()
    candidates: tuple[tuple[float, ...], ...] = ()

    def record(
        self,
        step: Step,
        acting: tuple[str, ...],
        weights: Tensor,
        probed: ProbeResult | None,
        moved: Moved | None = None,
        acts: Tensor | None = None,
        decided: tuple[int, ...] = (),
    ) -> TraceEntry:
        """Write one step down; weights (K, B, 1, h, w), acts (K, B) bool."""
        each = tuple(cost.sampling for cost in self.costs)
        entry = TraceEntry(step, acting, weights[:, :, 0].detach().cpu(), spent=self.cost.sampling, spent_each=each, acts=acts)
        entry = replace(entry, decided=decided)
        if probed is not None:
            entry = replace(
                entry,
                loss=probed.loss.cpu(),
                region_loss=probed.region_loss.cpu(),
                grad_latents=probed.grad_latents.cpu(),
                grad_weights=probed.grad_weights.square().mean(dim=(0, 2, 3, 4)).sqrt().cpu(),
                maps=tuple(m.cpu() for m in probed.maps),
            )
            self.probe_calls += 0 if probed.lagged else len(acting)
        if moved is not None:
            entry = replace(
                entry,
                moves=moved.made.cpu(),
                move_loss=moved.loss.cpu(),
                move_maps=tuple(None if m is None else m.cpu() for m in moved.maps),
            )
            self.move_calls += sum(moved.passes)
        self.predict_calls += len(acting)
        self.entries.append(entry)
        return entry

    def then(self, other: Trace) -> Trace:
        """This run's and a following one's as one: steps are counted on, and what they cost in this one's F."""
        count, scale = len(self.entries), other.cost.unit / self.cost.unit
        total, before = count + len(other.entries), self.cost.sampling
        entries = [replace(entry, step=replace(entry.step, count=total)) for entry in self.entries]
        entries += [
            replace(
                entry,
                step=replace(entry.step, index=count + entry.step.index, count=total),
                spent=before + scale * entry.spent,
                spent_each=tuple(a.sampling + scale * b for a, b in zip(self.costs, entry.spent_each, strict=False)),
            )
            for entry in other.entries
        ]
        return Trace(
            self.names,
            entries,
            self.predict_calls + other.predict_calls,
            self.probe_calls + other.probe_calls,
            self.move_calls + other.move_calls,
            self.cost.then(other.cost),
            tuple(a.then(b) for a, b in zip(self.costs, other.costs, strict=False)),
            self.chosen,
            self.candidates,
        )

    def only(self, pictures: Sequence[int]) -> Trace:
        """Of these pictures alone; the calls are those of the whole batch."""
        kept = replace(self, entries=[entry.only(pictures) for entry in self.entries])
        if self.chosen:
            kept.chosen, kept.candidates = tuple(self.chosen[b] for b in pictures), tuple(self.candidates[b] for b in pictures)
        if self.costs:
            kept.costs = tuple(self.costs[b] for b in pictures)
            kept.cost = Cost.mean(kept.costs)
        return kept

    @property
    def losses(self) -> list[tuple[int, list[float]]]:
        """(step index, loss of each picture) of the steps with a probe, or with moves."""
        placed = [(e.step.index, e.placement) for e in self.entries]
        return [(index, loss.sum(dim=(0, 2)).tolist()) for index, loss in placed if loss is not None]
