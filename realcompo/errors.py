"""Every error that a user can meet. Each says what is wrong, where, and the mend.

Nothing here imports more than the standard library: errors are raised by every other module, also by those that must start fast.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 2000
"""Characters of each part of a message: what it quotes can be a stranger's, and of any length."""
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A text for a terminal or a log: what would steer it, or turn the order of its letters, is written as an escape."""
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), text)


def brief(text: str) -> str:
    """The same, of bounded length."""
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 60]} … {text[-50:]}")


class RealCompoError(Exception):
    """Base of all errors that are the user's to mend.

    Args:
        what: what is wrong, a sentence without a full stop.
        where: the file, option, branch or picture it was found in, if there is one.
        mend: what to do about it, in the imperative.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = brief(what)
        self.where, self.mend = (None if text is None else brief(text) for text in (where, mend))
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"\n  mend: {self.mend}" if self.mend else ""
        return f"{place}{self.what}{mend}"


class Remark(UserWarning):
    """A run that can be drawn, but hardly as meant: Python's warnings carry it, the command line prints it, `Result.remarks` keeps it."""


class Mended(Remark):
    """Input was read after something in it was put right. Says what, where and how much; verbs print it as a note."""


class UnknownName(RealCompoError):
    """An id, option, scheduler or colour that nothing answers to; names the nearest that does."""


class AmbiguousName(RealCompoError):
    """A short name that several components share."""


class BadOption(RealCompoError):
    """An option with a value that its component cannot take."""


class BadCondition(RealCompoError):
    """A box, keypoint or segment that cannot be drawn (outside the picture, without area, too many)."""


class PhraseNotFound(RealCompoError):
    """A region's phrase that is not in the prompt, or that lies past the text encoder's last token."""


class Incompatible(RealCompoError):
    """Branches, schedulers or sizes that cannot work together."""


class WrongLevel(Incompatible):
    """A branch was told a noise level that it was not trained at, or a timestep that another branch counts."""


class BadRecipe(RealCompoError):
    """A recipe file that cannot be read, or that is of a newer version."""


class BadPicture(RealCompoError):
    """A PNG that is truncated or carries no recipe."""


class StoreError(RealCompoError):
    """A folder or an address that pictures cannot be written to, or read from."""


class BadCheckpoint(RealCompoError):
    """Weights that are missing, pickled, damaged or of another architecture."""


class DifferentWeights(RealCompoError):
    """`reproduce` found other weights than the picture was made with."""


class DeviceError(RealCompoError):
    """No such device here, or its memory is full."""


class NotFinite(RealCompoError):
    """NaN or infinity where a number belongs: in text embeddings, latents, a prediction, an attention map, a gradient or a picture.

    In a batch a picture fails alone: the others are drawn, then this is raised.

    Attributes:
        result: the `realcompo.Result` of the pictures that did not fail; None where there are none.
        failed: index in the batch → why.
        report: the `BatchReport` of `realcompo.draw.batch.draw`: what is written and what is not.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        mend: str | None = None,
        result: Any = None,
        failed: Mapping[int, NotFinite] | None = None,
        report: Any = None,
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.result = result
        self.failed = dict(failed or {})
        self.report = report


class Stopped(RealCompoError):
    """A run that its own progress function stopped (`Event.stop`), after a step and before its last.

    Attributes:
        result: the `realcompo.Result` of the pictures that the last step expected, where they were to be kept; else None.
        report: the `BatchReport` of `realcompo.draw.batch.draw`: what is written and what is not.
    """

    exit_code = 130

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None, result: Any = None, report: Any = None) -> None:
        super().__init__(what, where=where, mend=mend)
        self.result, self.report = result, report


class PluginProblem(RealCompoError):
    """A plugin that does not load, clashes with another, or breaks its contract."""


class PlanningError(RealCompoError):
    """A planner that found no valid layout for a prompt."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A mend for an unknown `name`: the nearest known one first, then all of them."""
    name, known = str(name)[:200], sorted(set(map(str, known)))  # comparing long texts takes long
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known) or 'none'}"
