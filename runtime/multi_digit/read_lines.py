"""Reads the numbers on a page: a line reader proposes, the digit network verifies.

`read_lines` finds the text lines, crops them, has the line reader read each crop and the digit
network check each digit. If much stays unknown, it looks at the page in other ways: with digits
that the rim cuts off, with the other polarity, turned; and keeps the most certain reading.
`Classifier.read` calls it for models of the ten digits.

The work of a page is limited (`_Work`). A page is rejected if its first reading exceeds the limit.
Further readings are omitted if they do not fit.
"""

import difflib
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from runtime.backends import Pixels
from runtime.errors import ImageError
from runtime.multi_digit.layout import Writing, find_writing, too_much_ink
from runtime.multi_digit.line_crop import LineCrop, crop_line, crop_whole
from runtime.multi_digit.line_reader import LineReader, Reading
from runtime.multi_digit.recognize import (
    MAX_HELD_PIXELS,
    UNKNOWN,
    Digit,
    Page,
    Recognition,
    decode_page,
)
from runtime.multi_digit.verify import Predict, Sign, verify
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from runtime.preprocess.grayscale import Gray

_MIN_DIGIT_SHARE = 0.2  # of a line's signs; with fewer digits it is text
_MAX_LETTER_ASPECT = 0.95  # width / height of touching signs that may be one letter
_MIN_ACCEPTED_SHARE = 0.34  # of a line's digits; with fewer accepted it is not a number
_MIN_PROPOSED_CONFIDENCE = 0.9  # of the line reader, if fewer than two digits are accepted
# If there is no other number on a page, a doubtful line is one if the line reader is sure of …
_MIN_PROPOSED_SHARE = 0.5  # … this share of its signs …
_MIN_DOUBTFUL_CONFIDENCE = 0.7  # … by this confidence
_PROBABLE = 0.5  # confidence of both networks in one of them
_MIN_WHOLE_ASPECT = 0.6  # width / height of a picture that may be a tight crop of one line
_GOOD_LOG_CONFIDENCE = -0.5  # that all digits are right; then …
_LOW_DIGITS_SHARE = 0.25  # … digits of less than the picture's height are no tight crop
_GOOD_SHARE = 0.8  # of the signs accepted; then the page is not looked at in other ways
_POOR_SHARE = 0.5  # with fewer accepted, it is also looked at turned
_STRETCHES = (0.85, 1.2)  # widths in which a line is read again, if …
_CERTAIN = 0.95  # … the line reader gives one of its digits less than this
_AGREED = 0.98  # confidence of a digit in one of several views of a page that agree on its line
_SURE = 0.999  # confidence of a digit that another view of the page need not have
_LEFT_OVER_CONFIDENCE = 0.3  # that ink which is read as nothing is no digit
# Logarithms of the probability that a page is read without an error. Chosen on composed lines of
# writers who are not trained on, and on all of them turned.
_UPRIGHT_LOG_CONFIDENCE = -0.05  # from here on the page is not turned
_TURNED_LOG_CONFIDENCE = -0.4  # the least of a page that is turned
_OPPOSITE_LOG_RATIO = 0.1  # by which it exceeds that of the page turned by 180° more
# The turned page that a doubtful page may be:
_MIN_TURNED_GAIN = 1.0  # by which its score is higher
_MIN_TURNED_SIGNS = 3  # on a turned line; fewer may be parts of one digit

# Estimated time of reading a page, on one core of a server of the 2020s.
_MAX_WORK_NS = 1_600_000_000  # with decoding; a page of 2,000 digits takes 1.4 s
_MAX_FURTHER_NS = 650_000_000  # the same with further readings of lines and of the page
_PIXEL_NS = 55  # per pixel in which writing is found
_WHOLE_PIXEL_NS = 40  # per pixel of a picture that is taken for one line
_COLUMN_NS = 3_000  # per column of a line, scaled to the line reader's height
_GROUP_NS = 80_000  # per group of components that is arranged in lines
_LINE_NS = 3_000_000  # per line that is straightened and read
_PIECE_NS = 110_000  # per piece that is cut out and verified; a digit has one to nine
_AUGMENT_NS = 1_500_000  # per digit that is scored again with test-time augmentation
_PIECE_PIXEL_NS = 30  # per pixel from which it is cut out

# Which of two readings is better: certain digits that …
_DOUBT_COST = 0.5  # … a doubtful place weighs
_ONE_SIGN_WEIGHT = 0.2  # … a line of one digit weighs, which may be any stroke
_LINE_COST = 0.9  # … a further line weighs

_Confirm: TypeAlias = Callable[[Prediction, Pixels, Callable[[], bool]], bool]


def read_lines(
    decoder: CachedDecoder,
    reader: LineReader,
    predict: Predict,
    confirm: _Confirm,
    keep_unknown: bool = True,
) -> Recognition:
    """Read all numbers in an image.

    Args:
        decoder: of the image.
        reader: proposes the signs of each line.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        confirm: returns whether an accepted prediction stays accepted after test-time augmentation;
            its third argument is called first and returns whether to augment.
        keep_unknown: whether places that are not certainly one digit are in the text as `UNKNOWN`;
            otherwise they are omitted.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    source, *others = decode_page(decoder)
    decoder.release(MAX_HELD_PIXELS)
    work = _Work(decoder.work_ns + _PIXEL_NS * source.decoded.gray.size * (1 + len(others)))
    page_reader = _PageReader(reader, predict, confirm, work)
    try:
        best = page_reader.read(_crops(source.writing, work))
    except _TooMuchWork:
        raise too_much_ink(decoder.name) from None
    for other in others:
        with suppress(_TooMuchWork):
            found = page_reader.read(_crops(other.writing, work))
            if found.score > best.score:
                best, source = found, other
    pages = [best]
    gray = source.decoded.gray
    for crops in _other_views(gray, source.writing, best, decoder.name, work):
        with suppress(_TooMuchWork):
            found = page_reader.read(crops)
            pages.append(found)
            if found.score > best.score:
                best = found
    best = _look_turned(best, gray, decoder.name, page_reader, work)
    if not best.turns:
        best = _elect(best, pages)
    if best.lines:
        best = _with_doubtful_lines(best)
    else:
        best = max(map(_with_doubtful_line, pages), key=lambda page: page.score)
    return best.recognition(source, keep_unknown)


class _TooMuchWork(Exception):
    """The work of a page would exceed a limit."""


@dataclass
class _Work:
    """Adds up the estimated time of reading a page.

    Attributes:
        ns: nanoseconds until now.
        limit_ns: the largest sum.
    """

    ns: float
    limit_ns: float = _MAX_WORK_NS

    def fits(self, ns: float) -> bool:
        """Return whether further work of this time is within the limit."""
        return self.ns + ns <= self.limit_ns

    def add(self, ns: float) -> None:
        """Add work, before it is done.

        Raises:
            _TooMuchWork: it is beyond the limit; it does not count then.
        """
        if not self.fits(ns):
            raise _TooMuchWork
        self.ns += ns


@dataclass(frozen=True)
class _Line:
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

    def recognition(self, source: Page, keep_unknown: bool) -> Recognition:
        """Convert to the pixels of the upright original."""
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
                turned = line.crop.page_box(sign.box)
                box = _turn_back(turned, self.turns, source.decoded.gray.shape)
                box = source.original_box(box)
                digits.append(Digit(box, _prediction(sign), number, len(digits)))
        return Recognition(tuple(lines), tuple(digits), tuple(confidences))


def _prediction(sign: Sign) -> Prediction:
    scores = np.zeros(10, np.float32) if sign.prediction is None else sign.prediction.scores
    return Prediction(sign.label, sign.confidence, scores, sign.accepted)


def _crops(writing: Writing | None, work: _Work) -> list[LineCrop]:
    """Crop the lines of a page.

    Raises:
        _TooMuchWork: there are too many.
    """
    if writing is None:
        return []
    work.add(_GROUP_NS * len(writing.groups))
    lines = writing.text_lines()
    work.add(_LINE_NS * len(lines))
    crops = (crop_line(writing, line) for line in lines)
    return [crop for crop in crops if crop is not None]


class _PageReader:
    """Reads lines, within the limit of work.

    Args:
        reader: proposes the signs of each line.
        predict: see `read_lines`.
        confirm: see `read_lines`.
        work: of the page, until now.
    """

    def __init__(
        self, reader: LineReader, predict: Predict, confirm: _Confirm, work: _Work
    ) -> None:
        self._reader, self._predict, self._confirm, self._work = reader, predict, confirm, work

    def read(self, crops: list[LineCrop], turns: int = 0) -> _Page:
        """Read the lines of a page that was turned by `turns` right angles.

        Raises:
            _TooMuchWork: the lines have too many columns or signs.
        """
        self._work.add(_COLUMN_NS * sum(crop.columns for crop in crops))
        readings = [self._reader.read(crop.ink) for crop in crops]
        if not self._work.fits(_PIECE_NS * sum(map(len, readings))):
            raise _TooMuchWork
        verified = list(map(self._verify, crops, readings))
        self._work.limit_ns = _MAX_FURTHER_NS
        lines: list[_Line] = []
        others: list[_Line] = []
        for number, crop in enumerate(crops):
            if verified[number]:
                voted = self._vote(crop, readings[number], verified[number])
                is_number = _is_number(voted) and not _may_be_one_letter(voted)
                (lines if is_number else others).append(_Line(number, crop, voted))
        return _Page(lines, others, turns)

    def may_be_upside_down(self, page: _Page) -> bool:
        """Return whether the line reader is surer of a page's lines if they are turned by 180°."""
        try:
            self._work.add(_COLUMN_NS * sum(line.crop.columns for line in page.lines))
        except _TooMuchWork:
            return False
        turned = [self._reader.read(line.crop.ink[::-1, ::-1]) for line in page.lines]
        confidences = [sign.proposed for line in page.lines for sign in line.signs if sign.proposed]
        turned_confidences = [reading.confidence for line in turned for reading in line]
        return _log_product(turned_confidences) > _log_product(confidences)

    def _verify(self, crop: LineCrop, reading: list[Reading]) -> list[Sign]:
        """Verify a line.

        Raises:
            _TooMuchWork: too many pieces of ink have to be cut out.
        """

        def count_pieces(pieces: int, pixels: int) -> None:
            self._work.add(_PIECE_NS * pieces + _PIECE_PIXEL_NS * pixels)

        def may_augment() -> bool:
            fits = self._work.fits(_AUGMENT_NS)
            if fits:
                self._work.add(_AUGMENT_NS)
            return fits

        def confirm(prediction: Prediction, pixels: Pixels) -> bool:
            return self._confirm(prediction, pixels, may_augment)

        return verify(crop, reading, self._predict, confirm, count_pieces)

    def _vote(self, crop: LineCrop, first: list[Reading], signs: list[Sign]) -> list[Sign]:
        """If a digit is not certain, read a line narrower and wider, too, and let all vote.

        The reading that two of them have is taken, otherwise the surest. A digit that is not
        certain has to be in another reading, too. A line whose further readings are too much work
        keeps the first one, and only its certain digits.

        Args:
            crop: the line.
            first: what the line reader reads.
            signs: the same, verified.
        """
        if all(sign.is_other or (sign.accepted and sign.proposed >= _CERTAIN) for sign in signs):
            return signs
        readings, texts, number = [first], [_text(first)], 0
        try:
            self._work.add(_COLUMN_NS * crop.columns * sum(_STRETCHES))
            readings += [self._reader.read(crop.ink, stretch) for stretch in _STRETCHES]
            texts = list(map(_text, readings))
            number = next((n for n, text in enumerate(texts) if texts.count(text) > 1), 0)
            if number:
                signs = self._verify(crop, readings[number])
            elif texts.count(texts[0]) == 1 and not all(s.is_other or s.accepted for s in signs):
                verified = [signs, *(self._verify(crop, one) for one in readings[1:])]
                number = max(range(len(verified)), key=lambda n: _sureness(verified[n]))
                signs = verified[number]
        except _TooMuchWork:
            texts, number = texts[:1], 0
        # The digit network may have corrected a label, and a hook of a 1 is no sign any more.
        own = "".join(sign.label for sign in signs if sign.proposed)
        others = (*texts[:number], *texts[number + 1 :])
        confirmed = set().union(*(_common_places(own, other) for other in others))
        places = iter(range(len(own)))
        return [
            sign
            if not sign.proposed or next(places) in confirmed or sign.proposed >= _CERTAIN
            else replace(sign, accepted=False)
            for sign in signs
        ]


def _common_places(text: str, other: str) -> set[int]:
    """Return the places of a text that another text has in the same order."""
    matcher = difflib.SequenceMatcher(None, text, other, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return {place for start, _, size in blocks for place in range(start, start + size)}


def _elect(best: _Page, pages: list[_Page]) -> _Page:
    """Return the reading of a page of one line that two views agree on, or their best one.

    Of a reading that views agree on, a digit is accepted if one of them is certain of it or accepts
    it.

    Args:
        best: of all.
        pages: the readings of all views that are not turned.
    """
    pages = sorted((page for page in pages if len(page.lines) == 1), key=lambda page: -page.score)
    if len(best.lines) != 1 or len(pages) < 2:
        return best
    texts = [_proposed_text(page) for page in pages]
    common = max(texts, key=texts.count)
    if texts.count(common) > 1:
        agreeing = [page for page, text in zip(pages, texts, strict=True) if text == common]
        joined = map(_join, *map(_proposed_signs, agreeing))
        signs = agreeing[0].lines[0].signs
        return _with_signs(agreeing[0], [next(joined) if sign.proposed else sign for sign in signs])
    return _compare(pages[0], pages[1])


def _join(sign: Sign, *others: Sign) -> Sign:
    """Return a digit that several views agree on; accepted as `_elect` says.

    A 1, which may be a slash or an edge, has to be accepted in the first of them.
    """
    signs = (sign, *others)
    most = max(one.proposed for one in signs)
    accepted = any(one.accepted for one in signs) or most >= _AGREED
    if sign.label in ("1", UNKNOWN):
        accepted = sign.accepted
    return replace(sign, accepted=accepted, confidence=max(most * accepted, sign.confidence))


def _with_signs(page: _Page, signs: list[Sign]) -> _Page:
    return replace(page, lines=[replace(page.lines[0], signs=signs)])


def _proposed_signs(page: _Page) -> list[Sign]:
    return [sign for sign in page.lines[0].signs if sign.proposed]


def _proposed_text(page: _Page) -> str:
    return "".join(sign.label for sign in _proposed_signs(page))


def _compare(best: _Page, other: _Page) -> _Page:
    """Reject the digits of a page of one line that another view does not have.

    If that has more signs, it is taken: a doubtful place is better than a missing digit.
    """
    if len(_proposed_text(other)) > len(_proposed_text(best)):
        best, other = other, best
    text = _proposed_text(best)
    common = _common_places(text, _proposed_text(other))
    # Where the other view has ink that it cannot read, it does not contradict.
    whole = "".join(sign.label for sign in other.lines[0].signs)
    matcher = difflib.SequenceMatcher(None, text, whole, autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        if end - start == last - first:
            common |= {start + n for n in range(end - start) if whole[first + n] == UNKNOWN}
    places = iter(range(len(text)))
    signs = [
        replace(sign, accepted=False)
        if sign.proposed and next(places) not in common and sign.proposed < _SURE
        else sign
        for sign in best.lines[0].signs
    ]
    return _with_signs(best, signs)


def _log_product(confidences: list[float]) -> float:
    return sum(math.log(max(confidence, 1e-4)) for confidence in confidences)


def _text(reading: list[Reading]) -> str:
    return "".join(sign.label for sign in reading)


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
    candidates = [line for line in page.others if _may_be_number(line)]
    if not candidates:
        return page
    chosen = max(candidates, key=lambda line: _proposed_digits(line.signs))
    return replace(page, lines=[chosen], others=[line for line in page.others if line != chosen])


def _with_doubtful_lines(page: _Page) -> _Page:
    """Return a page with its lines of several signs that may be numbers, in the same order."""
    doubtful = [line for line in page.others if len(line.signs) > 1 and _may_be_number(line)]
    if not doubtful:
        return page
    lines = sorted((*page.lines, *doubtful), key=lambda line: line.number)
    return replace(page, lines=lines, others=[line for line in page.others if line not in doubtful])


def _may_be_number(line: _Line) -> bool:
    digits = _proposed_digits(line.signs)
    return (
        not _may_be_one_letter(line.signs)
        and digits >= _MIN_PROPOSED_SHARE * len(line.signs)
        and (digits > 1 or _has_probable_digit(line.signs))
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


def _may_be_one_letter(signs: list[Sign]) -> bool:
    """Return whether two signs are one piece of ink that is as narrow as a B, which is a 13.

    Each such letter, like an H, K, N or R, begins with a stem.
    """
    if len(signs) != 2 or signs[0].label != "1":
        return False
    first, second = signs[0].box, signs[1].box
    width = second[2] - first[0]
    height = max(first[3], second[3]) - min(first[1], second[1])
    return second[0] <= first[2] + 1 and width < _MAX_LETTER_ASPECT * height


def _other_views(
    gray: Gray, writing: Writing | None, first: _Page, name: str, work: _Work
) -> Iterator[list[LineCrop]]:
    """Yield other ways to look at a page: the crops of its lines.

    A picture that may be a tight crop of one line is read as a whole, too: its rim cuts off digits,
    which are then not found as writing. A view is omitted if it is too much work, or has more ink
    than a page of digits.
    """
    numbers = sum(sum(sign.accepted for sign in line.signs) > 1 for line in first.lines)
    framed = writing is not None and bool(writing.frames.any())
    is_low = writing is not None and writing.height < _LOW_DIGITS_SHARE * len(gray)
    is_good = first.log_confidence >= _GOOD_LOG_CONFIDENCE
    if numbers <= 1 and not framed and not (is_low and is_good):
        yield from _whole_views(gray, work)
    if first.share >= _GOOD_SHARE:
        return
    rim = _find(gray, name, work, at_rim=True)
    if rim is not None and (writing is None or abs(math.log(rim.height / writing.height)) > 0.2):
        with suppress(_TooMuchWork):
            yield _crops(rim, work)
    if first.share >= _POOR_SHARE and first.lines:
        return
    dark = not (writing is None or writing.dark)
    with suppress(_TooMuchWork):
        yield _crops(_find(gray, name, work, dark=dark, at_rim=True), work)


def _whole_views(gray: Gray, work: _Work) -> Iterator[list[LineCrop]]:
    """Yield a picture that may be a tight crop of one line, as a whole."""
    height, width = gray.shape
    whole_ns = 2 * _WHOLE_PIXEL_NS * gray.size
    if width >= _MIN_WHOLE_ASPECT * height and work.fits(whole_ns):
        work.add(whole_ns)
        for all_rows in (False, True):
            whole = crop_whole(gray, all_rows)
            if whole is not None:
                yield [whole]


def _find(
    gray: Gray, name: str, work: _Work, dark: bool | None = None, at_rim: bool = False
) -> Writing | None:
    """Find the writing of a picture; None if it is too much work or ink."""
    try:
        work.add(_PIXEL_NS * gray.size)
        return find_writing(gray, name, dark=dark, at_rim=at_rim)
    except (_TooMuchWork, ImageError):
        return None


def _look_turned(
    best: _Page, gray: Gray, name: str, page_reader: _PageReader, work: _Work
) -> _Page:
    """Return the reading of a page that may be turned by right angles.

    If the page is turned by 90°, the digits of its lines are not side by side: each is a line of
    its own, or none is found. Upside down, many digits look like others, but rarely all of a line
    like very certain ones. A turned page is read only if the upright one is doubtful. If
    it can be read both ways, or is turned by an unknown angle, no digit is accepted.

    Args:
        best: the reading of the page as it is.
        gray: the page.
        name: of the picture.
        page_reader: reads the turned pages.
        work: of the page, until now.
    """
    if best.log_confidence >= _UPRIGHT_LOG_CONFIDENCE and best.longest > 1:
        return best
    if best.longest > 1 and best.share >= _GOOD_SHARE:
        turns_tried = (2,) if page_reader.may_be_upside_down(best) else ()
    else:
        turns_tried = (1, 3, 2)
    readings = []
    for turns in turns_tried:
        turned = np.ascontiguousarray(np.rot90(gray, turns))
        with suppress(_TooMuchWork):
            found = page_reader.read(_crops(_find(turned, name, work), work), turns)
            if not found.lines and turns != 2:
                for crops in _whole_views(turned, work):
                    found = max(found, page_reader.read(crops, turns), key=lambda page: page.score)
            readings.append(found)
    readings = [page for page in readings if page.longest > 1 and page.score > best.score]
    certain = [
        page
        for page in readings
        if page.log_confidence >= _TURNED_LOG_CONFIDENCE and page.share >= _GOOD_SHARE
    ]
    if certain:
        chosen = max(certain, key=lambda page: page.log_confidence)
        opposite = [
            page for page in readings if page is not chosen and (page.turns - chosen.turns) % 2 == 0
        ]
        if all(
            page.log_confidence < chosen.log_confidence - _OPPOSITE_LOG_RATIO for page in opposite
        ):
            return chosen
        return _with_all_unknown(chosen)
    longer = [
        page
        for page in readings
        if page.longest >= _MIN_TURNED_SIGNS and page.score > max(best.score, 0) + _MIN_TURNED_GAIN
    ]
    if longer:
        return _with_all_unknown(max(longer, key=lambda page: page.score))
    return best


def _with_all_unknown(page: _Page) -> _Page:
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
