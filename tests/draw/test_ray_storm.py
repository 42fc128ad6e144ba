"""A batch on a local Ray whose actors, driver or whole cluster are killed at random moments ends as one that was left alone: every file and
the manifest, to the byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realcompo.draw.many.run import draw_many
from tests.draw.ray_storm import DRAWING, OWN, Outliving, actors, environment, kill, kill_session, session, waited
from tests.draw.storm_many import PICTURES, recipe
from tests.draw.test_many_storm import STORM, done, files, until

pytest.importorskip("ray", reason="Ray is an extra: pip install 'realcompo[ray]'")
pytestmark = [pytest.mark.deep, pytest.mark.skipif(not Path("/proc").is_dir(), reason="it looks for processes in /proc")]

KILLS = [DRAWING] * 19 + [*OWN] + [b"driver"] * 5 + [b"cluster"] * 3
LAST = PICTURES - 80
"""Pictures that are done when the last kill comes, at most: what it takes along is drawn twice again before it would count as failed."""


class Batch:
    """Drivers of one batch, one after the other, each on a Ray of its own or on one that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver: subprocess.Popen[bytes] | None = None
        self.cluster: Outliving | None = None
        self.leaders: set[int] = set()

    @property
    def leader(self) -> int:
        """Of the session that Ray's processes are in."""
        return self.process.pid if self.cluster is None else self.cluster.leader

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The driver."""
        assert self.driver is not None
        return self.driver

    def start(self, own: bool) -> None:
        """A driver with a Ray of its own, as the command line starts it; or one that joins."""
        if own and self.cluster is not None:
            self.cluster.close()
            self.gone()
        elif not own and self.cluster is None:
            self.cluster = Outliving()
            self.leaders.add(self.cluster.leader)
        command = [sys.executable, str(STORM), str(self.folder), "png", "ray", *([self.cluster.address] if self.cluster else [])]
        self.driver = subprocess.Popen(command, start_new_session=True, env=environment())
        self.leaders.add(self.driver.pid)

    def gone(self) -> None:
        """Nothing of the Ray that ended is left, and nobody had to end it."""
        assert waited(lambda: not session(self.leader)), f"left behind: {session(self.leader)}"
        self.cluster = None

    def hit(self, what: bytes, draw: random.Random) -> None:
        """A driver alone; all of a cluster, the driver with it; or one actor whose title begins so, once there is one."""
        if what == b"driver":
            assert kill(self.process.pid)
            self.process.wait()
            if self.cluster is None:
                self.gone()
        elif what == b"cluster":
            assert kill_session(self.leader) > 4, "a cluster has at least that many processes"
            self.process.kill()  # of a cluster that outlives it, it is not yet dead
            self.process.wait()
            if self.cluster is not None:
                self.cluster.close()
            self.gone()
        else:
            assert waited(lambda: self.process.poll() is not None or self.shot(what, draw)), f"there is no {what!r}"
            assert self.process.poll() is None, "it ended by itself"

    def shot(self, title: bytes, draw: random.Random) -> bool:
        """Whether there was an actor of the title, one of which is killed."""
        found = actors(self.leader, title)
        return bool(found) and kill(draw.choice(found))


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Batch]:
    made = Batch(tmp_path / "killed")
    yield made
    left = {leader: session(leader) for leader in made.leaders}
    for leader in made.leaders:
        kill_session(leader)
    assert not any(left.values()), f"left behind: {left}"


def test_a_local_ray_is_killed(tmp_path: Path, batch: Batch) -> None:
    """Thirty kills, in an order and at moments by the seed: actors that draw, one of each of Ray Data's own, drivers, whole clusters.

    A driver outlives its actors; where it was killed, or its cluster, the same command goes on. The first and the last have a Ray of their
    own. The control: all thirty must have hit something before the batch was done.
    """
    seed = os.environ.get("REALCOMPO_FUZZ_SEED") or "22"
    print(f"REALCOMPO_FUZZ_SEED={seed}")
    draw = random.Random(seed)
    draw_many(recipe(), tmp_path / "whole", registry="realcompo.testing:toy_registry")
    kills = draw.sample(KILLS, len(KILLS))
    moments = sorted(draw.sample(range(1, LAST), len(kills)))
    ends = sum(what in (b"driver", b"cluster") for what in kills)
    batch.start(own=True)
    for number, (what, moment) in enumerate(zip(kills, moments, strict=True)):
        assert until(batch.process, batch.folder, moment), f"it ended with {batch.process.poll()} before kill {number}, of {what!r}"
        print(f"{done(batch.folder)} done: {what.decode()} is killed", flush=True)
        batch.hit(what, draw)
        if what in (b"driver", b"cluster"):
            ends -= 1
            batch.start(own=ends == 0)
    assert batch.process.wait() == 0
    batch.gone()
    there, should = files(batch.folder), files(tmp_path / "whole")
    assert sorted(there) == sorted(should) and [name for name in should if there[name] != should[name]] == []
    assert should["manifest.jsonl"].count(b'"state": "done"') == PICTURES
