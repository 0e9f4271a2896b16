"""Out-of-distribution rejection: score how much an image looks like a digit.

`RejectionModel` holds the parameters: `train.evaluation.rejection` fits them, and each model file
stores them in its metadata. `RejectionScorer` computes the score from the ink and from the
confidence of the prediction. `runtime.Classifier` rejects images whose score is below the
threshold.
"""

import base64
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.preprocess.form import INK, MNIST_FORM, Form

_SIDE_PX = 28  # width and height of MNIST's images

# The model uses the rows 4 to 23 only, in which MNIST's format has its ink. Then a hidden layer of
# 16 units has 16 × 20 × 28 = 8,960 weights for the pixels. From 9,216 weights on, OpenBLAS starts
# threads (interface/gemv.c), which takes longer than the scoring itself.
TOP_ROW = 4  # first row used
BOTTOM_ROW = 24  # first row below the used rows
SQUARE_PX = 2  # side of the squares whose mean ink the model uses
GRID_SHAPE = (10, 14)  # rows and columns of the squares

_USED_PIXELS = slice(TOP_ROW * _SIDE_PX, BOTTOM_ROW * _SIDE_PX)  # positions in a flattened image
_USED_PIXEL_COUNT = (BOTTOM_ROW - TOP_ROW) * _SIDE_PX  # used pixels per image

# An uncertain prediction is repeated with test-time augmentation.
CERTAIN_CONFIDENCE = 0.99  # a prediction with a lower confidence is uncertain
CERTAIN_SCORE_MARGIN = 4.0  # a prediction whose score is less above the threshold is uncertain

# Higher confidences c count as this one. Closer to 1, the small differences between engines would
# change the logit ln(c / (1 − c)) too much.
_MAX_CONFIDENCE = 0.9999

# Largest number of images in a matrix product. From 29 images on, the product has more than 2^18
# multiplications, and OpenBLAS starts threads (interface/gemm.c).
_IMAGES_PER_PRODUCT = 28
_PRODUCTS_PER_CALL = 16  # matrix products per call of NumPy; further images need another call


@dataclass(frozen=True, eq=False)
class RejectionModel:
    """A network with one hidden layer that separates the ink of digits from other ink.

    With x the mean ink, 0 to 1, of each square of a 10×14 grid and c the confidence, at most
    0.9999:

        score = outputs · max(0, scales × (weights · x) + biases) + logit_weight × ln(c / (1 − c))

    Attributes:
        weights: int8 (hidden, 10, 14), weights of the hidden layer, whose number of units is
            `hidden`.
        scales: float32 (hidden,), the value of one step of each unit's int8 weights.
        biases: float32 (hidden,), biases of the hidden layer.
        outputs: float32 (hidden,), weights of the output.
        logit_weight: weight of the confidence's logit ln(c / (1 − c)).
        threshold: an image with a lower score is rejected.
    """

    weights: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    logit_weight: float
    threshold: float

    def to_record(self) -> dict[str, Any]:
        """Return the fields for a spec's JSON: the weights as base64, the rest as numbers."""
        return {
            "weights": base64.b64encode(self.weights.tobytes()).decode(),
            # JSON writes a float32 with the digits of a double, so reading returns it exactly.
            "scales": self.scales.tolist(),
            "biases": self.biases.tolist(),
            "outputs": self.outputs.tolist(),
            "odds_weight": self.logit_weight,
            "threshold": self.threshold,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "RejectionModel":
        """Parse the result of `to_record`.

        Raises:
            ValueError: a field has a wrong shape or a number that is not finite.
            KeyError: a field is missing.
            TypeError: a field has a wrong type.
        """
        weights = np.frombuffer(base64.b64decode(record["weights"]), np.int8)
        model = cls(
            weights=weights.reshape(-1, *GRID_SHAPE),
            scales=np.array(record["scales"], np.float32),
            biases=np.array(record["biases"], np.float32),
            outputs=np.array(record["outputs"], np.float32),
            logit_weight=float(record["odds_weight"]),
            threshold=float(record["threshold"]),
        )
        arrays = (model.scales, model.biases, model.outputs)
        if any(array.shape != model.weights.shape[:1] for array in arrays):
            raise ValueError("the rejection model's arrays differ in length")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the rejection model contains a number that is not finite")
        if not (math.isfinite(model.logit_weight) and math.isfinite(model.threshold)):
            raise ValueError("the rejection model contains a number that is not finite")
        return model


class RejectionScorer:
    """Scores images with a rejection model and compares the scores with its threshold.

    Without a rejection model, the score is the confidence. Images without ink are always rejected;
    a photograph of one color may be a class.

    Args:
        confidence_threshold: the threshold, 0 to 1, if there is no rejection model.
        model: the rejection model, or None.
        form: the form of the pixels.

    Attributes:
        threshold: an image with a lower score is rejected.
    """

    def __init__(
        self,
        confidence_threshold: float,
        model: RejectionModel | None,
        form: Form = MNIST_FORM,
    ) -> None:
        self._has_model = model is not None
        self._has_ink = form.name == INK
        self._blank = bytes(math.prod(form.shape))  # the bytes of an image without ink
        if model is None:
            self.threshold = confidence_threshold
            return
        self.threshold = model.threshold
        # Repeat each square's weight for its pixels. One product then computes the squares' means,
        # the scaling of pixels to 0 to 1, and the layer.
        repeated = model.weights.repeat(SQUARE_PX, axis=1).repeat(SQUARE_PX, axis=2)
        factors = model.scales / np.float32(255 * SQUARE_PX * SQUARE_PX)
        weights = repeated.astype(np.float32).reshape(len(repeated), -1)
        self._weights = weights * factors[:, None]
        self._outputs = model.outputs
        # Bind the functions once: a lookup in each call would take 5 % of the time of a score.
        self._dot_weights = self._weights.dot
        self._dot_outputs = self._outputs.dot
        self._log = math.log
        self._maximum = np.maximum
        # max(0, a + b) = max(−b, a) + b, so the biases are added once here, not for every image.
        self._floor = -model.biases
        self._offset = float(model.outputs @ model.biases)
        self._logit_weight = model.logit_weight

    def score(self, pixels: npt.NDArray[np.uint8], confidence: float) -> float:
        """Return the rejection score of an image; a higher score means more like a digit.

        Args:
            pixels: uint8 in the shape of the form, (28, 28, 1) for a rejection model.
            confidence: confidence of the prediction, 0 to 1.

        Returns:
            A score to compare with `threshold`. Minus infinity if there is no ink: all pixels have
            the same level. With a rejection model, minus infinity also if the confidence is 0
            or NaN.
        """
        # Comparing bytes takes a fifth of the time of a comparison in NumPy.
        if self._has_ink:
            data = pixels.tobytes()
            if data == self._blank or (data[0] and data == data[:1] * len(data)):
                return -math.inf
        if not self._has_model:
            return confidence
        # `dot` converts the pixels to float32.
        hidden = self._maximum(self._dot_weights(pixels.ravel()[_USED_PIXELS]), self._floor)
        ink_score = float(self._dot_outputs(hidden))
        capped = _MAX_CONFIDENCE if confidence > _MAX_CONFIDENCE else confidence
        # Reject a confidence of 0 or NaN, which no softmax returns.
        logit = self._log(capped / (1 - capped)) if capped > 0 else -math.inf
        return ink_score + self._offset + self._logit_weight * logit

    def accepts(self, pixels: npt.NDArray[np.uint8], confidence: float) -> bool:
        """Return whether the score of an image is at least `threshold`; arguments as `score`."""
        return self.score(pixels, confidence) >= self.threshold

    def is_uncertain(self, score: float, confidence: float) -> bool:
        """Return whether a prediction must be repeated with test-time augmentation.

        Args:
            score: the result of `score` for the image.
            confidence: confidence of the prediction, 0 to 1.
        """
        return confidence < CERTAIN_CONFIDENCE or score < self.threshold + CERTAIN_SCORE_MARGIN

    def accept_all(
        self, pixels: npt.NDArray[np.uint8], confidences: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_]:
        """Return for each image whether it is accepted, faster than repeated calls of `accepts`.

        Sums are computed in a different order, so a score may differ in its last bits.

        Args:
            pixels: uint8 (N, *shape of the form).
            confidences: (N,) confidences of the predictions, 0 to 1.

        Returns:
            (N,) bool; empty if N is 0.
        """
        accepted: npt.NDArray[np.bool_] = np.ones(len(pixels), np.bool_)
        if self._has_ink:
            accepted = pixels.min(axis=(1, 2, 3)) < pixels.max(axis=(1, 2, 3))
        if not self._has_model:
            accepted &= confidences >= self.threshold
            return accepted
        offsets = self._offset + self._logit_weight * log_odds(confidences)
        products = min(_PRODUCTS_PER_CALL, math.ceil(len(pixels) / _IMAGES_PER_PRODUCT))
        images_per_product = min(_IMAGES_PER_PRODUCT, len(pixels))
        ink = np.zeros((products, images_per_product, _USED_PIXEL_COUNT), np.float32)
        rows = ink.reshape(-1, _USED_PIXEL_COUNT)
        for start in range(0, len(pixels), max(1, len(rows))):
            used = pixels[start : start + len(rows), TOP_ROW:BOTTOM_ROW]
            chunk = used.reshape(-1, _USED_PIXEL_COUNT)
            rows[: len(chunk)] = chunk
            hidden = np.maximum(ink @ self._weights.T, self._floor)
            ink_scores = (hidden @ self._outputs).ravel()[: len(chunk)]
            images = slice(start, start + len(chunk))
            accepted[images] &= ink_scores + offsets[images] >= self.threshold
        return accepted


def log_odds(confidences: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the logits ln(c / (1 − c)) of confidences c.

    Args:
        confidences: floats of any shape, 0 to 1. Higher values than 0.9999 count as 0.9999, and 0
            as the smallest normal double.

    Returns:
        float64 of the same shape.
    """
    # np.finfo of NumPy 1.24 would warn if an engine has switched off subnormal numbers.
    capped = np.clip(confidences.astype(np.float64), sys.float_info.min, _MAX_CONFIDENCE)
    logits: npt.NDArray[np.float64] = np.log(capped / (1 - capped))
    return logits
