"""ADE20K's 150 classes and the colours that segmentation ControlNets were trained on, as a table of facts.

The order is that of the benchmark (index maps count it from 1, 0 is nothing). One colour stands twice: 'road' and 'skyscraper' are both
(140, 140, 140), so a colour map cannot hold a skyscraper; it is read as road.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from ..errors import BadCondition, nearest

Colour = tuple[int, int, int]
Palette = Mapping[str, Colour]
"""Class → colour, 0 to 255."""

NOTHING: Colour = (0, 0, 0)
"""Pixels of no class."""

_TABLE = """
wall 787878|building b47878|sky 06e6e6|floor 503232|tree 04c803|ceiling 787850|road 8c8c8c|bed cc05ff|windowpane e6e6e6|grass 04fa07
cabinet e005ff|sidewalk ebff07|person 96053d|earth 787846|door 08ff33|table ff0652|mountain 8fff8c|plant ccff04|curtain ff3307
chair cc4603|car 0066c8|water 3de6fa|painting ff0633|sofa 0b66ff|shelf ff0747|house ff09e0|sea 0907e6|mirror dcdcdc|rug ff095c
field 7009ff|armchair 08ffd6|seat 07ffe0|fence ffb806|desk 0aff47|rock ff290a|wardrobe 07ffff|lamp e0ff08|bathtub 6608ff|railing ff3d06
cushion ffc207|base ff7a08|box 00ff14|column ff0829|signboard ff0599|chest of drawers 0633ff|counter eb0cff|sand a09614|sink 00a3ff
skyscraper 8c8c8c|fireplace fa0a0f|refrigerator 14ff00|grandstand 1fff00|path ff1f00|stairs ffe000|runway 99ff00|case 0000ff
pool table ff4700|pillow 00ebff|screen door 00adff|stairway 1f00ff|river 0bc8c8|bridge ff5200|bookcase 00fff5|blind 003dff
coffee table 00ff70|toilet 00ff85|flower ff0000|book ffa300|hill ff6600|bench c2ff00|countertop 008fff|stove 33ff00|palm 0052ff
kitchen island 00ff29|computer 00ffad|swivel chair 0a00ff|boat adff00|bar 00ff99|arcade machine ff5c00|hovel ff00ff|bus ff00f5
towel ff0066|light ffad00|truck ff0014|tower ffb8b8|chandelier 001fff|awning 00ff3d|streetlight 0047ff|booth ff00cc
television receiver 00ffc2|airplane 00ff52|dirt track 000aff|apparel 0070ff|pole 3300ff|land 00c2ff|bannister 007aff|escalator 00ffa3
ottoman ff9900|bottle 00ff0a|buffet ff7000|poster 8fff00|stage 5200ff|van a3ff00|ship ffeb00|fountain 08b8aa|conveyer belt 8500ff
canopy 00ff5c|washer b800ff|plaything ff001f|swimming pool 00b8ff|stool 00d6ff|barrel ff0070|basket 5cff00|waterfall 00e0ff
tent 70e0ff|bag 46b8a0|minibike a300ff|cradle 9900ff|oven 47ff00|ball ff00a3|food ffcc00|step ff008f|tank 00ffeb|trade name 85ff00
microwave ff00eb|pot f500ff|animal ff007a|bicycle fff500|lake 0abed4|dishwasher d6ff00|screen 00ccff|blanket 1400ff|sculpture ffff00
hood 0099ff|sconce 0029ff|vase 00ffcc|traffic light 2900ff|tray 29ff00|ashcan ad00ff|fan 00f5ff|pier 4700ff|crt screen 7a00ff
plate 00ffb8|monitor 005cff|bulletin board b8ff00|shower 0085ff|radiator ffd600|glass 19c2c2|clock 66ff00|flag 5c00ff
"""


def _read(table: str) -> dict[str, Colour]:
    rows = (entry.rpartition(" ") for entry in table.strip().replace("\n", "|").split("|"))
    return {name: (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for name, _, code in rows}


ADE20K: dict[str, Colour] = _read(_TABLE)
"""Class → colour, in the benchmark's order."""

_SAME = {
    "animal": "cat dog horse cow sheep bird elephant bear zebra giraffe rabbit fox lion tiger duck",
    "person": "man woman boy girl child people men women children kid baby lady gentleman dancer runner skater skier surfer climber hiker "
    "gymnast swimmer singer athlete farmer chef cook teacher nurse doctor soldier firefighter king queen",
    "sofa": "couch settee",
    "television receiver": "tv television",
    "minibike": "motorcycle motorbike scooter",
    "plant": "bush potted-plant",
    "table": "dining-table",
    "earth": "ground soil",
    "windowpane": "window",
    "airplane": "plane aeroplane",
    "refrigerator": "fridge",
    "stairs": "staircase",
    "glass": "wine-glass",
    "ball": "sports-ball balloon",
    "apparel": "clothes dress shirt coat",
    "food": "apple orange banana pizza cake bread fruit",
}
ALIASES: dict[str, str] = {word.replace("-", " "): name for name, words in _SAME.items() for word in words.split()}
"""Everyday and COCO's words → the class that holds them."""


def class_of(words: str, palette: Collection[str], where: str) -> str:
    """The palette's class that a label or phrase names; see `known_class`.

    Raises:
        BadCondition: none; names the nearest.
    """
    found = known_class(words, palette)
    if found is None:
        known = [*palette, *(alias for alias, name in ALIASES.items() if name in palette)]
        raise BadCondition(
            f"{words!r} names no class of the palette",
            where=where,
            mend=f"set label to the class whose colour it takes; {nearest(_plain(words).split(' ')[-1], known)}",
        )
    return found


def known_class(words: str, palette: Collection[str]) -> str | None:
    """The class of a palette that words name, by itself or by an everyday word: the longest that they end with, in the singular too ("two
    red cars" → car, "a cat" → animal); None where there is none."""
    known = {**{alias: name for alias, name in ALIASES.items() if name in palette}, **{name: name for name in palette}}
    text = _plain(words)
    for candidate in (text, *_singulars(text)):
        parts = candidate.split(" ")
        for start in range(len(parts)):
            found = known.get(" ".join(parts[start:]))
            if found is not None:
                return found
    return None


def is_person(words: str) -> bool | None:
    """Whether words name a person ("a young woman"), surely another thing ("an apple"), or neither is known (None)."""
    found = known_class(words, ADE20K)
    return None if found is None else found == "person"


def _plain(words: str) -> str:
    return re.sub(r"[\s_]+", " ", words.strip().lower())


def _singulars(text: str) -> Iterable[str]:
    if text.endswith("es"):
        yield text[:-2]
    if text.endswith("s"):
        yield text[:-1]
