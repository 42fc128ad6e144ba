"""People with phrases, each a set of named keypoints: what pose ControlNets are told.

The names are OpenPose's 18. COCO's 17 are the same but for the neck, which is the middle of the shoulders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from ..errors import BadCondition, nearest
from .base import Box, Condition, Size, check_phrase, check_shares, check_size, with_ids

Point = tuple[float, float]
"""(x, y) as shares of the picture's width and height, origin at the top left."""

OPENPOSE_18 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""Names in OpenPose's order. Right and left are the person's own."""

COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""Names in COCO's order."""

BODY_25 = (*OPENPOSE_18[:8], "", *OPENPOSE_18[8:], *("",) * 6)
"""OpenPose's larger set: a middle hip after the arms, and feet at the end, which no skeleton here has."""

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
        source: str | Path | Mapping[str, Any],
        phrases: Sequence[str],
        *,
        size: Size | None = None,
        people: Sequence[int] | None = None,
    ) -> Keypoints:
        """From OpenPose's JSON (18 or 25 points): a file, or what it holds.

        Args:
            phrases: one a person, in the file's order.
            size: (height, width) in pixels of the photo, where the file does not say it (``canvas_height``, ``canvas_width``); without
                either, the coordinates must be shares.
            people: which of them, by number from 0; all by default.
        """
        from .files import read_json

        data, where = read_json(source)
        found = _table(data, where).get("people")
        if not isinstance(found, list):
            raise BadCondition("it has no list of people", where=where, mend="is it OpenPose's JSON? For COCO's use from_coco")
        canvas = (_table(data, where).get("canvas_height"), _table(data, where).get("canvas_width"))
        if all(type(side) is int and side > 0 for side in canvas):
            size = (canvas[0], canvas[1])  # type: ignore[assignment]
        rows = []
        for number, one in enumerate(found):
            place = f"{where}, person {number}"
            numbers = _numbers(_table(one, place).get("pose_keypoints_2d"), place)
            if len(numbers) not in (3 * len(OPENPOSE_18), 3 * len(BODY_25)):
                raise BadCondition(
                    f"{len(numbers) // 3} keypoints",
                    where=place,
                    mend="OpenPose writes 18 or 25, as x, y, confidence; COCO's 17: from_coco",
                )
            rows.append((OPENPOSE_18 if len(numbers) == 3 * len(OPENPOSE_18) else BODY_25, numbers))
        return cls._of_rows(rows, phrases, size, people, where)

    @classmethod
    def from_coco(
        cls,
        source: str | Path | Mapping[str, Any] | Sequence[Any],
        phrases: Sequence[str],
        *,
        image_id: int | None = None,
        size: Size | None = None,
        people: Sequence[int] | None = None,
    ) -> Keypoints:
        """From COCO's JSON (17 points): a file of annotations or of results, or what it holds. Points that are labelled count as
        visible, also where something hides them. `image_id` names the picture where there are several; else as `from_openpose`."""
        from .files import coco_picture, read_json

        data, where = read_json(source)
        annotations, stated, _ = coco_picture(data, image_id, where)
        rows = []
        for number, one in enumerate(annotations):
            place = f"{where}, annotation {number}"
            numbers = _numbers(one.get("keypoints"), place)
            if len(numbers) != 3 * len(COCO_17):
                raise BadCondition(
                    f"{len(numbers) // 3} keypoints", where=place, mend="COCO writes 17, as x, y, visibility; OpenPose's: from_openpose"
                )
            rows.append((COCO_17, numbers))
        return cls._of_rows(rows, phrases, stated or size, people, where)

    @classmethod
    def _of_rows(
        cls, rows: Sequence[tuple[Sequence[str], Sequence[float]]], phrases: Sequence[str], size: Size | None, people: Any, where: str
    ) -> Keypoints:
        if isinstance(phrases, str) or not all(isinstance(phrase, str) for phrase in phrases):
            raise BadCondition("phrases are a list of texts, one a person", where=where, mend="write phrases = ['a dancer', 'a runner']")
        chosen = list(range(len(rows))) if people is None else list(people)
        for number in chosen:
            if type(number) is not int or not 0 <= number < len(rows):
                raise BadCondition(f"it has no person {number!r}", where=where, mend=f"it holds {len(rows)}, from 0")
        if len(phrases) != len(chosen):
            lacking = f"person {chosen[len(phrases)]} has no phrase: " if len(phrases) < len(chosen) else ""
            raise BadCondition(
                f"{lacking}{len(phrases)} phrases for {len(chosen)} people",
                where=where,
                mend="name each person's words, or choose people = [0, …]",
            )
        made = [
            Person(phrase=phrase, points=_points(*rows[number], size, f"{where}, person {number}"))
            for number, phrase in zip(chosen, phrases, strict=True)
        ]
        return cls(made, **({} if size is None else {"size": size}))


def _person(one: Any) -> Person:
    if isinstance(one, Person):
        return one
    if isinstance(one, Mapping):
        return Person(**one)
    phrase, points = one
    return Person(phrase=phrase, points=points)


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


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadCondition(f"a table was expected, not a {type(value).__name__}", where=where, mend="is it the JSON of a pose?")
    return value


def _numbers(value: Any, where: str) -> list[float]:
    numeric = isinstance(value, list) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
    if not numeric or len(value) % 3:
        raise BadCondition("keypoints are a list of numbers: x, y and visibility of each", where=where, mend="is it the JSON of a pose?")
    return [float(one) for one in value]


def _points(names: Sequence[str], numbers: Sequence[float], size: Size | None, where: str) -> dict[str, Point]:
    """Visible points as shares; a neck between the shoulders where the format has none."""
    triples = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
    seen = {name: (x, y) for name, (x, y, confidence) in zip(names, triples, strict=True) if name and confidence > 0}
    if size is None and any(max(point) > 1 for point in seen.values()):
        raise BadCondition(
            "its points are in pixels, and nothing says of what size", where=where, mend="give size = (height, width) of the photo"
        )
    height, width = size or (1, 1)
    points = {name: (x / width, y / height) for name, (x, y) in seen.items()} if size is not None else seen
    if "neck" not in names and {"left_shoulder", "right_shoulder"} <= set(points):
        (ax, ay), (bx, by) = points["left_shoulder"], points["right_shoulder"]
        points["neck"] = ((ax + bx) / 2, (ay + by) / 2)
    return {name: points[name] for name in OPENPOSE_18 if name in points}
