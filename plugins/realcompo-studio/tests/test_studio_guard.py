"""Who is refused, and what: strangers without the token, other sites' pages, DNS rebinding, paths that lead elsewhere, bodies without end,
pictures that unfold to gigabytes. Each test has a control: the same request that is right, answered."""

from __future__ import annotations

import json
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from realcompo_studio.guard import deeper
from studio_client import BOXES, TOKEN, Client, serving, toys

EVERY = ["/", "/api/state", "/api/components", "/api/jobs", "/api/pictures", "/api/events", "/api/openapi.json", "/assets/x.js", "/none"]


# -- the token ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY)
def test_without_the_token_nothing_is_answered(client: Client, path: str) -> None:
    for shown in (None, "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer ", "Bearer \xff"):
        answer = client.get(path, Authorization=shown)
        assert answer.status == 401, (path, shown)
        assert "token" in answer.problems[0]["what"] and "realcompo studio" in answer.problems[0]["mend"]
        assert TOKEN.encode() not in answer.body


def test_a_post_without_the_token_does_nothing(client: Client) -> None:
    before = client.get("/api/jobs").json
    answer = client.ask("POST", f"/api/draw?token={TOKEN}", {"recipe": toys()}, {"Authorization": None})
    assert answer.status == 401, "the token in the address is for reading alone: addresses are kept in histories"
    assert client.get("/api/jobs").json == before


def test_the_three_ways_to_show_it(client: Client) -> None:
    assert client.get("/api/state").status == 200
    assert client.get(f"/api/state?token={TOKEN}", Authorization=None).status == 200
    welcome = client.get(f"/?token={TOKEN}", Authorization=None)
    assert (welcome.status, welcome.headers["location"]) == (303, "/")
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.get("/api/state", Authorization=None, Cookie=cookie.split(";")[0]).status == 200
    assert client.get("/api/state", Authorization=None, Cookie=cookie.split(";")[0] + "x").status == 401
    assert client.get("/?token=wrong", Authorization=None).status == 401


# -- other pages, other names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/pictures"])
def test_a_page_of_another_site_is_refused(client: Client, path: str) -> None:
    own = f"http://127.0.0.1:{client.port}"
    assert client.get(path, Origin=own).status == 200
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{client.port}", "http://127.0.0.1:1", f"{own}.evil.example", ""):
        answer = client.get(path, Origin=origin)
        assert answer.status == 403 and answer.problems[0]["where"] == "Origin", origin
    assert client.get(path, Sec_Fetch_Site="same-origin").status == 200
    assert client.get(path, Sec_Fetch_Site="cross-site").status == 403
    assert "access-control-allow-origin" not in client.get(path, Origin=own).headers


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/pictures"])
def test_a_name_that_was_pointed_here_is_refused(client: Client, path: str) -> None:
    port = client.port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert client.get(path, Host=host).status == 200, host
    strange = [
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"10.0.0.1:{port}",
        "",
        "[",
    ]
    for host in [*strange, f"localhost:{port}@evil.example", f"localhost:{port}/x", "localhost:x"]:
        answer = client.get(path, Host=host)
        assert answer.status in (400, 403), host  # 400: the server's own parser was faster
    assert client.get(path, Host=None).status in (400, 403)


def test_headers_keep_other_sites_out(client: Client) -> None:
    for path in ("/", "/api/state", "/none"):
        headers = client.get(path).headers
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"] and "http" not in headers["content-security-policy"]


# -- paths -------------------------------------------------------------------------------------------------------------

OUTWARD = [
    "..%2f..%2fsecret.png",
    "%2e%2e%2fsecret.png",
    "..%5csecret.png",
    "%2fetc%2fpasswd",
    "....%2f%2fsecret.png",
    "..%252fsecret.png",
    "%00.png",
    "secret.png%00.png",
    "link.png",
    ".studio%2fjobs",
    ".hidden.png",
    "secret",
    "x" * 300 + ".png",
    "con.png",
]
"""Names that lead elsewhere, as an address writes them."""


def routes(client: Client) -> Iterator[tuple[str, str]]:
    """(method, path) of every route that takes a name."""
    assert client.studio is not None
    paths = client.get("/api/openapi.json").json["paths"]
    for path, methods in paths.items():
        if "{" in path:
            yield from ((method.upper(), path) for method in methods)


def test_no_route_leads_out_of_the_folder(client: Client) -> None:
    assert client.studio is not None
    folder = client.studio.settings.folder
    secret = folder.parent / "secret.png"
    secret.write_bytes(b"a secret that nobody may read")
    (folder / "link.png").symlink_to(secret)
    (folder / ".hidden.png").write_bytes(secret.read_bytes())
    asked = list(routes(client))
    assert len(asked) >= 14
    for method, path in asked:
        for name in OUTWARD:
            full = path
            for field in ("{name}", "{id}", "{which}", "{index}"):
                full = full.replace(field, name)
            answer = client.ask(method, full)
            assert answer.status in (404, 405, 422), (method, full, answer.status)
            assert b"a secret" not in answer.body
    for name in OUTWARD:
        answer = client.get(f"/{name}")
        assert answer.status == 404 and b"a secret" not in answer.body, name
    (folder / "link.png").unlink()
    (folder / ".hidden.png").unlink()


def test_dots_that_are_not_folded_stay_inside(client: Client) -> None:
    for path in ("/../../etc/passwd", "/api/pictures/../../../etc/passwd", "/assets/../../settings.py", "//etc/passwd"):
        answer = client.get(path)
        assert answer.status == 404 and b"root:" not in answer.body, path


def test_every_route_asks_the_guard(client: Client) -> None:
    """The application itself stands behind the guard, whatever route is added."""
    for method, path in routes(client):
        assert client.ask(method, path.replace("{", "x").replace("}", "x"), headers={"Authorization": None}).status == 401


# -- too much ----------------------------------------------------------------------------------------------------------


def test_a_gigabyte_is_refused_by_its_length(client: Client) -> None:
    """Not a byte of it is read: none is sent."""
    for path in ("/api/import", "/api/check"):
        answer = client.ask("POST", path, headers={"Content-Length": str(1 << 30), "Content-Type": "image/png"})
        assert answer.status == 413 and "MiB" in answer.problems[0]["what"], path
    assert client.ask("POST", "/api/import", headers={"Content-Length": "9" * 40}).status in (400, 413)


@pytest.mark.parametrize("path", ["/api/import", "/api/check"])
def test_a_stream_without_end_is_cut(client: Client, path: str) -> None:
    """Chunked, it says no length: what was read of it is bounded, and nothing of it is kept."""
    sent = [0]

    def pieces() -> Iterator[bytes]:
        while sent[0] < 1 << 30:
            sent[0] += 1 << 20
            yield b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"

    answer = client.ask("POST", path, pieces(), {"Transfer-Encoding": "chunked", "Content-Type": "image/png"})
    assert answer.status == 413
    assert sent[0] < 1 << 29, "it was read to its end"
    assert client.studio is not None and not list((client.studio.settings.folder / ".studio" / "uploads").iterdir())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IEND", b"")


def carried(recipe: object, **facts: object) -> bytes:
    """The chunk that carries a recipe."""
    text = json.dumps({"recipe": recipe, "facts": facts}).encode()
    return chunk(b"iTXt", b"realcompo\0\1\0\0\0" + zlib.compress(text))


def send(client: Client, body: bytes) -> list[dict[str, object]]:
    answer = client.ask("POST", "/api/import", body, {"Content-Type": "image/png"})
    return [] if answer.status == 200 else answer.problems


def test_pictures_that_unfold_are_refused(client: Client) -> None:
    """By what their head says, and by how much text they unpack to; a picture of ours is taken."""
    fine = toys(height=64, width=64)
    assert not send(client, png(64, 64, carried(fine), chunk(b"IDAT", zlib.compress(b"\0" * (64 * 193)))))
    bomb = chunk(b"IDAT", zlib.compress(b"\0" * 50_000_000))
    assert "50000×50000" in str(send(client, png(50_000, 50_000, carried(fine), bomb))[0]["what"])
    text = chunk(b"iTXt", b"realcompo\0\1\0\0\0" + zlib.compress(b" " * (64 << 20)))
    assert "larger than" in str(send(client, png(64, 64, text))[0]["what"])
    for wrong in (b"", b"GIF89a", png(64, 64)[:40], png(64, 64), b"\x89PNG\r\n\x1a\n" + b"\xff" * 100):
        assert send(client, wrong)[0]["kind"] == "BadPicture"
    bad = send(client, b"no picture")[0]
    assert client.studio is not None and str(client.studio.settings.folder) not in str(bad), "a path of the server's is nobody's business"


def test_what_a_picture_says_is_held_to_what_reproduce_is(client: Client) -> None:
    """No planner, no downloads, no guarded option, nothing that is not installed, no noise that no seed gives."""
    stranger = toys(planner={"name": "openai/planner", "options": {"model": "x"}})
    answer = client.ask("POST", "/api/import", png(64, 64, carried(stranger)), {"Content-Type": "image/png"})
    assert answer.status == 200 and "planner" not in answer.json["recipe"] and "openai/planner" in answer.json["remarks"][0]
    guarded = toys(branches=[{"name": "toy/fidelity", "options": {"allow_pickle": True}}, {"name": "toy/spatial"}])
    assert "allow_pickle" in str(send(client, png(64, 64, carried(guarded)))[0]["what"])
    assert "'none/here'" in str(send(client, png(64, 64, carried(toys(branches=[{"name": "none/here"}]))))[0]["what"])
    assert "seed" in str(send(client, png(64, 64, carried(toys(seed=None))))[0]["mend"])


def test_ten_thousand_boxes_are_refused_with_their_place(client: Client) -> None:
    many = {"items": [{"phrase": "a cat", "box": [0.1, 0.1, 0.5, 0.5]}] * 10_000}
    answer = client.post("/api/draw", {"recipe": toys(conditions={"boxes": many})})
    assert answer.status == 422
    (problem,) = answer.problems
    assert "1000 boxes" in problem["what"] and problem["at"] == ["pictures", 0, "conditions", "boxes"] and problem["mend"]


BOTTOMLESS = {
    "lists": "[" * 100_000 + "]" * 100_000,
    "open lists": "[" * 5_000_000,
    "open tables": '{"a":' * 100_000,
    "lists and lists": "[[]" * 100_000,
}


@pytest.mark.parametrize("kind", BOTTOMLESS)
def test_json_without_bottom_is_refused(client: Client, kind: str) -> None:
    for path in ("/api/check", "/api/draw", "/api/plan", "/api/phrases", "/api/recipe"):
        answer = client.ask("POST", path, BOTTOMLESS[kind].encode(), {"Content-Type": "application/json"})
        assert answer.status == 400 and "nested" in answer.problems[0]["what"]


def test_brackets_are_counted_outside_of_texts() -> None:
    assert not deeper(json.dumps({"prompt": "[" * 1000, "x": ["]" * 9, '"[', "\\"]}).encode(), 8)
    assert not deeper(b"[[[[[[[[]]]]]]]]", 8) and deeper(b"[[[[[[[[[]]]]]]]]]", 8)
    assert not deeper(json.dumps([[[BOXES] * 50] * 20] * 5).encode(), 64)
    assert deeper(b'{"a":' * 65 + b"1" + b"}" * 65, 64) and not deeper(b'"' + b'\\"' * 100_000, 8)


NO_REQUEST = {
    "nothing": "",
    "half": "{",
    "no JSON": "nul",
    "no number": "NaN",
    "infinity": '{"recipe": {"num_inference_steps": Infinity}}',
    "a list": "[1]",
    "a text": '"x"',
    "no UTF-8": "\ud800",
    "half a pair": '{"recipe": {"pictures": [{"prompt": "\\ud800"}]}}',
}


@pytest.mark.parametrize("kind", NO_REQUEST)
def test_what_is_no_request_is_told(client: Client, kind: str) -> None:
    answer = client.ask("POST", "/api/draw", NO_REQUEST[kind].encode("utf-8", "surrogatepass"), {"Content-Type": "application/json"})
    assert answer.status in (400, 422) and answer.problems


def test_a_queue_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing waits at its beginning until the third picture was asked for: how fast a toy is drawn has no say in it."""
    from realcompo_studio import drawing
    from realcompo_studio.settings import Limits

    asked = threading.Event()

    @contextmanager
    def held(*key: str) -> Iterator[None]:
        asked.wait(60)
        yield

    monkeypatch.setattr(drawing, "alone", held)
    with serving(tmp_path, limits=Limits(queue=2)) as small:
        slow = toys(num_inference_steps=400)
        ids = [small.draw(slow), small.draw(slow)]
        answer = small.post("/api/draw", {"recipe": slow})
        asked.set()
        assert answer.status == 429 and "cancel" in answer.problems[0]["mend"]
        for id in ids:
            small.post(f"/api/jobs/{id}/cancel")
            small.finished(id)
        small.drawn(toys())
