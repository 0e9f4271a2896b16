"""The reading of a page: its lines, how certain they are, and whether they are numbers."""

import math
from dataclasses import dataclass, replace

import numpy as np

from runtime.multi_digit.line_crop import LineCrop
from runtime.multi_digit.recognize import UNKNOWN, Digit, Page, Recognition
from runtime.multi_digit.verify import CERTAIN, Symbol
from runtime.prediction import Prediction

# Whether a line is a number.
_MIN_DIGIT_SHARE = 0.35  # of a line's symbols; a line with fewer accepted digits is text
_MIN_ACCEPTED_SHARE = 0.34  # of a line's digits; if fewer are accepted, it is not a number
_MIN_PROPOSAL_CONFIDENCE = 0.9  # of each symbol, if fewer than two digits of a line are accepted

# Brackets around a number.
_MIN_BRACKET_RATIO = 1.1  # height of a bracket / of the tallest digit between the two
_MAX_BRACKET_ASPECT = 0.5  # width / height of a bracket

# Whether a line of which this is uncertain is a candidate: it may be kept, with `?` for its digits.
_MIN_PROPOSED_SHARE = 0.5  # of a line's symbols; if fewer are proposed digits, it is no candidate
_MIN_CANDIDATE_CONFIDENCE = 0.7  # of the line reader in each of these digits
_PROBABLE = 0.5  # probability of the only digit of a candidate, of both networks together

_MAX_LETTER_ASPECT = 0.95  # width / height of two touching symbols that may be one letter
_UPSIDE_DOWN = str.maketrans("69", "96")  # the other digits are taken to keep their label
_MIN_PROBABILITY = 1e-4  # a smaller confidence counts as this, so that its logarithm is finite
_LEFT_OVER_PROBABILITY = 0.3  # that ink without a proposal is not a digit

# Scores of readings, in certain digits.
_DOUBT_COST = 0.5  # one doubtful place counts against this many certain digits
_ONE_SYMBOL_WEIGHT = 0.2  # weight of a line of one symbol, which may be any stroke
_LINE_COST = 0.9  # each line but the first counts against this many certain digits


@dataclass(frozen=True)
class LineReading:
    """The reading of a line.

    Attributes:
        index: of the line among all lines of the page, in reading order.
        crop: the line, cut out.
        symbols: from left to right.
    """

    index: int
    crop: LineCrop
    symbols: list[Symbol]

    @property
    def confidence(self) -> float:
        """The product of the confidences of its symbols; 0 if ink is left over."""
        return math.prod(symbol.confidence for symbol in self.symbols)


@dataclass(frozen=True)
class PageReading:
    """The reading of a page.

    Attributes:
        lines: that are numbers.
        others: lines that are not numbers.
        source: the page.
        quarter_turns: by which the page was rotated counterclockwise to be read.
    """

    lines: list[LineReading]
    others: list[LineReading]
    source: Page
    quarter_turns: int

    @property
    def text(self) -> str:
        """The labels of its lines, also of digits that are not accepted."""
        return "\n".join("".join(symbol.label for symbol in line.symbols) for line in self.lines)

    @property
    def accepted(self) -> int:
        """The number of accepted digits."""
        return sum(symbol.accepted for line in self.lines for symbol in line.symbols)

    @property
    def doubtful(self) -> int:
        """The number of places that may be a digit and are not accepted, on the whole page."""
        symbols = (symbol for line in (*self.lines, *self.others) for symbol in line.symbols)
        return sum(symbol.is_doubtful for symbol in symbols)

    @property
    def accepted_share(self) -> float:
        """The share of digits that are accepted, on the whole page."""
        return self.accepted / max(self.accepted + self.doubtful, 1)

    @property
    def score(self) -> float:
        """How good the reading is, compared with others of the same page; see `line_score`.

        One long line is likelier than several short ones.
        """
        if not self.lines:
            return -math.inf
        scores = sum(
            line_score(line.symbols) * (1 if len(line.symbols) > 1 else _ONE_SYMBOL_WEIGHT)
            for line in (*self.lines, *self.others)
        )
        return scores - _LINE_COST * (len(self.lines) - 1)

    @property
    def log_confidence(self) -> float:
        """The logarithm of the probability that the page is read without an error, as `lines`.

        Left-over ink is an error if it is a digit. -inf if there is no line.
        """
        if not self.lines:
            return -math.inf
        symbols = (symbol for line in self.lines for symbol in line.symbols if not symbol.is_other)
        return sum(
            math.log(
                _LEFT_OVER_PROBABILITY
                if symbol.label == UNKNOWN
                else max(symbol.confidence, _MIN_PROBABILITY)
            )
            for symbol in symbols
        )

    @property
    def longest(self) -> int:
        """The number of symbols of the longest line."""
        return max((len(line.symbols) for line in self.lines), default=0)

    @property
    def has_number_besides_ones(self) -> bool:
        """Whether it is a number, and neither only strokes, which may be 1s, nor one letter.

        Some line has several symbols, some accepted digit is not a 1, and some line is not two
        touching symbols, which may be one letter, such as a B read as 13.
        """
        accepted = {
            symbol.label for line in self.lines for symbol in line.symbols if symbol.accepted
        }
        apart = self.longest > 2 or not all(_is_touching_pair(line.symbols) for line in self.lines)
        return self.longest > 1 and apart and bool(accepted - {"1"})

    def is_upside_down(self, other: "PageReading") -> bool:
        """Return whether another reading is this one upside down, as 66 and 99 are.

        The readings differ by half a turn, and their texts are each other's rotated by it.
        """
        half_turn = (other.quarter_turns - self.quarter_turns) % 4 == 2
        return half_turn and other.text == self.text[::-1].translate(_UPSIDE_DOWN)

    def recognition(self) -> Recognition:
        """Return the recognition, with boxes in pixels of the upright original."""
        lines: list[str] = []
        digits: list[Digit] = []
        confidences: list[float] = []
        for line in (*self.lines, *self.others):
            line_index = None
            if line in self.lines:
                line_index = len(lines)
                lines.append(
                    "".join(symbol.label if symbol.accepted else UNKNOWN for symbol in line.symbols)
                )
                confidences.append(line.confidence)
            for symbol in line.symbols:
                rotated = line.crop.page_box(symbol.box)
                box = _rotate_box_back(rotated, self.quarter_turns, self.source.decoded.gray.shape)
                box = self.source.original_box(box)
                digits.append(Digit(box, _prediction(symbol), line_index, len(digits)))
        return Recognition(tuple(lines), tuple(digits), tuple(confidences))


def _prediction(symbol: Symbol) -> Prediction:
    scores = np.zeros(10, np.float32) if symbol.prediction is None else symbol.prediction.scores
    return Prediction(symbol.label, symbol.confidence, scores, symbol.accepted)


def line_score(symbols: list[Symbol]) -> float:
    """Return how good a reading of a line is, compared with others of the same line.

    It is the sum of the confidences of the accepted digits, less `_DOUBT_COST` for each doubtful
    place.
    """
    accepted = sum(symbol.confidence for symbol in symbols if symbol.accepted)
    return accepted - _DOUBT_COST * sum(symbol.is_doubtful for symbol in symbols)


def proposed_indices(symbols: list[Symbol]) -> list[int | None]:
    """Return the index of each symbol in `proposed_text`; None for left-over ink."""
    indices: list[int | None] = []
    proposed = 0
    for symbol in symbols:
        indices.append(None if symbol.is_left_over else proposed)
        proposed += not symbol.is_left_over
    return indices


def proposed_text(symbols: list[Symbol]) -> str:
    """Return the labels of all symbols but left-over ink."""
    return "".join(symbol.label for symbol in symbols if not symbol.is_left_over)


def is_number(symbols: list[Symbol]) -> bool:
    """Return whether a line is certainly a number, not letters or other marks.

    If fewer than two digits are accepted, the line reader must be confident that all symbols are
    digits, but for brackets around them.
    """
    if _are_in_brackets(symbols):
        symbols = symbols[1:-1]
    accepted = sum(symbol.accepted for symbol in symbols)
    if accepted < 2:
        all_digits = all(
            symbol.accepted
            or (symbol.label != UNKNOWN and symbol.proposal_confidence >= _MIN_PROPOSAL_CONFIDENCE)
            for symbol in symbols
        )
        return all_digits and (accepted > 0 or len(symbols) > 1)
    digits = accepted + sum(symbol.is_doubtful for symbol in symbols)
    return accepted >= _MIN_ACCEPTED_SHARE * digits and accepted >= _MIN_DIGIT_SHARE * len(symbols)


def _are_in_brackets(symbols: list[Symbol]) -> bool:
    """Return whether a line begins and ends with a narrow symbol, taller than those between."""
    if len(symbols) < 3 or not (symbols[0].is_other and symbols[-1].is_other):
        return False
    tallest = max(symbol.box[3] - symbol.box[1] for symbol in symbols[1:-1])
    for left, top, right, bottom in (symbols[0].box, symbols[-1].box):
        height = bottom - top
        if height < _MIN_BRACKET_RATIO * tallest or right - left > _MAX_BRACKET_ASPECT * height:
            return False
    return True


def promote_best_candidate(page: PageReading) -> PageReading:
    """Return a page without a number with its best candidate, so that a clear crop is not empty."""
    candidates = [
        line for line in page.others if _may_be_number(line) and not may_be_one_letter(line.symbols)
    ]
    if not candidates:
        return page
    chosen = max(candidates, key=lambda line: _proposed_digits(line.symbols))
    return replace(page, lines=[chosen], others=[line for line in page.others if line != chosen])


def promote_all_candidates(page: PageReading) -> PageReading:
    """Return a page of numbers with all lines that may be numbers, too, in reading order.

    Beside numbers, ink like a digit is rather a digit than a letter.
    """
    candidates = list(filter(_may_be_number, page.others))
    if not candidates:
        return page
    lines = sorted((*page.lines, *candidates), key=lambda line: line.index)
    others = [line for line in page.others if line not in candidates]
    return replace(page, lines=lines, others=others)


def _may_be_number(line: LineReading) -> bool:
    digits = _proposed_digits(line.symbols)
    return digits >= _MIN_PROPOSED_SHARE * len(line.symbols) and (
        digits > 1 or _has_probable_digit(line.symbols)
    )


def _has_probable_digit(symbols: list[Symbol]) -> bool:
    """Return whether some symbol is a digit other than 1 according to both networks."""
    return any(
        symbol.label not in ("1", UNKNOWN)
        and symbol.proposal_confidence >= _MIN_PROPOSAL_CONFIDENCE
        and symbol.confidence >= _PROBABLE
        for symbol in symbols
    )


def _proposed_digits(symbols: list[Symbol]) -> int:
    """Return the number of digits of which the line reader is confident."""
    return sum(
        symbol.label != UNKNOWN and symbol.proposal_confidence >= _MIN_CANDIDATE_CONFIDENCE
        for symbol in symbols
    )


def may_be_one_letter(symbols: list[Symbol]) -> bool:
    """Return whether two symbols may be one letter, as 13 may be a B.

    Each such letter, like an H, K, N or R, begins with a stem, which is read as 1.
    """
    return (
        _is_narrow_pair(symbols) and symbols[0].label == "1" and not all(map(_is_certain, symbols))
    )


def _is_certain(symbol: Symbol) -> bool:
    """Return whether both networks are certain of a digit."""
    prediction = symbol.prediction
    return (
        symbol.accepted
        and symbol.proposal_confidence >= CERTAIN
        and prediction is not None
        and prediction.accepted
        and prediction.label == symbol.label
    )


def _is_narrow_pair(symbols: list[Symbol]) -> bool:
    """Return whether a line is two touching symbols, together as narrow as a letter."""
    if not _is_touching_pair(symbols):
        return False
    first, second = symbols[0].box, symbols[1].box
    width = second[2] - first[0]
    height = max(first[3], second[3]) - min(first[1], second[1])
    return width < _MAX_LETTER_ASPECT * height


def _is_touching_pair(symbols: list[Symbol]) -> bool:
    return len(symbols) == 2 and symbols[1].box[0] <= symbols[0].box[2] + 1


def reject_all(page: PageReading) -> PageReading:
    """Return a page with all of its digits rejected."""
    lines = [
        replace(line, symbols=[replace(symbol, accepted=False) for symbol in line.symbols])
        for line in page.lines
    ]
    return replace(page, lines=lines)


def _rotate_box_back(
    box: tuple[float, float, float, float], quarter_turns: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Convert a box on a rotated page to the page of `shape` (height, width)."""
    left, top, right, bottom = box
    height, width = shape[:2]
    if quarter_turns == 1:
        left, top, right, bottom = width - bottom, left, width - top, right
    elif quarter_turns == 2:
        left, top, right, bottom = width - right, height - bottom, width - left, height - top
    elif quarter_turns == 3:
        left, top, right, bottom = top, height - right, bottom, height - left
    return (
        max(math.floor(left), 0),
        max(math.floor(top), 0),
        min(math.ceil(right), width),
        min(math.ceil(bottom), height),
    )
