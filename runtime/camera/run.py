"""The main loop of `digit-edge camera`: classify or read each frame, and report what appears.

`runtime.camera.__main__` calls `watch` with a `FrameWatcher` from `runtime.camera.watch_digit` or
`runtime.camera.watch_numbers`. A lost camera or stream is opened again, with exponential
backoff.
"""

import contextlib
import sys
import time
from collections.abc import Generator
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol

from PIL import Image

from runtime.camera.preview import Preview
from runtime.camera.sources import Frame, FrameArray, FrameSource, SourceLost
from runtime.classifier import Classifier
from runtime.cli.model_note import describe_model
from runtime.errors import EdgeError, printable, report
from runtime.outputs import sinks
from runtime.reload import ReloadingClassifier
from runtime.system.service import ServiceLifecycle

_FIRST_RETRY_S = 1.0  # delay before a lost camera is opened again; doubles with each failure
_MAX_RETRY_S = 30.0  # the delay no longer grows once it has this value
# Times between two messages that the same camera is still missing. The last time is repeated.
_REPORT_INTERVALS_S = (10.0, 60.0, 300.0, 1800.0)


class FrameWatcher(Protocol):
    """Classifies the digit in each frame, or reads the numbers in it."""

    def see(self, classifier: Classifier, frame: FrameArray, show: bool) -> None:
        """Classify or read the next frame, or the same frame again with another model.

        Args:
            classifier: the open model.
            frame: uint8 (height, width, 3) RGB.
            show: whether `draw` will be called.

        Raises:
            EdgeError: a region of interest is not inside the frame.
        """

    def records(self) -> list[dict[str, Any]]:
        """Return the records to report for the latest frame; called once for each frame."""

    def draw(self, frame: FrameArray) -> Image.Image:
        """Draw the digits or numbers on the latest frame; return an RGB image of its size."""


def watch(
    source: FrameSource,
    watcher: FrameWatcher,
    reader: ReloadingClassifier,
    out: sinks.Sinks,
    preview: Preview | None,
    lifecycle: ServiceLifecycle,
) -> None:
    """Classify or read the frames of a source, and write what appears to the sinks.

    The function returns if the source ends, a signal asks the process to stop, or the user closes
    the preview.

    Args:
        source: yields the frames.
        watcher: classifies or reads each frame, and returns the digits or numbers to report.
        reader: the classifier, which reloads a replaced model.
        out: the sinks (outputs); each gets one record per digit or number that appears.
        preview: shows the frames; None for no preview.
        lifecycle: contains whether the process must stop, and notifies systemd's watchdog.

    Raises:
        EdgeError: a region is not inside the frame, the source cannot be read, or a sink fails.
    """
    announced = False
    with contextlib.closing(frames(source, lifecycle)) as pictures:
        for frame in pictures:
            if not announced:
                _announce(source, frame, reader)
                announced = True
            lifecycle.heartbeat()
            show = preview is not None and preview.wanted
            backend = reader.run(partial(_see, watcher=watcher, frame=frame, show=show))
            for record in watcher.records():
                now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
                place = {"image": source.name, "frame": frame.number}
                out.write({**place, **record, "backend": backend, "time": now})
            if preview is not None and show and not preview.show(watcher.draw(frame.picture)):
                return


def _see(classifier: Classifier, watcher: FrameWatcher, frame: Frame, show: bool) -> str:
    """Classify or read a frame; return the name of the engine."""
    watcher.see(classifier, frame.picture, show)
    return classifier.backend.name


def _announce(source: FrameSource, frame: Frame, reader: ReloadingClassifier) -> None:
    """Print on stderr which source is read, and with which model."""
    height, width = frame.picture.shape[:2]
    opened_by = f"{source.opened_by}, " if source.opened_by else ""
    model = describe_model(reader.path, reader.classifier.backend.name)
    text = f"reading {source.name} ({opened_by}{width}x{height}) with {model}"
    print(printable(text), file=sys.stderr)


def frames(source: FrameSource, lifecycle: ServiceLifecycle) -> Generator[Frame, None, None]:
    """Yield the frames of a source until it ends or the process stops.

    A lost camera or stream is opened again after a delay. A source that stays lost is reported at
    growing intervals.

    Args:
        source: the source of the frames.
        lifecycle: contains whether the process must stop, and notifies systemd's watchdog.

    Raises:
        EdgeError: the source cannot be read, or a camera hangs.
    """
    retry_s = _FIRST_RETRY_S
    loss: _Loss | None = None  # None while the source works
    while not lifecycle.stopping:
        try:
            with contextlib.closing(source.frames()) as pictures:
                for frame in pictures:
                    if lifecycle.stopping:
                        return
                    if frame is None:
                        lifecycle.heartbeat()
                        continue
                    if loss is not None:
                        print(f"{printable(source.name)} is back", file=sys.stderr)
                        loss, retry_s = None, _FIRST_RETRY_S
                    yield frame
            return
        except SourceLost as error:
            if loss is None:
                loss = _Loss()
            loss.report(error, retry_s)
        lifecycle.wait(retry_s)
        retry_s = min(2 * retry_s, _MAX_RETRY_S)


class _Loss:
    """Reports that a source is lost: a new error at once, a repeated error at growing intervals."""

    def __init__(self) -> None:
        self._start_s = self._reported_s = time.monotonic()
        self._intervals = iter(_REPORT_INTERVALS_S)
        self._interval_s = 0.0
        self._error = ""

    def report(self, error: SourceLost, retry_s: float) -> None:
        """Print the error if it differs from the previous error, or if the interval is over.

        Args:
            error: the error of the latest attempt to read the source.
            retry_s: time in seconds until the source is opened again.
        """
        now_s = time.monotonic()
        if str(error) == self._error:
            if now_s < self._reported_s + self._interval_s:
                return
            lost_s = now_s - self._start_s
            since = f"{lost_s / 60:.0f} min" if lost_s >= 60 else f"{lost_s:.0f} s"
            report(EdgeError(f"{error}; missing for {since}, trying again every {retry_s:.0f} s"))
        else:
            report(EdgeError(f"{error}; trying again in {retry_s:.0f} s"))
        self._error, self._reported_s = str(error), now_s
        self._interval_s = next(self._intervals, self._interval_s)
