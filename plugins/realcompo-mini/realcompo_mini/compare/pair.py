"""All pairs of the grown family, and the controls that each trained condition is held against; pairs.py draws them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realcompo_mini.compare.rows import FIRST, TUNED
from realcompo_mini.plugin import RECOMMENDED
from realcompo_mini.world import load_world

BASE = "mini/fidelity"
FIDELITIES = (BASE, "mini/tokencompose", "mini/coloring", "mini/cute")
SPATIALS = ("mini/boxes", "layguide/sd", "mini/pose", "mini/segmentation")
LOOKS = {"mini/coloring": "outline", "mini/cute": "cute"}
"""The look that a fidelity branch is for; 3D where nothing is said."""

CONTROLS = {
    "blank": "blank hint",
    "shuffled": "another scene's condition",
    "unguided": "loss scale 0",
    "words": "another style's words",
    "unsaid": "no trigger words",
}

OPTIONS: dict[str, Any] = dict(TUNED)
GUIDED = {**OPTIONS, "warmup": 0.1, "finish": 0.9}
"""Layout guidance has nothing to give before the other branch acts, and everything while it guides: a short warm-up, a long balance."""
STYLED: dict[str, Any] = {**OPTIONS, "finish": 0.6, "inside": [0.9, 0.1]}
"""A style needs more steps of its own: what a spatial branch paints early is of another look."""


@dataclass(frozen=True)
class Pair:
    """One row. `spatial` None: the fidelity branch alone; `control`: a key of `CONTROLS`, or nothing."""

    fidelity: str
    spatial: str | None = None
    control: str = ""

    @property
    def name(self) -> str:
        """As the table shows it."""
        parts = [one.split("/")[1] if one.startswith("mini/") else one.split("/")[0] for one in (self.fidelity, self.spatial) if one]
        text = " × ".join(parts) if self.spatial else f"{parts[0]} alone"
        return f"{text}, {CONTROLS[self.control]}" if self.control else text

    @property
    def slug(self) -> str:
        """As files are called."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def look(self) -> str:
        """The look that is wanted."""
        return LOOKS.get(self.fidelity, "3d")

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the balancer."""
        if self.fidelity in LOOKS:
            return STYLED
        return GUIDED if self.spatial == "layguide/sd" else OPTIONS

    def prompt(self) -> str | None:
        """The fidelity branch's prompt, where a control changes it."""
        if self.control == "unsaid":
            return "{prompt}"
        if self.control != "words":
            return None
        other = next(look for branch, look in LOOKS.items() if branch != self.fidelity)
        return next(words for words, look in load_world().styles.items() if look == other) + " {prompt}"

    def composer(
        self, balancer: str = "core/balance", options: Mapping[str, Any] | None = None, boxes: float = FIRST[BASE], **where: Any
    ) -> Any:
        """On the CPU, with the recommended number of steps, unless `where` says otherwise.

        Args:
            options: of the balancer; the pair's own, which were tuned for core/balance, if None.
            boxes: guidance scale of the boxes model.
        """
        import realcompo as rc

        entries = [rc.BranchEntry(name=self.fidelity, prompt=self.prompt(), guidance_scale=FIRST[BASE])]
        if self.spatial == "layguide/sd":
            told: dict[str, Any] = {"base": BASE}
            if self.control == "unguided":
                told["loss_scale"] = 0.0
            entries.append(rc.BranchEntry(name=self.spatial, guidance_scale=FIRST[BASE], options=told))
        elif self.spatial:
            scale = boxes if self.spatial == "mini/boxes" else FIRST[BASE]
            entries.append(rc.BranchEntry(name=self.spatial, guidance_scale=scale))
        told_balancer = {"balancer": balancer, "balancer_options": self.options if options is None else options}
        where = {"device": "cpu", "num_inference_steps": RECOMMENDED["num_inference_steps"], **where}
        made = rc.Composer(entries[0], entries[1:], **(told_balancer if self.spatial else {}), **where)
        if self.control == "blank":
            blank_hints(made)
        return made


def blank_hints(composer: Any) -> None:
    """Let the ControlNets of a composer see black, whatever its conditions say (regions and balance stay as they are)."""
    from PIL import Image

    for branch in composer.branches:
        if hasattr(branch, "hint"):
            branch.hint = lambda condition, size: Image.new("RGB", (size[1], size[0]))


PAIRS = (
    *(Pair(fidelity) for fidelity in FIDELITIES),
    *(Pair(fidelity, spatial) for fidelity in FIDELITIES for spatial in SPATIALS),
    Pair(BASE, "mini/boxes", "shuffled"),
    Pair(BASE, "layguide/sd", "unguided"),
    Pair(BASE, "mini/pose", "blank"),
    Pair(BASE, "mini/pose", "shuffled"),
    Pair(BASE, "mini/segmentation", "blank"),
    Pair(BASE, "mini/segmentation", "shuffled"),
    *(Pair(style, "mini/boxes", control) for style in LOOKS for control in ("words", "unsaid")),
)


def chosen(names: Sequence[str] | None) -> list[Pair]:
    """Pairs by name or slug; all if None.

    Raises:
        ValueError: an unknown one, with the list.
    """
    if not names:
        return list(PAIRS)
    table = {key: pair for pair in PAIRS for key in (pair.name, pair.slug)}
    unknown = [name for name in names if name not in table]
    if unknown:
        raise ValueError(f"no pair is called {unknown[0]!r}; pairs: {', '.join(pair.slug for pair in PAIRS)}")
    return [table[name] for name in names]
