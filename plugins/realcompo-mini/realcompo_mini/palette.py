"""Class → colour of the mini world's segmentation maps. Pure Python: the plugin declares it as an option.

Kinds take ten hues in two strengths, backgrounds six dim tones; nothing is black. A plural that no rule of spelling leads back to its
singular (cacti) is a name of its own with the same colour.
"""

from __future__ import annotations

import colorsys

from realcompo_mini.world import World, load_world

Colour = tuple[int, int, int]


def palette(world: World | None = None) -> dict[str, Colour]:
    """Of the world that this package ships: each kind, each irregular plural, each background."""
    world = world or load_world()
    colours: dict[str, Colour] = {}
    for k, kind in enumerate(world.kinds.values()):
        colour = _rgb(36 * (k // 2) + 18 * (k % 2), 1.0 if k % 2 else 0.5, 1.0)
        colours[kind.name] = colour
        if kind.plural not in (f"{kind.name}s", f"{kind.name}es"):
            colours[kind.plural] = colour
    for k, name in enumerate(world.backgrounds):
        colours[name] = _rgb(60 * k, 0.6, 0.4)
    return colours


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue / 360, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
