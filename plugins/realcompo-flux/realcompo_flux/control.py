"""ControlNets of FLUX.1, union ones too: residuals that are added after the blocks of both kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from realcompo.errors import BadOption, Incompatible
from realcompo.interfaces import Step
from realcompo.toolkit.control import ControlledTransformer
from realcompo.toolkit.nets import NetPlace

from .branch import packed, positions
from .options import FluxControlOptions

MODES = {"canny": 0, "tile": 1, "depth": 2, "blur": 3, "keypoints": 4, "gray": 5, "lq": 6}
"""Kind of hint → its number in InstantX's union ControlNets."""


class FluxControlBranch(ControlledTransformer):
    """InstantX's and Shakker Labs' are told latents of the hint, XLabs' its pixels."""

    options_class = FluxControlOptions
    net_classes: ClassVar[tuple[str, ...]] = ("FluxControlNetModel",)
    shared_shapes: ClassVar[tuple[str, ...]] = (
        *("in_channels", "num_attention_heads", "attention_head_dim", "axes_dims_rope"),
        *("joint_attention_dim", "pooled_projection_dim"),
    )
    options: FluxControlOptions

    @classmethod
    def check_net(cls, place: NetPlace, base: Mapping[str, Any], where: str) -> None:
        super().check_net(place, base, where)
        have, most = place.config.get("num_single_layers", 0), base.get("num_single_layers", 0)
        if have > most:
            raise Incompatible(
                f"the ControlNet {place.where} has {have} single blocks, its base {where} {most}",
                mend="set the option base or base_source to the network that it was trained on",
            )

    def modes(self, net: Any, kinds: Sequence[str]) -> Tensor | None:
        """(rows, 1) numbers of the hints' kinds; None where the ControlNet knows one kind only.

        Raises:
            BadOption: it has no such number.
        """
        if not net.union:
            return None
        numbers = [MODES.get(kind, net.config.num_mode) if self.options.mode is None else self.options.mode for kind in kinds]
        if max(numbers) >= net.config.num_mode:
            raise BadOption(
                f"the ControlNet has {net.config.num_mode} modes, numbers 0 to {net.config.num_mode - 1}; none is known for this hint",
                where="option mode",
                mend="give its number as the option mode, from its model card",
            )
        return torch.tensor(numbers, device=net.device)[:, None]

    def hint(self, net: Any, pixels: Tensor) -> Tensor:
        return super().hint(net, pixels) if net.input_hint_block is None else 2 * pixels - 1

    def residuals(
        self, net: Any, sample: Tensor, step: Step, text: Tensor, told: Any, hint: Tensor, kinds: Sequence[str], scale: float
    ) -> Mapping[str, Any]:
        blocks, single = net(
            hidden_states=packed(sample),
            controlnet_cond=packed(hint) if net.input_hint_block is None else hint,
            controlnet_mode=self.modes(net, kinds),
            conditioning_scale=scale,
            timestep=self.time(sample, step),
            guidance=told["guidance"] if net.config.guidance_embeds else None,
            pooled_projections=told["pooled_projections"],
            encoder_hidden_states=text,
            **positions(sample, text),
            return_dict=False,
        )
        found = {"controlnet_block_samples": blocks, "controlnet_single_block_samples": single}
        return found if net.input_hint_block is None else {**found, "controlnet_blocks_repeat": True}
