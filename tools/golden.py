"""``python -m tools.golden``: a set of pictures that a change of the core must not change, drawn on one thread.

``draw FILE.json`` writes a digest of each picture's last latents and pixels. Drawn at the commit before and at the commit after, on
one machine, ``compare A.json B.json`` says which bits differ. ``keep FILE.npz`` writes the latents of a few, which the suite holds
to 1e-4 on any machine: another processor, or another number of threads, already changes a pixel by a level.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import realcompo as rc

KEPT = ("toy ddim", "toy pndm", "toy unipc karras", "toy v and eps", "mini boxes ddim", "mini pose unipc")
"""Those that the repository holds."""

PROMPT = "a cat and a red balloon on grass"
BOXES = {"a cat": (0.08, 0.45, 0.5, 0.87), "a red balloon": (0.6, 0.1, 0.9, 0.5)}


@dataclass(frozen=True)
class Case:
    """A picture.

    Attributes:
        fidelity, spatial: ids, or entries of a recipe.
        settings: of the composer.
        kind: of the conditions; the sample of mini's spec.
    """

    name: str
    fidelity: str
    spatial: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = "boxes"


def cases() -> Iterator[Case]:
    """The set: schedulers and their settings, kinds of prediction, balancers, probes, shifts, and each architecture of the mini family."""
    pair = ("toy/fidelity", ("toy/spatial",))
    names = ("ddim", "pndm", "euler", "euler-ancestral", "dpm++-2m", "dpm++-2m-karras", "unipc")
    for name in names:
        yield Case(f"toy {name}", *pair, {"scheduler": name})
        yield Case(f"toy {name} trailing", *pair, {"scheduler": name, "scheduler_options": {"timestep_spacing": "trailing"}})
    yield Case("toy unipc karras", *pair, {"scheduler": "unipc", "scheduler_options": {"use_karras_sigmas": True}})
    yield Case("toy clipped", *pair, {"scheduler_options": {"clip_sample": True}})
    yield Case("toy float32", *pair, {"dtype": "float32"})
    yield Case("toy alone", "toy/fidelity", ())
    for name in ("core/paper", "core/published", "core/guided", "core/fixed", "core/mean", "core/hand-over"):
        yield Case(f"toy {name}", *pair, {"balancer": name})
    yield Case("toy probe", *pair, {"probe": {"timestep": "t_prev", "guided": False, "every": 2}})
    for scheduler in ("ddim", "pndm", "unipc"):
        moved = {"name": "toy/spatial", "options": {"shift": 0.2}}
        yield Case(f"toy shift {scheduler}", "toy/fidelity", (moved,), {"scheduler": scheduler})
    yield Case("toy v", "toy/fidelity-v", ("toy/spatial-v",))
    yield Case("toy v and eps", "toy/fidelity", ("toy/spatial-v",))
    yield Case("toy v and eps dpm++", "toy/fidelity-v", ("toy/spatial",), {"scheduler": "dpm++-2m"})
    yield Case("toy three", "toy/fidelity", ("toy/spatial", "toy/spatial-v"))
    boxes = {"name": "mini/boxes", "guidance_scale": 4.0}  # what it recommended when these were drawn
    for name in ("ddim", "pndm", "euler", "dpm++-2m-karras"):
        yield Case(f"mini boxes {name}", "mini/fidelity", (boxes,), {"scheduler": name})
    yield Case("mini boxes paper", "mini/fidelity", (boxes,), {"balancer": "core/paper"})
    yield Case("mini boxes guided", "mini/fidelity", (boxes,), {"balancer": "core/guided"})
    yield Case("mini alone", "mini/fidelity", ())
    yield Case("mini tokencompose", "mini/tokencompose", (boxes,))
    yield Case("mini pose unipc", "mini/fidelity", ("mini/pose",), {"scheduler": "unipc"}, kind="keypoints")
    yield Case("mini segmentation", "mini/fidelity", ("mini/segmentation",), kind="segmentation")
    yield Case("mini guidance", "mini/fidelity", ({"name": "layguide/sd", "options": {"base": "mini/fidelity"}},))


def draw(case: Case) -> tuple[Any, str]:
    """Last latents (1, C, h, w) as an array, and a digest of the pixels."""
    import torch

    from realcompo.recipes.recipe import read_condition
    from realcompo.registry import installed
    from realcompo.testing.toys import toy_registry

    torch.set_num_threads(1)
    toy = case.name.startswith("toy")
    registry = toy_registry() if toy else installed()
    settings = {"num_inference_steps": 8, "device": "cpu", "balancer": "core/balance", **case.settings}
    settings.setdefault("dtype", "float64" if toy else "float32")
    prompt, told = PROMPT, read_condition("boxes", BOXES)
    if case.kind != "boxes":
        sample = registry.branches[case.spatial[0]].sample or {}
        prompt, told = sample["prompt"], read_condition(case.kind, sample[case.kind])
    composer = rc.Composer(case.fidelity, list(case.spatial), registry=registry, **settings)
    result = composer(prompt, told if case.spatial else None, seed=11)
    return result.latents.numpy(), hashlib.sha256(result.image.tobytes()).hexdigest()


def main(arguments: list[str]) -> int:
    """The command line."""
    import numpy as np

    match arguments:
        case ["draw", file]:
            digests = {}
            for one in cases():
                latents, pixels = draw(one)
                digests[one.name] = [hashlib.sha256(latents.tobytes()).hexdigest(), pixels]
                print(f"{one.name}: {digests[one.name][0][:12]}", file=sys.stderr)
            Path(file).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
        case ["compare", one, other]:
            a, b = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (one, other))
            wrong = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
            print(f"{len(a.keys() & b.keys()) - len([n for n in wrong if n in a and n in b])} pictures are the same bit for bit")
            print(*(f"other bits: {name}" for name in wrong), sep="\n", end="\n" if wrong else "")
            return 1 if wrong else 0
        case ["keep", file]:
            np.savez_compressed(file, **{one.name: draw(one)[0].astype(np.float32) for one in cases() if one.name in KEPT})
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
