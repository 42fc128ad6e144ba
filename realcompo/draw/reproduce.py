"""A picture drawn again from the recipe that it carries."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, BadPicture, DifferentWeights, RealCompoError, Stopped
from ..pictures.png import Embedded, read_recipe
from ..recipes.configuration import guarded_options
from ..recipes.copies import PictureCopy
from ..recipes.option_pictures import named_files
from ..recipes.recipe import PICTURES, BranchEntry, Component, Recipe
from ..registry import Registry, installed
from ..specs import BalancerSpec, BranchSpec, Spec, UpscalerSpec
from .kept import composer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..compose.composer import Composer, Progress
    from ..compose.decided import Decided
    from ..compose.live import Event
    from ..interfaces import Step
    from ..pictures.result import Result


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A picture drawn again from the recipe that it carries.

    Attributes:
        result: the new picture.
        same: whether every pixel is the same.
        largest: the largest difference of a channel, of 255; None where the sizes differ.
        changed: the share of pixels that differ, in [0, 1].
        edited: whether the file's pixels are not those that were drawn.
        notes: what is different here: versions, device, batch.
    """

    result: Result
    same: bool
    largest: int | None
    changed: float
    edited: bool
    notes: tuple[str, ...] = ()


def reproduce(
    path: str | Path,
    *,
    device: str | None = None,
    image: Any = None,
    mask_image: Any = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Draw a picture again from the PNG alone, and compare the pixels.

    The recipe in a picture is not trusted: no planner is asked, and an option that could run a stranger's code is refused.

    Args:
        path: a PNG that RealCompo saved.
        device: in place of the recorded one.
        image, mask_image: what it was drawn over, where that was too large to be carried.

    Raises:
        BadPicture: truncated, no recipe, drawn from noise that no seed gives, or over a picture that is not here.
        DifferentWeights: the weights here are others; names both fingerprints.
    """
    from ..pictures.result import pixel_digest

    path = Path(path).expanduser()
    embedded = read_recipe(path)
    original = _pixels(path)
    registry = registry or installed()
    recipe = safe_recipe(embedded, path, device=device, registry=registry)
    recipe = _with_pictures(recipe, {"image": image, "mask_image": mask_image}, str(path))
    try:
        composer = composer_of(recipe, registry)
    except RealCompoError as error:
        raise type(error)(error.what, where=f"{path}: {error.where}" if error.where else str(path), mend=error.mend) from None
    notes = _compare_facts(embedded, composer, path)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    from ..compose.decided import Decided

    decided = Decided.read(embedded.facts.get("decided"), str(path))
    result = _drawn_again(composer, recipe, embedded.facts.get("stopped"), progress, decided)
    largest, changed = _difference(original, result.image)
    digest = embedded.facts.get("pixels")
    return Reproduction(
        result=result,
        same=changed == 0,
        largest=largest,
        changed=changed,
        edited=digest is not None and digest != pixel_digest(original),
        notes=tuple(notes),
    )


def _with_pictures(recipe: Recipe, given: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with the pictures that it knows by their digests alone, as they were given.

    Raises:
        BadPicture: one is lacking, or is another.
    """
    (entry,) = recipe.pictures
    found: dict[str, PictureCopy] = {}
    for name, mode in PICTURES:
        known: PictureCopy | None = getattr(entry, name)
        if given[name] is not None:
            found[name] = PictureCopy.of(given[name], mode, name)
            if known is None or found[name].sha256 != known.sha256:
                raise BadPicture(
                    f"the {name} given is another picture than it was drawn from",
                    where=where,
                    mend=f"leave {name} out" if known is None else f"give the one of sha256 {known.sha256[:16]}…",
                )
        elif known is not None:
            known.image(f"{where}, {name}")
    return recipe.model_copy(update={"pictures": (entry.model_copy(update=found),)})


def _drawn_again(composer: Composer, recipe: Recipe, stopped: Any, progress: Progress | None, decided: Decided | None) -> Result:
    """The recipe's picture, by what was decided in its run; of one that was stopped, what the step after which it was stopped expects."""

    seen: list[Step] = []

    def watch(step: Step, event: Event) -> None:
        if progress is not None:
            progress(step, event)
        seen.append(step)
        if len(seen) - 1 == stopped:
            event.stop(keep=True)

    try:
        return composer.compose(recipe.pictures, progress=progress if stopped is None else watch, decided=[decided], part=True)
    except Stopped as error:
        if error.result is None:
            raise
        result: Result = error.result
        return result


def _pixels(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadPicture(f"its pixels cannot be read: {error}", where=str(path), mend="take another copy of the file") from None


def safe_recipe(embedded: Embedded, path: str | Path, *, device: str | None = None, registry: Registry | None = None) -> Recipe:
    """The recipe of a picture to draw, with what a stranger may not decide taken out: no planner, no downloads.

    Args:
        embedded: what `realcompo.pictures.png.read_recipe` read.
        path: the picture, for messages.
        device: in place of the recorded one.

    Raises:
        BadPicture: drawn from noise that no seed gives. BadOption: it turns an option on that could run a stranger's code.
        UnknownName: a component that is not here.
    """
    registry, path = registry or installed(), Path(path)
    recipe, where = embedded.recipe, str(path)
    if len(recipe.pictures) != 1 or recipe.pictures[0].seed is None:
        raise BadPicture(
            "it was drawn from noise or a generator that no seed gives, so it cannot be drawn again",
            where=where,
            mend="draw with seed=…",
        )
    parts: list[tuple[BranchEntry | Component, type[Any]]] = [(one, BranchSpec) for one in recipe.branches]
    parts.append((recipe.balancer, BalancerSpec))
    if recipe.hires is not None:
        parts.append((recipe.hires.upscaler, UpscalerSpec))
    for part, kind in parts:
        try:
            spec: Spec = registry.find(kind, part.name)
        except RealCompoError as error:
            raise type(error)(error.what, where=f"{path}: it was drawn with {part.name!r}", mend=error.mend) from None
        for name in named_files(part.options):
            raise BadOption(
                f"the recipe in the picture names a file as {name} of {part.name!r}: a picture's recipe carries its pictures",
                where=where,
                mend="draw it with that file yourself, if you know it",
            )
        for name in guarded_options(spec, part.options):
            raise BadOption(
                f"the recipe in the picture turns {name} on for {part.name!r}, which a stranger's picture could misuse",
                where=where,
                mend=f"if you trust it, take it out (realcompo check {path.name} --set … -o scene.toml), read it, run that with --set",
            )
    # A stranger's picture asks no network: what it needs is on this machine, or it is not reproduced.
    offline = tuple(
        one.model_copy(update={"options": {**one.options, "download": False}} if one.options.get("download") else {})
        for one in recipe.branches
    )
    return recipe.model_copy(update={"planner": None, "device": device or recipe.device, "branches": offline})


def _compare_facts(embedded: Embedded, composer: Composer, path: Path) -> list[str]:
    """What is different here, short of the weights, whose difference is an error."""
    from ..noise.devices import versions

    notes: list[str] = []
    recorded = embedded.facts.get("weights")
    recorded = recorded if isinstance(recorded, dict) else {}
    for member, branch in zip(composer.members, composer.branches, strict=True):
        then, now = recorded.get(member.name), branch.fingerprint()
        if not isinstance(then, dict):
            notes.append(f"the picture does not say which weights of {member.name!r} it was drawn with")
            continue
        wrong = sorted(part for part in {*then, *now} if then.get(part) != now.get(part))
        if wrong:
            told = "; ".join(f"{part}: {then.get(part, 'none')} in the picture, {now.get(part, 'none')} here" for part in wrong)
            raise DifferentWeights(
                f"the weights of {member.name!r} are others than the picture was drawn with ({told})",
                where=str(path),
                mend="name the checkpoint that it was drawn with (sources in the user file), or draw a new picture: realcompo run",
            )
    was = embedded.facts.get("versions")
    was = was if isinstance(was, dict) else {}
    here = versions([name for name in was if name not in ("python", "realcompo", "torch", "diffusers", "transformers")])
    notes += [f"{name} {was[name]} drew the picture, {here[name]} is here" for name in was if name in here and was[name] != here[name]]
    if embedded.recipe.device != str(composer.device):
        notes.append(f"the picture was drawn on {embedded.recipe.device}, this is {composer.device}")
    batch = embedded.facts.get("batch")
    if isinstance(batch, dict) and batch.get("size", 1) != 1:
        notes.append(f"the picture was drawn in a batch of {batch['size']}, now alone: the last digits of a sum may round otherwise")
    return notes


def _difference(a: Image, b: Image) -> tuple[int | None, float]:
    """Largest difference of a channel (None where sizes differ), and the share of pixels that differ."""
    import numpy as np

    if a.size != b.size:
        return None, 1.0
    x, y = (np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (a, b))
    gap = np.abs(x - y).max(axis=-1)
    return int(gap.max()), float((gap > 0).mean())
