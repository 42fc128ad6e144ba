"""Numbers that are not numbers: found where they arise, told picture by picture.

Every part of a step leaves its largest magnitude of each picture, (B,), which is NaN or infinite where any of its numbers is. Those of a
step go to the CPU in one copy, sent before the trace's own copies and read after them: no step waits for the device because of them. What
is no number counts as zero from there on, so that the batch keeps its shape, and the other pictures their bits; the picture itself has
failed, and is left out of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import NotFinite
from ..interfaces import Step
from ..pictures.result import Result

if TYPE_CHECKING:
    from .rows import Rows

Part = Literal["text", "latents", "shift", "prediction", "maps", "gradient", "weights", "solver", "callback"]

_SAID: Mapping[Part, str] = {
    "text": "its text embeddings hold",
    "latents": "the latents that it begins with hold",
    "shift": "its shift of the latents holds",
    "prediction": "its prediction holds",
    "maps": "its attention maps hold",
    "gradient": "the gradient of its attention loss holds",
    "weights": "the balancer's weights hold",
    "solver": "the latents after the scheduler's step hold",
    "callback": "the latents after callback_on_step_end hold",
}
_MEND: Mapping[Part, str] = {
    "latents": "draw them as torch.randn(shape)",
    "callback": "let the callback return finite latents",
    "weights": "use the balancer core/balance, or mend this one",
}
SHOWN = 3
"""Failed pictures of a batch that the error describes."""


@dataclass(frozen=True)
class _Note:
    """The largest magnitude (B,) of a part at a step."""

    part: Part
    step: Step | None
    branch: int | None
    peak: Tensor


class Finite:
    """What was found in one run.

    Args:
        names, dtypes: of the K branches.
        count: B, the pictures of the batch.
        device: of the latents.

    Attributes:
        failed: picture → why; no more than the first reason of each.
    """

    def __init__(self, names: Sequence[str], dtypes: Sequence[torch.dtype], count: int, device: torch.device) -> None:
        self.names, self.dtypes, self.count, self.device = names, dtypes, count, device
        self.failed: dict[int, NotFinite] = {}
        self._notes: list[_Note] = []
        self._sent: tuple[list[_Note], Tensor, Any] | None = None

    @property
    def good(self) -> list[int]:
        """The pictures that have not failed, as far as is known."""
        return [b for b in range(self.count) if b not in self.failed]

    # -- on the device ---------------------------------------------------------------------------------------------------

    def note(self, part: Part, peak: Tensor, step: Step | None = None, branch: int | None = None, rows: Rows | None = None) -> None:
        """Remember the largest magnitude of each picture, (B,); of some, where `rows` says which they are."""
        wide = torch.promote_types(peak.dtype, torch.float32)
        if rows is not None:
            peak = rows.into(peak)
        self._notes.append(_Note(part, step, branch, peak.detach().to(self.device, wide).expand(self.count)))

    def see(
        self,
        part: Part,
        values: Tensor,
        step: Step | None = None,
        branch: int | None = None,
        dim: int = 0,
        rows: Rows | None = None,
    ) -> Tensor:
        """The values, looked at; pictures lie along `dim`."""
        if values.numel():
            self.note(part, peaks(values, dim), step, branch, rows)
        return values

    def clean(self, part: Part, values: Tensor, step: Step | None = None, branch: int | None = None, rows: Rows | None = None) -> Tensor:
        """The values (B, …), looked at, with zero in place of what is no number."""
        return self.see(part, values, step, branch, rows=rows).nan_to_num(0.0, 0.0, 0.0)

    def send(self) -> None:
        """Start the copy of what was seen since the last one."""
        notes, self._notes = self._notes, []
        if not notes:
            return
        found = torch.stack([note.peak for note in notes])
        if found.is_cuda:  # to pinned memory: waits for nothing
            told = found.to("cpu", non_blocking=True)
            self._sent = (notes, told, torch.cuda.current_stream(found.device).record_event())
        else:
            self._sent = (notes, found.cpu(), None)

    # -- on the CPU ------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Judge what was sent. Once something that was computed after `send` has been copied to the CPU, this waits for nothing."""
        if self._sent is None:
            return
        notes, told, arrived = self._sent
        self._sent = None
        if arrived is not None:
            arrived.synchronize()
        for note, row in zip(notes, told.tolist(), strict=True):
            for picture, peak in enumerate(row):
                if not math.isfinite(peak):
                    self.failed.setdefault(picture, self._reason(note, peak))

    def only(self, rows: Sequence[int]) -> None:
        """From here on these rows are the batch's pictures."""
        self.send()
        self.read()
        self.failed = {b: self.failed[row] for b, row in enumerate(rows) if row in self.failed}
        self.count = len(rows)

    @property
    def lost(self) -> bool:
        """Whether every picture has failed: there is nothing left to draw."""
        return len(self.failed) == self.count

    def _reason(self, note: _Note, peak: float) -> NotFinite:
        branch = None if note.branch is None else self.names[note.branch]
        when = "before the first step" if note.step is None else f"step {note.step.index + 1} of {note.step.count}"
        return NotFinite(
            f"{_SAID[note.part]} {named(peak)}",
            where=when if branch is None else f"{branch}, {when}",
            mend=_MEND.get(note.part) or network_mend(self.dtypes if note.branch is None else [self.dtypes[note.branch]]),
        )

    # -- pictures --------------------------------------------------------------------------------------------------------

    def decode(self, z: Tensor, decoder: Callable[[Tensor], Any]) -> Any:
        """What `decoder` makes of the latents (B, C, h, w) of the good pictures; one that it refuses fails alone.

        Raises:
            NotFinite: none is left.
        """
        self.send()
        self.read()
        good = self.good
        if not good:
            raise self.error()
        try:
            return decoder(z if len(good) == self.count else z[good])
        except NotFinite as problem:
            if len(good) == 1:
                self._refused(good[0], problem)
                raise self.error() from None
        found = []
        for b in good:
            try:
                found.append(decoder(z[b : b + 1]))
            except NotFinite as problem:
                self._refused(b, problem)
        if not found:
            raise self.error()
        return _joined(found)

    def _refused(self, picture: int, problem: NotFinite) -> None:
        self.failed[picture] = NotFinite(problem.what, where=f"{self.names[0]}, after the last step", mend=problem.mend)

    def finish(self, result: Result) -> Result:
        """The result of all pictures, whose images are those of the good ones.

        Raises:
            NotFinite: some failed; carries the result of the others.
        """
        if not self.failed:
            return result
        raise self.error(result.told_of(self.good))

    def error(self, result: Result | None = None) -> NotFinite:
        """Of all failed pictures, with the result of the others."""
        reasons = dict(sorted(self.failed.items()))
        first = next(iter(reasons.values()))
        if self.count == 1:
            return NotFinite(first.what, where=first.where, mend=first.mend, result=result, failed=reasons)
        told = "; ".join(f"picture {b}, {reason.where}: {reason.what}" for b, reason in list(reasons.items())[:SHOWN])
        more = "; …" if len(reasons) > SHOWN else ""
        return NotFinite(f"{len(reasons)} of {self.count} pictures failed: {told}{more}", mend=first.mend, result=result, failed=reasons)


def peaks(values: Tensor, dim: int = 0) -> Tensor:
    """The largest magnitude of each picture, (B,): NaN where there is one, else infinity where there is one. They lie along `dim`."""
    others = [d for d in range(values.ndim) if d != dim]
    return cast(Tensor, torch.linalg.vector_norm(values.detach(), math.inf, dim=others))


def named(number: float) -> str:
    """What it is that is no number."""
    return "NaN" if math.isnan(number) else "infinity"


def network_mend(dtypes: Sequence[torch.dtype]) -> str:
    """What to do about a network of these dtypes."""
    less = "a smaller guidance_scale"
    if torch.float16 in dtypes:
        return f"draw with dtype = 'bfloat16' or 'float32' (float16 ends at 65504), or with {less}"
    return f"draw with {less}; if that does not help, the weights may be damaged: fetch the checkpoint again"


def _joined(parts: Sequence[Any]) -> Any:
    """What was decoded one by one, as if at once."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [image for part in parts for image in part]
