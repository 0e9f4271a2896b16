"""The application: its routes, and how each refusal becomes a problem document."""

import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from runtime.serve import bodies, metrics, openapi, static
from runtime.serve.access import AccessMiddleware, AccessPolicy
from runtime.serve.limits import Limits, UploadBudget
from runtime.serve.problem_details import HttpProblem
from runtime.serve.supervisor import Supervisor
from runtime.serve.uploads import read_image

Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    supervisor: Supervisor, limits: Limits | None = None, access: AccessPolicy | None = None
) -> ASGIApp:
    """Return the ASGI application: the page, the API, its metrics.

    Args:
        supervisor: of the worker process that answers; started, and closed by the application.
        limits: the limits on requests; the default ones if None.
        access: who may ask; whoever reaches this machine's loopback address if None.
    """
    api = _Api(supervisor, limits or Limits(), access or AccessPolicy())
    handlers: dict[str, tuple[str, Handler]] = {
        each.path: (each.method, getattr(api, each.name)) for each in openapi.OPERATIONS
    }
    for path, file in static.load().items():
        handlers[path] = ("GET", file.respond)
    app = starlette_app(
        [Route(path, do, methods=[method]) for path, (method, do) in handlers.items()],
        api.lifespan,
        "nothing is here: /openapi.json lists what is",
    )
    guarded = AccessMiddleware(app, api.access, openapi.PROTECTED)
    return metrics.Counting(guarded, api.counts, frozenset(handlers))


def starlette_app(
    routes: Sequence[Route],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    not_found: str,
) -> Starlette:
    """Return an application that answers errors with problem documents.

    Args:
        not_found: the detail of a 404.
    """

    async def http_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict((error.headers or {}).items())
        detail = {
            404: not_found,
            405: f"this takes {headers.get('Allow', headers.get('allow', ''))}",
        }
        return HttpProblem(
            error.status_code, detail.get(error.status_code, error.detail), headers
        ).response()

    app = Starlette(
        routes=routes,
        exception_handlers={HttpProblem: _problem, HTTPException: http_problem, Exception: _bug},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(self, supervisor: Supervisor, limits: Limits, access: AccessPolicy) -> None:
        self._supervisor, self._limits, self.access = supervisor, limits, access
        self.counts = metrics.ServerMetrics()
        self._memory = UploadBudget(limits.memory_bytes)
        self._document = openapi.document(limits, access, _version())

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._supervisor.open()
        yield
        await self._supervisor.close()

    async def classify(self, request: Request) -> Response:
        return await self._with_image(request, "classify", drawing=_flag(request, "drawing"))

    async def read(self, request: Request) -> Response:
        return await self._with_image(request, "read")

    async def _with_image(self, request: Request, task: str, **options: bool) -> Response:
        with self._memory.lease() as take:
            image = await read_image(request, self._limits, take)
            answer = await self._supervisor.ask(task, image, **options)
        for label, accepted, seconds in answer.digits:
            self.counts.count_answer(label, accepted, seconds)
        return Response(answer.body, media_type="application/json")

    async def model(self, _: Request) -> Response:
        return _json(await self._supervisor.describe())

    async def healthz(self, _: Request) -> Response:
        if not await self._supervisor.is_healthy():
            raise HttpProblem(503, "images cannot be read now; the server's log says why")
        return _json(bodies.Health("ok"))

    async def metrics(self, _: Request) -> Response:
        supervisor = self._supervisor
        model = await supervisor.describe()
        text = self.counts.text(model, supervisor.waiting, supervisor.pid, supervisor.restarts)
        return Response(text, headers={"Content-Type": metrics.MEDIA_TYPE})

    async def openapi(self, _: Request) -> Response:
        return _json(self._document)


def _flag(request: Request, name: str) -> bool:
    given = request.query_params.get(name, "false")
    if given not in ("true", "false"):
        raise HttpProblem(400, f"{name} is {given[:40]!r}: give true or false")
    return given == "true"


def _json(body: object) -> Response:
    return Response(bodies.encode(body), media_type="application/json")


def _version() -> str:
    try:
        return importlib.metadata.version("digit-edge")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a copy of the source that nobody installed


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)
    return error.response()


async def _bug(_: Request, error: Exception) -> Response:
    return HttpProblem(500, "a bug in the server, which its log describes").response()
