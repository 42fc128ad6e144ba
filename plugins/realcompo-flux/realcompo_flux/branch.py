"""FLUX.1: a rectified flow over packed latents, 2×2 pixels a token, beside T5's tokens; told CLIP's pooled prompt, and dev its guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.errors import BadCheckpoint
from realcompo.interfaces import Request, Step
from realcompo.specs import BranchSpec, Traits
from realcompo.toolkit import Checkpoint, Half, Loader, TextEncoding, TransformerBranch, UNetConditioning
from realcompo.toolkit.guard import bare
from realcompo.toolkit.joint import block_places
from realcompo.toolkit.loading import Classes
from realcompo.toolkit.maps import MapPlace, PlaceReader
from realcompo.toolkit.sequences import PooledBeside, PooledClip, T5Encoding
from realcompo.toolkit.transformer import chosen_blocks
from realcompo.toolkit.transformer_traits import Shape, check_widths, transformer_config

from .options import FluxOptions

PATCH = 2


class FluxBranch(TransformerBranch):
    """dev and schnell; which one its config tells."""

    options_class = FluxOptions
    classes: ClassVar[Classes] = {
        "transformer": ("diffusers", ("FluxTransformer2DModel",)),
        "text_encoder": ("transformers", ("CLIPTextModel",)),
        "text_encoder_2": ("transformers", ("T5EncoderModel",)),
    }
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {"text_encoder_2": T5Encoding}
    options: FluxOptions

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        config = transformer_config(checkpoint, cls.classes)
        check_widths(checkpoint, "text_encoder", config["pooled_projection_dim"], "pooled_projection_dim")
        check_widths(checkpoint, "text_encoder_2", config["joint_attention_dim"], "joint_attention_dim")
        if config["patch_size"] != 1 or (config["out_channels"] or config["in_channels"]) != config["in_channels"]:
            raise BadCheckpoint(
                f"its transformer reads {config['in_channels']} channels and writes {config['out_channels']}: it is told a picture",
                where=checkpoint.where,
                mend="choose FLUX.1 dev or schnell, or a fine-tune of one",
            )

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> Shape:
        """Its blocks are those with streams of their own for pixels and text: what is read is there."""
        return Shape(config["in_channels"] // PATCH**2, PATCH, config["num_layers"])

    @classmethod
    def _read_traits(cls, checkpoint: Checkpoint, spec: BranchSpec, options: Any, own: bool) -> Traits:
        traits = super()._read_traits(checkpoint, spec, options, own)
        told = transformer_config(checkpoint, cls.classes)["guidance_embeds"]
        return replace(traits, guidance="embedded" if told else "none")

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        clip, t5 = (None if loader is None else loader.module(part) for part in cls.encoders)
        tokens = T5Encoding(cls.words(checkpoint, "text_encoder_2"), t5, length=options.text_length)
        return PooledBeside(tokens, PooledClip(cls.words(checkpoint, "text_encoder"), clip))

    def all_places(self) -> list[MapPlace]:
        """Those of both kinds of block, the ones that are read first."""
        network: Any = bare(self.transformer)
        return super().all_places() + block_places(network.single_transformer_blocks, "single_transformer_blocks", 1, self.columns())

    def _reader(self) -> PlaceReader:
        places = super().all_places()
        return PlaceReader(self.transformer, [places[i] for i in chosen_blocks(len(places), self.options)])

    # -- once a run -----------------------------------------------------------------------------------------------------------

    def blend_scale(self, request: Request) -> float:
        """Of a second pass, which is an option; `guidance_scale` is told to the network."""
        return self.options.true_cfg_scale

    def prepare(self, request: Request) -> float:
        return request.guidance_scale

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """The pooled prompt and the guidance scale; forward says where pixels are."""
        guidance = torch.full((sample.shape[0],), float(conditioning.extra), device=sample.device, dtype=torch.float32)
        return {"pooled_projections": conditioning.pooled(half).to(sample), "guidance": guidance}

    def time(self, sample: Tensor, step: Step) -> Tensor:
        """σ; the network multiplies it by 1000."""
        return super().time(sample, step) / 1000

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        own = self.transformer.config
        output = self.transformer(
            packed(sample),
            encoder_hidden_states=text,
            timestep=self.time(sample, step),
            **positions(sample, text),
            **{**told, "guidance": told["guidance"] if own.guidance_embeds else None},
            return_dict=False,
        )[0]
        return unpacked(output, sample)


def packed(latents: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h/2 · w/2, 4 C), row by row."""
    b, c, h, w = latents.shape
    return latents.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, like: Tensor) -> Tensor:
    """The way back, to the shape of `like`."""
    b, c, h, w = like.shape
    return tokens.reshape(b, h // PATCH, w // PATCH, c, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


def positions(sample: Tensor, text: Tensor) -> dict[str, Tensor]:
    """(0, row, column) of each of a picture's tokens; all of the text is at 0."""
    rows, columns = (torch.arange(side // PATCH, device=sample.device) for side in sample.shape[-2:])
    grid = torch.stack([torch.zeros(len(rows), len(columns), device=sample.device), *torch.meshgrid(rows, columns, indexing="ij")], dim=-1)
    return {"img_ids": grid.flatten(0, 1).to(sample.dtype), "txt_ids": text.new_zeros(text.shape[1], 3)}
