"""Records of a scorer: a line a picture, judged from the file as it stands. Batches are the same at every run, as in drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..draw.many.judging import asked_of, scored
from ..errors import BadPicture, PluginProblem
from ..interfaces import Case, Record, Shot
from ..recipes.recipe import dump_condition
from .layouts import Layouts
from .lines import Lines
from .study import DRAWN, Entrant, Judge, Study

AGAIN = "delete it, and run without --score-only to draw it again"
BATCH = 8
"""Pictures that a scorer sees at once."""
SURELY = 8
"""So many pictures that it stumbles over, all there were, are no accident."""


class Scoring:
    """The judging of one recipe's pictures by one scorer.

    Args:
        writing: what a killed run left of a last line is taken off the file.
    """

    def __init__(self, study: Study, entrant: Entrant, judge: Judge, layouts: Layouts, writing: bool = True) -> None:
        self.study, self.entrant, self.judge = study, entrant, judge
        self.lines = Lines(entrant.folder / judge.file, "case", writing)
        self._drawn = Lines(entrant.folder / DRAWN, "case", writing=False)
        self._told = {case.id: layouts.told(case) for case in study.cases}

    def record(self, case: Case) -> Record | None:
        """What the scorer said of a case's picture as it is now; None where there is no picture or no score."""
        drawn, line = self._drawn.get(case.id), self.lines.get(case.id)
        if drawn is None or "error" in drawn or line is None or not self._holds(drawn, line, case):
            return None
        record: Record | None = line.get("score")
        return record

    def error(self, case: Case) -> str | None:
        """Why a picture that is there has no score; None where it has one, or none is tried yet."""
        drawn, line = self._picture(case), self.lines.get(case.id)
        return line.get("error") if drawn is not None and line is not None and self._holds(drawn, line, case) else None

    def missing(self, retry: bool = False) -> list[list[Case]]:
        """The batches of which something is not judged yet, whole."""
        found = []
        for start in range(0, len(self.study.cases), BATCH):
            there = [case for case in self.study.cases[start : start + BATCH] if self._picture(case) is not None]
            if any(not self._done(case, retry) for case in there):
                found.append(there)
        return found

    def judge_all(self, batches: Sequence[Sequence[Case]], told: Callable[[Case], None], retry: bool = False) -> None:
        """Judge them.

        Args:
            told: after each picture.

        Raises:
            PluginProblem: the scorer stumbles over every picture, or breaks its contract. BadPicture: a file was changed since it was
            drawn. And what the scorer says is not as it should be.
        """
        bad: list[str] = []
        good = False
        for cases in batches:
            for case, outcome in self._scored([self._shot(case) for case in cases]):
                good = good or not isinstance(outcome, str)
                bad += [outcome] if isinstance(outcome, str) else []
                if self._done(case, retry):
                    continue
                head = {"case": case.id, "pixels": (self._picture(case) or {})["pixels"], "asked": self._asked(case)}
                self.lines.add({**head, "error": outcome} if isinstance(outcome, str) else {**head, "score": outcome})
                told(case)
            if len(bad) >= SURELY and not good:
                raise PluginProblem(
                    f"{self.judge.spec.id} stumbles over all of the first {len(bad)} pictures; the first: {bad[0]}",
                    where=self.entrant.name,
                    mend="mend the scorer, then run the same with --retry",
                )

    def _picture(self, case: Case) -> dict[str, Any] | None:
        """The line of a picture that was drawn."""
        line = self._drawn.get(case.id)
        return None if line is None or "error" in line else line

    def _done(self, case: Case, retry: bool) -> bool:
        drawn, line = self._picture(case), self.lines.get(case.id)
        return drawn is not None and line is not None and self._holds(drawn, line, case) and not (retry and "error" in line)

    def _holds(self, drawn: Mapping[str, Any], line: Mapping[str, Any], case: Case) -> bool:
        return line.get("pixels") == drawn["pixels"] and line.get("asked") == self._asked(case)

    def _asked(self, case: Case) -> str:
        """The digest of what is judged by: scorer, options, and what it reads of the case."""
        told = self._told[case.id]
        parts = {
            "prompt": told.prompt,
            "conditions": {key: dump_condition(one) for key, one in told.conditions.items()},
            "truth": dict(told.truth),
        }
        return asked_of(self.judge.spec, self.judge.told, parts)

    def _shot(self, case: Case) -> Shot:
        from PIL import Image

        from ..pictures.result import pixel_digest

        path = self.entrant.picture(case)
        try:
            with Image.open(path) as image:
                image.load()
                same = pixel_digest(image) == (self._picture(case) or {})["pixels"]
                shot = Shot(self._told[case.id], image.convert("RGB"), path)
        except (OSError, SyntaxError, ValueError) as error:
            raise BadPicture(f"its pixels cannot be read: {error}", where=str(path), mend=AGAIN) from None
        if not same:
            raise BadPicture("its pixels are not those that were drawn", where=str(path), mend=AGAIN)
        return shot

    def _scored(self, shots: Sequence[Shot]) -> list[tuple[Case, dict[str, Any] | str]]:
        """Each case with its record, or with why the scorer has none."""
        cases = [shot.case for shot in shots]
        return list(zip(cases, scored(self.judge.scorer, self.judge.spec.id, shots), strict=True))
