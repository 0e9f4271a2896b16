"""The camera preview for browsers: a page, an MJPEG stream and single JPEGs over HTTP.

`runtime.camera.preview` starts the server for --preview [HOST]:PORT. The server runs in a thread
beside the loop of `runtime.camera.run`. Its access rules are those of `digit-edge serve`.
"""

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

# Clients that get frames at the same time; a further client gets 503. Up to two JPEGs per client
# are held in memory.
MAX_VIEWERS = 16
# A client that does not read for 10 s is disconnected. A request for a single frame gets 503 if
# there is no frame for 10 s.
LIMITS = Limits(seconds=10.0)
_PAGE = Path(__file__).parent / "page"  # the files of the preview page
# Files of the page of `digit-edge serve`; the texts of all languages (.json) are shared too.
_SHARED_PATHS = ("/engine.js", "/texts.js", "/style.css", "/icon.svg")
_PROTECTED = ("/stream", "/picture.jpg")  # paths that need the token, if there is a token
_JPEG_QUALITY = 80  # Pillow's quality of the frames, from 0 (worst) to 95
_BOUNDARY = "picture"  # separates the parts of the stream (RFC 2046, section 5.1)


class PreviewServer:
    """Serves a page at `/`, an MJPEG stream at `/stream`, and the next frame at `/picture.jpg`.

    The server runs in a separate thread. A slow client gets fewer frames and never blocks the
    thread that calls `show`.

    Args:
        host: the address or name to listen on.
        port: the port to listen on; 0 chooses a free port.
        options: the access options of the command line.

    Attributes:
        port: the port that the server listens on.
        url: the address for a browser.
    """

    def __init__(self, host: str, port: int, options: AccessOptions) -> None:
        """Start the server.

        Raises:
            EdgeError: other machines can connect and there is no token, the token is invalid, or
                the address is not available.
        """
        access = find_access(host, options, option="--preview", port=port)
        listener: socket.socket = service.bind(host, port, ("--preview",))
        self._latest = (0, b"")  # number and JPEG of the latest frame; replaced atomically
        self._viewers = 0
        self._waiting = 0  # viewers that wait for the next frame; other viewers are being sent one
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = (
            asyncio.Event()
        )  # set when the next frame arrives; each frame has an event of its own
        pictures = [Route("/stream", self._stream), Route("/picture.jpg", self._picture)]
        for route in pictures:
            route.methods = {"GET"}  # Starlette adds HEAD, which cannot work on an endless stream
        shared = static.load()
        texts = (path for path in shared if path.endswith(".json"))
        paths = (*_SHARED_PATHS, *texts)
        files = {**{path: shared[path] for path in paths}, **static.load(_PAGE)}
        app = starlette_app(
            [*pictures, *(Route(path, file.respond) for path, file in files.items())],
            self._lifespan,
            "no such path: open /",
        )
        self.port: int = listener.getsockname()[1]
        self.url = f"http://{service.address_of(listener)}/"
        guarded = AccessMiddleware(app, access, _PROTECTED)
        self._server = service.BackgroundServer(guarded, listener, LIMITS, "preview")

    @property
    def wanted(self) -> bool:
        """Whether a viewer waits for the next frame.

        A viewer that has not yet read the previous frame does not wait.
        """
        return self._waiting > 0

    def show(self, picture: Image.Image) -> bool:
        """Send a frame, an RGB image, to all viewers that wait; always return True."""
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=_JPEG_QUALITY)
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
        """Notify the server's thread of a new frame, or of the end."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(self._notify)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next(self, after: int) -> tuple[int, bytes] | None:
        """Wait for a frame with a number above `after`.

        Returns:
            (number, JPEG) of the latest frame; None once the preview is closed.
        """
        self._waiting += 1
        try:
            while self._latest[0] <= after and not self._closed:
                await self._changed.wait()
        finally:
            self._waiting -= 1
        return None if self._closed else self._latest

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Count a viewer while the context is open.

        Raises:
            HttpProblem: 503 if there are `MAX_VIEWERS` (16) viewers already.
        """
        if self._viewers >= MAX_VIEWERS:
            raise HttpProblem(
                503, f"{MAX_VIEWERS} browsers show the camera already: close one of the pages"
            )
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _picture(self, request: Request) -> Response:
        with self.viewer():
            next_picture = asyncio.create_task(self._next(self._latest[0]))
            disconnected = asyncio.create_task(_wait_for_disconnect(request))
            try:
                await asyncio.wait(
                    (next_picture, disconnected),
                    timeout=LIMITS.seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                cancelled = next_picture.cancel()
                disconnected.cancel()
        if cancelled:  # a timeout, or a disconnected client, which does not get this response
            raise HttpProblem(503, f"no picture within {LIMITS.seconds:g} s: check the camera")
        frame = next_picture.result()
        if frame is None:
            raise HttpProblem(503, "the preview has ended: start it again")
        return Response(frame[1], media_type="image/jpeg")

    async def _stream(self, _: Request) -> Response:
        return _Stream(self, self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        """Yield each frame as a part of a multipart response."""
        number = self._latest[0]
        while (frame := await self._next(number)) is not None:
            number, jpeg = frame
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            yield head.encode() + jpeg + b"\r\n"


async def _wait_for_disconnect(request: Request) -> None:
    """Return once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """A response of frames until the client disconnects or the preview ends."""

    def __init__(self, preview: PreviewServer, parts: AsyncIterator[bytes]) -> None:
        super().__init__(parts, media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self._preview = preview

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._preview.viewer():
            await super().__call__(scope, receive, send)
