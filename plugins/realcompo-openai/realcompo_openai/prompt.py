"""What the model is told. Changing anything here changes `cache.key_of`, so that no old reply answers a new question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from realcompo.interfaces import PlanRequest, Region

from .examples import Example
from .kinds import extra_of, rules

Message = dict[str, str]

_SYSTEM = """\
You lay out pictures. You get one sentence and answer with one JSON object that says where in the picture each thing of the sentence stands.

The JSON object has these keys:
  "objects": a list, one entry for every single thing: {{"phrase": …, "x0": …, "y0": …, "x1": …, "y1": …}}
  "counts": a list of {{"phrase": …, "count": …}}: how many of each the sentence asks for
  "relations": a list of {{"subject": …, "relation": …, "object": …}}, where subject and object are phrases of objects and relation is
      one of "left of", "right of", "above", "below", "on", "in", "next to", "other"
  "background": a few words for the scene without the things
  "negative": a few words for what must not be seen, or ""

Rules:
- phrase: copy the words of the sentence that name the thing, with its adjectives, exactly as they stand there. Invent no things.
- "three apples" are three entries with the same phrase, each with a box of its own.
- x0, y0 is the top left corner of the box and x1, y1 its bottom right corner, as shares of the picture's width and height: numbers
  from 0 to 1. x grows to the right, y grows downward, x0 < x1 and y0 < y1.
- Make boxes as large as such things would be in a good picture, and keep things apart unless the sentence puts one on or in another.
- Keep every count and every relation that the sentence states.
{rules}- Answer with the JSON object and nothing else.

{facts}"""


def messages(request: PlanRequest, examples: Sequence[Example], most: int) -> list[Message]:
    """The conversation that a request opens.

    Args:
        most: the most objects.
    """
    extra = extra_of(request)
    told = rules(extra)
    system = _SYSTEM.format(facts=_facts(request, most), rules=f"{told}\n" if told else "")
    said: list[Message] = [{"role": "system", "content": system}]
    for example in examples:
        said.append({"role": "user", "content": _question(example.prompt)})
        said.append({"role": "assistant", "content": example.reply(extra)})
    said.append({"role": "user", "content": _question(request.prompt) + _keep(request) + _wish(request)})
    return said


def _facts(request: PlanRequest, most: int) -> str:
    height, width = request.size
    shape = "square" if height == width else "wide" if width > height else "tall"
    lines = [
        f"The picture is {width} pixels wide and {height} pixels high ({shape}).",
        f"What is wanted: {', '.join(request.kinds)}.",
        f"At most {most} objects.",
    ]
    if request.vocabulary is not None:
        lines.append("The models that draw know only these words, so use no others in a phrase: " + ", ".join(request.vocabulary) + ".")
    return "\n".join(lines)


def _question(prompt: str) -> str:
    return f"Sentence: {json.dumps(prompt, ensure_ascii=False)}"


def _keep(request: PlanRequest) -> str:
    kept = [region for region in request.keep if region.box is not None]
    if not kept:
        return ""
    return f"\nThese stand already and stay as they are; do not repeat them, place only what is missing:\n{_rows(kept)}"


def _wish(request: PlanRequest) -> str:
    if not request.wish:
        return ""
    return (
        f"\nThings stand like this now (x0, y0, x1, y1):\n{_rows(request.layout)}\n"
        f"Change the layout as this wish says, and leave everything else where it is: {json.dumps(request.wish, ensure_ascii=False)}\n"
        "Answer with the whole new layout."
    )


def _rows(regions: Sequence[Region]) -> str:
    return "\n".join(f"- {json.dumps(r.phrase, ensure_ascii=False)}: " + ", ".join(f"{v:.3f}" for v in r.box or ()) for r in regions)


def complaint(problems: Sequence[str]) -> Message:
    """What the model is told about a reply that cannot be used."""
    listed = "\n".join(f"- {problem}" for problem in problems[:12])
    return {
        "role": "user",
        "content": f"That layout cannot be used:\n{listed}\nAnswer again with the whole corrected JSON object and nothing else.",
    }


def without_notes(conversation: Sequence[dict[str, Any]]) -> list[Message]:
    """Only what a server may be sent."""
    return [{"role": str(one["role"]), "content": str(one["content"])} for one in conversation]
