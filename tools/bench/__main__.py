"""Runs the benchmarks, or those whose names hold a word: ``python -m tools.bench [WORD …]``. Ends with 0 whatever it finds."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from . import BENCHMARKS, __path__


def main() -> None:
    """Print a line for each."""
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        if module.name != "__main__":
            importlib.import_module(f"tools.bench.{module.name}")
    for what, function in BENCHMARKS.items():
        if sys.argv[1:] and not any(word in what for word in sys.argv[1:]):
            continue
        try:
            found = function()
        except Exception as error:  # one that breaks must not hide the others
            found = f"failed: {type(error).__name__}: {error}"
        print(f"{what:<58} {found}", flush=True)


if __name__ == "__main__":
    main()
