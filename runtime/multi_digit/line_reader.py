"""Reads a line of digits with a convolutional network and CTC.

The network scores each time step, which is 4 columns of pixels: the ten digits, any other symbol,
and the blank of CTC (A. Graves et al., "Connectionist temporal classification", 2006).
`LineReader.read` decodes the best path. `runtime.multi_digit.verify` then has the digit network
check each digit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.backends import Backend

UNKNOWN = "?"  # label of ink that is not a digit; in a text, also of a digit that is not accepted
HEIGHT_PX = 32  # height of the lines that the network takes
STRIDE_PX = 4  # columns of pixels per time step of the network
_MAX_WIDTH_PX = 8192  # 400 digits; the engine takes 130 MB for a line four times as wide
_WIDTH_STEP_PX = 32  # lines are padded to a multiple of this width, as each new one costs a little
_RESAMPLING = Image.Resampling.BILINEAR  # as in training


@dataclass(frozen=True)
class Proposal:
    """One symbol that the line reader proposes.

    Attributes:
        label: a digit, or `UNKNOWN`.
        confidence: from 0 to 1, of the network in its best time step.
        x_fraction: its center, from 0 at the left edge of the line to 1 at its right edge. A center
            in the padding to the right of the line counts as 1.
    """

    label: str
    confidence: float
    x_fraction: float


class LineReader:
    """A network that reads lines.

    Args:
        backend: holds a model of the kind `SEQUENCE`.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, ink: npt.NDArray[np.uint8], stretch: float = 1.0) -> list[Proposal]:
        """Read one line.

        Args:
            ink: uint8 (height, width), 0 background, 255 ink; of any size.
            stretch: factor by which the line is widened before it is read.

        Returns:
            The symbols from left to right; none if the ink is so wide that it is a ruled line.
        """
        height, width = ink.shape
        scaled_width = max(round(stretch * width * HEIGHT_PX / height), STRIDE_PX)
        if scaled_width > _MAX_WIDTH_PX:
            return []
        scaled = np.asarray(Image.fromarray(ink).resize((scaled_width, HEIGHT_PX), _RESAMPLING))
        padding = -scaled_width % _WIDTH_STEP_PX
        pixels = np.zeros((1, HEIGHT_PX, scaled_width + padding, 1), np.uint8)
        pixels[0, :, :scaled_width, 0] = scaled
        # The backend of a `SEQUENCE` model returns logits, not the softmax: (time steps, classes).
        logits = self._backend.scores(pixels)[0]
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return self._decode(probabilities, scaled_width / STRIDE_PX)

    def _decode(self, probabilities: npt.NDArray[np.float32], line_steps: float) -> list[Proposal]:
        """Decode the best path: each run of one label that is not the blank is a symbol.

        Args:
            probabilities: (time steps, classes), the blank last.
            line_steps: time steps of the line without the padding.
        """
        labels = self._backend.spec.labels
        best = probabilities.argmax(axis=1)
        starts = np.flatnonzero(np.append(True, best[1:] != best[:-1]))
        proposals = []
        for start, end in zip(starts, [*starts[1:], len(best)], strict=True):
            if best[start] == len(labels) - 1:
                continue
            run = probabilities[start:end, best[start]]
            center = float((run * (np.arange(start, end) + 0.5)).sum() / run.sum())
            proposals.append(
                Proposal(labels[best[start]], float(run.max()), min(center / line_steps, 1.0))
            )
        return proposals
