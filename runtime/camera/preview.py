"""The preview of `digit-edge camera`: draw the digit or numbers on each frame, and show it.

`runtime.camera.__main__` calls `open_preview`, which returns a window or a `PreviewServer` for
browsers (`runtime.camera.preview_server`). `runtime.camera.run` draws and shows the frames.
"""

from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw

from runtime.camera.sources import FrameArray, opencv
from runtime.errors import EdgeError
from runtime.numbers.read_regions import NumberReading
from runtime.prediction import Prediction
from runtime.preprocess.segment import Box
from runtime.serve.access_options import AccessOptions
from runtime.serve.addresses import parse_address

_LOOPBACK = "127.0.0.1"  # the host to listen on if the address :PORT contains no host
_DEFAULT_ACCESS = AccessOptions()  # no token
# RGB colors of the overlay.
_ROI_COLOR = (90, 160, 255)  # frame of the region of interest
_ACCEPTED_COLOR = (0, 200, 90)  # box and caption of an accepted prediction
_REJECTED_COLOR = (160, 160, 160)  # box and caption of a rejected prediction
_CAPTION_BACKGROUND = (0, 0, 0)  # behind the caption
_LINE_WIDTH_PX = 2  # of the box and of the frame of the region of interest
_CAPTION_HEIGHT_PX = 18  # of the bar behind the caption
_CAPTION_POSITION_PX = (4, 3)  # left and top of the caption in the bar
_CHARACTER_WIDTH_PX = 8  # upper bound of a character's width in Pillow's default font


class Preview(Protocol):
    """A window or a server that shows frames.

    Attributes:
        url: the address for a browser; empty for a window.
    """

    url: str

    @property
    def wanted(self) -> bool:
        """Whether the next frame will be seen. If not, the caller need not draw the frame."""

    def show(self, picture: Image.Image) -> bool:
        """Show a frame, an RGB image; return False if the user has closed the preview."""

    def close(self) -> None:
        """Close the window, or stop the server."""


def open_preview(where: str, access: AccessOptions = _DEFAULT_ACCESS) -> Preview:
    """Open a preview window, or start a preview server for browsers.

    Args:
        where: "window", or the address [HOST]:PORT to listen on; without HOST only this machine can
            connect.
        access: the access options; a token is required if other machines can connect.

    Raises:
        EdgeError: the address is invalid or not available, or the token is missing. Or the extra
            `serve` is not installed, or OpenCV cannot open windows.
    """
    if where == "window":
        return Window()
    address = parse_address(where)
    if address is None:
        raise EdgeError(
            f"--preview {where}: invalid address; pass [HOST]:PORT with a port from 0 to 65535, "
            "such as :8081, 192.168.1.2:8081 or [::1]:8081"
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
    frame: FrameArray, roi: Box | None, prediction: Prediction, present: frozenset[str]
) -> Image.Image:
    """Draw the region of interest, the digit's box and a caption on a frame.

    Args:
        frame: uint8 (height, width, 3) RGB.
        roi: (left, top, right, bottom) of the region of interest, in pixels; None for the whole
            frame.
        prediction: the prediction of the frame. Its view contains the digit's box, relative to
            `roi`; without a view, no box is drawn.
        present: the digits that `Debouncer.present` returns, for the caption.

    Returns:
        An RGB image of the size of the frame.
    """
    image = Image.fromarray(frame)
    canvas = ImageDraw.Draw(image)
    left, top = (roi[0], roi[1]) if roi is not None else (0, 0)
    if roi is not None:
        canvas.rectangle(
            (roi[0], roi[1], roi[2] - 1, roi[3] - 1), outline=_ROI_COLOR, width=_LINE_WIDTH_PX
        )
    color = _ACCEPTED_COLOR if prediction.accepted else _REJECTED_COLOR
    if prediction.view is not None and prediction.view.method != "blank":
        x0, y0, x1, y1 = prediction.view.box
        canvas.rectangle(
            (x0 + left, y0 + top, x1 + left - 1, y1 + top - 1), outline=color, width=_LINE_WIDTH_PX
        )
    caption = f"{prediction.label} {prediction.confidence:.0%}" if prediction.accepted else "?"
    if present:
        caption += f"   present: {' '.join(sorted(present))}"
    _write(canvas, caption, color, 0, 0)
    return image


def draw_numbers(frame: FrameArray, readings: list[NumberReading]) -> Image.Image:
    """Draw each region and its number on a frame.

    Args:
        frame: uint8 (height, width, 3) RGB.
        readings: one for each region. A rejected number is drawn as `?` with the reason.

    Returns:
        An RGB image of the size of the frame.
    """
    image = Image.fromarray(frame)
    canvas = ImageDraw.Draw(image)
    for reading in readings:
        left, top = (0, 0) if reading.box is None else reading.box[:2]
        accepted = reading.reason is None
        color = _ACCEPTED_COLOR if accepted else _REJECTED_COLOR
        if reading.box is not None:
            right, bottom = reading.box[2:]
            canvas.rectangle(
                (left, top, right - 1, bottom - 1), outline=color, width=_LINE_WIDTH_PX
            )
        for digit in reading.recognition.digits:
            x0, y0, x1, y1 = digit.box
            digit_color = _ACCEPTED_COLOR if digit.prediction.accepted else _REJECTED_COLOR
            canvas.rectangle(
                (x0 + left, y0 + top, x1 + left - 1, y1 + top - 1), outline=digit_color
            )
        number = reading.text.replace("\n", ", ") if reading.value is None else f"{reading.value:f}"
        caption = f"{number} {reading.confidence:.0%}" if accepted else f"? ({reading.reason})"
        name = f"{reading.region}: " if reading.box is not None else ""
        _write(canvas, name + caption, color, left, max(top - _CAPTION_HEIGHT_PX, 0))
    return image


def _write(
    canvas: ImageDraw.ImageDraw, caption: str, color: tuple[int, int, int], left: int, top: int
) -> None:
    """Write a caption on a bar, whose left and top are given in pixels."""
    width = _CHARACTER_WIDTH_PX * (len(caption) + 1)
    canvas.rectangle((left, top, left + width, top + _CAPTION_HEIGHT_PX), fill=_CAPTION_BACKGROUND)
    x, y = _CAPTION_POSITION_PX
    canvas.text((left + x, top + y), caption, fill=color)


class Window:
    """A window that OpenCV opens; the key `q` and the close button close the window.

    Raises:
        EdgeError: OpenCV is not installed, or cannot open windows.

    Attributes:
        url: always empty; see `Preview`.
    """

    url = ""
    _TITLE = "digit-edge"

    def __init__(self) -> None:
        self._cv2: Any = opencv()
        try:
            self._cv2.namedWindow(self._TITLE, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise EdgeError(
                "--preview: OpenCV cannot open a window here; use a browser instead: "
                "--preview :8081"
            ) from error

    @property
    def wanted(self) -> bool:
        """Always True: a window is always seen."""
        return True

    def show(self, picture: Image.Image) -> bool:
        """Show a frame; return False once the window is closed."""
        self._cv2.imshow(self._TITLE, np.asarray(picture)[:, :, ::-1])  # OpenCV expects BGR
        key = self._cv2.waitKey(1) & 0xFF  # wait 1 ms; the lowest byte is the character
        visible = self._cv2.getWindowProperty(self._TITLE, self._cv2.WND_PROP_VISIBLE)
        return key != ord("q") and bool(visible >= 1)

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()
