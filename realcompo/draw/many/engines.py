"""Engines by name: this process, workers of this machine, and what other distributions bring (entry points ``realcompo.engines``)."""

from __future__ import annotations

import importlib.metadata
import os
from typing import TYPE_CHECKING

from ...errors import PluginProblem, UnknownName, nearest
from ...interfaces.engine import Crew, Engine
from .here import Here
from .workers import Workers

if TYPE_CHECKING:
    from ...compose.composer import Progress

GROUP = "realcompo.engines"
OWN = ("ray",)
"""Engines of the core beside this process and its workers."""


def engine_of(name: str | None, crew: Crew | None, device: str | None = None, progress: Progress | None = None) -> Engine:
    """The engine of a name; without one: this process, or workers where a crew is asked for.

    Args:
        crew: None where no number of workers was given.
        device: of the recipe; "cuda" spreads workers over the GPUs that there are.

    Raises:
        UnknownName: there is none. PluginProblem: it does not load, or two distributions claim it.
    """
    if name is None:
        return Here(Crew(), progress) if crew is None else Workers(crew, gpus(device))
    if name in OWN:
        from .on_ray import OnRay

        return OnRay(crew or Crew())
    points = {point.value: point for point in importlib.metadata.entry_points(group=GROUP, name=name)}
    where = f"--on {name}"
    if not points:
        known = {*OWN, *importlib.metadata.entry_points(group=GROUP).names}
        raise UnknownName("there is no such engine", where=where, mend=nearest(name, known))
    if len(points) > 1:
        raise PluginProblem(f"the engine is claimed by {', '.join(sorted(points))}", where=where, mend="uninstall all but one of them")
    ((value, point),) = points.items()
    try:
        made: Engine = point.load()(crew or Crew())
    except ImportError as error:
        raise PluginProblem(f"{value} cannot be loaded: {error}", where=where, mend="install it again with what it needs") from None
    return made


def gpus(device: str | None) -> tuple[str, ...]:
    """The GPUs that workers are spread over, as CUDA_VISIBLE_DEVICES names them; none where the recipe draws on a CPU, or on one of them by
    its number."""
    if device not in (None, "cuda"):
        return ()
    from ...noise.devices import cuda_devices, default_device

    if default_device(device).type != "cuda":
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return tuple(one.strip() for one in named.split(",") if one.strip())
    return tuple(str(number) for number in range(cuda_devices()))
