"""Small networks on the device, in each precision, against the same on the CPU in float32: what branches return, and what is drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import realcompo as rc
from realcompo.compose.probe import LossScale, placement_slope
from realcompo.noise.diffusion import Solver
from realcompo.registry import installed
from realcompo.testing.driving import relative, request

from .networks import Made, Pair, make

TOLERANCES = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 4e-1}
"""Precision → how far any number of a quantity may be off, as a share of its largest. In float32 what is left is the order of sums (TF32
is off meanwhile). float16 rounds to 11 binary digits: on the CPU the worst quantity, of a random network, is off by 0.017. bfloat16 rounds
to 8, and is allowed eight times as much: there it is off by 0.20."""
STEPS = 4


def quantities(made: Made) -> dict[str, Tensor]:
    """Of each branch at the third step of ten: its prediction, its maps, and the slope of its placement loss; the latents after a short
    draw by hand-over. All on the CPU, in float64."""
    pair = made.pair
    found: dict[str, Tensor] = {}
    z = torch.randn(1, 4, *(side // 8 for side in made.size), generator=torch.Generator().manual_seed(3))
    for entry in made.entries:
        branch = installed().branch(entry.name, entry.options, source=entry.source, device=made.device, dtype=made.dtype)
        asked = request([pair.prompt], conditions=[pair.condition], size=made.size)
        conditioning = branch.encode(asked)
        step = Solver("ddim", branch.traits.schedule, 10, branch.traits.prediction_type).steps[2]
        here = z.to(made.device)
        scale = LossScale() if made.dtype == torch.float16 else None
        read = partial(branch.attend, step=step, conditioning=conditioning)
        _, slope, maps = placement_slope(read, here, asked.regions, scale)
        noise = branch.predict(here, step, conditioning).noise
        found |= {f"{entry.name}: {what}": value for what, value in (("prediction", noise), ("maps", maps), ("gradient", slope))}
    composer = rc.Composer(
        *made.entries,
        balancer="core/hand-over",
        scheduler_options={"timestep_spacing": "trailing"},
        num_inference_steps=STEPS,
        height=made.size[0],
        width=made.size[1],
        device=made.device,
        dtype=made.dtype,
    )
    found[f"latents after {STEPS} steps"] = composer(pair.prompt, pair.condition, seed=1, output_type="latent").latents
    return {what: value.detach().to("cpu", torch.float64) for what, value in found.items()}


def compare(pair: Pair, folder: Path, device: torch.device) -> dict[str, Any]:
    """The differences of a pair in each precision, and whether all are within the tolerance."""
    reference = make(pair, folder, torch.device("cpu"), torch.float32, small=True)
    told = quantities(reference)
    differences: dict[str, dict[str, float]] = {}
    checks = {}
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        for name, tolerance in TOLERANCES.items():
            if (device.type, name) == ("cpu", "float32"):
                continue  # the reference itself
            found = quantities(reference.copied(device, getattr(torch, name)))
            differences[name] = {what: relative(told[what], found[what]) for what in told}
            checks[f"{name} within {tolerance:g}"] = all(one <= tolerance for one in differences[name].values())
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    return {"relative_difference": differences, "tolerances": TOLERANCES, "checks": checks}
