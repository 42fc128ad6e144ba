"""What SD 1.5 with GLIGEN and SDXL with a ControlNet take on this machine's card: ``python tools/gpu_check.py -o card.json``.

Nothing is fetched: the networks have their real sizes and random weights. ``--mini`` runs all of it on the CPU, small. docs/gpu.md says
what it prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # run as a file, Python looks beside it: `tools` and `realcompo` lie one up

from tools.gpu.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
