"""Layouts from language: a planner for OpenAI and every server that speaks its protocol. Declaring it imports neither openai nor torch."""

from __future__ import annotations

from collections.abc import Iterable

from realcompo.hookspecs import hookimpl
from realcompo.specs import PlannerSpec

from .options import LLMOptions

REALCOMPO_API = 1


@hookimpl
def register_planners() -> Iterable[PlannerSpec]:
    """The planner that asks a language model."""
    yield PlannerSpec(
        id="openai/planner",
        summary="Asks a language model for boxes, poses or maps (OpenAI, or any server of its protocol) and checks each reply.",
        target="realcompo_openai.planner:LLMPlanner",
        options=LLMOptions,
        kinds=("boxes", "keypoints", "segmentation"),
    )
