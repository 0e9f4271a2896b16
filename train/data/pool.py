"""Draws the pool of images that `Recipe.drawn_share` mixes into the training batches.

The pool has digits as strokes (`train.data.drawn`), digits of handwriting fonts
(`train.data.fonts`), and negatives: images that are not digits. The target of a negative is the
same probability for each class.
`train.run` passes the pool to `train.fitting.fit.Training`.
"""

import numpy as np

from train.data import fonts
from train.data.drawn import draw_digits
from train.data.splits import Split
from train.negatives import DIGITS, LETTERS, draw_negatives, glyphs

NOT_A_CLASS = -1  # label of a negative
_STROKE_DIGITS = 36_000
_FONT_DIGITS = 8_000
_NEGATIVES = 6_000  # of `draw_negatives`, a third of them letters
_FONT_LETTERS = 6_000
_IMAGES_FOR_ALL = 40_000  # training images; with fewer, the pool is smaller in proportion
_MIN_COUNT = 100  # of each kind


def draw_pool(seed: int, images: int) -> Split:
    """Draw the pool, the same for the same seed and the same fonts.

    Args:
        seed: random seed, a whole number from 0.
        images: number of training images; the pool is smaller if there are fewer than 40,000.

    Returns:
        Digits and negatives. Without fonts, which need npm and a network, there are no digits and
        letters of fonts in it.
    """
    share = min(1.0, images / _IMAGES_FOR_ALL)
    strokes = draw_digits(_count(share, _STROKE_DIGITS), seed)
    negatives = draw_negatives(_count(share, _NEGATIVES), seed + 2)
    parts = [strokes, Split(negatives, np.full(len(negatives), NOT_A_CLASS))]
    handwriting = fonts.load(fonts.HANDWRITING)
    if handwriting:
        random = np.random.default_rng([seed, _FONT_DIGITS])
        count = _count(share, _FONT_DIGITS) // len(DIGITS)
        parts += [
            Split(glyphs(digit, count, random, handwriting), np.full(count, int(digit)))
            for digit in DIGITS
        ]
        all_fonts = handwriting + fonts.load(fonts.TYPEFACES)
        letters = glyphs(LETTERS, _count(share, _FONT_LETTERS), random, all_fonts)
        parts.append(Split(letters, np.full(len(letters), NOT_A_CLASS)))
    return Split(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]).astype(np.int64),
    )


def _count(share: float, most: int) -> int:
    return max(round(share * most), _MIN_COUNT)
