"""Object detectors of transformers: any that `AutoModelForObjectDetection` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realcompo.errors import BadCheckpoint, BadOption
from realcompo.toolkit.sources import may_download

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """A detection: the class by its name, its score, and x0, y0, x1, y1 in shares of the picture."""

    label: str
    score: float
    box: Box


def loaded(model: str | None, download: bool, load: Callable[..., Any], option: str = "model") -> Any:
    """What `load` makes of a hub id or folder, without a stranger's code or pickles, and without the network unless it was asked for.

    Raises:
        BadOption: no model is named. BadCheckpoint: it is not there, or is none.
    """
    if model is None:
        raise BadOption("no model is named", where=f"option {option}", mend=f"say --with PLUGIN/SCORER.{option}=HUB-ID-OR-FOLDER")
    place = Path(model).expanduser()
    source = str(place) if place.exists() else model
    try:
        return load(source, local_files_only=not may_download(download), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        said = str(error).strip().splitlines()
        raise BadCheckpoint(
            f"it cannot be loaded: {said[0] if said else type(error).__name__}",
            where=model,
            mend="check the id or folder; to fetch it, say --with PLUGIN/SCORER.download=true or REALCOMPO_DOWNLOAD=1",
        ) from None


class Detector:
    """A detector, ready to look.

    Args:
        threshold: score that a detection must have.
    """

    def __init__(self, model: str | None, device: str, threshold: float, download: bool) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self.processor = loaded(model, download, AutoImageProcessor.from_pretrained)
        network = loaded(model, download, lambda *a, **k: AutoModelForObjectDetection.from_pretrained(*a, use_safetensors=True, **k))
        self.network = network.to(device).eval()
        self.device, self.threshold = device, threshold
        self.labels: Mapping[int, str] = {int(number): str(name) for number, name in network.config.id2label.items()}

    def __call__(self, images: Sequence[Image]) -> list[list[Found]]:
        """Detections of each picture, best first. One picture at a time: what is padded beside another would change its last digits."""
        import torch

        found = []
        for image in images:
            inputs = self.processor(images=[image], return_tensors="pt").to(self.device)
            with torch.no_grad():
                outputs = self.network(**inputs)
            (one,) = self.processor.post_process_object_detection(
                outputs, threshold=self.threshold, target_sizes=[(image.height, image.width)]
            )
            rows = zip(one["labels"].tolist(), one["scores"].tolist(), one["boxes"].tolist(), strict=True)
            seen = [Found(self.labels.get(label, f"{label}"), score, _share(box, image.size)) for label, score, box in rows]
            found.append(sorted(seen, key=lambda one: -one.score))
        return found


def _share(box: Sequence[float], size: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    return (x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (both - w * h)


def label_of(phrase: str, labels: Sequence[str]) -> str | None:
    """The class that a phrase names by its last words ("two red cars" → "car"); None where the detector knows none of them."""
    words = phrase.lower().split()
    ends = [" ".join(words[start:]) for start in range(len(words))]  # the longest first
    known = {label.lower(): label for label in labels}
    for end in ends:
        for form in (end, end.removesuffix("s"), end.removesuffix("es"), end.removesuffix("ies") + "y"):
            if form in known:
                return known[form]
    return None
