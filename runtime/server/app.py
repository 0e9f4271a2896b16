"""The application: its routes, and how each refusal becomes a problem document."""

import importlib.metadata
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from runtime.classifier import Classifier
from runtime.errors import EdgeError, ImageError
from runtime.server import answers, metrics, openapi, pages
from runtime.server.guard import Access, Guard
from runtime.server.limits import Limits, Memory, Room, Workers
from runtime.server.problems import Problem
from runtime.server.uploads import check_size, read_image

Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    current: Callable[[], Classifier], limits: Limits | None = None, access: Access | None = None
) -> ASGIApp:
    """The ASGI application: the page, the API, its metrics.

    Args:
        current: gives the classifier that answers; asked at each request, so that a model can be
            replaced while the server runs.
        limits: what is refused; the default ones where None.
        access: who may ask; whoever reaches this machine's loopback address where None.
    """
    api = _Api(current, limits or Limits(), access or Access())
    handlers: dict[str, tuple[str, Handler]] = {
        "/v1/classify": ("POST", api.classify),
        "/v1/read": ("POST", api.read),
        "/v1/model": ("GET", api.model),
        "/healthz": ("GET", api.healthz),
        "/metrics": ("GET", api.metrics),
        "/openapi.json": ("GET", api.openapi),
    }
    for path, file in pages.load().items():
        handlers[path] = ("GET", file.respond)
    app = Starlette(
        routes=[Route(path, do, methods=[method]) for path, (method, do) in handlers.items()],
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_problem,
            EdgeError: _refused,
            Exception: _bug,
        },
        lifespan=api.lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, api.access, api.counts, frozenset(handlers))


class _Api:
    def __init__(self, current: Callable[[], Classifier], limits: Limits, access: Access) -> None:
        self._current, self._limits, self.access = current, limits, access
        self.counts = metrics.Metrics()
        self._memory = Memory(limits.memory_bytes)
        self._room = Room(limits)
        self._workers = Workers(limits)
        self._document = openapi.document(limits, access, _version())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._workers.close()

    async def classify(self, request: Request) -> Response:
        drawing = _flag(request, "drawing")
        return await self._with_image(
            request, lambda image: answers.classify(self._current(), image, drawing, self.counts)
        )

    async def read(self, request: Request) -> Response:
        return await self._with_image(
            request, lambda image: answers.read(self._current(), image, self.counts), page=True
        )

    async def _with_image(
        self, request: Request, answer: Callable[[bytes], dict[str, Any]], page: bool = False
    ) -> Response:
        with self._memory.lease() as take:
            image = await read_image(request, self._limits, take)

            def work() -> bytes:
                # A job that nobody waits for any more gives its room back when it ends.
                with self._room.lease(check_size(image, self._limits, page)):
                    return _encoded(answer(image))

            return Response(await self._workers.run(work), media_type="application/json")

    async def model(self, _: Request) -> Response:
        return _json(
            {
                **answers.describe(self._current()),
                "max_body_bytes": self._limits.body_bytes,
                "max_pixels": self._limits.pixels,
            }
        )

    async def healthz(self, _: Request) -> Response:
        # A thread has to answer: a server whose workers all hang is not well.
        await self._workers.run(lambda: None)
        return _json({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        text = self.counts.text(answers.identity(self._current()), self._workers.waiting)
        return Response(text, headers={"Content-Type": metrics.MEDIA_TYPE})

    async def openapi(self, _: Request) -> Response:
        return _json(self._document)


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in ("true", "false"):
        raise Problem(400, f"{name} is {given[:40]!r}: give true or false")
    return given == "true"


def _json(record: dict[str, Any]) -> Response:
    return Response(_encoded(record), media_type="application/json")


def _encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _version() -> str:
    try:
        return importlib.metadata.version("digit-edge")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a copy of the source that nobody installed


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {key: value for key, value in (error.headers or {}).items()}
    detail = {
        404: "nothing is here: /openapi.json lists what is",
        405: f"this takes {headers.get('Allow', headers.get('allow', ''))}",
    }
    return Problem(
        error.status_code, detail.get(error.status_code, error.detail), headers
    ).response()


async def _refused(_: Request, error: Exception) -> Response:
    """What the runtime refuses: an image is the client's fault, all else the server's."""
    detail = str(error).removeprefix("<bytes>: ")
    return Problem(422 if isinstance(error, ImageError) else 500, detail).response()


async def _bug(_: Request, error: Exception) -> Response:
    return Problem(500, "a bug in the server, which its log describes").response()
