"""Words of a line: the symbols between two wide gaps, which are read again from their own crops.

A line of several numbers has one height and one baseline, but the hand that wrote it may not: a low
1 beside a long 7 is small in the crop of the line, and larger in that of the number.
`runtime.multi_digit.read_lines` reads the words of a line that have a doubtful symbol.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from runtime.multi_digit.layout import bounding_box
from runtime.multi_digit.line_crop import MARGIN_SHARE, SIDE_MARGIN_SHARE, LineCrop
from runtime.multi_digit.verify import Symbol

_MIN_GAP_HEIGHTS = 0.7  # digit heights; gap between two words
_MIN_ACCEPTED_SHARE = 0.5  # of a line's symbols
_STRONG_INK = 102  # of 255; the rows with such ink are the height of a word


def doubtful_words(symbols: list[Symbol], digit_height: float) -> list[slice]:
    """Return the words of a line that have a doubtful symbol, as slices of its symbols.

    The list is empty if the line is a single word. It is also empty if less than half of the
    symbols are accepted: such a line is probably upside down, or is not a line of numbers.

    Args:
        symbols: of the line, from left to right.
        digit_height: of the line's digits, in pixels of the boxes.
    """
    gaps = [after.box[0] - before.box[2] for before, after in pairwise(symbols)]
    starts = [n + 1 for n, gap in enumerate(gaps) if gap >= _MIN_GAP_HEIGHTS * digit_height]
    accepted = sum(symbol.accepted for symbol in symbols)
    if not starts or accepted < _MIN_ACCEPTED_SHARE * len(symbols):
        return []
    words = map(slice, [0, *starts], [*starts, len(symbols)])
    return [word for word in words if any(symbol.is_doubtful for symbol in symbols[word])]


def crop_word(crop: LineCrop, symbols: list[Symbol]) -> tuple[LineCrop, int, int] | None:
    """Cut a word out of the crop of its line.

    Args:
        crop: of the line.
        symbols: of the word.

    Returns:
        The crop of the word, and its left and top edge in that of the line; None if it has no ink.
    """
    left, _, right, _ = bounding_box(np.array([symbol.box for symbol in symbols]))
    side = round(SIDE_MARGIN_SHARE * crop.digit_height)
    left, right = max(left - side, 0), min(right + side, crop.ink.shape[1])
    rows = np.flatnonzero((crop.digits[:, left:right] > _STRONG_INK).any(axis=1))
    if not len(rows):
        return None
    margin = round(MARGIN_SHARE * crop.digit_height)
    top, bottom = max(int(rows[0]) - margin, 0), min(int(rows[-1]) + 1 + margin, len(crop.ink))
    column, row = left / crop.scale, top / crop.scale
    word = replace(
        crop,
        ink=np.ascontiguousarray(crop.ink[top:bottom, left:right]),
        digits=np.ascontiguousarray(crop.digits[top:bottom, left:right]),
        digit_height=float(rows[-1] + 1 - rows[0]),
        cut_off=(),
        left=crop.left + column,
        top=crop.top + row + crop.slope * column,
    )
    return word, left, top


def replaces(again: list[Symbol], first: list[Symbol]) -> bool:
    """Return whether the second reading of a word replaces the first one.

    All its symbols are accepted, and each accepted symbol of the first one is in it, at its place.

    Args:
        again: the second reading, with boxes in the pixels of the line.
        first: the first reading.
    """
    kept = all(
        any(
            other.label == symbol.label and symbol.box[0] <= _center(other) < symbol.box[2]
            for other in again
        )
        for symbol in first
        if symbol.accepted
    )
    return bool(again) and kept and all(symbol.accepted for symbol in again)


def _center(symbol: Symbol) -> float:
    return (symbol.box[0] + symbol.box[2]) / 2


def moved(symbols: list[Symbol], right: int, down: int) -> list[Symbol]:
    """Convert the boxes of a word's symbols to the pixels of the line."""
    offset = (right, down, right, down)
    return [replace(symbol, box=tuple(np.add(symbol.box, offset).tolist())) for symbol in symbols]
