"""What each cheaper form costs, in F, on the mini family and on SD 1.5 with GLIGEN at 512 × 512.

``python -m tools.forms`` writes the tables of docs/algorithm.md between their marks.

A network is measured in pieces (a row, a row that reads maps, the way back, a row without its deep blocks …); the balancers themselves say
which of them a step takes. SD 1.5's networks lie on torch's device "meta", which computes shapes alone: no weights, no arithmetic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from realcompo.compose.cost import OperationCount
from realcompo.compose.guidance import acts
from realcompo.compose.probe import placement_slope, slope_of_maps
from realcompo.files import made_between
from realcompo.interfaces import Regions, Request, Setting, Step
from realcompo.noise.diffusion import Solver
from realcompo.recipes.recipe import GuidanceOptions, ProbeOptions
from realcompo.registry import Registry, installed

STEPS = 20
PAGE = Path(__file__).parent.parent / "docs" / "algorithm.md"
MARKS = ("<!-- forms: made by python -m tools.forms -->", "<!-- end of forms -->")


@dataclass(frozen=True)
class Pieces:
    """Operations of one branch for one picture.

    Attributes:
        row, shallow: of a forward pass, whole or with its deep features at hand.
        reading, back: of a conditional row that reads maps besides, and the way back of their loss.
        probe: maps alone, as a probe or a move asks for them, there and back.
        keys: keys and values that cross-attention makes of the text, a part of `row`.
    """

    row: float
    shallow: float
    reading: float
    back: float
    probe: float
    keys: float


@dataclass(frozen=True)
class Form:
    """A run of `STEPS` steps: a balancer's id and options, and options of the run."""

    name: str
    balancer: str = "core/guided"
    options: Mapping[str, Any] = field(default_factory=dict)
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    deep: int = 1
    steps: int = STEPS


LEVELS = (0.3, 5.0)
SHARED, LAGGED = GuidanceOptions(unconditional="shared"), ProbeOptions(lagged=True)
INTERVAL, BOTH = GuidanceOptions(interval=LEVELS), GuidanceOptions(interval=LEVELS, unconditional="shared")
FORMS = (
    Form("`core/guided`, the default"),
    Form("`every = 2`, `lagged`", options={"lagged": True, "every": 2}),
    Form("`lagged`", options={"lagged": True}),
    Form("`interval = [0.3, 5]`", guidance=INTERVAL),
    Form("`deep_every = 2`", deep=2),
    Form("`lagged`, `interval`, `deep_every = 2`", options={"lagged": True}, guidance=INTERVAL, deep=2),
    Form("`core/hand-over` at 0.5", "core/hand-over"),
    Form("`core/paper`, exact", "core/paper"),
    Form("`probe.every = 3`", "core/paper", probe=ProbeOptions(every=3)),
    Form('`unconditional = "shared"`', "core/paper", guidance=SHARED),
    Form("`probe.lagged`", "core/paper", probe=LAGGED),
    Form("`probe.lagged`, `shared`", "core/paper", guidance=SHARED, probe=LAGGED),
    Form("`probe.lagged`, `shared`, `interval`", "core/paper", guidance=BOTH, probe=LAGGED),
)


def counted(call: Callable[[], Any]) -> float:
    """Operations of a call, without a graph unless it makes one."""
    with torch.no_grad(), OperationCount() as counter:
        call()
    return float(counter.total)


def pieces(branch: Any, condition: Any, prompt: str, size: tuple[int, int], registry: Registry) -> Pieces:
    """Measure a UNet branch at a step at which its condition acts."""
    regions = Regions((registry.transfer(condition.kind)(condition, size),))
    own = condition if branch.spec.role == "spatial" else None
    conditioning = branch.encode(Request((prompt,), ("",), regions, (own,), size, 7.5))
    latent = branch.traits.latent
    z = torch.zeros(1, latent.channels, size[0] // latent.downscale, size[1] // latent.downscale, device=branch.device)
    first, second = Solver("ddim", branch.traits.schedule, STEPS).steps[3:5]
    row = counted(lambda: branch.predict_half(z, first, conditioning, "conditional"))
    branch.options = branch.options.model_copy(update={"deep_every": 2})
    branch.predict_half(z, first, conditioning, "conditional")
    shallow = counted(lambda: branch.predict_half(z, second, conditioning, "conditional"))
    branch.options = branch.options.model_copy(update={"deep_every": 1})
    maps: list[Any] = []
    with torch.enable_grad():
        leaf = z.requires_grad_()
        with OperationCount() as reading:
            maps.append(branch.predict_half(leaf, first, conditioning, "conditional", read=True).maps)
        with OperationCount() as back:
            slope_of_maps(maps[0], leaf, regions, None)
    probe = counted(lambda: placement_slope(lambda at: branch.attend(at, first, conditioning), z.detach(), regions, None))
    places = [module for name, module in branch.unet.named_modules() if name.endswith("attn2") and module.is_cross_attention]
    length = conditioning.conditional.hidden.shape[1]
    keys = sum(2 * length * (one.to_k.weight.numel() + one.to_v.weight.numel()) for one in places)
    return Pieces(row, shallow, float(reading.total), float(back.total), probe, float(keys))


def cost(form: Form, fidelity: Pieces, spatial: Pieces, schedule: Any, registry: Registry) -> float:
    """F of sampling one picture of one spatial branch of boxes, as its balancer asks for it: every move is made, no picture stops early."""
    balancer = registry.balancer(form.balancer, dict(form.options))
    state = balancer.start(
        Setting(("f", "s"), ("fidelity", "spatial"), torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 1, dtype=torch.bool), (), (None, "boxes"))
    )
    networks, ages, total, chances = (fidelity, spatial), Ages(form.deep), 0.0, 0
    for step in Solver("ddim", schedule, form.steps).steps:
        needs = balancer.needs(state, step)
        total += sum(networks[k].probe * move.most for k, move in enumerate(needs.moves) if move is not None and not move.lagged)
        due = needs.probe and chances % form.probe.every == 0
        chances += needs.probe
        reads = [(due and form.probe.lagged) or (bool(needs.slopes) and needs.slopes[k]) for k in range(2)]
        total += sum(one.probe for one in networks if due and not form.probe.lagged)
        guided, shared = acts(form.guidance, step), False
        for k, network in enumerate(networks):
            if not needs.each()[k]:
                continue
            own = guided and not (shared and form.guidance.unconditional == "shared")
            shared = shared or own
            if reads[k]:
                total += network.reading + network.back
                ages.made((k, "c"), step)
                total += ages.rows(network, [(k, "u")], step) if own else 0.0
            else:  # in one batch, which runs whole unless both halves are at hand
                total += ages.rows(network, [(k, "c"), (k, "u")] if own else [(k, "c")], step)
    return total / fidelity.row


@dataclass
class Ages:
    """Which rows find their deep features at hand."""

    every: int
    at: dict[tuple[int, str], int] = field(default_factory=dict)

    def made(self, rows: tuple[int, str], step: Step) -> None:
        """The whole network ran for them."""
        self.at[rows] = step.index

    def rows(self, network: Pieces, rows: Sequence[tuple[int, str]], step: Step) -> float:
        """What a batch costs at a step."""
        if all(one in self.at and step.index - self.at[one] < self.every for one in rows):
            return network.shallow * len(rows)
        for one in rows:
            self.made(one, step)
        return network.row * len(rows)


def table(columns: Mapping[str, tuple[Pieces, Pieces, Any]], registry: Registry) -> str:
    """Markdown: the pieces, then the forms, of each pair of networks."""
    lines = ["| F | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    told: Sequence[tuple[str, Callable[[Pieces, Pieces], float]]] = (
        ("a row of the fidelity branch", lambda f, s: f.row / f.row),
        ("a row of the boxes branch", lambda f, s: s.row / f.row),
        ("a move: maps of the fidelity branch alone, there and back", lambda f, s: f.probe / f.row),
        ("the same of the boxes branch", lambda f, s: s.probe / f.row),
        ("the way back alone, of the fidelity branch", lambda f, s: f.back / f.row),
        ("a row of the fidelity branch without its deep blocks", lambda f, s: f.shallow / f.row),
        ("a row of the boxes branch without its deep blocks", lambda f, s: s.shallow / f.row),
        ("a balanced step, exact", lambda f, s: balanced(f, s, False, False)),
        ("a balanced step, lagged", lambda f, s: balanced(f, s, True, False)),
        ("a balanced step, lagged, one unconditional pass", lambda f, s: balanced(f, s, True, True)),
        ("both branches' own guided steps together", lambda f, s: 2 * (f.row + s.row) / f.row),
    )
    lines += [f"| {what} | " + " | ".join(f"{of(f, s):.2f}" for f, s, _ in columns.values()) + " |" for what, of in told]
    shares = " | ".join(f"{f.keys / f.row:.2%}" for f, _, _ in columns.values())
    lines += [f"| keys and values of the text, of a row | {shares} |", ""]
    lines += [f"| {STEPS} steps of DDIM, F of sampling | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for form in FORMS:
        found = " | ".join(f"{cost(form, f, s, schedule, registry):.1f}" for f, s, schedule in columns.values())
        lines.append(f"| {form.name} | {found} |")
    return "\n".join(lines)


def balanced(fidelity: Pieces, spatial: Pieces, lagged: bool, shared: bool) -> float:
    """F of one step of the balance of ξ."""
    both = (fidelity, spatial)
    total = sum(one.row + (one.reading + one.back if lagged else one.row + one.probe) for one in both)
    return (total - (spatial.row if shared else 0.0)) / fidelity.row


def mini(registry: Registry) -> tuple[Pieces, Pieces, Any]:
    """The embedded pair."""
    from realcompo.conditions import Boxes

    condition = Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)})
    made = [registry.branch(name, {}, device="cpu") for name in ("mini/fidelity", "mini/boxes")]
    found = [pieces(branch, condition, "a red cat and a blue dog", (128, 128), registry) for branch in made]
    return found[0], found[1], made[0].traits.schedule


def stable_diffusion(registry: Registry) -> tuple[Pieces, Pieces, Any]:
    """SD 1.5 and GLIGEN by their published configs."""
    from tools.gpu.networks import PAIRS, make

    pair = PAIRS[0]
    with tempfile.TemporaryDirectory() as folder:
        made = make(pair, Path(folder) / "made", torch.device("meta"), torch.float32, small=False)
        branches = [registry.branch(entry.name, entry.options, source=entry.source, device="meta") for entry in made.entries]
        width = branches[0].unet.config.cross_attention_dim
        # the text encoder would look at its mask's numbers, and there are none
        branches[1].text.pool = lambda words: torch.empty(len(words), width, device="meta")
        found = [pieces(branch, pair.condition, pair.prompt, pair.size, registry) for branch in branches]
    return found[0], found[1], branches[0].traits.schedule


def main() -> None:
    """Measure, and write the page."""
    registry = installed()
    made = table({"mini": mini(registry), "SD 1.5 × GLIGEN": stable_diffusion(registry)}, registry)
    PAGE.write_text(made_between(PAGE.read_text("utf-8"), *MARKS, made), "utf-8")
    print(made)


if __name__ == "__main__":
    main()
