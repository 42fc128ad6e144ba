"""Curves over the steps as pictures: the loss of a run and the norms of its gradients. PIL only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .drawing import GRID, MUTED, PAPER, TEXT, Colour, colour, fit, font, text_size
from .trace import Trace

_SHARP = 2
"""Drawn this many times as large, then reduced: smooth lines."""

_PHASES: dict[str, Colour] = {
    "spatial alone": (238, 242, 247),
    "balanced": (250, 250, 247),
    "fidelity guided": (240, 246, 238),
    "fidelity alone": (248, 241, 235),
}
"""Phase (see `TraceEntry.phase`) → its background."""


@dataclass(frozen=True)
class Line:
    """A curve: (step, value) points under a name."""

    name: str
    points: Sequence[tuple[int, float]]
    ink: Colour


def loss_chart(trace: Trace, index: int = 0) -> Image.Image | None:
    """Loss (Eq. 6/9); below it, on a logarithmic axis, ‖∂L^c/∂z‖ of each branch and the root mean square of ∂L/∂ξ. Of a run that moves z
    instead, the loss before each step's moves, by the maps of the branch that is asked.

    None where the run has neither probe nor moves.
    """
    probed = [entry for entry in trace.entries if entry.loss is not None]
    if not probed:
        return _move_chart(trace, index)
    count = trace.entries[0].step.count
    total = Line("all branches", [(e.step.index, float(e.loss[index])) for e in probed if e.loss is not None], TEXT)
    parts = [
        Line(name, [(e.step.index, float(e.region_loss[k, index].sum())) for e in probed if e.region_loss is not None], colour(k))
        for k, name in enumerate(trace.names)
    ]
    slopes = [
        Line(
            f"dL/dz of {name}",
            [(e.step.index, float(e.grad_latents[k, index])) for e in probed if e.grad_latents is not None],
            colour(k),
        )
        for k, name in enumerate(trace.names)
    ]
    slopes.append(
        Line("dL/dweights (rms)", [(e.step.index, float(e.grad_weights[index])) for e in probed if e.grad_weights is not None], MUTED)
    )
    spans = _phases(trace, index)
    width, height = 860, 300
    chart = Image.new("RGB", (width, 2 * height), PAPER)
    chart.paste(panel("loss at the trial step", [total, *parts], spans, count, (width, height), logarithmic=False), (0, 0))
    chart.paste(panel("norms of its gradients", slopes, spans, count, (width, height), logarithmic=True), (0, height))
    return chart


def _move_chart(trace: Trace, index: int) -> Image.Image | None:
    """The loss by the maps that moves were made by."""
    moved = [entry for entry in trace.entries if entry.move_loss is not None and any(maps is not None for maps in entry.move_maps)]
    if not moved:
        return None
    lines = [
        Line(name, [(e.step.index, float(e.move_loss[k, index].sum())) for e in moved if e.move_loss is not None], colour(k))
        for k, name in enumerate(trace.names)
        if any(len(e.move_maps) > k and e.move_maps[k] is not None for e in moved)
    ]
    count = trace.entries[0].step.count
    return panel("loss before the moves of a step", lines, _phases(trace, index), count, (860, 300), logarithmic=False)


def _phases(trace: Trace, index: int) -> list[tuple[str, int, int]]:
    """(phase, first step, last step + 1) of a picture, in turn."""
    spans: list[tuple[str, int, int]] = []
    for entry in trace.entries:
        name = entry.phase(trace.names, index)
        first = spans.pop()[1] if spans and spans[-1][0] == name else entry.step.index
        spans.append((name, first, entry.step.index + 1))
    return spans


def panel(
    title: str,
    lines: Sequence[Line],
    spans: Sequence[tuple[str, int, int]],
    count: int,
    size: tuple[int, int],
    *,
    logarithmic: bool,
) -> Image.Image:
    """Curves over `count` steps; `spans` (name, first step, last step + 1) shade phases; `size` is (width, height) in pixels."""
    s = _SHARP
    width, height = size[0] * s, size[1] * s
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    small, large = 13 * s, 16 * s
    left, right, top, bottom = 76 * s, width - 24 * s, 64 * s, height - 44 * s
    ticks = _ticks([value for line in lines for _, value in line.points], logarithmic)
    low, high = (math.log10(ticks[0]), math.log10(ticks[-1])) if logarithmic else (ticks[0], ticks[-1])

    def x_of(step: float) -> float:
        return left + (right - left) * (step + 0.5) / count

    def y_of(value: float) -> float:
        value = math.log10(max(value, 10**low)) if logarithmic else value
        return bottom - (bottom - top) * (value - low) / (high - low)

    for phase, first, last in spans:
        x0, x1 = x_of(first - 0.5), x_of(last - 0.5)
        draw.rectangle((x0, top, x1, bottom), fill=_PHASES[phase])
        draw.text(((x0 + x1) / 2, top - 5 * s), fit(phase, small, x1 - x0 - 4 * s), font=font(small), fill=MUTED, anchor="md")
    for tick in ticks:
        y = y_of(tick)
        draw.line((left, y, right, y), fill=GRID, width=s)
        draw.text((left - 8 * s, y), _number(tick, ticks, logarithmic), font=font(small), fill=MUTED, anchor="rm")
    draw.line((left, bottom, right, bottom), fill=MUTED, width=s)
    every = _every(count)
    for step in range(every - 1, count, every):
        draw.text((x_of(step), bottom + 6 * s), str(step + 1), font=font(small), fill=MUTED, anchor="ma")
    draw.text((right, bottom + 24 * s), "step", font=font(small), fill=MUTED, anchor="ra")
    for place, line in enumerate(lines):
        spots = [(x_of(step), y_of(value)) for step, value in line.points if math.isfinite(value)]
        draw.line(spots, fill=line.ink, width=2 * s + 1 + 3 * (len(lines) - 1 - place), joint="curve")
        for x, y in spots if len(spots) <= 30 else ():
            draw.ellipse((x - 3 * s, y - 3 * s, x + 3 * s, y + 3 * s), fill=line.ink)
    draw.text((left, 10 * s), title, font=font(large), fill=TEXT)
    _legend(draw, lines, left + text_size(title, large)[0] + 28 * s, right, 12 * s, small)
    return image.resize(size, Image.Resampling.LANCZOS)


def _every(count: int) -> int:
    """A round number of steps between labels, for 12 labels or fewer."""
    return int(_rounded(max(count / 12, 1), (1, 2, 5, 10)))


def _rounded(rough: float, factors: Sequence[float]) -> float:
    """The least product of a power of ten and one of `factors` that is not below `rough`."""
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in factors if unit * factor >= rough)


def _legend(draw: ImageDraw.ImageDraw, lines: Sequence[Line], left: int, right: int, y: int, size: int) -> None:
    x = start = float(left)
    for line in lines:
        name = fit(line.name, size, right - start - 40)
        wide = text_size(name, size)[0]
        if x + wide + 40 > right and x > start:
            x, y = start, y + round(size * 1.5)
        draw.line((x, y + size * 0.6, x + 28, y + size * 0.6), fill=line.ink, width=6)
        draw.text((x + 36, y + size * 0.6), name, font=font(size), fill=TEXT, anchor="lm")
        x += wide + 72


def _ticks(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Round numbers around all values."""
    values = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if logarithmic:
        top = math.ceil(math.log10(max(values, default=1)))
        bottom = max(math.floor(math.log10(min(values, default=0.1))), top - 12)
        every = max(1, -(-(top - bottom) // 5))
        return [10.0**power for power in range(bottom, max(top, bottom + 1) + every, every)]
    low, high = min([*values, 0.0]), max([*values, 1e-6])
    step = _rounded((high - low) / 4, (1, 2, 2.5, 5, 10))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def _number(value: float, ticks: Sequence[float], logarithmic: bool) -> str:
    if logarithmic:
        return f"{value:g}" if 1e-3 <= value < 1e4 else f"1e{round(math.log10(value))}"
    digits = max(0, 1 - math.floor(math.log10(ticks[1] - ticks[0]))) if len(ticks) > 1 else 2
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".") or "0"
