"""Recognizes the numbers on a page, by oversegmentation and dynamic programming.

This is the fallback without the line reader: for models of other classes than the ten digits, and
for models of the digits if no installed engine can open the line reader. Otherwise
`Classifier.read` calls `runtime.multi_digit.read_lines`, which shares `find_views` and the result
types of this module.

`recognize` detects text lines and splits each component of ink that may be several digits into
fragments. It classifies every plausible join of neighboring fragments, and chooses the sequence of
joins with the least cost. The cost of a digit is the negative logarithm of its confidence plus
penalties for its shape and its cuts.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum

from runtime.backends import Pixels
from runtime.errors import ImageError
from runtime.multi_digit.deskew import deskew, find_skew, skew_box
from runtime.multi_digit.layout import InkComponent, Writing, find_writing, too_much_ink
from runtime.multi_digit.line_reader import UNKNOWN as UNKNOWN
from runtime.multi_digit.shadows import flatten_illumination
from runtime.multi_digit.sheet import isolate_sheet
from runtime.multi_digit.split_touching import merge_components, split_at_seams
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder, Decoded, ImageSource
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.mnist_format import tight_to_mnist_format
from runtime.preprocess.pipeline import scale_box
from runtime.preprocess.segment import Box, dilate_thin_strokes, is_filled_shape

# The page is decoded at one size; if its digits are too small, again at a larger one.
_DETECTION_SIDE_PX = 1024  # text is detected on a copy of at most this side
_SMALL_SIDE_PX = 512  # of a larger image, it is detected on a copy of this side first
_MIN_DIGIT_HEIGHT_PX = 24  # if a typical digit is shorter, the page is decoded again, larger
_MAX_DIGIT_HEIGHT_SHARE = 0.6  # of the small copy's height; taller ink is probably not a digit
_TARGET_DIGIT_HEIGHT_PX = 40  # height of a typical digit in the larger copy
_MAX_SIDE_PX = 4096  # longer side of the larger copy
_MAX_PAGE_PIXELS = 4096 * 3072  # of the larger copy
_MAX_VIEWS_PIXELS = 4_000_000  # of the larger copy; of a larger one, only one view is made
MAX_HELD_PIXELS = 8_000_000  # a larger decoded image is freed before lines are detected

# Shadows are sought only in an image that may have some. In others, the edge of a shadow is like a
# stroke.
_MIN_SHADOWED_SIDE_PX = 200  # shorter side of an image that may have shadows
_MAX_SHADOWED_HEIGHT_SHARE = 0.2  # of the image's height; a typical digit is at most this tall
_MAX_SHADOW_PIECES = 3  # groups of ink; if they are typically taller, they may be shadows
_DIGIT_HEIGHT_SHARE = 0.08  # of the image's height; digits of this height are then sought

# Memory of reading, measured on a sheet on a desk, of which all views are made. See
# tests/runtime/multi_digit/test_recognize.py.
_SMALL_IMAGE_BYTES_PER_PIXEL = 90  # of a small image
_READING_BYTES = 56_000_000  # of a larger image, besides the following
_VIEWS_BYTES_PER_PIXEL = 22  # of all views, for up to _MAX_VIEWS_PIXELS
_PAGE_BYTES_PER_PIXEL = 7.2  # of one view, for up to _MAX_PAGE_PIXELS

# Joining fragments to digits.
_MAX_UNCUT_WIDTH_HEIGHTS = 0.7  # digit heights; a wider component is split
_MIN_UNCUT_CONFIDENCE = 0.95  # a component with less confidence is split
_MAX_GAP_HEIGHTS = 0.25  # digit heights; components with a wider gap are not joined
_MIN_DIGIT_HEIGHTS = 0.4  # digit heights; shorter ink is not a digit
_MAX_DIGIT_WIDTH_HEIGHTS = 1.7  # digit heights; wider ink is not a digit

# Costs of a digit, added to -log(confidence). Chosen on MNIST's training digits, set side by side,
# touching and overlapping.
_REJECTED_COST = 0.2  # nats; if the prediction is not accepted
_CUT_COST = 0.12  # nats; if the digit is cut from its left neighbor
_CUT_INK_COST = 1.0  # nats per digit height of this cut's cost, see `split_at_seams`
_GAP_COST = 0.07  # nats per gap between the components that the digit is joined from
_WIDE_COST = 0.85  # nats per unit of width / height above _WIDE_ASPECT
_WIDE_ASPECT = 0.85  # width / height; wider digits cost extra
_SHORT_COST = 0.45  # nats per digit height below _SHORT_HEIGHTS
_SHORT_HEIGHTS = 1.05  # digit heights; shorter digits cost extra
_MIN_ASPECT_HEIGHTS = 0.6  # digit heights; for width / height, a shorter digit counts as this tall
_MIN_CONFIDENCE = 1e-6  # a smaller confidence counts as this, so that the cost is finite

_MAX_FRAGMENTS = 12  # of one digit; joins of more fragments are not tried
_MAX_JOINED_PIXELS = 24_000_000  # of all joins in a line, 4 bytes each; with more, it is rejected
_MAX_JOINS = 8_500  # on a page, as 2,000 handwritten digits need, 0.12 ms each; more are rejected

_OTHER_SYMBOL_CONFIDENCE = 0.5  # line reader's least confidence that a symbol is not a digit


class View(Enum):
    """The kinds of views of an image."""

    IMAGE = "the image"
    SHEET = "the sheet of paper in it, with its surroundings replaced by paper"
    FLATTENED = "the image with flattened illumination, so without shadows"
    CARD = "the same, for small digits on a shadow or a gray card that hides them"


@dataclass(frozen=True)
class Digit:
    """One group of ink that was classified: a digit, or something that was rejected.

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
        confidences: of each line, from 0 to 1: the product of the confidences of its symbols; 0 if
            ink of the size of a digit is left over.
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
    def has_other_symbols_only(self) -> bool:
        """Whether the line reader sees several symbols that are not digits, and nothing else.

        A single symbol may still be a digit in a form that the line reader does not know.
        """
        predictions = [digit.prediction for digit in self.digits]
        return len(predictions) > 1 and all(
            prediction.label == UNKNOWN and prediction.confidence >= _OTHER_SYMBOL_CONFIDENCE
            for prediction in predictions
        )

    def without_unknown(self) -> "Recognition":
        """Return the recognition with only the accepted digits in its lines."""
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
            classes may be filled, short or wide.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    decoder = image if isinstance(image, CachedDecoder) else CachedDecoder(image)
    # `View.CARD` is left out: it turns one bold letter into several pieces, and only the line
    # reader can tell.
    views = [page for page in find_views(decoder) if page.view is not View.CARD]
    page = max(views, key=lambda page: page.pieces)
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
    """Estimate the memory in bytes to read an image, besides the decoded image.

    Args:
        size: (width, height) of the image in pixels.
    """
    pixels = size[0] * size[1]
    views = _VIEWS_BYTES_PER_PIXEL * min(pixels, _MAX_VIEWS_PIXELS)
    page = round(_PAGE_BYTES_PER_PIXEL * min(pixels, _MAX_PAGE_PIXELS))
    return min(_SMALL_IMAGE_BYTES_PER_PIXEL * pixels, _READING_BYTES + max(views, page))


def recognition_of_single_digit(prediction: Prediction) -> Recognition:
    """Return the recognition of an image with one digit.

    Args:
        prediction: of the whole image; it must have its `view`.
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


def as_rejected(recognition: Recognition) -> Recognition:
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
    """A view of an image, and the writing in it.

    Attributes:
        decoded: the image, with the gray levels of the view.
        writing: in pixels of the view; None if there is none.
        skew: slope by which the view was deskewed, rows per column.
        view: the kind of view.
    """

    decoded: Decoded
    writing: Writing | None
    skew: float
    view: View = View.IMAGE

    def original_box(self, box: Box) -> Box:
        """Convert a box on the page to the pixels of the upright original."""
        shape = self.decoded.gray.shape
        x, y = self.decoded.size[0] / shape[1], self.decoded.size[1] / shape[0]
        return scale_box(skew_box(box, self.skew, shape), x, y)

    @property
    def pieces(self) -> int:
        """The number of groups of ink that may be digits."""
        return 0 if self.writing is None else len(self.writing.groups)


def find_views(decoder: CachedDecoder) -> list[Page]:
    """Decode an image and find the writing in its views, at a larger scale if its digits are small.

    A large image is decoded at up to three sizes, the smallest first, until its digits are tall
    enough.

    Returns:
        All views in which writing was sought: the image, perhaps twice (see `_views`); if it shows
        a sheet, the sheet; if a shadow on it has a sharp edge, the image with flattened
        illumination. Of a larger copy of more than `_MAX_VIEWS_PIXELS`, only the view with most
        groups of ink, because each view takes up to 40 MB.

    Raises:
        ImageError: the image cannot be decoded, or has more ink than a page of digits.
    """
    decoded = decoder.decode(longest=_SMALL_SIDE_PX)
    if max(decoded.size) > _DETECTION_SIDE_PX:
        views, _ = _detect(decoder, decoded, _SMALL_SIDE_PX)
        if _are_large_enough(views):
            return views
    decoded = decoder.decode(longest=_DETECTION_SIDE_PX)
    views, in_color = _detect(decoder, decoded, _DETECTION_SIDE_PX)
    best = _most_pieces(views)
    writing = best.writing
    if (
        writing is not None
        and writing.height < _MIN_DIGIT_HEIGHT_PX
        and max(best.decoded.size) > _DETECTION_SIDE_PX
    ):
        enlarged = _enlarge(decoder, best, writing, in_color)
        if any(page.writing is not None for page in enlarged):
            return enlarged
    return views


def _detect(decoder: CachedDecoder, decoded: Decoded, longest: int) -> tuple[list[Page], bool]:
    """Return the views of an image, and whether they are made of its colors.

    They are if the gray levels show no writing.

    Args:
        decoder: of the image.
        decoded: the image in gray.
        longest: with which it was decoded.
    """
    views = _views(decoded, decoder.name)
    if decoded.colored and all(page.writing is None for page in views):
        in_color = decoder.decode(longest=longest, color=True)
        return _views(in_color, decoder.name), True
    return views, False


def _are_large_enough(views: list[Page]) -> bool:
    """Return whether a small copy of an image shows its digits as large as they are read."""
    best = _most_pieces(views)
    # A desk may be the only ink, if small digits have vanished.
    return (
        best.writing is not None
        and best.writing.short_height >= _MIN_DIGIT_HEIGHT_PX
        and best.writing.height <= _MAX_DIGIT_HEIGHT_SHARE * len(best.decoded.gray)
    )


def _most_pieces(views: list[Page]) -> Page:
    return max(views, key=lambda page: page.pieces)


def _enlarge(
    decoder: CachedDecoder, detected: Page, writing: Writing, in_color: bool
) -> list[Page]:
    """Decode an image again, so that its digits are tall enough, and find the writing in its views.

    Args:
        decoder: of the image.
        detected: the view with most writing at the scale of detection.
        writing: of this view.
        in_color: whether the image is decoded in color.
    """
    size, detection_side = detected.decoded.size, max(detected.decoded.gray.shape)
    wanted = round(detection_side * _TARGET_DIGIT_HEIGHT_PX / writing.height)
    aspect = max(size) / min(size)
    # What seems to be a card may be a bold letter, so all views are made of a smaller copy.
    may_be_letter = detected.view is View.CARD
    most_pixels = _MAX_VIEWS_PIXELS if may_be_letter else _MAX_PAGE_PIXELS
    largest = int(math.sqrt(most_pixels * aspect))
    longest = min(wanted, max(size), _MAX_SIDE_PX, largest)
    dark, height_share = writing.dark, writing.height / detection_side
    decoded = decoder.decode(longest=longest, color=in_color)
    decoder.release(MAX_HELD_PIXELS)
    if may_be_letter or decoded.gray.size <= _MAX_VIEWS_PIXELS:
        return _views(decoded, decoder.name)
    page: Page | None
    if detected.view == View.SHEET:
        page = _sheet_view(decoded, decoder.name)
    elif detected.view == View.FLATTENED:
        digit_height = height_share * max(decoded.gray.shape)
        page = _flattened_view(decoded, decoder.name, digit_height, View.FLATTENED)
    else:
        page = _with_writing(_deskewed(decoded, decoded.gray, View.IMAGE), decoder.name, dark)
    return [] if page is None else [page]


def _views(decoded: Decoded, name: str) -> list[Page]:
    """Find the writing of an image, of it with flattened illumination, and of the sheet in it.

    If the image seems to have light ink, or none, dark ink is sought, too: a dark corner or a pen
    may outweigh the ink, so that the polarity is wrong.

    Raises:
        ImageError: the image has more ink than a page of digits, and no other view has writing.
    """
    too_much: ImageError | None = None
    image = _deskewed(decoded, decoded.gray, View.IMAGE)
    views = [image]
    try:
        views = [_with_writing(image, name, None)]
    except ImageError as error:
        too_much = error
    if views[0].writing is None or not views[0].writing.dark:
        with suppress(ImageError):
            views.append(_with_writing(image, name, dark=True))
    writing = views[-1].writing
    further: list[Page | None] = []
    if writing is not None and writing.dark:
        digit_height, view = writing.height, View.FLATTENED
        is_tall = digit_height > _MAX_SHADOWED_HEIGHT_SHARE * len(decoded.gray)
        if is_tall and len(writing.groups) <= _MAX_SHADOW_PIECES:
            digit_height, view = _DIGIT_HEIGHT_SHARE * len(decoded.gray), View.CARD
        with suppress(ImageError):
            further.append(_flattened_view(decoded, name, digit_height, view))
    with suppress(ImageError):
        further.append(_sheet_view(decoded, name))
    views += [page for page in further if page is not None]
    if too_much is not None and all(page.writing is None for page in views):
        raise too_much
    return views


def _sheet_view(decoded: Decoded, name: str) -> Page | None:
    """Find the writing of the sheet in an image; None if it shows no sheet. See `_with_writing`."""
    sheet = isolate_sheet(decoded.gray)
    if sheet is None:
        return None
    gray, dark = sheet
    return _with_writing(_deskewed(decoded, gray, View.SHEET), name, dark)


def _flattened_view(decoded: Decoded, name: str, digit_height: float, view: View) -> Page | None:
    """Find the writing of an image without its shadows; None if none has a sharp edge.

    See `_with_writing`.

    Args:
        decoded: the image.
        name: of the image, for error messages.
        digit_height: of a typical digit, in pixels.
        view: `View.FLATTENED` or `View.CARD`.
    """
    gray = decoded.gray
    is_small = digit_height <= _MAX_SHADOWED_HEIGHT_SHARE * len(gray)
    is_large = min(gray.shape) >= _MIN_SHADOWED_SIDE_PX
    flattened = flatten_illumination(gray, digit_height) if is_small and is_large else None
    if flattened is None:
        return None
    return _with_writing(_deskewed(decoded, flattened, view), name, dark=True)


def _deskewed(decoded: Decoded, gray: Gray, view: View) -> Page:
    """Deskew a view of an image; its writing is not sought yet.

    Args:
        decoded: the image.
        gray: uint8 (height, width), the view.
        view: the kind of view that `gray` is.
    """
    skew = find_skew(gray)
    return Page(replace(decoded, gray=deskew(gray, skew) if skew else gray), None, skew, view)


def _with_writing(page: Page, name: str, dark: bool | None) -> Page:
    """Find the writing of a deskewed view.

    Args:
        page: the view.
        name: of the image, for error messages.
        dark: whether ink is darker than the paper; None if that is not known.

    Raises:
        ImageError: the view has more ink than a page of digits.
    """
    return replace(page, writing=find_writing(page.decoded.gray, name, dark=dark))


@dataclass(frozen=True)
class _Fragment:
    """A component of ink, or a part of one; a digit consists of one or more fragments.

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
    """Split the components of a line into fragments, except those that are certainly one digit.

    Args:
        components: of one line, from left to right.
        height: of a typical digit, in pixels.
        predict: see `recognize`.
    """
    predictions = predict([_pixels(component) for component in components])
    is_split = [
        component.box[2] - component.box[0] > _MAX_UNCUT_WIDTH_HEIGHTS * height
        or prediction.confidence < _MIN_UNCUT_CONFIDENCE
        or not prediction.accepted
        for component, prediction in zip(components, predictions, strict=True)
    ]
    to_split = [component for component, split in zip(components, is_split, strict=True) if split]
    split_parts = iter(split_at_seams(to_split, height))
    fragments: list[_Fragment] = []
    for index, (component, prediction) in enumerate(zip(components, predictions, strict=True)):
        parts = next(split_parts) if is_split[index] else [(component, 0.0)]
        uncut = prediction if [part.box for part, _ in parts] == [component.box] else None
        left_end = components[index - 1].box[2]
        near = index > 0 and component.box[0] - left_end < _MAX_GAP_HEIGHTS * height
        for part_index, (part, seam_cost) in enumerate(parts):
            is_cut = part_index > 0
            cost = _CUT_COST + _CUT_INK_COST * seam_cost if is_cut else 0.0
            fragments.append(_Fragment(part, is_cut, cost, is_cut or near, uncut))
    return fragments


def _read_line(
    fragments: list[_Fragment],
    spans: list[tuple[int, int]],
    height: float,
    predict: Callable[[list[Pixels]], list[Prediction]],
    digits_only: bool,
) -> list[tuple[InkComponent, Prediction]]:
    """Join the fragments of a line to digits at the least total cost, by dynamic programming.

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
        + _SHORT_COST * max(0, _SHORT_HEIGHTS - digit_heights)
    )


def _pixels(component: InkComponent) -> Pixels:
    """Convert a component to the pixels that the model takes."""
    return tight_to_mnist_format(dilate_thin_strokes(component.ink))
