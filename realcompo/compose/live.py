"""A step while the run waits: what a progress function is told, and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from ..errors import Stopped
from ..interfaces import Step
from ..noise.diffusion import convert
from ..pictures.trace import TraceEntry

if TYPE_CHECKING:
    from .run import Run


@dataclass(frozen=True, eq=False)
class Event(TraceEntry):
    """A step as a progress function is told it: its entry of the trace, and what can be asked and done while the run waits.

    Hold no event longer than the call: it keeps the latents of its step.
    """

    _watch: Watch = field(kw_only=True, repr=False)
    _estimate: Callable[[], Tensor] = field(kw_only=True, repr=False)

    @property
    def passes(self) -> tuple[int, int]:
        """Which pass this step belongs to, from 1, and how many there are: two with `hires`. Each counts its steps from 0."""
        return self._watch.number, self._watch.passes

    @cached_property
    def clean(self) -> Tensor:
        """x̂₀ (B, C, h, w), the clean latents that the blend of this step expects, on the run's device; computed when first asked for."""
        return self._estimate()

    def preview(self, full: bool = False) -> list[Image.Image]:
        """B pictures of `clean`: by the linear map of `Branch.preview`, as large as the latents; with `full` by the decoder, in full size.

        Raises:
            NotFinite: with `full`, where pixels are no numbers.
        """
        return self._watch.look(self.clean, full)

    def stop(self, keep: bool = False) -> None:
        """End the run once the progress function has returned: it then raises `realcompo.errors.Stopped`.

        Args:
            keep: decode what this step expected; the error carries it as its `result`, whose pictures have their recipe.
        """
        self._watch.stopped, self._watch.keep = self, keep


@dataclass
class Watch:
    """Who watches one run.

    Attributes:
        progress: what is called after each step, or None.
        passes: how many there are: two with `hires`.
        stopped: the event at which the run was stopped; `keep`: whether its pictures are wanted.
        number, before: which pass this is, from 1, and steps of those before it.
    """

    progress: Callable[[Step, Event], Any] | None
    run: Run
    passes: int = 1
    stopped: Event | None = None
    keep: bool = False
    number: int = 1
    before: int = 0

    def follow(self, run: Run) -> None:
        """Watch the next pass."""
        self.before += len(self.run.solver.steps)
        self.run, self.number = run, self.number + 1

    def tell(self, step: Step, entry: TraceEntry, z: Tensor, noise: Tensor, shift: Tensor | None) -> Tensor | None:
        """Tell a step; None, or x̂₀ where the run was stopped.

        Args:
            z: (B, C, h, w) where the branches predicted; noise: their blend; shift: Σ ξ δ by which they moved z themselves.
        """
        if self.progress is None:
            return None

        def estimate() -> Tensor:
            return convert(noise, self.run.solver.kind, "sample", z if shift is None else z + shift, step.alpha_bar)

        noises = self.run.noises
        shown = entry.only(noises.rows) if noises.several else entry
        self.progress(step, Event(**vars(shown), _watch=self, _estimate=lambda: noises.shown(estimate())))
        return None if self.stopped is None else estimate()

    def look(self, z: Tensor, full: bool) -> list[Image.Image]:
        """See `Event.preview`. What it costs is not the picture's."""
        if not full:
            return self.run.branches[0].preview(z)
        with self.run.awake(0) as branch:
            return branch.decode(z.to(branch.device))

    def facts(self) -> dict[str, int]:
        """What a picture that was stopped says of it: after which step of all passes, from 0."""
        return {} if self.stopped is None else {"stopped": self.before + self.stopped.step.index}

    def check(self, result: Any = None) -> None:
        """Raise Stopped where the run was stopped; before the pictures are decoded, only if they are not wanted."""
        if self.stopped is None or (self.keep and result is None):
            return
        step = self.stopped.step
        raise Stopped(
            "the run was stopped by its progress function",
            where=f"step {step.index + 1} of {step.count}",
            mend="draw it again with the same seed; stop(keep=True) keeps what the last step expected",
            result=result,
        )
