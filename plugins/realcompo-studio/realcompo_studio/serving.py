"""Starts and ends the server: where it listens, what it prints, what Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import warnings
import webbrowser
from pathlib import Path
from typing import Any

import typer

from realcompo.errors import BadOption, RealCompoError, Remark
from realcompo.recipes.configuration import user_settings

from .settings import SHORTEST_TOKEN, TOKEN_VARIABLE, Settings

DEFAULT_PORT = 8765
ATTEMPTS = 20
"""Ports that are tried after the default one."""


def run(folder: Path | None, *, port: int, host: str, browser: bool, sets: tuple[str, ...] = ()) -> None:
    """Serve until Ctrl-C. Errors of ours end the process with their message and exit code 2."""
    debug = os.environ.get("REALCOMPO_DEBUG", "") not in ("", "0")
    try:
        _serve(folder, port=port, host=host, browser=browser, sets=sets, debug=debug)
    except RealCompoError as error:
        if debug:
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(error.exit_code) from None


def settings_of(folder: Path | None, *, port: int, host: str, sets: tuple[str, ...]) -> tuple[Settings, socket.socket]:
    """Settings, and the socket that is bound: the port is known before anything is told.

    Raises:
        BadOption: the address cannot be listened on, or the token of the environment is too short.
    """
    place = folder if folder is not None else Path(user_settings().output or ".").expanduser() / "studio"
    told = os.environ.get(TOKEN_VARIABLE)
    if told is not None and (len(told) < SHORTEST_TOKEN or not told.isascii() or not told.isprintable() or set(told) & set('"; ,\\')):
        raise BadOption(
            "the token is too short, or holds what no cookie can",
            where=TOKEN_VARIABLE,
            mend=f"{SHORTEST_TOKEN} letters and digits or more, or leave it out: each start makes a new one",
        )
    bound = _bound(host, port)
    token = secrets.token_urlsafe(24) if told is None else told
    return Settings(place.expanduser().resolve(), host=host, port=bound.getsockname()[1], token=token, sets=sets), bound


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound; the next free port where the default one is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for number in range(port, port + (ATTEMPTS if port == DEFAULT_PORT else 1)):
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # elsewhere it would let two servers have one port
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, number))
            return made
        except (OSError, OverflowError) as error:
            made.close()
            last = error if isinstance(error, OSError) else OSError(str(error))
    raise BadOption(f"{host}:{port} cannot be listened on: {last}", mend="name another with --port (0 takes a free one) or --host")


def _quiet() -> None:
    """Leave the terminal to the address: no bars of milliseconds, and no warnings of what stands beside each run on its page."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=Remark)


def _serve(folder: Path | None, *, port: int, host: str, browser: bool, sets: tuple[str, ...], debug: bool) -> None:
    settings, bound = settings_of(folder, port=port, host=host, sets=sets)
    _quiet()
    import uvicorn

    from .app import create_app
    from .studio import Studio

    studio = Studio(settings)
    app = create_app(settings, studio, debug=debug)
    if not settings.local:
        typer.secho(
            f"warning: the studio listens on {settings.host}, so others on the network can reach it. Whoever has the token can draw, "
            "read and plan here, and the connection is not encrypted: pass the address on by a safe way, or use an SSH tunnel.",
            fg="yellow",
            err=True,
        )
    address = f"{settings.address}?token={settings.token}"

    class Server(uvicorn.Server):
        """Ends the streams at once: each would wait for events that do not come any more."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            studio.hub.close()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5)
    bound.listen(128)  # whoever comes before the server is ready waits, and is not refused
    _greet(address, settings.folder, browser)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once everything is closed: that is how a server ends
        Server(config).run(sockets=[bound])
    typer.echo(f"the studio has ended; finished pictures are in {settings.folder}")


def _greet(address: str, folder: Path, browser: bool) -> None:
    typer.echo(f"studio: {address}")
    typer.echo(f"  pictures go to {folder}; Ctrl-C ends it")
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
