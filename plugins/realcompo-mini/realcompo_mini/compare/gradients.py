"""Fig. 10 on the mini family: how large the gradient is at each step, of v3 and v4 (the paper's balance beside layout guidance).

``python -m realcompo_mini.compare.gradients --out docs/results/paper`` appends the missing records: one JSON line a picture, a number a
balanced step.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from realcompo_mini.compare.draw import boxes, picture_seed, read, scenes
from realcompo_mini.compare.pair import Pair

VERSIONS = {
    "v1": Pair("mini/fidelity", "mini/boxes"),
    "v2": Pair("mini/tokencompose", "mini/boxes"),
    "v3": Pair("mini/fidelity", "layguide/sd"),
    "v4": Pair("mini/tokencompose", "layguide/sd"),
}
"""The paper's four pairs; it pins v4 only, the others are our convention (docs/paper-systems.md)."""
WARMUP = 0.1
"""Layout guidance has nothing to give before the other branch acts."""


def file_of(out: Path, version: str) -> Path:
    return out / f"gradients-{version}.jsonl"


def drawn(version: str, numbers: list[int], everything: list[Any]) -> list[dict[str, Any]]:
    """A record a picture: `steps`, the balanced steps by number; `latents`, ‖∂L^c/∂z‖ of each branch at each; `weights`, the root mean
    square of ∂L/∂ξ."""
    options = {"warmup": WARMUP if VERSIONS[version].spatial == "layguide/sd" else 0.4}
    composer = VERSIONS[version].composer("core/paper", options)
    picked = [everything[n] for n in numbers]
    result = composer(
        [s.caption for s in picked],
        [boxes(s.objects) for s in picked],
        seed=[picture_seed(n, 0) for n in numbers],
        output_type="latent",
    )
    entries = [(e.step.index, e.grad_latents, e.grad_weights) for e in result.trace.entries]
    asked = [(index, latents, weights) for index, latents, weights in entries if latents is not None and weights is not None]
    found = []
    for b, n in enumerate(numbers):
        latents = [[float(f"{latents[c, b]:.4g}") for c in range(len(latents))] for _, latents, _ in asked]
        weights = [float(f"{weights[b]:.4g}") for _, _, weights in asked]
        head = {"version": version, "scene": n, "seed": 0, "steps": [index for index, _, _ in asked]}
        found.append({**head, "latents": latents, "weights": weights})
    return found


def draw(version: str, count: int, out: Path, batch: int = 10) -> None:
    """Append the missing records of a version."""
    path, everything = file_of(out, version), scenes("test", count)
    done = {record["scene"] for record in read(path)}
    left = [n for n in range(count) if n not in done]
    out.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for start in tqdm(range(0, len(left), batch), desc=version, unit="batch"):
            for record in drawn(version, left[start : start + batch], everything):
                file.write(json.dumps(record) + "\n")
            file.flush()


def main() -> None:
    """Draw what is missing."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.gradients", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--versions", nargs="*", choices=sorted(VERSIONS), default=["v3", "v4"])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for version in args.versions:
        draw(version, args.scenes, args.out, args.batch)


if __name__ == "__main__":
    main()
