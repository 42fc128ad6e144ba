"""diffusers' own pipeline of the same networks, timed beside our fidelity branch."""

from __future__ import annotations

import inspect
import time
from statistics import median
from typing import Any

import torch

from ..errors import BadOption
from .clock import wait
from .subjects import Subject, quiet


class Peer:
    """The pipeline of a subject's fidelity branch, by the class that its spec names.

    Raises:
        BadOption: the subject has no random networks, or its spec names no pipeline.
    """

    def __init__(self, subject: Subject) -> None:
        import diffusers

        if subject.made is None or subject.made.spec.pipeline is None:
            raise BadOption(f"{subject.label} names no pipeline to be timed beside", where="--limits", mend="name random networks")
        self.subject, self.name = subject, subject.made.spec.pipeline
        composer = subject.composer
        branch: Any = composer.branches[0]
        cls: Any = getattr(diffusers, self.name)
        wanted = inspect.signature(cls.__init__).parameters
        folder = branch.checkpoint.folder
        solver = composer._solver(composer.num_inference_steps)
        parts: dict[str, Any] = {name: network for name, network in branch.networks().items() if name in wanted}
        with quiet():
            from transformers import AutoTokenizer

            parts |= {name: AutoTokenizer.from_pretrained(str(folder / name)) for name in wanted if name.startswith("tokenizer")}
        parts["scheduler"] = type(solver.scheduler).from_config(solver.scheduler.config)
        absent = ("safety_checker", "feature_extractor", "image_encoder")
        parts |= {name: None for name in absent if name in wanted}
        if "requires_safety_checker" in wanted:
            parts["requires_safety_checker"] = False
        with quiet():
            self.pipeline = cls(**parts)
        self.pipeline.set_progress_bar_config(disable=True)
        self.prompts = [one.prompt for one in subject.pictures]
        self.guidance = composer.members[0].guidance_scale

    def step(self, steps: int) -> float:
        """The median seconds of a step after the first; of one step, that one."""
        composer = self.subject.composer
        height, width = composer.size
        spans: list[float] = []
        last = 0.0

        def mark(pipeline: Any, index: int, timestep: Any, told: dict[str, Any]) -> dict[str, Any]:
            nonlocal last
            wait(composer.device)
            now = time.perf_counter()
            spans.append(now - last)
            last = time.perf_counter()
            return told

        wait(composer.device)
        last = time.perf_counter()
        self.pipeline(
            self.prompts,
            height=height,
            width=width,
            num_inference_steps=steps,
            guidance_scale=self.guidance,
            generator=[torch.Generator().manual_seed(one.seed or 0) for one in self.subject.pictures],
            output_type="latent",
            callback_on_step_end=mark,
        )
        return median(spans[1:] or spans)
