"""What is asked of each object beside its box: how a person stands, where a pose is wanted; its class, where a map is.

Only people have a pose. Who is one is known of common words alone: of any other the model is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

from realcompo.conditions.palette import ADE20K, is_person, known_class
from realcompo.conditions.skeletons import POSES
from realcompo.errors import nearest
from realcompo.interfaces import PlanRequest

from .errors import shown
from .reading import Reading
from .words import PREPOSITIONS

NONE = "none"
"""The pose of whatever is no person."""
SAME = "as it is"
"""The pose of a person whose pose a wish leaves alone."""


@dataclass(frozen=True)
class Extra:
    """Beside boxes.

    Attributes:
        poses: that a reply may name; empty where no pose is wanted.
        classes: that a reply may name; empty where no map is wanted.
    """

    poses: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def extra_of(request: PlanRequest) -> Extra:
    """What a request's kinds of condition want."""
    poses = (*POSES, *((SAME,) if request.wish else ()), NONE) if "keypoints" in request.kinds else ()
    classes = tuple(ADE20K if request.classes is None else request.classes) if "segmentation" in request.kinds else ()
    return Extra(poses, classes)


def rules(extra: Extra) -> str:
    """What the model is told of them, beneath the other rules."""
    lines = []
    if extra.poses:
        names = ", ".join(f'"{name}"' for name in extra.poses)
        lines += [
            f'- Every object has one more key, "pose", one of {names}: how a person stands, as the sentence says it ("a woman sits" is',
            '  "sitting"; "standing" where it says nothing). Only people have a pose: of everything else, animals too, it is "none".',
            "- The box of a person holds the whole body from head to feet, raised arms included.",
        ]
    if SAME in extra.poses:
        lines.append(f'- Of a person whose pose the wish leaves alone the pose is "{SAME}".')
    if extra.classes:
        lines += [
            '- Every object has one more key, "class": what a map of classes paints it as. The JSON object has one more key, too,',
            '  "background_class": what everything else is painted as, or "" for nothing. The classes, and no others, are: '
            + ", ".join(extra.classes)
            + ".",
        ]
    return "\n".join(lines)


def noun_of(phrase: str, heads: tuple[str, ...]) -> str:
    """The words of a phrase up to its noun, which say what it is: "a woman in a red dress" is a woman.

    Args:
        heads: the things that the grammar read in it.
    """
    if heads:
        return heads[0]
    words = phrase.split()
    cut = next((n for n, word in enumerate(words) if n and word.lower() in PREPOSITIONS), len(words))
    return " ".join(words[:cut])


def judge_pose(phrase: str, noun: str, said: str | None, extra: Extra) -> tuple[str, str | None]:
    """The pose that an object gets ("" for none), and what is wrong with the one that was said."""
    name, person = shown(phrase, 80), is_person(noun)
    pose = " ".join((said or "").lower().replace("_", " ").replace("-", " ").split())
    if not pose:
        return ("", None) if person is False else ("", f"{name!r} has no pose: say one of {', '.join(extra.poses)}")
    if pose not in extra.poses:
        return "", f"{name!r}: no pose is called {shown(said or '', 40)!r}; {nearest(pose, extra.poses)}"
    if person is False and pose != NONE:
        return "", f"{name!r} is no person, so it has no pose: say {NONE!r}"
    if person and pose == NONE:
        return "", f"{name!r} is a person: say how it stands, one of {', '.join(one for one in extra.poses if one != NONE)}"
    return ("" if pose in (NONE, SAME) else pose), None


def judge_class(phrase: str, noun: str, said: str | None, extra: Extra) -> tuple[str, str | None]:
    """The class that an object gets, and what is wrong with the one that was said; where none was, that of its words."""
    name, own = shown(phrase, 80), known_class(noun, extra.classes)
    label = " ".join((said or "").lower().split())
    if not label:
        if own is not None:
            return own, None
        return "", f"{name!r} names no class of the map: give it one as its class; {_offer(noun.split()[-1].lower(), extra)}"
    if label not in extra.classes:
        return "", f"{name!r}: no class is called {shown(said or '', 40)!r}; {_offer(label, extra)}"
    if own is not None and own != label and own in noun.lower().split() and label not in noun.lower():
        return "", f"{name!r} is of the class {own!r}, not {label!r}"
    return label, None


def judge_backdrop(said: str, extra: Extra) -> tuple[str, str | None]:
    """The class of the rest of the map ("" for none), and what is wrong with the one that was said."""
    label = " ".join(said.lower().split())
    if not extra.classes or not label or label == NONE:
        return "", None
    if label not in extra.classes:
        return "", f"background_class: no class is called {shown(said, 40)!r}; {_offer(label, extra)}"
    return label, None


def _offer(word: str, extra: Extra) -> str:
    """The nearest class. The model has the whole list already; the user who reads the last error wants a short one."""
    hint = nearest(word, extra.classes).split("? ")[0]
    return f"{hint}?" if hint.startswith("did you mean") else "take the class of the list that is nearest in meaning"


def nobody(reading: Reading) -> bool:
    """Whether the prompt surely names no person: the grammar read things in it, and knows each for something else."""
    return bool(reading.things) and all(is_person(thing.text) is False for thing in reading.things)
