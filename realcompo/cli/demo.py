"""``realcompo demo``: the whole way once, with nothing configured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import PreviewOption, QuietOption, print_regions, verb

NAME = "demo"
PROMPT = "two penguins and a yellow heart on snow"


@verb
def command(
    prompt: Annotated[str, typer.Argument(help="What to draw.")] = PROMPT,
    seed: Annotated[int, typer.Option(help="The same seed draws the same picture.")] = 7,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the picture.")] = Path("demo"),
    preview: PreviewOption = False,
    quiet: QuietOption = False,
) -> int | None:
    """Plan, balance and draw one picture with the embedded models, and say what to try next."""
    from ..draw.generate import generate
    from ..files import file_name
    from ..pictures.overlays import save_overlays
    from .progress import StepProgress

    typer.echo(f'drawing "{prompt}" with the embedded models …')
    with StepProgress(quiet, preview=preview) as progress:
        result = generate(prompt, seed=seed, progress=progress)
    print_regions(result.regions, "\nplanned layout (shares of width and height)")
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{file_name(prompt)}.png"  # the demo's own folder: the same name each time
    result.image.save(path)
    overlays = save_overlays(result, [path], ["layout", "weights", "loss"])
    typer.secho(f"\npicture   {path.resolve()}", bold=True)
    for overlay in overlays:
        typer.echo(f"          {overlay.resolve()}")
    typer.echo(
        "\ntry next\n"
        '  realcompo generate "three apples on wood" --seed 1 --show layout,weights,attention\n'
        '  realcompo generate "a cat and a dog" --box "a cat=0.05,0.3,0.45,0.9" --box "a dog=0.55,0.3,0.95,0.9"\n'
        f"  realcompo reproduce {path}        the same pixels, from the PNG alone\n"
        "  realcompo list                    every model, balancer and planner that is installed\n"
        "  realcompo show mini/fidelity      its options, and a sample recipe"
    )
    return None
