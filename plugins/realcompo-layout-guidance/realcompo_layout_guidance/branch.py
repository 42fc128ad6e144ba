"""Layout guidance (Chen et al., "Training-Free Layout Control with Cross-Attention Guidance", WACV 2024), backward form.

A branch beside another: it moves the latents so that the attention of each phrase comes to lie in its box, and lets the branch
that it builds on predict there. In the σ scale x = z/√ᾱ of the paper a move is x ← x − σ² ∇ₓ(scale · E) with σ² = (1 − ᾱ)/ᾱ; in ours,
since ∇ₓ = √ᾱ ∇_z, the same move is z ← z − (1 − ᾱ) ∇_z(scale · E).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from realcompo.errors import BadOption
from realcompo.interfaces import GuidanceHalf, Prediction, Request, Step
from realcompo.registry import installed
from realcompo.specs import BranchSpec, Options, Traits
from realcompo.toolkit import BranchUpon, DenoiserBranch, UNetBranch, steadily
from realcompo.toolkit.maps import MapPlace, chosen_places, cross_attention_places, watch_attention

from .options import LayoutGuidanceOptions, Window, steps


@dataclass(frozen=True)
class GuidedConditioning:
    """All that belongs to a run.

    Attributes:
        inner: the conditioning of the branch beneath.
        tokens: (B, R, L) weights of each region's tokens, which sum to 1; zero for regions that are not in this branch's condition.
        masks: level → (B, R, h', w') coverage, at the sizes at which the guided places work.
        window: shares of the run at which guidance begins and ends.
    """

    inner: Any
    tokens: Tensor
    masks: dict[int, Tensor]
    window: Window


class LayoutGuidanceBranch(BranchUpon):
    """Guides a branch with a UNet or a transformer; everything that it does not change is that branch's.

    Attributes:
        inner: the branch that it builds on, whose networks other branches may share.
        guided: the places whose attention is guided, in the order in which they run.
    """

    options_class = LayoutGuidanceOptions
    options: LayoutGuidanceOptions

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(spec, options, source=source, device=device, dtype=dtype)
        self.traits = replace(self.inner.traits, moves_latents=True)
        self.guided = _guided(self.inner, self.options)

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def beneath(cls, options: LayoutGuidanceOptions) -> tuple[BranchSpec, type[DenoiserBranch], Options]:
        """The branch beneath: its spec, class and validated options.

        Raises:
            UnknownName, BadOption: there is none of that id, or it has no network of the toolkit's.
        """
        registry = installed()
        base = registry.find(BranchSpec, options.base)
        kind = registry.load(base)
        if not issubclass(kind, DenoiserBranch):
            raise BadOption(
                f"layout guidance cannot build on {base.id!r}: it is no branch with a UNet or a transformer of its own",
                where="option base",
                mend="choose a branch such as sd/v1-5 or pixart/sigma",
            )
        return base, kind, registry.options(base, options.base_options)

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """The base's traits; moves the latents."""
        return replace(super().inspect(spec, options, source), moves_latents=True)

    @classmethod
    def remarks(cls, spec: BranchSpec, options: Options, balanced: tuple[float, float] | None) -> tuple[str, ...]:
        """Guidance that is over when the balance begins leaves a base model beside the fidelity model, and nothing to balance."""
        own = cls.own(spec, options)
        end = own.shares(balanced=True)[1]
        if balanced is None or own.loss_scale == 0 or end > balanced[0]:
            return ()
        return (
            f"its guidance ends after {end:.0%} of the steps, and the balance begins at {balanced[0]:.0%}: from there on it is "
            f"{own.base} as it stands; let the window end later (options.window = [0.0, 0.9]) or shorten the balancer's warmup",
        )

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> GuidedConditioning:
        inner = self.inner.encode(request)
        tokens = inner.weights * self._mine(request).to(inner.weights)[:, :, None]
        h, w = (side // self.traits.latent.downscale for side in request.size)
        levels = {place.level for place in self.guided}
        masks = {level: request.regions.masks(-(-h // 2**level), -(-w // 2**level)).to(tokens.device) for level in levels}
        return GuidedConditioning(inner, tokens, masks, self.options.shares(request.balanced))

    def _mine(self, request: Request) -> Tensor:
        """(B, R) bool: which regions of the union this branch's own condition brings; it guides no others."""
        registry = installed()
        mine = torch.zeros_like(request.regions.present())
        for b, (condition, regions) in enumerate(zip(request.conditions, request.regions.pictures, strict=True)):
            if condition is not None:
                ids = {region.id for region in registry.transfer(condition.kind)(condition, request.size)}
                mine[b, : len(regions)] = torch.tensor([region.id in ids for region in regions], dtype=torch.bool)
        return mine

    def embeddings(self, conditioning: GuidedConditioning) -> Sequence[Tensor]:
        return self.inner.embeddings(conditioning.inner)

    # -- every step -----------------------------------------------------------------------------------------------------------

    def move(self, z: Tensor, step: Step, conditioning: GuidedConditioning) -> Tensor | None:
        """z (B, C, h, w) where the guidance of this step leaves it, without a graph; None where it moves nothing."""
        if step.index not in steps(conditioning.window, step.count) or self.options.loss_scale == 0 or not conditioning.tokens.any():
            return None
        rate = self.options.loss_scale * (1 - step.alpha_bar)
        start = z = z.detach()
        for _ in range(self.options.inner_updates):
            loss, slope = self.placement(z, step, conditioning)
            misplaced = ~(loss <= self.options.threshold)  # NaN too: it moves a picture to NaN, which the composer names
            if not misplaced.any():
                break
            z = torch.where(misplaced[:, None, None, None], z - rate * slope, z)
        return None if z is start else z

    def placement(self, z: Tensor, step: Step, conditioning: GuidedConditioning) -> tuple[Tensor, Tensor]:
        """E (B,) in [0, 1] of the conditional half at z (B, C, h, w), and ∇_z E of the same shape as z.

        E is the mean over places and over a picture's regions of Σ_tokens weight · mean_heads (1 − Σ_i A_i M_i / Σ_i A_i)². Runs no more of
        the network than the guided places need.
        """
        terms: list[Tensor] = []
        precision = torch.promote_types(z.dtype, torch.float32)
        tokens = conditioning.tokens.to(precision)

        def see(place: MapPlace, probabilities: Tensor) -> None:
            terms.append(region_loss(probabilities.to(precision), conditioning.masks[place.level].to(tokens), tokens).sum(dim=1))

        guided = self.inner.placed(self.guided, z, conditioning.inner)

        def slope() -> tuple[Tensor, Tensor]:
            terms.clear()
            with torch.enable_grad():
                leaf = z.detach().requires_grad_()
                watch_attention(self.inner.network, guided, see, lambda: self.inner.denoise(leaf, step, conditioning.inner, "conditional"))
                count = tokens.any(dim=2).sum(dim=1).clamp(min=1)
                loss = torch.stack(terms).mean(dim=0) / count
                return loss.detach(), _slope(loss.sum(), leaf, half=self.inner.dtype == torch.float16)

        return steadily(z.device, slope)

    def predict(self, z: Tensor, step: Step, conditioning: GuidedConditioning, read: bool = False) -> Prediction:
        """The base's guided prediction at the moved z, with the shift. Maps, if read, are those at z, as `attend` sees them."""
        self.check_step(step)
        moved = self.move(z, step, conditioning)
        if moved is None:
            return self.inner.predict(z, step, conditioning.inner, read)
        told = self.inner.predict(moved, step, conditioning.inner)
        maps = self.attend(z, step, conditioning) if read else None
        return Prediction(told.noise, maps, moved - z.detach(), told.unconditional)

    def predict_half(self, z: Tensor, step: Step, conditioning: GuidedConditioning, half: GuidanceHalf, read: bool = False) -> Prediction:
        """The base's conditional half at the moved z, with the shift; its unconditional half at z as it is given."""
        moved = self.move(z, step, conditioning) if half == "conditional" else None
        if moved is None:
            return self.inner.predict_half(z, step, conditioning.inner, half, read)
        noise = self.inner.predict_half(moved, step, conditioning.inner, half).noise
        return Prediction(noise, self.attend(z, step, conditioning) if read else None, shift=moved - z.detach())

    def predict_unguided(self, z: Tensor, step: Step, conditioning: GuidedConditioning) -> Tensor:
        moved = self.move(z, step, conditioning)
        return self.inner.predict_unguided(z if moved is None else moved, step, conditioning.inner)


def region_loss(probabilities: Tensor, masks: Tensor, tokens: Tensor) -> Tensor:
    """(B, R) of Σ_l w_l · mean over heads of (1 − Σ_i A_il M_i / Σ_i A_il)²; 0 for a region without tokens.

    Args:
        probabilities: A (B, heads, N, L) at N = h'·w' pixels, row by row.
        masks: M (B, R, h', w') in [0, 1].
        tokens: w (B, R, L).
    """
    inside = torch.einsum("bhnl,brn->bhrl", probabilities, masks.flatten(2))
    total = probabilities.sum(dim=2).clamp(min=torch.finfo(probabilities.dtype).tiny)
    outside = (1 - inside / total[:, :, None]).square().mean(dim=1)
    return (tokens * outside).sum(dim=2)


def guided_places(unet: nn.Module, parts: Sequence[str], divisor: int | None) -> list[MapPlace]:
    """All places of the named parts at the latent's size over `divisor`; without a divisor, those of the mid block, of the first up and of
    the last down block that have any.

    Raises:
        BadOption: there are none.
    """
    if divisor is not None:
        return chosen_places(unet, parts, divisor)
    blocks: dict[str, list[MapPlace]] = {}
    for place in cross_attention_places(unet):
        part = place.name.split("_")[0]
        blocks.setdefault(place.name.split(".")[0] if part == "mid" else ".".join(place.name.split(".")[:2]), []).append(place)
    of_part = {part: [block for block in blocks if block.startswith(part)] for part in ("down", "mid", "up")}
    wanted = {"down": of_part["down"][-1:], "mid": of_part["mid"], "up": of_part["up"][:1]}
    found = [place for part in wanted if part in parts for block in wanted[part] for place in blocks[block]]
    if not found:
        raise BadOption(
            f"the network has no cross-attention in {', '.join(parts)}",
            where="option guided_parts",
            mend="it has some in " + (", ".join(blocks) or "no block"),
        )
    return found


def _slope(loss: Tensor, z: Tensor, half: bool) -> Tensor:
    """∇_z of a loss that is a sum over pictures. In half precision the loss is scaled up, and less so for a picture whose gradient
    overflows; what is not finite even then stays so, and the move with it."""
    (slope,) = torch.autograd.grad(loss * (2.0**12 if half else 1.0), z, retain_graph=half)
    if not half:
        return slope
    slope = slope / 2.0**12
    for factor in (2.0**6, 1.0):
        finite = slope.isfinite().flatten(1).all(dim=1)
        if bool(finite.all()):
            break
        (smaller,) = torch.autograd.grad(loss * factor, z, retain_graph=True)
        slope = torch.where(finite[:, None, None, None], slope, smaller / factor)
    return slope


def _guided(inner: DenoiserBranch, options: LayoutGuidanceOptions) -> list[MapPlace]:
    """Of a UNet, see `guided_places`; of a transformer, the blocks that its maps are read in (option map_depth of the base)."""
    if isinstance(inner, UNetBranch):
        return guided_places(inner.unet, options.guided_parts, options.guided_divisor)
    return list(inner.reader.places)
