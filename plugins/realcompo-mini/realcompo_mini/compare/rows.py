"""The rows of the comparison: which branches, which balancer, which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIDELITY, BOXES = "mini/fidelity", "mini/boxes"
GUIDANCE = {FIDELITY: 4.0, BOXES: 2.0}
"""Each branch at the scale that it likes best, found on the tuning split."""

STEPS = 20


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the table shows it; the key of its records.
        spatial: False draws with the fidelity branch alone.
        balancer, options, probe: of the composer.
        guidance: branch → scale.
    """

    name: str
    balancer: str = "core/fixed"
    options: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    spatial: bool = True
    guidance: Mapping[str, float] = field(default_factory=lambda: GUIDANCE)
    steps: int = STEPS

    def composer(self, **where: Any) -> Any:
        """The composer of this row, on the CPU unless `where` says otherwise."""
        import realcompo as rc

        branches = [rc.BranchEntry(name=name, guidance_scale=self.guidance[name]) for name in (FIDELITY, BOXES)]
        return rc.Composer(
            branches[0],
            branches[1:] if self.spatial else [],
            balancer=self.balancer,
            balancer_options=self.options,
            probe=self.probe,
            num_inference_steps=self.steps,
            **{"device": "cpu", **where},
        )


PRIOR = {"warmup": 0.3, "finish": 0.7, "inside": (0.8, 0.0), "outside": (0.8, 0.0)}
SPLIT_PRIOR = {"warmup": 0.3, "finish": 1.0, "inside": (0.9, 0.5), "outside": (0.7, 0.1)}

ROWS = (
    Row("fidelity alone", spatial=False),
    Row("boxes alone", options={"spatial": 1.0}),
    Row("mean of both", "core/mean"),
    Row("mean, warm-up 0.3", "core/mean", {"warmup": 0.3}),
    *(Row(f"hand-over at {share}", "core/hand-over", {"share": share}) for share in (0.3, 0.4, 0.5, 0.6, 0.7)),
    Row("the paper's balance", "core/paper"),
    Row("the paper's balance, warm-up 0.3", "core/paper", {"warmup": 0.3}),
    Row("prior inside and outside", "core/balance", {**SPLIT_PRIOR, "rate": 0.0}),
    Row("prior inside and outside + gradient", "core/balance", {**SPLIT_PRIOR, "rate": 0.1}),
    Row("prior and finish", "core/balance", {**PRIOR, "rate": 0.0}),
    Row("prior and finish + gradient", "core/balance", {**PRIOR, "rate": 0.1}),
    Row("control: prior and finish, rate −0.1", "core/balance", {**PRIOR, "rate": -0.1}),
)


def chosen(names: list[str] | None) -> list[Row]:
    """Rows by name; all if None.

    Raises:
        KeyError: an unknown name, with the list.
    """
    if not names:
        return list(ROWS)
    table = {row.name: row for row in ROWS}
    unknown = [name for name in names if name not in table]
    if unknown:
        raise KeyError(f"no row is called {unknown[0]!r}; rows: {', '.join(table)}")
    return [table[name] for name in names]
