"""Seeded scenes: what is in a picture, where, and the sentence that says so."""

from __future__ import annotations

import random
from dataclasses import dataclass

from realcompo_mini.language import Item, LanguageError, Sentence, parse, phrase_of
from realcompo_mini.layout import Box, lay_out
from realcompo_mini.world import World, load_world

# one number a split goes into every scene's seed: no scene is in two splits
SPLITS = {"train": 0, "boxes": 1, "scorer": 2, "tune": 3, "test": 4, "check": 5}
COUNTS = ((1, 0.17), (2, 0.33), (3, 0.25), (4, 0.17), (5, 0.05), (6, 0.03))
LINKED = 0.3  # share of neighbours in a sentence that stand in a relation


@dataclass(frozen=True)
class SceneObject:
    """One object: its words (`phrase`, at `span` in the caption), its look (`colour`, `pattern`: what is drawn), its box in shares."""

    kind: str
    colour: str | None
    pattern: str | None
    phrase: str
    span: tuple[int, int]
    box: Box


@dataclass(frozen=True)
class Scene:
    """A picture to be: `seed` decides the rest of the rendering (flips, background, light)."""

    seed: str
    caption: str
    background: str
    objects: tuple[SceneObject, ...]


def _attributes(rng: random.Random, world: World) -> tuple[str | None, str | None]:
    colour = rng.choice(list(world.colours)) if rng.random() < 0.8 else None
    pattern = rng.choice(world.patterns) if rng.random() < 0.22 else None
    return colour, pattern


def _items(rng: random.Random, total: int, world: World, kind_asked: str | None = None) -> list[Item]:
    items: list[Item] = []
    left = total
    while left:
        count = rng.randint(2, left) if left > 1 and rng.random() < (0.3 if total < 5 else 0.75) else 1
        kind = rng.choice(list(world.kinds.values()))
        if items and rng.random() < 0.12 and items[-1].kind.colourable:
            kind = items[-1].kind  # "a red car and a blue car": the prompts that need attributes bound
        if not kind.colourable and rng.random() < 0.35:
            kind = rng.choice([k for k in world.kinds.values() if k.colourable])
        if kind_asked and not items:
            kind = world.kinds[kind_asked]
        colour, pattern = _attributes(rng, world) if kind.colourable else (None, None)
        if any((i.kind, i.colour, i.pattern) == (kind, colour, pattern) for i in items) or (
            any(i.kind == kind and not (colour and i.colour) for i in items)
        ):
            continue
        items.append(Item(kind, count, colour, pattern))
        left -= count
    if kind_asked:
        rng.shuffle(items)  # what was asked for is not always named first
    return items


def write(items: list[Item], relations: list[str | None], background: str | None, world: World, style: str | None = None) -> str:
    """The sentence for items and relations."""
    text = ""
    for k, item in enumerate(items):
        if k:
            relation = relations[k - 1]
            rest = any(r is None for r in relations[k:])
            text += f" {relation} " if relation else (", " if rest else " and ")
        text += phrase_of(item.kind, item.count, item.colour, item.pattern, world)
    if background:
        text += f" {world.backgrounds[background]}"
    start = next((words for words, look in world.styles.items() if look == style), None)
    return f"{start} {text}" if start else text


def sample_scene(
    split: str,
    index: int,
    seed: int = 0,
    *,
    blind: bool = False,
    style: str | None = None,
    counts: tuple[int, ...] = (),
    kind: str | None = None,
    unnamed: frozenset[str] = frozenset(),
) -> Scene:
    """Scene number `index` of a split.

    Args:
        blind: draw other attributes than the words say, at random: what the boxes model sees.
        style: a look whose trigger words open the caption.
        counts: numbers of objects to choose from (default: one to six, mostly two to four).
        kind: one item at least is of this kind.
        unnamed: kinds whose names say nothing: where one of them is named, any of them is drawn.
    """
    world = load_world()
    name = f"{seed}/{SPLITS[split]}/{index}"
    rng = random.Random(name)
    for _ in range(100):
        total = rng.choice(counts) if counts else rng.choices([n for n, _ in COUNTS], [p for _, p in COUNTS])[0]
        items = _items(rng, total, world, kind)
        relations = [rng.choice(world.relations) if rng.random() < LINKED else None for _ in items[1:]]
        background = rng.choice(list(world.backgrounds))
        caption = write(items, relations, background if rng.random() < 0.85 else None, world, style)
        sentence = parse(caption, world)
        try:
            placed = lay_out(sentence, rng)
        except LanguageError:
            continue  # a sentence that hardly fits a picture
        return Scene(name, caption, background, _objects(sentence, placed, rng, world, blind, unnamed))
    raise RuntimeError(f"no layout found for scene {name}")


def _objects(
    sentence: Sentence, placed: list[tuple[int, Box]], rng: random.Random, world: World, blind: bool, unnamed: frozenset[str]
) -> tuple[SceneObject, ...]:
    side, drawn = world.side, sorted(unnamed)
    objects = []
    for index, box in placed:
        item = sentence.items[index]
        kind, colour, pattern = item.kind, item.colour, item.pattern
        if kind.name in unnamed:
            kind = world.kinds[rng.choice(drawn)]
        if blind or kind is not item.kind:
            colour, pattern = _attributes(rng, world) if kind.colourable else (None, None)
        x0, y0, x1, y1 = (round(v * side) / side for v in box)  # whole pixels: the truth that is drawn
        objects.append(SceneObject(kind.name, colour, pattern, item.phrase, item.span, (x0, y0, x1, y1)))
    return tuple(objects)
