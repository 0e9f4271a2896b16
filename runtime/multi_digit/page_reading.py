"""The reading of a page: its lines, how certain they are, and whether they are numbers."""

import math
from dataclasses import dataclass, replace

import numpy as np

from runtime.multi_digit.line_crop import LineCrop
from runtime.multi_digit.recognize import UNKNOWN, Digit, Page, Recognition
from runtime.multi_digit.verify import CERTAIN, Sign
from runtime.prediction import Prediction

_MIN_DIGIT_SHARE = 0.2  # of a line's signs; with fewer digits it is text
_MAX_LETTER_ASPECT = 0.95  # width / height of touching signs that may be one letter
_MIN_ACCEPTED_SHARE = 0.34  # of a line's digits; with fewer accepted it is not a number
_MIN_PROPOSED_CONFIDENCE = 0.9  # of the line reader, if fewer than two digits are accepted
# A line that is not certainly a number is in the text, with `?`, if the line reader is sure of …
_MIN_PROPOSED_SHARE = 0.5  # … this share of its signs …
_MIN_DOUBTFUL_CONFIDENCE = 0.7  # … by this confidence
_PROBABLE = 0.5  # confidence of both networks in one of them
_UPSIDE_DOWN = str.maketrans("69", "96")  # other digits that turn into digits stay the same
_LEFT_OVER_CONFIDENCE = 0.3  # probability that ink without a label is not a digit

# Which of two readings is better: certain digits that …
_DOUBT_COST = 0.5  # … a doubtful place weighs
_ONE_SIGN_WEIGHT = 0.2  # … a line of one digit weighs, which may be any stroke
_LINE_COST = 0.9  # … a further line weighs


@dataclass(frozen=True)
class LineReading:
    """The reading of a line.

    Attributes:
        number: its place on the page, in reading order.
        crop: its ink.
        signs: from left to right.
    """

    number: int
    crop: LineCrop
    signs: list[Sign]

    @property
    def confidence(self) -> float:
        """The product of the confidences of its digits."""
        return math.prod(sign.confidence for sign in self.signs)


@dataclass(frozen=True)
class PageReading:
    """The reading of a page.

    Attributes:
        lines: with digits.
        others: lines that are not numbers.
        source: the page.
        turns: by how many right angles the page was turned counterclockwise to be read.
    """

    lines: list[LineReading]
    others: list[LineReading]
    source: Page
    turns: int

    @property
    def text(self) -> str:
        """The labels of its lines, also of digits that are not accepted."""
        return "\n".join("".join(sign.label for sign in line.signs) for line in self.lines)

    @property
    def accepted(self) -> int:
        """The number of accepted digits."""
        return sum(sign.accepted for line in self.lines for sign in line.signs)

    @property
    def doubtful(self) -> int:
        """The number of places that may be a digit and are not accepted."""
        signs = (sign for line in (*self.lines, *self.others) for sign in line.signs)
        return sum(not sign.accepted and not sign.is_other for sign in signs)

    @property
    def share(self) -> float:
        """The share of digits that are accepted, on the whole page."""
        return self.accepted / max(self.accepted + self.doubtful, 1)

    @property
    def score(self) -> float:
        """How good the reading is, compared with others of the same page.

        One long line is likelier than several short ones.
        """
        if not self.lines:
            return -math.inf
        sure = sum(
            sureness(line.signs) * (1 if len(line.signs) > 1 else _ONE_SIGN_WEIGHT)
            for line in (*self.lines, *self.others)
        )
        return sure - _LINE_COST * (len(self.lines) - 1)

    @property
    def log_confidence(self) -> float:
        """The logarithm of the probability that all digits are right."""
        if not self.lines:
            return -math.inf
        signs = (sign for line in self.lines for sign in line.signs if not sign.is_other)
        return sum(
            math.log(_LEFT_OVER_CONFIDENCE if sign.label == UNKNOWN else max(sign.confidence, 1e-4))
            for sign in signs
        )

    @property
    def longest(self) -> int:
        """The number of signs of the longest line."""
        return max((len(line.signs) for line in self.lines), default=0)

    @property
    def is_number(self) -> bool:
        """Whether it is more than strokes, which may be 1s, and one piece of ink, such as a B."""
        accepted = {sign.label for line in self.lines for sign in line.signs if sign.accepted}
        apart = self.longest > 2 or not all(_is_one_piece(line.signs) for line in self.lines)
        return self.longest > 1 and apart and bool(accepted - {"1"})

    def is_upside_down(self, other: "PageReading") -> bool:
        """Return whether another reading is this one upside down, and each is a number."""
        return (other.turns - self.turns) % 4 == 2 and other.text == self.text[::-1].translate(
            _UPSIDE_DOWN
        )

    def recognition(self) -> Recognition:
        """Convert to the pixels of the upright original."""
        lines: list[str] = []
        digits: list[Digit] = []
        confidences: list[float] = []
        for line in (*self.lines, *self.others):
            number = None
            if line in self.lines:
                number = len(lines)
                lines.append(
                    "".join(sign.label if sign.accepted else UNKNOWN for sign in line.signs)
                )
                confidences.append(line.confidence)
            for sign in line.signs:
                turned = line.crop.page_box(sign.box)
                box = _turn_back(turned, self.turns, self.source.decoded.gray.shape)
                box = self.source.original_box(box)
                digits.append(Digit(box, _prediction(sign), number, len(digits)))
        return Recognition(tuple(lines), tuple(digits), tuple(confidences))


def _prediction(sign: Sign) -> Prediction:
    scores = np.zeros(10, np.float32) if sign.prediction is None else sign.prediction.scores
    return Prediction(sign.label, sign.confidence, scores, sign.accepted)


def sureness(signs: list[Sign]) -> float:
    """Return how sure a reading of a line is, compared with others of the same line."""
    sure = sum(sign.confidence for sign in signs if sign.accepted)
    return sure - _DOUBT_COST * sum(not sign.accepted and not sign.is_other for sign in signs)


def is_number(signs: list[Sign]) -> bool:
    """Return whether a line has digits, not only letters or other marks.

    A line with fewer than two accepted digits is a number only if the line reader is sure that all
    of its signs are digits.
    """
    accepted = sum(sign.accepted for sign in signs)
    if accepted < 2:
        return all(
            sign.accepted or (sign.label != UNKNOWN and sign.proposed >= _MIN_PROPOSED_CONFIDENCE)
            for sign in signs
        ) and (accepted > 0 or len(signs) > 1)
    doubtful = sum(not sign.accepted and not sign.is_other for sign in signs)
    return accepted >= _MIN_ACCEPTED_SHARE * (
        accepted + doubtful
    ) and accepted >= _MIN_DIGIT_SHARE * len(signs)


def with_doubtful_line(page: PageReading) -> PageReading:
    """Return a page with the line that may be a number, so that a clear crop is not empty."""
    candidates = [
        line for line in page.others if _may_be_number(line) and not may_be_one_letter(line.signs)
    ]
    if not candidates:
        return page
    chosen = max(candidates, key=lambda line: _proposed_digits(line.signs))
    return replace(page, lines=[chosen], others=[line for line in page.others if line != chosen])


def with_doubtful_lines(page: PageReading) -> PageReading:
    """Return a page with all lines that may be numbers, in the same order.

    Beside numbers, ink like a digit is rather a digit than a letter.
    """
    doubtful = list(filter(_may_be_number, page.others))
    if not doubtful:
        return page
    lines = sorted((*page.lines, *doubtful), key=lambda line: line.number)
    return replace(page, lines=lines, others=[line for line in page.others if line not in doubtful])


def _may_be_number(line: LineReading) -> bool:
    digits = _proposed_digits(line.signs)
    return digits >= _MIN_PROPOSED_SHARE * len(line.signs) and (
        digits > 1 or _has_probable_digit(line.signs)
    )


def _has_probable_digit(signs: list[Sign]) -> bool:
    """Return whether a sign is a digit, not a stroke, in the opinion of both networks."""
    return any(
        sign.label not in ("1", UNKNOWN)
        and sign.proposed >= _MIN_PROPOSED_CONFIDENCE
        and sign.confidence >= _PROBABLE
        for sign in signs
    )


def _proposed_digits(signs: list[Sign]) -> int:
    """Return how many digits the line reader is sure of."""
    return sum(
        sign.label != UNKNOWN and sign.proposed >= _MIN_DOUBTFUL_CONFIDENCE for sign in signs
    )


def may_be_one_letter(signs: list[Sign]) -> bool:
    """Return whether two signs may be one letter: B is a 13.

    Each such letter, like an H, K, N or R, begins with a stem.
    """
    return _is_narrow_pair(signs) and signs[0].label == "1" and not all(map(_is_certain, signs))


def _is_certain(sign: Sign) -> bool:
    """Return whether both networks are certain of a digit."""
    prediction = sign.prediction
    return (
        sign.accepted
        and sign.proposed >= CERTAIN
        and prediction is not None
        and prediction.accepted
        and prediction.label == sign.label
    )


def _is_narrow_pair(signs: list[Sign]) -> bool:
    """Return whether two signs are one piece of ink that is as narrow as a letter or one digit."""
    if not _is_one_piece(signs):
        return False
    first, second = signs[0].box, signs[1].box
    width = second[2] - first[0]
    height = max(first[3], second[3]) - min(first[1], second[1])
    return width < _MAX_LETTER_ASPECT * height


def _is_one_piece(signs: list[Sign]) -> bool:
    return len(signs) == 2 and signs[1].box[0] <= signs[0].box[2] + 1


def with_all_unknown(page: PageReading) -> PageReading:
    """Return a page whose digits are not accepted."""
    lines = [
        replace(line, signs=[replace(sign, accepted=False) for sign in line.signs])
        for line in page.lines
    ]
    return replace(page, lines=lines)


def _turn_back(
    box: tuple[float, float, float, float], turns: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Convert a box on a turned page to the page of `shape` (height, width)."""
    left, top, right, bottom = box
    height, width = shape[:2]
    if turns == 1:
        left, top, right, bottom = width - bottom, left, width - top, right
    elif turns == 2:
        left, top, right, bottom = width - right, height - bottom, width - left, height - top
    elif turns == 3:
        left, top, right, bottom = top, height - right, bottom, height - left
    return (
        max(math.floor(left), 0),
        max(math.floor(top), 0),
        min(math.ceil(right), width),
        min(math.ceil(bottom), height),
    )
