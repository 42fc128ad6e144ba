"""NaN and infinity put into one part of a branch, at one step, in some pictures of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

BRANCH_PARTS = ("text", "shift", "prediction", "maps", "gradient")
"""Those that a branch answers with."""

SAID = {
    "text": "text embeddings",
    "shift": "shift of the latents",
    "prediction": "prediction",
    "maps": "attention maps",
    "gradient": "gradient",
    "latents": "begins with",
    "solver": "scheduler's step",
    "callback": "after callback_on_step_end",
    "weights": "balancer's weights",
    "picture": "VAE decoded",
}
"""A word of each part's message."""


def spoil(values: Tensor, number: float, pictures: Sequence[int]) -> Tensor:
    """The same with one number of each of these pictures replaced."""
    values = values.clone(memory_format=torch.contiguous_format)
    for b in pictures:
        values[b].view(-1)[-1] = number
    return values


@contextmanager
def poisoned(branch: Any, part: str, number: float, step: int, pictures: Sequence[int]) -> Iterator[None]:
    """A branch whose `part` holds `number` at a step, in these pictures."""
    predict, attend, encode = branch.predict, branch.attend, branch.encode

    def bad_predict(z: Tensor, now: Any, conditioning: Any, read: bool = False) -> Any:
        told = predict(z, now, conditioning, read)
        if now.index != step:
            return told
        if part == "shift":
            shift = torch.zeros_like(z) if told.shift is None else told.shift
            return replace(told, shift=spoil(shift, number, pictures))
        return replace(told, noise=spoil(told.noise, number, pictures))

    def bad_attend(z: Tensor, now: Any, conditioning: Any) -> Tensor:
        maps: Tensor = attend(z, now, conditioning)
        if now.index != step:
            return maps
        if part == "maps":
            return spoil(maps, number, pictures)
        if maps.requires_grad:
            maps = maps * 1.0
            maps.register_hook(lambda grad: spoil(grad, number, pictures))
        return maps

    def bad_encode(request: Any) -> Any:
        conditioning = encode(request)
        for rows in branch.embeddings(conditioning):
            for b in pictures:
                rows[b].view(-1)[-1] = number
        return conditioning

    bad: dict[str, tuple[str, Callable[..., Any]]] = {
        "text": ("encode", bad_encode),
        "shift": ("predict", bad_predict),
        "prediction": ("predict", bad_predict),
        "maps": ("attend", bad_attend),
        "gradient": ("attend", bad_attend),
    }
    name, function = bad[part]
    setattr(branch, name, function)
    try:
        yield
    finally:
        delattr(branch, name)


@contextmanager
def poisoned_solver(number: float, step: int, pictures: Sequence[int]) -> Iterator[None]:
    """A solver whose step gives `number`."""
    from realcompo.noise.diffusion import Solver

    before = Solver.step

    def bad(self: Any, x: Tensor, prediction: Tensor, now: Any, *more: Any) -> Tensor:
        z = before(self, x, prediction, now, *more)
        return spoil(z, number, pictures) if now.index == step else z

    Solver.step = bad  # type: ignore[method-assign]
    try:
        yield
    finally:
        Solver.step = before  # type: ignore[method-assign]


@contextmanager
def poisoned_vae(branch: Any, number: float, victim: Tensor) -> Iterator[None]:
    """A toolkit branch whose VAE gives `number` for the latents (C, h, w) of one picture, whenever it sees them."""
    latent = branch.traits.latent
    wanted = victim / latent.scaling_factor + latent.shift_factor
    decode = branch.vae.decode

    def bad(z: Tensor, **more: Any) -> Any:
        (pixels,) = decode(z, **more)
        return (spoil(pixels, number, [0]) if torch.equal(z[0], wanted.to(z)) else pixels,)

    branch.vae.decode = bad
    try:
        yield
    finally:
        del branch.vae.decode
