"""The pictures of a study: each file whole or not at all, then a line about it. Batches are the same at every run, also after a kill, for a
picture's last digits depend on what it was drawn beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..draw.entries import digest_of, in_the_way, request_of
from ..draw.many.attempt import SURELY, attempt
from ..draw.many.work import DrawingWork
from ..errors import PluginProblem, RealCompoError
from ..files import clear_parts
from ..interfaces import Case
from ..pictures.png import read_recipe
from .crew import by_engine
from .jobs import Job, Told
from .layouts import Layouts
from .lines import Lines, write_own
from .study import DRAWN, PICTURES, Entrant, Study

if TYPE_CHECKING:
    from ..compose.composer import Composer, Progress
    from ..interfaces import Engine


class Drawing:
    """The drawing of one recipe's pictures.

    Args:
        writing: what a killed run left of a last line is taken off the file.
    """

    def __init__(self, study: Study, entrant: Entrant, layouts: Layouts, writing: bool = True) -> None:
        self.study, self.entrant, self.layouts = study, entrant, layouts
        self.lines = Lines(entrant.folder / DRAWN, "case", writing)

    def begin(self) -> None:
        """recipe.json, and the texts that the suite wants beside the pictures."""
        texts = {f"{PICTURES}/{name}": text for name, text in self.study.suite.files(self.study.cases).items()}
        texts["recipe.json"] = self.entrant.text
        for name, text in texts.items():
            path = self.entrant.folder / name
            if path.exists() and path.read_text("utf-8") == text:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            write_own(path, text)

    def missing(self, composer: Composer, batch_size: int, overwrite: bool, retry: bool) -> list[list[Job]]:
        """The batches of which something is not there yet, whole.

        Raises:
            BadPicture: a picture of another recipe, or of another request, stands in the way. BadCondition: an option names a region that
                no layout has.
        """
        found = []
        cases = self.study.cases
        asked = [self._job(composer, case) for case in cases]
        composer.check_named([job.entry for job in asked if job is not None])
        for start in range(0, len(cases), batch_size):
            jobs = [job for job in asked[start : start + batch_size] if job is not None]
            open_ = [job for job in jobs if not self._done(job, overwrite, retry)]
            if open_:
                found.append(jobs)
        return found

    def draw(
        self,
        composer: Composer,
        batches: Sequence[Sequence[Job]],
        progress: Progress | None,
        told: Callable[[Case], None],
        retry: bool = False,
    ) -> None:
        """Draw them in this process.

        Args:
            told: after each picture.

        Raises:
            PluginProblem: every picture fails. And what concerns the recipe, as `Composer.compose` raises it.
        """
        self._clear(batches)
        self._take(self._here(composer, batches, progress, retry), told)

    def draw_by(
        self, engine: Engine, batches: Sequence[Sequence[Job]], told: Callable[[Case], None], retry: bool = False, maker: str | None = None
    ) -> None:
        """Draw them by an engine: the same pictures, and the same lines in the same order.

        Args:
            maker: see `evaluate`.

        Raises:
            PluginProblem: every picture fails. And what concerns the recipe, or the engine.
        """
        self._clear(batches)
        work = DrawingWork(self.entrant.recipe.plain(), str(self.entrant.folder), maker, costed=True)
        self._take(by_engine(engine, work, batches, self._place, lambda job: not self._settled(job, retry)), told)

    def _clear(self, batches: Sequence[Sequence[Job]]) -> None:
        """The folders of pictures, without the parts that killed runs left."""
        for folder in {self.entrant.picture(job.case).parent for jobs in batches for job in jobs}:
            folder.mkdir(parents=True, exist_ok=True)
            clear_parts(folder)

    def _here(
        self, composer: Composer, batches: Sequence[Sequence[Job]], progress: Progress | None, retry: bool
    ) -> Iterator[Iterator[tuple[Job, Told]]]:
        """Batches that are drawn as they are read; a picture is written before its line is."""

        def batch(jobs: Sequence[Job]) -> Iterator[tuple[Job, Told]]:
            for job, outcome in zip(jobs, attempt(composer, [job.entry for job in jobs], progress, costed=True), strict=True):
                if self._settled(job, retry):
                    continue
                if isinstance(outcome, str):
                    yield job, outcome
                else:
                    outcome.facts["request"] = job.request
                    outcome.save(self.entrant.picture(job.case))
                    yield job, outcome.facts

        return (batch(jobs) for jobs in batches)

    def _take(self, batches: Iterable[Iterable[tuple[Job, Told]]], told: Callable[[Case], None]) -> None:
        """A line a picture."""
        good = any("error" not in line for case in self.study.cases if (line := self.lines.get(case.id)) is not None)
        bad: list[str] = []
        for batch in batches:
            for job, outcome in batch:
                if isinstance(outcome, str):
                    self.lines.add({"case": job.case.id, "request": job.request, "error": outcome})
                    bad.append(outcome)
                else:
                    self.lines.add(self._line(job, outcome))
                    good = True
                told(job.case)
            if len(bad) >= SURELY and not good:
                raise PluginProblem(
                    f"all of the first {len(bad)} pictures failed; the first: {bad[0]}",
                    where=self.entrant.name,
                    mend="mend the recipe, then run the same with --retry",
                )

    def _job(self, composer: Composer, case: Case) -> Job | None:
        asked = self.layouts.asked(case, composer.members)
        if asked.entry is not None:
            return Job(case, asked.entry, request_of(self.entrant.recipe, asked.entry))
        line = self.lines.get(case.id)
        if line is None or line.get("error") != asked.error:
            self.lines.add({"case": case.id, "request": digest_of(case.prompt), "error": asked.error})
        return None

    def _done(self, job: Job, overwrite: bool, retry: bool) -> bool:
        line, path = self.lines.get(job.case.id), self.entrant.picture(job.case)
        if line is not None and line["request"] == job.request:
            return not retry if "error" in line else path.exists()
        if not path.exists():
            return False
        try:
            facts = read_recipe(path).facts
        except RealCompoError as error:
            if overwrite or "truncated" in error.what or "damaged" in error.what:
                return False
            facts = {}
        if facts.get("request") == job.request and "cost" in facts:
            self.lines.add(self._line(job, facts))  # killed between the picture and its line
            return True
        if overwrite:
            return False
        raise in_the_way(str(path), "folder with -o")

    def _settled(self, job: Job, retry: bool) -> bool:
        """Whether a picture of a batch that is drawn again for another's sake has its line already."""
        line = self.lines.get(job.case.id)
        if line is None or line["request"] != job.request:
            return False
        return not retry if "error" in line else self.entrant.picture(job.case).exists()

    def _line(self, job: Job, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "case": job.case.id,
            "request": job.request,
            "file": self._place(job),
            "pixels": facts["pixels"],
            "cost": facts["cost"],
        }

    def _place(self, job: Job) -> str:
        """A picture's file below the recipe's folder."""
        return self.entrant.picture(job.case).relative_to(self.entrant.folder).as_posix()
