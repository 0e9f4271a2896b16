"""Composes lines of numbers of MNIST's digits: what the line reader is trained and measured on.

`Composer.lines` draws lines of 1 to 16 digits of one writer, from overlapping to far apart,
slanted, on an uneven baseline, with separators, operators, rules, boxes, specks, page edges, and
pieces of the lines above and below; some lines have no digit. Each line is 32 pixels high.

A person can read each line: no digit is cut off or covered, and the strokes are darker than the
texture and the noise of the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from runtime.multi_digit.line_crop import crop_whole
from train.lines import marks
from train.lines.marks import Ink

HEIGHT_PX = 32  # of a line
MAX_WIDTH_PX = 512  # of a line; longer ones are drawn again with fewer digits
MAX_DIGITS = 16

_MIN_DIGIT_PX = 17.0  # height of the digits
_MAX_DIGIT_PX = 29.0

# Shares of the lines.
_NO_DIGIT_SHARE = 0.07
_ONE_WRITER_SHARE = 0.8  # the digits of the others are of several writers
_CONTINENTAL_SHARE = 0.35  # with drawn 1s and barred 7s
_PRINTED_SHARE = 0.05  # printed digits
_SEGMENT_SHARE = 0.03  # seven-segment digits
_LETTER_SHARE = 0.05
_SEPARATOR_SHARE = 0.25
_SUM_SHARE = 0.15  # with operators
_GRAY_SHARE = 0.55  # on gray paper: noise, texture and shade; the others are ink alone
_BITONAL_SHARE = 0.12  # scanned in black and white
_GROUPS_SHARE = 0.25  # several numbers with space between them, or a number in groups
_UNEVEN_SHARE = 0.12  # digits of different heights
_LOW_ZEROS_SHARE = 0.25
_LOW_ONES_SHARE = 0.2

_MAX_WEIGHT = 0.6  # by how much strokes are thickened, from 0 to 1; loops close if it is more
_CROPPED_SHARE = 0.4  # of the lines to train on, cropped by the runtime as it crops a picture

# A glyph is visible if this share of its strokes …
_MIN_VISIBLE_SHARE = 0.6
_MIN_CONTRAST = 50  # … is so many levels of 255 darker than the paper …
_AROUND_PX = 3  # … up to so many pixels from it.

# A picture of a line.
_ENLARGED = 2  # lines are composed 32 pixels high; pictures of numbers are larger
_PAPER = 225  # gray level of the paper
_INK = 30  # gray level of the ink

# Number of digits: weights of 1, 2, …, 16.
_LENGTH_WEIGHTS = np.array([8, 13, 16, 16, 13, 10, 7, 5, 4, 5, 2, 2, 2, 2, 1, 1], np.float64)

# Space between the ink of two digits, in heights of a digit: lowest and highest mean of a line.
_SPACINGS = (
    ("overlapping", -0.1, -0.03, 0.18),
    ("touching", -0.05, 0.03, 0.25),
    ("close", 0.03, 0.15, 0.25),
    ("apart", 0.15, 0.5, 0.22),
    ("wide", 0.5, 1.6, 0.1),
)

_MAX_LIGATURE_HEIGHTS = 0.25  # space between two digits that a stroke may join
_MAX_OVERLAP_HEIGHTS = 0.14  # of two neighbors; digits that overlap more cannot be told apart
# Smallest space of digits that never touch, in heights.
_PRINTED_GAP = 0.02
_SEGMENT_GAP = 0.12

UNKNOWN = "?"  # in a line's text, for an operator or a letter
# Without those that are written like a digit.
LETTERS = "acdefhkmnprtuvwxACEFHKLMNPRTUVWXY€$%#"


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
        gray = _PAPER - (_PAPER - _INK) / 255 * self.pixels.astype(np.float32)
        picture = Image.fromarray(np.rint(gray).astype(np.uint8))
        size = picture.width * _ENLARGED, picture.height * _ENLARGED
        return picture.resize(size, Image.Resampling.BICUBIC)

    def as_read(self, all_rows: bool) -> "Line":
        """Return the line as `Classifier.read` gives it to the line reader, cropped as a whole.

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
        writers: (N,) a number of each image's writer; None if unknown.
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
        ink = self._pixels > 40
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
                own = np.flatnonzero(writers == writer)
                self._by_writer.append([own[labels[own] == digit] for digit in range(10)])

    def lines(self, n: int, seed: Sequence[int]) -> list[Line]:
        """Compose `n` lines; the same seed gives the same lines."""
        random = np.random.default_rng(seed)
        return [self.line(random) for _ in range(n)]

    def lines_as_read(self, n: int, seed: Sequence[int]) -> list[Line]:
        """Compose `n` lines; crop a part of them as the runtime does."""
        random = np.random.default_rng((*seed, n))
        return [
            line.as_read(random.random() < 0.5) if random.random() < _CROPPED_SHARE else line
            for line in self.lines(n, seed)
        ]

    def line(self, random: np.random.Generator) -> Line:
        """Compose one line."""
        most = MAX_DIGITS
        while True:
            line = self._line(random, most)
            if line is None:
                continue
            if line.pixels.shape[1] <= MAX_WIDTH_PX:
                return line
            most = max(most // 2, 1)

    def _line(self, random: np.random.Generator, most: int) -> Line | None:
        """Compose a line of at most `most` digits; None if one of its signs is hardly visible."""
        height = random.uniform(_MIN_DIGIT_PX, _MAX_DIGIT_PX)
        pen = height * random.uniform(0.05, 0.16)
        kinds: list[str] = []
        empty = random.random() < _NO_DIGIT_SHARE
        text = "" if empty else _text(random, most)
        signs = self._signs(text, random, kinds)
        slant = random.normal(0.05, 0.16)
        glyphs = self._glyphs(signs, height, pen, slant, random, kinds)
        spacing = random.choice(len(_SPACINGS), p=[share for *_, share in _SPACINGS])
        name, low, high, _ = _SPACINGS[spacing]
        if len(text) > 1:
            kinds.append(name)
        gap = random.uniform(low, high)
        for kind, least in (("printed", _PRINTED_GAP), ("segments", _SEGMENT_GAP)):
            gap = max(gap, least) if kind in kinds else gap
        spaces = np.zeros(len(glyphs))
        if len(text) > 2 and random.random() < _GROUPS_SHARE:
            kinds.append("groups")
            spaces = _group_spaces(signs, random)
        ink, strokes = _set(glyphs, height, gap + spaces, pen, random)
        ink = _weight(ink, random.uniform(-1, _MAX_WEIGHT))
        ink, moved = self._surround(ink, height, random, kinds)
        if not signs and not kinds:
            kinds.append("blank")
        pixels = _paper(ink, random, kinds)
        if not _are_visible(pixels[:, moved:], strokes):
            return None
        if empty:
            kinds.insert(0, "no digits")
        return Line(pixels, _read_signs(signs), tuple(kinds))

    def _signs(self, text: str, random: np.random.Generator, kinds: list[str]) -> list[str]:
        """Put operators, separators and letters between the digits; `L` is any letter."""
        signs = list(text)
        if not text:
            choices = (*marks.OPERATORS, *marks.SEPARATORS, "L", "L", "L")
            return [choices[random.integers(len(choices))] for _ in range(random.integers(0, 6))]
        if random.random() < _SUM_SHARE:
            kinds.append("operators")
            for at in range(len(signs) - 1, 0, -1):
                if random.random() < 0.4:
                    signs.insert(at, marks.OPERATORS[random.integers(len(marks.OPERATORS))])
        elif random.random() < _SEPARATOR_SHARE:
            kinds.append("separators")
            if len(text) > 3 and random.random() < 0.6:
                signs.insert(len(signs) - random.integers(2, 4), ".,"[random.integers(2)])
            ending = ("", ".", ",", "-", ".-", "=")[random.integers(6)]
            signs.extend(ending)
        if random.random() < _LETTER_SHARE:
            kinds.append("letters")
            for _ in range(random.integers(1, 4)):
                signs.insert(0 if random.random() < 0.3 else len(signs), "L")
        return signs

    def _glyphs(
        self,
        signs: list[str],
        height: float,
        pen: float,
        slant: float,
        random: np.random.Generator,
        kinds: list[str],
    ) -> list["_Glyph"]:
        writer = None
        if self._by_writer and random.random() < _ONE_WRITER_SHARE:
            writer = self._by_writer[random.integers(len(self._by_writer))]
        continental = random.random() < _CONTINENTAL_SHARE
        if continental and ("1" in signs or "7" in signs):
            kinds.append("continental")
        stretch = random.uniform(0.68, 1.25)
        low_zeros = random.uniform(0.55, 0.95) if random.random() < _LOW_ZEROS_SHARE else 1.0
        low_ones = random.uniform(0.45, 0.9) if random.random() < _LOW_ONES_SHARE else 1.0
        wander = random.uniform(0.0, 0.09)
        uneven = 0.2 if random.random() < _UNEVEN_SHARE else 0.07
        style = random.random()
        printed = style < _PRINTED_SHARE
        segments = _PRINTED_SHARE <= style < _PRINTED_SHARE + _SEGMENT_SHARE
        if printed or segments:
            wander = 0.0
            kinds.append("printed" if printed else "segments")
        font = self._fonts[random.integers(len(self._fonts))]
        glyphs = []
        for sign in signs:
            own = height * np.exp(random.normal(0, uneven * (wander > 0)))
            base = random.normal(0, wander) * height
            if sign.isdigit():
                if printed:
                    ink = marks.draw_letter(sign, font, own)
                elif segments:
                    ink = marks.draw_segments(int(sign), own - pen, pen, slant)
                else:
                    if sign in "01":
                        raised = 0.6 if sign == "0" else 0.3  # a high, low 1 is an apostrophe
                        low = own * (low_zeros if sign == "0" else random.uniform(low_ones, 1.0))
                        base -= (own - low) * random.choice((0.0, random.uniform(0.0, raised)))
                        own = low
                    ink = self._written(sign, writer, own, pen, continental, stretch, slant, random)
                glyphs.append(_Glyph(ink[:HEIGHT_PX], base, True))
            elif sign == "L":
                letter = LETTERS[random.integers(len(LETTERS))]
                ink = marks.draw_letter(letter, font, own)
                glyphs.append(_Glyph(ink[:HEIGHT_PX], base, False))
            elif sign in marks.SEPARATORS and sign != "'":
                ink = marks.draw_separator(sign, height, pen * 1.2, random)
                below = base + 0.6 * len(ink) * (sign == ",")
                glyphs.append(_Glyph(ink, below, False, read=sign == "-"))
            else:
                if sign == "'":
                    ink = marks.draw_separator(sign, height, pen * 1.2, random)
                    lift = 0.8 * height
                else:
                    ink = marks.draw_operator(sign, height, pen * 1.2, slant, random)
                    lift = (height - len(ink)) / 2
                glyphs.append(_Glyph(ink[:HEIGHT_PX], base - lift, False, read=sign != "'"))
        return glyphs

    def _written(
        self,
        sign: str,
        writer: list[npt.NDArray[np.intp]] | None,
        height: float,
        pen: float,
        continental: bool,
        stretch: float,
        slant: float,
        random: np.random.Generator,
    ) -> Ink:
        """Draw a digit: one of MNIST's, or a drawn 1 or 7 if the line is `continental`."""
        if continental and sign in "17" and random.random() < 0.85:
            draw = marks.draw_one if sign == "1" else marks.draw_seven
            weight = min(pen * 1.2, 0.16 * height)
            return draw(height - weight, weight, random)
        return self._digit(int(sign), writer, height, stretch, slant, random)

    def _digit(
        self,
        digit: int,
        writer: list[npt.NDArray[np.intp]] | None,
        height: float,
        stretch: float,
        slant: float,
        random: np.random.Generator,
    ) -> Ink:
        """Draw one of MNIST's digits, float32 (height, width) from 0 to 1."""
        own = self._of_class[digit] if writer is None or not len(writer[digit]) else writer[digit]
        number = own[random.integers(len(own))]
        left, top, right, bottom = self._boxes[number]
        # A 1 as wide as high is a leaning one; a wide 2 is not enlarged to the height of the line.
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
        low = corners.min(axis=1) - 1
        size = np.ceil(corners.max(axis=1) + 1 - low).astype(int)
        offset = inverse @ low + (left, top)
        page = Image.fromarray(self._pixels[number]).transform(
            (int(size[0]), int(size[1])),
            Image.Transform.AFFINE,
            (*inverse[0], offset[0], *inverse[1], offset[1]),
            Image.Resampling.BILINEAR,
        )
        ink: Ink = np.asarray(page).astype(np.float32) / np.float32(255)
        level = 0.1 * float(ink.max())  # a fine pen is faint if the digit is small
        present = ink >= max(level, 1e-3)
        columns, rows = np.flatnonzero(present.any(axis=0)), np.flatnonzero(present.any(axis=1))
        if not len(rows):  # the digit missed all pixels
            return ink
        return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def _surround(
        self, ink: Ink, height: float, random: np.random.Generator, kinds: list[str]
    ) -> tuple[Ink, int]:
        """Draw what stands around the digits: rules, boxes, edges, specks, neighbors.

        Returns:
            The line, wider than `ink` if it has the edge of a page, and by how many pixels its
            digits have moved to the right.
        """
        columns, rows = np.flatnonzero(ink.max(axis=0) > 0.2), np.flatnonzero(ink.max(axis=1) > 0.2)
        top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (HEIGHT_PX // 2, HEIGHT_PX // 2)
        if random.random() < 0.22:
            kinds.append("rules")
            for _ in range(random.integers(1, 3)):
                y = random.uniform(0, HEIGHT_PX)
                if random.random() < 0.5:  # the line that is written on
                    y = bottom + random.normal(0, 1.5)
                _rule(ink, y, random.uniform(0.6, 2.2), random.uniform(0.25, 1), random)
        if random.random() < 0.12:
            _draw_boxes(ink, (int(top), int(bottom)), random, kinds)
        if random.random() < 0.04 and len(columns) and "boxes" not in kinds:
            kinds.append("circle")
            _draw_circles(ink, height, random)
        if random.random() < 0.2:
            kinds.append("specks")
            for _ in range(random.integers(1, 8)):
                above, left = random.integers(0, HEIGHT_PX), random.integers(0, ink.shape[1])
                high, wide = random.integers(1, 4, 2)
                part = ink[above : above + high, left : left + wide]
                np.maximum(part, random.uniform(0.3, 1), out=part)
        if random.random() < 0.15:
            kinds.append("neighbors")
            self._draw_neighbors(ink, height, (int(top), HEIGHT_PX - int(bottom)), random)
        if random.random() < 0.07:
            kinds.append("page edge")
            return _with_page_edge(ink, (int(top), HEIGHT_PX - int(bottom)), random)
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


def _draw_boxes(
    ink: Ink, rows: tuple[int, int], random: np.random.Generator, kinds: list[str]
) -> None:
    """Draw a frame, the cells of a table, boxes or a comb into the gaps between the digits.

    Args:
        ink: of the line.
        rows: of the digits.
        random: chooses the form.
        kinds: of the line; the form is appended.
    """
    level, thick = random.uniform(0.3, 1), random.uniform(0.6, 2.4)
    free = np.append(ink.max(axis=0) <= 0.1, False)
    steps = np.flatnonzero(np.diff(np.append(False, free).astype(np.int8)))
    gaps = list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
    frame = random.random() < 0.35 or len(gaps) < 3
    comb = not frame and random.random() < 0.3
    kinds.append("comb" if comb else "boxes")
    twice = not frame and random.random() < 0.4  # boxes apart, not the cells of a table
    top = int(rows[1] - random.uniform(0.1, 0.6) * (rows[1] - rows[0])) if comb else 0
    for number, (start, end) in enumerate(gaps):
        at_end = number in (0, len(gaps) - 1)
        if (frame and not at_end) or end - start < thick + 1:
            continue
        margin = min((end - start) / 2 - 0.1, thick / 2 + 0.5)
        if at_end:
            places = [random.uniform(start + margin, end - margin)]
        elif twice and end - start > 3 * thick + 4:
            places = [start + margin + random.uniform(0, 1), end - margin - random.uniform(0, 1)]
        else:
            middle, reach = (start + end) / 2, (end - start) / 2 - margin
            places = [middle + random.uniform(-1, 1) * reach]
        for x in places:
            _rule(ink[top:].T, x, thick, level, random, straight=True)
    above = random.uniform(-2, max(rows[0] - thick, 0) + 0.5)
    below = HEIGHT_PX - random.uniform(-2, max(HEIGHT_PX - rows[1] - thick, 0) + 0.5)
    for y in (below,) if comb else (above, below):
        if random.random() < 0.8:
            _rule(ink, y, thick, level, random)


def _draw_circles(ink: Ink, height: float, random: np.random.Generator) -> None:
    """Draw an ellipse around the whole line, or a circle around each digit apart."""
    columns = np.append(ink.max(axis=0) > 0.2, False)
    steps = np.flatnonzero(np.diff(np.append(False, columns).astype(np.int8)))
    spans = list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
    each = len(spans) > 1 and random.random() < 0.5
    if not each:
        spans = [(spans[0][0], spans[-1][1])]
    page = Image.new("L", (ink.shape[1] * 2, HEIGHT_PX * 2))
    draw = ImageDraw.Draw(page)
    wide = int(random.integers(2, 5))
    for start, end in spans:
        reach = random.uniform(0.1, 0.25) * (height if each else end - start)
        high = random.uniform(-4, 4)
        draw.ellipse(
            (2 * (start - reach), high, 2 * (end + reach), 2 * HEIGHT_PX - high),
            outline=255,
            width=wide,
        )
    ring = np.asarray(page.reduce(2)).astype(np.float32) / 255
    np.maximum(ink, ring * np.float32(random.uniform(0.3, 1)), out=ink)


def _with_page_edge(
    ink: Ink, free: tuple[int, int], random: np.random.Generator
) -> tuple[Ink, int]:
    """Return a line beside, above or below which the page ends, and the edge's width to its left.

    Args:
        ink: of the line.
        free: rows above and below its digits.
        random: chooses the side and the darkness.
    """
    level = np.float32(random.uniform(0.3, 1))
    side = random.integers(4)
    if side < 2:
        band = np.full((HEIGHT_PX, int(random.integers(1, 9))), level, np.float32)
        if side == 0:
            return np.concatenate((band, ink), axis=1), band.shape[1]
        return np.concatenate((ink, band), axis=1), 0
    rows = min(int(random.integers(1, 5)), free[side - 2])
    if rows > 0:
        part = ink[:rows] if side == 2 else ink[-rows:]
        np.maximum(part, level, out=part)
    return ink, 0


@dataclass(frozen=True, eq=False)
class _Glyph:
    """A digit or another mark to be set in a line.

    Attributes:
        ink: (height, width) from 0 to 1, cropped.
        base: how far its bottom is below the baseline, in pixels.
        digit: whether it is a digit.
        read: whether it is in the line's text, as a digit or as `UNKNOWN`.
    """

    ink: Ink
    base: float
    digit: bool
    read: bool = True


def _text(random: np.random.Generator, most: int) -> str:
    """Draw a number of 1 to `most` digits: any, a round amount, a repeated digit, or counting."""
    weights = _LENGTH_WEIGHTS[:most] / _LENGTH_WEIGHTS[:most].sum()
    n = int(random.choice(most, p=weights)) + 1
    kind = random.random()
    if kind < 0.55 or n < 3:
        return "".join(map(str, random.integers(0, 10, n)))
    if kind < 0.78:
        zeros = int(random.integers(1, min(n, 5)))
        return "".join(map(str, random.integers(0, 10, n - zeros))) + "0" * zeros
    if kind < 0.9:
        digits = random.integers(0, 10, n).repeat(random.integers(1, 4, n))
        return "".join(map(str, digits[:n]))
    first = int(random.integers(0, 100))
    return "".join(str(first + step) for step in range(n))[:n]


def _read_signs(signs: list[str]) -> str:
    """Return the text of a line with these signs, see `Line`."""
    read = []
    for place, sign in enumerate(signs):
        if sign.isdigit():
            read.append(sign)
        elif sign == "-":
            if any(map(str.isdigit, signs[place + 1 :])):
                read.append(UNKNOWN)
        elif sign not in marks.SEPARATORS:
            read.append(UNKNOWN)
    return "".join(read)


def _group_spaces(signs: list[str], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the additional space before each sign, in heights of a digit, of a line of groups.

    Groups have a fixed number of digits, or any.
    """
    width = random.uniform(0.4, 1.4)
    step = int(random.integers(1, 5))
    if random.random() < 0.5:
        first = int(random.integers(step)) if step > 1 else 0
        starts = np.arange(len(signs)) % step == first
    else:
        starts = random.random(len(signs)) < 1 / step
    # A separator stays with the digit before it.
    follows = np.array([sign in marks.SEPARATORS for sign in signs])
    spaces: npt.NDArray[np.float64] = width * random.uniform(0.8, 1.2, len(signs))
    return np.where(starts & ~follows, spaces, 0.0)


@dataclass(frozen=True, eq=False)
class _Strokes:
    """Where the strokes of a glyph are in a line.

    Attributes:
        top: row of the mask's first row.
        left: column of its first column.
        mask: bool (height, width).
    """

    top: int
    left: int
    mask: npt.NDArray[np.bool_]


def _are_visible(pixels: npt.NDArray[np.uint8], strokes: list[_Strokes]) -> bool:
    """Return whether a person can see each glyph: its strokes are darker than the paper around it.

    Args:
        pixels: of the line, uint8 (32, width).
        strokes: of its glyphs.
    """
    glyphs = np.zeros(pixels.shape, np.int64)  # number of glyphs at each pixel
    for one in strokes:
        part = glyphs[one.top :, one.left :][: len(one.mask), : one.mask.shape[1]]
        part += one.mask[: part.shape[0], : part.shape[1]]
    paper = ~_dilated(glyphs > 0)
    for one in strokes:
        rows = slice(max(one.top - _AROUND_PX, 0), one.top + len(one.mask) + _AROUND_PX)
        columns = slice(max(one.left - _AROUND_PX, 0), one.left + one.mask.shape[1] + _AROUND_PX)
        around = pixels[rows, columns][paper[rows, columns]]
        ground = float(np.median(around)) if around.size else 0.0
        inside = np.s_[one.top : one.top + len(one.mask), one.left : one.left + one.mask.shape[1]]
        mask = one.mask[: glyphs[inside].shape[0], : glyphs[inside].shape[1]]
        visible = mask & (glyphs[inside] == 1) & (pixels[inside] >= ground + _MIN_CONTRAST)
        if visible.sum() < _MIN_VISIBLE_SHARE * max(mask.sum(), 1):
            return False
    return True


def _dilated(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a mask and the pixels around it."""
    padded = np.pad(mask, 1)
    wide = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    both: npt.NDArray[np.bool_] = wide[:-2] | wide[1:-1] | wide[2:]
    return both


def _set(
    glyphs: list[_Glyph],
    height: float,
    gaps: npt.NDArray[np.float64],
    pen: float,
    random: np.random.Generator,
) -> tuple[Ink, list["_Strokes"]]:
    """Set glyphs side by side on a line.

    Args:
        glyphs: from left to right.
        height: of a digit, in pixels.
        gaps: mean space before the ink of each glyph, in heights.
        pen: width of the ligatures, in pixels.
        random: of the jitter.

    Returns:
        The line, float32 (32, width), from 0 to 1, and the strokes of each glyph to be read.
    """
    room = HEIGHT_PX - height
    baseline = height + room * np.clip(random.normal(0.5, 0.25), -0.1, 1.1)
    slope = random.normal(0, 0.03)
    right = np.full(HEIGHT_PX, -np.inf)  # of the ink so far, in each row
    joins = random.random() < 0.35
    placed: list[tuple[int, int, Ink]] = []
    strings: list[tuple[float, float, float, float]] = []
    edge = 0.0
    for number, glyph in enumerate(glyphs):
        ink, gap = glyph.ink[:HEIGHT_PX], gaps[number]
        high, wide = ink.shape
        bottom = baseline + glyph.base + slope * edge
        top = int(np.clip(round(bottom - high), min(-1, HEIGHT_PX - high), HEIGHT_PX - high + 1))
        cut = max(-top, 0)
        ink, top = ink[cut : cut + HEIGHT_PX - max(top, 0)], max(top, 0)
        present = ink > 0.25
        rows = np.flatnonzero(present.any(axis=1)) + top
        left_ink = present.argmax(axis=1)[rows - top]
        x = edge
        if placed and rows.size:
            nearest = right.copy()
            for shift in (1, 2, 3):  # ink of a nearby row counts
                nearest[shift:] = np.maximum(nearest[shift:], right[:-shift])
                nearest[:-shift] = np.maximum(nearest[:-shift], right[shift:])
            space = gap * height + random.normal(0, 0.05) * height * (1 + 3 * max(gap, 0))
            space = max(space, -_MAX_OVERLAP_HEIGHTS * height)
            if not glyph.digit or not glyphs[number - 1].digit:
                space = max(space, random.uniform(0.04, 0.28) * height)
            touching = (nearest[rows] - left_ink).max()
            x = max(touching, edge - 0.5 * height) + space
            x = max(x, placed[-1][0] + 0.25 * placed[-1][2].shape[1])
        column = max(round(x), 0)
        if placed and joins and gap < _MAX_LIGATURE_HEIGHTS and random.random() < 0.6 and rows.size:
            row = rows[random.integers(min(len(rows), max(len(rows) // 3, 1)))]
            past = placed[-1]
            strings.append(
                (
                    past[0] + past[2].shape[1] * random.uniform(0.6, 1.0),
                    past[1] + len(past[2]) * random.uniform(0.0, 0.4),
                    column + wide * random.uniform(0.0, 0.5),
                    float(row) + 1,
                )
            )
        placed.append((column, top, ink))
        if rows.size:
            right_ink = wide - present[:, ::-1].argmax(axis=1)[rows - top]
            right[rows] = np.maximum(right[rows], column + right_ink)
        edge = max(edge, column + wide)
    before, after = (int(height * random.uniform(0.0, 0.7)) for _ in range(2))
    width = max(int(edge), 8 if glyphs else int(random.integers(24, 200))) + before + after
    line = np.zeros((HEIGHT_PX, max(width, 16)), np.float32)
    strokes = []
    for glyph, (column, top, ink) in zip(glyphs, placed, strict=True):
        part = line[top : top + len(ink), column + before : column + before + ink.shape[1]]
        np.maximum(part, ink[: part.shape[0], : part.shape[1]], out=part)
        if glyph.read:
            inside = ink[: part.shape[0], : part.shape[1]]
            strokes.append(_Strokes(top, column + before, inside > 0.6 * inside.max(initial=0)))
    for x0, y0, x1, y1 in strings:
        _segment(line, x0 + before, y0, x1 + before, y1, pen, float(random.uniform(0.6, 1)))
    return line, strokes


def _segment(
    line: Ink, x0: float, y0: float, x1: float, y1: float, pen: float, level: float
) -> None:
    """Draw a straight stroke into `line`."""
    steps = int(max(abs(x1 - x0), abs(y1 - y0), 1) * 2)
    half = max(pen / 2, 0.5)
    for share in np.linspace(0, 1, steps):
        x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        rows = slice(max(int(y - half + 0.5), 0), max(int(y + half + 0.5), 1))
        columns = slice(max(int(x - half + 0.5), 0), max(int(x + half + 0.5), 1))
        part = line[rows, columns]
        np.maximum(part, level, out=part)


def _rule(
    ink: Ink,
    y: float,
    thickness: float,
    level: float,
    random: np.random.Generator,
    straight: bool = False,
) -> None:
    """Draw a nearly horizontal line across all of `ink`; a `straight` one is quite horizontal."""
    rows, columns = ink.shape
    drop = 0.0 if straight else random.normal(0, 0.012) * columns
    center = y + np.linspace(-drop / 2, drop / 2, columns)
    cover = np.clip(thickness / 2 + 0.5 - np.abs(np.arange(rows)[:, None] + 0.5 - center), 0, 1)
    cover = cover.astype(np.float32) * np.float32(level)
    if random.random() < 0.2:  # dotted or broken
        period = int(random.integers(3, 14))
        cover[:, np.arange(columns) % period < period * random.uniform(0.2, 0.5)] = 0
    np.maximum(ink, cover, out=ink)


def _weight(ink: Ink, amount: float) -> Ink:
    """Make strokes thinner (down to -1) or thicker (up to 1)."""
    if amount < 0:
        thin = _extreme(ink, np.minimum)
        ink = ink + np.float32(-amount) * (thin - ink)
        thinned: Ink = ink / max(float(ink.max()), 1e-3) if ink.any() else ink
        return thinned
    if amount > 0.25:
        thickened: Ink = np.maximum(ink, np.float32(min(amount, 1.0)) * _extreme(ink, np.maximum))
        return thickened
    return ink


def _extreme(ink: Ink, function: np.ufunc) -> Ink:
    """Return the minimum or maximum of each pixel and its four neighbors."""
    padded = np.pad(ink, 1, mode="edge")
    extreme: Ink = function(
        function(function(padded[:-2, 1:-1], padded[2:, 1:-1]), padded[1:-1, 1:-1]),
        function(padded[1:-1, :-2], padded[1:-1, 2:]),
    )
    return extreme


def _paper(ink: Ink, random: np.random.Generator, kinds: list[str]) -> npt.NDArray[np.uint8]:
    """Blur the ink, put it on paper, and return it as uint8."""
    if random.random() < 0.5:
        share = np.float32(random.uniform(0.1, 0.33))
        for axis in (0, 1):
            around = np.roll(ink, 1, axis) + np.roll(ink, -1, axis)
            ink = (1 - 2 * share) * ink + share * around
    # A person can tell the strokes from the paper: most of their pixels are this dark.
    strokes = ink[ink > 0.2]
    peak = float(np.quantile(strokes, 0.7)) if strokes.size else 1.0
    page = ink * np.float32(random.uniform(0.6, 1.4) / peak)
    if random.random() < _GRAY_SHARE:
        kinds.append("gray paper")
        rows, columns = page.shape
        if random.random() < 0.3:
            kinds.append("texture")
            x, y = np.arange(columns), np.arange(rows)[:, None]
            for _ in range(random.integers(1, 4)):
                phase = random.uniform(0, 6.28)
                wave = random.uniform(1, 8) * np.sin(x / random.uniform(6, 40) + phase)
                bands = np.sin((y * random.uniform(-1, 1) + x * random.uniform(-0.7, 0.7) + wave)
                               * random.uniform(0.4, 1.6))  # fmt: skip
                level = random.uniform(0.05, 0.3)
                page = np.maximum(page, level * np.clip(4 * bands - 2.5, 0, 1))
        if random.random() < 0.3:
            shade = np.linspace(random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2), columns)
            page = page + shade.astype(np.float32)
        noise = random.uniform(0.01, 0.12)
        grain = random.standard_normal(page.shape, np.float32)
        if random.random() < 0.5:
            grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / np.float32(1.7)
        page = page + np.float32(noise) * grain
        # Half of the runtime's crops have their paper cut off at a low level.
        if random.random() < 0.5:
            page = np.where(page > random.uniform(0.05, 0.25), page, 0)
    if random.random() < _BITONAL_SHARE:
        kinds.append("bitonal")
        noise = random.uniform(0, 0.15)
        page = page + np.float32(noise) * random.standard_normal(page.shape, np.float32)
        page = (page > random.uniform(0.4, 0.6)).astype(np.float32)
    pixels: npt.NDArray[np.uint8] = (np.clip(page, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels
