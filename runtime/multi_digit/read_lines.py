"""Reads the numbers on a page: a line reader proposes, the digit network verifies.

`read_lines` finds the text lines, crops them, has the line reader read each crop and the digit
network check each digit. If much stays unknown, it looks at the page in other ways: with digits
that the rim cuts off, with the other polarity, turned; and keeps the most certain reading.
`Classifier.read` calls it for models of the ten digits.
"""

import difflib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from runtime.backends import Pixels
from runtime.multi_digit.layout import Writing, find_writing
from runtime.multi_digit.line_crop import LineCrop, crop_line, crop_whole
from runtime.multi_digit.line_reader import LineReader
from runtime.multi_digit.recognize import UNKNOWN, Digit, Recognition, decode_page
from runtime.multi_digit.verify import Sign, verify
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.pipeline import scale_box

_MIN_DIGIT_SHARE = 0.2  # of a line's signs; with fewer digits it is text
_MAX_LETTER_ASPECT = 0.95  # width / height of touching signs that may be one letter
_MIN_ACCEPTED_SHARE = 0.34  # of a line's digits; with fewer accepted it is not a number
_MIN_PROPOSED_CONFIDENCE = 0.9  # of the line reader, if fewer than two digits are accepted
# If there is no other number on a page, a doubtful line is one if the line reader is sure of …
_MIN_PROPOSED_SHARE = 0.6  # … this share of its signs …
_MIN_DOUBTFUL_CONFIDENCE = 0.7  # … by this confidence
_MIN_WHOLE_ASPECT = 0.6  # width / height of a picture that may be a tight crop of one line
_GOOD_SHARE = 0.8  # of the signs accepted; then the page is not looked at in other ways
_POOR_SHARE = 0.5  # with fewer accepted, it is also looked at turned
_STRETCHES = (0.85, 1.2)  # widths in which a line is read again, if …
_CERTAIN = 0.95  # … the line reader gives one of its digits less than this
_UPRIGHT_DIGITS = "23457"  # they are not digits upside down, or other ones if written sloppily
_MIN_UPRIGHT_DIGITS = 2  # of them are needed to believe that a page is turned

# Which of two readings is better: certain digits that …
_DOUBT_COST = 0.5  # … a doubtful place weighs
_ONE_SIGN_WEIGHT = 0.2  # … a line of one digit weighs, which may be any stroke
_LINE_COST = 0.9  # … a further line weighs


def read_lines(
    decoder: CachedDecoder,
    reader: LineReader,
    predict: Callable[[list[Pixels]], list[Prediction]],
    keep_unknown: bool = True,
) -> Recognition:
    """Read all numbers in an image.

    Args:
        decoder: of the image.
        reader: proposes the signs of each line.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        keep_unknown: whether places that are not certainly one digit are in the text as `UNKNOWN`;
            otherwise they are omitted.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    decoded, writing = decode_page(decoder)
    best = _read(_crops(writing), reader, predict)
    doubtful = [best]
    for turns, crops in _other_views(decoded.gray, writing, best, decoder.name):
        found = _read(crops, reader, predict, turns)
        if found.score > best.score and (not turns or found.is_upright()):
            best = found
        if not turns:
            doubtful.append(found)
    if not best.lines:
        best = max((_with_doubtful_line(page) for page in doubtful), key=lambda page: page.score)
    x = decoded.size[0] / decoded.gray.shape[1]
    y = decoded.size[1] / decoded.gray.shape[0]
    return best.recognition(decoded.gray.shape, x, y, keep_unknown)


@dataclass(frozen=True)
class _Line:
    crop: LineCrop
    signs: list[Sign]

    @property
    def confidence(self) -> float:
        return math.prod(sign.confidence for sign in self.signs)


@dataclass(frozen=True)
class _Page:
    """The reading of a page.

    Attributes:
        lines: with digits.
        others: lines that are not numbers.
        turns: by how many right angles the page was turned counterclockwise to be read.
    """

    lines: list[_Line]
    others: list[_Line]
    turns: int

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
            _sureness(line.signs) * (1 if len(line.signs) > 1 else _ONE_SIGN_WEIGHT)
            for line in (*self.lines, *self.others)
        )
        return sure - _LINE_COST * (len(self.lines) - 1)

    def is_upright(self) -> bool:
        """Return whether a turned page is certainly read the right way up.

        Upside down, some digits are others: 6 and 9, and a sloppy 2, 5, 0, 1 or 8.
        """
        labels = [sign.label for line in self.lines for sign in line.signs if sign.accepted]
        distinct = sum(label in _UPRIGHT_DIGITS for label in labels)
        return self.share >= _GOOD_SHARE and distinct >= _MIN_UPRIGHT_DIGITS

    def recognition(
        self, shape: tuple[int, ...], x: float, y: float, keep_unknown: bool
    ) -> Recognition:
        """Convert to the pixels of the upright original, whose scale is `x` and `y`."""
        lines: list[str] = []
        digits: list[Digit] = []
        confidences: list[float] = []
        for line in (*self.lines, *self.others):
            number = None
            if line in self.lines:
                text = "".join(
                    sign.label if sign.accepted else UNKNOWN * keep_unknown for sign in line.signs
                )
                number = len(lines)
                lines.append(text)
                confidences.append(line.confidence)
            for sign in line.signs:
                box = _turn_back(line.crop.page_box(sign.box), self.turns, shape)
                digits.append(Digit(scale_box(box, x, y), _prediction(sign), number, len(digits)))
        return Recognition(tuple(lines), tuple(digits), tuple(confidences))


def _prediction(sign: Sign) -> Prediction:
    scores = np.zeros(10, np.float32) if sign.prediction is None else sign.prediction.scores
    return Prediction(sign.label, sign.confidence, scores, sign.accepted)


def _crops(writing: Writing | None) -> list[LineCrop]:
    """Crop the lines of a page."""
    if writing is None:
        return []
    crops = (crop_line(writing, line) for line in writing.text_lines())
    return [crop for crop in crops if crop is not None]


def _read(
    crops: list[LineCrop],
    reader: LineReader,
    predict: Callable[[list[Pixels]], list[Prediction]],
    turns: int = 0,
) -> _Page:
    """Read the lines of a page that was turned by `turns` right angles."""
    lines: list[_Line] = []
    others: list[_Line] = []
    for crop in crops:
        signs = _read_crop(crop, reader, predict)
        if signs:
            line = _Line(crop, signs)
            is_number = _is_number(signs) and not _may_be_one_letter(signs)
            (lines if is_number else others).append(line)
    return _Page(lines, others, turns)


def _read_crop(
    crop: LineCrop, reader: LineReader, predict: Callable[[list[Pixels]], list[Prediction]]
) -> list[Sign]:
    """Read a line; if a digit is not certain, also narrower and wider, and let the readings vote.

    The reading that two of them have is taken, otherwise the surest. A digit that is not certain
    has to be in another reading, too.
    """
    first = reader.read(crop.ink)
    signs = verify(crop, first, predict)
    if all(sign.is_other or (sign.accepted and sign.proposed >= _CERTAIN) for sign in signs):
        return signs
    readings = [first, *(reader.read(crop.ink, stretch) for stretch in _STRETCHES)]
    texts = ["".join(one.label for one in reading) for reading in readings]
    number = next((n for n, text in enumerate(texts) if texts.count(text) > 1), 0)
    if number:
        signs = verify(crop, readings[number], predict)
    elif texts.count(texts[0]) == 1 and not all(s.is_other or s.accepted for s in signs):
        verified = [signs, *(verify(crop, reading, predict) for reading in readings[1:])]
        number = max(range(len(verified)), key=lambda n: _sureness(verified[n]))
        signs = verified[number]
    confirmed: set[int] = set()
    for other in (*texts[:number], *texts[number + 1 :]):
        matcher = difflib.SequenceMatcher(None, texts[number], other, autojunk=False)
        for place, _, size in matcher.get_matching_blocks():
            confirmed.update(range(place, place + size))
    places = iter(range(len(texts[number])))
    return [
        sign
        if not sign.proposed or next(places) in confirmed or sign.proposed >= _CERTAIN
        else replace(sign, accepted=False)
        for sign in signs
    ]


def _sureness(signs: list[Sign]) -> float:
    """Return how sure a reading of a line is, compared with others of the same line."""
    sure = sum(sign.confidence for sign in signs if sign.accepted)
    return sure - _DOUBT_COST * sum(not sign.accepted and not sign.is_other for sign in signs)


def _is_number(signs: list[Sign]) -> bool:
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


def _with_doubtful_line(page: _Page) -> _Page:
    """Return a page with the line that may be a number, so that a clear crop is not empty."""
    candidates = [
        line
        for line in page.others
        if not _may_be_one_letter(line.signs)
        and _proposed_digits(line.signs) >= max(2, _MIN_PROPOSED_SHARE * len(line.signs))
    ]
    if not candidates:
        return page
    chosen = max(candidates, key=lambda line: _proposed_digits(line.signs))
    return replace(page, lines=[chosen], others=[line for line in page.others if line != chosen])


def _proposed_digits(signs: list[Sign]) -> int:
    """Return how many digits the line reader is sure of."""
    return sum(
        sign.label != UNKNOWN and sign.proposed >= _MIN_DOUBTFUL_CONFIDENCE for sign in signs
    )


def _may_be_one_letter(signs: list[Sign]) -> bool:
    """Return whether two signs are one piece of ink that is as narrow as a B, which is a 13."""
    if len(signs) != 2:
        return False
    first, second = signs[0].box, signs[1].box
    width = second[2] - first[0]
    height = max(first[3], second[3]) - min(first[1], second[1])
    return second[0] <= first[2] + 1 and width < _MAX_LETTER_ASPECT * height


def _other_views(
    gray: Gray, writing: Writing | None, first: _Page, name: str
) -> Iterator[tuple[int, list[LineCrop]]]:
    """Yield other ways to look at a page: how often it is turned, and its lines.

    A picture that may be a tight crop of one line is always read as a whole, too: its rim cuts off
    digits, which are then not found as writing.
    """
    height, width = gray.shape
    numbers = sum(sum(sign.accepted for sign in line.signs) > 1 for line in first.lines)
    if width >= _MIN_WHOLE_ASPECT * height and numbers <= 1:
        whole = crop_whole(gray)
        if whole is not None:
            yield 0, [whole]
    if first.share >= _GOOD_SHARE:
        return
    rim = find_writing(gray, name, at_rim=True)
    if rim is not None and (writing is None or abs(math.log(rim.height / writing.height)) > 0.2):
        yield 0, _crops(rim)
    if first.share >= _POOR_SHARE and first.lines:
        return
    dark = not (writing is None or writing.dark)
    yield 0, _crops(find_writing(gray, name, dark=dark, at_rim=True))
    for turns in (1, 3, 2):
        yield turns, _crops(find_writing(np.ascontiguousarray(np.rot90(gray, turns)), name))


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
