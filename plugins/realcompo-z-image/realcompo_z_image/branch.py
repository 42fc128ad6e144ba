"""Z-Image (arXiv 2511.22699): a rectified flow in FLUX.1's latents; one stream of pixels and a language model's tokens.

It counts otherwise: time runs from 0 to 1 and its prediction is x₀ − ε, so both are turned here; its guidance scale is ours minus 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.interfaces import Step
from realcompo.toolkit import Checkpoint, Loader, TextEncoding, TransformerBranch, UNetConditioning
from realcompo.toolkit.guard import bare
from realcompo.toolkit.joint import StreamPlace
from realcompo.toolkit.loading import Classes
from realcompo.toolkit.maps import MapPlace
from realcompo.toolkit.sequences import ChatEncoding
from realcompo.toolkit.transformer_traits import Shape, check_widths, transformer_config
from realcompo_z_image import ZImageOptions


class ZImageBranch(TransformerBranch):
    """Z-Image and Z-Image-Turbo."""

    options_class = ZImageOptions
    classes: ClassVar[Classes] = {
        "transformer": ("diffusers", ("ZImageTransformer2DModel",)),
        "text_encoder": ("transformers", ("Qwen3Model", "Qwen3ForCausalLM")),
    }
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {"text_encoder": ChatEncoding}
    options: ZImageOptions

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        check_widths(checkpoint, "text_encoder", transformer_config(checkpoint, cls.classes)["cap_feat_dim"], "cap_feat_dim")

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> Shape:
        return Shape(config["in_channels"], config["all_patch_size"][0], config["n_layers"])

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        encoder = None if loader is None else loader.module("text_encoder")
        return ChatEncoding(cls.words(checkpoint, "text_encoder"), encoder, length=options.text_length)

    def all_places(self) -> list[MapPlace]:
        network: Any = bare(self.transformer)
        return [StreamPlace(f"layers.{i}.attention", layer.attention, 1, group=32) for i, layer in enumerate(network.layers)]

    def placed(self, places: Sequence[MapPlace], z: Tensor, conditioning: UNetConditioning) -> Sequence[MapPlace]:
        lengths = tuple(int(n) for n in conditioning.conditional.mask.sum(dim=1))
        return [replace(place, pixels_count=z.shape[-2] * z.shape[-1] // 4, lengths=lengths, limit=self.text.limit) for place in places]

    def time(self, sample: Tensor, step: Step) -> Tensor:
        return 1 - super().time(sample, step) / 1000

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        more = {key: value for key, value in told.items() if key != "encoder_attention_mask"}
        found = self.transformer(*self.listed(sample, step, text, told), return_dict=False, **more)[0]
        return -torch.stack(found).squeeze(2)

    def listed(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Latents with one frame, time, and each row's own text: as the network and its ControlNets take them."""
        words = [row[mask] for row, mask in zip(text, told["encoder_attention_mask"].bool(), strict=True)]
        return list(sample.unsqueeze(2)), self.time(sample, step).to(sample.dtype), words

    def blended(self, z: Tensor, conditional: Tensor, unconditional: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """u + g·(c − u), no longer than the options allow; c where guidance is over."""
        if 1 - step.t / 1000 > self.options.cfg_truncation:
            return conditional
        found = super().blended(z, conditional, unconditional, step, conditioning)
        if self.options.cfg_normalization:
            lengths = [one.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for one in (conditional, found)]
            found = found * (self.options.cfg_normalization * lengths[0] / lengths[1]).clamp(max=1)
        return found
