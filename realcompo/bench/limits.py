"""What is promised of a recipe's cost, measured: `realcompo bench sd15-gligen --limits`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import BadOption, Remark
from ..noise.diffusion import SCHEDULERS
from ..pictures.trace import Cost
from ..recipes.recipe import DEFAULT_BALANCER, Recipe
from . import published
from .measuring import Measured, draw, measure, weigh
from .pairing import Spread, alternate
from .peer import Peer
from .subjects import Subject

BALANCED = {"name": "core/balance", "options": {"warmup": 0.0, "finish": 1.0}}
"""All branches act at every step, and each step is probed."""
FEW = 2
"""Steps of a run of which only the work of a step is asked, which is the same at all."""
LAGGED: Mapping[str, Mapping[str, Any]] = {"probe": {"lagged": True}}
"""Tables of a recipe: the maps of the pass that predicts anyway."""
SHARED: Mapping[str, Mapping[str, Any]] = {**LAGGED, "guidance": {"unconditional": "shared"}}
"""And one unconditional pass for all branches."""


@dataclass(frozen=True)
class Verdict:
    """A limit and what was measured.

    Attributes:
        name: by which a `SyntheticSpec` can change it.
        what: in words.
        limit: the most allowed; the least where `least`.
        found: the figure; None where it could not be measured, and `note` says why.
        spread: of a figure that differs from run to run.
    """

    name: str
    what: str
    limit: float
    found: float | None = None
    least: bool = False
    unit: str = ""
    spread: Spread | None = None
    note: str = ""

    @property
    def state(self) -> str:
        """ "met", "not met", "within noise" where the median is over and the interval reaches the limit, or "not measured"."""
        if self.found is None:
            return "not measured"
        if self.found >= self.limit if self.least else self.found <= self.limit:
            return "met"
        edge = None if self.spread is None else (self.spread.high if self.least else self.spread.low)
        near = edge is not None and (edge >= self.limit if self.least else edge <= self.limit)
        return "within noise" if near else "not met"

    def told(self) -> dict[str, Any]:
        """For a record."""
        return {
            "name": self.name,
            "what": self.what,
            "limit": self.limit,
            "at_least": self.least,
            "found": self.found,
            "unit": self.unit,
            "spread": None if self.spread is None else self.spread.told(),
            "state": self.state,
            "note": self.note,
        }


def lacking(tables: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first key of tables of a recipe that this version does not have."""
    for name, table in tables.items():
        model: Any = Recipe.model_fields[name].annotation if name in Recipe.model_fields else None
        for key in table:
            if model is None or key not in model.model_fields:
                return f"{name}.{key}"
    return None


@dataclass
class Limits:
    """Measures each limit of a subject that has a spatial branch, or of one that has none.

    Args:
        pairs: draws of either side where two are timed in turn.
        steps: of those draws.
        say: is told what is about to be measured.
    """

    subject: Subject
    pairs: int = 6
    steps: int = 3
    say: Callable[[str], None] = lambda _: None
    measured: dict[str, Any] = field(default_factory=dict)
    _costs: dict[str, Cost] = field(default_factory=dict)

    def all(self) -> list[Verdict]:
        """Every limit that is asked of the subject."""
        spec = None if self.subject.made is None else self.subject.made.spec
        changed = {} if spec is None else spec.limits
        balanced = len(self.subject.composer.members) > 1
        wanted: dict[str, tuple[float, Callable[[float], Verdict]]] = {}
        if balanced:
            wanted |= {
                "published": (7.5, self.published),
                "exact": (1.6, self.exact),
                "lagged": (1.35, self.lagged),
                "shared": (1.05, self.shared),
                "memory": (1.25, self.memory),
            }
        wanted |= {"own": (0.02, self.own)}
        if spec is not None and spec.pipeline is not None:
            wanted |= {"alone": (1.02, self.alone)}
        unknown = sorted(changed.keys() - {*wanted, "published", "exact", "lagged", "shared", "memory", "alone"})
        if unknown:
            raise BadOption(f"{self.subject.label} changes a limit that is none: {unknown[0]}", mend=f"the limits are {', '.join(wanted)}")
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Remark)  # of runs of two steps: nobody looks at their pictures
            for name, (limit, measured) in wanted.items():
                figure = changed.get(name, limit)
                if figure is not None:
                    self.say(name)
                    found.append(measured(figure))
        return found

    # -- F ----------------------------------------------------------------------------------------------------------------

    @cached_property
    def default(self) -> Measured:
        """The default balancer at the recipe's own steps, drawn once."""
        plain = self.subject.changed("default", {"balancer": {"name": DEFAULT_BALANCER}, "probe": {}})
        return measure(plain, 1, memory=False, warmed=self.subject.composer.device.type == "cuda")

    @cached_property
    def both(self) -> float:
        """F of a guided step of all branches together."""
        return self._probed({}).by_kind()["predict"] / FEW

    def _probed(self, tables: Mapping[str, Any]) -> Cost:
        key = repr(tables)
        if key not in self._costs:
            change = {"probe": {}, **tables, "balancer": BALANCED, "num_inference_steps": FEW}
            self._costs[key] = draw(self.subject.changed("balanced", change), parts=False, latents=True).result.cost
        return self._costs[key]

    def published(self, limit: float) -> Verdict:
        """The published algorithm's 50 steps by the default at the recipe's own."""
        cost = self.default.cost
        told = published.counted(self.subject, cost.unit)
        self.measured["published"] = {**told, "default_f": cost.sampling}
        steps = self.subject.composer.num_inference_steps
        what = f"F of the published algorithm ({published.STEPS} steps) by the default's ({steps} steps)"
        note = f"{told['sampling_f']:.0f} F by {cost.sampling:.1f} F; each of the {published.STEPS} steps does the same, one was counted"
        return Verdict("published", what, limit, told["sampling_f"] / cost.sampling, least=True, unit="×", note=note)

    def exact(self, limit: float) -> Verdict:
        """A balanced step with its probe by all branches' guided predictions."""
        return self._step("exact", "F of an exactly balanced step", limit, {})

    def lagged(self, limit: float) -> Verdict:
        """The same with the maps of the pass that predicts."""
        return self._step("lagged", "F of a step balanced by lagged maps", limit, LAGGED)

    def shared(self, limit: float) -> Verdict:
        """The same with one unconditional pass."""
        return self._step("shared", "the same with one shared unconditional pass", limit, SHARED)

    def _step(self, name: str, what: str, limit: float, tables: Mapping[str, Any]) -> Verdict:
        what += " by the branches' own guided steps together"
        absent = lacking(tables)
        if absent is not None:
            return Verdict(name, what, limit, unit="×", note=f"this version has no option {absent}")
        found = self._probed(tables).sampling / FEW
        return Verdict(name, what, limit, found / self.both, unit="×", note=f"{found:.2f} F by {self.both:.2f} F")

    # -- seconds and bytes ------------------------------------------------------------------------------------------------

    def own(self, limit: float) -> Verdict:
        """The framework's own share of a draw, by the default or, of a fidelity branch alone, by itself."""
        return Verdict("own", "the framework's own share of a draw's time", limit, self.default.own)

    def memory(self, limit: float) -> Verdict:
        """The most that a run with a probe, or with moves, holds, by the most that one holds in which all branches only predict."""
        few = {"num_inference_steps": FEW, "probe": {}}
        runs = {
            "two models": {**few, "balancer": {"name": "core/mean"}},
            "probe": {**few, "balancer": BALANCED},
            "move": {**few, "balancer": {"name": "core/guided", "options": {"plant": 0.0, "until": 1.0, "moves": FEW, "threshold": 0.0}}},
        }
        peaks = {name: weigh(self.subject.changed(name, change), latents=True) for name, change in runs.items()}
        self.measured["memory"] = {name: peak.told() for name, peak in peaks.items()}
        base = peaks["two models"].most
        shares = {name: peak.most / base for name, peak in peaks.items() if name != "two models"}
        note = f"probe {shares['probe']:.3f}, move {shares['move']:.3f} of {base / 1e9:.3g} GB: {peaks['probe'].how}; nothing decoded"
        return Verdict(
            "memory", "memory of a run with a probe or moves by one that only predicts", limit, max(shares.values()), unit="×", note=note
        )

    def alone(self, limit: float) -> Verdict:
        """A step of our fidelity branch alone by a step of diffusers' own pipeline, timed in turn with the same networks."""
        peer = Peer(self.subject)
        scheduler = {"scheduler": "ddim"} if self.subject.composer.scheduler not in SCHEDULERS else {}
        alone = self.subject.changed("alone", {"num_inference_steps": self.steps, **scheduler}, spatial=False)

        def ours() -> float:
            return draw(alone, parts=False, latents=True).step

        ours(), peer.step(self.steps)
        a, b, ratio = alternate(ours, lambda: peer.step(self.steps), self.pairs)
        self.measured["alone"] = {"ours_s": a, "pipeline_s": b, "pipeline": peer.name, "steps": self.steps}
        what = f"a step of our branch alone by a step of {peer.name}"
        note = f"{len(a)} pairs of {self.steps} steps in turn; the first step of each draw is left out"
        return Verdict("alone", what, limit, ratio.median, unit="×", spread=ratio, note=note)
