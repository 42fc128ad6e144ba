"""The closed word lists of the grammar (see grammar.py). Lower case; a word that is in none of them may be a noun."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBERS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10},
    **{"eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17},
    **{"eighteen": 18, "nineteen": 19, "twenty": 20},
}
VAGUE = _words("several some many few various multiple numerous countless lots")
"""Quantities of one or more."""

SINGULAR = _words("a an another")
DETERMINERS = {*SINGULAR, "the", "his", "her", "its", "their"}
NEGATIONS = _words("no without")
UNCOUNTED = _words("each every both all any either neither half")
"""They say something about a count that the grammar does not read."""

GROUPS = {
    **{"pair": (1, 2), "couple": (2, 2), "dozen": (12, 12)},
    **dict.fromkeys(
        ("group", "bunch", "flock", "herd", "pile", "stack", "row", "set", "bouquet", "crowd", "number", "variety", "collection", "lot"),
        (1, None),
    ),
}
"""Before "of": the bounds of what follows. A pair (of shoes, of glasses) may be one box or two."""

PICTURES = _words(
    """
    photo photograph picture painting drawing illustration image view scene sketch render rendering close-up closeup portrait
    watercolor watercolour cartoon shot page poster depiction
    """
)
"""Before "of" they are no object: "a photo of a cat" has one."""

PLACES = _words(
    """
    left right top bottom middle center centre background foreground distance side front back corner corners other same edge end style
    upper lower rest way air sides
    """
)
"""After "the" they are no object."""

SCENES = _words(
    """
    grass sky ground floor field meadow beach garden park forest street road city town village room kitchen bedroom bathroom library
    office desert snow sea ocean lake river mountain mountains wall night day morning evening sunset sunrise light shadow weather rain
    water space sand wood surface yard farm pond pool hill hills valley jungle woods lawn sunlight moonlight fog background square
    market station stage school cafe restaurant shop clouds landscape backyard studio house's countryside shore path trail hallway
    corridor zoo
    """
)
"""They may be left without a box."""

PARTS = _words(
    """
    collar hat cap tail eyes eye hair wings wing legs beard glasses sunglasses shirt jacket dress coat scarf suit tie shoes boots roof
    door doors window windows handle lid wheels horn horns ears nose smile face leaf leaves stem stripes spots dots pattern frame logo
    texture fur feathers beak mane sweater skirt gloves helmet crown cover top petals surface branches trunk chimney ribbon bow shell
    bark skin label strap finish edges edge apron
    """
)
"""After "with", "in" or "wearing" they are a part of what came before, and may be left without a box."""

CONTAINERS = _words(
    """
    vase box basket bowl cup glass pot bag bucket cage car boat bottle jar drawer plate mug crate suitcase cart tank aquarium nest
    sink bathtub wheelbarrow tray chair
    """
)
"""After "in" they are an object; anything else after "in" is where the scene is."""

ADJECTIVES = _words(
    """
    red green blue yellow white black brown orange purple pink gray grey golden gold silver big small large little tiny huge giant
    long short tall old new young round square oval wooden metallic metal glass plastic leather rubber fluffy fabric soft hard smooth
    rough shiny bright dark light cute happy sad wet dry hot cold striped dotted rectangular triangular circular cubic spherical
    conical pentagonal flat thin thick fresh ripe beautiful modern vintage ceramic stone paper cotton silk woolen sleepy lazy empty
    full teal turquoise cyan magenta violet beige maroon navy crimson colorful colourful transparent
    """
)

VERBS = _words(
    """
    is are was were be being has have holds hold sits sit stands stand lies lie lay flies fly wears wear runs run plays play eats eat
    rides ride floats float hangs hang rests rest jumps jump sleeps sleep looks look walks walk made worn built grows grow hovers
    hover perches perch leans lean watches watch chases chase drinks carries carry that which who there it they them him just also
    directly slightly right far both up down out off away located situated shines shine swims swim dances dance reads read
    """
)
"""Words between an object and its relation that change neither."""

PREPOSITIONS = _words(
    """
    of in on at to with by from for near beside above below under over behind underneath beneath between inside within against through
    across along around into onto atop upon alongside during among past toward towards outside beyond like next adjacent close without
    amid amidst opposite
    """
)

CONJUNCTIONS = _words("and or but while as where when & then")

LY_NOUNS = _words(
    "butterfly dragonfly firefly ladyfly fly family jelly lily belly assembly holly monopoly anomaly bully doily dolly trolly"
)
ING_NOUNS = _words(
    """
    ring king string building ceiling painting swing earring spring thing pudding clothing duckling dumpling viking awning railing
    lightning drawing wing carving icing stocking sling
    """
)
SINGULAR_S = _words(
    """
    glass bus dress cactus grass chess compass tennis octopus walrus hippopotamus mattress scissors pants jeans glasses headphones
    sunglasses binoculars shorts iris lens canvas atlas gas cross princess waitress actress moss brass cutlass platypus papyrus crocus
    lotus
    """
)

UNITS = _words("mm cm k years year minutes degrees dpi fps px pixels am pm o'clock percent megapixels")

RELATIONS: dict[str, str] = {
    **dict.fromkeys(
        ("to the left of", "on the left of", "at the left of", "left of", "on the left side of", "to the left side of"), "left of"
    ),
    **dict.fromkeys(
        ("to the right of", "on the right of", "at the right of", "right of", "on the right side of", "to the right side of"), "right of"
    ),
    **dict.fromkeys(("above", "higher than"), "above"),
    **dict.fromkeys(("below", "underneath", "beneath", "lower than", "on the bottom of", "at the bottom of", "on bottom of"), "below"),
    "under": "under",
    "over": "over",
    **dict.fromkeys(("on", "on top of", "on the top of", "atop", "upon", "onto"), "on"),
    **dict.fromkeys(("in", "inside", "inside of", "within", "into"), "in"),
    **dict.fromkeys(
        (
            "next to",
            "beside",
            "near",
            "near to",
            "close to",
            "by",
            "alongside",
            "adjacent to",
            "by the side of",
            "on side of",
            "on the side of",
        ),
        "next to",
    ),
    "between": "between",
}
DEPTHS = ("in front of", "behind", "in the front of", "at the back of", "in back of")
"""Relations that boxes cannot show."""

POSITIONS: dict[str, str] = {}
for _side in ("left", "right", "top", "bottom"):
    for _form in (
        "on the {}",
        "at the {}",
        "in the {}",
        "to the {}",
        "on the {} side",
        "at the {} side",
        "on the far {}",
        "in the {} half",
    ):
        POSITIONS[_form.format(_side)] = _side
for _v in ("top", "bottom", "upper", "lower"):
    for _h in ("left", "right"):
        for _form in ("in the {} {} corner", "at the {} {} corner", "in the {} {}", "at the {} {}", "on the {} {}", "in the {}-{} corner"):
            POSITIONS[_form.format(_v, _h)] = f"{'top' if _v in ('top', 'upper') else 'bottom'} {_h}"
for _middle in ("middle", "center", "centre"):
    for _form in ("in the {}", "at the {}"):
        POSITIONS[_form.format(_middle)] = "middle"
OF_PICTURE = ("of the picture", "of the image", "of the scene", "of the frame", "of the photo", "of the painting")
