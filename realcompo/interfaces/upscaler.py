"""Upscaler: from the pictures, or the latents, of a first pass to the larger ones that a second pass begins with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from ..specs import NoOptions, Options


class Upscaler(ABC):
    """Makes pictures larger. One object, any number of runs.

    Attributes:
        works_on: "pixels": it is given a list of B PIL pictures (RGB) and returns B of the new size. "latents": it is given a tensor
            (B, C, h, w) of clean latents and returns (B, C, h', w'); nothing is decoded or encoded then.
    """

    works_on: ClassVar[Literal["pixels", "latents"]] = "pixels"

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def __call__(self, what: Any, size: tuple[int, int]) -> Any:
        """The same, larger.

        Args:
            what: pictures or latents, as `works_on` says.
            size: (height, width), in pixels or in latent pixels.
        """
