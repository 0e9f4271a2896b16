"""The ASGI application of `digit-edge serve`: its routes, handlers and error responses.

`runtime.serve.run` calls `create_app`. Each error becomes a problem document (RFC 9457). The camera
preview uses `starlette_app`.
"""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from runtime.engines import ENGINES
from runtime.serve import bodies, metrics, static
from runtime.serve.access import AccessMiddleware, AccessPolicy
from runtime.serve.collection import Collection
from runtime.serve.limits import Limits, UploadBudget
from runtime.serve.openapi.document import (
    JSON_BYTES_HEADER,
    OPERATIONS,
    PROTECTED,
    document,
)
from runtime.serve.problem_details import HttpProblem
from runtime.serve.supervisor import Supervisor, WorkerResponse
from runtime.serve.uploads import read_body, read_image

Handler = Callable[[Request], Awaitable[Response]]  # responds to the requests of a route

_QUOTED_CHARS = 40  # length of the start of an invalid parameter that an error message quotes


def create_app(
    supervisor: Supervisor,
    limits: Limits | None = None,
    access: AccessPolicy | None = None,
    collection: Collection | None = None,
) -> ASGIApp:
    """Return the ASGI application with the page, the API and the metrics.

    Args:
        supervisor: a started supervisor; the application opens and closes it.
        limits: the limits on requests; None for the default limits.
        access: the access policy. None allows requests to a loopback address, without a token.
        collection: keeps labeled images; None keeps no images.
    """
    api = _Api(supervisor, limits or Limits(), access or AccessPolicy(), collection)
    handlers: dict[str, tuple[str, Handler]] = {
        each.path: (each.method, getattr(api, each.name)) for each in OPERATIONS
    }
    for path, file in static.load().items():
        handlers[path] = ("GET", file.respond)
    app = starlette_app(
        [Route(path, do, methods=[method]) for path, (method, do) in handlers.items()],
        api.lifespan,
        "no such path: /openapi.json lists the paths",
    )
    guarded = AccessMiddleware(app, api.access, PROTECTED)
    return metrics.Counting(guarded, api.counts, frozenset(handlers))


def starlette_app(
    routes: Sequence[Route],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    not_found: str,
) -> Starlette:
    """Return an application that turns errors into problem documents.

    Args:
        routes: the paths and their handlers.
        lifespan: context manager that runs from startup to shutdown.
        not_found: the detail of a 404 response.
    """

    async def http_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict((error.headers or {}).items())
        detail = {
            404: not_found,
            405: f"method not allowed: use {headers.get('Allow', headers.get('allow', ''))}",
        }
        return HttpProblem(
            error.status_code, detail.get(error.status_code, error.detail), headers
        ).response(request.url.path)

    app = Starlette(
        routes=routes,
        exception_handlers={
            HttpProblem: _send_problem,
            HTTPException: http_problem,
            Exception: _send_internal_error,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(
        self,
        supervisor: Supervisor,
        limits: Limits,
        access: AccessPolicy,
        collection: Collection | None,
    ) -> None:
        self._supervisor, self._limits, self.access = supervisor, limits, access
        self._collection = collection
        self._version = _version()
        self.counts = metrics.ServerMetrics(self._version)
        self._uploads = UploadBudget(limits.memory_bytes)
        self._document = document(limits, access, self._version)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._supervisor.open()
        yield
        await self._supervisor.close()

    async def classify(self, request: Request) -> Response:
        return await self._process(request, "classify", drawing=_parse_flag(request, "drawing"))

    async def feature_maps(self, request: Request) -> Response:
        return await self._process(request, "feature-maps", drawing=_parse_flag(request, "drawing"))

    async def read(self, request: Request) -> Response:
        return await self._process(request, "read")

    async def numbers(self, request: Request) -> Response:
        return await self._process(request, "numbers")

    async def _process(self, request: Request, task: str, **options: bool) -> Response:
        """Read the image of a request, send it to the worker, and count the digits in the reply."""
        with self._uploads.lease() as reserve:
            image, is_json = await read_image(request, self._limits, reserve)
            result = await self._supervisor.ask(task, image, is_json=is_json, **options)
        self._count(result)
        return Response(result.body, media_type="application/json")

    def _count(self, result: WorkerResponse) -> None:
        for label, accepted, confidence, seconds in result.digits:
            self.counts.count_answer(label, accepted, confidence, seconds)

    async def label(self, request: Request) -> Response:
        if self._collection is None:
            raise HttpProblem(
                404, "this server keeps no images: start it with --collect FOLDER to keep them"
            )
        label = request.query_params.get("label", "")
        if label not in (await self._supervisor.describe()).labels:
            raise HttpProblem(
                400, f"label is {label[:_QUOTED_CHARS]!r}: pass one of the model's labels"
            )
        with self._uploads.lease() as reserve:
            image, is_json = await read_image(request, self._limits, reserve)
            png = (await self._supervisor.ask("to-png", image, is_json=is_json)).body
        return _json(await asyncio.to_thread(self._collection.add, label, png))

    async def model(self, _: Request) -> Response:
        model = await self._supervisor.describe()
        name = None if self._collection is None else self._collection.name
        return _json(replace(model, collects_in=name))

    async def healthz(self, _: Request) -> Response:
        if not await self._supervisor.is_healthy():
            raise HttpProblem(503, "the worker does not respond: see the server's log")
        return _json(bodies.Health("ok"))

    async def inference_server(self, _: Request) -> Response:
        extensions = ["binary_tensor_data"]
        return _json(bodies.InferenceServer("digit-edge", self._version, extensions))

    async def live(self, _: Request) -> Response:
        return _json(bodies.Live(True))

    async def ready(self, request: Request) -> Response:
        await self.healthz(request)
        return _json(bodies.Ready(True))

    async def inference_model(self, request: Request) -> Response:
        model = await self._model(request)
        batch = [-1]
        return _json(
            bodies.InferenceModel(
                name=model.name,
                platform=_platform(model.backend),
                inputs=[
                    bodies.TensorMetadata(
                        bodies.PIXELS_TENSOR, "UINT8", [*batch, *model.input_shape]
                    )
                ],
                outputs=[
                    bodies.TensorMetadata("scores", "FP32", [*batch, len(model.labels)]),
                    bodies.TensorMetadata("label", "BYTES", batch),
                    bodies.TensorMetadata("accepted", "BOOL", batch),
                ],
            )
        )

    async def inference_model_ready(self, request: Request) -> Response:
        model = await self._model(request)
        await self.healthz(request)
        return _json(bodies.ModelReady(True, model.name))

    async def _model(self, request: Request) -> bodies.ModelDescription:
        """Return the description of the open model.

        Raises:
            HttpProblem: 404 if the path has another name.
        """
        model = await self._supervisor.describe()
        if request.path_params["name"] != model.name:
            raise HttpProblem(404, f"unknown model: the model of this server is {model.name}")
        return model

    async def infer(self, request: Request) -> Response:
        json_bytes = _parse_json_bytes(request)
        with self._uploads.lease() as reserve:
            body = await read_body(request, self._limits, reserve)
            result = await self._supervisor.ask(
                "infer", body, name=request.path_params["name"], json_bytes=json_bytes
            )
        self._count(result)
        if result.json_bytes is None:
            return Response(result.body, media_type="application/json")
        headers = {JSON_BYTES_HEADER: str(result.json_bytes)}
        return Response(result.body, media_type="application/octet-stream", headers=headers)

    async def metrics(self, _: Request) -> Response:
        supervisor = self._supervisor
        model = await supervisor.describe()
        text = self.counts.text(model, supervisor.waiting, supervisor.pid, supervisor.restarts)
        return Response(text, headers={"Content-Type": metrics.MEDIA_TYPE})

    async def openapi(self, _: Request) -> Response:
        return _json(self._document)


def _parse_flag(request: Request, name: str) -> bool:
    """Return a boolean query parameter; False if the parameter is missing.

    Raises:
        HttpProblem: 400 if the value is neither true nor false.
    """
    value = request.query_params.get(name, "false")
    if value not in ("true", "false"):
        raise HttpProblem(400, f"{name} is {value[:_QUOTED_CHARS]!r}: pass true or false")
    return value == "true"


def _parse_json_bytes(request: Request) -> int | None:
    """Return the size of the JSON in the body; None if the request does not state it.

    Raises:
        HttpProblem: 400 if the header is not a whole number.
    """
    text = request.headers.get(JSON_BYTES_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _QUOTED_CHARS):
        raise HttpProblem(
            400, f"{JSON_BYTES_HEADER} is {text[:_QUOTED_CHARS]!r}: pass a size in bytes"
        )
    return int(text)


def _platform(backend: str) -> str:
    """Return the platform of a model, such as litert_tflite."""
    suffix = next(engine.suffix for engine in ENGINES if engine.name == backend)
    return f"{backend}_{suffix.removeprefix('.')}"


def _json(body: object) -> Response:
    return Response(bodies.encode(body), media_type="application/json")


def _version() -> str:
    try:
        return importlib.metadata.version("digit-edge")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a source checkout that is not installed


async def _send_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)
    return error.response(request.url.path)


async def _send_internal_error(request: Request, error: Exception) -> Response:
    problem = HttpProblem(500, "internal error: the server's log has the traceback")
    return problem.response(request.url.path)
