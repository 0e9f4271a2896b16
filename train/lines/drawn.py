"""Adds drawn digits to MNIST's, as those of further writers.

MNIST's writers are American. `with_drawn` adds forms of other countries: digits drawn as strokes
(`train.data.drawn`) and those of handwriting fonts (`train.data.fonts`).
"""

import numpy as np
import numpy.typing as npt

from train.data import fonts
from train.data.drawn import draw_digits
from train.data.splits import Split
from train.negatives import DIGITS, glyphs

_STROKE_WRITERS = 200  # writers whose digits are drawn as strokes
_STROKE_WRITER_DIGITS = 60  # digits of each of them, of any class
_WRITERS_PER_FONT = 2  # writers that a handwriting font stands for
_FONT_CLASS_DIGITS = 7  # digits of each class of each of them
_DIGITS_PER_WRITER = 120  # of MNIST; if there are fewer for each writer here, fewer are drawn


def with_drawn(
    split: Split, writers: npt.NDArray[np.int64] | None, seed: int
) -> tuple[Split, npt.NDArray[np.int64] | None]:
    """Append drawn digits.

    Args:
        split: MNIST's digits.
        writers: (N,) index of each image's writer; None if unknown.
        seed: of the drawn digits.

    Returns:
        All digits and their writers. The fonts are omitted if they cannot be fetched.
    """
    share = min(len(split) / (_STROKE_WRITERS * _DIGITS_PER_WRITER), 1.0)
    count = max(round(_STROKE_WRITERS * share), 1)
    parts = [split, draw_digits(count * _STROKE_WRITER_DIGITS, seed)]
    next_id = 0 if writers is None else int(writers.max()) + 1
    writer_ids = [next_id + np.repeat(np.arange(count), _STROKE_WRITER_DIGITS)]
    next_id += count
    random = np.random.default_rng([seed, count])
    handwriting = fonts.load(fonts.HANDWRITING)
    for font in handwriting[: round(len(handwriting) * share)]:
        for digit in DIGITS:
            drawn = glyphs(digit, _WRITERS_PER_FONT * _FONT_CLASS_DIGITS, random, [font])
            parts.append(Split(drawn, np.full(len(drawn), int(digit))))
            font_writers = np.repeat(np.arange(_WRITERS_PER_FONT), _FONT_CLASS_DIGITS)
            writer_ids.append(next_id + font_writers)
        next_id += _WRITERS_PER_FONT
    joined = Split(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]).astype(np.int64),
    )
    if writers is None:
        return joined, None
    return joined, np.concatenate([writers, *writer_ids]).astype(np.int64)
