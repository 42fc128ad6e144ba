"""Pictures drawn together, each with what came of it: a picture that cannot be drawn costs its companions nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import BadCondition, NotFinite, PhraseNotFound, RealCompoError

if TYPE_CHECKING:
    from ...compose.composer import Composer, Progress
    from ...pictures.result import Picture, Result
    from ...plans.planning import PlannedPicture
    from ...recipes.recipe import PictureEntry

TRIES = 3
"""What fails, or is lost with its worker, is tried twice more, after all else."""
SURELY = 8
"""So many pictures that all fail are no accident."""
OF_A_PICTURE = (NotFinite, PhraseNotFound, BadCondition)
"""Errors that one picture can have and the next not; any other concerns the recipe."""


def attempt(
    composer: Composer, entries: Sequence[PictureEntry | PlannedPicture], progress: Progress | None = None, costed: bool = False
) -> list[Picture | str]:
    """Each entry's picture, or why there is none.

    Args:
        costed: whether a picture's facts say what it cost (`cost_of`).

    Raises:
        RealCompoError: what concerns every picture. MemoryError.
    """
    try:
        result: Result | None = composer.compose(entries, progress=progress, part=True)
        failed: dict[int, str] = {}
    except NotFinite as problem:
        if not problem.failed:  # of a plugin's own: it does not say whose it is
            return _alone(composer, entries, progress, costed, problem)
        failed, result = {b: str(reason) for b, reason in problem.failed.items()}, problem.result
    except RealCompoError as problem:
        if not isinstance(problem, OF_A_PICTURE):
            raise
        return _alone(composer, entries, progress, costed, problem)
    except MemoryError:
        raise
    except Exception as problem:  # of a plugin, which may stumble over one prompt of thousands
        return _alone(composer, entries, progress, costed, problem)
    images: Any = iter(result.images if result is not None else ())
    if costed and result is not None:
        for image in result.images:
            image.facts["cost"] = cost_of(result)
    return [failed.get(b, "it was not drawn") if b in failed or result is None else next(images) for b in range(len(entries))]


def _alone(
    composer: Composer, entries: Sequence[PictureEntry | PlannedPicture], progress: Progress | None, costed: bool, problem: Exception
) -> list[Picture | str]:
    """A batch whose error does not say whose it is, picture by picture."""
    if len(entries) > 1:
        return [one for entry in entries for one in attempt(composer, [entry], progress, costed)]
    return [str(problem) if isinstance(problem, RealCompoError) else f"{type(problem).__name__}: {problem}"]


def cost_of(result: Result) -> dict[str, Any]:
    """What a picture of a result cost, as plain data: F by part, operations of one F, and how often the networks were called."""
    trace = result.trace
    calls = {"predict": trace.predict_calls, "probe": trace.probe_calls, "move": trace.move_calls}
    return {"unit": result.cost.unit, "parts": dict(sorted(result.cost.parts.items())), "calls": calls}
