"""Verifies what the line reader proposes: cuts each digit out and asks the digit network.

Between neighboring signs, up to three seams with little ink are tried. The probabilities of the
digit network decide which of them is cut. `Classifier.read` uses this module.

A digit is accepted if the line reader is certain, or if it is confident and the digit network reads
the same from its piece: where digits touch, the digit network sees a piece and the line reader the
whole. Ink of the size of a digit that no sign stands for becomes a sign of its own, which is
not accepted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels
from runtime.multi_digit.line_crop import LineCrop
from runtime.multi_digit.line_reader import Reading
from runtime.multi_digit.split_touching import ink_seams
from runtime.prediction import Prediction
from runtime.preprocess.connected_components import Components, Mask, Plane, find_components
from runtime.preprocess.mnist_format import tight_to_mnist_format
from runtime.preprocess.segment import Box, dilate_thin_strokes, is_filled_shape

# Label of ink that the line reader sees as no digit, or that no sign stands for. An uncertain digit
# keeps its own label.
UNKNOWN = "?"

# Confidences of the line reader. They were chosen on composed lines of writers who are not trained
# on: of the digits other than 1 above CERTAIN, 99.6 % were right, whatever the digit network reads.
MIN_CLEAR_CONFIDENCE = 0.3  # if the digit stands apart, and the digit network is sure of it, too
MIN_CLEAR_ONE_CONFIDENCE = 0.45  # the same of a 1 among digits alone, no higher than they are
MIN_CONFIDENCE = 0.75  # if the digit network reads the same
MIN_ONE_CONFIDENCE = 0.9  # the same of a 1, which may be another stroke
MIN_STRICT_CONFIDENCE = 0.6  # the same of a line so short that the rejection model must accept, too
CERTAIN = 0.99  # if it reads another digit
CERTAIN_ONE = 0.997  # the same of a 1

_CLEAR_PROBABILITY = 0.95  # of the digit network, if it is sure
# The digit network corrects a digit apart if it has at least the first confidence, and the line
# reader less than the second.
_CORRECTING_CONFIDENCE = 0.99
_MAX_CORRECTED_CONFIDENCE = 0.97

_IMPLAUSIBLE = 0.01  # confidence of a proposal that the shape of the ink refutes
_MAX_STRICT_SIGNS = 2  # a line with so few signs may be a letter or a drawing
_INK_LEVEL = 0.3  # of full ink; fainter pixels do not connect components
_MORE_INK_SHARE = 0.02  # of the digits' ink; less is not a rule, nor what was removed with one
_OFF_CENTER_COST = 1.0  # ink; of seams through equal ink the one in the middle is cut
_MAX_OFF_CENTER = 0.9  # of half the distance of two signs, from the middle between them
# Pixels of full ink. A seam through less does not cut ink, and no further seam is looked for.
_FREE_INK = 0.5
_MAX_CUTS = 3  # between two signs
_MIN_PROBABILITY = 1e-4  # lower ones count as this
# In digit heights:
_MIN_DISTANCE_HEIGHTS = 0.12  # between two seams
_MIN_LEFT_OVER_HEIGHTS = 0.4  # ink that was not read becomes a `?` if it is at least this high
_MIN_DIGIT_HEIGHTS = 0.3  # the ink of a digit is at least this high
_MAX_ONE_LEAN = 0.27  # tangent; by how much a 1 may lean more than the other digits of its line
_MIN_SLASH_HEIGHTS = 0.95  # height of a slash, in heights of the other digits
_UPRIGHT_ONE = 0.995  # confidence of a 1 that may lean more
_MIN_RIM_SHARE = 0.6  # of the height of ink along the picture's edge; it is the edge of a page
_MAX_HOOK_HEIGHTS = 0.85  # a 1 that is cut from its neighbor is higher, or it is its hook
_MIN_SIDE_BEYOND_HEIGHTS = 0.06  # by which the side of a box exceeds a digit above and below it
_MAX_SIDE_ASPECT = 0.2  # its width / height
_MIN_SIDE_FILL = 0.8  # its ink / area of its box
_MIN_EDGE_FILL = 0.9  # the same of a thin bar, and of the edge of a page
_MAX_THIN_ASPECT = 0.12  # width / height of a thin bar
_MIN_THIN_HEIGHTS = 1.1  # height of a thin bar, in heights of the digit beside it
# Ink beside a digit may belong to it, if the horizontal gap between their boxes is smaller.
_NEAR_HEIGHTS = 0.12
_MIN_DASH_HEIGHTS = 0.25  # a dash between digits is at least this wide …
_MAX_DASH_ASPECT = 0.6  # … and lower than its width times this


Predict: TypeAlias = Callable[[list[Pixels]], list[Prediction]]
Confirm: TypeAlias = Callable[[Prediction, Pixels], bool]
_Cut = tuple[npt.NDArray[np.intp], float]  # the column of a seam in each row, the ink on it


@dataclass(frozen=True)
class Sign:
    """One place of a line.

    Attributes:
        label: a digit, or `UNKNOWN` if nobody proposes one.
        confidence: from 0 to 1, that it is that digit.
        accepted: whether it is certain enough.
        box: in the crop's pixels.
        prediction: of the digit network; None if it was not asked.
        proposed: confidence of the line reader alone; 0 if it did not propose the sign.
    """

    label: str
    confidence: float
    accepted: bool
    box: Box
    prediction: Prediction | None = None
    proposed: float = 0.0

    @property
    def is_other(self) -> bool:
        """Whether the line reader sees a sign that is not a digit."""
        return self.label == UNKNOWN and self.proposed > 0


def verify(
    crop: LineCrop,
    readings: list[Reading],
    predict: Predict,
    confirm: Confirm,
    count_work: Callable[[int, int], None] = lambda pieces, pixels: None,
) -> list[Sign]:
    """Verify a line.

    The digits are cut out of the ink without rules. Where the digit network then reads something
    else, they are cut out of all ink as well, because a rule is removed with what stands on it.

    Args:
        crop: the line.
        readings: of the line reader, from left to right.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        confirm: returns whether an accepted prediction stays accepted after test-time augmentation,
            which takes ten times as long as the prediction. Few digits are confirmed.
        count_work: called with a number of pieces of ink, and of the pixels from which they are cut
            out, before this is done.

    Returns:
        The line's signs, from left to right.
    """
    if not readings:
        return []
    strict = len(readings) <= _MAX_STRICT_SIGNS
    alone = all(reading.label != UNKNOWN for reading in readings)
    pieces = _align(crop.digits, crop, readings, predict, count_work)
    judged = [
        _judge(reading, piece, crop, strict, alone, confirm)
        for reading, piece in zip(readings, pieces, strict=True)
    ]
    doubtful = not all(sign.accepted or sign.is_other for sign in judged)
    left_over = any(piece.before or piece.after for piece in pieces)
    if (doubtful or left_over) and _has_more_ink(crop):
        others = _align(crop.ink, crop, readings, predict, count_work)
        for number, (reading, piece) in enumerate(zip(readings, others, strict=True)):
            sign = _judge(reading, piece, crop, strict, alone, confirm)
            if _rank(sign, piece) > _rank(judged[number], pieces[number]):
                judged[number], pieces[number] = sign, piece
    judged = _reject_slashes(judged, pieces)
    signs: list[Sign] = []
    for number, (sign, piece) in enumerate(zip(judged, pieces, strict=True)):
        if sign.is_other:
            signs.append(sign)
            continue
        following = judged[number + 1].label if number + 1 < len(judged) else ""
        if sign.label == following == "1" and _is_hook(piece, crop):
            continue  # the upstroke of the 1 that follows
        before = [Sign(UNKNOWN, 0.0, False, box) for box in piece.before]
        # Next to another sign that is not a digit, ink is probably part of that.
        if before and not (signs and signs[-1].label == UNKNOWN):
            signs.extend(before)
        signs.append(sign)
        if number + 1 == len(judged) or not judged[number + 1].is_other:
            signs.extend(Sign(UNKNOWN, 0.0, False, box) for box in piece.after)
    return signs


def _has_more_ink(crop: LineCrop) -> bool:
    """Return whether there is other ink in a line's crop than that of its digits."""
    strong, digits = (int(np.count_nonzero(ink > 128)) for ink in (crop.ink, crop.digits))
    return strong > (1 + _MORE_INK_SHARE) * digits


def _rank(sign: Sign, piece: "_Piece") -> tuple[bool, int, float]:
    """Return how good a cut of a digit is: accepted, little ink left over, confident."""
    return sign.accepted, -len(piece.before) - len(piece.after), sign.confidence


def _judge(
    reading: Reading,
    piece: "_Piece",
    crop: LineCrop,
    strict: bool,
    alone: bool,
    confirm: Confirm,
) -> Sign:
    """Decide whether a digit is accepted.

    Args:
        reading: of the line reader.
        piece: its ink, and what the digit network reads.
        crop: of the line.
        strict: whether the digit network's rejection model has to accept it, too.
        alone: whether the line has digits alone. Next to an operator, a 1 may be part of it.
        confirm: see `verify`.
    """
    if reading.label == UNKNOWN:
        return Sign(UNKNOWN, reading.confidence, False, piece.box, None, reading.confidence)
    prediction = piece.prediction
    if prediction is None or piece.ink is None or piece.pixels is None:
        return Sign(reading.label, 0.0, False, piece.box, None, reading.confidence)
    if is_filled_shape(piece.ink > 0.5):
        return Sign(reading.label, 0.0, False, piece.box, prediction, _IMPLAUSIBLE)
    if _corrects(prediction, piece, reading) and confirm(prediction, piece.pixels):
        confidence = prediction.confidence
        return Sign(prediction.label, confidence, True, piece.box, prediction, reading.confidence)
    least = _least_confidence(reading, prediction, piece, crop.digit_height, alone)
    if strict and prediction.label == reading.label != "1":
        least = min(least, MIN_STRICT_CONFIDENCE)
    accepted = reading.confidence >= least
    if strict or reading.confidence < MIN_CONFIDENCE:
        accepted = accepted and prediction.accepted and confirm(prediction, piece.pixels)
    probability = float(prediction.scores[int(reading.label)])
    confidence = reading.confidence * (1.0 if reading.confidence >= CERTAIN else probability)
    if reading.label == "1":
        # From the top to the bottom of the crop it may be the edge of a page or of a box; low and
        # cut from its neighbor, the hook of a 1.
        left, top, right, bottom = piece.box
        if right - left > bottom - top:  # a dash, not a 1
            return Sign("1", 0.0, False, piece.box, prediction, _IMPLAUSIBLE)
        is_edge = top == 0 and bottom == len(crop.ink)
        is_hook = _is_hook(piece, crop)
        accepted = accepted and not is_edge and not is_hook and not _is_rim(piece.box, crop)
    return Sign(reading.label, confidence, accepted, piece.box, prediction, reading.confidence)


def _least_confidence(
    reading: Reading, prediction: Prediction, piece: "_Piece", digit_height: float, alone: bool
) -> float:
    """Return the confidence of the line reader from which on a digit is accepted; see `_judge`."""
    is_one = reading.label == "1"
    if prediction.label != reading.label:
        return CERTAIN_ONE if is_one else CERTAIN
    is_clear = not piece.is_cut and prediction.accepted
    is_clear = is_clear and prediction.confidence >= _CLEAR_PROBABILITY
    if is_one:  # any stroke is a clear 1 for the digit network; edges of boxes are high
        is_low = piece.box[3] - piece.box[1] <= digit_height
        least = MIN_CLEAR_ONE_CONFIDENCE if alone else MIN_CONFIDENCE
        return least if is_clear and is_low else MIN_ONE_CONFIDENCE
    return MIN_CLEAR_CONFIDENCE if is_clear else MIN_CONFIDENCE


def _corrects(prediction: Prediction, piece: "_Piece", reading: Reading) -> bool:
    """Return whether the digit network is surer of a digit apart than the line reader of another.

    It does not correct to a 1, as each stroke looks like one.
    """
    return (
        not piece.is_cut
        and prediction.accepted
        and prediction.label not in ("1", reading.label)
        and prediction.confidence >= _CORRECTING_CONFIDENCE
        and reading.confidence < _MAX_CORRECTED_CONFIDENCE
    )


def _is_hook(piece: "_Piece", crop: LineCrop) -> bool:
    """Return whether a 1 that is cut from its neighbor is so low that it may be its upstroke."""
    height = piece.box[3] - piece.box[1]
    return piece.is_cut and height < _MAX_HOOK_HEIGHTS * crop.digit_height


def _reject_slashes(signs: list[Sign], pieces: list["_Piece"]) -> list[Sign]:
    """Reject each 1 that may be a slash: behind another sign, high, and leaning more than the line.

    The other digits of the line are the measure of both.
    """
    others = [
        piece
        for sign, piece in zip(signs, pieces, strict=True)
        if sign.accepted and sign.label != "1" and piece.ink is not None
    ]
    if not others:
        return signs
    least_lean = float(np.median([_lean(piece.ink) for piece in others])) + _MAX_ONE_LEAN
    least_height = float(np.median([piece.box[3] - piece.box[1] for piece in others]))
    return [
        replace(sign, accepted=False)
        if number
        and sign.label == "1"
        and sign.proposed < _UPRIGHT_ONE
        and piece.box[3] - piece.box[1] >= _MIN_SLASH_HEIGHTS * least_height
        and _lean(piece.ink) > least_lean
        else sign
        for number, (sign, piece) in enumerate(zip(signs, pieces, strict=True))
    ]


def _lean(ink: Plane | None) -> float:
    """Return the tangent of the angle by which ink leans to the right, from its moments."""
    if ink is None:
        return 0.0
    rows, columns = np.indices(ink.shape)
    mass = max(float(ink.sum()), 1e-6)
    down = rows - float((ink * rows).sum()) / mass
    across = columns - float((ink * columns).sum()) / mass
    return -float((ink * down * across).sum()) / max(float((ink * down * down).sum()), 1e-6)


def _is_rim(box: Box, crop: LineCrop) -> bool:
    """Return whether ink lies along the left or right edge of the crop, where the picture ends."""
    left, top, right, bottom = box
    sides = [crop.ink[top:bottom, 0]] * (left <= 1)
    sides += [crop.ink[top:bottom, -1]] * (right >= crop.ink.shape[1] - 1)
    return any((side > 128).mean() > _MIN_RIM_SHARE for side in sides)


@dataclass(frozen=True, eq=False)
class _Piece:
    """The part of a line that belongs to one sign.

    Attributes:
        ink: float32 from 0 to 1, cropped; None if there is too little.
        box: of `ink` in the crop's pixels.
        before: boxes of other ink of the size of a digit, to the left of the sign.
        after: the same to its right.
        pixels: of `ink` in MNIST's format, uint8 (28, 28, 1); None if the network was not asked.
        prediction: of the digit network; None if it was not asked.
        is_cut: whether it is cut from a neighbor through ink.
    """

    ink: Plane | None
    box: Box
    before: tuple[Box, ...]
    after: tuple[Box, ...]
    pixels: Pixels | None = None
    prediction: Prediction | None = None
    is_cut: bool = False


def _align(
    plane: npt.NDArray[np.uint8],
    crop: LineCrop,
    readings: list[Reading],
    predict: Predict,
    count_work: Callable[[int, int], None],
) -> list[_Piece]:
    """Cut a line between its signs, so that the pieces look most like them.

    Between two signs there are up to `_MAX_CUTS` seams to cut along. The cuts with the highest
    product of the probabilities that the digit network gives the signs are found by dynamic
    programming (forced alignment).
    """
    ink = plane.astype(np.float32) / np.float32(255)
    width = ink.shape[1]
    columns = [min(reading.column, 1.0) * width for reading in readings]
    cuts = _cuts(ink, columns, crop.digit_height)
    widths = [
        int(right.max()) - int(left.min())
        for before, after in pairwise(cuts)
        for left, _ in before
        for right, _ in after
    ]
    count_work(len(widths), len(ink) * sum(widths))
    all_columns = np.arange(width)
    pieces: list[dict[tuple[int, int], _Piece]] = []
    for number, column in enumerate(columns):
        first, last = number == 0, number + 1 == len(columns)
        options = {}
        for a, (left, left_ink) in enumerate(cuts[number]):
            for b, (right, right_ink) in enumerate(cuts[number + 1]):
                start, end = int(left.min()), max(int(right.max()), int(left.min()) + 1)
                own_columns = all_columns[start:end]
                inside = (own_columns >= left[:, None]) & (own_columns < right[:, None])
                part = np.where(inside, ink[:, start:end], np.float32(0))
                piece = _choose(part, start, column, crop.digit_height, first, last)
                is_cut = max(left_ink, right_ink) >= _FREE_INK
                options[a, b] = replace(piece, is_cut=is_cut)
        pieces.append(options)
    asked = [
        (number, key, tight_to_mnist_format(dilate_thin_strokes(piece.ink)))
        for number, options in enumerate(pieces)
        if readings[number].label != UNKNOWN
        for key, piece in options.items()
        if piece.ink is not None
    ]
    predictions = predict([pixels for *_, pixels in asked])
    for (number, key, own), prediction in zip(asked, predictions, strict=True):
        pieces[number][key] = replace(pieces[number][key], pixels=own, prediction=prediction)
    best: dict[int, tuple[float, list[_Piece]]] = {0: (0.0, [])}
    for reading, options in zip(readings, pieces, strict=True):
        following: dict[int, tuple[float, list[_Piece]]] = {}
        for (a, b), piece in options.items():
            score = best[a][0] + _log_probability(reading, piece)
            if b not in following or score > following[b][0]:
                following[b] = (score, [*best[a][1], piece])
        best = following
    return best[0][1]


def _log_probability(reading: Reading, piece: _Piece) -> float:
    if reading.label == UNKNOWN:
        return 0.0
    if piece.prediction is None:
        return math.log(_MIN_PROBABILITY)
    return math.log(max(float(piece.prediction.scores[int(reading.label)]), _MIN_PROBABILITY))


def _cuts(ink: Plane, columns: list[float], digit_height: float) -> list[list[_Cut]]:
    """Return the seams to cut along: before the first sign, between two, and behind the last."""
    height, width = ink.shape
    seams, costs = ink_seams(ink)
    all_rows = np.arange(height)
    middles = seams.mean(axis=1)
    cuts: list[list[_Cut]] = [[(np.zeros(height, np.intp), 0.0)]]
    for column, following in pairwise(columns):
        center, half = (column + following) / 2, max((following - column) / 2, 1.0)
        away = np.abs(middles - center) / half
        cost = costs + _OFF_CENTER_COST * away
        cost[away > _MAX_OFF_CENTER] = np.inf
        chosen: list[_Cut] = []
        while len(chosen) < _MAX_CUTS:
            number = int(cost.argmin())
            if not np.isfinite(cost[number]):
                break
            ink_on_seam = float(ink[all_rows, seams[number]].sum())
            chosen.append((seams[number], ink_on_seam))
            if ink_on_seam < _FREE_INK:
                break
            near = np.abs(seams - seams[number]).mean(axis=1) < _MIN_DISTANCE_HEIGHTS * digit_height
            cost[near] = np.inf
        cuts.append(chosen or [(np.full(height, round(center), np.intp), math.inf)])
    return [*cuts, [(np.full(height, width, np.intp), 0.0)]]


def _choose(
    part: Plane, start: int, column: float, height: float, first: bool, last: bool
) -> _Piece:
    """Choose the ink of a sign in its part of the line, and find what else is there.

    Args:
        part: (height of the line, width), 0 outside of the part.
        start: column of the line at the part's left edge.
        column: where the line reader sees the sign.
        height: of a digit.
        first: whether the sign is the line's first.
        last: whether it is the last.
    """
    found = find_components(part > _INK_LEVEL, part)
    if found is None:
        return _Piece(None, (int(column), 0, int(column) + 1, len(part)), (), ())
    column -= start
    boxes = found.boxes
    heights = boxes[:, 3] - boxes[:, 1]
    if len(boxes) == 1:
        box = _bounds(boxes)
        alone = part[box[1] : box[3], box[0] : box[2]]
        high_enough = heights[0] >= _MIN_DIGIT_HEIGHTS * height
        return _Piece(alone if high_enough else None, _moved(box, start), (), ())
    # The heaviest component counts less, the further its box is from the sign's column.
    away = np.maximum(np.maximum(boxes[:, 0] - column, column - boxes[:, 2]), 0)
    main = int((found.mass * np.exp(-4 * away / height)).argmax())
    chosen = np.zeros(len(boxes), np.bool_)
    chosen[main] = True
    near = _NEAR_HEIGHTS * height
    for _ in range(2):
        left, _, right, _ = _bounds(boxes[chosen])
        overlap = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
        widths = boxes[:, 2] - boxes[:, 0]
        # Ink above or below it, like the bar of a 5, and ink beside it that nearly touches.
        above = overlap > 0.5 * widths
        beside = (overlap > -near) & (overlap > -0.2 * widths)
        chosen |= above | (beside & (heights > 0.25 * height) & (heights < 0.8 * height))
    box = _bounds(boxes[chosen])
    if box[3] - box[1] < _MIN_DIGIT_HEIGHTS * height:
        ink = None
    else:
        mask = found.paint(chosen, box)
        crop = part[box[1] : box[3], box[0] : box[2]]
        ink = np.where(_thicken(mask), crop, np.float32(0))
    widths = boxes[:, 2] - boxes[:, 0]
    other = (
        ~chosen
        & ~_are_sides(found, part.shape, box, first, last)
        & (heights >= _MIN_LEFT_OVER_HEIGHTS * height)
    )
    dash = (
        ~chosen
        & (widths >= _MIN_DASH_HEIGHTS * height)
        & (heights <= _MAX_DASH_ASPECT * widths)
        & (boxes[:, 3] < len(part) - 0.3 * height)
        & (boxes[:, 1] > 0.25 * height)
    )
    before: list[Box] = []
    after: list[Box] = []
    for number in np.flatnonzero(other | dash):
        is_left = boxes[number, 0] + boxes[number, 2] < box[0] + box[2]
        if dash[number] and ((first and is_left) or (last and not is_left)):
            continue
        (before if is_left else after).append(_moved(_bounds(boxes[number : number + 1]), start))
    return _Piece(ink, _moved(box, start), tuple(before), tuple(after))


def _are_sides(
    found: Components, shape: tuple[int, ...], digit: Box, first: bool, last: bool
) -> npt.NDArray[np.bool_]:
    """Return for each component whether it is the side of a box or the edge of a page, not a 1.

    It is a straight bar that begins above the digit and ends below it, that is thin and taller than
    the digit, or that reaches from the top to the bottom of the crop at its left or right end.

    Args:
        found: components of the part of a line.
        shape: (height, width) of the part.
        digit: in the part.
        first: whether the part is the line's first.
        last: whether it is the last.
    """
    left, top, right, bottom = found.boxes.T
    widths, heights = right - left, bottom - top
    fill = found.area / (widths * heights)
    beyond = _MIN_SIDE_BEYOND_HEIGHTS * (digit[3] - digit[1])
    exceeds = (top <= digit[1] - beyond) & (bottom >= digit[3] + beyond)
    side = exceeds & (widths <= _MAX_SIDE_ASPECT * heights) & (fill >= _MIN_SIDE_FILL)
    reaches = (top <= 1) & (bottom >= shape[0] - 1)
    taller = reaches | (heights >= _MIN_THIN_HEIGHTS * (digit[3] - digit[1]))
    at_end = (first & (left <= 1)) | (last & (right >= shape[1] - 1))
    thin = taller & (widths <= _MAX_THIN_ASPECT * heights)
    edges: npt.NDArray[np.bool_] = side | ((fill >= _MIN_EDGE_FILL) & (thin | (reaches & at_end)))
    return edges


def _moved(box: Box, right: int) -> Box:
    """Move a box to the right."""
    return box[0] + right, box[1], box[2] + right, box[3]


def _bounds(boxes: npt.NDArray[np.intp]) -> Box:
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def _thicken(mask: Mask) -> Mask:
    """Return a mask with the pixels around it, which are the soft edges of strokes."""
    padded = np.pad(mask, 1)
    wide = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    thick: Mask = wide[:-2] | wide[1:-1] | wide[2:]
    return thick
