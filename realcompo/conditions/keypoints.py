"""People with phrases, each a set of named keypoints: what pose ControlNets are told.

The names are OpenPose's 18. COCO's 17 are the same but for the neck, which is the middle of the shoulders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..errors import BadCondition, nearest
from .base import Box, Condition, Size, check_phrase, check_shares, check_size, remark, with_ids
from .files import read_json
from .joints import BODY_25, COCO_17, OPENPOSE_18, Point
from .measuring import in_shares
from .poses import PoseFile, coco_people, openpose_people

__all__ = ["BODY_25", "COCO_17", "MAX_PEOPLE", "MAX_SIDE", "OPENPOSE_18", "Keypoints", "Person", "Point"]

MAX_PEOPLE = 64
MAX_SIDE = 16384
"""Pixels of the picture that points were measured on: more than any camera has."""


class Person(BaseModel):
    """One person and the words.

    Attributes:
        phrase: words of the prompt that this person is.
        points: name → (x, y) in [0, 1]; what is not visible is left out.
        id: names the region; made from the phrase where it is empty.
        span: (start, end) characters of the prompt, where the phrase alone is not enough.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    phrase: str = ""
    points: dict[str, Point] = {}
    id: str = ""
    span: tuple[int, int] | None = None

    @property
    def box(self) -> Box:
        """The min/max rectangle of the visible points; it has no area where there is one point."""
        xs, ys = zip(*self.points.values(), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


class Keypoints(Condition):
    """Poses: ``Keypoints({"a dancer": {"nose": (0.5, 0.2), "neck": (0.5, 0.3), …}})``, or a list of pairs where a phrase stands twice.

    Attributes:
        items: the people.
        size: (height, width) of the picture that the points were measured on, where it is known: a picture of another shape is refused,
            since shares of another shape are a stretched person.

    Raises:
        BadCondition: no visible point, no phrase, a point outside [0, 1] or of an unknown name, an id used twice.
    """

    kind: ClassVar[str] = "keypoints"
    form: ClassVar[str] = "write phrase = { nose = [x, y], neck = [x, y], … }, or file = 'pose.json' and phrases = ['a dancer']"
    items: tuple[Person, ...] = ()
    size: Size | None = None

    def __init__(self, items: Mapping[str, Any] | Iterable[Any] = (), /, **data: Any) -> None:
        if isinstance(items, Mapping) and "items" in items and set(items) <= {"items", "size"}:  # the fields themselves
            data = {**items, **data}
        elif "items" not in data:
            data["items"] = items.items() if isinstance(items, Mapping) else items
        data["items"] = tuple(_person(one) for one in data["items"])
        super().__init__(**data)

    @model_validator(mode="after")
    def _check(self) -> Keypoints:
        if len(self.items) > MAX_PEOPLE:
            raise BadCondition(f"{len(self.items)} people", where="keypoints", mend=f"leave out {len(self.items) - MAX_PEOPLE}")
        if self.size is not None:
            check_size(self.size, MAX_SIDE, "a picture")
        for index, person in enumerate(self.items):
            _check_person(person, f"person {index}" + (f" ({person.phrase!r})" if person.phrase else ""))
        object.__setattr__(self, "items", with_ids(self.items, "person"))
        return self

    # -- files ----------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_openpose(
        cls,
        source: str | Path | Mapping[str, Any] | Sequence[Any],
        phrases: Sequence[str],
        *,
        size: Size | None = None,
        people: Sequence[int] | None = None,
        frame: int | None = None,
        confidence: float = 0.0,
    ) -> Keypoints:
        """From OpenPose's JSON (18 or 25 points), and what is written like it: pose editors, DWPose, lists of frames. A file, or what it
        holds. Coordinates may be pixels or shares. Points outside the picture are hidden, people without a visible point are left out; a
        remark (a warning `realcompo.errors.Mended`) tells of both. Hands, feet and faces are left out.

        Args:
            phrases: one a person, in the file's order.
            size: (height, width) in pixels of the photo, where the file does not say it (``canvas_height``, ``canvas_width``); without
                either, the coordinates must be shares.
            people: which of them, by number from 0; by default all who are visible.
            frame: which of a list of frames, by number from 0.
            confidence: points that the file is less sure of are hidden.
        """
        data, where = read_json(source)
        return cls._of_people(openpose_people(data, where, frame, _checked(confidence, where)), phrases, size, people)

    @classmethod
    def from_coco(
        cls,
        source: str | Path | Mapping[str, Any] | Sequence[Any],
        phrases: Sequence[str],
        *,
        image_id: int | str | None = None,
        size: Size | None = None,
        people: Sequence[int] | None = None,
        frame: int | None = None,
        confidence: float = 0.0,
    ) -> Keypoints:
        """From COCO's JSON (17 points, or the 133 of whole bodies): a file of annotations or of results, or what it holds; also MMPose's
        predictions. Points that are labelled count as visible, also where something hides them. `image_id` names the picture where there
        are several; else as `from_openpose`."""
        data, where = read_json(source)
        return cls._of_people(coco_people(data, where, image_id, frame, _checked(confidence, where)), phrases, size, people)

    @classmethod
    def _of_people(cls, file: PoseFile, phrases: Sequence[str], size: Size | None, people: Any) -> Keypoints:
        where = file.where
        if isinstance(phrases, str | Mapping) or not all(isinstance(phrase, str) for phrase in phrases):
            raise BadCondition("phrases are a list of texts, one a person", where=where, mend="write phrases = ['a dancer', 'a runner']")
        chosen = [n for n, body in enumerate(file.people) if body] if people is None else list(people)
        for number in chosen:
            if type(number) is not int or not 0 <= number < len(file.people):
                raise BadCondition(f"it has no person {number!r}", where=where, mend=f"it holds {len(file.people)}, from 0")
        measured, size = in_shares(file, _size(size, where), chosen)
        if people is None:
            chosen = [n for n in chosen if measured.people[n]]
        absent = [n for n in range(len(file.people)) if not measured.people[n]]
        if not chosen:
            raise BadCondition("nobody in it has a visible keypoint", where=where, mend="take a file in which a pose was found")
        if len(phrases) != len(chosen):
            lacking = f"person {chosen[len(phrases)]} has no phrase: " if len(phrases) < len(chosen) else ""
            without = f" ({len(absent)} more have no visible point: {_listed(absent)})" if absent and people is None else ""
            raise BadCondition(
                f"{lacking}{len(phrases)} phrases for {len(chosen)} people{without}",
                where=where,
                mend="name each person's words, or choose people = [0, …]",
            )
        if absent and people is None:
            remark(f"people without a visible point are left out: {_listed(absent)} (from 0)", where)
        made = []
        for number, phrase in zip(chosen, phrases, strict=True):
            points = measured.people[number]
            if not points:
                place = f"{where}, person {number}"
                raise BadCondition("a pose with no visible keypoint", where=place, mend="choose others: people = [0, …]")
            made.append(Person(phrase=phrase, points=points))
        return cls(made, **({} if size is None else {"size": size}))


def _size(size: Any, where: str) -> Size | None:
    """A size that a caller gives, checked before anything is divided by it."""
    if size is None:
        return None
    sides = [one if type(one) is int else None for one in size] if isinstance(size, Sequence) and not isinstance(size, str) else []
    if len(sides) != 2 or not all(one is not None and one >= 1 for one in sides):
        raise BadCondition(f"{size!r} is no size", where=where, mend="write size = (height, width) in pixels")
    return int(size[0]), int(size[1])


def _checked(confidence: Any, where: str) -> float:
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise BadCondition(f"{confidence!r} is no confidence", where=where, mend="write confidence = 0.3 (0 to 1)")
    return float(confidence)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:12])) + (" …" if len(numbers) > 12 else "")


def _person(one: Any) -> Person:
    if isinstance(one, Person):
        return one
    reason = ""
    try:
        if isinstance(one, Mapping):
            return Person(**one)
        phrase, points = one
        return Person(phrase=phrase, points=points)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f": {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (TypeError, ValueError):
        pass
    raise BadCondition(
        f"{str(one)[:80]!r} is no person with named points{reason}",
        where="keypoints",
        mend='write {"a dancer": {"nose": (x, y), "neck": (x, y), …}}; lists of OpenPose or COCO are read by from_openpose and from_coco',
    )


def _check_person(person: Person, where: str) -> None:
    check_phrase(person.phrase, "person", where)
    if not person.points:
        raise BadCondition(
            "a pose with no visible keypoint", where=where, mend="leave the person out, or give a point such as nose = [x, y]"
        )
    for name, point in person.points.items():
        if name not in OPENPOSE_18:
            raise BadCondition(f"no keypoint is called {name!r}", where=where, mend=nearest(name, OPENPOSE_18))
        check_shares(point, "point", f"{where}, {name}")
