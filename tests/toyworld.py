"""What tests share: toy composers in float64, a loss of finished latents, and the toys with one plugin more as all that is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import realcompo as rc
import realcompo.registry
from realcompo.compose.probe import placement_loss
from realcompo.draw import kept
from realcompo.testing.toys import toy_registry

TWO = rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9), "a dog": (0.5, 0.1, 0.9, 0.9)})
PROMPT = "a cat and a dog"


def toys(fidelity: Any = "toy/fidelity", spatial: Any = "toy/spatial", **settings: Any) -> rc.Composer:
    settings.setdefault("num_inference_steps", 10)
    settings.setdefault("dtype", "float64")
    settings.setdefault("balancer", "core/balance")
    settings.setdefault("device", "cpu")
    return rc.Composer(fidelity, spatial, registry=toy_registry(), **settings)


def final_loss(composer: rc.Composer, result: rc.Result) -> torch.Tensor:
    """(B,) placement loss of the finished latents, over all branches and regions."""
    z, regions = result.latents, result.batch_regions
    step = result.trace.entries[-1].step
    total = torch.zeros(z.shape[0], dtype=z.dtype)
    for branch in composer.branches:
        from realcompo.interfaces import Request

        b = z.shape[0]
        conditioning = branch.encode(Request(("x",) * b, ("",) * b, regions, (None,) * b, (z.shape[2] * 8, z.shape[3] * 8), 1.0))
        maps = branch.attend(z, step, conditioning)
        total += placement_loss(maps, regions.masks(*maps.shape[-2:]).to(maps), regions.present()).sum(dim=1)
    return total


@contextmanager
def toys_installed(name: str, plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Any]:
    """The registry of the toys and of `plugin`, whose ids begin with `name`, as the installed one; no user file; `folder` to work in."""
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    found = toy_registry(EntryPoint(name, plugin.__name__, "realcompo"))
    for module in (
        "realcompo.evaluation.study",
        "realcompo.draw.kept",
        "realcompo.draw.many.run",
        "realcompo.draw.many.work",
        "realcompo.draw.plan",
        "realcompo.draw.reproduce",
        "realcompo.recipes.configuration",
        "realcompo.compose.ensemble",
    ):
        monkeypatch.setattr(importlib.import_module(module), "installed", lambda: found)
    monkeypatch.setattr(realcompo.registry, "installed", lambda: found)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(folder / "none.toml"))
    monkeypatch.chdir(folder)
    yield found
    kept._kept = None
