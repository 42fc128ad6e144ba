"""What is written down: a table for each part, done, failed or skipped, and the JSON of them all."""

from __future__ import annotations

import gc
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from realcompo.bench.report import describe, plain
from realcompo.files import write_whole
from realcompo.noise.devices import versions

from .clock import Limit, OutOfTime
from .networks import HOW


@dataclass
class Report:
    """The run's record.

    Attributes:
        target: a file that holds it from the first part on, or None.
        parts: one table each: what, pair, dtype, status, seconds, and its own figures.
    """

    limit: Limit
    device: torch.device
    mini: bool
    target: Path | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        what: str,
        pair: str,
        dtype: str | None,
        action: Callable[[], Mapping[str, Any]],
        needs: float = 0.0,
        instead: str | None = None,
    ) -> bool:
        """Do a part and write it down, whatever becomes of it. Returns whether it is done.

        Args:
            needs: seconds that must be left.
            instead: why it cannot be done at all.
        """
        told: dict[str, Any] = {"what": what, "pair": pair, "dtype": dtype}
        start, left = self.limit.spent, self.limit.seconds - self.limit.spent
        if instead is not None:
            told |= {"status": "skipped", "why": instead}
        elif left <= needs:
            told |= {"status": "skipped", "why": f"{max(left, 0):.0f} s were left of {self.limit.seconds:.0f}, it wants {needs:.0f}"}
        else:
            try:
                told |= {"status": "done", **action()}
            except OutOfTime:
                told |= {"status": "skipped", "why": f"the limit of {self.limit.seconds:.0f} s came while it ran"}
            except Exception as error:  # of any kind: the others go on
                told |= {"status": "failed", "error": f"{type(error).__name__}: {error}"[:2000], "at": _place(error)}
            empty(self.device)
        told["seconds"] = self.limit.spent - start
        self.parts.append(told)
        self.say(told)
        if self.target is not None:
            write_whole(self.target, self.text(finished=False))
        return bool(told["status"] == "done")

    def say(self, told: Mapping[str, Any]) -> None:
        """A line on the terminal; the JSON has stdout for itself."""
        wrong = [name for name, met in told.get("checks", {}).items() if not met]
        end = f", NOT: {'; '.join(wrong)}" if wrong else ""
        if told["status"] != "done":
            end = f": {told.get('why') or told.get('error')}"
        name = " ".join(one for one in (told["pair"], told["dtype"], told["what"]) if one)
        line = f"{self.limit.spent:6.1f} s  {name}: {told['status']} in {told['seconds']:.1f} s{end}"
        print(line.replace("\n", " "), file=sys.stderr, flush=True)

    @property
    def wrong(self) -> list[str]:
        """Parts that failed, and checks that were not met."""
        found = []
        for told in self.parts:
            name = " ".join(one for one in (told["pair"], told["dtype"], told["what"]) if one)
            found += [name] if told["status"] == "failed" else [f"{name}: {c}" for c, met in told.get("checks", {}).items() if not met]
        return found

    def text(self, finished: bool = True) -> str:
        """The JSON."""
        count = {status: sum(one["status"] == status for one in self.parts) for status in ("done", "failed", "skipped")}
        told = {
            "tool": "realcompo gpu_check",
            "format": 1,
            "finished": finished,
            "mini": self.mini,
            "limit_s": self.limit.seconds,
            "seconds": self.limit.spent,
            "device": describe(self.device),
            "versions": {**versions(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
            "weights": HOW,
            "summary": {**count, "wrong": self.wrong},
            "parts": self.parts,
        }
        return json.dumps(plain(told), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def empty(device: torch.device) -> None:
    """Give back what nobody holds; a card that has failed for good must not end the record."""
    if device.type == "cuda":
        gc.collect()
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def _place(error: BaseException) -> list[str]:
    """The last calls before an error: file, line and function, without folders."""
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-6:]]
