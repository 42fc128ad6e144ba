"""The second pass: what was drawn is made larger and drawn over, with the same layout. All that can be is checked before the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from ..arguments import shown
from ..errors import BadOption, PluginProblem
from ..interfaces import Upscaler
from ..noise.beginning import begin_late
from ..noise.diffusion import Solver
from ..recipes.members import Member
from ..recipes.recipe import Hires, PictureEntry, read_part
from ..registry import Registry
from .assembly import check_compatible, picture_regions
from .canvas import Canvas, check_encodes
from .finite import Finite


@dataclass(frozen=True, eq=False)
class Second:
    """A second pass, ready to begin.

    Attributes:
        size: (height, width) in pixels.
        solver: of its remaining steps.
        strength: share of its steps that are drawn.
        upscaler: makes the first pass's pictures, or latents, that large.
    """

    size: tuple[int, int]
    solver: Solver
    strength: float
    upscaler: Upscaler

    def canvas(self, z: Tensor, finite: Finite, downscale: int, decode: Callable[[Tensor], list[Image.Image]]) -> Canvas:
        """What it begins with.

        Args:
            z: (B, C, h, w) clean latents of the first pass; decode: latents → pictures.
            finite: which pictures failed: they are carried on as grey, so that the batch keeps its shape.

        Raises:
            PluginProblem: the upscaler returned something else than it was asked for.
        """
        name = type(self.upscaler).__name__
        if self.upscaler.works_on == "latents":
            wanted = (*z.shape[:2], self.size[0] // downscale, self.size[1] // downscale)
            larger = self.upscaler(z, wanted[2:])
            if not isinstance(larger, Tensor) or tuple(larger.shape) != wanted:
                what = tuple(larger.shape) if isinstance(larger, Tensor) else shown(larger)
                raise PluginProblem(f"the upscaler {name} returned {what}, expected latents {wanted}", mend="return (B, C, *size)")
            return Canvas((), self.strength, clean=larger.to(z))
        images = finite.decode(z, decode)
        told = self.upscaler([image.convert("RGB") for image in images], self.size)
        fits = isinstance(told, Sequence) and len(told) == len(images) and all(isinstance(one, Image.Image) for one in told)
        if not fits or any((one.height, one.width) != self.size for one in told):
            raise PluginProblem(
                f"the upscaler {name} returned no {len(images)} pictures of {self.size[1]}×{self.size[0]} pixels",
                mend="return a list of PIL pictures, each of the (height, width) that it was asked for",
            )
        grey = Image.new("RGB", (self.size[1], self.size[0]), (128, 128, 128))
        drawn = dict(zip(finite.good, told, strict=True))
        return Canvas(tuple(drawn.get(b, grey) for b in range(finite.count)), self.strength)


def read_hires(value: Any) -> Hires | None:
    """What a caller gave as hires: a factor, a table, or the model.

    Raises:
        BadOption, BadRecipe, UnknownName: none of these; see `Hires`.
    """
    if value is None or isinstance(value, Hires):
        return value
    return read_part(Hires, value if isinstance(value, Mapping) else {"scale": value}, "hires")


def second_pass(
    hires: Hires | None,
    pictures: Sequence[PictureEntry],
    size: tuple[int, int],
    steps: int,
    members: Sequence[Member],
    registry: Registry,
    make_solver: Callable[[int, tuple[int, int]], Solver],
) -> Second | None:
    """The second pass of a run; None where none was asked for. Needs no weights.

    Args:
        size, steps: of the first pass.
        make_solver: number of steps, (height, width) → a solver.

    Raises:
        BadOption: it is not larger, of another shape, or drawn into a mask. Incompatible: no network can take the size.
    """
    if hires is None:
        return None
    if any(entry.mask_image is not None for entry in pictures):
        raise BadOption("hires beside mask_image", mend="draw into the picture first, then the whole larger: image = …, strength = 0.4")
    goal = goal_of(hires, size, members[0].traits.size_multiple)
    check_compatible(members, goal)
    upscaler = registry.upscaler(hires.upscaler.name, hires.upscaler.options)
    if upscaler.works_on == "pixels":
        check_encodes(members[0], registry)
    for b, entry in enumerate(pictures):  # a map or a pose of a shape that the larger size has not is told now
        picture_regions(members, entry, goal, registry, f"picture {b}")
    asked = hires.steps or steps
    solver = make_solver(asked, goal)
    begin_late(solver, asked, hires.strength)
    return Second(goal, solver, hires.strength, upscaler)


def goal_of(hires: Hires, size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """(height, width) of the second pass.

    Raises:
        BadOption: it is smaller than the first, or of another shape.
    """
    if hires.scale is not None:
        return tuple(max(side, round(side * hires.scale / multiple) * multiple) for side in size)  # type: ignore[return-value]
    goal = (hires.height or size[0], hires.width or size[1])
    ratios = goal[0] / size[0], goal[1] / size[1]
    if min(ratios) < 1 or max(ratios) == 1 or max(ratios) / min(ratios) > SHAPE:
        near = tuple(round(side * max(ratios) / multiple) * multiple for side in size)
        raise BadOption(
            f"the second pass is {goal[1]}×{goal[0]} pixels, the first {size[1]}×{size[0]}",
            where="hires",
            mend=f"give a larger size of the same shape, such as {near[1]}×{near[0]}, or scale = 1.5",
        )
    return goal


SHAPE = 1.1
"""A second pass may be so much wider, or higher, than the first times one factor: sizes are multiples of 8, or of 64."""
