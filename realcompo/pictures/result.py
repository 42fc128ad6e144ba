"""What a run gives back: pictures that carry their recipe, and everything about them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import BadPicture
from ..files import file_name, free_path, whole
from ..interfaces import Region, Regions
from ..recipes.copies import digest
from ..recipes.recipe import Recipe
from .parameters import KEYWORD as PARAMETERS
from .parameters import exif_of, parameters_text
from .png import KEYWORD
from .trace import Cost, Trace

if TYPE_CHECKING:
    from torch import Tensor

PER_PICTURE = ("plans", "decided")
"""Facts of a batch that are a list, one a picture: each picture carries its own, where it is not empty."""


@dataclass(frozen=True, eq=False)
class Result:
    """Pictures and everything about them.

    Attributes:
        images: B pictures, or tensors as `output_type` asked.
        batch_regions: regions of each picture.
        trace: loss, gradients and weights a step.
        recipe: that draws the same pictures again.
        latents: (B, C, h, w) clean latents, before decoding.
        facts: what is recorded beside the recipe: fingerprints, versions.
        remarks: what can be drawn, but hardly as meant, such as words past the text encoder's last token.
    """

    images: Any
    batch_regions: Regions
    trace: Trace
    recipe: Recipe
    latents: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def cost(self) -> Cost:
        """What a picture cost, in F: one conditional forward pass of the fidelity network, by floating point operations. The mean over
        the batch; `costs` tells each picture's."""
        return self.trace.cost

    @property
    def costs(self) -> tuple[Cost, ...]:
        """What each picture cost, in F: they differ where the run itself decides what a picture needs."""
        return self.trace.costs

    @property
    def image(self) -> Any:
        """The first picture."""
        return self.images[0]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions of the first picture."""
        return self.batch_regions.pictures[0]

    def only(self, pictures: Sequence[int]) -> Result:
        """The result of some of its pictures, as it would tell of them alone."""
        return replace(self.told_of(pictures), images=[self.images[b] for b in pictures])

    def told_of(self, pictures: Sequence[int]) -> Result:
        """All that is told of some of its pictures, the images left as they are."""
        facts = {name: [fact[b] for b in pictures] if name in PER_PICTURE else fact for name, fact in self.facts.items()}
        return replace(
            self,
            batch_regions=Regions(tuple(self.batch_regions.pictures[b] for b in pictures)),
            trace=self.trace.only(pictures),
            recipe=self.recipe.model_copy(update={"pictures": tuple(self.recipe.pictures[b] for b in pictures)}),
            latents=self.latents[list(pictures)],
            facts=facts,
        )

    def _repr_png_(self) -> bytes | None:
        """The first picture, for notebooks; None where the run gave tensors."""
        from .rich import png

        return png(self.image) if isinstance(self.image, Image.Image) else None

    def _repr_html_(self) -> str | None:
        """Pictures, layouts and curves, for notebooks (rich.py)."""
        from .rich import html

        return html(self)

    def save(self, folder: str | Path, parameters: bool = False) -> list[Path]:
        """Write every picture into a folder as a PNG with its recipe, named after its prompt; nothing is written over.

        Args:
            parameters: write A1111's line of settings into it, too, for other programs' galleries.

        Raises:
            BadPicture: the run gave tensors, not pictures; a file of another kind is named, which would be made a folder.
        """
        if not all(isinstance(image, Image.Image) for image in self.images):
            raise BadPicture("the run gave tensors, which are no files", mend="draw with output_type='pil', or save them yourself")
        folder = Path(folder).expanduser()
        Image.init()
        if folder.suffix.lower() in Image.EXTENSION and not folder.is_dir():
            raise BadPicture(
                "it names a file, and pictures go into a folder", where=str(folder), mend="name a folder, or result.image.save(…)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for image, entry in zip(self.images, self.recipe.pictures, strict=True):
            paths.append(free_path(folder, file_name(entry.name or entry.prompt)))
            image.save(paths[-1], parameters=parameters)
        return paths


class Picture(Image.Image):
    """A PIL image that knows how it was drawn. Saved as a PNG it carries its recipe: a text chunk (iTXt ``realcompo``, JSON).

    Other formats hold no recipe. What PIL makes of a picture (``crop``, ``resize`` …) is a plain image again: no recipe draws it.

    Attributes:
        recipe: of this picture alone, with its seed.
        facts: fingerprints of the weights, scheduler, versions, the digest of the pixels as drawn, place in its batch.
    """

    recipe: Recipe
    facts: dict[str, Any]

    @classmethod
    def of(cls, image: Image.Image, recipe: Recipe, facts: dict[str, Any]) -> Picture:
        """An image with its recipe; the pixels are shared, not copied."""
        image.load()
        picture = cls()
        picture.im, picture._mode, picture._size = image.im, image.mode, image.size
        picture.info, picture.palette = dict(image.info), image.palette
        picture.recipe, picture.facts = recipe, facts
        return picture

    def copy(self) -> Picture:
        """A copy that keeps the recipe."""
        return Picture.of(super().copy(), self.recipe, dict(self.facts))

    __copy__ = copy

    def __getstate__(self) -> list[Any]:
        return [*super().__getstate__(), self.recipe.plain(), self.facts]

    def __setstate__(self, state: list[Any]) -> None:
        *image, recipe, self.facts = state
        super().__setstate__(image)
        self.recipe = Recipe.model_validate(recipe)

    def text(self) -> str:
        """The JSON that a PNG of it carries."""
        return json.dumps(
            {"recipe": self.recipe.plain(), "facts": self.facts},
        )

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """As PIL's, except that a PNG carries the recipe, and that a path appears whole or not at all.

        With ``parameters=True`` it carries A1111's line of settings beside it (parameters.py); a JPEG or WebP, that alone.
        """
        told = self.parameters() if params.pop("parameters", False) else None
        path = Path(os.fsdecode(fp)).expanduser() if isinstance(fp, (str, bytes, os.PathLike)) else None
        if format is None and path is not None:
            Image.init()
            format = Image.EXTENSION.get(path.suffix.lower())
        if format is not None and format.upper() == "PNG":
            params["pnginfo"] = self._chunks(params.get("pnginfo"), told)
        if told is not None and format is not None and format.upper() in ("PNG", "JPEG", "WEBP"):
            params.setdefault("exif", exif_of(told))
        if path is None:
            super().save(fp, format, **params)
            return
        if format is None:
            raise BadPicture(f"{path.suffix or 'no suffix'} is no format of a picture", where=str(path), mend="name it something.png")
        try:
            with whole(path, links=False) as stream:
                super().save(stream, format, **params)
        except FileNotFoundError:
            raise BadPicture("its folder does not exist", where=str(path), mend=f"make {path.parent} first") from None
        except OSError as error:
            if error.errno is None:  # an encoder's complaint, not the disk's
                raise
            raise BadPicture(f"it cannot be written: {error.strerror}", where=str(path), mend="choose another place") from None

    def parameters(self) -> str:
        """A1111's line of settings for it: prompt, negative prompt, ``Steps: 20, Sampler: …``."""
        return parameters_text(self.recipe, self.facts, self.size)

    def _chunks(self, given: PngInfo | None, told: str | None = None) -> PngInfo:
        info = PngInfo()
        info.chunks = list(given.chunks) if given is not None else []
        if told is not None:
            info.add_text(PARAMETERS, told)
        info.add_itxt(KEYWORD, self.text(), zip=True)
        return info


def sign(images: Sequence[Image.Image], recipe: Recipe, facts: dict[str, Any], places: Sequence[int] | None = None) -> list[Picture]:
    """Give each picture of a batch the recipe that draws it alone, and the facts with the digest of its pixels; of those in `PER_PICTURE`,
    its own.
    `places`: indices in the batch, where not all of its pictures are there."""
    facts = _json_ready(facts)
    size = len(images) if places is None else max(len(images), len(recipe.pictures))
    own = {name: facts.pop(name, None) or [None] * size for name in PER_PICTURE}
    return [
        Picture.of(
            image,
            recipe.alone(index) if index < len(recipe.pictures) else recipe,
            {
                **facts,
                **{name: told[index] for name, told in own.items() if told[index]},
                "pixels": pixel_digest(image),
                "batch": {"index": index, "size": size},
            },
        )
        for index, image in zip(range(size) if places is None else places, images, strict=False)
    ]


def _json_ready(value: Any) -> Any:
    """JSON has no infinity and only texts as keys; a fact must not cost the picture."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(one) for one in value]
    plain = value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else repr(value)


pixel_digest = digest
"""SHA-256 of mode, size and pixels: independent of the file's compression."""
