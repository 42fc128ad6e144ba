"""Drive one branch without a composer: the plain denoising loop, for parity tests against pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..conditions import Condition
from ..interfaces import Branch, Regions, Request
from ..specs import FlowSchedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def request(
    prompts: Sequence[str],
    *,
    negatives: Sequence[str] | None = None,
    conditions: Sequence[Condition | None] | None = None,
    size: tuple[int, int] = (128, 128),
    guidance_scale: float = 7.5,
) -> Request:
    """A request whose regions are those of its conditions, by the core's own transfers."""
    from ..registry import Registry

    core = Registry(())
    told = tuple(conditions or [None] * len(prompts))
    regions = Regions(tuple(() if condition is None else core.transfer(condition.kind)(condition, size) for condition in told))
    return Request(tuple(prompts), tuple(negatives or [""] * len(prompts)), regions, told, size, guidance_scale)


def draw_alone(
    branch: Branch,
    asked: Request,
    noise: Tensor,
    *,
    scheduler: str = "ddim",
    steps: int = 10,
    generators: Sequence[torch.Generator] = (),
    config: dict[str, Any] | None = None,
) -> Tensor:
    """From unit noise (B, C, h, w) to clean latents with one branch and nothing balanced."""
    import torch

    from ..noise.diffusion import FLOW, Solver, common_kind, convert, solver_name

    schedule, own = branch.traits.schedule, branch.traits.prediction_type
    kind = common_kind([own], solver_name(scheduler, schedule) == FLOW)
    patch = schedule.patch if isinstance(schedule, FlowSchedule) else 1
    solver = Solver(scheduler, schedule, steps, kind, config, tokens=noise.shape[-2] * noise.shape[-1] // patch**2)
    x = solver.start(noise)
    with torch.no_grad():
        conditioning = branch.encode(asked)
        for step in solver.steps:
            z = solver.view(x, step)
            prediction = branch.predict(z, step, conditioning)
            at = z if prediction.shift is None else z + prediction.shift
            x = solver.step(x, convert(prediction.noise, own, kind, at, step.alpha_bar), step, prediction.shift, generators)
    return x


def relative(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest number of the first."""
    return float((a - b).abs().max() / a.abs().max())
