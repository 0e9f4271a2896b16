"""Classifies the frames of a camera and reports each digit that appears."""

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

# A lost camera is tried again after so long, and after twice that each time, up to the second.
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 30.0


def watch(
    source: FrameSource,
    roi: Box | None,
    reader: ReloadingClassifier,
    debouncer: Debouncer,
    out: sinks.Sinks,
    preview: Preview | None,
    lifecycle: ServiceLifecycle,
) -> None:
    """Read the digits of a source and give each appearance of one to the sinks.

    Args:
        roi: (left, top, right, bottom) of the part to be read, in pixels; else all.
    """
    with contextlib.closing(frames(source, lifecycle)) as pictures:
        for frame in pictures:
            lifecycle.heartbeat()
            classifier = reader.classifier
            shown = preview is not None and preview.wanted
            part = _cut(frame.picture, roi)
            prediction = classifier.classify(part, return_view=shown)
            label = prediction.label if prediction.accepted else None
            appeared = debouncer.add(label, prediction.confidence)
            if appeared is not None:
                out.write(
                    {
                        "image": source.name,
                        "frame": frame.number,
                        "label": appeared.label,
                        "confidence": round(appeared.confidence, 6),
                        "accepted": True,
                        "agreeing": appeared.votes,
                        "backend": classifier.backend.name,
                        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                    }
                )
            if preview is not None and shown:
                if not preview.show(draw(frame.picture, roi, prediction, debouncer.present)):
                    return


def frames(source: FrameSource, lifecycle: ServiceLifecycle) -> Generator[Frame, None, None]:
    """A source's pictures until it ends or the lifetime does; a lost camera is tried again."""
    retry_s = _FIRST_RETRY_S
    told = ""
    while not lifecycle.stopping:
        try:
            with contextlib.closing(source.frames()) as pictures:
                for frame in pictures:
                    if lifecycle.stopping:
                        return
                    if frame is None:
                        lifecycle.heartbeat()
                        continue
                    if told:
                        print(f"{printable(source.name)} is back", file=sys.stderr)
                        told, retry_s = "", _FIRST_RETRY_S
                    yield frame
            return
        except SourceLost as error:
            # The same thing over and over only once.
            if str(error) != told:
                report(EdgeError(f"{error}; trying again, after {retry_s:.0f} s at first"))
            told = str(error)
        lifecycle.wait(retry_s)
        retry_s = min(2 * retry_s, _LAST_RETRY_S)


def _cut(picture: FrameArray, roi: Box | None) -> FrameArray:
    if roi is None:
        return picture
    left, top, right, bottom = roi
    height, width = picture.shape[:2]
    if right > width or bottom > height:
        raise EdgeError(
            f"--roi {left},{top},{right - left},{bottom - top} reaches beyond the picture of "
            f"{width}x{height}"
        )
    return picture[top:bottom, left:right]
