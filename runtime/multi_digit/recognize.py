"""Recognizes the numbers on a page, by oversegmentation and dynamic programming.

`recognize` detects text lines and splits each component of ink that may be several digits into
fragments. It classifies every plausible join of neighboring fragments, and chooses the sequence of
joins with the lowest cost. The cost of a digit is the negative logarithm of its confidence plus
penalties for its shape and its cuts. `Classifier.read` calls it for models of classes other than
the ten digits; for models of the digits it calls `runtime.multi_digit.read_lines`.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from runtime.backends import Pixels
from runtime.errors import ImageError
from runtime.multi_digit.layout import (
    InkComponent,
    Writing,
    find_writing,
    too_much_ink,
)
from runtime.multi_digit.shadows import even_light
from runtime.multi_digit.sheet import isolate_sheet
from runtime.multi_digit.split_touching import merge_components, split_at_seams
from runtime.multi_digit.straighten import find_slope, straighten, turn_box_back
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder, Decoded, ImageSource
from runtime.preprocess.mnist_format import tight_to_mnist_format
from runtime.preprocess.pipeline import scale_box
from runtime.preprocess.segment import Box, dilate_thin_strokes, is_filled_shape

UNKNOWN = "?"  # in the text, for ink that is not a digit

# The page is decoded at one size; if its digits are too low, again at a larger one.
_DETECTION_SIDE_PX = 1024  # text is detected on a copy of at most this side
_MIN_DIGIT_HEIGHT_PX = 24  # if a typical digit is lower, the page is decoded again, larger
_TARGET_DIGIT_HEIGHT_PX = 40  # height of a typical digit in the larger copy
_MAX_SIDE_PX = 4096  # longer side of the larger copy
_MAX_PAGE_PIXELS = 4096 * 3072  # of the larger copy
_MAX_VIEWS_PIXELS = 4_000_000  # of a larger copy that is looked at in several views
_OTHER_SIGN_CONFIDENCE = 0.5  # of the line reader, that a sign is not a digit
# Views of a picture.
_PICTURE = "picture"  # as it is
_SHEET = "sheet"  # the sheet that it shows alone
_EVEN = "even"  # in even light
# A picture that may have shadows: its shorter side, and of its height that of a digit. In others,
# the edge of a shadow is like a stroke.
_MIN_SHADOWED_SIDE_PX = 200
_MAX_SHADOWED_HEIGHT_SHARE = 0.2
# If all ink of a picture is in so few pieces that are higher than that, they may be a shadow or a
# gray card with digits on it. Digits of this share of the picture's height are then looked for.
_MAX_SHADOW_PIECES = 3
_DIGIT_HEIGHT_SHARE = 0.08
MAX_HELD_PIXELS = 8_000_000  # a larger decoded picture is freed before lines are detected
# Memory of reading, in bytes per pixel of the picture or in bytes; measured on a sheet on a desk,
# which is looked at in all views. See tests/runtime/multi_digit/test_recognize.py.
_SMALL_PICTURE_BYTES_PER_PIXEL = 90
_READING_BYTES = 56_000_000  # of a larger picture, besides the following
_VIEWS_BYTES_PER_PIXEL = 22  # of up to _MAX_VIEWS_PIXELS
_PAGE_BYTES_PER_PIXEL = 7.2  # of one view of up to _MAX_PAGE_PIXELS

# Lengths are in digit heights: the height of a typical digit on the page.
_MAX_UNCUT_WIDTH_HEIGHTS = 0.7  # a wider component is split
_MIN_UNCUT_CONFIDENCE = 0.95  # a component with less confidence is split
_MAX_GAP_HEIGHTS = 0.25  # components with a wider gap are not joined to one digit
_MIN_DIGIT_HEIGHTS = 0.4  # lower ink is not a digit
_MAX_DIGIT_WIDTH_HEIGHTS = 1.7  # wider ink is not a digit

# Costs of a digit in nats, added to -log(confidence). Chosen on MNIST's training digits, set side
# by side, touching and overlapping.
_REJECTED_COST = 0.2  # if the prediction is not accepted
_CUT_COST = 0.12  # if it is cut from its left neighbor
_CUT_INK_COST = 1.0  # per digit height of ink that this cut goes through
_GAP_COST = 0.07  # per gap between the components that it is joined from
_WIDE_COST = 0.85  # per unit of width / height above _WIDE_ASPECT
_WIDE_ASPECT = 0.85  # width / height; wider digits cost extra
_LOW_COST = 0.45  # per digit height below _LOW_HEIGHTS
_LOW_HEIGHTS = 1.05  # digit heights; lower digits cost extra
_MIN_ASPECT_HEIGHTS = 0.6  # digit heights; for width / height, a lower digit counts as this high
_MIN_CONFIDENCE = 1e-6  # a lower confidence counts as this, so that the cost is finite

_MAX_FRAGMENTS = 12  # of one digit; joins of more fragments are not tried
_MAX_JOINED_PIXELS = 24_000_000  # of all joins in a line, 4 bytes each; with more, it is rejected
_MAX_JOINS = 8_500  # on a page, as 2,000 handwritten digits need, 0.12 ms each; more are rejected


@dataclass(frozen=True)
class Digit:
    """One piece of ink that was classified: a digit, or something that was rejected.

    Attributes:
        box: left, top, right, bottom in pixels of the upright original; right and bottom exclusive.
        prediction: of the classifier; not `accepted` if it is not a digit.
        line: index of its line in `Recognition.lines`; None if it is in none of them.
        order: index in reading order: by line, then from left to right; ink that is in no line
            comes last.
    """

    box: Box
    prediction: Prediction
    line: int | None
    order: int


@dataclass(frozen=True)
class Recognition:
    """The digits and lines that were recognized in an image.

    Attributes:
        lines: the text of each line, from top to bottom: the label of each accepted digit, and
            `UNKNOWN` for each place that is not certainly one digit.
        digits: everything that was classified, also rejected ink.
        confidences: of each line, from 0 to 1: the product of the confidences of its digits.
    """

    lines: tuple[str, ...]
    digits: tuple[Digit, ...]
    confidences: tuple[float, ...] = ()

    @property
    def unknown(self) -> int:
        """The number of places in the lines that are not certainly one digit."""
        numbered = (digit for digit in self.digits if digit.line is not None)
        return sum(not digit.prediction.accepted for digit in numbered)

    @property
    def text(self) -> str:
        """The lines, separated by newlines."""
        return "\n".join(self.lines)

    @property
    def has_other_signs_only(self) -> bool:
        """Whether the line reader sees several signs that are not digits, and nothing else.

        A single sign may still be a digit in a form that the line reader does not know.
        """
        predictions = [digit.prediction for digit in self.digits]
        return len(predictions) > 1 and all(
            prediction.label == UNKNOWN and prediction.confidence >= _OTHER_SIGN_CONFIDENCE
            for prediction in predictions
        )

    def without_unknown(self) -> "Recognition":
        """Return the recognition with the accepted digits alone in its lines."""
        texts = [
            "".join(
                digit.prediction.label
                for digit in self.digits
                if digit.line == line and digit.prediction.accepted
            )
            for line in range(len(self.lines))
        ]
        kept = [line for line, text in enumerate(texts) if text]
        digits = tuple(
            replace(digit, line=kept.index(digit.line) if digit.line in kept else None)
            for digit in self.digits
        )
        return Recognition(
            tuple(texts[line] for line in kept),
            digits,
            tuple(self.confidences[line] for line in kept),
        )


def recognize(
    image: "ImageSource | CachedDecoder",
    predict: Callable[[list[Pixels]], list[Prediction]],
    digits_only: bool = True,
) -> Recognition:
    """Read all digits in an image.

    Args:
        image: see `runtime.preprocess.decode.decode`; or a `CachedDecoder`.
        predict: returns the predictions for pixels, uint8 (28, 28, 1) each.
        digits_only: whether to reject ink whose size or stroke width is not that of a digit. Other
            classes may be filled, low or wide.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    decoder = image if isinstance(image, CachedDecoder) else CachedDecoder(image)
    page = max(decode_page(decoder), key=lambda page: page.pieces)
    layout = None if page.writing is None else page.writing.layout()
    if layout is None:
        return Recognition((), ())
    decoder.release(MAX_HELD_PIXELS)
    lines: list[str] = []
    digits: list[Digit] = []
    confidences: list[float] = []
    joins = 0
    for components in layout.lines:
        fragments = _oversegment(components, layout.height, predict)
        spans = _spans(fragments, layout.height)
        joins += len(spans)
        if joins > _MAX_JOINS or _joined_pixels(fragments, spans) > _MAX_JOINED_PIXELS:
            raise too_much_ink(decoder.name)
        line = _read_line(fragments, spans, layout.height, predict, digits_only)
        text = "".join(
            prediction.label if prediction.accepted else UNKNOWN for _, prediction in line
        )
        for component, prediction in line:
            box = page.original_box(component.box)
            digits.append(Digit(box, prediction, len(lines) if text else None, len(digits)))
        if text:
            lines.append(text)
            confidences.append(math.prod(prediction.confidence for _, prediction in line))
    return Recognition(tuple(lines), tuple(digits), tuple(confidences))


def estimate_page_memory(size: tuple[int, int]) -> int:
    """Estimate the memory in bytes to read a picture, besides the decoded picture.

    Args:
        size: (width, height) of the picture in pixels.
    """
    pixels = size[0] * size[1]
    views = _VIEWS_BYTES_PER_PIXEL * min(pixels, _MAX_VIEWS_PIXELS)
    page = round(_PAGE_BYTES_PER_PIXEL * min(pixels, _MAX_PAGE_PIXELS))
    return min(_SMALL_PICTURE_BYTES_PER_PIXEL * pixels, _READING_BYTES + max(views, page))


def single_digit(prediction: Prediction) -> Recognition:
    """Return the recognition of an image with one digit.

    Args:
        prediction: of the whole image, with its `view`.
    """
    assert prediction.view is not None
    digit = Digit(prediction.view.box, prediction, 0, 0)
    return Recognition((prediction.label,), (digit,), (prediction.confidence,))


def as_unknown_digit(recognition: Recognition) -> Recognition:
    """Return a recognition of one line of one digit with this digit rejected."""
    digits = tuple(
        replace(digit, prediction=replace(digit.prediction, accepted=False))
        for digit in recognition.digits
    )
    return replace(recognition, lines=(UNKNOWN,), digits=digits)


def without_lines(recognition: Recognition) -> Recognition:
    """Return a recognition whose digits are all rejected."""
    return Recognition(
        (),
        tuple(
            replace(digit, line=None, prediction=replace(digit.prediction, accepted=False))
            for digit in recognition.digits
        ),
    )


@dataclass(frozen=True)
class Page:
    """A decoded picture and its writing.

    Attributes:
        decoded: the picture; its surroundings may be replaced by paper.
        writing: in its pixels; None if there is none.
        slope: by which the picture was straightened.
        view: what of the picture it shows, see `_look`.
    """

    decoded: Decoded
    writing: Writing | None
    slope: float
    view: str = _PICTURE

    def original_box(self, box: Box) -> Box:
        """Convert a box on the page to the pixels of the upright original."""
        shape = self.decoded.gray.shape
        x, y = self.decoded.size[0] / shape[1], self.decoded.size[1] / shape[0]
        return scale_box(turn_box_back(box, self.slope, shape), x, y)

    @property
    def pieces(self) -> int:
        """The number of pieces of ink that may be digits."""
        return 0 if self.writing is None else len(self.writing.groups)


def decode_page(decoder: CachedDecoder) -> list[Page]:
    """Decode a picture and find its writing, at a larger scale if the digits are low.

    Returns:
        The picture; if it shows a sheet on a desk, the sheet alone, too; if its light has a sharp
        edge, the picture in even light, too. Of a large picture, the one with most writing alone,
        because each takes up to 40 MB.

    Raises:
        ImageError: the picture cannot be decoded, or has more ink than a page of digits.
    """
    for color in (False, True):
        decoded = decoder.decode(longest=_DETECTION_SIDE_PX, color=color)
        pages = _pages(decoded, decoder.name)
        most = max(pages, key=lambda page: page.pieces)
        if most.writing is not None or not decoded.colored:
            break
    if (
        most.writing is not None
        and most.writing.height < _MIN_DIGIT_HEIGHT_PX
        and max(decoded.size) > _DETECTION_SIDE_PX
    ):
        wanted = round(max(decoded.gray.shape) * _TARGET_DIGIT_HEIGHT_PX / most.writing.height)
        aspect = max(decoded.size) / min(decoded.size)
        largest = int(math.sqrt(_MAX_PAGE_PIXELS * aspect))
        longest = min(wanted, max(decoded.size), _MAX_SIDE_PX, largest)
        view, dark = most.view, most.writing.dark
        height = most.writing.height / max(decoded.gray.shape)
        enlarged = decoder.decode(longest=longest, color=color)
        decoder.release(MAX_HELD_PIXELS)
        if enlarged.gray.size <= _MAX_VIEWS_PIXELS:
            found = _pages(enlarged, decoder.name)
        else:
            digit = height * max(enlarged.gray.shape)
            one = _look(view, enlarged, decoder.name, dark, digit)
            found = [] if one is None else [one]
        if any(page.writing is not None for page in found):
            return found
    return pages


def _pages(decoded: Decoded, name: str) -> list[Page]:
    """Find the writing of a picture, of the sheet that it shows, and of it without shadows.

    If the picture seems to have light ink, or none, dark ink is looked for, too: a dark corner or
    a pen may outweigh the ink, so that the polarity is wrong.

    Raises:
        ImageError: the picture has more ink than a page of digits, and the others no writing.
    """

    def look(view: str, dark: bool | None = None, height: float = 0.0) -> Page | None:
        with suppress(ImageError):
            return _look(view, decoded, name, dark, height)
        return None

    refused: ImageError | None = None
    picture: Page | None = None
    try:
        picture = _look(_PICTURE, decoded, name, None, 0.0)
    except ImageError as error:
        refused = error
    pages = [picture or Page(decoded, None, 0.0)]
    if pages[0].writing is None or not pages[0].writing.dark:
        again = look(_PICTURE, dark=True)
        pages += [again] if again is not None else []
    writing = pages[-1].writing
    if writing is not None and writing.dark:
        height, most = writing.height, _MAX_SHADOWED_HEIGHT_SHARE * len(decoded.gray)
        if height > most and len(writing.groups) <= _MAX_SHADOW_PIECES:
            height = _DIGIT_HEIGHT_SHARE * len(decoded.gray)
        even = look(_EVEN, height=height)
        pages += [even] if even is not None else []
    sheet = look(_SHEET)
    pages += [sheet] if sheet is not None else []
    if refused is not None and all(page.writing is None for page in pages):
        raise refused
    return pages


def _look(view: str, decoded: Decoded, name: str, dark: bool | None, height: float) -> Page | None:
    """Find the writing of a picture, of the sheet that it shows, or of it without shadows.

    Args:
        view: `_PICTURE`, `_SHEET` or `_EVEN`.
        decoded: the picture.
        name: of the picture, for error messages.
        dark: of a picture, whether ink is darker than the paper; None if that is not known.
        height: of a typical digit in pixels, to find shadows.

    Returns:
        The page; None if the picture shows no sheet, or has no shadow with a sharp edge.

    Raises:
        ImageError: it has more ink than a page of digits.
    """
    gray = decoded.gray
    if view == _SHEET:
        sheet = isolate_sheet(gray)
        if sheet is None:
            return None
        gray, dark = sheet
    elif view == _EVEN:
        is_low = height <= _MAX_SHADOWED_HEIGHT_SHARE * len(gray)
        is_large = min(gray.shape) >= _MIN_SHADOWED_SIDE_PX
        even = even_light(gray, height) if is_low and is_large else None
        if even is None:
            return None
        gray, dark = even, True
    slope = find_slope(gray)
    if slope:
        gray = straighten(gray, slope)
    decoded = replace(decoded, gray=gray)
    return Page(decoded, find_writing(decoded.gray, name, dark=dark), slope, view)


@dataclass(frozen=True)
class _Fragment:
    """A component of ink, or a piece of one; a digit consists of one or more fragments.

    Attributes:
        component: its ink and box.
        cut: whether it was cut from the fragment to its left.
        cost: of this cut, in nats.
        joinable: whether it may be one digit with the fragment to its left.
        prediction: of a component that was not cut; otherwise None.
    """

    component: InkComponent
    cut: bool
    cost: float
    joinable: bool
    prediction: Prediction | None


def _oversegment(
    components: tuple[InkComponent, ...],
    height: float,
    predict: Callable[[list[Pixels]], list[Prediction]],
) -> list[_Fragment]:
    """Split the components of a line into fragments, except those that are surely one digit.

    Args:
        components: of one line, from left to right.
        height: of a typical digit, in pixels.
        predict: see `recognize`.
    """
    predictions = predict([_pixels(component) for component in components])
    to_split = [
        number
        for number, (component, prediction) in enumerate(zip(components, predictions, strict=True))
        if component.box[2] - component.box[0] > _MAX_UNCUT_WIDTH_HEIGHTS * height
        or prediction.confidence < _MIN_UNCUT_CONFIDENCE
        or not prediction.accepted
    ]
    parts_of = {number: [(component, 0.0)] for number, component in enumerate(components)}
    pieces = split_at_seams([components[number] for number in to_split], height)
    parts_of.update(zip(to_split, pieces, strict=True))
    fragments: list[_Fragment] = []
    for number, (component, prediction) in enumerate(zip(components, predictions, strict=True)):
        parts = parts_of[number]
        uncut = prediction if [part.box for part, _ in parts] == [component.box] else None
        left_end = components[number - 1].box[2]
        near = number > 0 and component.box[0] - left_end < _MAX_GAP_HEIGHTS * height
        for index, (part, ink) in enumerate(parts):
            cost = _CUT_COST + _CUT_INK_COST * ink if index else 0.0
            fragments.append(_Fragment(part, index > 0, cost, index > 0 or near, uncut))
    return fragments


def _read_line(
    fragments: list[_Fragment],
    spans: list[tuple[int, int]],
    height: float,
    predict: Callable[[list[Pixels]], list[Prediction]],
    digits_only: bool,
) -> list[tuple[InkComponent, Prediction]]:
    """Join the fragments of a line to digits at the lowest total cost, by dynamic programming.

    Args:
        fragments: of the line, from left to right.
        spans: see `_spans`.
        height: of a typical digit, in pixels.
        predict: see `recognize`.
        digits_only: see `recognize`.

    Returns:
        The ink and the prediction of each digit, from left to right.
    """
    joined = [
        merge_components([fragment.component for fragment in fragments[first:last]])
        for first, last in spans
    ]
    known = [fragments[first].prediction if last == first + 1 else None for first, last in spans]
    unknown = [
        _pixels(component)
        for component, prediction in zip(joined, known, strict=True)
        if prediction is None
    ]
    new = iter(predict(unknown))
    predictions = [next(new) if prediction is None else prediction for prediction in known]
    if digits_only:
        predictions = [
            replace(prediction, accepted=prediction.accepted and _is_digit(component, height))
            for component, prediction in zip(joined, predictions, strict=True)
        ]
    ending: list[list[tuple[int, InkComponent, Prediction]]] = [[] for _ in fragments]
    for (first, last), component, prediction in zip(spans, joined, predictions, strict=True):
        ending[last - 1].append((first, component, prediction))
    best: list[tuple[float, list[tuple[InkComponent, Prediction]]]] = [(0.0, [])]
    for end, candidates in enumerate(ending, 1):
        options = [
            (
                best[first][0] + _cost(component, height, prediction, fragments[first:end]),
                first,
                component,
                prediction,
            )
            for first, component, prediction in candidates
        ]
        cost, first, component, prediction = min(options, key=lambda option: option[0])
        best.append((cost, [*best[first][1], (component, prediction)]))
    return best[-1][1]


def _spans(fragments: list[_Fragment], height: float) -> list[tuple[int, int]]:
    """Return first and last (exclusive) index of all runs of fragments that may be one digit."""
    spans = []
    for first, fragment in enumerate(fragments):
        left, _, right, _ = fragment.component.box
        spans.append((first, first + 1))
        for last in range(first + 1, min(first + _MAX_FRAGMENTS, len(fragments))):
            box = fragments[last].component.box
            left, right = min(left, box[0]), max(right, box[2])
            if not fragments[last].joinable or right - left > _MAX_DIGIT_WIDTH_HEIGHTS * height:
                break
            spans.append((first, last + 1))
    return spans


def _joined_pixels(fragments: list[_Fragment], spans: list[tuple[int, int]]) -> int:
    """Return the number of pixels in the boxes of all spans."""
    pixels = 0
    for first, last in spans:
        boxes = [fragment.component.box for fragment in fragments[first:last]]
        width = max(box[2] for box in boxes) - min(box[0] for box in boxes)
        pixels += width * (max(box[3] for box in boxes) - min(box[1] for box in boxes))
    return pixels


def _is_digit(component: InkComponent, height: float) -> bool:
    """Return whether size and stroke width are those of a digit."""
    left, top, right, bottom = component.box
    fits = (
        bottom - top > _MIN_DIGIT_HEIGHTS * height
        and right - left < _MAX_DIGIT_WIDTH_HEIGHTS * height
    )
    return fits and not is_filled_shape(component.ink > 0.5)


def _cost(
    component: InkComponent, height: float, prediction: Prediction, fragments: list[_Fragment]
) -> float:
    """Return the cost in nats of reading some joined fragments as one digit."""
    left, top, right, bottom = component.box
    digit_heights = (bottom - top) / height
    aspect = (right - left) / height / max(digit_heights, _MIN_ASPECT_HEIGHTS)
    return (
        -math.log(max(prediction.confidence, _MIN_CONFIDENCE))
        + _REJECTED_COST * (not prediction.accepted)
        + fragments[0].cost
        + _GAP_COST * sum(not fragment.cut for fragment in fragments[1:])
        + _WIDE_COST * max(0, aspect - _WIDE_ASPECT)
        + _LOW_COST * max(0, _LOW_HEIGHTS - digit_heights)
    )


def _pixels(component: InkComponent) -> Pixels:
    """Convert a component to the pixels that the model takes."""
    return tight_to_mnist_format(dilate_thin_strokes(component.ink))
