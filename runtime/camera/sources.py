"""Frame sources of `digit-edge camera`: cameras, streams, video files and folders of images.

`runtime.camera.__main__` calls `open_source`, and `runtime.camera.run` reads the frames.
`open_source` chooses the class by the name: `LiveSource` (picamera2 or OpenCV), `VideoSource`
(OpenCV) or `FolderSource`. A live source reads in a separate thread, so that a driver that hangs
does not block the program.
"""

import contextlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from runtime.cli import inputs
from runtime.cli.inputs import UnreadablePath
from runtime.errors import EdgeError, ImageError, report
from runtime.preprocess.decode import decode_color

FrameArray = npt.NDArray[np.uint8]  # (height, width, 3) RGB

# Time limit for FFmpeg to open a stream, and to read a frame. If a camera or stream delivers no
# frame for twice this time, `SourceLost` is raised.
TIMEOUT_S = 5.0
# When a live source ends, it waits this long for its reading thread to release the camera. A thread
# that still hangs is left behind.
_RELEASE_TIMEOUT_S = 1.0
# Attempts to open a camera again while its reading thread hangs. At the last attempt, EdgeError is
# raised, which ends the program.
_MAX_ATTEMPTS = 6
_POLL_S = 0.25  # without a new frame, a source yields None this often, so that the caller can stop
_MAX_SIDE_PX = 1920  # an image of a folder with a longer side is scaled down, to camera size
_PI_SIZE_PX = (1280, 720)  # width and height of picamera2's frames; more are not needed for digits
_MAX_CAMERA_DIGITS = 9  # a number with more digits is a file name, not a camera's number


class Frame(NamedTuple):
    """A frame of a source.

    Attributes:
        picture: uint8 (height, width, 3) RGB.
        number: number of the frame in the source, from 0.
    """

    picture: FrameArray
    number: int


class SourceLost(EdgeError):
    """A camera or stream delivers no frames; opening it again later may succeed."""


class FrameSource(Protocol):
    """A source of frames.

    Attributes:
        name: the name for messages and records; without the password of a URL.
        opened_by: the library that opens the source, such as "OpenCV"; empty for images.
    """

    name: str
    opened_by: str

    def frames(self) -> Generator[Frame | None, None, None]:
        """Yield the frames in order; None from time to time while there is no new frame.

        The generator ends at the end of a file or folder. Each call opens the source again.

        Raises:
            SourceLost: the camera or stream is missing or has stopped.
            EdgeError: the file cannot be read, the folder has no images, or the camera hangs.
        """


def open_source(name: str | None) -> FrameSource:
    """Return the source with a name.

    picamera2 opens a camera if picamera2 is installed and finds the camera; otherwise OpenCV does.
    A camera or stream is opened later, by `frames`.

    Args:
        name: number of a camera from 0, device file of a camera, URL, video file or folder of
            images; None for the first camera.

    Raises:
        EdgeError: the file does not exist or is not a video, or OpenCV is not installed.
    """
    if name is None or (name.isdecimal() and len(name) <= _MAX_CAMERA_DIGITS):
        number = int(name or 0)
        if _has_pi_camera(number):
            return LiveSource(f"camera {number}", "picamera2", lambda: _PiCamera(number))
        opencv()
        return LiveSource(
            f"camera {number}", "OpenCV", lambda: _OpenCVCapture(number, f"camera {number}")
        )
    if "://" in name:
        opencv()
        shown = without_password(name)
        return LiveSource(shown, "OpenCV", lambda: _OpenCVCapture(name, shown))
    if os.path.isdir(name):
        return FolderSource(name)
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        raise EdgeError(
            f"cannot open {name}: {error.strerror}; pass a camera's number, a URL, a video or a "
            "folder of images"
        ) from error
    if stat.S_ISCHR(mode):
        opencv()
        return LiveSource(name, "OpenCV", lambda: _OpenCVCapture(name, name))
    return VideoSource(name)


def without_password(url: str) -> str:
    """Replace the password in a URL by ***, for messages and records."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)


class FolderSource:
    """The images of a folder and its subfolders, by name.

    An image that cannot be read is reported and skipped.
    """

    opened_by = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def frames(self) -> Generator[Frame | None, None, None]:
        """Yield each image, scaled down to the size of a camera frame; None for a skipped image.

        Raises:
            EdgeError: the folder has no images.
        """
        number = 0
        for path in inputs.walk(self.name):
            if isinstance(path, UnreadablePath):
                report(EdgeError(path.message))
                continue
            try:
                picture = decode_color(path, longest=_MAX_SIDE_PX).rgb
            except ImageError as error:
                report(error)
                yield None
            else:
                yield Frame(picture, number)
            number += 1
        if not number:
            raise EdgeError(inputs.no_images(self.name))


class VideoSource:
    """The frames of a video file.

    Raises:
        EdgeError: OpenCV cannot read the file.
    """

    opened_by = "OpenCV"

    def __init__(self, name: str) -> None:
        self.name = name
        # Open the file once now, so that an invalid file is reported at the start.
        _OpenCVCapture(name, name, EdgeError).release()

    def frames(self) -> Generator[Frame | None, None, None]:
        """Yield every frame in order; never None.

        Raises:
            EdgeError: OpenCV can no longer open the file.
        """
        capture = _OpenCVCapture(self.name, self.name, EdgeError)
        try:
            number = 0
            while (picture := capture.read()) is not None:
                yield Frame(picture, number)
                number += 1
        finally:
            capture.release()


class Camera(Protocol):
    """An open camera, stream or video file."""

    def read(self) -> FrameArray | None:
        """Return the next frame, uint8 (height, width, 3) RGB; None if the camera has stopped."""

    def release(self) -> None:
        """Release the device."""


class LiveSource:
    """A camera or a stream; yields always the latest frame and drops earlier frames.

    A separate thread opens, reads and releases the camera, so that a driver that hangs blocks only
    this thread. The camera is not opened again while the thread hangs.

    Args:
        name: the name for messages and records.
        opened_by: the library that opens the camera.
        open_camera: opens the camera; raises SourceLost if the camera cannot be opened.
    """

    def __init__(self, name: str, opened_by: str, open_camera: Callable[[], Camera]) -> None:
        self.name, self.opened_by = name, opened_by
        self._open = open_camera
        self._number = 0
        self._thread = threading.Thread()
        self._attempts = 0  # calls of `frames` while the thread hangs

    def frames(self) -> Generator[Frame | None, None, None]:
        """Yield the latest frame each time, or None if there is no new frame.

        Raises:
            SourceLost: the camera cannot be opened, or delivers no frames.
            EdgeError: the camera still hangs at the sixth call in a row.
        """
        if self._thread.is_alive():
            self._attempts += 1
            if self._attempts >= _MAX_ATTEMPTS:
                raise EdgeError(
                    f"{self.name} hangs; unplug the camera and plug it in, then start again"
                )
            raise self._no_frames()
        self._attempts = 0
        slot = _LatestFrame(self.name)
        self._thread = thread = threading.Thread(
            target=slot.fill, args=(self._open,), name="camera", daemon=True
        )
        thread.start()
        last_frame_s = time.monotonic()
        try:
            while True:
                picture = slot.take(_POLL_S)
                if picture is not None:
                    last_frame_s = time.monotonic()
                    yield Frame(picture, self._number)
                    self._number += 1
                elif time.monotonic() - last_frame_s > 2 * TIMEOUT_S:
                    raise self._no_frames()
                else:
                    yield None
        finally:
            slot.stop()
            # A thread that returns from OpenCV during interpreter shutdown crashes the process.
            thread.join(_RELEASE_TIMEOUT_S)

    def _no_frames(self) -> SourceLost:
        return SourceLost(f"{self.name} delivers no frames; check the device and its cable")


class _LatestFrame:
    """A slot for the latest frame, between the thread that reads a camera and the consumer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._picture: FrameArray | None = None
        self._failure: EdgeError | None = None
        self._stopped = False

    def fill(self, open_camera: Callable[[], Camera]) -> None:
        """Read a camera until it fails or `stop` is called; runs in the reading thread."""
        try:
            camera = open_camera()
            try:
                while not self._stopped:
                    picture = camera.read()
                    if picture is None:
                        raise SourceLost(f"{self._name} delivers no more frames")
                    with self._changed:
                        self._picture = picture
                        self._changed.notify()
            finally:
                camera.release()
        except EdgeError as error:
            with self._changed:
                self._failure = error
                self._changed.notify()

    def take(self, timeout_s: float) -> FrameArray | None:
        """Return the latest frame and empty the slot; None if there is no frame after `timeout_s`.

        Raises:
            EdgeError: the error of the reading thread, once the slot is empty.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._picture is not None or self._failure is not None, timeout_s
            )
            picture, self._picture = self._picture, None
            if picture is None and self._failure is not None:
                raise self._failure
            return picture

    def stop(self) -> None:
        """Make `fill` end after the current frame."""
        self._stopped = True


class _OpenCVCapture:
    """A camera, stream or video file opened by OpenCV.

    Args:
        source: number of a camera, or a device file, a URL or a video file.
        name: the name for messages.
        failure: the exception to raise if the source cannot be opened.
    """

    def __init__(self, source: int | str, name: str, failure: type[EdgeError] = SourceLost) -> None:
        cv2 = opencv()
        self._cv2 = cv2
        if isinstance(source, str) and "://" in source:
            milliseconds = int(TIMEOUT_S * 1000)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        else:
            self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            self._capture.release()
            if failure is EdgeError:
                raise failure(
                    f"cannot open {name}: not a video that OpenCV can read; pass a video, a folder "
                    "of images, a camera's number or a URL"
                )
            raise failure(
                f"cannot open {name}: no such camera or stream; check the cable or the address"
            )

    def read(self) -> FrameArray | None:
        """Return the next frame; None at the end of a video, or if the device is gone."""
        try:
            success, picture = self._capture.read()
        except self._cv2.error:  # raised by some drivers if the device is unplugged
            return None
        if not success or picture is None:
            return None
        return np.ascontiguousarray(picture[:, :, ::-1])  # OpenCV returns BGR

    def release(self) -> None:
        """Release the device or file."""
        self._capture.release()


class _PiCamera:
    """A Raspberry Pi camera, opened by picamera2: https://datasheets.raspberrypi.com/camera/."""

    def __init__(self, number: int) -> None:
        try:
            self._camera = _picamera2()(number)
            # picamera2's format "BGR888" has R, G, B in this order in memory: the name states the
            # order in a machine word.
            config = self._camera.create_video_configuration(
                main={"size": _PI_SIZE_PX, "format": "BGR888"}
            )
            self._camera.configure(config)
            self._camera.start()
        except (RuntimeError, IndexError, OSError) as error:
            raise SourceLost(
                f"cannot open camera {number}: {error}; check its cable, and that no other program "
                "uses it"
            ) from error

    def read(self) -> FrameArray | None:
        """Return the next frame; None if the camera has stopped."""
        try:
            picture: FrameArray = self._camera.capture_array("main")
        except (RuntimeError, OSError):
            return None
        return picture

    def release(self) -> None:
        """Release the camera."""
        with contextlib.suppress(RuntimeError, OSError):
            self._camera.stop()
            self._camera.close()


def _has_pi_camera(number: int) -> bool:
    try:
        pi_cameras = _picamera2()
    except ImportError:
        return False
    return len(pi_cameras.global_camera_info()) > number


def _picamera2() -> Any:
    from picamera2 import Picamera2

    return Picamera2


def opencv() -> Any:
    """Import and return the module cv2, with the logs of OpenCV and FFmpeg switched off.

    Raises:
        EdgeError: OpenCV is not installed.
    """
    # OpenCV and FFmpeg would log every lost connection, which this program reports itself.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise EdgeError(
            f'OpenCV is not installed ({error}): pip install "digit-edge[vision]", or on '
            "Raspberry Pi OS: sudo apt install python3-opencv"
        ) from error
    return cv2
