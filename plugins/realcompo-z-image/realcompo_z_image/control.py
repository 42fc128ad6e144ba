"""ControlNets of Z-Image, which borrow its first layers: residuals that are added after some of its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import pad

from realcompo.errors import Incompatible
from realcompo.interfaces import Step
from realcompo.toolkit.control import ControlledTransformer
from realcompo.toolkit.nets import NetPlace

from .branch import ZImageBranch


class ZImageControlBranch(ControlledTransformer):
    """Told latents of the hint; those of version 2 have room for more channels, which stay empty."""

    net_classes: ClassVar[tuple[str, ...]] = ("ZImageControlNetModel",)
    shared_shapes: ClassVar[tuple[str, ...]] = ("dim", "n_heads", "n_refiner_layers")
    base: ZImageBranch

    @classmethod
    def check_net(cls, place: NetPlace, base: Mapping[str, Any], where: str) -> None:
        super().check_net(place, base, where)
        last = max(place.config.get("control_layers_places") or [0])
        if last >= base["n_layers"]:
            raise Incompatible(
                f"the ControlNet {place.where} adds to block {last}, its base {where} has {base['n_layers']}",
                mend="set the option base or base_source to the network that it was trained on",
            )

    def hint(self, net: Any, pixels: Tensor) -> Tensor:
        found = super().hint(net, pixels)
        return pad(found, (0, 0, 0, 0, 0, net.config.control_in_dim - found.shape[1]))

    def residuals(
        self, net: Any, sample: Tensor, step: Step, text: Tensor, told: Any, hint: Tensor, kinds: Sequence[str], scale: float
    ) -> Mapping[str, Any]:
        net.from_transformer(net, self.transformer)
        net.gradient_checkpointing = False  # diffusers 0.42 asks for it, and does not set it
        latents, time, words = self.base.listed(sample, step, text, told)
        return {"controlnet_block_samples": net(latents, time, words, list(hint.unsqueeze(2)), conditioning_scale=scale)}
