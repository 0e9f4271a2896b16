"""Reads a line of digits with a convolutional network and CTC.

The network scores each column of a line: the ten digits, other signs, and the blank of CTC
(A. Graves et al., "Connectionist temporal classification", 2006). `LineReader.read` decodes the
best path. `runtime.multi_digit.verify` then has the digit network check each digit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.backends import Backend

HEIGHT_PX = 32  # of the lines that the network takes
_MAX_WIDTH_PX = 8192  # 400 digits; the engine takes 130 MB for a line four times as wide
_STRIDE_PX = 4  # columns of pixels per column of scores
_WIDTH_STEP_PX = 32  # lines are padded to a multiple of this width, as each new one costs a little


@dataclass(frozen=True)
class Reading:
    """One sign that the line reader proposes.

    Attributes:
        label: a digit, or `UNKNOWN`.
        confidence: from 0 to 1, of the network in its best column.
        column: where it is, as a share of the line's width.
    """

    label: str
    confidence: float
    column: float


class LineReader:
    """A network that reads lines.

    Args:
        backend: holds a model of the kind `SEQUENCE`.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, ink: npt.NDArray[np.uint8], stretch: float = 1.0) -> list[Reading]:
        """Read one line.

        Args:
            ink: uint8 (height, width), 0 background, 255 ink; of any size.
            stretch: by how much the line is widened before it is read.

        Returns:
            The signs from left to right; none if the ink is so wide that it is a rule.
        """
        height, width = ink.shape
        wide = max(round(stretch * width * HEIGHT_PX / height), _STRIDE_PX)
        if wide > _MAX_WIDTH_PX:
            return []
        scaled = np.asarray(Image.fromarray(ink).resize((wide, HEIGHT_PX), _RESAMPLING))
        pixels = np.zeros((1, HEIGHT_PX, wide + -wide % _WIDTH_STEP_PX, 1), np.uint8)
        pixels[0, :, :wide, 0] = scaled
        logits = self._backend.scores(pixels)[0]
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return self._decode(scores, wide / _STRIDE_PX)

    def _decode(self, scores: npt.NDArray[np.float32], columns: float) -> list[Reading]:
        labels = self._backend.spec.labels
        best = scores.argmax(axis=1)
        starts = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
        readings = []
        for start, end in zip(starts, [*starts[1:], len(best)], strict=True):
            if best[start] == len(labels) - 1:
                continue
            own = scores[start:end, best[start]]
            column = float((own * (np.arange(start, end) + 0.5)).sum() / own.sum())
            readings.append(
                Reading(labels[best[start]], float(own.max()), min(column / columns, 1.0))
            )
        return readings


_RESAMPLING = Image.Resampling.BILINEAR
