"""``realcompo plan --score SUITE``: a table of what the user's own planner, or server, keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadOption
from ..files import write_whole
from .common import console, escape

if TYPE_CHECKING:
    from ..interfaces import PlanRequest
    from ..plans.layouts.scoring import Case, Score
    from ..recipes.recipe import Recipe

SIZE = (512, 512)
"""(height, width) that planners are asked for where no recipe says another."""
_SHOWN = 12


def run_suite(
    suite: str, *, recipe: Path | None, sets: Sequence[str], layer: Mapping[str, Any], seed: int, output: Path | None
) -> int | None:
    """Ask for every prompt of a suite, print the table, write JSON lines."""
    from ..plans.layouts.scoring import read_suite, score
    from ..plans.planning import ask
    from ..recipes.configuration import resolve
    from ..registry import installed

    if output is not None and output.suffix.lower() != ".jsonl":
        raise BadOption("scores are written as JSON lines", where=f"-o {output}", mend="name it something.jsonl")
    cases = read_suite(suite)
    found = resolve(recipe, sets=sets, arguments=layer).recipe
    if found.planner is None:
        raise BadOption("no planner is named", mend="name one: --planner openai/planner")
    planner = installed().planner(found.planner.name, found.planner.options)
    plans = ask(planner, _requests(cases, found if recipe is not None else None, seed))
    scores = [score(case, plan) for case, plan in zip(cases, plans, strict=True)]
    _print(scores, f"{found.planner.name} on the suite {suite}, seed {seed}")
    if output is not None:
        try:
            write_whole(output, "".join(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in scores))
        except OSError as error:
            raise BadOption(f"it cannot be written: {error.strerror}", where=f"-o {output}", mend="choose another place") from None
        typer.echo(str(output))
    return None


def _requests(cases: Sequence[Case], recipe: Recipe | None, seed: int) -> list[PlanRequest]:
    """Open requests, or those of a recipe's branches with their limits and vocabulary."""
    from ..interfaces import PlanRequest

    if recipe is None:
        return [PlanRequest(case.text, SIZE, seed=seed) for case in cases]
    from ..draw.kept import composer_of
    from ..plans.planning import Task, requests
    from ..recipes.recipe import PictureEntry

    composer = composer_of(recipe)
    found = [requests(composer.members, Task(PictureEntry(prompt=case.text, seed=seed)), composer.size) for case in cases]
    boxes = [next((one for one in some if "boxes" in one.kinds), None) for some in found]
    if any(one is None for one in boxes):
        raise BadOption("no branch of the recipe takes boxes", mend="leave --recipe out, or name one with a branch of boxes")
    return [one for one in boxes if one is not None]


def _print(scores: Sequence[Score], title: str) -> None:
    from rich.table import Table

    from ..plans.layouts.scoring import table

    sheet = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    sheet.add_column("kind")
    for name in ("prompts", "planned", "counts", "relations", "all right"):
        sheet.add_column(name, justify="right")
    for kind, prompts, planned, counts, relations, right in table(scores):
        style = "bold" if kind == "total" else None
        sheet.add_row(escape(kind), str(prompts), str(planned), _share(counts), _share(relations), _share((right, prompts)), style=style)
    out = console()
    out.print(sheet)
    wrong = [one for one in scores if not one.right]
    for one in wrong[:_SHOWN]:
        out.print(f"  {escape(one.prompt)}: {escape('; '.join(one.wrong).splitlines()[0])}", soft_wrap=True)
    if len(wrong) > _SHOWN:
        out.print(f"  … and {len(wrong) - _SHOWN} more (-o scores.jsonl writes all)")
    sent = [one.requests for one in scores if one.requests is not None]
    if sent:
        out.print(f"{sum(sent)} requests for {len(sent)} plans")


def _share(pair: tuple[int, int]) -> str:
    return f"{pair[0]}/{pair[1]} ({pair[0] / pair[1]:.0%})" if pair[1] else "–"
