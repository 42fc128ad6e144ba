"""CLIP: how near a picture is to its prompt (Hessel et al. 2021), and LAION's aesthetic predictor on its embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from realcompo.errors import BadCheckpoint
from realcompo.interfaces import Record, Scorer, Shot
from realcompo_suites.detector import loaded
from realcompo_suites.options import AestheticOptions, ClipOptions
from realcompo_suites.weights import tensors

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Clip:
    """A CLIP model of transformers."""

    def __init__(self, model: str | None, device: str, download: bool) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        self.processor = loaded(model, download, AutoImageProcessor.from_pretrained)
        self.tokenizer = loaded(model, download, AutoTokenizer.from_pretrained)
        self.device = device
        network = loaded(model, download, lambda *a, **k: CLIPModel.from_pretrained(*a, use_safetensors=True, **_known(k)))
        self.network = network.to(device).eval()
        self.longest = int(network.config.text_config.max_position_embeddings)

    def images(self, images: Sequence[Image]) -> Tensor:
        """Embeddings (N, D) of length 1, on the CPU."""
        import torch

        inputs = self.processor(images=list(images), return_tensors="pt").to(self.device)
        with torch.no_grad():
            return _unit(self.network.get_image_features(**inputs))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, D) of length 1; what is past the text encoder's last token is cut off."""
        import torch

        inputs = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt").to(self.device)
        told = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            return _unit(self.network.get_text_features(**told))


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "trust_remote_code"}


def _unit(found: Any) -> Tensor:
    """(N, D) of length 1: some versions of transformers return the embedding, some an output that holds it."""
    features: Tensor = getattr(found, "pooler_output", found)
    return (features / features.norm(dim=-1, keepdim=True)).float().cpu()


class ClipScore(Scorer):
    """Cosine of each picture and its prompt."""

    options: ClipOptions
    _clip: Clip | None = None

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        if self._clip is None:
            self._clip = Clip(self.options.model, self.device, self.options.download)
        pictures = self._clip.images([shot.image for shot in shots])
        prompts = self._clip.texts([shot.case.prompt for shot in shots])
        return [{"clip": round(float(value), 6)} for value in (pictures * prompts).sum(dim=1)]


class Aesthetic(Scorer):
    """A chain of linear layers on the picture's embedding."""

    options: AestheticOptions
    _clip: Clip | None = None
    _layers: Sequence[tuple[Tensor, Tensor]] = ()

    def score(self, shots: Sequence[Shot]) -> list[Record]:
        if self._clip is None:
            self._layers = linear_layers(tensors(self.options.head, "head", "aesthetic predictor"), str(self.options.head))
            self._clip = Clip(self.options.model, self.device, self.options.download)
        values = self._clip.images([shot.image for shot in shots])
        width = self._layers[0][0].shape[1]
        if values.shape[1] != width:
            raise BadCheckpoint(
                f"it takes embeddings of {width} numbers, the CLIP model gives {values.shape[1]}",
                where=str(self.options.head),
                mend="name the CLIP model that it was trained on: clip-vit-large-patch14",
            )
        for weight, bias in self._layers:
            values = values @ weight.T + bias
        return [{"aesthetic": round(float(value), 6)} for value in values[:, 0]]


def linear_layers(found: Mapping[str, Tensor], where: str) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of each layer, in the order of their numbers: layers.0, layers.2 …, or the only one.

    Raises:
        BadCheckpoint: they are no chain that ends in one number.
    """

    def place(name: str) -> int:
        digits = [part for part in name.split(".") if part.isdigit()]
        return int(digits[-1]) if digits else 0

    names = sorted((name.removesuffix("weight") for name in found if name.endswith("weight")), key=place)
    layers = [(found[f"{name}weight"].float(), found[f"{name}bias"].float()) for name in names if f"{name}bias" in found]
    widths = [tuple(weight.shape) for weight, _ in layers]
    chained = all(len(shape) == 2 for shape in widths) and all(a[0] == b[1] for a, b in pairwise(widths))
    if not layers or not chained or widths[-1][0] != 1:
        raise BadCheckpoint(f"its layers are no aesthetic predictor: {widths}", where=where, mend="give sac+logos+ava1-l14-linearMSE.pth")
    return layers
