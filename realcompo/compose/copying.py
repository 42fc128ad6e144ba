"""Copies of a composer: in memory they share what is never changed, and a pickle holds what the composer was made of, no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ..errors import BadOption
from ..recipes.recipe import Component
from ..registry import installed


class Copied:
    """How `copy.copy`, `copy.deepcopy` and `pickle` treat a composer.

    A copy shares the loaded branches. A deep copy loads its own when it draws, so that it may move to another device (networks of one
    checkpoint on one device are one in memory); pipelines and branches that the caller brought stay the caller's. A pickle is read by a
    composer that loads its weights anew.
    """

    def __copy__(self) -> Self:
        return self._copied({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self)] = made = self._copied({"_branches": None, "_planner": None})
        return made

    def _copied(self, changed: Mapping[str, Any]) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__ | dict(changed))
        for name, value in made.__dict__.items():
            if isinstance(value, (list, dict)):
                made.__dict__[name] = value.copy()
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self._told())

    def _told(self) -> dict[str, Any]:
        """The arguments that make it again.

        Raises:
            BadOption: it holds what is in this process alone.
        """
        me: Any = self
        held = [f"the {type(m.ready).__name__} {m.name!r}" for m in me.members if m.ready is not None]
        held += [
            f"a {type(m.source).__name__}" for m in me.members if m.ready is None and not isinstance(m.source, (str, Path, type(None)))
        ]
        held += ["a registry of its own"] if me.registry is not installed() else []
        if held:
            raise BadOption(
                f"a composer that holds {held[0]} cannot be pickled",
                mend="name branches by id and source (a folder, file or hub id), or send a recipe: composer.recipe(pictures).plain()",
            )
        named = me._balancer_name in me.registry.balancers
        height, width = me.size
        return {
            "fidelity": me.members[0].entry,
            "spatial": [m.entry for m in me.members[1:]],
            "balancer": Component(name=me._balancer_name, options=me.balancer.options.model_dump(mode="json")) if named else me.balancer,
            "probe": me.probe,
            "guidance": me.guidance,
            "scheduler": me.scheduler,
            "scheduler_options": me.scheduler_options,
            "noise_range": me.noise_range,
            "num_inference_steps": me.num_inference_steps,
            "height": height,
            "width": width,
            "planner": me.planner,
            "hires": me.hires,
            "candidates": me.candidates,
            "device": str(me.device),
            "dtype": str(me.dtype).removeprefix("torch."),
            "offload": me.offload,
            "runtime": me.runtime,
        }


def _made(cls: type[Any], told: dict[str, Any]) -> Any:
    return cls(**told)
