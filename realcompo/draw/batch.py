"""The pictures of a recipe into a folder, a batch at a time, so that a run that was cut off goes on where it stopped.

A file appears whole or not at all (picture.py). A finished picture says which request it answers; one that answers this request is
kept. Seeds that are missing are made from the picture itself, so that every run asks for the same pictures; and which are drawn at once
the recipe decides, not what is left, as a picture's last digits depend on what it is drawn beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, BadPicture, NotFinite, PlanningError, RealCompoError, Stopped
from ..files import clear_parts, file_name
from ..pictures.png import read_recipe
from ..plans.planning import PlannedPicture, Task, joined
from ..recipes.recipe import PictureEntry, Recipe
from .entries import in_the_way, request_of, require_pictures, seeded
from .kept import composer_of

if TYPE_CHECKING:
    from ..compose.composer import Composer, Progress
    from ..pictures.naming import Names
    from ..pictures.result import Result
    from ..registry import Registry


SHOWN = 3
"""Failed pictures that the error describes; the report has all."""

PLAN_AHEAD = 64
"""Pictures that are planned at once before they are drawn: enough for a server to be busy, few enough to lose when the run is stopped."""


@dataclass
class BatchReport:
    """What became of each picture of a recipe.

    Attributes:
        drawn: files written now.
        kept: finished files of an earlier run.
        pending: files that are not there yet.
        notes: what a user should know, such as a damaged file that was drawn again.
        failed: files that were not written because their pictures hold NaN or infinity, and why; they are pending too.
    """

    folder: Path
    drawn: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    pending: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: dict[Path, NotFinite] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.drawn)} drawn", f"{len(self.kept)} already there"]
        if self.pending:
            parts.append(f"{len(self.pending)} still to draw")
        if self.failed:
            parts[-1] += f" (of which {len(self.failed)} failed)"
        return ", ".join(parts)


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C during a batch; `report` says what is done."""

    def __init__(self, report: BatchReport) -> None:
        super().__init__(f"stopped: {report} in {report.folder}; the same command goes on from here")
        self.report = report


@dataclass(frozen=True)
class Item:
    """One picture of a recipe, its file, and the digest of all that is asked of it."""

    entry: PictureEntry
    path: Path
    request: str


def draw(
    recipe: Recipe,
    folder: str | Path,
    *,
    batch_size: int = 1,
    overwrite: bool = False,
    names: Names | None = None,
    parameters: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
    on_batch: Callable[[Sequence[Item], BatchReport], None] | None = None,
    on_result: Callable[[Result, Sequence[Path]], None] | None = None,
) -> BatchReport:
    """Draw the pictures of a recipe that are not there yet.

    Args:
        recipe: of all layers (see `configuration.resolve`).
        folder: for the PNGs; made where it is missing.
        batch_size: pictures drawn at once; which those are, the recipe decides. Where one is missing, its batch is drawn again, and what is
            there stays as it is.
        overwrite: draw also over files that hold something else.
        parameters: write A1111's line of settings beside the recipe, with these facts; None writes none.
        names: of the files below its folder, in place of the pictures' names or prompts.
        progress: after each denoising step.
        on_batch, on_result: before and after each batch.

    Raises:
        BadPicture: a file stands in the way that is another picture.
        PlanningError: pictures have no layout; those that have one are drawn first.
        NotFinite: pictures hold NaN or infinity; the others are drawn first, and the next call tries these again. Carries the report.
        BatchInterrupted: Ctrl-C; whatever was finished is there.
        Stopped: `progress` ended the run; carries the report.
    """
    require_pictures(recipe)
    if batch_size < 1:
        raise BadOption(f"batch_size = {batch_size}", mend="1 or more")
    folder = Path(folder).expanduser()
    report = BatchReport(folder)
    clear_parts(folder)
    all_items = list(items(recipe, folder, names))
    todo = [item for item in all_items if not _finished(item, overwrite, report)]
    report.pending = [item.path for item in todo]
    if not todo:
        return report
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadPicture(f"the folder cannot be made: {error.strerror}", where=str(folder), mend="choose another") from None
    try:
        composer = composer_of(recipe, registry)
        composer.check_named(recipe.pictures)
        failed: list[PlanningError] = []
        kept = set(report.kept)
        batches = [group for group in groups(all_items, batch_size) if any(item.path not in kept for item in group)]
        ahead = -(-PLAN_AHEAD // batch_size)
        for start in range(0, len(batches), ahead):
            window = batches[start : start + ahead]
            ready, problems = _planned(composer, [item for batch in window for item in batch], kept)
            failed += problems
            if not any(path not in kept for path in ready):
                break  # a server that is down will not plan the next ones either
            for batch in window:
                there = [(item, ready[item.path]) for item in batch if item.path in ready]
                if any(item.path not in kept for item, _ in there):
                    _draw_batch(composer, there, kept, report, progress, on_batch, on_result, parameters)
    except KeyboardInterrupt:
        raise BatchInterrupted(report) from None
    except Stopped as stopped:
        stopped.report = report
        raise
    if failed:
        whole = joined(failed, len(todo))
        drawn = f" ({report} in {folder})" if len(todo) > 1 else ""
        also = f"; {_not_finite(report, len(todo)).what}" if report.failed else ""
        raise type(whole)(whole.what + drawn + also, where=whole.where, mend=whole.mend)
    if report.failed:
        raise _not_finite(report, len(todo))
    return report


def groups(items: Sequence[Item], size: int) -> list[list[Item]]:
    """All pictures of a recipe in their order, at most so many at once, and only such as begin alike: with noise, with an image at one
    strength … What is drawn already stays in its group, and is drawn beside the others again: what a picture is drawn beside moves its last
    digits."""
    found: list[list[Item]] = []
    for item in items:
        if found and len(found[-1]) < size and found[-1][0].entry.beginning == item.entry.beginning:
            found[-1].append(item)
        else:
            found.append([item])
    return found


def _not_finite(report: BatchReport, asked: int) -> NotFinite:
    """The error of all pictures that failed, of so many that were asked for."""
    reasons = {path.name: reason for path, reason in report.failed.items()}
    first = next(iter(reasons.values()))
    if asked == 1:
        return NotFinite(first.what, where=first.where, mend=first.mend, report=report)
    told = "; ".join(f"{name}, {reason.where}: {reason.what}" for name, reason in list(reasons.items())[:SHOWN])
    more = "; …" if len(reasons) > SHOWN else ""
    return NotFinite(
        f"{len(reasons)} of {asked} pictures failed: {told}{more} ({report} in {report.folder})",
        mend=f"{first.mend}; the same command then draws what is missing",
        report=report,
    )


def _planned(composer: Composer, window: Sequence[Item], kept: Set[Path]) -> tuple[dict[Path, PlannedPicture], list[PlanningError]]:
    """The pictures of a window that can be drawn, planned where they lack a condition, and why the others cannot. What is there already has
    the layout that its file carries."""
    if composer.planner is None:
        return {item.path: PlannedPicture(item.entry) for item in window}, []
    asked = [item for item in window if item.path not in kept]
    found = composer.plan([Task(item.entry) for item in asked])
    ready = {item.path: one for item, one in zip(asked, found, strict=True) if isinstance(one, PlannedPicture)}
    for item in window:
        if item.path in kept:
            (drawn,) = read_recipe(item.path).recipe.pictures
            told = {name: getattr(drawn, name) for name in ("conditions", "prompt", "negative_prompt")}  # all that a planner changes
            ready[item.path] = PlannedPicture(item.entry.model_copy(update=told))
    return ready, [one for one in found if isinstance(one, PlanningError)]


def _draw_batch(
    composer: Composer,
    ready: Sequence[tuple[Item, PlannedPicture]],
    kept: Set[Path],
    report: BatchReport,
    progress: Progress | None,
    on_batch: Callable[[Sequence[Item], BatchReport], None] | None,
    on_result: Callable[[Result, Sequence[Path]], None] | None,
    parameters: Mapping[str, Any] | None,
) -> None:
    batch = [item for item, _ in ready]
    if on_batch is not None:
        on_batch([item for item in batch if item.path not in kept], report)
    result: Result | None
    try:
        result = composer.compose([planned for _, planned in ready], progress=progress, part=True)
    except NotFinite as problem:
        if not problem.failed:  # of a plugin's own
            raise
        result = problem.result
        report.failed |= {batch[b].path: reason for b, reason in problem.failed.items() if batch[b].path not in kept}
        batch = [item for b, item in enumerate(batch) if b not in problem.failed]
    rows = [b for b, item in enumerate(batch) if item.path not in kept]
    if result is None or not rows:
        return
    if len(rows) < len(batch):
        batch, result = [batch[b] for b in rows], result.only(rows)
    for item, image in zip(batch, result.images, strict=True):
        image.facts["request"] = item.request
        item.path.parent.mkdir(parents=True, exist_ok=True)
        image.facts |= parameters or {}
        image.save(item.path, parameters=parameters is not None)
        report.drawn.append(item.path)
        report.pending.remove(item.path)
    if on_result is not None:
        on_result(result, [item.path for item in batch])


def items(recipe: Recipe, folder: Path, names: Names | None = None) -> Iterator[Item]:
    """The pictures of a recipe with seeds and files: the same at every run."""
    taken: set[str] = set()
    last: dict[str, int] = {}  # a number that was taken stays taken: counting goes on there, so that n equal prompts cost n names
    for index, entry in enumerate(seeded(recipe.pictures), 1):
        stem = name = file_name(entry.name or entry.prompt) if names is None else names.stem(recipe, entry, index)
        count = last.get(stem, 1)
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        last[stem] = count
        taken.add(name)
        yield Item(entry, folder / f"{name}.png", request_of(recipe, entry))


def _finished(item: Item, overwrite: bool, report: BatchReport) -> bool:
    """Whether the item's file is there already.

    Raises:
        BadPicture: something else is there.
    """
    if not item.path.exists():
        return False
    try:
        request = read_recipe(item.path).facts.get("request")
    except RealCompoError as error:
        if "truncated" in error.what or "damaged" in error.what:
            report.notes.append(f"{item.path} is drawn again: {error.what}")
            return False
        request = None
    if request == item.request:
        report.kept.append(item.path)
        return True
    if overwrite:
        return False
    raise in_the_way(str(item.path), "folder")
