"""Batches in an object store that speaks S3: a real client (s3fs) against a server on this machine (moto), which answers 500 for a while.
Where both are installed (make test-deep brings them)."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realcompo.draw.many.run import draw_many
from realcompo.draw.many.stores import Folder, Remote, open_store
from realcompo.draw.many.tally import Tally
from realcompo.draw.many.workers import Workers
from realcompo.errors import StoreError
from realcompo.interfaces import Crew
from realcompo.recipes.recipe import PictureEntry, Recipe
from tests import ROOT

s3fs = pytest.importorskip("s3fs", reason="tools/install.py s3 brings it")
pytest.importorskip("moto.server", reason="tools/install.py s3 brings it")
pytestmark = pytest.mark.deep

TOYS = "realcompo.testing:toy_registry"
PROMPTS = ("a dog", "a small dog", "two dogs", "a dog on grass", "three dogs", "a cat")
REFUSED = 3
"""Requests in a row that are answered by 500: s3fs takes the first for an answer, and the store asks again after 0.1, 0.5 and 2
seconds; a failing while of this process's own has shorter waits."""


def recipe() -> Recipe:
    pictures = tuple(PictureEntry(prompt=prompt) for prompt in PROMPTS)
    return Recipe(branches=("toy/fidelity",), num_inference_steps=3, device="cpu", pictures=pictures)


class Server:
    """An S3 of this machine's memory. From the `after`-th PUT on, `refuse` requests are answered by 500."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self._plain: Callable[..., Any] = DomainDispatcherApplication(create_backend_app)
        self.after, self.refuse, self.refused = 0, 0, 0
        self._lock = threading.Lock()
        self._served = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._served.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._served.server_port}"

    def fails(self, after: int, refuse: int) -> None:
        """Such a while is to come."""
        self.after, self.refuse, self.refused = after, refuse, 0

    def _answer(self, environ: dict[str, Any], start: Any) -> Any:
        with self._lock:
            self.after -= environ["REQUEST_METHOD"] == "PUT"
            refused = self.after < 0 and self.refuse > 0
            if refused:
                self.refuse, self.refused = self.refuse - 1, self.refused + 1
        if not refused:
            return self._plain(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [b"<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>"]

    def close(self) -> None:
        self._served.shutdown()
        self._served.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """With one bucket, which every process of this test finds by its environment."""
    found = Server()
    told = {
        "AWS_ENDPOINT_URL": found.address,
        "AWS_ACCESS_KEY_ID": "here",
        "AWS_SECRET_ACCESS_KEY": "here",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": ":".join([str(ROOT), *sys.path[1:]]),
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    urllib.request.urlopen(urllib.request.Request(f"{found.address}/bucket", method="PUT"), timeout=60).close()
    yield found
    s3fs.S3FileSystem.clear_instance_cache()
    found.close()


def files(address: str | Path) -> dict[str, bytes]:
    store = open_store(address)
    if isinstance(store, Folder):
        return {name: store.read(name) for name in store.sizes() if name != ".lock"}
    return {name: store.read(name) for name in store.sizes()}


def draws(format: Any, address: str | Path, workers: int = 0) -> Tally:
    engine = Workers(Crew(workers)) if workers else None
    return draw_many(recipe(), address, engine=engine, registry=TOYS, format=format, shard_size=2)


def test_a_store_that_answers_500_loses_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files by this process and shards by two workers are those of an undisturbed folder, to the byte; another machine (a process that
    knows only the address) draws none again. The controls: requests were refused, and without asking again such a while ends the run,
    which the next one goes on from."""
    for format, count in (("png", len(PROMPTS) + 1), ("webdataset", 4)):
        draws(format, tmp_path / format)
        whole, address = files(tmp_path / format), f"s3://bucket/{format}"
        assert len(whole) == count
        with monkeypatch.context() as patch:
            patch.setattr(Remote.__init__, "__defaults__", ((0.01,) * REFUSED,))
            server.fails(after=2, refuse=REFUSED)
            tally = draws(format, address, workers=2 if format == "webdataset" else 0)
            assert server.refused == REFUSED and (tally.drawn, tally.failed) == (len(PROMPTS), {})
            assert files(address) == whole

            patch.setattr(Remote.__init__, "__defaults__", ((),))
            server.fails(after=3, refuse=10**6)
            with pytest.raises(StoreError, match="internal error"):
                draws(format, f"{address}-dead")
            server.fails(after=0, refuse=0)
            assert 0 < len(files(f"{address}-dead")) < len(PROMPTS)
            gone_on = draws(format, f"{address}-dead")
        assert gone_on.kept > 0 and gone_on.drawn == len(PROMPTS) - gone_on.kept and files(f"{address}-dead") == whole

    code = f"""
        import json, sys
        from realcompo.draw.many import work
        from realcompo.draw.many.run import draw_many
        from realcompo.recipes.recipe import Recipe
        asked = Recipe.model_validate(json.loads(sys.argv[1]))
        def again(*_, **__):
            raise SystemExit("it was drawn again")
        work.attempt = again
        for format in ("png", "webdataset"):
            for end in ("", "-dead"):
                print(draw_many(asked, "s3://bucket/" + format + end, registry={TOYS!r}, format=format, shard_size=2))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), json.dumps(recipe().plain())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"0 drawn, {len(PROMPTS)} already there"] * 4, done.stderr
    assert all(files(f"s3://bucket/{name}") == files(tmp_path / name) for name in ("png", "webdataset"))
