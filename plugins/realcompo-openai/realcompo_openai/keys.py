"""The key: from the environment only, to where it belongs only, and out of every text that leaves us."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from .errors import KeyProblem

PLACEHOLDER = "no-key-needed"
"""What a server on this machine is told where there is no key (the client insists on one)."""


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def key_for(url: str, variable: str) -> str:
    """The key to send to a server.

    Raises:
        KeyProblem: there is none and the server is not on this machine, or it cannot be one.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        if is_loopback(url):
            return PLACEHOLDER
        raise KeyProblem(
            f"no key for {url}", where=f"environment variable {variable}", mend=f"export {variable}=…, or name another variable as key_from"
        )
    if not key.isascii() or not key.isprintable() or " " in key or len(key) < 8:
        if is_loopback(url) and key.isascii() and key.isprintable():
            return key
        raise KeyProblem("what it holds cannot be a key", where=f"environment variable {variable}", mend="copy the key again")
    return key


class Scrubber:
    """Takes a key out of texts and of plain data."""

    def __init__(self, key: str) -> None:
        # A short one (a local server's "x") would take letters out of ordinary words, and is no secret.
        self._key = key if len(key) >= 6 and key != PLACEHOLDER else ""

    def text(self, value: str) -> str:
        """The text without the key."""
        return value.replace(self._key, "[key]") if self._key else value

    def data(self, value: Any) -> Any:
        """Plain data without the key, names of fields included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(name): self.data(one) for name, one in value.items()}
        return [self.data(one) for one in value] if isinstance(value, (list, tuple)) else value
