"""Sets glyphs side by side on a line: spaces, a baseline, and ligatures between digits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.multi_digit.line_reader import HEIGHT_PX
from train.lines.marks import Ink

_LIGATURES_SHARE = 0.35  # probability that a line has ligatures
_LIGATURE_SHARE = 0.6  # probability of a ligature between two near digits of such a line
_MAX_LIGATURE_HEIGHTS = 0.25  # digit heights; wider spaces have no ligature
_MAX_OVERLAP_HEIGHTS = 0.14  # digit heights; digits that overlap more cannot be told apart
_MAX_SHIFT_HEIGHTS = 0.5  # digit heights; a glyph begins at most this far left of the line's end
_MIN_STEP_SHARE = (
    0.25  # of a glyph's width; the next glyph begins at least this far behind its start
)
_NEAR_ROWS = 3  # ink of rows this near keeps glyphs apart, too
_MIN_INK = 0.25  # of full ink; fainter pixels do not keep glyphs apart
_STROKE_SHARE = 0.6  # of a glyph's strongest ink; weaker pixels are not its strokes
_MIN_WIDTH_PX = 16  # of a line


@dataclass(frozen=True, eq=False)
class Glyph:
    """A digit or another mark to be set in a line.

    Attributes:
        ink: (height, width) from 0 to 1, cropped.
        drop: how far its bottom is below the baseline, in pixels.
        is_digit: whether it is a digit.
        is_read: whether it is in the line's text, as a digit or as `UNKNOWN`.
    """

    ink: Ink
    drop: float
    is_digit: bool
    is_read: bool = True


@dataclass(frozen=True, eq=False)
class Strokes:
    """Where the strokes of a glyph are in a line.

    Attributes:
        top: row of the mask's first row.
        left: column of its first column.
        mask: bool (height, width).
    """

    top: int
    left: int
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Placed:
    """A glyph at its place in the line: its first column, its first row, and its ink."""

    column: int
    top: int
    ink: Ink


@dataclass(frozen=True)
class _Ligature:
    """A straight stroke between two digits, from (x0, y0) to (x1, y1) in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float


def typeset(
    glyphs: list[Glyph],
    height: float,
    gaps: npt.NDArray[np.float64],
    pen: float,
    random: np.random.Generator,
) -> tuple[Ink, list[Strokes]]:
    """Set glyphs side by side on a line.

    Args:
        glyphs: from left to right.
        height: of a digit, in pixels.
        gaps: mean space before the ink of each glyph, in digit heights.
        pen: width of the ligatures, in pixels.
        random: of the baseline, the spaces and the ligatures.

    Returns:
        The line, float32 (32, width), from 0 to 1, and the strokes of each glyph to be read.
    """
    setter = _Typesetter(height, random)
    has_ligatures = random.random() < _LIGATURES_SHARE
    ligatures: list[_Ligature] = []
    for index, glyph in enumerate(glyphs):
        gap = float(gaps[index])
        beside_mark = index > 0 and not (glyph.is_digit and glyphs[index - 1].is_digit)
        ink_rows = setter.place(glyph, gap, beside_mark)
        if (
            index > 0
            and has_ligatures
            and gap < _MAX_LIGATURE_HEIGHTS
            and random.random() < _LIGATURE_SHARE
            and ink_rows.size
        ):
            previous, placed = setter.placed[-2:]
            ligatures.append(_ligature(previous, placed, ink_rows, random))
    before, after = (int(height * random.uniform(0.0, 0.7)) for _ in range(2))
    ink_width = max(int(setter.end), 8 if glyphs else int(random.integers(24, 200)))
    line = np.zeros((HEIGHT_PX, max(ink_width + before + after, _MIN_WIDTH_PX)), np.float32)
    strokes = _paste(line, glyphs, setter.placed, before)
    for one in ligatures:
        level = float(random.uniform(0.6, 1))
        _draw_stroke(line, one.x0 + before, one.y0, one.x1 + before, one.y1, pen, level)
    return line, strokes


class _Typesetter:
    """Places glyphs from left to right.

    Args:
        height: of a digit, in pixels.
        random: of the baseline and the spaces.

    Attributes:
        placed: the glyphs so far.
        end: the column after the last glyph.
    """

    def __init__(self, height: float, random: np.random.Generator) -> None:
        self._height, self._random = height, random
        room = HEIGHT_PX - height
        self._baseline = height + room * np.clip(random.normal(0.5, 0.25), -0.1, 1.1)
        self._slope = random.normal(0, 0.03)
        self._right_profile = np.full(HEIGHT_PX, -np.inf)  # column after the ink of each row
        self.placed: list[_Placed] = []
        self.end = 0.0

    def place(self, glyph: Glyph, gap: float, beside_mark: bool) -> npt.NDArray[np.intp]:
        """Place one glyph.

        Args:
            glyph: to be placed.
            gap: mean space before its ink, in digit heights.
            beside_mark: whether it or the glyph before it is not a digit.

        Returns:
            The rows of the line in which it has ink.
        """
        ink = glyph.ink[:HEIGHT_PX]
        height, width = ink.shape
        bottom = self._baseline + glyph.drop + self._slope * self.end
        top = round(bottom - height)
        top = int(np.clip(top, min(-1, HEIGHT_PX - height), HEIGHT_PX - height + 1))
        hidden = max(-top, 0)
        top = max(top, 0)
        ink = ink[hidden : hidden + HEIGHT_PX - top]
        present = ink > _MIN_INK
        rows = np.flatnonzero(present.any(axis=1)) + top
        x = self.end
        if self.placed and rows.size:
            left_profile = present.argmax(axis=1)[rows - top]
            space = self._space(gap, beside_mark)
            touching = (self._near_profile()[rows] - left_profile).max()
            previous = self.placed[-1]
            x = max(touching, self.end - _MAX_SHIFT_HEIGHTS * self._height) + space
            x = max(x, previous.column + _MIN_STEP_SHARE * previous.ink.shape[1])
        column = max(round(x), 0)
        self.placed.append(_Placed(column, top, ink))
        if rows.size:
            right = column + width - present[:, ::-1].argmax(axis=1)[rows - top]
            self._right_profile[rows] = np.maximum(self._right_profile[rows], right)
        self.end = max(self.end, column + width)
        return rows

    def _space(self, gap: float, beside_mark: bool) -> float:
        """Return the space before a glyph in pixels: the mean with jitter, within limits."""
        height, random = self._height, self._random
        space: float = gap * height + random.normal(0, 0.05) * height * (1 + 3 * max(gap, 0))
        space = max(space, -_MAX_OVERLAP_HEIGHTS * height)
        if beside_mark:
            space = max(space, random.uniform(0.04, 0.28) * height)
        return space

    def _near_profile(self) -> npt.NDArray[np.float64]:
        """Return the column after the ink of each row or of a near one."""
        right = self._right_profile
        near: npt.NDArray[np.float64] = right.copy()
        for shift in range(1, _NEAR_ROWS + 1):
            near[shift:] = np.maximum(near[shift:], right[:-shift])
            near[:-shift] = np.maximum(near[:-shift], right[shift:])
        return near


def _ligature(
    previous: _Placed, placed: _Placed, ink_rows: npt.NDArray[np.intp], random: np.random.Generator
) -> _Ligature:
    """Sample a ligature from the upper right of a digit to the upper left of the next one."""
    row = ink_rows[random.integers(min(len(ink_rows), max(len(ink_rows) // 3, 1)))]
    return _Ligature(
        previous.column + previous.ink.shape[1] * random.uniform(0.6, 1.0),
        previous.top + len(previous.ink) * random.uniform(0.0, 0.4),
        placed.column + placed.ink.shape[1] * random.uniform(0.0, 0.5),
        float(row) + 1,
    )


def _paste(line: Ink, glyphs: list[Glyph], all_placed: list[_Placed], before: int) -> list[Strokes]:
    """Paste glyphs into `line`, `before` pixels to the right; return the strokes of those read."""
    strokes = []
    for glyph, placed in zip(glyphs, all_placed, strict=True):
        left = placed.column + before
        part = line[placed.top :, left:][: len(placed.ink), : placed.ink.shape[1]]
        ink = placed.ink[: part.shape[0], : part.shape[1]]
        np.maximum(part, ink, out=part)
        if glyph.is_read:
            mask = ink > _STROKE_SHARE * ink.max(initial=0)
            strokes.append(Strokes(placed.top, left, mask))
    return strokes


def _draw_stroke(
    line: Ink, x0: float, y0: float, x1: float, y1: float, pen: float, level: float
) -> None:
    """Draw a straight stroke into `line`, `pen` pixels wide, with ink of `level`."""
    steps = int(max(abs(x1 - x0), abs(y1 - y0), 1) * 2)
    half = max(pen / 2, 0.5)
    for share in np.linspace(0, 1, steps):
        x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        rows = slice(max(int(y - half + 0.5), 0), max(int(y + half + 0.5), 1))
        columns = slice(max(int(x - half + 0.5), 0), max(int(x + half + 0.5), 1))
        part = line[rows, columns]
        np.maximum(part, level, out=part)
