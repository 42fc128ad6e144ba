"""`evaluate`: plan, draw, judge, tell. Each part goes on where the last run stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BadOption
from .drawing import Drawing
from .jobs import Job
from .layouts import Layouts
from .scoring import Scoring
from .study import Entrant, Study, study_of
from .tables import Table, table_of, write

if TYPE_CHECKING:
    from ..compose.composer import Composer
    from ..compose.live import Event
    from ..interfaces import Crew, Step
    from ..registry import Registry


class Watch(Protocol):
    """Is told how an evaluation goes on."""

    def part(self, what: str, name: str, done: int, total: int) -> None:
        """A part ("planning", "drawing", or a scorer's id) of a recipe's has come so far."""

    def __call__(self, step: Step, entry: Event) -> None:
        """After a denoising step."""


class Silent:
    """A watch that nobody looks at."""

    def part(self, what: str, name: str, done: int, total: int) -> None:
        """Nothing."""

    def __call__(self, step: Step, entry: Event) -> None:
        """Nothing."""


class EvaluationInterrupted(KeyboardInterrupt):
    """Ctrl-C during an evaluation; what was finished is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped: what is finished is in {folder}; the same command goes on from here")


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        table: of all recipes.
        files: that were written from it.
        folder: see study.py.
        failed: recipe → case → why it was not drawn, or not judged.
    """

    table: Table
    files: tuple[Path, ...]
    folder: Path
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def evaluate(
    suite: str,
    recipes: Sequence[str | Path],
    folder: str | Path,
    *,
    scorers: Sequence[str] | None = None,
    options: Sequence[str] = (),
    limit: int | None = None,
    scenes: int | None = None,
    seed: int | None = None,
    batch_size: int = 1,
    crew: Crew | None = None,
    draws: bool = True,
    judges: bool = True,
    overwrite: bool = False,
    retry: bool = False,
    against: str | None = None,
    column: str | None = None,
    sets: Sequence[str] = (),
    arguments: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    maker: str | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Draw a suite by each recipe, judge the pictures, and set the recipes side by side.

    Args:
        suite, recipes, folder, scorers, options, limit, scenes, seed, sets, arguments, registry: see `study_of`.
        batch_size: pictures drawn at once.
        crew: workers of this machine that draw; None: this process does.
        maker: ``package.module:function`` that makes the registry in every worker; None: of what is installed.
        draws: False judges only what is there. judges: False tells only what is judged.
        overwrite: draw also over pictures of other recipes. retry: try again what failed.
        against: the recipe that the others are held against; the first by default.
        column: of the frontier.

    Raises:
        EvaluationInterrupted: Ctrl-C; the same call goes on from there. BadOption, BadRecipe, BadPicture … as `study_of`, `Layouts.plan`,
        `Drawing` and `Scoring` raise them.
    """
    if batch_size < 1:
        raise BadOption(f"batch_size = {batch_size}", mend="1 or more")
    watch = watch or Silent()
    study = study_of(
        suite,
        recipes,
        folder,
        scorers=scorers,
        options=options,
        limit=limit,
        scenes=scenes,
        seed=seed,
        sets=sets,
        arguments=arguments,
        registry=registry,
        drawing=draws,
    )
    try:
        with study.claimed(making=draws):
            layouts = Layouts(study)
            if draws:
                _draw(study, layouts, batch_size, overwrite, retry, watch, crew, maker)
            if judges:
                _judge(study, layouts, retry, watch)
            table = table_of(study, layouts, against)
            return Evaluation(table, tuple(write(table, study.folder, column)), study.folder, _failures(study, layouts))
    except KeyboardInterrupt:
        raise EvaluationInterrupted(study.folder) from None


def _draw(
    study: Study,
    layouts: Layouts,
    batch_size: int,
    overwrite: bool,
    retry: bool,
    watch: Watch,
    crew: Crew | None,
    maker: str | None,
) -> None:
    """Everything that can be known without weights is checked for all recipes first."""
    from ..compose.composer import Composer
    from ..draw.many.engines import engine_of

    composers = {one.name: Composer.from_recipe(one.recipe, study.registry) for one in study.entrants}
    layouts.plan(composers, retry, lambda done, total: watch.part("planning", "layouts", done, total))
    layouts.publish()
    todo: list[tuple[Entrant, Drawing, list[list[Job]]]] = []
    for entrant in study.entrants:
        drawing = Drawing(study, entrant, layouts)
        todo.append((entrant, drawing, drawing.missing(composers[entrant.name], batch_size, overwrite, retry)))
    for entrant, drawing, batches in todo:
        composer: Composer = composers.pop(entrant.name)  # its weights go with it
        drawing.begin()
        counted = _Counted(watch, "drawing", entrant.name, sum(map(len, batches)))
        if crew is None:
            drawing.draw(composer, batches, watch, counted, retry)
        elif batches:
            with closing(engine_of(None, crew, entrant.recipe.device)) as engine:  # one a recipe: its workers hold that recipe's weights
                drawing.draw_by(engine, batches, counted, retry, maker)


def _judge(study: Study, layouts: Layouts, retry: bool, watch: Watch) -> None:
    for judge in study.judges:  # a scorer's weights are loaded once
        for entrant in study.entrants:
            scoring = Scoring(study, entrant, judge, layouts)
            batches = scoring.missing(retry)
            counted = _Counted(watch, judge.spec.id, entrant.name, sum(map(len, batches)))
            scoring.judge_all(batches, counted, retry)


class _Counted:
    """Tells a watch of each picture."""

    def __init__(self, watch: Watch, what: str, name: str, total: int) -> None:
        self.watch, self.what, self.name, self.total, self.done = watch, what, name, total, 0
        if total:
            watch.part(what, name, 0, total)

    def __call__(self, _: object) -> None:
        self.done += 1
        self.watch.part(self.what, self.name, self.done, self.total)


def _failures(study: Study, layouts: Layouts) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entrant in study.entrants:
        drawn = Drawing(study, entrant, layouts, writing=False).lines
        scorings = [Scoring(study, entrant, judge, layouts, writing=False) for judge in study.judges]
        for case in study.cases:
            said = [(drawn.get(case.id) or {}).get("error"), *(one.error(case) for one in scorings)]
            told = next((one for one in said if one is not None), None)
            if told is not None:
                found.setdefault(entrant.name, {})[case.id] = told
    return found
