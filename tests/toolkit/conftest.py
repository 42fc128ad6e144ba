"""What files of checkpoints are read under: no network, and where a test says so, no tensor."""

from __future__ import annotations

import socket
from typing import Any

import pytest


@pytest.fixture
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network fails whoever asks it, and nobody has allowed a download."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nobody asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("REALCOMPO_DOWNLOAD", raising=False)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, no tensor may be read."""
    import safetensors

    class Header:
        def __init__(self, path: Any, framework: str) -> None:
            assert framework == "numpy", "only names and shapes"
            self.file = original(path, framework=framework)

        def __enter__(self) -> Any:
            opened = self.file.__enter__()
            return type("Names", (), {name: getattr(opened, name) for name in ("keys", "get_slice", "metadata")})

        def __exit__(self, *_: Any) -> None:
            self.file.__exit__(None, None, None)

    original = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Header)
