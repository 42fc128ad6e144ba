"""What can be seen of a step: numbers for curves, maps for heat maps. Everything as plain data, small enough to keep for a whole run."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realcompo.interfaces import Region
    from realcompo.pictures.trace import TraceEntry

SIDE = 64
"""Cells of a map along its longer side: more than that nobody sees over a picture."""

Plain = dict[str, Any]


def numbers(entry: TraceEntry, names: Sequence[str], regions: Sequence[Region]) -> Plain:
    """The numbers of one step of one picture, without what only the server knows (time left, previews)."""
    placement = entry.placement
    asked = [k for k, maps in enumerate(entry.seen) if maps is not None]
    losses = {} if placement is None else {names[k]: {r.id: _number(placement[k, 0, n]) for n, r in enumerate(regions)} for k in asked}
    loss = entry.loss[0] if entry.loss is not None else None if placement is None else placement[:, 0].sum()
    return {
        "index": entry.step.index,
        "count": entry.step.count,
        "phase": entry.phase(names),
        "t": float(entry.step.t),
        "alpha_bar": float(entry.step.alpha_bar),
        "spent": _number(entry.spent),
        "loss": None if loss is None else _number(loss),
        "losses": losses,
        "gradients": {} if entry.grad_latents is None else {name: _number(entry.grad_latents[k, 0]) for k, name in enumerate(names)},
        "slope": None if entry.grad_weights is None else _number(entry.grad_weights[0]),
        "moves": {} if entry.moves is None else {name: int(entry.moves[k, 0]) for k, name in enumerate(names)},
        "acting": list(entry.acting),
        "weights": {name: _number(entry.weights[k, 0].float().mean()) for k, name in enumerate(names)},
    }


def maps(entry: TraceEntry, names: Sequence[str], regions: Sequence[Region]) -> Plain:
    """The maps of one step of one picture: weights of each branch, attention of each region."""
    attention: Plain = {}
    for k, seen in enumerate(entry.seen):
        if seen is not None:
            attention[names[k]] = {region.id: packed(seen[0, n]) for n, region in enumerate(regions)}
    return {"weights": {name: packed(entry.weights[k, 0], high=1.0) for k, name in enumerate(names)}, "attention": attention}


def packed(values: Any, low: float = 0.0, high: float | None = None) -> Plain:
    """A tensor (h, w) as a Map of the API: a byte a cell, averaged down where it is large."""
    import numpy as np
    from PIL import Image

    cells = np.nan_to_num(np.asarray(values.detach().float().cpu().numpy(), dtype=np.float32), posinf=0.0, neginf=0.0)
    h, w = cells.shape
    if max(h, w) > SIDE:
        shrink = SIDE / max(h, w)
        size = (max(1, round(w * shrink)), max(1, round(h * shrink)))
        cells = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BOX))
        h, w = cells.shape
    top = high if high is not None else max(float(cells.max()), 1e-12)
    data = np.clip((cells - low) / (top - low) * 255, 0, 255).round().astype(np.uint8)
    return {"height": h, "width": w, "low": low, "high": top, "data": base64.b64encode(data.tobytes()).decode()}


def _number(value: Any) -> float:
    """Six digits: JSON has no more use for them, nor has a curve; what is no number is 0."""
    plain = float(value)
    return float(f"{plain:.6g}") if math.isfinite(plain) else 0.0
