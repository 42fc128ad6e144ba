"""Tests see nothing of the developer's own: no network, home, settings or terminal; what they ask of the checkout is answered once."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

import tests
from tests import brings, lacking, refused_address


@pytest.mark.parametrize(
    "address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), "example.org", b"example.org", "10.0.0.1", "127.evil.example"]
)
def test_what_leads_elsewhere_is_refused(address: object) -> None:
    assert refused_address(address)


@pytest.mark.parametrize(
    "address", [("127.0.0.1", 80), ("::1", 80, 0, 0), "localhost", None, "", "/run/socket", b"localhost", ("127.8.9.1", 1)]
)
def test_this_machine_is_not(address: object) -> None:
    assert not refused_address(address)


def test_no_connection_leaves_and_no_name_is_asked_for() -> None:
    with pytest.raises(OSError, match="no test may reach"):
        socket.create_connection(("192.0.2.1", 80))
    with pytest.raises(OSError, match="no test may reach"):
        socket.getaddrinfo("example.org", 443)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass  # the control


def test_home_and_folders_are_the_runs_own(tmp_path: Path) -> None:
    base = tmp_path.parent
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME"):
        assert Path(os.environ[name]).parent == base, name
    assert Path.home().parent == Path(tempfile.gettempdir()).parent == base
    assert not {"REALCOMPO_CONFIG", "OPENAI_BASE_URL", "FORCE_COLOR"} & os.environ.keys()


def test_what_a_checkout_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("fidelity/unet/diffusion_pytorch_model.safetensors", "cute/pytorch_lora_weights.safetensors", "pose/config.json"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    monkeypatch.setattr(tests, "MINI", tmp_path)
    assert brings("fidelity", "mini/cute") and lacking("mini/fidelity", "cute") == ""
    assert lacking("mini/pose", "fidelity", "boxes") == "this checkout holds no weights of mini/boxes, mini/pose"
