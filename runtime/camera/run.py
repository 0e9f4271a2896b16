"""The main loop of `digit-edge camera`: classify each frame, report each digit that appears.

`runtime.camera.__main__` calls `watch`. A lost camera or stream is opened again, with exponential
backoff.
"""

import contextlib
import sys
from collections.abc import Generator
from datetime import datetime, timezone

from runtime.camera.debounce import Debouncer
from runtime.camera.preview import Preview, draw
from runtime.camera.sources import Frame, FrameArray, FrameSource, SourceLost
from runtime.errors import EdgeError, printable, report
from runtime.outputs import sinks
from runtime.preprocess.segment import Box
from runtime.reload import ReloadingClassifier
from runtime.system.service import ServiceLifecycle

_FIRST_RETRY_S = 1.0  # delay before a lost camera is opened again; doubles with each failure
_MAX_RETRY_S = 30.0  # the delay no longer grows once it has this value


def watch(
    source: FrameSource,
    roi: Box | None,
    reader: ReloadingClassifier,
    debouncer: Debouncer,
    out: sinks.Sinks,
    preview: Preview | None,
    lifecycle: ServiceLifecycle,
) -> None:
    """Classify the frames of a source and write each digit that appears to the sinks.

    The function returns if the source ends, a signal asks the process to stop, or the user closes
    the preview.

    Args:
        source: yields the frames.
        roi: (left, top, right, bottom) of the part to read, in pixels; right and bottom are
            exclusive. None for the whole frame.
        reader: the classifier, which reloads a replaced model.
        debouncer: decides when a digit has appeared.
        out: the sinks (outputs); each gets one record per digit that appears.
        preview: shows the frames; None for no preview.
        lifecycle: contains whether the process must stop, and notifies systemd's watchdog.

    Raises:
        EdgeError: `roi` is not inside the frame, the source cannot be read, or a sink fails.
    """
    with contextlib.closing(frames(source, lifecycle)) as pictures:
        for frame in pictures:
            lifecycle.heartbeat()
            classifier = reader.classifier
            show = preview is not None and preview.wanted
            part = _crop(frame.picture, roi)
            prediction = classifier.classify(part, return_view=show)
            label = prediction.label if prediction.accepted else None
            event = debouncer.add(label, prediction.confidence)
            if event is not None:
                out.write(
                    {
                        "image": source.name,
                        "frame": frame.number,
                        "label": event.label,
                        "confidence": round(event.confidence, 6),
                        "accepted": True,
                        "agreeing": event.votes,
                        "backend": classifier.backend.name,
                        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                    }
                )
            if preview is not None and show:
                image = draw(frame.picture, roi, prediction, debouncer.present)
                if not preview.show(image):
                    return


def frames(source: FrameSource, lifecycle: ServiceLifecycle) -> Generator[Frame, None, None]:
    """Yield the frames of a source until it ends or the process stops.

    A lost camera or stream is opened again after a delay. An error that repeats is reported once.

    Args:
        source: the source of the frames.
        lifecycle: contains whether the process must stop, and notifies systemd's watchdog.

    Raises:
        EdgeError: the source cannot be read, or a camera hangs.
    """
    retry_s = _FIRST_RETRY_S
    last_error = ""  # empty while the source works
    while not lifecycle.stopping:
        try:
            with contextlib.closing(source.frames()) as pictures:
                for frame in pictures:
                    if lifecycle.stopping:
                        return
                    if frame is None:
                        lifecycle.heartbeat()
                        continue
                    if last_error:
                        print(f"{printable(source.name)} is back", file=sys.stderr)
                        last_error, retry_s = "", _FIRST_RETRY_S
                    yield frame
            return
        except SourceLost as error:
            if str(error) != last_error:
                report(EdgeError(f"{error}; trying again in {retry_s:.0f} s"))
            last_error = str(error)
        lifecycle.wait(retry_s)
        retry_s = min(2 * retry_s, _MAX_RETRY_S)


def _crop(picture: FrameArray, roi: Box | None) -> FrameArray:
    if roi is None:
        return picture
    left, top, right, bottom = roi
    height, width = picture.shape[:2]
    if right > width or bottom > height:
        raise EdgeError(
            f"--roi {left},{top},{right - left},{bottom - top} is not inside the frame of "
            f"{width}x{height} pixels: pass a smaller X,Y,W,H"
        )
    return picture[top:bottom, left:right]
