"""Out-of-distribution rejection: scores an image by its ink and its confidence."""

import base64
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# The rule looks at squares of 2 x 2 pixels in the rows from 4 to 23, where MNIST's form has its
# ink: so a hidden layer of 16 stays below the 9,216 weights past which OpenBLAS wakes its threads
# (interface/gemv.c), which costs more than the rule itself.
TOP, BOTTOM, SQUARE = 4, 24, 2
_BLANK = bytes(28 * 28)
# Images whose ink is weighed in one product: past 2^18 multiplications, here 29 images, OpenBLAS
# wakes its threads (interface/gemm.c). And products in one call of NumPy.
_AT_ONCE, _PRODUCTS = 28, 16
CONFIDENT = 0.95  # a lower confidence makes a prediction uncertain
CLEAR_MARGIN = 4.0  # of the score; one that is less above the threshold is uncertain
# Confidences above are taken for this one.
_MAX_CONFIDENCE = 0.9999
GRID = (10, 14)
_FLOAT = np.dtype(np.float32)
# Of an image's pixels in a row, those looked at, and how many they are.
_ROWS = slice(TOP * 28, BOTTOM * 28)
_COUNT = (BOTTOM - TOP) * 28


@dataclass(frozen=True, eq=False)
class RejectionModel:
    """A network of one hidden layer that tells digits' ink from other ink, and its threshold.

    With x the mean ink, 0 to 1, of each square of a grid of 10 x 14:
    score = output · max(0, scale x (weights · x) + bias) + logit_weight x ln(c / (1 - c)),
    where c is the confidence, at most 0.9999: past that, engines differ in what they leave to 1.

    Attributes:
        weights: int8 (hidden, 10, 14).
        scales, biases, outputs: float32 (hidden,).
        logit_weight: weight of the logit of the confidence.
        threshold: an image that scores less is not accepted.
    """

    weights: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    logit_weight: float
    threshold: float

    def to_record(self) -> dict[str, Any]:
        """What stands in a spec's JSON: the weights as base64, the rest as numbers."""
        return {
            "weights": base64.b64encode(self.weights.tobytes()).decode(),
            # repr of a float32's double is exact both ways.
            "scales": self.scales.tolist(),
            "biases": self.biases.tolist(),
            "outputs": self.outputs.tolist(),
            "odds_weight": self.logit_weight,
            "threshold": self.threshold,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "RejectionModel":
        """The inverse of `to_record`; raises ValueError, KeyError or TypeError where it is none."""
        weights = np.frombuffer(base64.b64decode(record["weights"]), np.int8)
        rule = cls(
            weights=weights.reshape(-1, *GRID),
            scales=np.array(record["scales"], np.float32),
            biases=np.array(record["biases"], np.float32),
            outputs=np.array(record["outputs"], np.float32),
            logit_weight=float(record["odds_weight"]),
            threshold=float(record["threshold"]),
        )
        numbers = (rule.scales, rule.biases, rule.outputs)
        if any(part.shape != rule.weights.shape[:1] for part in numbers):
            raise ValueError("the rejection model's arrays differ in length")
        if not all(np.isfinite(part).all() for part in numbers):
            raise ValueError("the rejection model holds a number that is not finite")
        if not (math.isfinite(rule.logit_weight) and math.isfinite(rule.threshold)):
            raise ValueError("the rejection model holds a number that is not finite")
        return rule


class RejectionScorer:
    """Scores images; without a rule, the score is the confidence. A blank page never passes."""

    def __init__(self, confidence_threshold: float, rule: RejectionModel | None) -> None:
        self._ruled = rule is not None
        if rule is None:
            self.threshold = confidence_threshold
            return
        self.threshold = rule.threshold
        # Spread over the pixels, so that one product does the squares' means, the scaling of
        # pixels to 0 to 1, and the layer.
        spread = rule.weights.repeat(SQUARE, axis=1).repeat(SQUARE, axis=2).astype(np.float32)
        factors = rule.scales / np.float32(255 * SQUARE * SQUARE)
        self._weights = spread.reshape(len(spread), -1) * factors[:, None]
        self._outputs = rule.outputs
        # Looked up once: that is a twentieth of what a score costs.
        self._weigh, self._sum, self._log = self._weights.dot, self._outputs.dot, math.log
        self._largest = np.maximum
        # max(0, a + b) = max(−b, a) + b: b is added once, here, rather than to every image.
        self._floor = -rule.biases
        self._offset = float(rule.outputs @ rule.biases)
        self._logit_weight = rule.logit_weight

    def score(self, pixels: npt.NDArray[np.uint8], confidence: float) -> float:
        """How much this looks like a digit; of use against `threshold` and other scores only.

        Args:
            pixels: (28, 28, 1) uint8.
            confidence: 0 to 1.

        Returns:
            Minus infinity where all pixels are alike.
        """
        # All pixels alike, mostly 0: comparing bytes is a fifth of what asking NumPy costs.
        data = pixels.tobytes()
        if data == _BLANK or (data[0] and data == data[:1] * len(data)):
            return -math.inf
        if not self._ruled:
            return confidence
        ink = pixels.ravel()[_ROWS].astype(_FLOAT)
        hidden = self._largest(self._weigh(ink), self._floor)
        of_ink = float(self._sum(hidden))
        sure = _MAX_CONFIDENCE if confidence > _MAX_CONFIDENCE else confidence
        # Of zero or no number, which no softmax gives: not a digit.
        odds = self._log(sure / (1 - sure)) if sure > 0 else -math.inf
        return of_ink + self._offset + self._logit_weight * odds

    def accepts(self, pixels: npt.NDArray[np.uint8], confidence: float) -> bool:
        """Whether this is a digit: its score is at least the threshold."""
        return self.score(pixels, confidence) >= self.threshold

    def is_uncertain(self, score: float, confidence: float) -> bool:
        """Return whether a digit found in a picture needs test-time augmentation."""
        return confidence < CONFIDENT or score < self.threshold + CLEAR_MARGIN

    def accept_all(
        self, pixels: npt.NDArray[np.uint8], confidences: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_]:
        """As `accepts` of each of (N, 28, 28, 1) images and (N,) confidences, in less time.

        Summed in another order, a score may differ from that of the image alone in its last bits.
        """
        accepted: npt.NDArray[np.bool_] = pixels.min(axis=(1, 2, 3)) < pixels.max(axis=(1, 2, 3))
        if not self._ruled:
            accepted &= confidences >= self.threshold
            return accepted
        odds = self._offset + self._logit_weight * log_odds(confidences)
        products = min(_PRODUCTS, math.ceil(len(pixels) / _AT_ONCE))
        ink = np.zeros((products, min(_AT_ONCE, len(pixels)), _COUNT), np.float32)
        lines = ink.reshape(-1, _COUNT)
        for at in range(0, len(pixels), max(1, len(lines))):
            part = pixels[at : at + len(lines), TOP:BOTTOM].reshape(-1, _COUNT)
            lines[: len(part)] = part
            hidden = np.maximum(ink @ self._weights.T, self._floor)
            of_ink = (hidden @ self._outputs).ravel()[: len(part)]
            accepted[at : at + len(part)] &= of_ink + odds[at : at + len(part)] >= self.threshold
        return accepted


def log_odds(confidences: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """ln(c / (1 - c)) of confidences from 0 to 1, those above 0.9999 taken for it."""
    # Not from NumPy's finfo: 1.24 warns in it where an engine has subnormals flushed to zero.
    sure = np.clip(confidences.astype(np.float64), sys.float_info.min, _MAX_CONFIDENCE)
    odds: npt.NDArray[np.float64] = np.log(sure / (1 - sure))
    return odds
