"""The rows of the comparison: which branches, which balancer, which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realcompo.recipes.recipe import DEFAULT_BALANCER, BranchEntry, Component, ProbeOptions, Recipe
from realcompo_mini.plugin import GUIDANCE, RECOMMENDED

FIDELITY, BOXES = "mini/fidelity", "mini/boxes"
STEPS = RECOMMENDED["num_inference_steps"]
FIRST = {FIDELITY: 4.0, BOXES: 4.0}
"""Guidance scales of the rows and of the tuning, unless they say others: what both parents alone like best."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the table shows it; the key of its records.
        spatial: False draws with the fidelity branch alone.
        balancer, options, probe: of the composer.
        guidance: branch → scale.
        steps: denoising steps.
        divisor: maps are read at 16 / divisor latent pixels a side.
        fidelity: the fidelity branch.
        other: the spatial branch.
        deep: deep features of both are kept for so many steps.
        run: more of the composer's settings: guidance, scheduler.
        shuffled: each scene is told the boxes of the next one: a control.
    """

    name: str
    balancer: str = "core/fixed"
    options: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    spatial: bool = True
    guidance: Mapping[str, float] = field(default_factory=lambda: FIRST)
    steps: int = STEPS
    divisor: int = 2
    other: str = BOXES
    deep: int = 1
    run: Mapping[str, Any] = field(default_factory=dict)
    fidelity: str = FIDELITY
    shuffled: bool = False

    def recipe(self, **where: Any) -> Recipe:
        """What draws this row, on the CPU unless `where` says otherwise."""
        options = {"map_divisor": self.divisor, "deep_every": self.deep}
        told = options if self.fidelity == FIDELITY else {}  # a transformer has no maps to shrink and no deep blocks to keep
        branches = [BranchEntry(name=self.fidelity, guidance_scale=self.guidance[FIDELITY], options=told)]
        if self.spatial and self.other == BOXES:
            branches.append(BranchEntry(name=BOXES, guidance_scale=self.guidance[BOXES], options=options))
        elif self.spatial:  # layout guidance, on the fidelity branch's network
            told = {"base": FIDELITY, "base_options": {"deep_every": self.deep}}
            branches.append(BranchEntry(name=self.other, guidance_scale=self.guidance[FIDELITY], options=told))
        return Recipe(
            branches=tuple(branches),
            balancer=Component(name=self.balancer, options=dict(self.options)),
            probe=ProbeOptions(**self.probe),
            num_inference_steps=self.steps,
            **{"device": "cpu", **self.run, **where},
        )

    def composer(self, **where: Any) -> Any:
        """The composer of this row."""
        import realcompo as rc

        return rc.Composer.from_recipe(self.recipe(**where))


DEFAULT, NO_MOVES = "RealCompo, the default", "the default without moves"
"""The default without options, each branch at its recommended guidance scale, and the same hand-over without moves."""
LAGGED = "the default, lagged"
"""Its moves down the slopes of passes that predict anyway: a cheap form."""
SHORT = "the default, 12 steps"
"""For no more F than a plain hand-over of 20 steps."""
CHOSEN = "the default, 16 steps, the best placed of 2 noises"
"""About as many F, spent on another noise in place of four steps."""
BEFORE, CHEAP, BACKWARD = "boxes guidance 4", "boxes guidance 4, 8 moves for 12", "control: boxes guidance 4, its moves backwards"
"""The same balancer where the boxes model has the scale that it likes alone (the default until its scale was 3), and its control."""
BALANCE, PRIOR_ALONE, CONTROL = "the balance of ξ, tuned", "its prior alone, no gradient", "control: its rate negated"

TUNED: dict[str, Any] = {"warmup": 0.0, "finish": 0.8, "inside": [0.9, 0.2], "outside": [0.3, 0.0], "rate": 0.4, "rule": "running"}
"""The best balance of ξ on the tuning split: no warm-up, a prior that hands the boxes over from the layout model to the fidelity model, a
gradient that is felt, and the last fifth for the fidelity model alone."""


def _balance(name: str, sign: float) -> Row:
    """The tuned balance, its rate times `sign`."""
    return Row(name, "core/balance", {**TUNED, "rate": sign * TUNED["rate"]})


ROWS = (
    Row("fidelity alone", spatial=False),
    Row("boxes alone", options={"spatial": 1.0}),
    Row("mean of both", "core/mean"),
    Row("mean, warm-up 0.3", "core/mean", {"warmup": 0.3}),
    *(Row(f"hand-over at {share}", "core/hand-over", {"share": share}) for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
    Row("the paper's balance", "core/paper"),
    _balance(PRIOR_ALONE, 0.0),
    _balance(BALANCE, 1.0),
    _balance(CONTROL, -1.0),
    Row(DEFAULT, DEFAULT_BALANCER, guidance=GUIDANCE),
    Row(LAGGED, DEFAULT_BALANCER, {"lagged": True}, guidance=GUIDANCE),
    Row(SHORT, DEFAULT_BALANCER, guidance=GUIDANCE, steps=12),
    Row(CHOSEN, DEFAULT_BALANCER, guidance=GUIDANCE, steps=16, run={"candidates": 2}),
    Row(NO_MOVES, "core/hand-over", {"share": 0.3}, guidance=GUIDANCE),
    Row(BEFORE, DEFAULT_BALANCER),
    Row(CHEAP, DEFAULT_BALANCER, {"moves": 8}),
    Row(BACKWARD, DEFAULT_BALANCER, {"length": -0.03}),
)

FLOW = "mini/flow"
FLOW_ALONE, FLOW_DEFAULT, FLOW_STILL = "flow alone", "flow × boxes, the default", "flow × boxes, hand-over at 0.3"
FLOW_MEAN, FLOW_BACKWARD, FLOW_SHUFFLED = "flow × boxes, mean", "flow × boxes, moves backwards", "flow × boxes, another scene's boxes"
FLOW_ROWS = (
    Row(FLOW_ALONE, spatial=False, fidelity=FLOW),
    Row(FLOW_MEAN, "core/mean", fidelity=FLOW),
    Row(FLOW_STILL, "core/hand-over", {"share": 0.3}, fidelity=FLOW),
    Row(FLOW_DEFAULT, DEFAULT_BALANCER, fidelity=FLOW),
    Row(FLOW_BACKWARD, DEFAULT_BALANCER, {"length": -0.03}, fidelity=FLOW),
    Row(FLOW_SHUFFLED, DEFAULT_BALANCER, fidelity=FLOW, shuffled=True),
)
"""Another architecture and process beside the same boxes model, its scenes and noises; kept in a folder of their own (`flow`)."""
