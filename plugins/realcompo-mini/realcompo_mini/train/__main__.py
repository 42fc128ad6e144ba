"""python -m realcompo_mini.train --out DIR [--seed 0] [--device cpu] [stage …]: train the mini family, stage by stage, resumably."""

from __future__ import annotations

import argparse
import importlib
import math
import os
from pathlib import Path

STAGES = {
    "sprites": "sprites:run",
    "autoencoder": "autoencoder:train",
    "text": "text:train",
    "scenes": "dataset:encode_all",
    "fidelity": "fidelity:train",
    "boxes": "boxes:train",
    "scorer": "scorer:train",
    "parents": "export:train",
    "boxes-coloured": "boxes_lora:train_coloured",
    "boxes-half": "boxes_lora:train_half",
    "coloring": "style:train_coloring",
    "cute": "style:train_cute",
    "tokencompose": "tokencompose:train",
    "pose": "control:train_pose",
    "segmentation": "control:train_segmentation",
    "flow": "flow:train",
    "reader": "reader:train",
    "export": "export:train",
    "curves": "curves:run",
}
"""Stage → its function in this package. The fine-tunes start from the exported text-to-image model, so the parents are exported first."""


def main() -> None:
    """Run the stages asked for (all by default); each goes on where it stopped, and a finished one returns at once."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.train", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(STAGES)}; all by default")
    parser.add_argument("--out", type=Path, required=True, help="folder for sprites, scenes, checkpoints, logs and sheets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, help="total steps of the stage (may be raised or lowered on resume: the rate follows)")
    parser.add_argument("--scenes", type=int, default=50_000, help="training scenes of each diffusion model")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the next start goes on")
    parser.add_argument("--compile", action="store_true", help="torch.compile autoencoder and flow (needs a C++ compiler)")
    parser.add_argument("--base", type=Path, help="folder of the text-to-image model to fine-tune; DIR/export/fidelity, or the shipped one")
    parser.add_argument("--rank", type=int, help="of the LoRAs: boxes-coloured, boxes-half, coloring, cute, tokencompose")
    parser.add_argument(
        "--shift", type=float, help="of the noise levels that flow is trained at; above 1: more noise (recorded in its config)"
    )
    parser.add_argument("--decay", type=int, help="steps before --steps over which the rate of flow falls (it is constant until then)")
    parser.add_argument("--batch", type=int, help="samples a step, in place of the stage's own (32): a GPU takes 512 as fast")
    args = parser.parse_args()
    unknown = set(args.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}; stages: {', '.join(STAGES)}")

    # threads that spin while they wait for each other starve on a machine that has other work: measured 10 times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch

    from realcompo_mini.train.common import Settings

    torch.set_num_threads(args.threads)
    settings = Settings(
        args.out,
        args.seed,
        args.device,
        args.steps,
        args.threads,
        args.scenes,
        args.compile,
        args.minutes,
        args.base,
        args.rank,
        args.shift,
        args.decay,
        args.batch,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for stage in args.stages or STAGES:
        module, _, function = STAGES[stage].partition(":")
        getattr(importlib.import_module(f"realcompo_mini.train.{module}"), function)(settings)


if __name__ == "__main__":
    main()
