"""Composes lines of MNIST's digits, on which the line reader is trained and measured.

`Composer.lines` samples lines of 1 to 16 digits of one writer, from overlapping to far apart,
slanted, on an uneven baseline, with separators, operators, ruled lines, boxes, specks, page edges,
and parts of the lines above and below; some lines have no digit. Each line is 32 pixels high.

No digit is cut off or covered, and the strokes are darker than the texture and the noise of the
paper. Some lines cannot be read with certainty, because digits overlap or look like others: see
"How many of the lines can be read at all" in docs/experiments.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFont

from runtime.multi_digit.line_crop import crop_whole
from runtime.multi_digit.line_reader import HEIGHT_PX, UNKNOWN
from train.lines import marks, surroundings
from train.lines.marks import Ink
from train.lines.paper import are_visible, change_stroke_weight, put_on_paper
from train.lines.typeset import Glyph, typeset

MAX_WIDTH_PX = 512  # of a line; a wider line is sampled again with fewer digits
MAX_DIGITS = 16  # of a line

_MIN_DIGIT_PX = 17.0  # least height of the digits of a line
_MAX_DIGIT_PX = 29.0  # greatest height of the digits of a line
_MAX_THICKENING = 0.6  # by how much strokes are thickened, from 0 to 1; loops close if it is more
_MIN_INK = 0.2  # of full ink; rows with less are free for the surroundings of the digits

# Probabilities of the features of a line.
_NO_DIGIT_SHARE = 0.07  # no digit
_GROUPS_SHARE = 0.25  # several numbers with space between them, or a number in groups
_SUM_SHARE = 0.15  # operators between the digits
_SEPARATOR_SHARE = 0.25  # separators, in a line without operators
_LETTER_SHARE = 0.05  # letters
_OPERATOR_SHARE = 0.4  # an operator between two digits, in a line with operators
_DECIMAL_SHARE = 0.6  # a decimal or thousands separator, in a line with separators
_LETTERS_FIRST_SHARE = 0.3  # a letter before the digits rather than behind them
_ONE_WRITER_SHARE = 0.8  # digits of one writer; the other lines mix several writers
_CONTINENTAL_SHARE = 0.35  # 1s with a flag and barred 7s
_CONTINENTAL_DIGIT_SHARE = 0.85  # of the 1s and 7s of such a line
_PRINTED_SHARE = 0.05  # printed digits
_SEGMENT_SHARE = 0.03  # seven-segment digits
_UNEVEN_SHARE = 0.12  # digits of clearly different heights
_SHORT_ZEROS_SHARE = 0.25  # zeros shorter than the other digits
_SHORT_ONES_SHARE = 0.2  # ones shorter than the other digits
_RULED_LINES_SHARE = 0.22  # ruled lines
_BOXES_SHARE = 0.12  # boxes around the digits
_CIRCLE_SHARE = 0.04  # a circle, unless the line has boxes
_SPECKS_SHARE = 0.2  # specks
_NEIGHBORS_SHARE = 0.15  # parts of the lines above and below
_PAGE_EDGE_SHARE = 0.07  # the edge of a page
_CROPPED_SHARE = 0.4  # of `lines_as_read`: cropped by the runtime as it crops an image
_ALL_ROWS_SHARE = 0.5  # of the cropped lines: with the height of the image, see `crop_whole`

# Number of digits: weights of 1, 2, …, 16.
_LENGTH_WEIGHTS = np.array([8, 13, 16, 16, 13, 10, 7, 5, 4, 5, 2, 2, 2, 2, 1, 1], np.float64)

# Digits of a line of at least three: up to these quantiles, any; a round amount; repeated digits.
_ANY_DIGITS_QUANTILE = 0.55
_ROUND_AMOUNT_QUANTILE = 0.78
_REPEATED_QUANTILE = 0.9  # above it, counting: 7891011

# Kind of spacing; least and greatest mean space of a line between the ink of two digits, in digit
# heights; probability.
_SPACINGS = (
    ("overlapping", -0.1, -0.03, 0.18),
    ("touching", -0.05, 0.03, 0.25),
    ("close", 0.03, 0.15, 0.25),
    ("apart", 0.15, 0.5, 0.22),
    ("wide", 0.5, 1.6, 0.1),
)
_MIN_PRINTED_GAP = 0.02  # digit heights; printed digits never touch
_MIN_SEGMENT_GAP = 0.12  # digit heights; seven-segment digits never touch

# `Line.picture`.
_PICTURE_SCALE = 2  # a picture is 64 pixels high
_PAPER_LEVEL = 225  # gray level of the paper
_INK_LEVEL = 30  # gray level of the ink

_MNIST_INK_LEVEL = 40  # of 255; fainter pixels of MNIST's digits are outside of their boxes

# Letters, without those that are written like a digit.
LETTERS = "acdefhkmnprtuvwxACEFHKLMNPRTUVWXY€$%#"
_ANY_LETTER = "L"  # symbol of a line for a letter that is sampled when it is rendered

_Style = Literal["written", "printed", "segments"]


@dataclass(frozen=True, eq=False)
class Line:
    """One composed line.

    Attributes:
        pixels: uint8 (32, width), background about 0, ink up to 255.
        text: its digits, and `UNKNOWN` for each operator and letter; separators, and dashes that no
            digit follows, are not in it.
        kinds: the difficulties that it has, like "touching" or "rules".
    """

    pixels: npt.NDArray[np.uint8]
    text: str
    kinds: tuple[str, ...]

    def picture(self) -> Image.Image:
        """Return its picture: dark ink on light paper, 64 pixels high."""
        gray = _PAPER_LEVEL - (_PAPER_LEVEL - _INK_LEVEL) / 255 * self.pixels.astype(np.float32)
        picture = Image.fromarray(np.rint(gray).astype(np.uint8))
        size = picture.width * _PICTURE_SCALE, picture.height * _PICTURE_SCALE
        return picture.resize(size, Image.Resampling.BICUBIC)

    def as_read(self, all_rows: bool) -> "Line":
        """Return the line as `Classifier.read` passes it to the line reader, cropped as a whole.

        A crop wider than `MAX_WIDTH_PX` is squeezed to that width, which the runtime does not do.

        Args:
            all_rows: see `crop_whole`.
        """
        crop = crop_whole(np.asarray(self.picture()), all_rows)
        if crop is None:
            return self
        width = min(max(crop.reader_width_px, 8), MAX_WIDTH_PX)
        scaled = Image.fromarray(crop.ink).resize((width, HEIGHT_PX), Image.Resampling.BILINEAR)
        return replace(self, pixels=np.asarray(scaled))


class Composer:
    """Composes lines of given digits.

    Args:
        pixels: uint8 (N, 28, 28, 1) in MNIST's form.
        labels: (N,) from 0 to 9.
        writers: (N,) index of each image's writer; None if unknown.
        fonts: of the letters among the digits.
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        writers: npt.NDArray[np.int64] | None,
        fonts: Sequence[ImageFont.FreeTypeFont],
    ) -> None:
        self._pixels = pixels[..., 0]
        self._fonts = tuple(fonts)
        self._of_class = [np.flatnonzero(labels == digit) for digit in range(10)]
        ink = self._pixels > _MNIST_INK_LEVEL
        rows: npt.NDArray[np.bool_] = np.asarray(ink.any(axis=2))
        columns: npt.NDArray[np.bool_] = np.asarray(ink.any(axis=1))
        self._boxes = np.stack(
            (
                columns.argmax(axis=1),
                rows.argmax(axis=1),
                28 - columns[:, ::-1].argmax(axis=1),
                28 - rows[:, ::-1].argmax(axis=1),
            ),
            axis=1,
        )
        self._by_writer: list[list[npt.NDArray[np.intp]]] = []
        if writers is not None:
            for writer in np.unique(writers):
                images = np.flatnonzero(writers == writer)
                self._by_writer.append([images[labels[images] == digit] for digit in range(10)])

    def lines(self, n: int, seed: Sequence[int]) -> list[Line]:
        """Compose `n` lines; the same seed gives the same lines."""
        random = np.random.default_rng(seed)
        return [self.line(random) for _ in range(n)]

    def lines_as_read(self, n: int, seed: Sequence[int]) -> list[Line]:
        """Compose `n` lines; crop a part of them as the runtime does."""
        random = np.random.default_rng((*seed, n))
        return [
            line.as_read(random.random() < _ALL_ROWS_SHARE)
            if random.random() < _CROPPED_SHARE
            else line
            for line in self.lines(n, seed)
        ]

    def line(self, random: np.random.Generator) -> Line:
        """Compose one line."""
        max_digits = MAX_DIGITS
        while True:
            line = self._line(random, max_digits)
            if line is None:
                continue
            if line.pixels.shape[1] <= MAX_WIDTH_PX:
                return line
            max_digits = max(max_digits // 2, 1)

    def _line(self, random: np.random.Generator, max_digits: int) -> Line | None:
        """Compose a line of up to `max_digits` digits; None if a symbol is hardly visible."""
        height = random.uniform(_MIN_DIGIT_PX, _MAX_DIGIT_PX)
        pen = height * random.uniform(0.05, 0.16)
        kinds: list[str] = []
        has_no_digit = random.random() < _NO_DIGIT_SHARE
        text = "" if has_no_digit else _text(random, max_digits)
        symbols = _with_marks(text, random, kinds)
        hand = self._sample_hand(height, pen, symbols, random, kinds)
        glyphs = [self._glyph(symbol, hand, random) for symbol in symbols]
        name, least, greatest, _ = _SPACINGS[
            random.choice(len(_SPACINGS), p=[share for *_, share in _SPACINGS])
        ]
        if len(text) > 1:
            kinds.append(name)
        gap = random.uniform(least, greatest)
        if hand.style != "written":
            gap = max(gap, _MIN_PRINTED_GAP if hand.style == "printed" else _MIN_SEGMENT_GAP)
        spaces = np.zeros(len(glyphs))
        if len(text) > 2 and random.random() < _GROUPS_SHARE:
            kinds.append("groups")
            spaces = _group_spaces(symbols, random)
        ink, strokes = typeset(glyphs, height, gap + spaces, pen, random)
        ink = change_stroke_weight(ink, random.uniform(-1, _MAX_THICKENING))
        ink, moved_px = self._surround(ink, height, random, kinds)
        if not symbols and not kinds:
            kinds.append("blank")
        pixels = put_on_paper(ink, random, kinds)
        if not are_visible(pixels[:, moved_px:], strokes):
            return None
        if has_no_digit:
            kinds.insert(0, "no digits")
        return Line(pixels, _read_symbols(symbols), tuple(kinds))

    def _sample_hand(
        self,
        height: float,
        pen: float,
        symbols: list[str],
        random: np.random.Generator,
        kinds: list[str],
    ) -> "_Hand":
        """Sample how the symbols of a line are written or printed.

        Args:
            height: of a digit, in pixels.
            pen: width of strokes that are rendered, in pixels.
            symbols: of the line.
            random: chooses the hand.
            kinds: of the line; those of the hand are appended.
        """
        slant = random.normal(0.05, 0.16)
        writer = None
        if self._by_writer and random.random() < _ONE_WRITER_SHARE:
            writer = self._by_writer[random.integers(len(self._by_writer))]
        is_continental = random.random() < _CONTINENTAL_SHARE
        if is_continental and ("1" in symbols or "7" in symbols):
            kinds.append("continental")
        stretch = random.uniform(0.68, 1.25)
        has_short_zeros = random.random() < _SHORT_ZEROS_SHARE
        zero_height = random.uniform(0.55, 0.95) if has_short_zeros else 1.0
        has_short_ones = random.random() < _SHORT_ONES_SHARE
        one_height = random.uniform(0.45, 0.9) if has_short_ones else 1.0
        wander = random.uniform(0.0, 0.09)
        unevenness = 0.2 if random.random() < _UNEVEN_SHARE else 0.07
        quantile = random.random()
        style: _Style = "written"
        if quantile < _PRINTED_SHARE:
            style = "printed"
        elif quantile < _PRINTED_SHARE + _SEGMENT_SHARE:
            style = "segments"
        if style != "written":
            wander = unevenness = 0.0
            kinds.append(style)
        font = self._fonts[random.integers(len(self._fonts))]
        return _Hand(
            height,
            pen,
            slant,
            stretch,
            zero_height,
            one_height,
            wander,
            unevenness,
            style,
            is_continental,
            writer,
            font,
        )

    def _glyph(self, symbol: str, hand: "_Hand", random: np.random.Generator) -> Glyph:
        """Render a symbol of a line."""
        height = hand.height * np.exp(random.normal(0, hand.unevenness))
        drop = random.normal(0, hand.wander) * hand.height
        mark_pen = hand.pen * 1.2
        if symbol.isdigit():
            if hand.style == "printed":
                ink = marks.draw_letter(symbol, hand.font, height)
            elif hand.style == "segments":
                ink = marks.draw_segments(int(symbol), height - hand.pen, hand.pen, hand.slant)
            else:
                if symbol in "01":
                    # A short 1 that is high above the baseline would be an apostrophe.
                    max_raise = 0.6 if symbol == "0" else 0.3
                    short = height * (
                        hand.zero_height if symbol == "0" else random.uniform(hand.one_height, 1.0)
                    )
                    raised = random.choice((0.0, random.uniform(0.0, max_raise)))
                    drop -= (height - short) * raised
                    height = short
                ink = self._written(symbol, height, hand, random)
            return Glyph(ink, drop, True)
        if symbol == _ANY_LETTER:
            letter = LETTERS[random.integers(len(LETTERS))]
            return Glyph(marks.draw_letter(letter, hand.font, height), drop, False)
        if symbol in marks.SEPARATORS:
            ink = marks.draw_separator(symbol, hand.height, mark_pen, random)
            lift = 0.8 * hand.height if symbol == "'" else -0.6 * len(ink) * (symbol == ",")
            return Glyph(ink, drop - lift, False, is_read=False)
        ink = marks.draw_operator(symbol, hand.height, mark_pen, hand.slant, random)
        lift = (hand.height - len(ink)) / 2
        return Glyph(ink, drop - lift, False)

    def _written(
        self, symbol: str, height: float, hand: "_Hand", random: np.random.Generator
    ) -> Ink:
        """Render a digit of a height: one of MNIST's, or a 1 or 7 drawn in the continental form."""
        is_drawn = hand.is_continental and symbol in "17"
        if is_drawn and random.random() < _CONTINENTAL_DIGIT_SHARE:
            draw = marks.draw_one if symbol == "1" else marks.draw_seven
            pen = min(hand.pen * 1.2, 0.16 * height)
            return draw(height - pen, pen, random)
        return self._digit(int(symbol), hand.writer, height, hand.stretch, hand.slant, random)

    def _digit(
        self,
        digit: int,
        writer: list[npt.NDArray[np.intp]] | None,
        height: float,
        stretch: float,
        slant: float,
        random: np.random.Generator,
    ) -> Ink:
        """Render one of MNIST's digits, float32 (height, width) from 0 to 1, cropped."""
        images = self._of_class[digit]
        if writer is not None and len(writer[digit]):
            images = writer[digit]
        image = images[random.integers(len(images))]
        left, top, right, bottom = self._boxes[image]
        # A 1 as wide as tall is a leaning one; a wide 2 is not enlarged to the height of the line.
        scale = height / max(bottom - top, 0.6 * (right - left))
        across = scale * stretch
        angle = random.normal(0, 0.06)
        shear = slant + random.normal(0, 0.05)
        forward = np.array([[across, 0], [0, scale]])
        forward = np.array([[1, -shear], [0, 1]]) @ forward
        cos, sin = np.cos(angle), np.sin(angle)
        forward = np.array([[cos, -sin], [sin, cos]]) @ forward
        inverse = np.linalg.inv(forward)
        corners = np.array([[0, 0, 1, 1], [0, 1, 0, 1]]) * [[right - left], [bottom - top]]
        corners = forward @ corners
        corner = corners.min(axis=1) - 1
        size = np.ceil(corners.max(axis=1) + 1 - corner).astype(int)
        offset = inverse @ corner + (left, top)
        page = Image.fromarray(self._pixels[image]).transform(
            (int(size[0]), int(size[1])),
            Image.Transform.AFFINE,
            (*inverse[0], offset[0], *inverse[1], offset[1]),
            Image.Resampling.BILINEAR,
        )
        ink: Ink = np.asarray(page).astype(np.float32) / np.float32(255)
        least = 0.1 * float(ink.max())  # a fine pen is faint if the digit is small
        present = ink >= max(least, 1e-3)
        columns, rows = np.flatnonzero(present.any(axis=0)), np.flatnonzero(present.any(axis=1))
        if not len(rows):  # the digit missed all pixels
            return ink
        return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def _surround(
        self, ink: Ink, height: float, random: np.random.Generator, kinds: list[str]
    ) -> tuple[Ink, int]:
        """Draw the surroundings of the digits: ruled lines, boxes, edges, specks, neighbors.

        Args:
            ink: of the line; drawn into.
            height: of a digit, in pixels.
            random: chooses the surroundings.
            kinds: of the line; those of the surroundings are appended.

        Returns:
            The line, wider than `ink` if it has the edge of a page, and by how many pixels its
            digits have moved to the right.
        """
        has_ink = bool((ink.max(axis=0) > _MIN_INK).any())
        rows = np.flatnonzero(ink.max(axis=1) > _MIN_INK)
        top, bottom = HEIGHT_PX // 2, HEIGHT_PX // 2
        if len(rows):
            top, bottom = int(rows[0]), int(rows[-1]) + 1
        free_rows = top, HEIGHT_PX - bottom
        if random.random() < _RULED_LINES_SHARE:
            kinds.append("rules")
            surroundings.draw_ruled_lines(ink, bottom, random)
        if random.random() < _BOXES_SHARE:
            surroundings.draw_boxes(ink, (top, bottom), random, kinds)
        if random.random() < _CIRCLE_SHARE and has_ink and "boxes" not in kinds:
            kinds.append("circle")
            surroundings.draw_circles(ink, height, random)
        if random.random() < _SPECKS_SHARE:
            kinds.append("specks")
            surroundings.draw_specks(ink, random)
        if random.random() < _NEIGHBORS_SHARE:
            kinds.append("neighbors")
            self._draw_neighbors(ink, height, free_rows, random)
        if random.random() < _PAGE_EDGE_SHARE:
            kinds.append("page edge")
            return surroundings.with_page_edge(ink, free_rows, random)
        return ink, 0

    def _draw_neighbors(
        self, ink: Ink, height: float, free: tuple[int, int], random: np.random.Generator
    ) -> None:
        """Draw the ends of digits of the lines above and below.

        Args:
            ink: of the line.
            height: of the digits.
            free: rows above and below the line's digits.
            random: chooses the digits.
        """
        width = ink.shape[1]
        for _ in range(random.integers(1, 2 + width // 24)):
            other = self._digit(int(random.integers(10)), None, height, 1.0, 0.1, random)
            x = int(random.integers(0, max(width - other.shape[1], 1)))
            below = int(random.integers(2))
            shown = int(random.integers(1, min(free[below] + 2, 6)))
            part = ink[-shown:] if below else ink[:shown]
            part = part[:, x : x + other.shape[1]]
            end = other[:shown] if below else other[-shown:]
            np.maximum(part, end[:, : part.shape[1]], out=part)


@dataclass(frozen=True, eq=False)
class _Hand:
    """How the symbols of a line are written or printed.

    Attributes:
        height: of a digit, in pixels.
        pen: width of strokes that are rendered, in pixels.
        slant: tangent of the angle by which the digits lean to the right.
        stretch: factor of the width of MNIST's digits.
        zero_height: factor of the height of zeros.
        one_height: least factor of the height of ones.
        wander: standard deviation of the bottoms from the baseline, in digit heights.
        unevenness: standard deviation of the logarithm of the heights.
        style: "written", "printed" or "segments" of a display.
        is_continental: whether most 1s have a flag, and most 7s a bar.
        writer: for each digit, the images of the line's writer; None for several writers.
        font: of printed digits and of letters.
    """

    height: float
    pen: float
    slant: float
    stretch: float
    zero_height: float
    one_height: float
    wander: float
    unevenness: float
    style: _Style
    is_continental: bool
    writer: list[npt.NDArray[np.intp]] | None
    font: ImageFont.FreeTypeFont


def _with_marks(text: str, random: np.random.Generator, kinds: list[str]) -> list[str]:
    """Return the symbols of a line: digits, operators, separators, and `_ANY_LETTER` for letters.

    If there is no digit, they are up to five of the others.
    """
    symbols = list(text)
    if not text:
        choices = (*marks.OPERATORS, *marks.SEPARATORS, *3 * (_ANY_LETTER,))
        return [choices[random.integers(len(choices))] for _ in range(random.integers(0, 6))]
    if random.random() < _SUM_SHARE:
        kinds.append("operators")
        for at in range(len(symbols) - 1, 0, -1):
            if random.random() < _OPERATOR_SHARE:
                symbols.insert(at, marks.OPERATORS[random.integers(len(marks.OPERATORS))])
    elif random.random() < _SEPARATOR_SHARE:
        kinds.append("separators")
        if len(text) > 3 and random.random() < _DECIMAL_SHARE:
            symbols.insert(len(symbols) - random.integers(2, 4), ".,"[random.integers(2)])
        ending = ("", ".", ",", "-", ".-", "=")[random.integers(6)]
        symbols.extend(ending)
    if random.random() < _LETTER_SHARE:
        kinds.append("letters")
        for _ in range(random.integers(1, 4)):
            symbols.insert(
                0 if random.random() < _LETTERS_FIRST_SHARE else len(symbols), _ANY_LETTER
            )
    return symbols


def _text(random: np.random.Generator, max_digits: int) -> str:
    """Sample 1 to `max_digits` digits: any, a round amount, repeated digits, or counting."""
    weights = _LENGTH_WEIGHTS[:max_digits] / _LENGTH_WEIGHTS[:max_digits].sum()
    n = int(random.choice(max_digits, p=weights)) + 1
    quantile = random.random()
    if quantile < _ANY_DIGITS_QUANTILE or n < 3:
        return "".join(map(str, random.integers(0, 10, n)))
    if quantile < _ROUND_AMOUNT_QUANTILE:
        zeros = int(random.integers(1, min(n, 5)))
        return "".join(map(str, random.integers(0, 10, n - zeros))) + "0" * zeros
    if quantile < _REPEATED_QUANTILE:
        digits = random.integers(0, 10, n).repeat(random.integers(1, 4, n))
        return "".join(map(str, digits[:n]))
    first = int(random.integers(0, 100))
    return "".join(str(first + step) for step in range(n))[:n]


def _read_symbols(symbols: list[str]) -> str:
    """Return the text of a line with these symbols, see `Line`."""
    read = []
    for index, symbol in enumerate(symbols):
        if symbol.isdigit():
            read.append(symbol)
        elif symbol == "-":
            if any(map(str.isdigit, symbols[index + 1 :])):
                read.append(UNKNOWN)
        elif symbol not in marks.SEPARATORS:
            read.append(UNKNOWN)
    return "".join(read)


def _group_spaces(symbols: list[str], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the additional space before each symbol, in digit heights, of a line of groups.

    Groups have a fixed number of digits, or any.
    """
    width = random.uniform(0.4, 1.4)
    step = int(random.integers(1, 5))
    if random.random() < 0.5:
        first = int(random.integers(step)) if step > 1 else 0
        starts = np.arange(len(symbols)) % step == first
    else:
        starts = random.random(len(symbols)) < 1 / step
    # A separator stays with the digit before it.
    follows = np.array([symbol in marks.SEPARATORS for symbol in symbols])
    spaces: npt.NDArray[np.float64] = width * random.uniform(0.8, 1.2, len(symbols))
    return np.where(starts & ~follows, spaces, 0.0)
