"""What a run writes down: loss, gradients and weights a step. Kept on the CPU, in plain tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..interfaces import ProbeResult, Step


@dataclass(frozen=True, eq=False)
class TraceEntry:
    """One step of one run, B pictures and K branches.

    Attributes:
        step: where in the run.
        acting: names of the branches that were called.
        weights: ξ (K, B, h, w), zero for branches that did not act.
        loss: (B,) at the trial step, or None where there was no probe.
        region_loss: (K, B, R), likewise.
        grad_latents: (K, B) ‖∂L^c/∂z‖, likewise.
        grad_weights: (B,) root mean square of ∂L/∂ξ, likewise.
        maps: K × (B, R, h', w') that the probe read, likewise empty.
    """

    step: Step
    acting: tuple[str, ...]
    weights: Tensor
    loss: Tensor | None = None
    region_loss: Tensor | None = None
    grad_latents: Tensor | None = None
    grad_weights: Tensor | None = None
    maps: tuple[Tensor, ...] = ()

    def only(self, pictures: Sequence[int]) -> TraceEntry:
        """Of these pictures alone."""
        rows = list(pictures)
        kept = replace(self, weights=self.weights[:, rows])
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


@dataclass
class Trace:
    """All steps of a run, and how often the networks were called."""

    names: tuple[str, ...]
    entries: list[TraceEntry] = field(default_factory=list)
    predict_calls: int = 0
    probe_calls: int = 0

    def record(self, step: Step, acting: tuple[str, ...], weights: Tensor, probed: ProbeResult | None) -> TraceEntry:
        """Write one step down; weights (K, B, 1, h, w)."""
        entry = TraceEntry(step, acting, weights[:, :, 0].detach().cpu())
        if probed is not None:
            entry = TraceEntry(
                step,
                acting,
                entry.weights,
                loss=probed.loss.cpu(),
                region_loss=probed.region_loss.cpu(),
                grad_latents=probed.grad_latents.cpu(),
                grad_weights=probed.grad_weights.square().mean(dim=(0, 2, 3, 4)).sqrt().cpu(),
                maps=tuple(m.cpu() for m in probed.maps),
            )
            self.probe_calls += len(acting)
        self.predict_calls += len(acting)
        self.entries.append(entry)
        return entry

    def only(self, pictures: Sequence[int]) -> Trace:
        """Of these pictures alone; the calls are those of the whole batch."""
        return replace(self, entries=[entry.only(pictures) for entry in self.entries])

    @property
    def losses(self) -> list[tuple[int, list[float]]]:
        """(step index, loss of each picture) of the probed steps."""
        return [(e.step.index, e.loss.tolist()) for e in self.entries if e.loss is not None]
