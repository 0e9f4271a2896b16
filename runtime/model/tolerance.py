"""Decide whether an artifact agrees with its Keras reference: the one rule of export and parity."""

import math
from dataclasses import dataclass

# Between an image alone and the same image in a batch, for int8 models. Kernels chosen by batch
# size may round a value before the softmax one step up or down, and the scores of older files have
# steps of 1/256; two steps are rounding, three are a different prediction.
MAX_INT8_BATCH_DIFFERENCE = 2.5 / 256  # of any score


@dataclass(frozen=True)
class Tolerance:
    """The limits of an artifact's scores, and the decisions that follow from them.

    A float artifact is judged by value alone: if no score is off by more than 1e-5, a prediction
    can only flip if its two best scores are within 2e-5, which is a tie. An int8 artifact is judged
    by its predictions.

    Shares become whole images by one rule: rounded down, but at least one image. Down, so that a
    share never exceeds the limit that was promised; at least one, because on a few hundred images a
    single one already exceeds it and would fail any int8 model. A limit of exactly zero images
    (`max_drop=0`, `min_agreement=1`) allows none.

    Golden outputs have their own limit, in `runtime.backends.golden`.
    """

    max_difference: float = 1e-5  # of any score of a float artifact, alone or in a batch
    max_drop: float = 0.0005  # of an int8 artifact's accuracy, share of the images (0.05 points)
    min_agreement: float = 0.999  # of an int8 artifact, share of equal predictions

    def max_lost(self, n: int) -> int:
        """Return how many of `n` images fewer an int8 artifact may predict correctly."""
        return _whole_images(self.max_drop, n)

    def max_flips(self, n: int) -> int:
        """Return how many of `n` predictions of an int8 artifact may differ."""
        return _whole_images(1 - self.min_agreement, n)

    def max_batch_difference(self, precision: str) -> float:
        """Return how far the scores of an image alone may be from those in a batch."""
        return MAX_INT8_BATCH_DIFFERENCE if precision == "int8" else self.max_difference

    def allows_difference(self, precision: str, difference: float) -> bool:
        """Return whether the largest difference of any score passes; False for NaN.

        Args:
            precision: "float32" or "int8"; an int8 artifact always passes.
            difference: between candidate and reference, absolute.
        """
        return precision == "int8" or difference <= self.max_difference

    def allows_lost(self, precision: str, lost: int, n: int) -> bool:
        """Return whether the loss of accuracy passes.

        Args:
            precision: "float32" or "int8"; a float artifact always passes.
            lost: correct predictions of the reference minus those of the candidate.
            n: images compared.
        """
        return precision != "int8" or lost <= self.max_lost(n)

    def allows_flips(self, precision: str, flips: int, n: int) -> bool:
        """Return whether the number of flips among `n` images passes; float always does."""
        return precision != "int8" or flips <= self.max_flips(n)

    def allows_batch_difference(self, precision: str, difference: float) -> bool:
        """Return whether images alone and in a batch have the same scores; False for NaN."""
        return difference <= self.max_batch_difference(precision)


def _whole_images(share: float, n: int) -> int:
    if share <= 0:
        return 0
    # 0.29 × 100 is a hair below 29: rounding errors must not cost an image.
    return max(1, math.floor(share * n + 1e-6))
