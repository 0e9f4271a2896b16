"""Reads the numbers on a page: a line reader proposes, the digit network verifies.

`read_lines` finds the text lines, crops them, has the line reader read each crop and the digit
network check each digit. If much stays unknown, it looks at the page in other ways: with digits
that the rim cuts off, with the other polarity, turned; and keeps the most certain reading.
`Classifier.read` calls it for models of the ten digits.

The work of a page is limited (`_Work`). A page is rejected if its first reading exceeds the limit.
Further readings are omitted if they do not fit.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from runtime.backends import Pixels
from runtime.errors import ImageError
from runtime.multi_digit.layout import Writing, find_writing, too_much_ink
from runtime.multi_digit.line_crop import LineCrop, crop_lines, crop_whole
from runtime.multi_digit.line_reader import LineReader, Reading
from runtime.multi_digit.page_reading import (
    LineReading,
    PageReading,
    is_number,
    may_be_one_letter,
    sureness,
    with_all_unknown,
    with_doubtful_line,
    with_doubtful_lines,
)
from runtime.multi_digit.page_views import common_places, elect
from runtime.multi_digit.recognize import MAX_HELD_PIXELS, Page, Recognition, decode_page
from runtime.multi_digit.verify import Predict, Sign, verify
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from runtime.preprocess.grayscale import Gray

_MIN_WHOLE_ASPECT = 0.6  # width / height of a picture that may be a tight crop of one line
_LOW_DIGITS_SHARE = 0.25  # of the picture's height; a tight crop has higher digits
_GOOD_SHARE = 0.8  # of the signs accepted; then the page is not looked at in other ways
_POOR_SHARE = 0.5  # with fewer accepted, it is also looked at with the other polarity
_STRETCHES = (0.85, 1.2)  # widths in which a line is read again, if …
_CERTAIN = 0.995  # … the line reader gives one of its digits less than this
# Logarithms of the probability that a page is read without an error. Chosen on composed lines of
# writers who are not trained on, and on all of them turned.
_GOOD_LOG_CONFIDENCE = -0.5  # from here on a page of low digits is not read as a whole
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

_Confirm: TypeAlias = Callable[[Prediction, Pixels, Callable[[], bool]], bool]


def read_lines(
    decoder: CachedDecoder,
    reader: LineReader,
    predict: Predict,
    confirm: _Confirm,
) -> Recognition:
    """Read all numbers in an image.

    Args:
        decoder: of the image.
        reader: proposes the signs of each line.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        confirm: returns whether an accepted prediction stays accepted after test-time augmentation;
            its third argument is called first and returns whether to augment.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    sources = decode_page(decoder)
    decoder.release(MAX_HELD_PIXELS)
    picture = sources[0]
    work = _Work(decoder.work_ns + _PIXEL_NS * picture.decoded.gray.size * len(sources))
    page_reader = _PageReader(reader, predict, confirm, work)
    pages: list[PageReading] = []
    for source in sorted(sources, key=lambda page: -page.pieces):
        with suppress(_TooMuchWork):
            pages.append(page_reader.read(_crops(source.writing, work), source))
    if not pages:
        raise too_much_ink(decoder.name)
    best = max(pages, key=_score)
    pages = [best]
    for source, crops in _other_views(best, picture, decoder.name, work):
        with suppress(_TooMuchWork):
            pages.append(page_reader.read(crops, source))
    best = max(pages, key=_score)
    best = _look_turned(best, decoder.name, page_reader, work)
    if not best.turns:
        best = elect(best, pages)
    if best.lines:
        best = with_doubtful_lines(best)
    else:
        best = max(map(with_doubtful_line, pages), key=_score)
    return best.recognition()


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
    return crop_lines(writing, lines)


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

    def read(self, crops: list[LineCrop], source: Page, turns: int = 0) -> PageReading:
        """Read the lines of a page, `source`, that was turned by `turns` right angles.

        Raises:
            _TooMuchWork: the lines have too many columns or signs.
        """
        self._work.add(_COLUMN_NS * sum(crop.columns for crop in crops))
        readings = [self._reader.read(crop.ink) for crop in crops]
        if not self._work.fits(_PIECE_NS * sum(map(len, readings))):
            raise _TooMuchWork
        verified = list(map(self._verify, crops, readings))
        self._work.limit_ns = _MAX_FURTHER_NS
        lines: list[LineReading] = []
        others: list[LineReading] = []
        for number, crop in enumerate(crops):
            if verified[number]:
                voted = self._vote(crop, readings[number], verified[number])
                chosen = lines if is_number(voted) and not may_be_one_letter(voted) else others
                chosen.append(LineReading(number, crop, voted))
        return PageReading(lines, others, source, turns)

    def may_be_upside_down(self, page: PageReading) -> bool:
        """Return whether the line reader is surer of a page's lines if they are turned by 180°."""
        try:
            self._work.add(_COLUMN_NS * sum(line.crop.columns for line in page.lines))
        except _TooMuchWork:
            return False
        turned = [self._reader.read(line.crop.ink[::-1, ::-1]) for line in page.lines]
        confidences = [sign.proposed for line in page.lines for sign in line.signs if sign.proposed]
        turned_confidences = [reading.confidence for line in turned for reading in line]
        if not turned_confidences:
            return False
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
                number = max(range(len(verified)), key=lambda n: sureness(verified[n]))
                signs = verified[number]
        except _TooMuchWork:
            texts, number = texts[:1], 0
        # The labels of `signs` may differ from the text: the digit network corrects digits, and the
        # hook of a 1 is dropped.
        own = "".join(sign.label for sign in signs if sign.proposed)
        others = (*texts[:number], *texts[number + 1 :])
        confirmed = set().union(*(common_places(own, other) for other in others))
        places = iter(range(len(own)))
        return [
            sign
            if not sign.proposed or next(places) in confirmed or sign.proposed >= _CERTAIN
            else replace(sign, accepted=False)
            for sign in signs
        ]


def _score(page: PageReading) -> float:
    return page.score


def _log_product(confidences: list[float]) -> float:
    return sum(math.log(max(confidence, 1e-4)) for confidence in confidences)


def _text(reading: list[Reading]) -> str:
    return "".join(sign.label for sign in reading)


def _other_views(
    first: PageReading, picture: Page, name: str, work: _Work
) -> Iterator[tuple[Page, list[LineCrop]]]:
    """Yield other ways to look at a page: the page that is looked at, and the crops of its lines.

    A picture that may be a tight crop of one line is read as a whole, too: its rim cuts off digits,
    which are then not found as writing. A view is omitted if it is too much work, or has more ink
    than a page of digits.

    Args:
        first: the best reading until now.
        picture: as it was decoded, also if `first` is of a sheet in it.
        name: of the picture.
        work: of the page, until now.
    """
    source = first.source
    gray, writing = source.decoded.gray, source.writing
    numbers = sum(sum(sign.accepted for sign in line.signs) > 1 for line in first.lines)
    framed = writing is not None and bool(writing.frames.any())
    is_low = writing is not None and writing.height < _LOW_DIGITS_SHARE * len(gray)
    is_good = first.log_confidence >= _GOOD_LOG_CONFIDENCE and first.longest > 1
    if numbers <= 1 and not (is_low and is_good and not framed):
        for crops in _whole_views(picture.decoded.gray, work):
            yield picture, crops
    if first.share >= _GOOD_SHARE:
        return
    rim = _find(gray, name, work, at_rim=True)
    if rim is not None and (writing is None or abs(math.log(rim.height / writing.height)) > 0.2):
        with suppress(_TooMuchWork):
            yield source, _crops(rim, work)
    if first.share >= _POOR_SHARE and first.lines:
        return
    dark = not (writing is None or writing.dark)
    with suppress(_TooMuchWork):
        yield source, _crops(_find(gray, name, work, dark=dark, at_rim=True), work)


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
    best: PageReading, name: str, page_reader: _PageReader, work: _Work
) -> PageReading:
    """Return the reading of a page that may be turned by right angles.

    If the page is turned by 90°, the digits of its lines are not side by side: each is a line of
    its own, or none is found. Upside down, many digits look like others, but rarely all of a line
    like very certain ones. A turned page is read only if the upright one is doubtful, and not if it
    is the same number upside down, such as 66 and 99. If the turned page can be read both ways, or
    its digits are doubtful, too, no digit is accepted.

    Args:
        best: the reading of the page as it is.
        name: of the picture.
        page_reader: reads the turned pages.
        work: of the page, until now.
    """
    if best.log_confidence >= _UPRIGHT_LOG_CONFIDENCE and best.longest > 1:
        return best
    side_by_side = best.longest > 1 and best.share >= _GOOD_SHARE
    if side_by_side and not page_reader.may_be_upside_down(best):
        return best
    readings = []
    for turns in (2,) if side_by_side else (1, 3, 2):
        turned = np.ascontiguousarray(np.rot90(best.source.decoded.gray, turns))
        with suppress(_TooMuchWork):
            crops = _crops(_find(turned, name, work), work)
            found = page_reader.read(crops, best.source, turns)
            readings.append(found)
            if not found.lines and turns != 2:
                for crops in _whole_views(turned, work):
                    found = page_reader.read(crops, best.source, turns)
                    readings[-1] = max(readings[-1], found, key=_score)
    readings = [
        page
        for page in readings
        if page.score > best.score
        and page.is_number
        and not best.is_upside_down(page)
        # One digit turned may look like two.
        and (page.accepted >= _MIN_TURNED_SIGNS or best.accepted != 1)
    ]
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
        return with_all_unknown(chosen)
    longer = [
        page
        for page in readings
        if page.longest >= _MIN_TURNED_SIGNS and page.score > max(best.score, 0) + _MIN_TURNED_GAIN
    ]
    if longer:
        return with_all_unknown(max(longer, key=_score))
    return best
