"""The steps of ``realcompo plan``: from what was asked to planned pictures, a recipe, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadCondition, BadOption, PlanningError
from .common import default_folder, print_regions, recipe_source, regions_of

if TYPE_CHECKING:
    from ..compose.composer import Composer
    from ..interfaces import PlanRequest, Region
    from ..plans.planning import PlannedPicture, Task
    from ..recipes.recipe import PictureEntry, Recipe


_FORMS = {
    "boxes": "A box is x0, y0, x1, y1 as shares of the picture's width and height, from the top left.",
    "keypoints": "A point is x, y as shares of the picture's width and height, from the top left; right and left are the person's own.",
    "segmentation": "A polygon is x0, y0, x1, y1, … in pixels of a map of size = [height, width]; a label is a class of its palette.",
}
"""Kind → how its numbers are read, for whoever edits them."""


@dataclass(frozen=True)
class Asked:
    """The options of the verb. See plan.py."""

    prompt: str | None
    seed: int | None = None
    count: int = 1
    keep: Path | None = None
    revise: Path | None = None
    picture: str | None = None
    recipe: Path | None = None
    sets: tuple[str, ...] = ()
    layer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scene(self) -> Path | None:
        """The recipe that is worked on."""
        return self.keep or self.revise


def plan_scene(asked: Asked, *, output: Path | None, sheet: Path | None, dry_run: bool) -> int | None:
    """Plan, print, and write what was asked for; 2 where some of several plans failed."""
    from ..draw.plan import planning_composer
    from ..plans.planning import PlannedPicture, joined
    from ..recipes.writing import check_suffix

    scene = asked.scene
    if output is not None:
        check_suffix(output)  # a planner may be asked for money
    if asked.prompt is None and asked.keep is None:
        what = "the wish is missing" if asked.revise else "the prompt is missing"
        raise BadOption(what, mend='write realcompo plan "a cat and a dog", or realcompo plan --revise scene.toml "move the dog left"')
    if scene is None and asked.picture is not None:
        raise BadOption("--picture chooses one of SCENE's pictures", mend="give --keep SCENE or --revise SCENE")
    source = asked.recipe if asked.recipe is not None or scene is None else recipe_source(scene)
    recipe, composer = planning_composer(source, asked.sets, asked.layer)
    before, place = _pictures(asked, recipe)
    tasks = _tasks(asked, composer, before[place] if scene is not None else None)
    if dry_run:
        typer.echo(json.dumps(_dry(composer, tasks), indent=2, ensure_ascii=False))
        return None
    found = composer.plan(tasks)
    failed = [one for one in found if isinstance(one, PlanningError)]
    if len(failed) == len(found):
        raise joined(failed, len(found))
    planned = [one for one in found if isinstance(one, PlannedPicture)]
    if not all(one.picture.conditions for one in planned):
        raise BadCondition("no branch of the recipe takes a condition: there is nothing to plan", mend="add a spatial branch")
    _tell(recipe, composer, planned, failed)
    if output is not None:
        pictures = [*before[:place], *(one.picture for one in planned), *before[place + 1 :]]
        _write(recipe, composer, pictures, planned, output)
    if sheet is not None or asked.count > 1:
        _draw_sheet(composer, planned, sheet or _sheet_path(output, planned))
    return 2 if failed else None


# -- what is asked -----------------------------------------------------------------------------------------------------------


def _pictures(asked: Asked, recipe: Recipe) -> tuple[list[PictureEntry], int]:
    """The pictures of the scene, and which of them is worked on; none without a scene."""
    if asked.scene is None:
        return [], 0
    if asked.recipe is None:
        pictures = list(recipe.pictures)
    else:
        from ..recipes.configuration import resolve

        pictures = list(resolve(recipe_source(asked.scene)).recipe.pictures)
    where = str(asked.scene)
    if not pictures:
        raise BadOption("it holds no pictures", where=where, mend='plan one first: realcompo plan "a cat and a dog" -o scene.toml')
    if asked.picture is None and len(pictures) > 1:
        known = ", ".join(f"{n}: {one.name or one.prompt!r}" for n, one in enumerate(pictures[:8]))
        raise BadOption(f"it holds {len(pictures)} pictures", where=where, mend=f"choose one with --picture: {known}")
    if asked.picture is None:
        return pictures, 0
    named = [n for n, one in enumerate(pictures) if one.name == asked.picture]
    if not named and asked.picture.isdigit() and int(asked.picture) < len(pictures):
        named = [int(asked.picture)]
    if not named:
        raise BadOption(f"it has no picture {asked.picture!r}", where=where, mend=f"count from 0 to {len(pictures) - 1}, or write its name")
    return pictures, named[0]


def _tasks(asked: Asked, composer: Composer, picture: PictureEntry | None) -> list[Task]:
    from ..draw.plan import plan_task
    from ..plans.planning import Task
    from ..recipes.recipe import PictureEntry

    if picture is None:
        first = asked.seed or 0
        return [Task(PictureEntry(prompt=asked.prompt or "", seed=first + n)) for n in range(asked.count)]
    kinds = {m.spec.condition for m in composer.members if m.role == "spatial"}
    layout = next((one for one in picture.conditions.values() if one.kind in kinds), None)
    if layout is None and asked.revise is not None:
        raise BadCondition("it has no layout to change", where=str(asked.scene), mend="plan it first: realcompo plan --keep SCENE")
    first = asked.seed if asked.seed is not None else picture.seed or 0
    seeded = [picture.model_copy(update={"seed": first + n}) for n in range(asked.count)]
    if asked.revise is not None:
        return [plan_task(one, composer, layout=layout, wish=asked.prompt or "") for one in seeded]
    if asked.prompt is not None and asked.prompt != picture.prompt:  # spans count characters of the old prompt
        seeded = [one.model_copy(update={"prompt": asked.prompt}) for one in seeded]
        items = [item.model_copy(update={"span": None}) for item in getattr(layout, "items", ())]
        layout = layout.model_copy(update={"items": tuple(items)}) if layout is not None else None
    return [plan_task(one, composer, keep=layout) for one in seeded]


def _dry(composer: Composer, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """What the planner would be asked, and what it would send its server."""
    from ..plans.planning import requests

    entry = composer.planner
    if entry is None:
        raise BadOption("the recipe names no planner", mend="name one with --planner")
    planner = composer.registry.planner(entry.name, entry.options)
    return [
        {"planner": entry.name, "request": _plain(request), "sends": planner.requested(request)}
        for task in tasks
        for request in requests(composer.members, task, composer.size)
    ]


def _plain(request: PlanRequest) -> dict[str, Any]:
    def region(one: Region) -> dict[str, Any]:
        return {"id": one.id, "phrase": one.phrase, "box": None if one.box is None else list(one.box)}

    data: dict[str, Any] = dict(vars(request))
    data["vocabulary"] = None if request.vocabulary is None else " ".join(request.vocabulary)
    data["classes"] = None if request.classes is None else ", ".join(request.classes)
    data["before"] = None if request.before is None else request.before.kind
    data |= {"keep": [region(one) for one in request.keep], "layout": [region(one) for one in request.layout]}
    return data


# -- what is said and written ------------------------------------------------------------------------------------------------


def _tell(recipe: Recipe, composer: Composer, planned: Sequence[PlannedPicture], failed: Sequence[PlanningError]) -> None:
    name = recipe.planner.name if recipe.planner is not None else ""
    for one in planned:
        print_regions(regions_of(one.picture, composer.size), f"layout by {name}, seed {one.picture.seed}")
        for remark in one.remarks:
            typer.secho(f"note: {remark}", fg="yellow", err=True)
    for error in failed:
        typer.secho(f"error: {error}", fg="red", err=True)


def _write(recipe: Recipe, composer: Composer, pictures: Sequence[PictureEntry], planned: Sequence[PlannedPicture], output: Path) -> None:
    from ..recipes.writing import write_recipe

    name = recipe.planner.name if recipe.planner is not None else ""
    seeds = ", ".join(str(one.picture.seed) for one in planned)
    notes = [
        f"Planned by {name}, seed {seeds}. Draw it: realcompo run {output.name} --show layout",
        *(_FORMS[kind] for kind in dict.fromkeys(one.kind for p in planned for one in p.picture.conditions.values()) if kind in _FORMS),
        "A span counts characters of the prompt: take it out if you change the prompt.",
        f"To plan anew only what you delete: realcompo plan --keep {output.name} -o {output.name}",
        f'To change it in words: realcompo plan --revise {output.name} "move the … left" -o {output.name}',
        *(f"Note: {remark}" for one in planned for remark in one.remarks),
    ]
    path = write_recipe(_shared(recipe, composer, notes).model_copy(update={"pictures": tuple(pictures)}), output, notes)
    typer.echo(f"{path}  (draw it: realcompo run {path})")


def _shared(recipe: Recipe, composer: Composer, notes: list[str]) -> Recipe:
    """The recipe without options of the planner that only the user may set (the address of a server): they would be refused when the file
    is read, and a layout that is there needs no planner."""
    from ..recipes.configuration import guarded_options
    from ..specs import PlannerSpec

    if recipe.planner is None:
        return recipe
    left = guarded_options(composer.registry.find(PlannerSpec, recipe.planner.name), recipe.planner.options)
    if not left:
        return recipe
    notes.append(f"The planner's {', '.join(left)} is yours alone to set, so it is left out here: put it into your user file.")
    options = {key: value for key, value in recipe.planner.options.items() if key not in left}
    return recipe.model_copy(update={"planner": recipe.planner.model_copy(update={"options": options})})


def _sheet_path(output: Path | None, planned: Sequence[PlannedPicture]) -> Path:
    from ..files import file_name

    folder, stem = (output.parent, output.stem) if output is not None else (default_folder(), file_name(planned[0].picture.prompt))
    return folder / f"{stem}.layouts.png"


def _draw_sheet(composer: Composer, planned: Sequence[PlannedPicture], path: Path) -> None:
    from ..pictures.drawing import save_whole
    from ..pictures.overlays import draw_layouts

    layouts = [(f"seed {one.picture.seed}", regions_of(one.picture, composer.size)) for one in planned]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole(draw_layouts(layouts, composer.size), path)
    except (OSError, ValueError) as error:
        raise BadOption(f"the sheet cannot be written: {error}", where=f"--sheet {path}", mend="name a .png in a folder of yours") from None
    typer.echo(str(path))
