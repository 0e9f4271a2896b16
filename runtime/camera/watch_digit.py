"""Classify the digit of each frame, and report each digit that appears.

`runtime.camera.run` calls `DigitWatcher`, unless `digit-edge camera` has the option `--read`.
"""

from typing import Any

from PIL import Image

from runtime.camera.debounce import Debouncer
from runtime.camera.preview import draw
from runtime.camera.sources import FrameArray
from runtime.classifier import Classifier
from runtime.errors import EdgeError
from runtime.prediction import Prediction
from runtime.preprocess.segment import Box


class DigitWatcher:
    """Classifies the digit of each frame; see `runtime.camera.run.FrameWatcher`.

    Args:
        roi: (left, top, right, bottom) of the part to read, in pixels; right and bottom are
            exclusive. None for the whole frame.
        debouncer: decides when a digit has appeared.
    """

    def __init__(self, roi: Box | None, debouncer: Debouncer) -> None:
        self._roi, self._debouncer = roi, debouncer
        self._prediction: Prediction  # of the latest frame

    def see(self, classifier: Classifier, frame: FrameArray, show: bool) -> None:
        """Classify the region of interest of a frame.

        Raises:
            EdgeError: the region of interest is not inside the frame.
        """
        part = _crop(frame, self._roi)
        self._prediction = classifier.classify(part, return_view=show)

    def records(self) -> list[dict[str, Any]]:
        """Return the record of the digit that appears with the latest frame, if one does."""
        prediction = self._prediction
        label = prediction.label if prediction.accepted else None
        event = self._debouncer.add(label, prediction.confidence)
        if event is None:
            return []
        return [
            {
                "label": event.label,
                "confidence": round(event.confidence, 6),
                "accepted": True,
                "agreeing": event.votes,
            }
        ]

    def draw(self, frame: FrameArray) -> Image.Image:
        """Draw the prediction of the latest frame on it."""
        return draw(frame, self._roi, self._prediction, self._debouncer.present)


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
