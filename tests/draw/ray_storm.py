"""Processes of a local Ray, as test_ray_storm.py finds and kills them: all of one session (setsid), whoever their parents are by then."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

OUTLIVING = Path(__file__).with_name("storm_ray.py")
DRAWING = b"ray::MapWorker"
OWN = (b"ray::_StatsActor", b"ray::_AutoscalingCoordinator", b"ray::ActorLocationTracker")
"""How the titles of actors begin: of those that draw, and of Ray Data's own."""
TOKEN = secrets.token_hex(32)
"""What a driver shows to a Ray that it joins: this one's, and not that of the user's home."""
PATIENCE = 6000
"""Looks, a hundredth of a second apart, at what ends by itself."""


def session(leader: int) -> dict[int, bytes]:
    """Process → title of all that live in a leader's session. What has ended and waits for its parent to notice is none of them."""
    found = {}
    for one in os.listdir("/proc"):
        if one.isdigit():
            with contextlib.suppress(OSError, ValueError):
                state, _, _, sid, *_ = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
                if int(sid) == leader and state not in "ZX":
                    found[int(one)] = Path(f"/proc/{one}/cmdline").read_bytes()
    return found


def actors(leader: int, title: bytes = DRAWING) -> list[int]:
    """Actors of a session by their title."""
    return sorted(process for process, told in session(leader).items() if told.startswith(title))


def kill(process: int) -> bool:
    """SIGKILL; whether it was there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_session(leader: int) -> int:
    """SIGKILL of all of a session, and of what was started meanwhile. Returns how many were hit at once."""
    first = [kill(process) for process in session(leader)]
    waited(lambda: not [kill(process) for process in session(leader)])
    return sum(first)


def waited(true: Callable[[], bool]) -> bool:
    """Whether something became true at last."""
    for _ in range(PATIENCE):
        if true():
            return True
        time.sleep(0.01)
    return False


def environment() -> dict[str, str]:
    """Of a Ray that tells nobody, and of whatever joins it. Its sockets lie where their names are short: a test's own folder for temporary
    files is too deep for them."""
    ray = {"RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return {**os.environ, **ray, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


class Outliving:
    """A Ray of one machine in a session of its own, which drivers join."""

    def __init__(self) -> None:
        command = [sys.executable, str(OUTLIVING)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=environment(), text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "it did not start"

    @property
    def leader(self) -> int:
        """Of its session."""
        return self.process.pid

    def close(self) -> None:
        """Ends it as its user would; `kill_session` ends it otherwise."""
        self.process.communicate()
