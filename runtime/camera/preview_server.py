"""The camera's preview for browsers: a page, and pictures under the access rules of `serve`."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.serve import service, static
from runtime.serve.access import AccessMiddleware, find_access
from runtime.serve.access_options import AccessOptions
from runtime.serve.app import starlette_app
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

MAX_VIEWERS = 16  # each holds up to two pictures in memory
# A client that does not read for 10 s is disconnected.
LIMITS = Limits(seconds=10.0)
_PAGE = Path(__file__).parent / "page"
_SHARED = ("/engine.js", "/style.css", "/icon.svg")  # of the page of `serve`
_PROTECTED = ("/stream", "/picture.jpg")
_QUALITY = 80  # of the JPEGs
# A response of several pictures, one after another: RFC 2046, section 5.1.
_BOUNDARY = "picture"


class PreviewServer:
    """Serves `/`, a page; `/stream`, MJPEG; `/picture.jpg`, the next picture.

    The server runs in a thread of its own. A slow client gets fewer pictures and never holds up
    the thread that calls `show`.

    Attributes:
        port: the port that it listens on.
        url: the address for a browser.
    """

    def __init__(self, host: str, port: int, options: AccessOptions) -> None:
        """Start to listen.

        Raises:
            EdgeError: others can reach the host and there is no token, the token is invalid, or
                the address is not available.
        """
        access = find_access(host, options, option="--preview", port=port)
        listener: socket.socket = service.bind(host, port, ("--preview",))
        self._latest = (0, b"")  # number and JPEG, replaced at once
        self._viewers = 0
        self._waiting = 0  # of them, for the next picture; the others are being sent one
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()  # of the latest picture; a new one for each
        pictures = [Route("/stream", self._stream), Route("/picture.jpg", self._picture)]
        for route in pictures:
            route.methods = {"GET"}  # no HEAD, which Starlette adds: a stream has no end
        shared = static.load()
        files = {**{path: shared[path] for path in _SHARED}, **static.load(_PAGE)}
        app = starlette_app(
            [*pictures, *(Route(path, file.respond) for path, file in files.items())],
            self._lifespan,
            "nothing is here: open /",
        )
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{service.address_of(listener)}/"
        guarded = AccessMiddleware(app, access, _PROTECTED)
        self._server = service.BackgroundServer(guarded, listener, LIMITS, "preview")

    @property
    def wanted(self) -> bool:
        """Whether a browser waits for a picture; one that does not read waits for none."""
        return self._waiting > 0

    def show(self, picture: Image.Image) -> bool:
        """Send a picture to all viewers that are ready for one; always return True."""
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=_QUALITY)
        self._latest = (self._latest[0] + 1, encoded.getvalue())
        self._wake()
        return True

    def close(self) -> None:
        """End the streams and stop listening."""
        self._closed = True
        self._wake()
        self._server.close()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        yield

    def _wake(self) -> None:
        """Have the server's thread look at the latest picture."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._notify)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next(self, after: int) -> tuple[int, bytes] | None:
        """Return the first picture after number `after` and its number; None at the end."""
        self._waiting += 1
        try:
            while self._latest[0] <= after and not self._closed:
                await self._changed.wait()
        finally:
            self._waiting -= 1
        return None if self._closed else self._latest

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Count a viewer.

        Raises:
            HttpProblem: 503 if there are too many.
        """
        if self._viewers >= MAX_VIEWERS:
            raise HttpProblem(503, f"{MAX_VIEWERS} browsers show the camera already: close one")
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _picture(self, request: Request) -> Response:
        with self.viewer():
            next_picture = asyncio.create_task(self._next(self._latest[0]))
            left = asyncio.create_task(_wait_until_left(request))
            try:
                await asyncio.wait(
                    (next_picture, left),
                    timeout=LIMITS.seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                cancelled = next_picture.cancel()
                left.cancel()
        if cancelled:  # also if the client has left: then nobody gets this
            raise HttpProblem(503, f"no picture within {LIMITS.seconds:g} s: check the camera")
        found = next_picture.result()
        if found is None:
            raise HttpProblem(503, "the preview has ended: start it again")
        return Response(found[1], media_type="image/jpeg")

    async def _stream(self, _: Request) -> Response:
        return _Stream(self, self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        after = self._latest[0]
        while (found := await self._next(after)) is not None:
            after, jpeg = found
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            yield head.encode() + jpeg + b"\r\n"


async def _wait_until_left(request: Request) -> None:
    """Return once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """Pictures until the client leaves or the preview ends."""

    def __init__(self, preview: PreviewServer, parts: AsyncIterator[bytes]) -> None:
        super().__init__(parts, media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self._preview = preview

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._preview.viewer():
            await super().__call__(scope, receive, send)
