"""Options of words: of all branches, and of single boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, nearest

if TYPE_CHECKING:
    from ..conditions import Boxes


def parse_words(embeddings: Sequence[str] | None = None, **told: Any) -> dict[str, Any]:
    """What was said of words, as a setting of a recipe; nothing where nothing was."""
    said = {name: value for name, value in told.items() if value is not None}
    if embeddings:
        said["embeddings"] = [_embedding(text) for text in embeddings]
    return {"words": said} if said else {}


def _embedding(text: str) -> dict[str, str]:
    source, sign, token = text.rpartition("=")
    return {"source": source, "token": token} if sign else {"source": text}


def with_own_words(boxes: Boxes | None, **told: Sequence[str] | None) -> Boxes | None:
    """Boxes with prompts of their own.

    Args:
        told: field of a box → ``PHRASE=WORDS`` each.

    Raises:
        BadOption: not of that form, or no box has that phrase.
    """
    from ..conditions import Boxes

    items = [] if boxes is None else list(boxes.items)
    for field, texts in told.items():
        option = "--box-prompt" if field == "prompt" else "--box-negative"
        for text in texts or ():
            phrase, sign, words = (part.strip() for part in text.partition("="))
            if not sign or not words:
                raise BadOption(
                    "it is not of the form PHRASE=WORDS",
                    where=f"{option} {text!r}",
                    mend=f'write for example {option} "a cat=a fluffy grey cat"',
                )
            if phrase not in (item.phrase for item in items):
                known = [item.phrase for item in items]
                raise BadOption(f"no --box is of {phrase!r}", where=f"{option} {text!r}", mend=nearest(phrase, known))
            items = [item.model_copy(update={field: words}) if item.phrase == phrase else item for item in items]
    return Boxes(items) if boxes is not None else None
