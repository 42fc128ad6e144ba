"""What is drawn with a pair of networks: by each balancer, again from the picture's own recipe, with offload, compiled."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import realcompo as rc
from realcompo.bench.clock import named
from realcompo.pictures.result import pixel_digest
from realcompo.recipes.recipe import DEFAULT_BALANCER

from .clock import Limit, Memory, Steps, by_part, told_by_part
from .networks import Made

PLAIN = "fidelity alone"
WAYS = (PLAIN, DEFAULT_BALANCER, "core/hand-over", "core/paper")
"""What is drawn: without any spatial branch, or the balancer."""


@dataclass
class Studio:
    """Networks to draw with, and what was drawn.

    Attributes:
        warm: steps of the draw that compiles, enough for each phase of each balancer to have one; 0 = all of them.
        kept: way → its picture.
        compiled: folders of the networks that are.
    """

    made: Made
    steps: int
    warm: int
    limit: Limit
    kept: dict[str, Any] = field(default_factory=dict)
    compiled: list[Path] = field(default_factory=list)

    def composer(self, way: str, offload: bool = False) -> Any:
        fidelity, spatial = self.made.entries
        return rc.Composer(
            fidelity,
            () if way == PLAIN else spatial,
            balancer=DEFAULT_BALANCER if way == PLAIN else way,
            scheduler_options={"timestep_spacing": "trailing"},  # so that few steps begin at noise, too
            num_inference_steps=self.steps,
            height=self.made.size[0],
            width=self.made.size[1],
            device=self.made.device,
            dtype=self.made.dtype,
            offload=offload,
        )

    def draw(self, composer: Any, steps: int | None = None, watch: Steps | None = None) -> Any:
        """A picture of the pair's prompt and seed."""
        plain = len(composer.members) == 1
        watch = watch or Steps([m.name for m in composer.members], self.limit)
        told = None if plain else self.made.pair.condition
        return composer(self.made.pair.prompt, told, seed=1, num_inference_steps=steps, progress=watch)

    def uncompile(self) -> None:
        """Compiled networks as they are written again, and their code forgotten."""
        for folder in self.compiled:
            self.made.networks[folder]._compiled_call_impl = None
        if self.compiled:
            torch.compiler.reset()
        self.compiled.clear()

    def measure(self, composer: Any) -> tuple[Any, dict[str, Any]]:
        """A draw in which the device is waited for at each part, which warms up; then again, timed as a whole."""
        with by_part(self.made.device) as parts:
            first = self.draw(composer)
        watch = Steps([m.name for m in composer.members], self.limit)
        with Memory(self.made.device) as memory:
            start = time.perf_counter()
            result = self.draw(composer, watch=watch)
            seconds = time.perf_counter() - start
        pixels = np.asarray(result.image)
        return result, {
            "draw_s": seconds,
            "steps": watch.told(),
            "parts": told_by_part(parts),
            "cost_f": {named(part): value for part, value in result.cost.parts.items()},
            "flop_of_one_f": result.cost.unit,
            "memory": memory.told(),
            "pixels": {"digest": pixel_digest(result.image), "spread": float(pixels.std())},
            "checks": {"drawn twice: same pixels": same(first, result), "the picture is not of one colour": bool(pixels.std() > 0)},
        }


def draw(studio: Studio, way: str) -> dict[str, Any]:
    """By one way; the picture is kept."""
    result, figures = studio.measure(studio.composer(way))
    studio.kept[way] = result.image
    return figures


def reproduce(studio: Studio) -> dict[str, Any]:
    """A picture is saved and drawn again from its file alone; in a batch of two it is compared, too."""
    composer = studio.composer(DEFAULT_BALANCER)
    first = studio.draw(composer)
    with tempfile.TemporaryDirectory(prefix="realcompo-") as folder:
        (path,) = first.save(folder)
        start = time.perf_counter()
        again = rc.reproduce(path, progress=Steps([m.name for m in composer.members], studio.limit))
        seconds = time.perf_counter() - start
    pair = studio.made.pair
    both = composer([pair.prompt] * 2, [pair.condition] * 2, seed=[1, 2], progress=Steps([m.name for m in composer.members], studio.limit))
    return {
        "reproduce_s": seconds,
        "largest_difference_of_255": again.largest,
        "share_of_pixels_that_differ": again.changed,
        "in_a_batch_of_two": difference(first.image, both.images[0]),
        "checks": {"drawn from the file: same pixels": again.same},
    }


def offload(studio: Studio) -> dict[str, Any]:
    """Only the network that is in use lies on the device. Once: moving the weights is what takes the time, and needs no warming."""
    made = studio.made
    made.to("cpu")
    try:
        composer = studio.composer(DEFAULT_BALANCER, offload=True)
        watch = Steps([m.name for m in composer.members], studio.limit)
        with Memory(made.device) as memory:
            start = time.perf_counter()
            result = studio.draw(composer, watch=watch)
            seconds = time.perf_counter() - start
    finally:
        made.to(made.device)
    checks = {}
    if DEFAULT_BALANCER in studio.kept:
        checks["as without offload: same pixels"] = pixel_digest(studio.kept[DEFAULT_BALANCER]) == pixel_digest(result.image)
    return {"draw_s": seconds, "steps": watch.told(), "memory": memory.told(), "checks": checks}


def compiled(studio: Studio, way: str, backend: str, eager: Any) -> dict[str, Any]:
    """The networks of every step compiled, once for all ways.

    Args:
        eager: the picture that the same weights drew as they are written, if there is one.
    """
    from torch._dynamo.utils import counters

    for folder, network in studio.made.networks.items():
        if folder.name in ("unet", "controlnet") and folder not in studio.compiled:
            network.compile(backend=backend)
            studio.compiled.append(folder)
    composer = studio.composer(way)
    start = time.perf_counter()
    studio.draw(composer, studio.warm or studio.steps)
    seconds = time.perf_counter() - start
    result, figures = studio.measure(composer)
    frames = counters["frames"]["ok"]
    figures |= {"compile_and_warm_up_s": seconds, "backend": backend, "frames_compiled": frames}
    figures["checks"]["something was compiled"] = frames > 0
    if eager is not None:
        figures["against_eager"] = difference(eager, result.image)
    return figures


def same(a: Any, b: Any) -> bool:
    """Whether two results' first pictures have the same pixels."""
    return pixel_digest(a.image) == pixel_digest(b.image)


def difference(a: Any, b: Any) -> dict[str, float]:
    """The largest difference of a channel, of 255, and the share of pixels that differ."""
    gap = np.abs(np.asarray(a, dtype=np.int16) - np.asarray(b, dtype=np.int16)).max(axis=-1)
    return {"largest_of_255": int(gap.max()), "share_of_pixels": float((gap > 0).mean())}
