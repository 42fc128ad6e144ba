"""Public suites, and the scorers that judge them. Data only: torch is imported when a scorer first scores."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import Column, ScorerSpec, SuiteSpec
from realcompo_suites.options import (
    AestheticOptions,
    ClipOptions,
    CocoOptions,
    CompBenchOptions,
    DetectorOptions,
    FileOptions,
    GenEvalOptions,
    GenEvalScorerOptions,
    InceptionOptions,
    LayoutOptions,
)

REALCOMPO_API = 1


@hookimpl
def register_suites() -> Iterable[SuiteSpec]:
    """Each from files that the user has."""
    yield SuiteSpec(
        id="suites/t2i-compbench",
        summary="T2I-CompBench: its prompt files in, its folders out, for its own scorers.",
        target="realcompo_suites.compbench:CompBench",
        options=CompBenchOptions,
        licence="MIT (prompts)",
    )
    yield SuiteSpec(
        id="suites/geneval",
        summary="GenEval: its metadata file in, its folders out.",
        target="realcompo_suites.geneval:GenEval",
        options=GenEvalOptions,
        licence="MIT (prompts)",
    )
    yield SuiteSpec(
        id="suites/coco",
        summary="Boxes of COCO's annotations, with sentences that name them.",
        target="realcompo_suites.coco:CocoBoxes",
        options=CocoOptions,
        licence="CC BY 4.0 (annotations)",
    )
    yield SuiteSpec(
        id="suites/layouts",
        summary="Any file of layouts that `realcompo import` reads.",
        target="realcompo_suites.layouts:LayoutFile",
        options=LayoutOptions,
    )


@hookimpl
def register_scorers() -> Iterable[ScorerSpec]:
    """By models of the user's, by hub id or folder, or by files of the suite's own programs."""
    yield ScorerSpec(
        id="suites/compbench-files",
        summary="What T2I-CompBench's own scorers wrote beside the pictures.",
        target="realcompo_suites.compbench:CompBenchFiles",
        options=FileOptions,
        columns=(Column(name="score", title="score", top="score"),),
    )
    yield ScorerSpec(
        id="suites/geneval-objects",
        summary="GenEval's questions, by any object detector of transformers, and colours by CLIP.",
        target="realcompo_suites.geneval:GenEvalObjects",
        options=GenEvalScorerOptions,
        columns=(Column(name="overall", title="overall", whole=True), Column(name="correct", title="correct pictures", top="correct")),
        reads=("truth",),
    )
    yield ScorerSpec(
        id="suites/boxes",
        summary="Objects in their boxes, by any object detector of transformers: in-box rate, mean IoU, AP.",
        target="realcompo_suites.boxes:BoxScorer",
        options=DetectorOptions,
        columns=(
            Column(name="in_box", title="in box", top="in_box", bottom="objects"),
            Column(name="miou", title="mIoU", top="iou", bottom="objects"),
            Column(name="all", title="all in box", top="all", bottom="judged"),
            Column(name="ap", title="AP", whole=True),
            Column(name="ap50", title="AP50", whole=True),
        ),
        reads=("conditions",),
    )
    yield ScorerSpec(
        id="suites/clip",
        summary="CLIP score: cosine of picture and prompt.",
        target="realcompo_suites.clip:ClipScore",
        options=ClipOptions,
        columns=(Column(name="clip", title="CLIP score", top="clip"),),
        reads=("prompt",),
    )
    yield ScorerSpec(
        id="suites/aesthetic",
        summary="LAION's aesthetic predictor: linear layers on CLIP's picture embedding.",
        target="realcompo_suites.clip:Aesthetic",
        options=AestheticOptions,
        columns=(Column(name="aesthetic", title="aesthetic", top="aesthetic"),),
    )
    yield ScorerSpec(
        id="suites/fid",
        summary="FID and KID to a folder of pictures, by torch-fidelity's Inception.",
        target="realcompo_suites.inception:Inception",
        options=InceptionOptions,
        columns=(Column(name="fid", title="FID", less=True, whole=True), Column(name="kid", title="KID", less=True, whole=True)),
        requires=("realcompo-suites[fid]",),
    )
