"""The page's built files. They are listed once: a path of a request is looked for among them, never made into a path of the disk."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi.responses import HTMLResponse, Response

from .problems import not_found

MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>RealCompo studio</title><h1>RealCompo studio</h1>
<p>The server runs, but its page is not built in this checkout: <code>make studio</code> builds it.
The API answers at <a href="/api/openapi.json">/api/openapi.json</a>.</p>"""


def page_of() -> Callable[[str], Response]:
    """Path → the file that is there."""
    files = dict(_listed(resources.files(__package__).joinpath("static"), ""))

    def serve(path: str) -> Response:
        if path in ("", "index.html"):
            start = files.get("index.html")
            return HTMLResponse(MISSING if start is None else start.read_bytes(), headers={"cache-control": "no-cache"})
        if path not in files or path.startswith("api/"):
            raise not_found(f"there is no {path[:80]!r}", "the page is at /, the API under /api")
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        kept = "private, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return Response(files[path].read_bytes(), media_type=kind, headers={"cache-control": kept})

    return serve


def _listed(folder: Traversable, at: str) -> list[tuple[str, Traversable]]:
    if not folder.is_dir():
        return []
    found: list[tuple[str, Traversable]] = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _listed(one, f"{at}{one.name}/")
        else:
            found.append((at + one.name, one))
    return found
