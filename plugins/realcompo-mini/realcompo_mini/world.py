"""The vocabulary of the mini world, read from world.toml. Pure Python: no torch, no numpy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        size: longest side of the object relative to the other kinds.
        aspect: width / height of its box.
        natural: the colour that it has when no colour is named; None where the kind cannot be recoloured.
        icon, code: names of its sprite in the two emoji packages; empty where it is drawn by the renderer.
        hue: hue of the recolourable pixels of its sprite, degrees.
        shade: factor on the brightness of its sprite.
    """

    name: str
    plural: str
    size: float
    aspect: float
    natural: str | None = None
    icon: str = ""
    code: str = ""
    hue: float = 0.0
    shade: float = 1.0

    @property
    def colourable(self) -> bool:
        return self.natural is not None


@dataclass(frozen=True)
class Colour:
    """Hue in degrees; saturation and value are factors on a sprite's own shading."""

    hue: float
    saturation: float
    value: float


@dataclass(frozen=True)
class World:
    """Everything that a sentence of the mini language can be about."""

    side: int
    kinds: dict[str, Kind]
    colours: dict[str, Colour]
    patterns: tuple[str, ...]
    backgrounds: dict[str, str]
    relations: tuple[str, ...]
    numbers: dict[str, int]
    styles: dict[str, str]

    @property
    def plurals(self) -> dict[str, Kind]:
        return {kind.plural: kind for kind in self.kinds.values()}

    def words(self) -> list[str]:
        """Every word of the language once, in a fixed order (the tokenizer is built from it)."""
        words = ["a", "an", "the", "and", ",", "of", "in", "picture"]
        for source in (
            self.numbers,
            self.kinds,
            self.plurals,
            self.colours,
            self.patterns,
            self.backgrounds,
            self.backgrounds.values(),
            self.relations,
            self.styles,
        ):
            for entry in source:
                words += entry.split()
        return list(dict.fromkeys(words))


@lru_cache(maxsize=1)
def load_world() -> World:
    """The world that this package ships."""
    data = tomllib.loads(resources.files(__package__).joinpath("world.toml").read_text("utf-8"))
    kinds = {entry["name"]: Kind(**entry) for entry in data["kinds"]}
    return World(
        side=data["picture"]["side"],
        kinds=kinds,
        colours={name: Colour(**value) for name, value in data["colours"].items()},
        patterns=tuple(data["patterns"]),
        backgrounds=data["backgrounds"],
        relations=tuple(data["relations"]),
        numbers=data["numbers"],
        styles=data["styles"],
    )
