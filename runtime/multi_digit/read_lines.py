"""Reads the numbers on a page: the line reader proposes symbols, the digit network verifies them.

Per text line: `LineCrop` → `LineReader.read` → `Proposal`s → `verify` → `Symbol`s → `LineReading`;
per page: `PageReading`s of several views → the best one → `Recognition`.

If many symbols stay unknown, the page is read in further views: with digits that the image border
cuts off, with the other polarity, as a whole, and rotated. `Classifier.read` calls `read_lines` for
models of the ten digits.

The work of a page is limited (`_WorkBudget`). A page is rejected if no reading of it fits. Further
readings are omitted if they do not fit.
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
from runtime.multi_digit.line_reader import LineReader, Proposal
from runtime.multi_digit.page_reading import (
    LineReading,
    PageReading,
    is_number,
    line_score,
    may_be_one_letter,
    promote_all_candidates,
    promote_best_candidate,
    proposed_indices,
    proposed_text,
    reject_all,
)
from runtime.multi_digit.page_views import common_places, elect
from runtime.multi_digit.recognize import MAX_HELD_PIXELS, Page, Recognition, View, find_views
from runtime.multi_digit.verify import Predict, Symbol, accept_agreed, verify, with_cut_off_digits
from runtime.multi_digit.words import crop_word, doubtful_words, moved, replaces
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder
from runtime.preprocess.grayscale import Gray

# When a page is read in further views.
_MIN_WHOLE_ASPECT = 0.6  # width / height of an image that may be a tight crop of one line
_SMALL_DIGITS_SHARE = 0.25  # of the image's height; a tight crop of one line has taller digits
_GOOD_SHARE = 0.8  # of the digits; if fewer are accepted, views at the image border are read, too
_POOR_SHARE = 0.5  # of the digits; if fewer are accepted, the other polarity is read, too
_MIN_BORDER_LOG_RATIO = 0.2  # of the digit heights with and without ink at the image border
_GOOD_LOG_CONFIDENCE = -0.5  # from here on a page of small digits is not read as a whole

# When a line is read again.
_STRETCHES = (0.85, 1.2)  # factors of the width
_CERTAIN = 0.995  # if the line reader is less confident of a digit, the line is read again

# When a page is rotated. Log confidences are natural logarithms of the probability that a page is
# read without an error. They were chosen on composed lines of writers who are not trained on, and
# on these lines rotated.
_UPRIGHT_LOG_CONFIDENCE = -0.05  # from here on the page is not rotated
_ROTATED_LOG_CONFIDENCE = -0.4  # least log confidence of a rotated page that is certain
_OPPOSITE_LOG_RATIO = 0.1  # by how much it must exceed that of the page rotated by another 180°
_MIN_ROTATED_GAIN = 1.0  # certain digits; gain in score of a rotated page that is not certain
_MIN_ROTATED_SYMBOLS = 3  # on a line of a rotated page; fewer may be parts of one digit
_MIN_PROBABILITY = 1e-4  # a smaller confidence counts as this, so that its logarithm is finite

# Estimated time of reading a page, on one core of a server of the 2020s.
_MAX_WORK_NS = 1_600_000_000  # of a page, with decoding; one of 2,000 digits takes 1.4 s
_MAX_FURTHER_NS = 650_000_000  # of a page with all further readings, if there are any
_PIXEL_NS = 55  # per pixel in which writing is found
_WHOLE_PIXEL_NS = 40  # per pixel of an image that is read as one line
_READER_COLUMN_NS = 3_000  # per pixel of a line's width, scaled to the line reader's height
_GROUP_NS = 80_000  # per group of components that is arranged in lines
_LINE_NS = 3_000_000  # per line that is cropped and read
_PIECE_NS = 110_000  # per piece of ink that is cut out and verified; a digit has one to nine
_PIECE_PIXEL_NS = 30  # per pixel from which a piece of ink is cut out
_AUGMENT_NS = 1_500_000  # per digit that is scored again with test-time augmentation

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
        reader: proposes the symbols of each line.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        confirm: returns whether an accepted prediction stays accepted after test-time augmentation;
            its third argument is called first and returns whether to augment.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    views = find_views(decoder)
    decoder.release(MAX_HELD_PIXELS)
    image = views[0]
    work = _WorkBudget(decoder.work_ns + _PIXEL_NS * image.decoded.gray.size * len(views))
    page_reader = _PageReader(reader, predict, confirm, work)
    readings: list[PageReading] = []
    for view in sorted(views, key=lambda view: -view.pieces):
        with suppress(_TooMuchWork):
            reading = page_reader.read(_crops(view.writing, work), view)
            # Without its illumination, a bold letter falls apart into strokes like 1s.
            if view.view is not View.CARD or reading.has_number_besides_ones:
                readings.append(reading)
    if not readings:
        raise too_much_ink(decoder.name)
    best = max(readings, key=_score)
    readings = [best]
    for view, crops in _further_views(best, image, decoder.name, work):
        with suppress(_TooMuchWork):
            readings.append(page_reader.read(crops, view))
    best = max(readings, key=_score)
    best = _read_rotated(best, decoder.name, page_reader, work)
    if not best.quarter_turns:
        best = elect(best, readings)
    if best.lines:
        best = promote_all_candidates(best)
    else:
        best = max(map(promote_best_candidate, readings), key=_score)
    return best.recognition()


class _TooMuchWork(Exception):
    """The work of a page would exceed a limit."""


@dataclass
class _WorkBudget:
    """Adds up the estimated time of reading a page, and limits it.

    The estimates are added before the work is done. They do not depend on the speed of the machine,
    so the result does not either.

    Attributes:
        ns: nanoseconds until now.
        limit_ns: the largest sum.
    """

    ns: float
    limit_ns: float = _MAX_WORK_NS

    def begin_further_readings(self) -> None:
        """Lower the limit after the first reading of a page, because the others are optional."""
        self.limit_ns = _MAX_FURTHER_NS

    def fits(self, ns: float) -> bool:
        """Return whether further work of this time is within the limit."""
        return self.ns + ns <= self.limit_ns

    def add(self, ns: float) -> None:
        """Add work, before it is done.

        Raises:
            _TooMuchWork: the sum would exceed the limit; nothing is added.
        """
        if not self.fits(ns):
            raise _TooMuchWork
        self.ns += ns


def _crops(writing: Writing | None, work: _WorkBudget) -> list[LineCrop]:
    """Crop the lines of a page.

    Raises:
        _TooMuchWork: there are too many lines or digits.
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
        reader: proposes the symbols of each line.
        predict: see `read_lines`.
        confirm: see `read_lines`.
        work: of the page, until now.
    """

    def __init__(
        self, reader: LineReader, predict: Predict, confirm: _Confirm, work: _WorkBudget
    ) -> None:
        self._reader, self._predict, self._confirm, self._work = reader, predict, confirm, work

    def read(self, crops: list[LineCrop], source: Page, quarter_turns: int = 0) -> PageReading:
        """Read the lines of a page.

        Args:
            crops: its lines.
            source: the page.
            quarter_turns: by which the page was rotated counterclockwise before it was cropped.

        Raises:
            _TooMuchWork: the lines have too many columns or symbols.
        """
        self._work.add(_READER_COLUMN_NS * sum(crop.reader_width_px for crop in crops))
        all_proposals = [self._reader.read(crop.ink) for crop in crops]
        if not self._work.fits(_PIECE_NS * sum(map(len, all_proposals))):
            raise _TooMuchWork
        verified = list(map(self._verify, crops, all_proposals))
        self._work.begin_further_readings()
        lines: list[LineReading] = []
        others: list[LineReading] = []
        for index, (crop, proposals, first) in enumerate(
            zip(crops, all_proposals, verified, strict=True)
        ):
            if first:
                symbols = self._read_words(crop, self._vote(crop, proposals, first))
                symbols = with_cut_off_digits(symbols, crop)
                chosen = lines if is_number(symbols) and not may_be_one_letter(symbols) else others
                chosen.append(LineReading(index, crop, symbols))
        return PageReading(lines, others, source, quarter_turns)

    def may_be_upside_down(self, page: PageReading) -> bool:
        """Return whether the line reader is more confident if the lines are rotated by 180°."""
        width_px = sum(line.crop.reader_width_px for line in page.lines)
        try:
            self._work.add(_READER_COLUMN_NS * width_px)
        except _TooMuchWork:
            return False
        rotated = [self._reader.read(line.crop.ink[::-1, ::-1]) for line in page.lines]
        confidences = [
            symbol.proposal_confidence
            for line in page.lines
            for symbol in line.symbols
            if not symbol.is_left_over
        ]
        rotated_confidences = [proposal.confidence for line in rotated for proposal in line]
        if not rotated_confidences:
            return False
        return _log_product(rotated_confidences) > _log_product(confidences)

    def _verify(self, crop: LineCrop, proposals: list[Proposal]) -> list[Symbol]:
        """Verify the proposals for a line.

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

        return verify(crop, proposals, self._predict, confirm, count_pieces)

    def _vote(self, crop: LineCrop, first: list[Proposal], symbols: list[Symbol]) -> list[Symbol]:
        """If a digit is not certain, read a line narrower and wider, too, and let them vote.

        The reading that two of them have is taken, otherwise the one of the best score. A digit
        that is not certain is accepted only if another reading has it, too; a digit of which all
        three are confident is accepted whatever the digit network reads (`accept_agreed`). If the
        further readings are too much work, the line keeps its first reading, and only the certain
        digits of it.

        Args:
            crop: the line.
            first: the proposals of the first reading.
            symbols: the first reading, verified.
        """
        if all(
            symbol.is_other or (symbol.accepted and symbol.proposal_confidence >= _CERTAIN)
            for symbol in symbols
        ):
            return symbols
        readings, texts, taken = [first], [_text(first)], 0
        try:
            self._work.add(_READER_COLUMN_NS * crop.reader_width_px * sum(_STRETCHES))
            readings += [self._reader.read(crop.ink, stretch) for stretch in _STRETCHES]
            texts = list(map(_text, readings))
            taken = next((n for n, text in enumerate(texts) if texts.count(text) > 1), 0)
            if taken:
                symbols = self._verify(crop, readings[taken])
            elif texts.count(texts[0]) == 1 and any(symbol.is_doubtful for symbol in symbols):
                verified = [symbols, *(self._verify(crop, further) for further in readings[1:])]
                taken = max(range(len(verified)), key=lambda n: line_score(verified[n]))
                symbols = verified[taken]
        except _TooMuchWork:
            readings, texts, taken = readings[:1], texts[:1], 0
        # The labels of the symbols may differ from `texts[taken]`: the digit network corrects
        # digits, and the flag of a 1 is dropped.
        text, indices = proposed_text(symbols), proposed_indices(symbols)
        places = [common_places(text, other) for other in texts]
        confirmed = set().union(*(places[:taken] + places[taken + 1 :]))
        symbols = [
            symbol
            if index is None or index in confirmed or symbol.proposal_confidence >= _CERTAIN
            else replace(symbol, accepted=False)
            for index, symbol in zip(indices, symbols, strict=True)
        ]
        if len(readings) == 1:
            return symbols
        agreed = [
            min(
                0.0 if index not in place else reading[place[index]].confidence
                for place, reading in zip(places, readings, strict=True)
            )
            for index in indices
        ]
        return accept_agreed(symbols, agreed)

    def _read_words(self, crop: LineCrop, symbols: list[Symbol]) -> list[Symbol]:
        """Read the words of a line that have a doubtful symbol again, each from its own crop."""
        for word in reversed(doubtful_words(symbols, crop.digit_height)):
            cut = crop_word(crop, symbols[word])
            if cut is None:
                continue
            word_crop, left, top = cut
            with suppress(_TooMuchWork):
                self._work.add(_READER_COLUMN_NS * word_crop.reader_width_px)
                proposals = self._reader.read(word_crop.ink)
                again = self._vote(word_crop, proposals, self._verify(word_crop, proposals))
                again = moved(again, left, top)
                if replaces(again, symbols[word]):
                    symbols = [*symbols[: word.start], *again, *symbols[word.stop :]]
        return symbols


def _score(page: PageReading) -> float:
    return page.score


def _log_product(confidences: list[float]) -> float:
    return sum(math.log(max(confidence, _MIN_PROBABILITY)) for confidence in confidences)


def _text(proposals: list[Proposal]) -> str:
    return "".join(proposal.label for proposal in proposals)


def _further_views(
    first: PageReading, image: Page, name: str, work: _WorkBudget
) -> Iterator[tuple[Page, list[LineCrop]]]:
    """Yield further views of a page, with the crops of their lines.

    An image that may be a tight crop of one line is read as a whole, too: its border cuts off
    digits, which are then not found as writing. A view is omitted if it is too much work, or has
    more ink than a page of digits.

    Args:
        first: the best reading so far.
        image: the view of the whole image, although `first` may be of a sheet in it.
        name: of the image.
        work: of the page so far.
    """
    source = first.source
    gray, writing = source.decoded.gray, source.writing
    long_lines = sum(sum(symbol.accepted for symbol in line.symbols) > 1 for line in first.lines)
    framed = writing is not None and bool(writing.preprinted.any())
    is_small = writing is not None and writing.height < _SMALL_DIGITS_SHARE * len(gray)
    is_good = first.log_confidence >= _GOOD_LOG_CONFIDENCE and first.longest > 1
    if long_lines <= 1 and not (is_small and is_good and not framed):
        for crops in _whole_views(image.decoded.gray, work):
            yield image, crops
    if first.accepted_share >= _GOOD_SHARE:
        return
    at_border = _find(gray, name, work, at_border=True)
    if at_border is not None and (
        writing is None or abs(math.log(at_border.height / writing.height)) > _MIN_BORDER_LOG_RATIO
    ):
        with suppress(_TooMuchWork):
            yield source, _crops(at_border, work)
    if first.accepted_share >= _POOR_SHARE and first.lines:
        return
    dark = not (writing is None or writing.dark)
    with suppress(_TooMuchWork):
        yield source, _crops(_find(gray, name, work, dark=dark, at_border=True), work)


def _whole_views(gray: Gray, work: _WorkBudget) -> Iterator[list[LineCrop]]:
    """Yield an image that may be a tight crop of one line, as a whole."""
    height, width = gray.shape
    whole_ns = 2 * _WHOLE_PIXEL_NS * gray.size
    if width >= _MIN_WHOLE_ASPECT * height and work.fits(whole_ns):
        work.add(whole_ns)
        for all_rows in (False, True):
            whole = crop_whole(gray, all_rows)
            if whole is not None:
                yield [whole]


def _find(
    gray: Gray, name: str, work: _WorkBudget, dark: bool | None = None, at_border: bool = False
) -> Writing | None:
    """Find the writing of an image; None if it is too much work or ink."""
    try:
        work.add(_PIXEL_NS * gray.size)
        return find_writing(gray, name, dark=dark, at_border=at_border)
    except (_TooMuchWork, ImageError):
        return None


def _read_rotated(
    best: PageReading, name: str, page_reader: _PageReader, work: _WorkBudget
) -> PageReading:
    """Return the best reading of a page that may be rotated by quarter turns.

    If the page is rotated by 90°, the digits of its lines are not side by side: each is a line of
    its own, or none is found. Upside down, many digits look like others, but rarely all digits of a
    line like very certain ones. The rotated page is read only if the upright reading is doubtful.

    Args:
        best: the reading of the page as it is.
        name: of the image.
        page_reader: reads the rotated pages.
        work: of the page so far.
    """
    if best.log_confidence >= _UPRIGHT_LOG_CONFIDENCE and best.longest > 1:
        return best
    side_by_side = best.longest > 1 and best.accepted_share >= _GOOD_SHARE
    if side_by_side and not page_reader.may_be_upside_down(best):
        return best
    readings: list[PageReading] = []
    for quarter_turns in (2,) if side_by_side else (1, 3, 2):
        readings += _rotated_reading(best.source, quarter_turns, name, page_reader, work)
    return _choose_rotation(best, readings)


def _rotated_reading(
    source: Page, quarter_turns: int, name: str, page_reader: _PageReader, work: _WorkBudget
) -> list[PageReading]:
    """Return the reading of a rotated page; an empty list if it is too much work."""
    rotated = np.ascontiguousarray(np.rot90(source.decoded.gray, quarter_turns))
    readings: list[PageReading] = []
    with suppress(_TooMuchWork):
        crops = _crops(_find(rotated, name, work), work)
        readings.append(page_reader.read(crops, source, quarter_turns))
        if not readings[0].lines and quarter_turns != 2:
            for whole in _whole_views(rotated, work):
                readings.append(page_reader.read(whole, source, quarter_turns))
    return [max(readings, key=_score)] if readings else []


def _choose_rotation(best: PageReading, rotated: list[PageReading]) -> PageReading:
    """Choose between the upright reading of a page, `best`, and its rotated readings.

    A rotated reading is not chosen if it is the same number upside down, such as 66 and 99. If it
    is not certain, or the opposite one is about as likely, it is chosen with all digits rejected.
    """
    rotated = [
        page
        for page in rotated
        if page.score > best.score
        and page.has_number_besides_ones
        and not best.is_upside_down(page)
        # One digit rotated may look like two.
        and (page.accepted >= _MIN_ROTATED_SYMBOLS or best.accepted != 1)
    ]
    certain = [
        page
        for page in rotated
        if page.log_confidence >= _ROTATED_LOG_CONFIDENCE and page.accepted_share >= _GOOD_SHARE
    ]
    if certain:
        chosen = max(certain, key=lambda page: page.log_confidence)
        is_unambiguous = all(
            page.log_confidence < chosen.log_confidence - _OPPOSITE_LOG_RATIO
            for page in rotated
            if page is not chosen and (page.quarter_turns - chosen.quarter_turns) % 2 == 0
        )
        return chosen if is_unambiguous else reject_all(chosen)
    longer = [
        page
        for page in rotated
        if page.longest >= _MIN_ROTATED_SYMBOLS
        and page.score > max(best.score, 0) + _MIN_ROTATED_GAIN
    ]
    return reject_all(max(longer, key=_score)) if longer else best
