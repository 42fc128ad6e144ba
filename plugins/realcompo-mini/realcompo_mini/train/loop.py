"""The loop around every stage: rate, step, log, check, checkpoint, sheet; stopped at any moment, it goes on where it was.

A stage says what it trains and how (`Course`); `run` does the rest.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realcompo_mini.train.common import Average, Settings, cosine, load_checkpoint, save_checkpoint, sheet, start_log
from realcompo_mini.train.data import batches

SAVE, DRAW, LOG = 150, 1200, 25  # seconds between checkpoints and between sheets; steps between lines of the log


class Course(ABC):
    """What a stage trains. Only parameters that require a gradient (and buffers) are trained, saved and resumed.

    Attributes:
        name: of the stage and its folder.
        model: the network in training.
        count: how many samples there are: `loss` is given numbers below it.
        total, batch, peak: steps, samples a step, highest learning rate. The command line may replace the first two.
        check: steps between two lines of `checked`.
        decay: of the running average.
        clip: the largest norm of a step's gradient.
    """

    name: str
    model: nn.Module
    count: int
    total: int
    batch: int = 32
    peak: float = 1e-3
    check: int = 200
    decay: float = 0.999
    clip: float = 1.0

    def groups(self) -> list[dict[str, Any]]:
        """Parameters, each with the `share` of the learning rate that it has."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "share": 1.0}]

    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return cosine(step, total, self.peak)

    @abstractmethod
    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        """The loss of a batch of samples, in ascending order; with a graph."""

    def checked(self) -> str:
        """Progress on held-out scenes, as the log says it; with the pair of numbers that shows whether a condition is learnt."""
        return ""

    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any] | None:
        """A sheet, (N, H, W, 3) uint8, drawn with the running average."""
        return None

    def finished(self, average: nn.Module) -> None:  # noqa: B027 (most have nothing more to do)
        """After the last step."""


def trained(model: nn.Module, names: set[str]) -> dict[str, Tensor]:
    """The part of a state that training changes."""
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}


def changing(model: nn.Module) -> set[str]:
    """Names of trainable parameters and of the buffers that a state holds."""
    kept = {name for name, _ in model.named_buffers()} & set(model.state_dict())
    return {name for name, p in model.named_parameters() if p.requires_grad} | kept


def resume(path: Any, model: nn.Module, average: Average, optimizer: torch.optim.Optimizer) -> int:
    """The step that a checkpoint was written after; 0 where there is none."""
    state = load_checkpoint(path)
    if not state:
        return 0
    for network, part in ((model, state["model"]), (average.module, state["average"])):
        _, unexpected = network.load_state_dict(part, strict=False)
        if unexpected or changing(model) - set(part):
            raise RuntimeError(f"{path} is of another network: begin in an empty folder, or give the options that it was begun with")
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def run(course: Course, settings: Settings) -> bool:
    """Train, or go on; True once all steps are done."""
    folder, total = settings.out / course.name, settings.steps or course.total
    course.batch = settings.batch or course.batch
    log = start_log(folder, course.name)
    model, names = course.model.train(), changing(course.model)
    average = Average(model, course.decay)
    optimizer = torch.optim.AdamW(course.groups(), lr=course.peak, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    step = resume(folder / "checkpoint.pt", model, average, optimizer)
    log.info("%d parameters in training; going on from step %d", sum(p.numel() for p in model.parameters() if p.requires_grad), step)

    def save() -> None:
        save_checkpoint(
            folder / "checkpoint.pt",
            model=trained(model, names),
            average=trained(average.module, names),
            optimizer=optimizer.state_dict(),
            step=step,
            batch=course.batch,
        )

    begin = saved = drawn = time.time()
    recent = (step, begin)
    losses: list[float] = []
    ended = step >= total
    for index in batches(course.count, course.batch, settings.seed, step):
        if step >= total:
            break
        torch.manual_seed(settings.seed * 1_000_003 + step)  # each step its own, or where one stopped would decide the noise
        for group in optimizer.param_groups:
            group["lr"] = course.rate(step, total) * group.get("share", 1.0)
        loss = course.loss(np.sort(index), step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], course.clip)
        optimizer.step()
        average.update(model, step)
        _copy_buffers(average.module, model)
        step += 1
        losses.append(float(loss.detach()))
        now = time.time()
        if step % LOG == 0:
            speed = (step - recent[0]) * course.batch / (now - recent[1])
            recent = (step, now)
            left = (total - step) * course.batch / speed / 60
            log.info("step %d/%d loss %.4f, %.1f samples a second, %.0f min left", step, total, np.mean(losses[-200:]), speed, left)
        if step % course.check == 0 or step == total:
            _say(course, log, step)
        over = now - begin > settings.minutes * 60
        if now - saved > SAVE or step == total or over:
            save()
            saved = now
        if now - drawn > DRAW or step == total:
            if (pictures := course.drawn(average.module)) is not None:
                sheet(pictures, folder / f"sheet-{step:06d}.png", 8)
            drawn = time.time()
        if over and step < total:
            return False
    if not ended:
        course.finished(average.module)
    return True


def _say(course: Course, log: logging.Logger, step: int) -> None:
    course.model.eval()
    with torch.no_grad():
        said = course.checked()
    course.model.train()
    if said:
        log.info("step %d: %s", step, said)


@torch.no_grad()
def _copy_buffers(average: nn.Module, model: nn.Module) -> None:
    """Statistics of a normalisation are averages already."""
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)
