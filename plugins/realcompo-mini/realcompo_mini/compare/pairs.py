"""All pairs of the grown family, drawn and measured.

``python -m realcompo_mini.compare.pairs --out DIR --sprites sprites.npz`` draws and measures them (resumable, one JSON line a picture), and
writes DIR/pairs.md (a row for every pair, and the claims with what was found) and DIR/pairs.png, the contact sheet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from realcompo_mini.compare.pair import chosen
from realcompo_mini.compare.pairs_draw import draw_pair, measure_attention
from realcompo_mini.compare.pairs_report import report


def main() -> None:
    """Draw and measure pairs, then report all that were drawn."""
    parser = argparse.ArgumentParser(prog="python -m realcompo_mini.compare.pairs", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of records, pictures and report")
    parser.add_argument("--sprites", type=Path, required=True, help="sprites.npz of the training folder: conditions come from renderings")
    parser.add_argument("--split", choices=["tune", "test"], default="test")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--rows", nargs="*", help="names or slugs; all by default")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="draw nothing, report what is there")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.report:
        for pair in chosen(args.rows):
            draw_pair(pair, args.split, args.scenes, args.sprites, args.out, args.batch, device=args.device)
        if not args.rows:
            measure_attention(args.out, args.split, args.scenes, args.sprites)
    print(report(args.out, args.split, args.sprites))


if __name__ == "__main__":
    main()
