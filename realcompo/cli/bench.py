"""``realcompo bench RECIPE``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import BadOption
from ..files import write_whole
from .bench_tables import print_limits, print_measured
from .common import DeviceOption, DtypeOption, QuietOption, SetOption, arguments, console, parse_size, verb

NAME = "bench"
Compile = Literal["none", "regional", "whole"]


@verb
def command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe file, a picture that carries one, or random networks by name, such as sd15-gligen (see realcompo list); "
            "the configured default if left out.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="RECIPE", help="Another, drawn in turn with it: A B B A …; the ratio with its spread."),
    ] = None,
    against_set: Annotated[
        list[str] | None,
        typer.Option(
            "--against-set", metavar="NAME=VALUE", help="As --set, for the other alone, which is the same recipe if --against is not given."
        ),
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="Measure what is promised, each figure with its limit; exit code 1 if one is not met.")
    ] = False,
    runs: Annotated[
        int | None,
        typer.Option(
            "--runs",
            min=1,
            help="Draws that are timed, of either (3); with --limits, pairs of draws beside diffusers' pipeline (6).",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, max=64, help="Pictures a draw: each of the recipe's so often.")] = 1,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Denoising steps.")] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size in pixels, such as 512x512.")] = None,
    sets: SetOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    compile: Annotated[Compile | None, typer.Option("--compile", help="torch.compile the networks: runtime.compile of the recipe.")] = None,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="runtime.channels_last of the recipe.")] = False,
    fuse_projections: Annotated[bool, typer.Option("--fuse-projections", help="runtime.fuse_projections of the recipe.")] = False,
    mini: Annotated[bool, typer.Option("--mini", help="Random networks of the same shape, small: seconds on a CPU.")] = False,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Measure the most memory held, by one draw more.")] = True,
    warm: Annotated[bool, typer.Option("--warm/--no-warm", help="Draw once before anything is timed.")] = True,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the record as JSON, too.")] = None,
    quiet: QuietOption = False,
) -> int | None:
    """Measure a recipe: F, seconds a step and a picture by part, and memory, alone or in turn with another; fetches nothing."""
    if limits and (against is not None or against_set):
        raise BadOption("limits are measured of one recipe", where="--limits", mend="leave --against out")
    if output is not None and output.suffix.lower() != ".json":
        raise BadOption("the record is JSON", where=f"-o {output}", mend="name it something.json")
    from ..bench.report import text

    how = arguments(compile=compile, channels_last=channels_last or None, fuse_projections=fuse_projections or None)
    layer = arguments(device=device, dtype=dtype, num_inference_steps=steps, runtime=how or None, **parse_size(size))
    with ExitStack() as stack:
        if limits:
            told, code = _limits(stack, recipe, mini, sets or (), layer, runs or 6, quiet)
        else:
            other = None if against is None and not against_set else (against or recipe, [*(sets or ()), *(against_set or ())])
            told, code = _measure(stack, recipe, other, mini, pictures, sets or (), layer, runs or 3, memory, warm), 0
    if output is not None:
        try:
            write_whole(output, text(told))
        except OSError as error:
            raise BadOption(f"it cannot be written: {error.strerror}", where=f"-o {output}", mend="choose another place") from None
        typer.echo(str(output))
    return code


def _measure(
    stack: ExitStack,
    recipe: str | None,
    other: tuple[str | None, Sequence[str]] | None,
    mini: bool,
    pictures: int,
    sets: Sequence[str],
    layer: Mapping[str, Any],
    runs: int,
    memory: bool,
    warm: bool,
) -> dict[str, Any]:
    from ..bench.measuring import compare, measure
    from ..bench.report import record
    from ..bench.subjects import Bench

    bench = Bench(stack, mini, pictures)
    first = bench.open(recipe, sets=sets, arguments=layer)
    if other is None:
        told = record([measure(first, runs, memory, warm)])
    else:
        second = bench.open(other[0], sets=other[1], arguments=layer)
        a, b, ratio = compare(first, second, runs, memory, warm)
        told = record([a, b], ratio)
    print_measured(console(), told)
    return told


def _limits(
    stack: ExitStack, recipe: str | None, mini: bool, sets: Sequence[str], layer: Mapping[str, Any], runs: int, quiet: bool
) -> tuple[dict[str, Any], int]:
    from ..bench.limits import Limits
    from ..bench.report import record
    from ..bench.subjects import Bench

    subject = Bench(stack, mini).open(recipe, sets=sets, arguments=layer)
    measured = Limits(subject, pairs=runs, say=lambda name: None if quiet else typer.echo(f"measuring: {name}", err=True))
    verdicts = measured.all()
    told = record([measured.default], limits=measured, verdicts=verdicts)
    print_limits(console(), told)
    return told, int(any(one.state == "not met" for one in verdicts))
