"""The run: which parts there are, in which order, and the command line."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from realcompo.bench.subjects import quiet
from realcompo.errors import DeviceError

from . import comparing, drawing
from .clock import Limit, Memory
from .drawing import WAYS, Studio
from .networks import PAIRS, Pair, make
from .report import Report

MINUTES = 8.0
STEPS = 20
WARM = 6
MINI_STEPS = 3
HALVES = ("float16", "bfloat16")
COMPILING = {"sd15-gligen": 120.0, "sdxl-controlnet": 240.0}
"""Seconds that must be left before a pair's networks are compiled: it cannot be stopped midway."""


@dataclass
class Session:
    """What all parts share.

    Attributes:
        words: only parts in whose name one of these stands are done; all, if there are none.
        without: none in whose name one of these stands.
        pictures: (pair, dtype, way) → what eager networks drew.
    """

    report: Report
    folder: Path
    words: Sequence[str] = ()
    without: Sequence[str] = ()
    pictures: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    @property
    def mini(self) -> bool:
        return self.report.mini

    def wanted(self, *name: str) -> bool:
        whole = " ".join(name)
        return (not self.words or any(word in whole for word in self.words)) and not any(word in whole for word in self.without)

    def compare(self, pair: Pair) -> None:
        """Small networks against the CPU's."""
        if self.wanted(pair.name, "compare"):
            home = Path(tempfile.mkdtemp(dir=self.folder))
            self.report.run("compare", pair.name, None, partial(comparing.compare, pair, home, self.report.device))

    def group(self, pair: Pair, dtype: str, parts: Mapping[str, Callable[[Studio], Mapping[str, Any]]], needs: float = 0.0) -> None:
        """Networks of a pair in a precision, and what is done with them."""
        parts = {what: action for what, action in parts.items() if self.wanted(pair.name, dtype, what)}
        if not parts:
            return
        found: list[Studio] = []
        begun = self.report.run("networks", pair.name, dtype, partial(self._make, found, pair, dtype), needs)
        for what, action in parts.items():
            instead = None if begun else "its networks were not made"
            self.report.run(what, pair.name, dtype, partial(_with_first, action, found), needs, instead)
        for studio in found:
            self.pictures |= {(pair.name, dtype, way): picture for way, picture in studio.kept.items()}
            studio.uncompile()
            with suppress(RuntimeError):  # of a card that has failed for good
                studio.made.to("meta")  # gone, also where a composer is kept by whoever drew last

    def _make(self, found: list[Studio], pair: Pair, dtype: str) -> dict[str, Any]:
        report = self.report
        with Memory(report.device) as memory:
            made = make(pair, Path(tempfile.mkdtemp(dir=self.folder)), report.device, getattr(torch, dtype), small=self.mini)
        found.append(Studio(made, *((MINI_STEPS, 0) if self.mini else (STEPS, WARM)), report.limit))
        return {"parameters": made.parameters, "size": made.size, "steps": found[0].steps, "memory": memory.told()}

    def eager(self, pair: Pair, dtype: str, ways: Sequence[str] = WAYS, again: bool = True) -> None:
        """Draws by each way; `again` from the file, and with offload."""
        parts: dict[str, Callable[[Studio], Mapping[str, Any]]] = {way: partial(_draw, way=way) for way in ways}
        if again:
            parts |= {"reproduce": lambda s: drawing.reproduce(s), "offload": lambda s: drawing.offload(s)}
        self.group(pair, dtype, parts)

    def compiled(self, pair: Pair, dtype: str) -> None:
        """With compiled networks: the fidelity branch alone, and the default balancer. In miniature the first, by torch's tracing alone."""
        ways, backend, needs = (WAYS[:1], "eager", 0.0) if self.mini else (WAYS[:2], "inductor", COMPILING[pair.name])
        self.group(pair, dtype, {f"{way}, compiled": partial(self._compiled, pair, dtype, way, backend) for way in ways}, needs)

    def _compiled(self, pair: Pair, dtype: str, way: str, backend: str, studio: Studio) -> Mapping[str, Any]:
        return drawing.compiled(studio, way, backend, self.pictures.get((pair.name, dtype, way)))


def _with_first(action: Callable[[Studio], Mapping[str, Any]], found: Sequence[Studio]) -> Mapping[str, Any]:
    return action(found[0])


def _draw(studio: Studio, way: str) -> Mapping[str, Any]:
    return drawing.draw(studio, way)


def run(session: Session) -> None:
    """All parts: what is asked most often first, compiling last. In miniature each pair has one precision, the second draws in two ways,
    and the first is compiled."""
    for pair in PAIRS:
        session.compare(pair)
    if session.mini:
        session.eager(PAIRS[0], HALVES[0])
        session.eager(PAIRS[1], HALVES[1], WAYS[1::2])
        session.compiled(PAIRS[0], HALVES[0])
        return
    for pair in PAIRS:
        session.eager(pair, HALVES[0])
    session.compiled(PAIRS[0], HALVES[0])
    for pair in PAIRS:
        session.eager(pair, HALVES[1], again=False)
    session.compiled(PAIRS[1], HALVES[0])


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, 1 where a part failed or a check is not met, 2 where nothing could be run."""
    parser = argparse.ArgumentParser(prog="gpu_check", description="Draw with the networks of SD 1.5 and SDXL on this machine's card.")
    parser.add_argument("--mini", action="store_true", help="the same with small networks, on the CPU, in seconds")
    parser.add_argument("--limit", type=float, default=MINUTES, metavar="MINUTES", help=f"then what is left is skipped ({MINUTES:g})")
    parser.add_argument("--device", help="cuda (or cuda:1 …); with --mini the CPU unless named")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only parts in whose name this stands; repeatable")
    parser.add_argument("--skip", action="append", default=[], metavar="WORD", help="none of those, such as compiled; repeatable")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON there too, after every part")
    told = parser.parse_args(words)
    try:
        device = _device(told.device, told.mini)
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = Report(Limit(60 * told.limit), device, told.mini, told.output)
    try:
        with quiet(), tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
            run(Session(report, Path(folder), told.only, told.skip))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.stdout.write(report.text(finished=False))
        return 130
    if told.output is not None:
        from realcompo.files import write_whole

        write_whole(told.output, report.text())
    sys.stdout.write(report.text())
    return 1 if report.wrong else 0


def _device(asked: str | None, mini: bool) -> torch.device:
    from realcompo.noise.devices import default_device

    if mini:
        return default_device(asked or "cpu")
    if not torch.cuda.is_available() or not (asked or "cuda").startswith("cuda"):
        raise DeviceError(
            f"the networks at their real sizes want a CUDA device, and torch {torch.__version__} "
            + (f"was told {asked}" if torch.cuda.is_available() else "finds none here"),
            mend="run it on a machine with a card and a torch build with CUDA, or with --mini, which needs none",
        )
    return default_device(asked or "cuda")
