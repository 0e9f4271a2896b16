"""Verifies the proposals of the line reader: cuts each digit out and asks the digit network.

Between neighboring symbols, up to `_MAX_CUTS` seams with little ink are tried. The probabilities of
the digit network decide which of them is cut. `runtime.multi_digit.read_lines` calls `verify`.

A digit is accepted in three cases: the line reader is certain; it is confident, and the digit
network reads the same from the digit's crop (`_judge`); or it is confident at three widths of the
line (`accept_agreed`). Where digits touch, the digit network sees a part of the ink, and the line
reader the whole. Ink as large as a digit for which there is no proposal becomes a symbol that is
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
from runtime.multi_digit.layout import bounding_box
from runtime.multi_digit.line_crop import LineCrop
from runtime.multi_digit.line_reader import UNKNOWN, Proposal
from runtime.multi_digit.split_touching import ink_seams
from runtime.prediction import Prediction
from runtime.preprocess.connected_components import (
    Components,
    IndexArray,
    Mask,
    Plane,
    find_components,
)
from runtime.preprocess.mnist_format import tight_to_mnist_format
from runtime.preprocess.segment import (
    Box,
    dilate_mask,
    dilate_thin_strokes,
    is_filled_shape,
)

# Least confidences of the line reader with which a digit is accepted. `_judge` has the table, and
# says when a digit is clear and when a line is short. They were chosen on composed lines of writers
# who are not trained on: of the digits other than 1 above CERTAIN, 99.6 % were right, whatever the
# digit network reads.
MIN_CLEAR_CONFIDENCE = 0.3  # of a clear digit other than 1
MIN_CLEAR_ONE_CONFIDENCE = 0.45  # of a clear 1 that is not tall, in a line of digits only
MIN_CONFIDENCE = 0.75  # of a digit other than 1, and of a clear 1 that is not tall
MIN_ONE_CONFIDENCE = 0.9  # of any other 1, which may be another stroke
MIN_SHORT_LINE_CONFIDENCE = 0.6  # of a digit other than 1 in a short line; it must not be rejected
CERTAIN = 0.99  # of a digit other than 1 for which the digit network reads another digit
CERTAIN_ONE = 0.997  # of a 1 for which the digit network reads another digit
AGREED = 0.9  # of a digit other than 1 in each of three readings, whatever the digit network reads
AGREED_ONE = 0.7  # of a 1 in each of three readings

_MAX_SHORT_LINE_SYMBOLS = 2  # symbols of a short line, which may be a letter or a drawing
_CLEAR_PROBABILITY = 0.95  # least confidence of the digit network in a digit that is clear
_CORRECTING_CONFIDENCE = 0.99  # least confidence of the digit network if it corrects a digit
_MAX_CORRECTED_CONFIDENCE = 0.97  # of the line reader; a digit with more is not corrected
_WAVY_SEVEN_CONFIDENCE = 0.9  # least confidence of the digit network in a 7, to correct a 4
_WAVY_SEVEN_PROBABILITY = 0.1  # of a 7, of the digit network; a 4 with more is not accepted
_IMPLAUSIBLE = 0.01  # confidence of a proposal that the shape of the ink refutes

# Seams between two symbols.
_MAX_CUTS = 3  # seams that are tried
_MIN_CUT_INK = 0.5  # pixels of full ink; a seam through less cuts no ink, and ends the search
_MIN_DISTANCE_HEIGHTS = 0.12  # digit heights; mean horizontal distance of two seams
_MAX_OFF_CENTER = 0.9  # half distances of the symbols; distance of a seam from the middle of them
_OFF_CENTER_COST = 1.0  # pixels of full ink, at half the distance; the seam in the middle is cut
_MIN_PROBABILITY = 1e-4  # a smaller probability of the digit network counts as this

# The ink of a symbol.
_MIN_INK = 0.3  # of full ink; fainter pixels do not connect components
_DISTANCE_DECAY = 4.0  # a component at distance d, in digit heights, weighs its mass × exp(-4 d)
_MIN_ABOVE_SHARE = (
    0.5  # of a component's width; if more is above or below a digit, it is part of it
)
_MAX_BESIDE_GAP_HEIGHTS = (
    0.12  # digit heights; ink beside a digit at a smaller gap may be part of it
)
_MAX_BESIDE_GAP_SHARE = 0.2  # of the width of ink beside a digit; so must be the gap
_MIN_BESIDE_HEIGHTS = 0.25  # digit heights; shorter ink beside a digit is a speck
_MAX_BESIDE_HEIGHTS = 0.8  # digit heights; taller ink beside a digit is another digit
_MIN_DIGIT_HEIGHTS = 0.3  # digit heights; shorter ink is not a digit

# Ink that is left over.
_MIN_MORE_INK_SHARE = 0.02  # of the digits' ink; a crop with less further ink has no ruled line
_MIN_LEFT_OVER_HEIGHTS = 0.4  # digit heights; taller ink without a proposal becomes a `?`
_MIN_SIDE_BEYOND_HEIGHTS = 0.06  # heights of the digit beside it, that a box's side exceeds it by
_MAX_SIDE_ASPECT = 0.2  # width / height of the side of a box
_MIN_SIDE_FILL = 0.8  # ink of the side of a box / area of its bounding box
_MIN_EDGE_FILL = 0.9  # ink of a thin bar or of the edge of a page / area of its bounding box
_MAX_THIN_ASPECT = 0.12  # width / height of a thin bar
_MIN_THIN_HEIGHTS = 1.1  # height of a thin bar / height of the digit beside it
_MIN_DASH_HEIGHTS = 0.25  # digit heights; a dash between digits is at least this wide
_MAX_DASH_ASPECT = 0.6  # height / width of a dash
_MIN_DASH_TOP_HEIGHTS = 0.25  # digit heights; distance of a dash from the top of the crop
_MIN_DASH_BOTTOM_HEIGHTS = 0.3  # digit heights; distance of a dash from the bottom of the crop

# Strokes that are not a 1.
_MIN_MARGIN_SHARE = 0.1  # of the digits' height; with less, digits touch the crop's top and bottom
_STRONG_INK = 128  # of 255; ink of the crop that is certainly a stroke
_MIN_BORDER_SHARE = 0.6  # of the height of ink at the image border; it is the edge of a page
_MAX_FLAG_HEIGHTS = 0.85  # digit heights; a shorter 1 cut from its neighbor may be another 1's flag
_MAX_ONE_LEAN = 0.27  # tangent; a slash leans this much more than the other digits of its line
_MIN_SLASH_HEIGHTS = 0.95  # height of a slash / median height of the other digits
_FLAG_SHARE = 0.55  # of the height of a 1, from the top; its flag is here
_MIN_FLAG_WIDTHS = 1.7  # width of a 1 at its flag / width of its stem; 1.5 at most of a slash
_BROKEN_ONE_CONFIDENCE = 0.9  # least confidence of the digit network that two 1s are one
_UPRIGHT_ONE = 0.995  # line reader's confidence in a 1 that may lean more


Predict: TypeAlias = Callable[[list[Pixels]], list[Prediction]]
Confirm: TypeAlias = Callable[[Prediction, Pixels], bool]
_Cut: TypeAlias = tuple[IndexArray, float]  # the column of a seam in each row, the ink on it


@dataclass(frozen=True)
class Symbol:
    """One place of a line: a verified proposal, or ink that is left over.

    Attributes:
        label: a digit, or `UNKNOWN`. A digit that is not accepted keeps its label.
        confidence: from 0 to 1, probability of the label.
        accepted: whether the label is certain enough.
        box: in the crop's pixels.
        prediction: of the digit network; None if it was not asked.
        proposal_confidence: confidence of the line reader in its own label, which the digit network
            may have corrected; `_IMPLAUSIBLE` if the shape of the ink refutes it; 0 without a
            proposal.
    """

    label: str
    confidence: float
    accepted: bool
    box: Box
    prediction: Prediction | None = None
    proposal_confidence: float = 0.0
    is_refuted: bool = False

    @property
    def is_left_over(self) -> bool:
        """Whether it is ink of the size of a digit without a proposal."""
        return self.proposal_confidence == 0

    @property
    def is_other(self) -> bool:
        """Whether the line reader sees a symbol that is not a digit."""
        return self.label == UNKNOWN and not self.is_left_over

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be a digit and is not accepted."""
        return not self.accepted and not self.is_other


def accept_agreed(symbols: list[Symbol], agreed: list[float]) -> list[Symbol]:
    """Accept the digits of a line that all of its readings have.

    The digits of a short line stay as they are: a letter may be read as the same digits each time.

    Args:
        symbols: the line's symbols.
        agreed: for each of them, the least confidence that the line reader has in it in any
            reading; 0 if a reading does not have it.
    """
    if len(symbols) <= _MAX_SHORT_LINE_SYMBOLS:
        return symbols
    return [
        replace(symbol, accepted=True, confidence=max(symbol.confidence, confidence))
        if symbol.is_doubtful
        and not symbol.is_left_over
        and not symbol.is_refuted
        and confidence >= (AGREED_ONE if symbol.label == "1" else AGREED)
        else symbol
        for symbol, confidence in zip(symbols, agreed, strict=True)
    ]


def verify(
    crop: LineCrop,
    proposals: list[Proposal],
    predict: Predict,
    confirm: Confirm,
    count_work: Callable[[int, int], None] = lambda pieces, pixels: None,
) -> list[Symbol]:
    """Verify the proposals for a line.

    The digits are cut out of the ink without ruled lines. If the digit network then reads another
    digit, or ink is left over, they are cut out of all ink as well: with a ruled line, strokes that
    touch it may be removed.

    Args:
        crop: the line.
        proposals: of the line reader, from left to right.
        predict: returns the digit network's predictions for pixels, uint8 (28, 28, 1) each.
        confirm: returns whether an accepted prediction stays accepted after test-time augmentation,
            which takes ten times as long as the prediction. Few digits are confirmed.
        count_work: called before pieces of ink are cut out, with their number and with the number
            of pixels that they are cut out of.

    Returns:
        The line's symbols, from left to right.
    """
    if not proposals:
        return []
    is_short = len(proposals) <= _MAX_SHORT_LINE_SYMBOLS
    digits_only = all(proposal.label != UNKNOWN for proposal in proposals)
    pieces = _align(crop.digits, crop, proposals, predict, count_work)
    judged = [
        _judge(proposal, piece, crop, is_short, digits_only, confirm)
        for proposal, piece in zip(proposals, pieces, strict=True)
    ]
    doubtful = any(symbol.is_doubtful for symbol in judged)
    left_over = any(piece.before or piece.after for piece in pieces)
    if (doubtful or left_over) and _has_more_ink(crop):
        others = _align(crop.ink, crop, proposals, predict, count_work)
        for index, (proposal, piece) in enumerate(zip(proposals, others, strict=True)):
            symbol = _judge(proposal, piece, crop, is_short, digits_only, confirm)
            if _rank(symbol, piece) > _rank(judged[index], pieces[index]):
                judged[index], pieces[index] = symbol, piece
    judged, pieces = _join_broken_ones(_reject_slashes(judged, pieces), pieces, predict)
    return _with_left_over_ink(judged, pieces, crop)


def with_cut_off_digits(symbols: list[Symbol], crop: LineCrop) -> list[Symbol]:
    """Add a `?` at each end of a line at which the image border cuts off a digit.

    Args:
        symbols: of the line, from left to right; none if it has no digit.
        crop: the line.
    """
    for box in crop.cut_off if symbols else ():
        left, right = symbols[0].box[0], symbols[-1].box[2]
        middle = (box[0] + box[2]) / 2
        cut_off = Symbol(UNKNOWN, 0.0, False, box)
        if middle < left:
            symbols = [cut_off, *symbols]
        elif middle > right:
            symbols = [*symbols, cut_off]
    return symbols


def _with_left_over_ink(
    judged: list[Symbol], pieces: list["_Piece"], crop: LineCrop
) -> list[Symbol]:
    """Insert the ink that is left over between symbols; drop a 1 that is the flag of the next 1.

    Ink beside a symbol that is not a digit is probably part of that symbol, and not inserted.
    """
    symbols: list[Symbol] = []
    for index, (symbol, piece) in enumerate(zip(judged, pieces, strict=True)):
        if symbol.is_other:
            symbols.append(symbol)
            continue
        is_last = index + 1 == len(judged)
        if not is_last and symbol.label == judged[index + 1].label == "1" and _is_flag(piece, crop):
            continue
        if not (symbols and symbols[-1].label == UNKNOWN):
            symbols.extend(Symbol(UNKNOWN, 0.0, False, box) for box in piece.before)
        symbols.append(symbol)
        if is_last or not judged[index + 1].is_other:
            symbols.extend(Symbol(UNKNOWN, 0.0, False, box) for box in piece.after)
    return symbols


def _has_more_ink(crop: LineCrop) -> bool:
    """Return whether there is other ink in a line's crop than that of its digits."""
    strong, digits = (int(np.count_nonzero(ink > _STRONG_INK)) for ink in (crop.ink, crop.digits))
    return strong > (1 + _MIN_MORE_INK_SHARE) * digits


def _rank(symbol: Symbol, piece: "_Piece") -> tuple[bool, int, float]:
    """Return how good a cut of a digit is: accepted, little ink left over, confident."""
    return symbol.accepted, -len(piece.before) - len(piece.after), symbol.confidence


def _judge(
    proposal: Proposal,
    piece: "_Piece",
    crop: LineCrop,
    is_short: bool,
    digits_only: bool,
    confirm: Confirm,
) -> Symbol:
    """Decide whether a proposed digit is accepted.

    The least confidence of the line reader:

        proposal     the digit network reads the same digit            … another digit
        -----------  ------------------------------------------------  ---------------
        not a 1      MIN_CLEAR_CONFIDENCE if it is clear               CERTAIN
                     MIN_SHORT_LINE_CONFIDENCE in a short line
                     MIN_CONFIDENCE otherwise
        a 1          MIN_CLEAR_ONE_CONFIDENCE if it is clear and no    CERTAIN_ONE
                     taller than the digits, in a line of digits only
                     MIN_CONFIDENCE the same, in another line
                     MIN_ONE_CONFIDENCE otherwise

    A digit is clear if it is not cut from a neighbor, and the digit network accepts it with at
    least `_CLEAR_PROBABILITY`. A 1 that reaches the margin's edge counts as taller than the digits:
    it may be the edge of a shadow. A line of at most `_MAX_SHORT_LINE_SYMBOLS` proposals is short.
    In a short line, and below MIN_CONFIDENCE in each line, the digit network must accept the digit,
    and test-time augmentation must confirm it.

    A filled shape, a 1 that may be another stroke (`_may_be_other_stroke`), and a 4 that may be a
    wavy 7 (`_may_be_wavy_seven`) are never accepted.
    The digit network corrects a digit that stands apart, see `_corrects`.

    Args:
        proposal: of the line reader.
        piece: its ink, and what the digit network reads.
        crop: of the line.
        is_short: whether the line is short.
        digits_only: whether all proposals for the line are digits. Next to an operator, a 1 may be
            part of it.
        confirm: see `verify`.
    """
    if proposal.label == UNKNOWN:
        return Symbol(UNKNOWN, proposal.confidence, False, piece.box, None, proposal.confidence)
    prediction = piece.prediction
    if prediction is None or piece.ink is None or piece.pixels is None:
        return Symbol(
            proposal.label, 0.0, False, piece.box, None, proposal.confidence, is_refuted=True
        )
    if is_filled_shape(piece.ink > 0.5):
        return Symbol(
            proposal.label, 0.0, False, piece.box, prediction, _IMPLAUSIBLE, is_refuted=True
        )
    if _corrects(prediction, piece, proposal) and confirm(prediction, piece.pixels):
        corrected, confidence = prediction.label, prediction.confidence
        return Symbol(corrected, confidence, True, piece.box, prediction, proposal.confidence)
    least = _least_confidence(proposal, prediction, piece, crop, digits_only)
    if is_short and prediction.label == proposal.label != "1":
        least = min(least, MIN_SHORT_LINE_CONFIDENCE)
    accepted = proposal.confidence >= least
    if is_short or proposal.confidence < MIN_CONFIDENCE:
        accepted = accepted and prediction.accepted and confirm(prediction, piece.pixels)
    if proposal.label == "1" and _is_dash(piece.box) and not _has_flag(piece.ink):
        return Symbol("1", 0.0, False, piece.box, prediction, _IMPLAUSIBLE, is_refuted=True)
    is_refuted = proposal.label == "1" and _may_be_other_stroke(piece, crop)
    is_refuted |= proposal.label == "4" and _may_be_wavy_seven(prediction, piece)
    accepted = accepted and not is_refuted
    probability = float(prediction.scores[int(proposal.label)])
    confidence = proposal.confidence * (1.0 if proposal.confidence >= CERTAIN else probability)
    return Symbol(
        proposal.label,
        confidence,
        accepted,
        piece.box,
        prediction,
        proposal.confidence,
        is_refuted=is_refuted,
    )


def _is_dash(box: Box) -> bool:
    """Return whether a box is wider than tall."""
    left, top, right, bottom = box
    return right - left > bottom - top


def _may_be_other_stroke(piece: "_Piece", crop: LineCrop) -> bool:
    """Return whether a 1 may be the edge of a page, the side of a box, or the flag of another 1.

    A 1 that spans the whole height of the crop may be the edge of a page or the side of a box.
    """
    _, top, _, bottom = piece.box
    spans_crop = top == 0 and bottom == len(crop.ink)
    may_be_flag = _is_flag(piece, crop) and not _has_flag(piece.ink)
    return spans_crop or may_be_flag or _is_at_border(piece.box, crop)


def _least_confidence(
    proposal: Proposal,
    prediction: Prediction,
    piece: "_Piece",
    crop: LineCrop,
    digits_only: bool,
) -> float:
    """Return the least confidence of the line reader, except in a short line; see `_judge`."""
    is_one = proposal.label == "1"
    if prediction.label != proposal.label:
        return CERTAIN_ONE if is_one else CERTAIN
    is_clear = not piece.is_cut and prediction.accepted
    is_clear = is_clear and prediction.confidence >= _CLEAR_PROBABILITY
    if is_one:  # the digit network reads any stroke as a clear 1
        _, top, _, bottom = piece.box
        # The side of a box is taller than a digit, and the edge of a shadow begins above it.
        has_margin = len(crop.ink) > (1 + _MIN_MARGIN_SHARE) * crop.digit_height
        is_tall = bottom - top > crop.digit_height
        is_tall |= has_margin and (top == 0 or bottom == len(crop.ink))
        least = MIN_CLEAR_ONE_CONFIDENCE if digits_only else MIN_CONFIDENCE
        return least if is_clear and not is_tall else MIN_ONE_CONFIDENCE
    return MIN_CLEAR_CONFIDENCE if is_clear else MIN_CONFIDENCE


def _corrects(prediction: Prediction, piece: "_Piece", proposal: Proposal) -> bool:
    """Return whether the digit network corrects a digit that stands apart.

    It does so if it is nearly certain and the line reader is not, or if it reads a 7 for a 4. It
    does not correct to a 1, because any stroke looks like one.
    """
    if piece.is_cut or not prediction.accepted:
        return False
    if proposal.label == "4" and prediction.label == "7":
        return prediction.confidence >= _WAVY_SEVEN_CONFIDENCE
    return (
        prediction.label not in ("1", proposal.label)
        and prediction.confidence >= _CORRECTING_CONFIDENCE
        and proposal.confidence < _MAX_CORRECTED_CONFIDENCE
    )


def _may_be_wavy_seven(prediction: Prediction, piece: "_Piece") -> bool:
    """Return whether a 4 that stands apart may be a barred 7 with a wavy top.

    The line reader often takes such a 7 for a 4, and is certain; the digit network rarely does.
    """
    return not piece.is_cut and float(prediction.scores[7]) >= _WAVY_SEVEN_PROBABILITY


def _is_flag(piece: "_Piece", crop: LineCrop) -> bool:
    """Return whether a short 1 that is cut from its neighbor may be the flag of another 1."""
    height = piece.box[3] - piece.box[1]
    return piece.is_cut and height < _MAX_FLAG_HEIGHTS * crop.digit_height


def _reject_slashes(symbols: list[Symbol], pieces: list["_Piece"]) -> list[Symbol]:
    """Reject each 1 that may be a slash.

    A slash is behind another symbol, about as tall as the other digits of the line, leans more, and
    has no flag.
    """
    others = [
        piece
        for symbol, piece in zip(symbols, pieces, strict=True)
        if symbol.accepted and symbol.label != "1" and piece.ink is not None
    ]
    if not others:
        return symbols
    least_lean = float(np.median([_lean(piece.ink) for piece in others])) + _MAX_ONE_LEAN
    least_height = float(np.median([piece.box[3] - piece.box[1] for piece in others]))
    return [
        replace(symbol, accepted=False, is_refuted=True)
        if index
        and symbol.label == "1"
        and symbol.proposal_confidence < _UPRIGHT_ONE
        and piece.box[3] - piece.box[1] >= _MIN_SLASH_HEIGHTS * least_height
        and _lean(piece.ink) > least_lean
        and not _has_flag(piece.ink)
        else symbol
        for index, (symbol, piece) in enumerate(zip(symbols, pieces, strict=True))
    ]


def _join_broken_ones(
    symbols: list[Symbol], pieces: list["_Piece"], predict: Predict
) -> tuple[list[Symbol], list["_Piece"]]:
    """Join two 1s that touch, or of which one is above the other, if they look like one 1.

    The line reader may take a long flag and the stem of a 1 for two 1s. As they may be two, the
    joined 1 is not accepted.
    """
    pairs = [
        index
        for index, (left, right) in enumerate(pairwise(pieces))
        if symbols[index].label == symbols[index + 1].label == "1"
        and left.ink is not None
        and right.ink is not None
        and (left.is_cut or left.box[2] > right.box[0])
    ]
    joined = predict([_joined_pixels(pieces[index], pieces[index + 1]) for index in pairs])
    symbols, pieces = list(symbols), list(pieces)
    for index, prediction in reversed(list(zip(pairs, joined, strict=True))):
        if prediction.label != "1" or prediction.confidence < _BROKEN_ONE_CONFIDENCE:
            continue
        left, right = symbols[index : index + 2]
        box = _union(left.box, right.box)
        confidence = min(left.proposal_confidence, right.proposal_confidence)
        symbols[index : index + 2] = [
            Symbol("1", confidence, False, box, prediction, confidence, is_refuted=True)
        ]
        after = pieces.pop(index + 1).after
        pieces[index] = replace(pieces[index], box=box, after=after)
    return symbols, pieces


def _joined_pixels(left: "_Piece", right: "_Piece") -> Pixels:
    """Return the ink of two pieces as one digit in MNIST's format."""
    box = _union(left.box, right.box)
    ink = np.zeros((box[3] - box[1], box[2] - box[0]), np.float32)
    for piece in (left, right):
        assert piece.ink is not None
        rows = slice(piece.box[1] - box[1], piece.box[3] - box[1])
        columns = slice(piece.box[0] - box[0], piece.box[2] - box[0])
        ink[rows, columns] = np.maximum(ink[rows, columns], piece.ink)
    return tight_to_mnist_format(dilate_thin_strokes(ink))


def _union(box: Box, other: Box) -> Box:
    """Return the smallest box that contains both boxes."""
    return bounding_box(np.array([box, other]))


def _lean(ink: Plane | None) -> float:
    """Return the tangent of the angle by which ink leans to the right, from its moments."""
    if ink is None:
        return 0.0
    rows, columns = np.indices(ink.shape)
    mass = max(float(ink.sum()), 1e-6)
    down = rows - float((ink * rows).sum()) / mass
    across = columns - float((ink * columns).sum()) / mass
    return -float((ink * down * across).sum()) / max(float((ink * down * down).sum()), 1e-6)


def _has_flag(ink: Plane | None) -> bool:
    """Return whether ink is clearly wider in its upper part than below, as a 1 with a flag is."""
    if ink is None:
        return False
    strokes = ink > 0.5
    widths = strokes.shape[1] - strokes.argmax(axis=1) - strokes[:, ::-1].argmax(axis=1)
    widths = np.where(strokes.any(axis=1), widths, 0)
    middle = round(_FLAG_SHARE * len(widths))
    stem = max(float(np.median(widths[middle:])), 1.0)
    return float(np.quantile(widths[:middle], 0.9)) >= _MIN_FLAG_WIDTHS * stem


def _is_at_border(box: Box, crop: LineCrop) -> bool:
    """Return whether ink runs along the left or right side of the crop, where the image may end."""
    left, top, right, bottom = box
    sides = [crop.ink[top:bottom, 0]] * (left <= 1)
    sides += [crop.ink[top:bottom, -1]] * (right >= crop.ink.shape[1] - 1)
    return any((side > _STRONG_INK).mean() > _MIN_BORDER_SHARE for side in sides)


@dataclass(frozen=True, eq=False)
class _Piece:
    """The ink of a line that is cut out for one symbol.

    Attributes:
        ink: float32 from 0 to 1, cropped; None if there is too little.
        box: of `ink` in the crop's pixels.
        before: boxes of other ink of the size of a digit, to the left of the symbol.
        after: boxes of other ink of the size of a digit, to the right of the symbol.
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


_Options: TypeAlias = dict[
    tuple[int, int], _Piece
]  # index of the left and of the right cut → piece


def _align(
    plane: npt.NDArray[np.uint8],
    crop: LineCrop,
    proposals: list[Proposal],
    predict: Predict,
    count_work: Callable[[int, int], None],
) -> list[_Piece]:
    """Cut a line between its symbols, so that the pieces look most like them.

    Between two symbols there are up to `_MAX_CUTS` seams to cut along. The cuts with the highest
    product of the probabilities that the digit network gives the symbols are found by dynamic
    programming (forced alignment).

    Args:
        plane: `crop.digits` or `crop.ink`.
        crop: the line.
        proposals: see `verify`.
        predict: see `verify`.
        count_work: see `verify`.
    """
    ink = plane.astype(np.float32) / np.float32(255)
    width = ink.shape[1]
    columns = [min(proposal.x_fraction, 1.0) * width for proposal in proposals]
    cuts = _cuts(ink, columns, crop.digit_height)
    widths = [
        int(right.max()) - int(left.min())
        for before, after in pairwise(cuts)
        for left, _ in before
        for right, _ in after
    ]
    count_work(len(widths), len(ink) * sum(widths))
    all_options = [
        _cut_out(
            ink,
            column,
            crop.digit_height,
            (cuts[index], cuts[index + 1]),
            (index == 0, index + 1 == len(columns)),
        )
        for index, column in enumerate(columns)
    ]
    _predict_pieces(all_options, proposals, predict)
    best: dict[int, tuple[float, list[_Piece]]] = {0: (0.0, [])}
    for proposal, options in zip(proposals, all_options, strict=True):
        following: dict[int, tuple[float, list[_Piece]]] = {}
        for (left_cut, right_cut), piece in options.items():
            score = best[left_cut][0] + _log_probability(proposal, piece)
            if right_cut not in following or score > following[right_cut][0]:
                following[right_cut] = (score, [*best[left_cut][1], piece])
        best = following
    return best[0][1]


def _cut_out(
    ink: Plane,
    column: float,
    digit_height: float,
    cuts: tuple[list[_Cut], list[_Cut]],
    at_end: tuple[bool, bool],
) -> _Options:
    """Cut the ink of one symbol out of a line, along each pair of a left and a right cut.

    Args:
        ink: of the line.
        column: horizontal position of the proposal, in pixels.
        digit_height: of the line's digits, in pixels.
        cuts: to the left, and to the right of the symbol.
        at_end: whether the symbol is the line's first, and whether it is the last.
    """
    all_columns = np.arange(ink.shape[1])
    options = {}
    for left_cut, (left, left_ink) in enumerate(cuts[0]):
        for right_cut, (right, right_ink) in enumerate(cuts[1]):
            start, end = int(left.min()), max(int(right.max()), int(left.min()) + 1)
            columns = all_columns[start:end]
            inside = (columns >= left[:, None]) & (columns < right[:, None])
            part = np.where(inside, ink[:, start:end], np.float32(0))
            piece = _select_ink(part, start, column, digit_height, at_end)
            is_cut = max(left_ink, right_ink) >= _MIN_CUT_INK
            options[left_cut, right_cut] = replace(piece, is_cut=is_cut)
    return options


def _predict_pieces(
    all_options: list[_Options], proposals: list[Proposal], predict: Predict
) -> None:
    """Add the digit network's prediction to each piece of a proposed digit, in one batch."""
    asked = [
        (options, key, tight_to_mnist_format(dilate_thin_strokes(piece.ink)))
        for proposal, options in zip(proposals, all_options, strict=True)
        if proposal.label != UNKNOWN
        for key, piece in options.items()
        if piece.ink is not None
    ]
    predictions = predict([pixels for *_, pixels in asked])
    for (options, key, pixels), prediction in zip(asked, predictions, strict=True):
        options[key] = replace(options[key], pixels=pixels, prediction=prediction)


def _log_probability(proposal: Proposal, piece: _Piece) -> float:
    if proposal.label == UNKNOWN:
        return 0.0
    if piece.prediction is None:
        return math.log(_MIN_PROBABILITY)
    return math.log(max(float(piece.prediction.scores[int(proposal.label)]), _MIN_PROBABILITY))


def _cuts(ink: Plane, columns: list[float], digit_height: float) -> list[list[_Cut]]:
    """Return the seams to cut along: before the first symbol, between two, and behind the last."""
    height, width = ink.shape
    seams, seam_costs = ink_seams(ink)
    all_rows = np.arange(height)
    middles = seams.mean(axis=1)
    cuts: list[list[_Cut]] = [[(np.zeros(height, np.intp), 0.0)]]
    for column, following in pairwise(columns):
        center, half = (column + following) / 2, max((following - column) / 2, 1.0)
        off_center = np.abs(middles - center) / half
        cost = seam_costs + _OFF_CENTER_COST * off_center
        cost[off_center > _MAX_OFF_CENTER] = np.inf
        chosen: list[_Cut] = []
        while len(chosen) < _MAX_CUTS:
            cheapest = int(cost.argmin())
            if not np.isfinite(cost[cheapest]):
                break
            seam = seams[cheapest]
            # The cost includes diagonal steps; whether the seam cuts ink depends on the ink alone.
            ink_on_seam = float(ink[all_rows, seam].sum())
            chosen.append((seam, ink_on_seam))
            if ink_on_seam < _MIN_CUT_INK:
                break
            near = np.abs(seams - seam).mean(axis=1) < _MIN_DISTANCE_HEIGHTS * digit_height
            cost[near] = np.inf
        cuts.append(chosen or [(np.full(height, round(center), np.intp), math.inf)])
    return [*cuts, [(np.full(height, width, np.intp), 0.0)]]


def _select_ink(
    part: Plane, start: int, column: float, digit_height: float, at_end: tuple[bool, bool]
) -> _Piece:
    """Select the ink of a symbol in its part of the line, and find what else is there.

    Args:
        part: (height of the line, width), 0 outside of the part.
        start: column of the line at the part's left edge.
        column: horizontal position of the proposal, in pixels of the line.
        digit_height: of the line's digits, in pixels.
        at_end: whether the symbol is the line's first, and whether it is the last.
    """
    found = find_components(part > _MIN_INK, part)
    if found is None:
        return _Piece(None, (int(column), 0, int(column) + 1, len(part)), (), ())
    if len(found.boxes) == 1:
        box = bounding_box(found.boxes)
        ink = part[box[1] : box[3], box[0] : box[2]]
        tall_enough = len(ink) >= _MIN_DIGIT_HEIGHTS * digit_height
        return _Piece(ink if tall_enough else None, _moved(box, start), (), ())
    chosen = _main_components(found, column - start, digit_height)
    box = bounding_box(found.boxes[chosen])
    if box[3] - box[1] < _MIN_DIGIT_HEIGHTS * digit_height:
        main_ink = None
    else:
        mask = found.paint(chosen, box)
        main_ink = np.where(
            dilate_mask(mask), part[box[1] : box[3], box[0] : box[2]], np.float32(0)
        )
    before: list[Box] = []
    after: list[Box] = []
    is_dash, is_other = _left_over(found, ~chosen, part.shape, box, digit_height, at_end)
    for index in np.flatnonzero(is_other | is_dash):
        left, _, right, _ = other = bounding_box(found.boxes[index : index + 1])
        is_before = left + right < box[0] + box[2]
        # A dash before the first digit, or behind the last one, is not between digits.
        if is_dash[index] and at_end[0 if is_before else 1]:
            continue
        (before if is_before else after).append(_moved(other, start))
    return _Piece(main_ink, _moved(box, start), tuple(before), tuple(after))


def _main_components(found: Components, column: float, digit_height: float) -> Mask:
    """Return for each of several components whether it belongs to the symbol at a column."""
    boxes = found.boxes
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    # The heaviest component counts less, the further its box is from the symbol's column.
    distances = np.maximum(np.maximum(boxes[:, 0] - column, column - boxes[:, 2]), 0)
    main = int((found.mass * np.exp(-_DISTANCE_DECAY * distances / digit_height)).argmax())
    chosen = np.zeros(len(boxes), np.bool_)
    chosen[main] = True
    gap = _MAX_BESIDE_GAP_HEIGHTS * digit_height
    for _ in range(2):
        left, _, right, _ = bounding_box(boxes[chosen])
        overlap = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
        # Ink above or below it, like the bar of a 5, and ink beside it that nearly touches.
        above = overlap > _MIN_ABOVE_SHARE * widths
        beside = (overlap > -gap) & (overlap > -_MAX_BESIDE_GAP_SHARE * widths)
        beside &= heights > _MIN_BESIDE_HEIGHTS * digit_height
        beside &= heights < _MAX_BESIDE_HEIGHTS * digit_height
        chosen |= above | beside
    return chosen


def _left_over(
    found: Components,
    unused: Mask,
    shape: tuple[int, ...],
    digit: Box,
    digit_height: float,
    at_end: tuple[bool, bool],
) -> tuple[Mask, Mask]:
    """Return for each component whether it is a dash, and whether it may be a missed digit.

    Args:
        found: the components of a part of the line.
        unused: (N,), whether a component does not belong to the symbol.
        shape: (height, width) of the part.
        digit: box of the symbol, in the part.
        digit_height: of the line's digits, in pixels.
        at_end: whether the symbol is the line's first, and whether it is the last.
    """
    tops, bottoms = found.boxes[:, 1], found.boxes[:, 3]
    widths, heights = (found.boxes[:, 2:] - found.boxes[:, :2]).T
    is_other = unused & ~_are_sides(found, shape, digit, at_end)
    # On a curved baseline, the digits of a line are shorter than its `digit_height`.
    is_other &= heights >= _MIN_LEFT_OVER_HEIGHTS * min(digit_height, digit[3] - digit[1])
    is_dash = (
        unused
        & (widths >= _MIN_DASH_HEIGHTS * digit_height)
        & (heights <= _MAX_DASH_ASPECT * widths)
        & (bottoms < shape[0] - _MIN_DASH_BOTTOM_HEIGHTS * digit_height)
        & (tops > _MIN_DASH_TOP_HEIGHTS * digit_height)
    )
    return is_dash, is_other


def _are_sides(
    found: Components, shape: tuple[int, ...], digit: Box, at_end: tuple[bool, bool]
) -> Mask:
    """Return for each component whether it is the side of a box or the edge of a page, not a 1.

    It is a straight bar that begins above the digit and ends below it, that is thin and taller than
    the digit, or that reaches from the top to the bottom of the crop at its left or right end.

    Args:
        found: the components of a part of the line.
        shape: (height, width) of the part.
        digit: box of the symbol, in the part.
        at_end: whether the symbol is the line's first, and whether it is the last.
    """
    left, top, right, bottom = found.boxes.T
    widths, heights = right - left, bottom - top
    fill = found.area / (widths * heights)
    digit_height = digit[3] - digit[1]
    beyond = _MIN_SIDE_BEYOND_HEIGHTS * digit_height
    exceeds = (top <= digit[1] - beyond) & (bottom >= digit[3] + beyond)
    is_side = exceeds & (widths <= _MAX_SIDE_ASPECT * heights) & (fill >= _MIN_SIDE_FILL)
    spans_crop = (top <= 1) & (bottom >= shape[0] - 1)
    is_taller = spans_crop | (heights >= _MIN_THIN_HEIGHTS * digit_height)
    is_thin = is_taller & (widths <= _MAX_THIN_ASPECT * heights)
    is_first, is_last = at_end
    is_at_end = (is_first & (left <= 1)) | (is_last & (right >= shape[1] - 1))
    is_edge = (fill >= _MIN_EDGE_FILL) & (is_thin | (spans_crop & is_at_end))
    sides: Mask = is_side | is_edge
    return sides


def _moved(box: Box, right: int) -> Box:
    """Move a box to the right."""
    return box[0] + right, box[1], box[2] + right, box[3]
