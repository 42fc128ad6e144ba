"""Suite and Scorer: what recipes are drawn on, and what judges the pictures."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..conditions import Condition
from ..specs import NoOptions, Options

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Record = Mapping[str, Any]
"""What a scorer says of one picture: plain data (JSON) by name, without NaN."""


@dataclass(frozen=True)
class Case:
    """One picture that a suite asks of every recipe.

    Attributes:
        id: unique in its suite, and the same at every run.
        prompt: what to draw.
        seed: of its noise. Every recipe draws from the same, so that differences are paired.
        scene: pictures of one scene (one prompt with several noises) share a layout, and the bootstrap draws them together; `id` where
            it is empty.
        kind: of prompt, where a suite has several; tables tell them apart.
        negative_prompt: what not to draw.
        conditions: kind of condition → where things stand, where the suite knows it; planned once where a recipe needs more.
        truth: plain data that scorers read: objects, boxes, attributes.
        file: path of the picture in the recipe's folder, without suffix, parts divided by "/"; made of `id` where it is empty.
    """

    id: str
    prompt: str
    seed: int
    scene: str = ""
    kind: str = ""
    negative_prompt: str = ""
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    truth: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""

    @property
    def group(self) -> str:
        """The scene's name."""
        return self.scene or self.id


@dataclass(frozen=True)
class Shot:
    """A picture of a case, as its file has it.

    Attributes:
        case: with the conditions that it was drawn with, where they were planned.
        image: RGB.
        path: of the file; None where there is none.
    """

    case: Case
    image: Image
    path: Path | None = None


class Suite(ABC):
    """Which pictures a recipe draws, and what is known of each."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else NoOptions()

    @abstractmethod
    def cases(self, seed: int | None = None) -> Sequence[Case]:
        """All of them, in order, the same at every call.

        Args:
            seed: of the noises; the suite's own where it is None.

        Raises:
            RealCompoError: its files are missing or damaged.
        """

    def files(self, cases: Sequence[Case]) -> Mapping[str, str]:
        """Path in a recipe's folder → a text to stand there beside the pictures, for a suite whose own programs read such a folder."""
        return {}


class Scorer(ABC):
    """Judges pictures: each by itself, and perhaps all together. Weights are loaded when it first scores."""

    def __init__(self, options: Options | None = None, device: str = "cpu") -> None:
        self.options = options if options is not None else NoOptions()
        self.device = device

    @abstractmethod
    def score(self, shots: Sequence[Shot]) -> Sequence[Record]:
        """A record a picture, in order: plain data that holds what its spec's columns and `whole` read.

        Raises:
            RealCompoError: its weights are missing, or the pictures or cases are none that it can judge.
        """

    @classmethod
    def examples(cls) -> Sequence[Shot]:
        """Four pictures or more that it judges well, each of its own case, for the conformance kit; coloured boxes where there are none."""
        return ()

    def whole(self, column: str, records: Sequence[Record]) -> float:
        """The figure of many pictures, for a column that says `whole`; records may repeat, as a bootstrap draws them. NaN of too few."""
        raise NotImplementedError(f"{type(self).__name__} says whole of {column!r} and has no method for it")


def pack(feature: Any) -> str:
    """A vector (D,) for a record: base64 of float16."""
    import numpy as np

    return base64.b64encode(np.asarray(feature).astype("<f2").tobytes()).decode()


def unpack(text: str) -> np.ndarray[Any, Any]:
    """The vector (D,) float32 of a record."""
    import numpy as np

    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float32)
