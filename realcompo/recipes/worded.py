"""`words`: options of how prompts are read, said once for every branch; and prompts as a planner reads them, without their marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..conditions import Condition
from ..errors import BadOption
from ..interfaces import Region
from ..registry import Registry
from ..specs import BranchSpec, Role
from ..weighing import Reading
from .parts import read_part
from .recipe import BranchEntry, Words


def worded(what: Any, words: Any, role: Role, registry: Registry) -> Any:
    """A branch of a composer, as the caller gave it, with the words among its options; those of its own come first.

    Args:
        words: `Words`, or a table of its fields; None leaves the branch as it is.

    Raises:
        BadOption: a branch that has no such option, or whose options are settled.
    """
    told = words if words is None or isinstance(words, Words) else read_part(Words, words, "words")
    said = {} if told is None else told.model_dump(mode="json", exclude_none=True)
    if not said:
        return what
    if not isinstance(what, (str, Mapping, BranchEntry)):
        raise BadOption(
            f"a {type(what).__name__} that you hold has its options already",
            where="words",
            mend="say them where it is built: rc.Registry().branch(id, options, source=pipeline)",
        )
    what = {"name": what} if isinstance(what, str) else what
    entry = what if isinstance(what, BranchEntry) else read_part(BranchEntry, what, f"a {role} branch")
    spec = registry.find(BranchSpec, entry.name)
    known = {} if spec.options is None else spec.options.model_fields
    if all(name in known for name in said):
        options = {**said, **entry.options}
    elif "base_options" in known:
        options = {**entry.options, "base_options": {**said, **entry.options.get("base_options", {})}}
    else:
        lacking = next(name for name in said if name not in known)
        raise BadOption(
            f"{spec.id!r} has no option {lacking}: its text encoders are no CLIP's, or read otherwise",
            where="words",
            mend="leave words out, and set the option of the branches that have it",
        )
    return entry.model_copy(update={"options": options})


def read_region(region: Region, reading: Reading) -> Region:
    """A region whose span counts the characters of a prompt without marks."""
    from dataclasses import replace

    return region if region.span is None else replace(region, span=reading.read_span(region.span))


def written_condition(condition: Condition, reading: Reading) -> Condition:
    """A planned condition whose spans count the characters of the prompt as it was written."""
    items = getattr(condition, "items", None)
    if not items or reading.text == "":
        return condition
    made = tuple(
        item.model_copy(update={"span": reading.written_span(item.span)}) if _inside(item.span, reading) else item for item in items
    )
    return condition.model_copy(update={"items": made})


def _inside(span: Any, reading: Reading) -> bool:
    return span is not None and 0 <= span[0] < span[1] <= len(reading.text)
