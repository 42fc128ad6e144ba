"""The processes that draw on one machine: how many are hired, and what Ctrl-C does before they are there."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from realcompo.draw.many import workers
from realcompo.draw.many.work import DrawingWork
from realcompo.draw.many.workers import Workers
from realcompo.errors import BadOption
from realcompo.interfaces import Crew
from realcompo.interfaces.engine import Outcome, Unit


def test_no_more_workers_than_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crew of four and two units: two processes."""
    from multiprocessing import Pipe

    hired: list[Any] = []

    def hire(self: Workers, mother: int) -> workers.Hand:
        ours, theirs = Pipe()
        theirs.send_bytes(json.dumps(Outcome(len(hired)).plain()).encode())  # it has drawn
        hired.append(theirs)
        return workers.Hand(ours, mother)

    monkeypatch.setattr(workers, "_mother", lambda *_: None)
    monkeypatch.setattr(Workers, "_hire", hire)
    found = Workers(Crew(4)).run(None, iter([Unit(0, ()), Unit(1, ())]))  # type: ignore[arg-type]
    assert sorted(outcome.number for outcome in found) == [0, 1] and len(hired) == 2


MOTHER = """
import json, signal, sys
from multiprocessing.connection import Connection
line = Connection(int(sys.argv[1]))
line.recv_bytes()
held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
line.send_bytes(json.dumps({"kind": "BadOption", "what": f"held: {held}", "where": None, "mend": ""}).encode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_ctrl_c_while_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mother does not see it before she can ignore it, so no traceback is shown; the batch, which does, ends her. The control: this
    process is as it was."""
    import signal
    import subprocess

    start, started = subprocess.Popen, []

    def popen(command: list[str], **words: Any) -> Any:
        started.append(start([command[0], "-c", MOTHER, command[3]], **words))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    work = DrawingWork({}, "nowhere")
    with pytest.raises(BadOption, match="held: True"):
        workers._mother(work, None)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def interrupted(self: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.Connection, "recv_bytes", interrupted)
    monkeypatch.setattr(workers.Connection, "send_bytes", lambda self, data: None)  # she waits for it
    with pytest.raises(KeyboardInterrupt):
        workers._mother(work, None)
    assert started[1].poll() == -signal.SIGKILL
