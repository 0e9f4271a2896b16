"""Draws the pool of images that `Recipe.drawn_share` mixes into the training batches.

The pool has digits as strokes (`train.data.drawn`), digits of handwriting fonts
(`train.data.fonts`), and negatives: images that are not digits. The target of a negative is the
same probability for each class.
`train.run` passes the pool to `train.fit.Training`.
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


def draw_pool(seed: int) -> Split:
    """Draw the pool, the same for the same seed and the same fonts.

    Args:
        seed: random seed, a whole number from 0.

    Returns:
        Digits and negatives. Without fonts, which need npm and a network, there are no digits and
        letters of fonts in it.
    """
    strokes = draw_digits(_STROKE_DIGITS, seed)
    negatives = draw_negatives(_NEGATIVES, seed + 2)
    parts = [strokes, Split(negatives, np.full(len(negatives), NOT_A_CLASS))]
    handwriting = fonts.load(fonts.HANDWRITING)
    if handwriting:
        random = np.random.default_rng([seed, _FONT_DIGITS])
        count = _FONT_DIGITS // len(DIGITS)
        parts += [
            Split(glyphs(digit, count, random, handwriting), np.full(count, int(digit)))
            for digit in DIGITS
        ]
        letters = glyphs(LETTERS, _FONT_LETTERS, random, handwriting + fonts.load(fonts.TYPEFACES))
        parts.append(Split(letters, np.full(len(letters), NOT_A_CLASS)))
    return Split(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]).astype(np.int64),
    )
