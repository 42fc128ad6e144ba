"""The contract of scorers. Whatever judges is judged: labels that it says to read must count, and no others may."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from PIL import Image, ImageDraw

from ..conditions import Boxes
from ..evaluation.measure import share, sums
from ..interfaces import Case, Record, Scorer, Shot
from ..specs import Label, ScorerSpec
from .common import ComponentContract

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "black")
LABELS: tuple[Label, ...] = ("prompt", "conditions", "truth")


class ScorerContract(ComponentContract[ScorerSpec]):
    """What every scorer keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        device: on which it scores.

    and `shots()`, where it judges other pictures than coloured boxes.
    """

    kind = ScorerSpec
    device: ClassVar[str] = "cpu"

    @classmethod
    def scorer(cls) -> Scorer:
        built: Scorer = cls.host().scorer(cls.component, cls.options, cls.device)
        return built

    @classmethod
    def shots(cls) -> list[Shot]:
        """Four pictures or more, each of its own case, that it judges well: its `examples`, or painted boxes, the first red, the second
        green …"""
        of: type[Scorer] = cls.host().load(cls.spec())
        found = [replace(shot, image=shot.image.copy()) for shot in of.examples()]
        return found or [painted(number) for number in range(6)]

    def _scored(self, shots: Sequence[Shot]) -> list[Record]:
        return [json.loads(json.dumps(dict(record))) for record in self.scorer().score(shots)]

    def _figures(self, records: Sequence[Record]) -> dict[str, float]:
        """Every column of these pictures."""
        scorer = self.scorer()
        return {one.name: scorer.whole(one.name, records) if one.whole else share(*sums(records, one)) for one in self.spec().columns}

    def _values(self, records: Sequence[Record]) -> dict[str, list[float]]:
        """Every column picture by picture; one that has only a figure of all, of all."""
        scorer, found = self.scorer(), {}
        for one in self.spec().columns:
            alone = [scorer.whole(one.name, records)] if one.whole else [share(*sums([record], one)) for record in records]
            found[one.name] = [value if math.isfinite(value) else -math.inf for value in alone]
        return found

    # -- checks ----------------------------------------------------------------------------------------------------------

    def test_a_record_a_picture(self) -> None:
        """Plain data without NaN, which a line of JSON holds."""
        shots = self.shots()
        records = list(self.scorer().score(shots))
        assert len(records) == len(shots)
        assert [json.loads(json.dumps(dict(record), allow_nan=False)) for record in records] == [dict(record) for record in records]

    def test_columns_are_in_the_records(self) -> None:
        """Each column has a figure of these pictures, and a name of its own."""
        columns = self.spec().columns
        assert columns and len({one.name for one in columns}) == len(columns)
        figures = self._figures(self._scored(self.shots()))
        empty = [name for name, value in figures.items() if not math.isfinite(value)]
        assert not empty, f"columns without a figure: {', '.join(empty)}"

    def test_the_same_picture_scores_the_same(self) -> None:
        assert self._scored(self.shots()) == self._scored(self.shots())

    def test_a_batch_is_its_pictures_alone(self) -> None:
        """A picture's record does not depend on its neighbours, to rounding."""
        shots = self.shots()
        for alone, beside in zip([self._scored([shot])[0] for shot in shots], self._scored(shots), strict=True):
            assert close(alone, beside), f"{alone} alone, {beside} in a batch"

    def test_pictures_are_left_as_they_were(self) -> None:
        """The next scorer reads the same."""
        shots = self.shots()
        before = [(shot.image.tobytes(), repr(shot.case)) for shot in shots]
        self.scorer().score(shots)
        assert [(shot.image.tobytes(), repr(shot.case)) for shot in shots] == before

    def test_other_pictures_score_otherwise(self) -> None:
        """Grey pictures with the same labels have other figures."""
        shots = self.shots()
        grey = [replace(shot, image=Image.new("RGB", shot.image.size, "gray")) for shot in shots]
        assert self._values(self._scored(grey)) != self._values(self._scored(shots)), "it answers alike whatever it sees"

    def test_shuffled_labels_change_the_score(self) -> None:
        """A scorer that reads labels answers to them: with each picture told as its neighbour, what it says of them changes."""
        if not self.spec().reads:
            pytest.skip("it reads no labels")
        shots = self.shots()
        cases = [shot.case for shot in shots]
        shuffled = [replace(shot, case=case) for shot, case in zip(shots, [*cases[1:], cases[0]], strict=True)]
        assert self._values(self._scored(shuffled)) != self._values(self._scored(shots)), "it answers alike whatever it is told"

    def test_labels_that_it_does_not_read_change_nothing(self) -> None:
        """What its spec does not say to read may be anything."""
        shots = self.shots()
        nonsense: dict[Label, Any] = {"prompt": "qwzx vbnm", "conditions": {}, "truth": {}}
        unread = {name: nonsense[name] for name in LABELS if name not in self.spec().reads}
        without = self._scored([replace(shot, case=replace(shot.case, **unread)) for shot in shots])
        assert all(map(close, without, self._scored(shots))), "it reads what its spec does not say"


def painted(number: int) -> Shot:
    """A picture of one coloured box or two on white, and its case."""
    rows = [(0.0, 0.1, 0.45, 0.6 + 0.05 * number)] + ([(0.55, 0.05 * number, 1.0, 0.9)] if number % 2 else [])
    phrases = [f"a {COLOURS[k]} box" for k in range(len(rows))]
    image = Image.new("RGB", (64, 64), "white")
    for colour, (x0, y0, x1, y1) in zip(COLOURS, rows, strict=False):
        ImageDraw.Draw(image).rectangle((64 * x0, 64 * y0, 64 * x1 - 1, 64 * y1 - 1), fill=colour)
    truth = {"objects": [{"phrase": phrase, "box": list(box)} for phrase, box in zip(phrases, rows, strict=True)]}
    conditions = {"boxes": Boxes(list(zip(phrases, rows, strict=True)))}
    return Shot(Case(f"{number}", " and ".join(phrases), seed=number, conditions=conditions, truth=truth), image)


def close(a: Any, b: Any) -> bool:
    """Whether two records say the same, numbers to rounding; packed features to that of float16."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, str) and isinstance(b, str) and a != b:
        return _close_features(a, b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4)
    return bool(a == b)


def _close_features(a: str, b: str) -> bool:
    import numpy as np

    from ..interfaces.suite import unpack

    try:
        return bool(np.allclose(unpack(a), unpack(b), rtol=1e-2, atol=1e-3))
    except ValueError:  # texts, not vectors
        return False
