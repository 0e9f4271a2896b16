"""Recognizes numbers: the cheapest way to merge ink fragments into digits."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from runtime.backends import Pixels
from runtime.multi_digit.layout import (
    InkComponent,
    PageLayout,
    detect_text_lines,
    find_writing,
    too_much_ink,
)
from runtime.multi_digit.split_touching import merge_components, split_at_seams
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder, Decoded, ImageSource
from runtime.preprocess.mnist_format import tight_to_mnist_format
from runtime.preprocess.pipeline import scale_box
from runtime.preprocess.segment import Box, dilate_thin_strokes, is_filled_shape

# The longest side, in pixels, at which writing is looked for; where its digits are lower than
# the smallest, it is looked at again with digits of the other height, in so many pixels at most.
_LONGEST, _SMALLEST, _ENLARGED, _LARGEST = 1024, 24, 40, 4096
_MAX_PIXELS = 4096 * 3072
_MAX_HELD_PIXELS = 8_000_000  # a larger picture is freed before lines are found in a close look
# What finding its lines takes, in bytes a pixel.
_PIXEL_BYTES = 10
# A component is cut where it is broader than this part of the height, or not surely a digit.
_NARROW, _SURE = 0.7, 0.95
# Components are tried as one digit up to this gap between them, in heights.
_GAP = 0.25
# What a digit costs, in nats, beside the negative logarithm of its confidence: where it is refused;
# for the cut to its left, and the ink that goes through, in heights; for each gap in it; for what
# it is broader than this part of its height, and lower than this part of the line's. Chosen on
# MNIST's training digits set side by side, touching and overlapping.
_REFUSED, _CUT, _INK, _JOIN = 0.2, 0.12, 1.0, 0.07
_BROADER, _BROAD_FROM, _LOWER, _LOW_FROM = 0.85, 0.85, 0.45, 1.05
# In heights: what is lower or broader is no digit.
_LOW, _BROAD = 0.4, 1.7
_MAX_FRAGMENTS = 12  # of one digit
_MAX_JOINED_PIXELS = 24_000_000  # of all joins in a line, held at once as 4 bytes each
_MAX_TRIED = 8_500  # joins of pieces on a page: of 2,000 handwritten digits; 0.12 ms each
UNKNOWN = "?"


@dataclass(frozen=True)
class Digit:
    """One thing read.

    Attributes:
        box: left, top, right, bottom in pixels of the upright original, the last two exclusive.
        prediction: what it is; not `accepted` where it is no digit.
        line: the number of its line in `Recognition.lines`; None where nothing in it is a digit.
        order: its number in the whole reading, from 0, line by line and from left to right.
    """

    box: Box
    prediction: Prediction
    line: int | None
    order: int


@dataclass(frozen=True)
class Recognition:
    """The digits and lines that were recognized in an image.

    Attributes:
        lines: the labels of each line, from top to bottom; a line without any is left out.
        digits: all that was looked at, also what is no digit and stands in no line.
    """

    lines: tuple[str, ...]
    digits: tuple[Digit, ...]

    @property
    def text(self) -> str:
        """The lines, one under the other."""
        return "\n".join(self.lines)


def recognize(
    image: "ImageSource | CachedDecoder",
    predict: Callable[[list[Pixels]], list[Prediction]],
    keep_unknown: bool = False,
    digits_only: bool = True,
) -> Recognition:
    """Read all digits in an image.

    Args:
        image: a path, bytes, a Pillow image or an array.
        predict: answers pixels, one or more.
        keep_unknown: whether what is no digit stands in the text, as `UNKNOWN`.
        digits_only: whether ink is rejected if its size or stroke is not that of a digit; other
            classes can be filled, low or broad.

    Raises:
        ImageError: it cannot be read as an image, or holds more ink than a page of digits.
    """
    looks = image if isinstance(image, CachedDecoder) else CachedDecoder(image)
    decoded, layout = _detect_lines(looks)
    if layout is None:
        return Recognition((), ())
    looks.release(_MAX_HELD_PIXELS)
    x = decoded.size[0] / decoded.gray.shape[1]
    y = decoded.size[1] / decoded.gray.shape[0]
    lines: list[str] = []
    digits: list[Digit] = []
    tried = 0
    for components in layout.lines:
        fragments = _oversegment(components, layout.height, predict)
        spans = _spans(fragments, layout.height)
        tried += len(spans)
        if tried > _MAX_TRIED or _joined_pixels(fragments, spans) > _MAX_JOINED_PIXELS:
            raise too_much_ink(looks.name)
        read_line = _read_line(fragments, spans, layout.height, predict, digits_only)
        text = "".join(
            prediction.label if prediction.accepted else UNKNOWN * keep_unknown
            for _, prediction in read_line
        )
        for component, prediction in read_line:
            box = scale_box(component.box, x, y)
            digits.append(Digit(box, prediction, len(lines) if text else None, len(digits)))
        if text:
            lines.append(text)
    return Recognition(tuple(lines), tuple(digits))


def estimate_page_memory(size: tuple[int, int]) -> int:
    """Return about how many bytes `recognize` holds of a decoded picture of this size."""
    return _PIXEL_BYTES * min(size[0] * size[1], _MAX_PIXELS)


def single_digit(prediction: Prediction) -> Recognition:
    """The reading of a picture that shows one digit, whose prediction tells how it was seen."""
    assert prediction.view is not None
    return Recognition((prediction.label,), (Digit(prediction.view.box, prediction, 0, 0),))


def _detect_lines(looks: CachedDecoder) -> tuple[Decoded, PageLayout | None]:
    for color in (False, True):
        decoded = looks.decode(longest=_LONGEST, color=color)
        writing = find_writing(decoded.gray, looks.name)
        if writing is not None or not decoded.colored:
            break
    if writing is None:
        return decoded, None
    if writing.height < _SMALLEST and max(decoded.size) > _LONGEST:
        enlarged = round(max(decoded.gray.shape) * _ENLARGED / writing.height)
        shape = max(decoded.size) / min(decoded.size)
        longest = min(enlarged, max(decoded.size), _LARGEST, int(math.sqrt(_MAX_PIXELS * shape)))
        closer = looks.decode(longest=longest, color=color)
        looks.release(_MAX_HELD_PIXELS)
        nearer = detect_text_lines(closer.gray, looks.name)
        if nearer is not None:
            return closer, nearer
    return decoded, writing.layout()


@dataclass(frozen=True)
class _Fragment:
    """What no digit is smaller than.

    `cut` says that it hangs together with the piece before it, `cost` what parting the two costs;
    `joinable` that both may be one digit; `prediction` is that of a whole component, left uncut.
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
    """The pieces of a line's components: of one that is surely a digit, itself."""
    whole = predict([_pixels(component) for component in components])
    doubtful = [
        number
        for number, (component, prediction) in enumerate(zip(components, whole, strict=True))
        if component.box[2] - component.box[0] > _NARROW * height
        or prediction.confidence < _SURE
        or not prediction.accepted
    ]
    parts_of = {number: [(component, 0.0)] for number, component in enumerate(components)}
    cuts = split_at_seams([components[number] for number in doubtful], height)
    parts_of.update(zip(doubtful, cuts, strict=True))
    fragments: list[_Fragment] = []
    for number, (component, prediction) in enumerate(zip(components, whole, strict=True)):
        parts = parts_of[number]
        uncut = prediction if [part.box for part, _ in parts] == [component.box] else None
        near = number > 0 and component.box[0] - components[number - 1].box[2] < _GAP * height
        for part, (fragment, ink) in enumerate(parts):
            cost = _CUT + _INK * ink if part else 0.0
            fragments.append(_Fragment(fragment, part > 0, cost, part > 0 or near, uncut))
    return fragments


def _read_line(
    fragments: list[_Fragment],
    spans: list[tuple[int, int]],
    height: float,
    predict: Callable[[list[Pixels]], list[Prediction]],
    digits_only: bool,
) -> list[tuple[InkComponent, Prediction]]:
    """The cheapest way to join a line's pieces to digits: dynamic programming over them."""
    joined = [
        merge_components([fragment.component for fragment in fragments[first:last]])
        for first, last in spans
    ]
    known = [fragments[first].prediction if last == first + 1 else None for first, last in spans]
    new = iter(
        predict(
            [_pixels(component) for component, one in zip(joined, known, strict=True) if not one]
        )
    )
    predictions = [one or next(new) for one in known]
    if digits_only:
        predictions = [
            replace(prediction, accepted=prediction.accepted and _is_digit(component, height))
            for component, prediction in zip(joined, predictions, strict=True)
        ]
    ending: list[list[tuple[int, InkComponent, Prediction]]] = [[] for _ in fragments]
    for (first, last), component, prediction in zip(spans, joined, predictions, strict=True):
        ending[last - 1].append((first, component, prediction))
    best: list[tuple[float, list[tuple[InkComponent, Prediction]]]] = [(0.0, [])]
    for end, tried in enumerate(ending, 1):
        options = [
            (
                best[first][0] + _cost(component, height, prediction, fragments[first:end]),
                first,
                component,
                prediction,
            )
            for first, component, prediction in tried
        ]
        cost, first, component, prediction = min(options, key=lambda option: option[0])
        best.append((cost, [*best[first][1], (component, prediction)]))
    return best[-1][1]


def _spans(fragments: list[_Fragment], height: float) -> list[tuple[int, int]]:
    """First and last (exclusive) of the pieces that may be one digit together."""
    spans = []
    for first, fragment in enumerate(fragments):
        left, _, right, _ = fragment.component.box
        spans.append((first, first + 1))
        for last in range(first + 1, min(first + _MAX_FRAGMENTS, len(fragments))):
            box = fragments[last].component.box
            left, right = min(left, box[0]), max(right, box[2])
            if not fragments[last].joinable or right - left > _BROAD * height:
                break
            spans.append((first, last + 1))
    return spans


def _joined_pixels(fragments: list[_Fragment], spans: list[tuple[int, int]]) -> int:
    """Return how many pixels the boxes of all spans hold."""
    pixels = 0
    for first, last in spans:
        boxes = [fragment.component.box for fragment in fragments[first:last]]
        width = max(box[2] for box in boxes) - min(box[0] for box in boxes)
        pixels += width * (max(box[3] for box in boxes) - min(box[1] for box in boxes))
    return pixels


def _is_digit(component: InkComponent, height: float) -> bool:
    """Whether size and stroke are those of a digit."""
    left, top, right, bottom = component.box
    sized = bottom - top > _LOW * height and right - left < _BROAD * height
    return sized and not is_filled_shape(component.ink > 0.5)


def _cost(
    component: InkComponent, height: float, prediction: Prediction, fragments: list[_Fragment]
) -> float:
    left, top, right, bottom = component.box
    high = (bottom - top) / height
    aspect = (right - left) / height / max(high, 0.6)
    return (
        -math.log(max(prediction.confidence, 1e-6))
        + _REFUSED * (not prediction.accepted)
        + fragments[0].cost
        + _JOIN * sum(not fragment.cut for fragment in fragments[1:])
        + _BROADER * max(0, aspect - _BROAD_FROM)
        + _LOWER * max(0, _LOW_FROM - high)
    )


def _pixels(component: InkComponent) -> Pixels:
    return tight_to_mnist_format(dilate_thin_strokes(component.ink))
