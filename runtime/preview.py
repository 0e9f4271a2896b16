"""Shows what a camera sees and what is read: in a window, or as MJPEG to a browser."""

import io
import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw

from runtime.classifier import Prediction
from runtime.errors import EdgeError
from runtime.frames import Picture, opencv
from runtime.ink import Box

_LOOPBACK = "127.0.0.1"
_PAGE = (
    b"<!doctype html><meta charset=utf-8><title>digit-edge</title>"
    b"<style>body{margin:0;background:#111}img{display:block;margin:auto;max-width:100%;"
    b"max-height:100vh}</style><img src=stream alt='What the camera sees'>"
)
# One picture after another in one answer: RFC 2046, 5.1; browsers show the newest part.
_BOUNDARY = "picture"
_WAIT_S = 1.0
_QUALITY = 80


class Preview(Protocol):
    """Where pictures are shown."""

    @property
    def wanted(self) -> bool:
        """Whether anyone looks: else nothing need be drawn."""

    def show(self, picture: Image.Image) -> bool:
        """Show a picture; False where the user has closed the preview."""

    def close(self) -> None:
        """Show no more."""


def open_preview(where: str) -> Preview:
    """A window for "window"; else the address, [HOST]:PORT, where a browser finds it.

    Without a host it is this machine alone that can look.

    Raises:
        EdgeError: no address, it cannot be had, or OpenCV has no windows.
    """
    if where == "window":
        return Window()
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise EdgeError(f"--preview {where}: no address; give one like :8081")
    return Server(host.strip("[]") or _LOOPBACK, int(port))


def draw(
    picture: Picture, roi: Box | None, seen: Prediction, present: frozenset[str]
) -> Image.Image:
    """The picture with the region of interest, the digit's box, and what is read."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    left, top = (roi[0], roi[1]) if roi is not None else (0, 0)
    if roi is not None:
        pen.rectangle((roi[0], roi[1], roi[2] - 1, roi[3] - 1), outline=(90, 160, 255), width=2)
    colour = (0, 200, 90) if seen.accepted else (160, 160, 160)
    if seen.view is not None and seen.view.method != "blank":
        x0, y0, x1, y1 = seen.view.box
        pen.rectangle((x0 + left, y0 + top, x1 + left - 1, y1 + top - 1), outline=colour, width=2)
    text = f"{seen.label if seen.accepted else '?'} {seen.confidence:.0%}"
    if present:
        text += f"   there: {' '.join(sorted(present))}"
    pen.rectangle((0, 0, 8 * len(text) + 8, 18), fill=(0, 0, 0))
    pen.text((4, 3), text, fill=colour)
    return image


class Window:
    """A window of OpenCV's; `q` or its close button ends it."""

    _TITLE = "digit-edge"

    def __init__(self) -> None:
        self._cv2: Any = opencv()
        try:
            self._cv2.namedWindow(self._TITLE, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise EdgeError(
                "--preview: this OpenCV, or this session, has no windows; look with a browser: "
                "--preview :8081"
            ) from error

    @property
    def wanted(self) -> bool:
        """Always."""
        return True

    def show(self, picture: Image.Image) -> bool:
        """Draw it; False once the window is closed."""
        self._cv2.imshow(self._TITLE, np.asarray(picture)[:, :, ::-1])
        pressed = self._cv2.waitKey(1) & 0xFF
        visible = self._cv2.getWindowProperty(self._TITLE, self._cv2.WND_PROP_VISIBLE)
        return pressed != ord("q") and bool(visible >= 1)

    def close(self) -> None:
        """Close it."""
        self._cv2.destroyAllWindows()


class Server:
    """Serves `/`, a page; `/stream`, MJPEG; `/picture.jpg`, one picture."""

    def __init__(self, host: str, port: int) -> None:
        self._changed = threading.Condition()
        self._jpeg = b""
        self._number = 0
        self._viewers = 0
        self._closed = False
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Listener(family, (host, port), self)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EdgeError(f"--preview: cannot listen at {host}:{port}: {reason}") from error
        self.port: int = self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"
        threading.Thread(target=self._server.serve_forever, name="preview", daemon=True).start()

    @property
    def wanted(self) -> bool:
        """Whether a browser looks."""
        return self._viewers > 0

    def show(self, picture: Image.Image) -> bool:
        """Give it to all that look; one that is slow gets fewer."""
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=_QUALITY)
        with self._changed:
            self._jpeg = encoded.getvalue()
            self._number += 1
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """Listen no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def next_jpeg(self, after: int) -> tuple[bytes, int] | None:
        """The first picture later than number `after`, and its number; None at the end."""
        with self._changed:
            while self._number <= after and not self._closed:
                self._changed.wait(_WAIT_S)
            return None if self._closed else (self._jpeg, self._number)

    def look(self, viewers: int) -> int:
        """Count viewers in or out; the number of the picture that is there now."""
        with self._changed:
            self._viewers += viewers
            return self._number


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, family: int, address: tuple[str, int], pictures: Server) -> None:
        self.address_family = family
        self.pictures = pictures
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 10.0

    def do_GET(self) -> None:
        """Answer a browser."""
        if not self._is_asked_by_address():
            self.send_error(403, "Ask by address")
        elif self.path == "/":
            self._send("text/html", _PAGE)
        elif self.path == "/picture.jpg":
            self._with_pictures(self._send_one)
        elif self.path == "/stream":
            self._with_pictures(self._send_all)
        else:
            self.send_error(404)

    def _is_asked_by_address(self) -> bool:
        """A page elsewhere could make its own name lead here, and read along."""
        host = self.headers.get("Host", "").rpartition("]")[0].lstrip("[")
        host = host or self.headers.get("Host", "").partition(":")[0]
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in ("localhost", socket.gethostname(), f"{socket.gethostname()}.local")
        return True

    def _with_pictures(self, send: Any) -> None:
        pictures = self.server.pictures
        after = pictures.look(1)
        try:
            send(pictures, after)
        finally:
            pictures.look(-1)

    def _send_one(self, pictures: Server, after: int) -> None:
        found = pictures.next_jpeg(after)
        if found is not None:
            self._send("image/jpeg", found[0])

    def _send_all(self, pictures: Server, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        while (found := pictures.next_jpeg(after)) is not None:
            jpeg, after = found
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """stderr is for what the user should know."""
