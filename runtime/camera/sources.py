"""Frames from a camera, a stream, a video or a folder of images."""

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

FrameArray = npt.NDArray[np.uint8]

# How long a stream may take to answer, and a camera to give the next picture.
TIMEOUT_S = 5.0
# How long a camera may take to let go.
_LEAVE_S = 1.0
# How often a camera that hangs is asked for again before it is given up.
_TRIES = 6
# How long nothing may happen before the caller is asked whether to go on.
_PULSE_S = 0.25
# The longest side that a folder's images are decoded to: about that of a camera's pictures.
_LONGEST = 1920
# picamera2's pictures; a digit needs no more.
_PI_SIZE = (1280, 720)


class Frame(NamedTuple):
    """A picture, uint8 (height, width, 3) RGB, and its number in the source, from 0."""

    picture: FrameArray
    number: int


class SourceLost(EdgeError):
    """A camera or a stream gives no pictures now; it may again later."""


class FrameSource(Protocol):
    """Where pictures come from."""

    name: str

    def frames(self) -> Generator[Frame | None, None, None]:
        """The pictures in their order; None now and then while there is no new one.

        Those of a file or folder end. A camera is opened anew by each call, and raises SourceLost
        where it is not there or no more.
        """


def open_source(name: str | None) -> FrameSource:
    """The source of a name: a camera's number or device, a URL, a video, a folder of images.

    Without a name it is the first camera. Cameras are opened by picamera2 where that is installed
    and finds them, else by OpenCV.

    Raises:
        EdgeError: there is no such file, it is no video, or OpenCV is not installed.
    """
    if name is None or (name.isdecimal() and len(name) < 10):
        number = int(name or 0)
        if _has_pi_camera(number):
            return LiveSource(f"camera {number}", lambda: _PiCamera(number))
        opencv()
        return LiveSource(f"camera {number}", lambda: _OpenCVCapture(number, f"camera {number}"))
    if "://" in name:
        opencv()
        return LiveSource(
            without_password(name), lambda: _OpenCVCapture(name, without_password(name))
        )
    if os.path.isdir(name):
        return FolderSource(name)
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        raise EdgeError(
            f"cannot open {name}: {error.strerror}; give a camera's number, a URL, a video or a "
            "folder of images"
        ) from error
    if stat.S_ISCHR(mode):
        opencv()
        return LiveSource(name, lambda: _OpenCVCapture(name, name))
    return VideoSource(name)


def without_password(url: str) -> str:
    """A URL as it may be shown: the password in it, if any, left out."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)


class FolderSource:
    """The images of a folder and those below, by name; one that cannot be read is passed over."""

    def __init__(self, name: str) -> None:
        self.name = name

    def frames(self) -> Generator[Frame | None, None, None]:
        """Each image, decoded no larger than a camera's picture."""
        number = 0
        for path in inputs.walk(self.name):
            if isinstance(path, UnreadablePath):
                report(EdgeError(path.message))
                continue
            try:
                picture = decode_color(path, longest=_LONGEST).rgb
            except ImageError as error:
                report(error)
                yield None
            else:
                yield Frame(picture, number)
            number += 1
        if not number:
            raise EdgeError(f"{self.name}: a folder without images")


class VideoSource:
    """A video file, every picture of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Opened here too, so that a file that is none is known at once.
        _OpenCVCapture(name, name, EdgeError).release()

    def frames(self) -> Generator[Frame | None, None, None]:
        """Every picture, in order."""
        capture = _OpenCVCapture(self.name, self.name, EdgeError)
        try:
            number = 0
            while (picture := capture.read()) is not None:
                yield Frame(picture, number)
                number += 1
        finally:
            capture.release()


class Camera(Protocol):
    """An open camera."""

    def read(self) -> FrameArray | None:
        """The next picture; None when it gives no more."""

    def release(self) -> None:
        """Let go of it."""


class LiveSource:
    """A camera or a stream. Always its newest picture: what comes meanwhile is passed over.

    It is opened, read and let go of on a thread of its own: a driver that hangs takes that one
    along, and nothing else. Until that comes back the camera is not opened again.
    """

    def __init__(self, name: str, open_camera: Callable[[], Camera]) -> None:
        self.name = name
        self._open = open_camera
        self._number = 0
        self._thread = threading.Thread()
        self._tries = 0

    def frames(self) -> Generator[Frame | None, None, None]:
        """The newest picture each time, until it is lost: SourceLost.

        EdgeError where it still hangs after `_TRIES` calls: then a new process may help.
        """
        if self._thread.is_alive():
            self._tries += 1
            if self._tries >= _TRIES:
                raise EdgeError(f"{self.name} hangs; unplug it and plug it in, then start again")
            raise self._silent()
        self._tries = 0
        slot = _LatestFrame(self.name)
        self._thread = thread = threading.Thread(
            target=slot.fill, args=(self._open,), name="camera", daemon=True
        )
        thread.start()
        last = time.monotonic()
        try:
            while True:
                picture = slot.take(_PULSE_S)
                if picture is not None:
                    last = time.monotonic()
                    yield Frame(picture, self._number)
                    self._number += 1
                elif time.monotonic() - last > 2 * TIMEOUT_S:
                    raise self._silent()
                else:
                    yield None
        finally:
            slot.stop()
            # A thread that comes out of OpenCV while the interpreter ends takes the process down.
            thread.join(_LEAVE_S)

    def _silent(self) -> SourceLost:
        return SourceLost(f"{self.name} gives no pictures; check it and its cable")


class _LatestFrame:
    """Room for one picture between the thread that takes them and the one that uses them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._picture: FrameArray | None = None
        self._failure: EdgeError | None = None
        self._stopped = False

    def fill(self, open_camera: Callable[[], Camera]) -> None:
        """Put every picture of a camera here, until it fails or nobody wants more."""
        try:
            camera = open_camera()
            try:
                while not self._stopped:
                    picture = camera.read()
                    if picture is None:
                        raise SourceLost(f"{self._name} gives no more pictures")
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
        """The newest picture not yet taken; None after the time-out; raises what `fill` met."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._picture is not None or self._failure is not None, timeout_s
            )
            picture, self._picture = self._picture, None
            if picture is None and self._failure is not None:
                raise self._failure
            return picture

    def stop(self) -> None:
        """Have `fill` end with the picture it is at."""
        self._stopped = True


class _OpenCVCapture:
    """What OpenCV opens: a camera, a stream, a video file."""

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
            kind = "video that OpenCV reads" if failure is EdgeError else "camera or stream there"
            raise failure(f"cannot open {name}: no {kind}")

    def read(self) -> FrameArray | None:
        """The next picture; None at the end."""
        try:
            good, picture = self._capture.read()
        except self._cv2.error:  # a driver's own way to say that the device is gone
            return None
        if not good or picture is None:
            return None
        return np.ascontiguousarray(picture[:, :, ::-1])  # OpenCV's order is blue, green, red

    def release(self) -> None:
        """Let go of it."""
        self._capture.release()


class _PiCamera:
    """A camera of a Raspberry Pi, by picamera2: https://datasheets.raspberrypi.com/camera/."""

    def __init__(self, number: int) -> None:
        try:
            self._camera = _picamera2()(number)
            # picamera2 names formats after their order in a word: "BGR888" is R, G, B in memory.
            config = self._camera.create_video_configuration(
                main={"size": _PI_SIZE, "format": "BGR888"}
            )
            self._camera.configure(config)
            self._camera.start()
        except (RuntimeError, IndexError, OSError) as error:
            raise SourceLost(f"cannot open camera {number}: {error}") from error

    def read(self) -> FrameArray | None:
        """The next picture; None where the camera has stopped."""
        try:
            picture: FrameArray = self._camera.capture_array("main")
        except (RuntimeError, OSError):
            return None
        return picture

    def release(self) -> None:
        """Let go of it."""
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
    """The module cv2; EdgeError where it is not installed."""
    # What it and FFmpeg say of themselves and of each lost connection is not the user's business.
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
