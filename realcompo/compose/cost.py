"""What a run costs, in one unit: F, one conditional forward pass of the fidelity network for one picture, by floating point operations.

Operations are counted where they are dispatched, forward and backward, by torch's own formulas. Counting slows a call down, so each kind of
call is counted once for each shape and each `Branch.work`, and taken for the same afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ..noise.spans import span
from ..pictures.trace import Cost

if TYPE_CHECKING:
    from .rows import Rows

T = TypeVar("T")


def _fused(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """The CPU's fused attention, for which torch has no formula; arguments are shapes (B, heads, N, d)."""
    count: int = sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]
    return count


def _fused_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Its four products of latents with latents; of latents with a text, which has no gradient, the two that lead to the latents. What the
    kernel computes a second time or throws away is its own business."""
    return _fused(query, key, value) * (2 if query[-2] == key[-2] else 1)


_CPU_FORMULAS: dict[str, Callable[..., int]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": _fused,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _fused_backward,
}


class OperationCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating point operations of what runs inside it, also of a backward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Otherwise the first picture of a process waits for torch's compiler to be imported, which also makes a folder for its cache."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
        elif (own := _CPU_FORMULAS.get(func._schema.name)) is not None:
            self.total += own(*(a.shape if isinstance(a, torch.Tensor) else a for a in args))
        return out


def _as_written() -> AbstractContextManager[object]:
    """Compiled networks run as they were written meanwhile. What torch is first asked to compile under a counter it skips for ever,
    silently: the rest of the run, and all others, would be eager."""
    compiling = "torch._dynamo" in sys.modules  # importing it takes seconds, and nothing was compiled without
    return torch.compiler.set_stance("force_eager") if compiling else nullcontext()


@dataclass
class Meter:
    """Counts one run's operations by part.

    Attributes:
        pictures: B.
        owners: of each row of the batch, its picture, where pictures have several; None where rows are pictures.
        each: part → operations of each picture.
        spent: part → operations so far: "text", "decode", and "predict", "probe", "move" of each branch.
        unit: operations of one F; None until the fidelity branch (or, where it never does, another) has predicted.
    """

    pictures: int
    owners: Sequence[int] | None = None
    each: dict[str, list[float]] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    unit: float | None = None
    _fidelity: bool = False
    _known: dict[Hashable, int] = field(default_factory=dict)

    def count(self, part: str, key: Hashable | None, call: Callable[[], T], rows: Rows | None = None) -> T:
        """Run a call and add what it costs to a part.

        Args:
            rows: of the batch that it is for; all, if None. They share its cost alike.
            key: calls of a part with equal keys cost the same; None where that is not known, and each is counted.
        """
        known = None if key is None else self._known.get((part, key))
        if known is not None:
            with span(part):
                result = call()
        else:
            with span(part), _as_written(), OperationCount() as counter:
                result = call()
            known = counter.total
            if key is not None:
                self._known[part, key] = known
        self.spent[part] = self.spent.get(part, 0.0) + known
        owners = range(self.pictures) if self.owners is None else self.owners
        mine = [owners[b] for b in (range(len(owners)) if rows is None else rows.index)]
        each = self.each.setdefault(part, [0.0] * self.pictures)
        for b in mine:
            each[b] += known / len(mine)
        return result

    def learn_unit(self, part: str, before: float, rows: int, fidelity: bool) -> None:
        """Take the F from a prediction that was just counted, of `rows` rows of the network."""
        if self.unit is None or (fidelity and not self._fidelity):
            self.unit = max((self.spent[part] - before) / rows, 1.0)
            self._fidelity = fidelity

    def cost(self) -> Cost:
        """What was spent so far, a picture, in F."""
        unit = (self.unit or 1.0) * self.pictures
        return Cost({part: operations / unit for part, operations in self.spent.items()}, self.unit or 1.0)

    def costs(self) -> tuple[Cost, ...]:
        """What was spent so far on each picture, in F; parts that it has none of are left out."""
        unit = self.unit or 1.0
        return tuple(Cost({part: each[b] / unit for part, each in self.each.items() if each[b]}, unit) for b in range(self.pictures))
