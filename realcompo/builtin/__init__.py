"""The core's own components, registered by the same hooks as a stranger's. Data only: no torch here."""

from __future__ import annotations

from ..hookspecs import hookimpl
from ..specs import BalancerSpec, TransferSpec, UpscalerSpec
from .options import (
    BalanceOptions,
    DivisionOptions,
    FeedbackOptions,
    FixedOptions,
    GuidedOptions,
    HandOverOptions,
    KeypointTransferOptions,
    LatentOptions,
    MeanOptions,
    SegmentTransferOptions,
    SwitchOptions,
)

REALCOMPO_API = 1

_BALANCE = "realcompo.builtin.balance:Balance"


@hookimpl
def register_transfers() -> list[TransferSpec]:
    return [
        TransferSpec(
            id="core/boxes",
            condition="boxes",
            target="realcompo.builtin.transfers:BoxTransfer",
            summary="a box is its own mask",
        ),
        TransferSpec(
            id="core/keypoints",
            condition="keypoints",
            target="realcompo.builtin.transfers:KeypointTransfer",
            options=KeypointTransferOptions,
            summary="a person is the min/max rectangle of the visible points",
        ),
        TransferSpec(
            id="core/segments",
            condition="segmentation",
            target="realcompo.builtin.transfers:SegmentTransfer",
            options=SegmentTransferOptions,
            summary="a segment is its min/max rectangle, or exactly its pixels",
        ),
        TransferSpec(
            id="core/hint",
            condition="hint",
            target="realcompo.builtin.transfers:HintTransfer",
            summary="the boxes beside a hint are its regions; without any it has none",
        ),
    ]


@hookimpl
def register_balancers() -> list[BalancerSpec]:
    return [
        BalancerSpec(
            id="core/balance",
            target=_BALANCE,
            options=BalanceOptions,
            summary="coefficients updated by the gradient of the attention loss (Eq. 7), on a prior, with a warm-up and a finish",
        ),
        BalancerSpec(
            id="core/paper",
            target=_BALANCE,
            options=BalanceOptions,
            defaults={"warmup": 0.4, "finish": 1.0, "inside": None, "outside": None},
            summary="the paper's settings: no prior, no finish, 20 of 50 steps spatial alone",
        ),
        BalancerSpec(
            id="core/published",
            target=_BALANCE,
            options=BalanceOptions,
            defaults={
                "warmup": 0.4,
                "finish": 1.0,
                "inside": None,
                "outside": None,
                "rule": "published",
                "rate": 1e6,
                "smoothing": 0.0,
                "initial": "independent",
            },
            summary="the published code's rate 1e6·√(1 → ½) and independent random starts (combine with probe options detach, unguided)",
        ),
        BalancerSpec(
            id="core/guided",
            target="realcompo.builtin.guided:Guided",
            options=GuidedOptions,
            summary="spatial branches first, then the fidelity branch, its latents moved by the gradient of its own attention loss",
        ),
        BalancerSpec(
            id="core/feedback",
            target="realcompo.builtin.feedback:Feedback",
            options=FeedbackOptions,
            summary="the phases of core/guided, each picture's ended by what its own maps say: moves go to pictures that do not stand yet",
        ),
        BalancerSpec(
            id="core/fixed",
            target="realcompo.builtin.fixed:Fixed",
            options=FixedOptions,
            summary="one weight for the spatial branches everywhere, all the time",
        ),
        BalancerSpec(
            id="core/mean",
            target="realcompo.builtin.fixed:Mean",
            options=MeanOptions,
            summary="equal weights after a warm-up: the paper's ablation",
        ),
        BalancerSpec(
            id="core/hand-over",
            target="realcompo.builtin.fixed:HandOver",
            options=HandOverOptions,
            summary="spatial branches first, the fidelity branch alone afterwards: the cheapest",
        ),
        BalancerSpec(
            id="core/expert-switching",
            target="realcompo.builtin.division:Switch",
            options=SwitchOptions,
            summary="expert switching (arXiv 2511.19434): the hand-over at a noise level in place of a share of the steps",
        ),
        BalancerSpec(
            id="core/fair-division",
            target="realcompo.builtin.division:FairDivision",
            options=DivisionOptions,
            summary="the division of Divide-and-Denoise (arXiv 2606.14756): pixels go to the branch whose words attend to them, in fair "
            "parts (combine with probe options lagged, detach)",
        ),
    ]


@hookimpl
def register_upscalers() -> list[UpscalerSpec]:
    return [
        UpscalerSpec(
            id="core/latent",
            target="realcompo.builtin.upscalers:Latent",
            options=LatentOptions,
            summary="interpolates the latents: quick, nothing is decoded",
        ),
        UpscalerSpec(
            id="core/lanczos",
            target="realcompo.builtin.upscalers:Lanczos",
            summary="decodes, resizes by Lanczos' kernel, encodes: sharper to begin with",
        ),
    ]
