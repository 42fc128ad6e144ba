"""The application: routes, and how errors become answers. What the routes do is in `studio.py`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from realcompo.errors import BadOption, RealCompoError
from realcompo.recipes.schema import recipe_schema

from .describing import poses, vocabulary
from .guard import Guard, check_length, headers_of
from .models import CancelBody, CheckBody, DrawBody, ErrorsModel, PhrasesBody, PlanBody, RecipeBody
from .page import page_of
from .problems import Denied, Problem, Unfit, answer, not_found, unexpected
from .reading import read
from .settings import Settings
from .sharing import Form, text_of
from .studio import Plain, Studio
from .uploads import looked_at, received

PNG = {"content": {"image/png": {}}, "description": "a PNG"}
PNG_ANSWER: dict[int | str, dict[str, Any]] = {200: PNG}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}, "description": "server-sent events: see API.md"}}
UPLOAD = {"requestBody": {"required": True, "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}
SOON = {"cache-control": "no-cache"}
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
Name = str


def create_app(settings: Settings, studio: Studio | None = None, *, debug: bool = False) -> Any:
    """The guarded application of a studio."""
    mine = studio or Studio(settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        mine.hub.open()
        yield
        await run_in_threadpool(mine.close)

    errors: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorsModel, "description": "what, where and mend of each error"}}
    app = FastAPI(
        title="RealCompo studio",
        version="1",
        description="Plan, check and draw pictures, watch them, and look inside. API.md says what each field means.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=life,
        responses=errors,
    )
    app.state.studio = mine
    _errors(app, debug)
    _about(app, mine)
    _making(app, mine)
    _jobs(app, mine)
    _gallery(app, mine)
    page = page_of()

    @app.get("/{path:path}", include_in_schema=False)
    def static(path: str) -> Response:
        return page(path)

    return Guard(app, settings)


# -- errors ----------------------------------------------------------------------------------------------------------------------------


def _errors(app: FastAPI, debug: bool) -> None:
    @app.exception_handler(Denied)
    async def refused(request: Request, error: Denied) -> Response:
        # What is too large is still being sent: without the line's end it would be read to its own.
        return JSONResponse(answer([Problem(error)]), error.status, {"connection": "close"} if error.status == 413 else None)

    @app.exception_handler(Unfit)
    async def unfit(request: Request, error: Unfit) -> Response:
        return JSONResponse(answer(error.problems), 422)

    @app.exception_handler(RealCompoError)
    async def ours(request: Request, error: RealCompoError) -> Response:
        return JSONResponse(answer([Problem(error)]), 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        bad_json = any(one["type"] == "json_invalid" for one in found)
        problems = [
            Problem(
                BadOption(str(one["msg"]), where=".".join(map(str, one["loc"])), mend="see GET /api/openapi.json"),
                tuple(part for part in one["loc"][1:] if isinstance(part, (str, int))),
            )
            for one in found[:20]
        ]
        return JSONResponse(answer(problems), 400 if bad_json else 422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        what = "there is no such route" if error.status_code == 404 else str(error.detail)
        told = Denied(what, where=request.url.path[:200], mend="see GET /api/openapi.json", status=error.status_code)
        return JSONResponse(answer([Problem(told)]), error.status_code)

    @app.exception_handler(Exception)
    async def mistake(request: Request, error: Exception) -> Response:
        if debug:
            traceback.print_exception(error, file=sys.stderr)
        return JSONResponse(answer([Problem(unexpected(error))]), 500)


# -- what there is ---------------------------------------------------------------------------------------------------------------------


def _about(app: FastAPI, studio: Studio) -> None:
    @app.get("/api/state", tags=["about"])
    def state() -> Plain:
        """The tool, its configuration, and its bounds."""
        return studio.state()

    @app.get("/api/components", tags=["about"])
    def components() -> Plain:
        """All installed components with their options, and which of them compose."""
        return studio.components()

    @app.get("/api/schema", tags=["about"])
    def schema() -> Plain:
        """JSON Schema of a recipe."""
        return recipe_schema()

    @app.get("/api/poses", tags=["about"])
    def all_poses(box: str = "0,0,1,1", size: str = "1,1") -> Plain:
        """The built-in poses, placed in a box of a picture of height,width."""
        x0, y0, x1, y1 = _numbers(box, 4, "box", 0, 1)
        height, width = _numbers(size, 2, "size", 1, 16384)
        if not (x0 < x1 and y0 < y1):
            raise BadOption(f"box = {box!r} has no area", mend="write x0,y0,x1,y1 with x0 < x1 and y0 < y1")
        return poses((x0, y0, x1, y1), (round(height), round(width)))

    @app.get("/api/vocabulary", tags=["about"])
    def classes(branch: str | None = None) -> Plain:
        """The classes of segmentation maps and their colours: a branch's own, or ADE20K's."""
        return vocabulary(studio.registry, branch)


def _numbers(text: str, count: int, name: str, least: float, most: float) -> list[float]:
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(least <= one <= most for one in found):
        raise BadOption(f"{name} = {text[:60]!r} is not {count} numbers from {least} to {most}", mend="write them with commas")
    return found


# -- plan, check, draw -----------------------------------------------------------------------------------------------------------------


def _making(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/phrases", tags=["make"])
    def phrases(body: PhrasesBody) -> Plain:
        """Which words of a prompt each region's phrase is."""
        return studio.phrases(body)

    @app.post("/api/plan", tags=["make"])
    def plan(body: PlanBody) -> Plain:
        """Where things would stand."""
        return studio.plan(body)

    @app.post("/api/check", tags=["make"])
    def check(body: CheckBody) -> Plain:
        """All that can be known of a recipe without weights: errors by field, remarks, cost."""
        return studio.check(body.recipe)

    @app.post("/api/draw", tags=["make"], status_code=202)
    def draw(body: DrawBody) -> Plain:
        """Put a recipe's pictures into the queue."""
        return {"jobs": [studio.queues.plain(job) for job in studio.draw(body.recipe, body.client)]}

    @app.post("/api/recipe", tags=["make"])
    def recipe(body: RecipeBody) -> Plain:
        """A recipe as a text to copy."""
        text, file = text_of(read(body.recipe, studio.registry, studio.settings.sets), body.form, studio.registry)
        return {"text": text, "file": file}

    @app.post("/api/import", tags=["make"], openapi_extra=UPLOAD)
    async def take_in(request: Request) -> Plain:
        """The state that a PNG of ours carries. The body is the file."""
        check_length(headers_of(dict(request.scope)), studio.settings.limits.upload)
        path = await received(request.stream(), studio.store, studio.settings.limits)
        try:
            return await run_in_threadpool(lambda: studio.restored(looked_at(path, studio.settings.limits), "the picture"))
        finally:
            path.unlink(missing_ok=True)


# -- jobs --------------------------------------------------------------------------------------------------------------------------------


def _jobs(app: FastAPI, studio: Studio) -> None:
    queues = studio.queues

    @app.get("/api/jobs", tags=["jobs"])
    def jobs(client: str | None = None, status: str | None = None) -> Plain:
        """All jobs, oldest first; of a client, or of some states."""
        wanted = None if status is None else status.split(",")
        return {"jobs": [one for one in queues.state(client=client)["jobs"] if wanted is None or one["status"] in wanted]}

    @app.get("/api/jobs/{id}", tags=["jobs"])
    def job(id: str) -> Plain:
        """One job, with its recipe."""
        found = queues.get(id)
        return {**queues.plain(found), "recipe": found.recipe.plain()}

    @app.post("/api/jobs/{id}/cancel", tags=["jobs"])
    def cancel(id: str, body: CancelBody | None = None) -> Plain:
        """Take it out of the queue, or stop it after its present step."""
        return queues.plain(queues.cancel(id, keep=body.keep if body is not None else False))

    @app.get("/api/jobs/{id}/steps/{index}", tags=["jobs"])
    def inside(id: str, index: int) -> Plain:
        """What can be seen of a step that is done."""
        found = queues.get(id)
        seen = found.seen
        if found.status == "done" and found.kind == "picture" and found.picture is not None:
            return _step(studio.store.trace(found.picture), index)
        return _step({"steps": seen.steps, "maps": seen.maps}, index)

    @app.get("/api/jobs/{id}/previews/{index}", tags=["jobs"], responses=PNG_ANSWER, response_class=Response)
    def preview(id: str, index: int | Literal["last"]) -> Response:
        """What the run expected after a step."""
        found = queues.get(id)
        if found.status == "done" and found.kind == "picture" and found.picture is not None:
            return _preview(studio.store.trace(found.picture)["previews"], index)
        return _preview(found.seen.previews, index)

    def stream(request: Request, after: str | None, job: str | None, client: str | None) -> Response:
        seen = after or request.headers.get("last-event-id")
        events = studio.hub.stream(queues.state, seen=seen, job=job, client=client)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    @app.get("/api/jobs/{id}/events", tags=["jobs"], responses=EVENTS, response_class=StreamingResponse)
    def job_events(request: Request, id: str, after: str | None = None) -> Response:
        """Events of one job; ends after its last."""
        queues.get(id)
        return stream(request, after, id, None)

    @app.get("/api/events", tags=["jobs"], responses=EVENTS, response_class=StreamingResponse)
    def events(request: Request, after: str | None = None, client: str | None = None, job: str | None = None) -> Response:
        """Events of all jobs."""
        if job is not None:
            queues.get(job)
        return stream(request, after, job, client)


def _step(trace: Any, index: int) -> Plain:
    """Numbers and maps of a step together."""
    if not 0 <= index < len(trace["maps"]):
        raise not_found(f"step {index} is not done", f"steps 0 to {len(trace['maps']) - 1} are" if trace["maps"] else "none is")
    return {**trace["steps"][index], **trace["maps"][index]}


def _preview(previews: Any, index: int | str) -> Response:
    import base64

    numbers = sorted(int(number) for number in previews)
    number = numbers[-1] if index == "last" and numbers else index
    data = previews.get(number, previews.get(str(number)))
    if data is None:
        raise not_found(f"step {index} has no preview", f"steps with one: {', '.join(map(str, numbers)) or 'none'}"[:200])
    image = data if isinstance(data, bytes) else base64.b64decode(data)
    return Response(image, media_type="image/png", headers=SOON if index == "last" else KEPT)


# -- the gallery -------------------------------------------------------------------------------------------------------------------------


def _gallery(app: FastAPI, studio: Studio) -> None:
    store = studio.store

    @app.get("/api/pictures", tags=["gallery"])
    def pictures(offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 60) -> Plain:
        """Pictures with their recipes, newest first."""
        return studio.pictures(offset, limit)

    @app.get("/api/pictures/{name}", tags=["gallery"])
    def picture(name: Name) -> Plain:
        """One of them, with recipe and facts."""
        store.picture(name)
        return studio.picture(name, whole=True)

    @app.get("/api/pictures/{name}/image", tags=["gallery"], responses=PNG_ANSWER, response_class=Response)
    def image(name: Name, download: bool = False) -> Response:
        """The file as it is on disk."""
        return _file(store.picture(name).read_bytes(), "image/png", name if download else None)

    @app.get("/api/pictures/{name}/thumbnail", tags=["gallery"], responses=PNG_ANSWER, response_class=Response)
    def thumbnail(name: Name) -> Response:
        """At most 256 pixels a side."""
        return _file(store.thumbnail(name), "image/png", None)

    @app.get("/api/pictures/{name}/recipe", tags=["gallery"])
    def recipe(name: Name, form: Annotated[Form, Query(alias="as")] = "json", download: bool = False) -> Any:
        """Its recipe as a text."""
        store.picture(name)
        text, _ = text_of(store.embedded(name).recipe, form, studio.registry)
        from .sharing import SUFFIX

        file = name.removesuffix(".png") + SUFFIX[form]
        return _file(text.encode(), "text/plain; charset=utf-8", file) if download else {"text": text, "file": file}

    @app.get("/api/pictures/{name}/state", tags=["gallery"])
    def state(name: Name) -> Plain:
        """What the page goes on from."""
        store.picture(name)
        return studio.restored(store.embedded(name), name)

    @app.get("/api/pictures/{name}/trace", tags=["gallery"])
    def trace(name: Name) -> Plain:
        """The numbers of all steps."""
        found = store.trace(name)
        kept = {key: found[key] for key in ("branches", "regions", "count", "steps", "cost", "remarks")}
        return {**kept, "previews": sorted(map(int, found["previews"]))}

    @app.get("/api/pictures/{name}/steps/{index}", tags=["gallery"])
    def inside(name: Name, index: int) -> Plain:
        """What was seen of a step."""
        return _step(store.trace(name), index)

    @app.get("/api/pictures/{name}/previews/{index}", tags=["gallery"], responses=PNG_ANSWER, response_class=Response)
    def preview(name: Name, index: int | Literal["last"]) -> Response:
        """What the run expected after a step."""
        return _preview(store.trace(name)["previews"], index)

    @app.post("/api/pictures/{name}/parents", tags=["gallery"], status_code=202)
    def draw_parents(name: Name, client: str | None = None) -> Plain:
        """Draw each model alone with the same noise."""
        store.picture(name)
        return {"jobs": [studio.queues.plain(job) for job in studio.parents(name, client)]}

    @app.get("/api/pictures/{name}/parents/{which}", tags=["gallery"], responses=PNG_ANSWER, response_class=Response)
    def parent(name: Name, which: str) -> Response:
        """What one model drew alone."""
        return _file(store.parent(name, which).read_bytes(), "image/png", None)


def _file(data: bytes, kind: str, name: str | None) -> Response:
    """A file; named, it is one to download."""
    from urllib.parse import quote

    headers = dict(SOON)
    if name is not None:
        headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(data, media_type=kind, headers=headers)
