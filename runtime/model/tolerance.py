"""`Tolerance`: the limits within which an artifact agrees with its Keras reference.

`digit-edge export` and `digit-edge benchmark` apply it, so both decide by the same rule.
"""

import math
from dataclasses import dataclass

# Largest difference of any score of an int8 model between an image alone and in a batch. Kernels
# chosen by batch size may round a value before the softmax one step up or down. The scores of older
# files have steps of 1/256; two steps count as rounding, three as a different prediction.
MAX_INT8_BATCH_DIFFERENCE = 2.5 / 256


@dataclass(frozen=True)
class Tolerance:
    """The limits of an artifact's scores, and the checks against them.

    A float artifact is checked by its scores only: if no score differs by more than 1e-5, a
    prediction can flip only if its two best scores are within 2e-5, a tie. An int8 artifact is
    checked by its predictions.

    Shares are rounded down to whole images, but to at least one image. Rounding down keeps the
    promised limit. On a few hundred images one image exceeds it, which would fail any int8 model.
    A limit of exactly zero (`max_drop=0`, `min_agreement=1`) allows none.

    Golden outputs have their own limit, in `runtime.backends.golden`.
    """

    max_difference: float = 1e-5  # of any score of a float artifact, alone or in a batch
    max_drop: float = 0.0005  # of an int8 artifact's accuracy, share of the images (0.05 points)
    min_agreement: float = 0.999  # of an int8 artifact, share of equal predictions

    def max_lost(self, n: int) -> int:
        """Return by how many images of `n` an int8 artifact may be less accurate."""
        return _whole_images(self.max_drop, n)

    def max_flips(self, n: int) -> int:
        """Return how many of `n` predictions of an int8 artifact may differ from the reference."""
        return _whole_images(1 - self.min_agreement, n)

    def max_batch_difference(self, precision: str) -> float:
        """Return the largest allowed difference between scores of an image alone and in a batch."""
        return MAX_INT8_BATCH_DIFFERENCE if precision == "int8" else self.max_difference

    def allows_difference(self, precision: str, difference: float) -> bool:
        """Return whether the largest difference of any score passes; NaN fails a float artifact.

        Args:
            precision: "float32" or "int8"; an int8 artifact always passes.
            difference: largest absolute difference between candidate and reference.
        """
        return precision == "int8" or difference <= self.max_difference

    def allows_lost(self, precision: str, lost: int, n: int) -> bool:
        """Return whether the loss of accuracy passes.

        Args:
            precision: "float32" or "int8"; a float artifact always passes.
            lost: correct predictions of the reference minus those of the candidate.
            n: number of compared images.
        """
        return precision != "int8" or lost <= self.max_lost(n)

    def allows_flips(self, precision: str, flips: int, n: int) -> bool:
        """Return whether the number of flips among `n` images passes; float always does."""
        return precision != "int8" or flips <= self.max_flips(n)

    def allows_batch_difference(self, precision: str, difference: float) -> bool:
        """Return whether the difference between an image alone and in a batch passes; NaN fails."""
        return difference <= self.max_batch_difference(precision)


def _whole_images(share: float, n: int) -> int:
    if share <= 0:
        return 0
    # 0.29 × 100 is slightly below 29: a rounding error must not lower the limit by one image.
    return max(1, math.floor(share * n + 1e-6))
