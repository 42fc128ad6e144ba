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

OF_A_PICTURE = (NotFinite, PhraseNotFound, BadCondition)
"""Errors that one picture can have and the next not; any other concerns the recipe."""


def attempt(composer: Composer, entries: Sequence[PictureEntry | PlannedPicture], progress: Progress | None = None) -> list[Picture | str]:
    """Each entry's picture, or why there is none.

    Raises:
        RealCompoError: what concerns every picture. MemoryError.
    """
    try:
        result: Result | None = composer.compose(entries, progress=progress)
        failed: dict[int, str] = {}
    except NotFinite as problem:
        if not problem.failed:  # of a plugin's own: it does not say whose it is
            return _alone(composer, entries, progress, problem)
        failed, result = {b: str(reason) for b, reason in problem.failed.items()}, problem.result
    except RealCompoError as problem:
        if not isinstance(problem, OF_A_PICTURE):
            raise
        return _alone(composer, entries, progress, problem)
    except MemoryError:
        raise
    except Exception as problem:  # of a plugin, which may stumble over one prompt of thousands
        return _alone(composer, entries, progress, problem)
    images: Any = iter(result.images if result is not None else ())
    return [failed.get(b, "it was not drawn") if b in failed or result is None else next(images) for b in range(len(entries))]


def _alone(
    composer: Composer, entries: Sequence[PictureEntry | PlannedPicture], progress: Progress | None, problem: Exception
) -> list[Picture | str]:
    if len(entries) > 1:
        return [one for entry in entries for one in attempt(composer, [entry], progress)]
    return [str(problem) if isinstance(problem, RealCompoError) else f"{type(problem).__name__}: {problem}"]
