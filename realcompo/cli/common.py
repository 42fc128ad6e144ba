"""What the verbs share: errors to exit codes, options, and how things are printed."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from ..errors import BadOption, Mended, RealCompoError, Remark, Stopped, printable
from .completing import recipes, words

if TYPE_CHECKING:
    from rich.console import Console

    from ..conditions import Boxes
    from ..interfaces import Region
    from ..recipes.recipe import Carried, PictureEntry

P = ParamSpec("P")

RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", autocompletion=recipes, help="A recipe file to draw with; its own pictures are left aside.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a value of the recipe, such as branches.0.guidance_scale=5. Repeatable."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", autocompletion=words("cpu", "cuda", "cuda:1", "mps"), help="cpu, cuda, cuda:1, mps; the best there is by default."
    ),
]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", autocompletion=words("float32", "float16", "bfloat16"), help="float32, float16 or bfloat16.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
PreviewOption = Annotated[
    bool, typer.Option("--preview", help="Show after each step what the picture is to become, where the terminal can show pictures.")
]
ParametersOption = Annotated[
    bool | None,
    typer.Option(
        "--parameters/--no-parameters",
        help="Write A1111's settings beside the recipe, for other programs' galleries.",
    ),
]
ShowOption = Annotated[
    str | None,
    typer.Option("--show", metavar="LIST", help="Write overlays beside the picture: layout, weights, attention, loss, or all."),
]
ScaleOption = Annotated[int | None, typer.Option("--scale", min=1, max=16, help="Enlarge the overlays this many times.")]


def verb(function: Callable[P, int | None]) -> Callable[P, None]:
    """A verb's function as a command: an error of ours is a message and exit code 2, Ctrl-C is 130, a number is the code."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        debug = os.environ.get("REALCOMPO_DEBUG", "") not in ("", "0")
        try:
            with told_remarks():
                code = function(*args, **kwargs)
        except Stopped as error:
            typer.secho(f"stopped after {error.where}", fg="yellow", err=True)
            raise typer.Exit(error.exit_code) from None
        except RealCompoError as error:
            if debug:
                raise
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as error:
            typer.secho(str(error) or "stopped: nothing was written", fg="yellow", err=True)
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if debug:
                raise
            typer.secho(f"unexpected {type(error).__name__}: {error}", fg="red", err=True)
            typer.echo("  this is a mistake of RealCompo or of a plugin: see it whole with --debug, and report it", err=True)
            raise typer.Exit(1) from None
        raise typer.Exit(code or 0)

    return command


@contextmanager
def told_remarks() -> Iterator[None]:
    """Remarks, which Python warns of, as lines like `check`'s, each once: notes on input that was put right, warnings of a run."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        plain = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, Remark):
                plain(message, category, *rest, **more)
            elif str(message) not in told:
                told.add(str(message))
                word = "note" if issubclass(category, Mended) else "warning"
                typer.secho(f"{word}: {message}", fg="yellow", err=True)

        warnings.showwarning = show
        yield


def console(stderr: bool = False) -> Console:
    """A rich console; wide enough where nobody looks, so that tables are not cut in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 200, highlight=False, soft_wrap=False)


def arguments(**values: Any) -> dict[str, Any]:
    """Options that were given, as a layer of a recipe."""
    return {name: value for name, value in values.items() if value is not None}


def parse_boxes(texts: Sequence[str] | None) -> Boxes | None:
    """``a cat=0.1,0.3,0.5,0.9`` each.

    Raises:
        BadOption, BadCondition: not of that form, or no box.
    """
    from ..conditions import Boxes

    pairs = []
    for text in texts or ():
        phrase, sign, numbers = text.rpartition("=")
        try:
            box = [float(number) for number in numbers.split(",")]
        except ValueError:
            box = []
        if not sign or not phrase.strip() or not box:
            raise BadOption(
                "it is not of the form PHRASE=X0,Y0,X1,Y1",
                where=f"--box {text!r}",
                mend='write for example --box "a cat=0.1,0.3,0.5,0.9" (shares of width and height)',
            )
        pairs.append((phrase.strip(), box))
    return Boxes(pairs) if pairs else None


def parse_size(text: str | None) -> dict[str, int]:
    """``512x768`` (width × height) as a layer.

    Raises:
        BadOption: not of that form.
    """
    if text is None:
        return {}
    width, sign, height = text.lower().replace("×", "x").partition("x")
    if not (sign and width.strip().isdigit() and height.strip().isdigit()):
        raise BadOption("it is not of the form WIDTHxHEIGHT", where=f"--size {text!r}", mend="write for example --size 512x512")
    return {"width": int(width), "height": int(height)}


def parse_hires(text: str | None, **settings: Any) -> dict[str, Any]:
    """``1.5`` or ``768x768``, and the settings of the second pass that were given, as a layer.

    Raises:
        BadOption: not of that form, or settings without it.
    """
    told = arguments(**settings)
    if text is None:
        if told:
            option = "upscaler" if "upscaler" in told else f"hires-{next(iter(told))}"
            raise BadOption("it is a setting of a second pass", where=f"--{option}", mend="ask for one: --hires 1.5")
        return {}
    try:
        size: dict[str, Any] = {"scale": float(text)}
    except ValueError:
        try:
            size = parse_size(text)
        except BadOption:
            raise BadOption(
                "it is neither a scale nor a size", where=f"--hires {text!r}", mend="write --hires 1.5 or --hires 768x768"
            ) from None
    return {"hires": {**size, **told}}


def print_regions(regions: Sequence[Region], title: str) -> None:
    """A layout as a table."""
    from rich.table import Table

    from ..pictures.drawing import colour

    table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold", header_style="dim")
    table.add_column("region")
    for name in ("x0", "y0", "x1", "y1"):
        table.add_column(name, justify="right")
    for index, region in enumerate(regions):
        red, green, blue = colour(index)
        mark = f"[rgb({red},{green},{blue})]■[/] "
        numbers = [f"{share:.3f}" for share in region.box] if region.box is not None else ["mask", "", "", ""]
        table.add_row(mark + escape(region.phrase), *numbers)
    console().print(table)


def regions_of(picture: PictureEntry, size: tuple[int, int]) -> list[Region]:
    """The regions of a picture's conditions, by their transfers; each id once, as the first to bring it has it."""
    from ..registry import installed

    found: dict[str, Region] = {}
    for condition in picture.conditions.values():
        for region in installed().transfer(condition.kind)(condition, size):
            found.setdefault(region.id, region)
    return list(found.values())


def recipe_source(path: Path) -> Path | Carried:
    """A recipe file as it is, or the recipe that a PNG carries."""
    if path.suffix.lower() != ".png":
        return path
    from ..pictures.png import read_recipe
    from ..recipes.recipe import Carried

    return Carried(read_recipe(path).recipe, str(path))


def escape(text: object) -> str:
    """A text that rich prints as it is, and that steers no terminal."""
    from rich.markup import escape as rich_escape

    return rich_escape(printable(str(text)))


def default_folder() -> Path:
    """Where pictures go if nothing is said: the `output` of the user or project file (of a template, the folder before its fields), or
    here."""
    from ..recipes.configuration import user_settings

    return folder_of(user_settings().output)


def folder_of(output: str | None) -> Path:
    """The folder that `output` of a user file names.

    Raises:
        UnknownName, BadOption: it is a template, and a wrong one.
    """
    if output is None or "{" not in output:
        return Path(output or ".").expanduser()
    from ..pictures.naming import Names, is_template

    return Names.read(output, f"output = {output!r}").folder if is_template(output) else Path(output).expanduser()
