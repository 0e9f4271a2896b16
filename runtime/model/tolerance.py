"""`Tolerance`: the limits within which an artifact agrees with its Keras reference.

An artifact is an exported model file; the reference is the Keras model that was exported.
`digit-edge export` and `digit-edge benchmark-parity` apply the same limits.
"""

import math
from dataclasses import dataclass

# Largest difference of any score of an int8 model between an image alone and in a batch; with a
# larger difference the artifact fails. An engine chooses its kernels by batch size, and two kernels
# may round a value before the softmax differently by one step. The scores of older files have steps
# of 1/256: two steps count as rounding, three as a different result.
MAX_INT8_BATCH_DIFFERENCE = 2.5 / 256


@dataclass(frozen=True)
class Tolerance:
    """The limits of the difference between artifact and reference, and the checks against them.

    A float32 artifact is checked by its scores only. If no score differs by more than 1e-5, only
    predictions with a tie can differ: the two best scores are within 2e-5 of each other. An int8
    artifact is checked by its predictions: accuracy and agreement.

    A share of the images is rounded down to whole images, but to at least one image. On a few
    hundred images, one image exceeds each limit, and without this exception most int8 models would
    fail. A limit of exactly zero (`max_drop=0` or `min_agreement=1`) allows no image.

    Golden outputs have a limit of their own, in `runtime.backends.golden`.

    Attributes:
        max_difference: largest absolute difference of any score of a float artifact from the
            reference, and between an image alone and in a batch.
        max_drop: largest loss of accuracy of an int8 artifact, as a share of the images: 0.0005 is
            0.05 percentage points.
        min_agreement: smallest share of the images for which an int8 artifact predicts the same
            class as the reference.
    """

    max_difference: float = 1e-5
    max_drop: float = 0.0005
    min_agreement: float = 0.999

    def compares_scores(self, precision: str) -> bool:
        """Return whether an artifact is checked by its scores; otherwise by its predictions."""
        return precision == "float32"

    def max_lost(self, n: int) -> int:
        """Return the largest loss of correct predictions of an int8 artifact on `n` images."""
        return _whole_images(self.max_drop, n)

    def max_flips(self, n: int) -> int:
        """Return the largest number of `n` predictions of an int8 artifact that may differ."""
        return _whole_images(1 - self.min_agreement, n)

    def max_batch_difference(self, precision: str) -> float:
        """Return the largest difference of any score between an image alone and in a batch.

        Args:
            precision: "float32", "float16" or "int8".
        """
        return MAX_INT8_BATCH_DIFFERENCE if precision == "int8" else self.max_difference

    def allows_difference(self, precision: str, difference: float) -> bool:
        """Return whether the largest difference of any score passes; NaN fails a float artifact.

        Args:
            precision: "float32", "float16" or "int8"; only a float32 artifact can fail.
            difference: largest absolute difference of any score between artifact and reference.
        """
        return not self.compares_scores(precision) or difference <= self.max_difference

    def allows_lost(self, precision: str, lost: int, n: int) -> bool:
        """Return whether the loss of accuracy passes.

        Args:
            precision: "float32", "float16" or "int8"; a float32 artifact always passes.
            lost: correct predictions of the reference minus correct predictions of the artifact;
                negative if the artifact is better.
            n: number of compared images.
        """
        return self.compares_scores(precision) or lost <= self.max_lost(n)

    def allows_flips(self, precision: str, flips: int, n: int) -> bool:
        """Return whether the number of different predictions passes.

        Args:
            precision: "float32", "float16" or "int8"; a float32 artifact always passes.
            flips: number of images for which artifact and reference predict different classes.
            n: number of compared images.
        """
        return self.compares_scores(precision) or flips <= self.max_flips(n)

    def allows_batch_difference(self, precision: str, difference: float) -> bool:
        """Return whether the difference between an image alone and in a batch passes; NaN fails.

        Args:
            precision: "float32", "float16" or "int8".
            difference: largest absolute difference of any score.
        """
        return difference <= self.max_batch_difference(precision)


def _whole_images(share: float, n: int) -> int:
    if share <= 0:
        return 0
    # Add 1e-6 because of rounding errors: 0.29 × 100 is slightly below 29.
    return max(1, math.floor(share * n + 1e-6))
