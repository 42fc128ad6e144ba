"""What the pictures of a batch are drawn over: the given pictures at the run's size, their masks, and how the new is pasted into the old.

Resizing and the window around a mask are diffusers' (`VaeImageProcessor`), so that a run here begins with the pixels that one there does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..conditions import ASPECT_TOLERANCE, Box, Condition
from ..conditions.cutting import cut
from ..errors import BadOption, Incompatible
from ..interfaces import Branch, Region
from ..masks import region_mask
from ..recipes.copies import PictureCopy
from ..recipes.members import Member
from ..recipes.recipe import PictureEntry
from ..registry import Registry

DEFAULT_STRENGTH = 0.8
"""Of a picture without a mask, as in diffusers; with a mask it is 1."""
DEFAULT_FEATHER = 4
"""Pixels."""

Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Paste:
    """How a drawn picture goes into the one that it was drawn over.

    Attributes:
        original: the given picture; what is pasted has its size.
        share: (H, W) of the new at each pixel, in [0, 1]; 0 where the mask is black: there the original stays to the bit.
        window: (x0, y0, x1, y1) in pixels of the original that was drawn, where it was not the whole.
    """

    original: Image.Image
    share: np.ndarray[Any, Any]
    window: tuple[int, int, int, int] | None = None

    def __call__(self, drawn: Image.Image) -> Image.Image:
        if self.window is not None:
            x0, y0, x1, y1 = self.window
            part = _processor().resize(drawn, height=y1 - y0, width=x1 - x0, resize_mode="crop")
            drawn = self.original.copy()
            drawn.paste(part, (x0, y0))
        old, share = np.asarray(self.original), self.share[..., None]
        new = np.asarray(drawn.convert("RGB"), dtype=np.float32)
        mixed = (old + share * (new - old)).round().clip(0, 255).astype(np.uint8)
        return Image.fromarray(np.where(share > 0, mixed, old))


@dataclass(frozen=True, eq=False)
class Canvas:
    """What B pictures of one run begin with.

    Attributes:
        pictures: B pictures (RGB) of the run's size.
        strength: share of the steps that are drawn over them, in (0, 1].
        masks: B masks (H, W) of the run's size, true where a picture is drawn anew; none where all of it is.
        pastes: B, how the drawn goes into the given; none where all is new.
        frames: B frames (x0, y0, x1, y1) that the run draws, in shares of the given picture; None where it is the whole.
        clean: (B, C, h, w) their latents, where these are known already.
    """

    pictures: tuple[Image.Image, ...]
    strength: float
    masks: tuple[Bools, ...] = ()
    pastes: tuple[Paste, ...] = ()
    frames: tuple[Box | None, ...] = ()
    clean: Tensor | None = None

    def pixels(self, around: bool = False) -> Tensor:
        """The pictures as (B, 3, H, W) in [−1, 1]; with `around` only what stands around the masks, grey (0) in them."""
        shades = torch.from_numpy(np.stack([np.asarray(one.convert("RGB")) for one in self.pictures])).permute(0, 3, 1, 2)
        pixels = shades.float() / 255 * 2 - 1
        return pixels * torch.from_numpy(~np.stack(self.masks))[:, None] if around else pixels

    def of(self, rows: Sequence[int]) -> Canvas:
        """What a run of these pictures begins with, repeats allowed; it is pasted by nobody."""
        masks = tuple(self.masks[b] for b in rows) if self.masks else ()
        return replace(self, pictures=tuple(self.pictures[b] for b in rows), masks=masks, pastes=(), frames=())

    def told(self, pictures: Sequence[PictureEntry]) -> tuple[PictureEntry, ...]:
        """The entries with their conditions as they are in the frames.

        Raises:
            BadCondition: a condition that cannot be cut.
        """
        if not any(self.frames):
            return tuple(pictures)
        found = []
        for entry, frame, paste in zip(pictures, self.frames, self.pastes, strict=True):
            size = (paste.original.height, paste.original.width)
            conditions: dict[str, Condition] = {
                key: one if frame is None else cut(one, frame, size) for key, one in entry.conditions.items()
            }
            found.append(entry.model_copy(update={"conditions": conditions}))
        return tuple(found)

    def limited(self, parts: Sequence[Sequence[tuple[Region, ...]]]) -> list[list[tuple[Region, ...]]]:
        """Regions of B pictures and K members as they are inside the masks: one that reaches beyond is cut, one that lies outside is none,
        for what stands there is not drawn."""
        if not self.masks:
            return [list(per_member) for per_member in parts]
        return [
            [tuple(one for region in regions if (one := _inside(region, mask)) is not None) for regions in per_member]
            for per_member, mask in zip(parts, self.masks, strict=True)
        ]

    def pasted(self, images: Sequence[Image.Image], places: Sequence[int]) -> list[Image.Image]:
        """Drawn pictures of the batch's `places` in those that they were drawn over."""
        return [self.pastes[place](image) for image, place in zip(images, places, strict=True)] if self.pastes else list(images)


def canvas_of(
    pictures: Sequence[PictureEntry], size: tuple[int, int], members: Sequence[Member], registry: Registry, number: int = 0
) -> Canvas | None:
    """What a batch begins with; None where that is noise alone. Needs no weights.

    Args:
        size: (height, width) of the run.
        number: of the first picture, in messages.

    Raises:
        BadOption: pictures that begin in different ways, of another shape, or a mask without white. BadPicture: a picture cannot be read.
        Incompatible: the fidelity branch encodes no pictures, or inpaints and has no mask.
    """
    first = pictures[0]
    for index, entry in enumerate(pictures):
        if entry.beginning != first.beginning:
            raise BadOption(
                f"picture 0 begins with {_said(first)}, picture {index} with {_said(entry)}",
                mend="draw them one after the other (realcompo run does), or give all the same strength, and all or none a mask",
            )
    for m in members:
        if m.traits.inpaints and first.mask_image is None:
            raise Incompatible(
                f"{m.name!r} is an inpainting checkpoint, and there is no mask",
                mend="give image and mask_image (white where the picture is drawn anew), or choose a text-to-image checkpoint",
            )
    if first.image is None:
        return None
    check_encodes(members[0], registry)
    strength = first.strength if first.strength is not None else (DEFAULT_STRENGTH if first.mask_image is None else 1.0)
    if first.mask_image is None:
        resized = tuple(_fitted(_image(entry), size, members[0], f"picture {b}") for b, entry in enumerate(pictures, number))
        return Canvas(resized, strength)
    made = [_masked(entry, size, members[0], f"picture {b}") for b, entry in enumerate(pictures, number)]
    step = members[0].traits.latent.downscale
    for b, (_, mask, _, _) in enumerate(made, number):
        if not mask[::step, ::step].any():  # where the mask of latents is read, as in diffusers
            raise BadOption(
                f"the mask is too thin: it covers no latent pixel, of {step}×{step} pixels each",
                where=f"picture {b}, mask_image",
                mend="paint it wider, or draw its surroundings larger: padding_mask_crop = 32",
            )
    images, masks, pastes, frames = zip(*made, strict=True)
    return Canvas(images, strength, masks, pastes, frames)


def check_encodes(m: Member, registry: Registry) -> None:
    """Raise Incompatible where the fidelity branch encodes no pictures."""
    cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
    if cls.encode_pictures is Branch.encode_pictures:
        raise Incompatible(
            f"{m.name!r} encodes no pictures, so that none can be begun with",
            mend="leave the image out, or choose another fidelity branch (a plugin adds Branch.encode_pictures)",
        )


def _said(entry: PictureEntry) -> str:
    if entry.image is None:
        return "noise"
    return ("an image" if entry.mask_image is None else "an image and a mask") + (
        "" if entry.strength is None else f" at strength {entry.strength:g}"
    )


def _copy(entry: PictureEntry, name: Literal["image", "mask_image"]) -> PictureCopy:
    """A picture that the entry has: `canvas_of` looked."""
    return cast(PictureCopy, getattr(entry, name))


def _image(entry: PictureEntry) -> Image.Image:
    return _copy(entry, "image").image("image").convert("RGB")


def _mask(entry: PictureEntry, where: str) -> Image.Image:
    """Black and white.

    Raises:
        BadOption: it has no white.
    """
    told = np.asarray(_copy(entry, "mask_image").image("mask_image").convert("L")) >= 128
    if not told.any():
        raise BadOption(
            "the mask is black: nothing is to be drawn anew", where=f"{where}, mask_image", mend="paint white what is to be drawn anew"
        )
    return Image.fromarray(told.astype(np.uint8) * 255)


def _fitted(image: Image.Image, size: tuple[int, int], m: Member, where: str) -> Image.Image:
    """The picture at the run's size.

    Raises:
        BadOption: it is of another shape.
    """
    ratio = (image.width * size[0]) / (image.height * size[1])
    if abs(math.log(ratio)) > ASPECT_TOLERANCE:
        unit, pixels = m.traits.size_multiple, size[0] * size[1]
        near = [max(unit, round(math.sqrt(pixels * one) / unit) * unit) for one in (image.width / image.height, image.height / image.width)]
        raise BadOption(
            f"the image is {image.width}×{image.height} pixels, the picture to draw {size[1]}×{size[0]}: another shape",
            where=where,
            mend=f"draw {near[0]}×{near[1]} (--size {near[0]}x{near[1]}), or crop the image",
        )
    found: Image.Image = _processor().resize(image, height=size[0], width=size[1])
    return found


def _masked(entry: PictureEntry, size: tuple[int, int], m: Member, where: str) -> tuple[Image.Image, Bools, Paste, Box | None]:
    """Picture and mask at the run's size, the paste, and the frame."""
    image, mask = _image(entry), _mask(entry, where)
    feather = DEFAULT_FEATHER if entry.mask_feather is None else entry.mask_feather
    if entry.padding_mask_crop is None:
        drawn = _fitted(image, size, m, where)
        told = _processor_of_masks().preprocess(mask, height=size[0], width=size[1])[0, 0].numpy() > 0
        return drawn, told, Paste(drawn, _share(told, feather)), None
    window = _processor().get_crop_region(mask, size[1], size[0], pad=entry.padding_mask_crop)
    drawn = _processor().resize(image.crop(window), height=size[0], width=size[1], resize_mode="fill")
    told = _processor_of_masks().preprocess(mask, height=size[0], width=size[1], resize_mode="fill", crops_coords=window)[0, 0].numpy() > 0
    paste = Paste(image, _share(np.asarray(mask) > 0, feather), window)
    return drawn, told, paste, _frame(window, size, image.size)


def _frame(window: tuple[int, int, int, int], size: tuple[int, int], whole: tuple[int, int]) -> Box:
    """What the run draws, in shares of the whole picture: the window, and on two sides more where it is of another shape."""
    x0, y0, x1, y1 = window
    scale = min(size[1] / (x1 - x0), size[0] / (y1 - y0))
    wide, high = size[1] / scale, size[0] / scale
    left, top = (x0 + x1 - wide) / 2, (y0 + y1 - high) / 2
    return left / whole[0], top / whole[1], (left + wide) / whole[0], (top + high) / whole[1]


def _share(mask: Bools, feather: int) -> np.ndarray[Any, Any]:
    """How much of the new is pasted: rising from the mask's edge inwards, over `feather` pixels; the picture's own edge is none."""
    if feather == 0 or mask.all():
        return mask.astype(np.float32)
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(mask)
    found: np.ndarray[Any, Any] = np.minimum(distance / (feather + 1), 1).astype(np.float32)
    return found


def _inside(region: Region, mask: Bools) -> Region | None:
    """A region as it is inside a mask."""
    whole = region_mask(region, *mask.shape).numpy()
    inside = whole * mask
    if not inside.any():
        return None
    return region if (inside == whole).all() else replace(region, mask=inside)


def _processor() -> Any:
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor()


def _processor_of_masks() -> Any:
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
