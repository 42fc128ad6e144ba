"""ControlNets of Stable Diffusion 3 and 3.5: residuals that are added after the transformer's blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.errors import BadCheckpoint
from realcompo.interfaces import Step
from realcompo.toolkit import TransformerBranch, UNetConditioning
from realcompo.toolkit.control import ControlledTransformer
from realcompo.toolkit.nets import NetPlace, check_equal


class SD3ControlBranch(ControlledTransformer):
    """InstantX's are told no pooled prompt, and latents of the hint that are not shifted; Stability AI's for 3.5 large read no text."""

    net_classes: ClassVar[tuple[str, ...]] = ("SD3ControlNetModel",)
    shared_shapes: ClassVar[tuple[str, ...]] = (
        "in_channels",
        "patch_size",
        "num_attention_heads",
        "attention_head_dim",
        "pooled_projection_dim",
    )

    @classmethod
    def check_net(cls, place: NetPlace, base: Mapping[str, Any], where: str) -> None:
        super().check_net(place, base, where)
        if place.config.get("joint_attention_dim", 4096) is not None:
            check_equal(place, base, ("joint_attention_dim",), where, lambda config: f"text {config.get('joint_attention_dim')} wide")
        if place.config.get("extra_conditioning_channels"):
            raise BadCheckpoint("it inpaints: it is told a mask beside the hint", where=place.where, mend="choose one for poses or lines")

    def hint(self, net: Any, pixels: Tensor) -> Tensor:
        latent = self.traits.latent
        shift = 0.0 if net.config.force_zeros_for_pooled_projection else latent.shift_factor
        return (self.encoded(pixels) - shift) * latent.scaling_factor

    def residuals(
        self, net: Any, sample: Tensor, step: Step, text: Tensor, told: Any, hint: Tensor, kinds: Sequence[str], scale: float
    ) -> Mapping[str, Any]:
        pooled = told["pooled_projections"]
        samples = net(
            hidden_states=sample if net.pos_embed is not None else self.transformer.pos_embed(sample),
            timestep=self.time(sample, step),
            encoder_hidden_states=text if net.context_embedder is not None else None,
            pooled_projections=torch.zeros_like(pooled) if net.config.force_zeros_for_pooled_projection else pooled,
            controlnet_cond=hint,
            conditioning_scale=scale,
            return_dict=False,
        )[0]
        return {"block_controlnet_hidden_states": samples}

    def blended(self, z: Tensor, conditional: Tensor, unconditional: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """Without skip-layer guidance, whose third pass would lead away from the hint too."""
        return TransformerBranch.blended(self, z, conditional, unconditional, step, conditioning)
