"""How the studio starts and ends: what is imported before anything is drawn, what is printed, what Ctrl-C does.
docs/studio.md shows the commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from realcompo_studio.serving import _quiet, settings_of
from realcompo_studio.settings import TOKEN_VARIABLE
from studio_client import Client, toys

from realcompo.errors import BadOption, Remark

LOOK = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from studio_client import serving
from realcompo.registry import installed
with serving(Path({folder!r}), registry=installed()) as client:
    state = client.get("/api/state").json
    assert state["embedded"]["ready"] and state["sample"]["conditions"]["boxes"], state
    assert [one["name"] for one in state["recipe"]["branches"]] == ["mini/fidelity", "mini/boxes"]
    parts = client.get("/api/components").json
    assert {{"mini/fidelity", "mini/boxes"}} <= {{one["id"] for one in parts["branches"]}}
    for path in ("schema", "poses", "vocabulary?branch=mini/segmentation", "jobs", "pictures", "openapi.json"):
        assert client.get("/api/" + path).status == 200, path
    for path in ("/", "/index.html"):
        assert client.get(path).status == 200, path
    items = [{{"id": "1", "phrase": "a cat"}}]
    assert client.post("/api/phrases", {{"prompt": "a cat", "items": items}}).json["matches"][0]["span"]
    wrong = client.post("/api/check", {{"recipe": {{"schedular": 1}}}}).json
    assert wrong["errors"][0]["at"] == ["schedular"]
heavy = sorted({{"torch", "diffusers", "transformers", "scipy", "skimage"}} & set(sys.modules))
print("heavy:", heavy)
"""


def test_a_page_can_be_shown_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code = LOOK.format(here=str(Path(__file__).parent), folder=str(tmp_path / "studio"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "heavy: []"


def test_the_verb_imports_nothing_heavy() -> None:
    """`realcompo --help` imports every verb's module."""
    code = "import sys, realcompo_studio.command; print(sorted({'fastapi', 'uvicorn', 'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def started(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[str], Client, list[str]]:
    """`realcompo studio` in a process of its own, once it has told its address."""
    environment = {**os.environ, TOKEN_VARIABLE: "t" * 30}
    command = [sys.executable, "-m", "realcompo", "studio", "--no-browser", "--port", "0", "--folder", str(tmp_path / "mine"), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    match = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=t{30}\n", said[0])
    assert match, (said, process.stderr and process.poll() is not None and process.stderr.read())
    return process, Client(int(match[1]), token="t" * 30), said


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal there")
@pytest.mark.deep
def test_ctrl_c_ends_it_cleanly_and_loses_nothing(tmp_path: Path) -> None:
    """In the midst of a run, with a stream open."""
    process, client, said = started(tmp_path)
    try:
        assert str(tmp_path / "mine") in said[1]
        recipe = {"num_inference_steps": 3, "device": "cpu", "pictures": [{"prompt": "a cat and a red balloon", "seed": 1}]}
        done = client.drawn(recipe)
        running = client.draw({**recipe, "num_inference_steps": 500})
        for _, name, _ in client.events(f"/api/jobs/{running}/events"):
            if name == "step":
                process.send_signal(signal.SIGINT)
            last = name
        assert last in ("interrupted", "step", "phase")
        out, err = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert "has ended" in out and "Traceback" not in err
    assert (tmp_path / "mine" / done).is_file()
    again, client, _ = started(tmp_path)
    try:
        assert [one["name"] for one in client.get("/api/pictures").json["pictures"]] == [done]
        assert client.get(f"/api/jobs/{running}").json["status"] == "interrupted"
    finally:
        again.kill()
        again.wait()


def test_another_host_is_warned_of_and_still_asks_for_the_token(tmp_path: Path) -> None:
    process, client, _ = started(tmp_path, "--host", "0.0.0.0")
    try:
        assert client.get("/api/jobs").status == 200 and client.get("/api/jobs", Authorization=None).status == 401
        assert client.get("/api/jobs", Host=f"192.0.2.7:{client.port}").status == 200, "an address is nobody's name"
        assert client.get("/api/jobs", Host=f"evil.example:{client.port}").status == 403
    finally:
        process.terminate()
        _, err = process.communicate()
    assert "warning" in err and "0.0.0.0" in err and "not encrypted" in err


def test_the_loopback_warns_of_nothing(tmp_path: Path) -> None:
    process, _, _ = started(tmp_path)
    process.terminate()
    _, err = process.communicate()
    assert "warning" not in err


def test_where_it_listens_and_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "user.toml"))
    first, bound = settings_of(None, port=0, host="127.0.0.1", sets=())
    second, other = settings_of(None, port=0, host="127.0.0.1", sets=())
    bound.close(), other.close()
    assert first.folder == tmp_path.resolve() / "studio" and len(first.token) >= 24 and first.token != second.token
    assert first.token not in repr(first), "a traceback shows no token"
    (tmp_path / "user.toml").write_text('output = "pictures"\n')
    settings, bound = settings_of(None, port=0, host="127.0.0.1", sets=())
    bound.close()
    assert settings.folder == tmp_path.resolve() / "pictures" / "studio"
    for host, port in (("127.0.0.1", first.port), ("192.0.2.1", 0), ("no such host", 0)):
        taken = __import__("socket").socket()
        taken.bind(("127.0.0.1", first.port))
        taken.listen()
        with pytest.raises(BadOption, match="cannot be listened on"):
            settings_of(None, port=port, host=host, sets=())
        taken.close()
    for token in ("short", "x" * 23, "x" * 30 + ";", "x" * 30 + " ", "ü" * 30):
        monkeypatch.setenv(TOKEN_VARIABLE, token)
        with pytest.raises(BadOption, match="token"):
            settings_of(None, port=0, host="127.0.0.1", sets=())[1].close()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    command = [sys.executable, "-m", "realcompo", "studio", "--no-browser", "--port", "0", "--folder", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--folder" in done.stderr and "Traceback" not in done.stderr
    assert toys()


def test_remarks_of_runs_stay_out_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand beside each run on the page; the terminal would show them with a line of our source."""
    monkeypatch.setattr(os, "environ", {})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.warn("a remark", Remark, stacklevel=1)
        assert len(told) == 1, "the control: they are told elsewhere"
        _quiet()
        warnings.warn("another", Remark, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(one.message) for one in told] == ["a remark", "something else"]
