"""Deep features of a UNet reused between steps (Ma et al., "DeepCache: Accelerating Diffusion Models for Free", CVPR 2024).

A UNet's first down block and last up block work at the latent's own size; all that lies between them hands the last up block one tensor,
which changes slowly from step to step. It is kept for n steps: the first of them runs the whole network, the others only what is shallow,
against what was kept. diffusers' caching hooks know the blocks of transformers alone, so this is ours: for one forward pass the deep
blocks' `forward` is put aside, and put back afterwards, also after an error.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .guard import bare, eager, exclusive

T = TypeVar("T")

HALVES = {"both": ("unconditional", "conditional"), "conditional": ("conditional",), "unconditional": ("unconditional",)}
"""Rows of a forward pass → the halves that they are, in their order."""


@dataclass(eq=False)
class DeepFeatures:
    """What one run keeps, picture by picture.

    Attributes:
        kept: (half, number of a picture in the run) → index of the step at which the whole network ran, the shape (C, h, w) of its
            latents, and the tensor (C', h', w') that its last up block was given.
        rows: numbers of the pictures that this is of; None for all, in their order.
    """

    kept: dict[tuple[str, int], tuple[int, torch.Size, Tensor]] = field(default_factory=dict)
    rows: tuple[int, ...] | None = None

    def pick(self, pictures: Sequence[int]) -> DeepFeatures:
        """Of some pictures, which are kept where all are; nothing where a picture is repeated, as it will have several latents."""
        if len(set(pictures)) < len(pictures):
            return DeepFeatures()
        return DeepFeatures(self.kept, tuple(pictures if self.rows is None else (self.rows[b] for b in pictures)))

    def of(self, half: str, shape: torch.Size | None = None) -> list[tuple[str, int]]:
        """Where the features of a half are, for latents (B, C, h, w) of this shape or for all pictures that are kept."""
        if self.rows is not None:
            return [(half, b) for b in self.rows]
        return [(half, b) for b in range(shape[0])] if shape is not None else [key for key in self.kept if key[0] == half]

    def fresh(self, half: str, index: int, every: int, shape: torch.Size | None = None) -> bool:
        """Whether what is kept of a half serves at this step, for latents (B, C, h, w) of this shape: of every picture."""
        found = [self.kept.get(key) for key in self.of(half, shape)]
        return bool(found) and all(
            one is not None and 0 < index - one[0] < every and (shape is None or shape[1:] == one[1]) for one in found
        )

    def features(self, half: str, shape: torch.Size) -> Tensor:
        """(B, C', h', w')."""
        return torch.stack([self.kept[key][2] for key in self.of(half, shape)])

    def keep(self, half: str, index: int, shape: torch.Size, rows: Tensor) -> None:
        """What the last up block was given at a step, (B, C', h', w')."""
        for key, row in zip(self.of(half, shape), rows, strict=True):
            self.kept[key] = (index, shape[1:], row)

    def work(self, index: int, every: int) -> Hashable:
        """What a forward pass at this step may leave out: see `Branch.work`."""
        return () if every == 1 else tuple(self.fresh(half, index, every) for half in HALVES["both"])


def reuse(
    network: nn.Module,
    features: DeepFeatures,
    every: int,
    index: int,
    half: str,
    shape: torch.Size,
    run: Callable[[], T],
    whole: bool = False,
) -> T:
    """A forward pass of `run` at a step, deep features kept for `every` steps; 1 keeps none and changes nothing.

    Args:
        half: the rows of the pass, a key of `HALVES`; shape: of the latents, (B, C, h, w).
        whole: leave nothing out, as where maps are read.
    """
    unet: Any = bare(network)
    if every == 1 or len(unet.down_blocks) < 2 or len(unet.up_blocks) < 2:
        return run()
    halves = HALVES[half]
    shallow = not whole and all(features.fresh(one, index, every, shape) for one in halves)
    with exclusive(unet), _uncompiled(network):
        if shallow:
            with _shallow(unet, [features.features(one, shape) for one in halves]):
                return run()
        seen: list[Tensor] = []
        handle = unet.up_blocks[-2].register_forward_hook(lambda _, __, output: seen.append(output.detach()))
        try:
            result = run()
        finally:
            handle.remove()
        for one, rows in zip(halves, seen[-1].chunk(len(halves)), strict=True):
            features.keep(one, index, shape, rows)
        return result


def _uncompiled(network: nn.Module) -> Any:
    """Compiled code sees neither hooks on a block nor another `forward`; layers inside the shallow blocks may stay compiled."""
    unet: Any = bare(network)
    blocks = (unet, *unet.down_blocks, unet.mid_block, *unet.up_blocks)
    compiled = network is not unet or any(getattr(block, "_compiled_call_impl", None) is not None for block in blocks)
    compiled = compiled or any(hasattr(block, "_orig_mod") for block in blocks)
    return eager(network) if compiled else nullcontext()


@contextmanager
def _shallow(unet: Any, kept: list[Tensor]) -> Iterator[None]:
    """Meanwhile the deep blocks compute nothing, and the last of them hands on what was kept, half by half. What they pass to each other is
    one zero, which residuals from outside (of a ControlNet) may be added to."""

    def down(block: Any) -> Callable[..., Any]:
        outputs = len(block.resnets) + (block.downsamplers is not None)

        def forward(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
            nothing = hidden_states.new_zeros(1, 1, 1, 1)
            return nothing, (nothing,) * outputs

        return forward

    def through(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states

    def last(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.cat(kept).to(hidden_states.device)

    stubs = [(block, down(block)) for block in unet.down_blocks[1:]]
    stubs += [(unet.mid_block, through)] if unet.mid_block is not None else []
    stubs += [*((block, through) for block in unet.up_blocks[:-2]), (unet.up_blocks[-2], last)]
    own = {id(block): vars(block)["forward"] for block, _ in stubs if "forward" in vars(block)}  # of accelerate's hooks
    try:
        for block, forward in stubs:
            block.forward = forward
        yield
    finally:
        for block, _ in stubs:
            if id(block) in own:
                block.forward = own[id(block)]
            else:
                vars(block).pop("forward", None)
