"""Test-time augmentation: score an uncertain digit again on 15 varied copies and average.

The copies are rotated, sheared, thicker and thinner. The class with the highest mean probability is
right more often than the class of the image itself. A digit keeps its class under such small
changes; a symbol that merely resembles a digit does not. The letter B is an exception: its copies
remain 8s, so `runtime.lookalikes` rejects it.

`runtime.Classifier` scores uncertain predictions with this module; `train.evaluation.rejection`
calls it to fit the threshold.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.backends import Pixels, Scores
from runtime.model.rejection import RejectionScorer
from runtime.preprocess.mnist_format import to_mnist_format

# (rotation in radians, horizontal shift in pixels per pixel of height). Each pair makes three
# copies: with the original, a thicker and a thinner stroke.
_ROTATIONS_AND_SHEARS = ((0.0, 0.0), (0.2, 0.0), (-0.2, 0.0), (0.0, 0.25), (0.0, -0.25))
_LARGE_SIDE_PX = 84  # the 28 px image is enlarged 3×, so that strokes can change by less than 1 px
_THICKER_PX = 2  # in the enlarged image; a stroke grows by this on each side
_THINNER_PX = 1  # in the enlarged image; a stroke shrinks by this on each side
_MIN_INK_LEVEL = 40  # of 255; levels up to this are blur from resampling and are set to 0
# Least difference of the two highest mean probabilities. If it is less, the image is rejected: it
# may be a 1 or a 7 without a bar, for example.
_MIN_MEAN_MARGIN = 0.41
# Added to the rejection score. The margin rejects most letters already; the score of the ink would
# also reject digits in forms that MNIST's writers did not use.
_SCORE_ALLOWANCE = 6.0

Planes = npt.NDArray[np.uint8]  # (N, height, width), gray images of one size


def tta_score(variants: Pixels, scores: Scores, scorer: RejectionScorer) -> float:
    """Return the mean rejection score of the varied copies of an image, plus an allowance of 6.

    Args:
        variants: the copies, (15, 28, 28, 1) uint8, from `tta_variants`.
        scores: the class probabilities of the copies, (15, classes) float32.
        scorer: computes the rejection score of each copy from its pixels and its highest
            probability.

    Returns:
        The score, to be compared with `scorer.threshold`. Minus infinity if the two highest mean
        probabilities differ by less than 0.41, or if a copy has no ink.
    """
    second, highest = np.sort(scores.mean(axis=0))[-2:].tolist()
    if highest - second < _MIN_MEAN_MARGIN:
        return -math.inf
    pairs = zip(variants, scores.max(axis=1).tolist(), strict=True)
    mean = sum(scorer.score(copy, confidence) for copy, confidence in pairs) / len(variants)
    return mean + _SCORE_ALLOWANCE


def tta_variants(pixels: Pixels) -> Pixels:
    """Return 15 varied copies of an image.

    Args:
        pixels: (28, 28, 1) uint8 in MNIST's format; 0 is background.

    Returns:
        (15, 28, 28, 1) uint8 in MNIST's format; all 0 for copies without ink.
    """
    side = _LARGE_SIDE_PX
    large = Image.fromarray(pixels[:, :, 0]).resize((side, side), Image.Resampling.BICUBIC)
    center = np.full(2, side / 2)
    copies = []
    for rotation, shear in _ROTATIONS_AND_SHEARS:
        cos, sin = np.cos(rotation), np.sin(rotation)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
        x, y = (center - matrix @ center).tolist()
        x_row, y_row = matrix.tolist()
        copy = large.transform(
            large.size,
            Image.Transform.AFFINE,
            (*x_row, x, *y_row, y),
            Image.Resampling.BILINEAR,
        )
        copies.append(np.asarray(copy))
    transformed = np.stack(copies)
    strokes = (
        transformed,
        _neighborhood_extreme(transformed, _THICKER_PX, np.maximum),
        _neighborhood_extreme(transformed, _THINNER_PX, np.minimum),
    )
    inks = np.stack(strokes, axis=1).reshape(-1, side, side)
    return np.stack([to_mnist_format(ink) for ink in np.where(inks > _MIN_INK_LEVEL, inks, 0)])


def _neighborhood_extreme(planes: Planes, reach_px: int, choose: np.ufunc) -> Planes:
    """Dilate (`np.maximum`) or erode (`np.minimum`) all planes with a square of 2 reach + 1 px.

    This is ten times as fast as Pillow's rank filters, which process one plane a call.
    """
    offsets = np.arange(-reach_px, reach_px + 1)
    near = np.clip(np.arange(_LARGE_SIDE_PX) + offsets[:, np.newaxis], 0, _LARGE_SIDE_PX - 1)
    rows: Planes = choose.reduce(planes.take(near, axis=1), axis=1)
    both: Planes = choose.reduce(rows.take(near, axis=2), axis=2)
    return both
