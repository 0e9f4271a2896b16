"""Shows the camera's pictures and the digits read: in a window, or to browsers."""

from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw

from runtime.camera.sources import FrameArray, opencv
from runtime.errors import EdgeError
from runtime.prediction import Prediction
from runtime.preprocess.segment import Box
from runtime.serve.access_options import AccessOptions
from runtime.serve.addresses import parse_address

_LOOPBACK = "127.0.0.1"
_DEFAULT_ACCESS = AccessOptions()


class Preview(Protocol):
    """Where pictures are shown.

    Attributes:
        url: the address for a browser; empty for a window.
    """

    url: str

    @property
    def wanted(self) -> bool:
        """Whether anyone looks: else nothing need be drawn."""

    def show(self, picture: Image.Image) -> bool:
        """Show a picture; return False if the user has closed the preview."""

    def close(self) -> None:
        """Show no more."""


def open_preview(where: str, access: AccessOptions = _DEFAULT_ACCESS) -> Preview:
    """Return a preview in a window for "window", otherwise one for browsers at [HOST]:PORT.

    Args:
        where: without a host only this machine can connect.
        access: who may see the pictures; if others can reach the host, a token is required.

    Raises:
        EdgeError: not an address, the address is not available, there is no token, the extra
            `serve` is not installed, or OpenCV has no windows.
    """
    if where == "window":
        return Window()
    address = parse_address(where)
    if address is None:
        raise EdgeError(
            f"--preview {where}: no address; give HOST:PORT with a port from 0 to 65535, "
            "like :8081, 192.168.1.2:8081 or [::1]:8081"
        )
    host, port = address
    try:
        from runtime.camera.preview_server import PreviewServer  # needs the extra `serve`
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise EdgeError(
            f'--preview {where}: {package} is not installed: pip install "digit-edge[serve]"'
        ) from None
    return PreviewServer(host or _LOOPBACK, port, access)


def draw(
    picture: FrameArray, roi: Box | None, seen: Prediction, present: frozenset[str]
) -> Image.Image:
    """The picture with the region of interest, the digit's box, and what is read."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    left, top = (roi[0], roi[1]) if roi is not None else (0, 0)
    if roi is not None:
        pen.rectangle((roi[0], roi[1], roi[2] - 1, roi[3] - 1), outline=(90, 160, 255), width=2)
    color = (0, 200, 90) if seen.accepted else (160, 160, 160)
    if seen.view is not None and seen.view.method != "blank":
        x0, y0, x1, y1 = seen.view.box
        pen.rectangle((x0 + left, y0 + top, x1 + left - 1, y1 + top - 1), outline=color, width=2)
    text = f"{seen.label if seen.accepted else '?'} {seen.confidence:.0%}"
    if present:
        text += f"   there: {' '.join(sorted(present))}"
    pen.rectangle((0, 0, 8 * len(text) + 8, 18), fill=(0, 0, 0))
    pen.text((4, 3), text, fill=color)
    return image


class Window:
    """A window of OpenCV's; `q` or its close button ends it."""

    url = ""
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
