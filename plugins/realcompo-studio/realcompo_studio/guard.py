"""What is refused before any route is asked: strangers, other pages, other hosts' names, bodies without end, JSON without bottom.

A page that the user visits elsewhere can make the browser send requests here (cross-site requests; a name of its own that it points at the
loopback: DNS rebinding). Neither has the token, and each is refused by itself as well: by Origin and Sec-Fetch-Site, and by Host.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .problems import Denied, Problem, answer, too_large
from .settings import Settings

Scope = dict[str, Any]

SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""Headers of every answer: the page loads nothing from elsewhere, and stands in nobody's frame."""

UPLOADS = ("/api/import",)
"""Routes whose body is a picture: they read it themselves, a piece at a time."""


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer or refuse one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def signed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in SAFE.items() if k.encode() not in names]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            headers = headers_of(scope)
            self._check_host(headers)
            self._check_origin(headers)
            if self._greeted(scope):
                await self._welcome(scope, signed)
                return
            self._check_token(scope, headers)
            if scope["path"] not in UPLOADS:
                receive = await self._bounded(headers, receive)
        except Denied as refused:
            await tell(signed, refused)
            return
        await self.app(scope, receive, signed)

    # -- who asks ----------------------------------------------------------------------------------------------------------------

    def _check_host(self, headers: dict[str, list[str]]) -> None:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self._known_host(hosts[0]):
            raise Denied(
                f"this server is not called {', '.join(hosts)[:80] or 'nothing'!r}",
                where="Host",
                mend=f"ask {self.settings.address}; a name that leads here may be a stranger's (DNS rebinding)",
                status=403,
            )

    def _known_host(self, text: str) -> bool:
        """Whether a Host is this server. On the loopback its three names alone; elsewhere also addresses (no name, no rebinding) and the
        host's own names."""
        try:
            parts = urlsplit(f"//{text}")
            name, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return False
        if (port or 80) != self.settings.port or parts.username is not None or parts.path or parts.query:
            return False
        if name in ("127.0.0.1", "localhost", "::1"):
            return True
        if self.settings.local:
            return False
        own = {self.settings.host.lower(), socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        return name in own or _is_address(name)

    def _check_origin(self, headers: dict[str, list[str]]) -> None:
        host = headers["host"][0]
        origins, sites = headers.get("origin", []), headers.get("sec-fetch-site", [])
        foreign = [one for one in origins if one.lower() != f"http://{host.lower()}"]
        if foreign or "cross-site" in sites or (origins and len(origins) > 1):
            raise Denied(
                f"a page of {', '.join(foreign)[:80] or 'another site'} may not ask this server",
                where="Origin",
                mend=f"open {self.settings.address} itself, or ask by a program, which sends no Origin",
                status=403,
            )

    def _shown(self, scope: Scope) -> str | None:
        """The token in the address, which only reading may use."""
        told = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=50).get("token", []) if scope["query_string"] else []
        return told[0] if len(told) == 1 and scope["method"] in ("GET", "HEAD") else None

    def _greeted(self, scope: Scope) -> bool:
        """Whether this is the first call of a browser: the page's address with the right token."""
        shown = self._shown(scope)
        return scope["path"] == "/" and shown is not None and self._right(shown)

    def _check_token(self, scope: Scope, headers: dict[str, list[str]]) -> None:
        shown = [*_bearer(headers), *_cookies(headers, self.settings.cookie)]
        if (told := self._shown(scope)) is not None:
            shown.append(told)
        if not any(self._right(one) for one in shown):
            raise Denied(
                "the token is wrong" if shown else "there is no token",
                where="token",
                mend="open the address that `realcompo studio` printed, with its token; a program sends Authorization: Bearer TOKEN",
                status=401,
            )

    def _right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.settings.token.encode())

    async def _welcome(self, scope: Scope, send: Any) -> None:
        """The token from the address into a cookie, and the address without it."""
        cookie = f"{self.settings.cookie}={self.settings.token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    # -- how much --------------------------------------------------------------------------------------------------------------------

    async def _bounded(self, headers: dict[str, list[str]], receive: Any) -> Any:
        """A receive that gives the whole body at once, which was read within its bounds."""
        most, size, parts, more = self.settings.limits.body, 0, [], True
        check_length(headers, most)
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return _replay(message, receive)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise too_large(f"the request is larger than {most >> 20} MiB", "send less: a recipe is a small text")
            more = message.get("more_body", False)
        body = b"".join(parts)
        if deeper(body, self.settings.limits.depth):
            raise Denied(
                "tables or lists are nested too deeply", where="body", mend="send a recipe as docs/recipes.md shows it", status=400
            )
        return _replay({"type": "http.request", "body": body, "more_body": False}, receive)


def check_length(headers: dict[str, list[str]], most: int) -> None:
    """Refuse a body that says itself that it is too large, before a byte of it is read."""
    for text in headers.get("content-length", []):
        if not (text.isascii() and text.isdigit()):
            raise Denied("its length is no number", where="Content-Length", mend="send a plain request", status=400)
        if len(text) > 15 or int(text) > most:
            raise too_large(f"the request is larger than {most >> 20} MiB", "send less")


def headers_of(scope: Scope) -> dict[str, list[str]]:
    """Headers by name in small letters."""
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


async def tell(send: Any, refused: Denied) -> None:
    """An error as an answer."""
    body = json.dumps(answer([Problem(refused)])).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(first: dict[str, Any], rest: Any) -> Any:
    waiting = [first]

    async def receive() -> Any:
        return waiting.pop() if waiting else await rest()

    return receive


def _bearer(headers: dict[str, list[str]]) -> list[str]:
    told = [one.partition(" ") for one in headers.get("authorization", [])]
    return [token.strip() for scheme, _, token in told if scheme.lower() == "bearer"]


def _cookies(headers: dict[str, list[str]], name: str) -> list[str]:
    found = []
    for text in headers.get("cookie", []):
        try:
            jar = SimpleCookie(text)
        except CookieError:
            continue
        if name in jar:
            found.append(jar[name].value)
    return found


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.S)
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def deeper(body: bytes, limit: int) -> bool:
    """Whether more brackets of a JSON text are open at once than `limit`; brackets inside texts do not count. What is no JSON may be
    taken for deep: it is refused either way."""
    brackets = _TEXTS.sub(b"", body).translate(bytes.maketrans(b"{}", b"[]"), _OTHERS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # the innermost pairs
    return bool(brackets)
