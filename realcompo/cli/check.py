"""``realcompo check RECIPE``: everything that can be known without weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DeviceOption, DtypeOption, SetOption, arguments, console, escape, recipe_source, verb
from .completing import recipes

if TYPE_CHECKING:
    from ..compose.composer import Composer
    from ..draw.checking import PictureCheck
    from ..interfaces import Region
    from ..recipes.configuration import Resolved
    from ..recipes.members import Member
    from ..recipes.recipe import PictureEntry

NAME = "check"


@verb
def command(
    recipe: Annotated[
        Path | None, typer.Argument(autocompletion=recipes, help="A recipe file, or a PNG that carries one; nothing: what is configured.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say which layer set each value.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the recipe of all layers: .toml, .yaml, .json.")] = None,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> int | None:
    """Check names, options, compatibility and phrases. Loads no weights; exit code 2 if something is wrong."""
    from ..recipes.configuration import resolve

    source = recipe_source(recipe) if recipe is not None else None
    found = resolve(source, sets=sets or (), arguments=arguments(device=device, dtype=dtype))
    if explain:
        _explain(found)
    if output is not None:
        from ..recipes.writing import write_recipe

        typer.echo(str(write_recipe(found.recipe, output)))
    from ..compose.composer import Composer

    composer = Composer.from_recipe(found.recipe)
    _print_branches(composer)
    for remark in composer.remarks(found.recipe.pictures):
        typer.secho(f"warning: {remark}", fg="yellow", err=True)
    wrong = 0
    for index, picture in enumerate(found.recipe.pictures):
        wrong += not _check_picture(composer, index, picture)
    composer.check_named(found.recipe.pictures)
    count = len(found.recipe.pictures)
    if wrong:
        typer.secho(f"{wrong} of {count} pictures cannot be drawn", fg="red", err=True)
        return 2
    if absent := _absent(composer):
        where = ", ".join(f"{name} ({source})" for name, source in absent)
        said = f"note: to draw it, fetch what is not on this machine: {where}; `hf download` does, or the option download = true"
        typer.secho(said, fg="yellow", err=True)
    typer.secho(f"fine: {count} picture{'' if count == 1 else 's'}" if count else "fine, but it holds no pictures", fg="green")
    return None


def _absent(composer: Composer) -> list[tuple[str, str]]:
    """(branch, checkpoint) of what is neither a file here nor in the hub's cache, and may not be fetched when it is drawn."""
    from ..doctor.fits import offline
    from ..errors import BadCheckpoint
    from ..toolkit.options import CheckpointOptions
    from ..toolkit.sources import may_download, open_checkpoint

    found = []
    for m in composer.members:
        options = m.options(composer.registry)
        if m.ready is not None or not isinstance(m.source, str) or not isinstance(options, CheckpointOptions):
            continue
        if may_download(options.download):
            continue
        try:
            with offline():
                open_checkpoint(m.source, options, revision=m.spec.revision, weights=False)
        except BadCheckpoint:
            found.append((m.name, m.source))
    return found


def _explain(found: Resolved) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", title="who set what", title_justify="left", title_style="bold")
    for column in ("name", "value", "layer"):
        table.add_column(column, overflow="fold")
    for name, value, layer in found.explain():
        table.add_row(escape(name), escape(value), escape(layer))
    console().print(table)
    console().print()


def _print_branches(composer: Composer) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", title="branches", title_justify="left", title_style="bold")
    for column in ("id", "role", "family", "predicts", "guidance", "condition", "objects", "checkpoint"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for m in composer.members:
        limit = "" if m.traits.max_objects is None else f"≤ {m.traits.max_objects}"
        row = [
            m.name,
            m.role,
            m.traits.family,
            m.traits.prediction_type,
            f"{m.guidance_scale:g}",
            m.spec.condition or "",
            limit,
            m.source or "",
        ]
        table.add_row(*map(escape, row))
    out = console()
    out.print(table)
    height, width = composer.size
    recipe = composer.recipe()
    said = [
        f"{width}x{height} pixels",
        f"{recipe.num_inference_steps} steps of {recipe.scheduler}{_settings(recipe.scheduler_options)}",
        recipe.balancer.name,
    ]
    out.print(", ".join([*said, str(recipe.device), recipe.dtype]), soft_wrap=True)


def _settings(options: Mapping[str, Any]) -> str:
    """Settings of the scheduler, where the recipe gives it some."""
    told = ", ".join(f"{name} = {value if not isinstance(value, list) else f'{len(value)} numbers'}" for name, value in options.items())
    return f" ({told})" if told else ""


def _check_picture(composer: Composer, index: int, picture: PictureEntry) -> bool:
    """Print a picture's phrases and the tokens they are read at; False where it cannot be drawn."""
    from ..draw.checking import check_picture
    from ..errors import RealCompoError

    out = console()
    out.print(f"\n[bold]picture {index}[/]  {escape(picture.prompt)}", soft_wrap=True)
    try:
        found = check_picture(composer, picture, index)
    except RealCompoError as error:
        typer.secho(f"  error: {error}", fg="red", err=True)
        return False
    if found.lacking and composer.planner is not None:
        out.print(f"  {', '.join(found.lacking)}: planned by {escape(composer.planner.name)} when it is drawn")
    elif found.regions:
        _print_tokens(found.regions, {m.name: _tokens(m, picture.prompt, found) for m in composer.members})
    return True


def _tokens(m: Member, prompt: str, found: PictureCheck) -> dict[str, str]:
    """Region id → tokens of this branch, or the prompt's words where its tokenizer is not at hand."""
    from ..errors import PhraseNotFound
    from ..toolkit.phrases import find_phrases

    tokens = found.tokens[m.name]
    if tokens is not None:
        return {id: " ".join(some) for id, some in tokens.items()}
    own, regions = m.own_prompt(prompt), m.own_regions(found.regions)
    told: dict[str, str] = {}
    for region in regions:
        try:
            (match,) = find_phrases(own, [region])
            told[region.id] = f"words {own[slice(*match.span)]!r}"
        except PhraseNotFound:
            told[region.id] = "not in the prompt"
    return told


def _print_tokens(regions: tuple[Region, ...], rows: dict[str, dict[str, str]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 2))
    table.add_column("region")
    table.add_column("box")
    for name in rows:
        table.add_column(f"read by {name} at")
    for region in regions:
        box = " ".join(f"{share:.2f}" for share in region.box) if region.box is not None else "mask"
        table.add_row(escape(region.phrase), box, *(escape(found.get(region.id, "")) for found in rows.values()))
    console().print(table)
