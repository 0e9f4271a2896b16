"""Segment the ink of one digit in a gray picture.

`segment_digit` subtracts the background, thresholds the contrast and removes ruled lines. Then it
chooses the connected component that is most likely the digit, and the pieces close to this
component. If the digit is in a region with another ground than its surroundings, all of this is
repeated in the region. `Segment.implausible` marks shapes that are probably not digits.

`runtime.preprocess.pipeline` calls `segment_digit` for images that are not in MNIST's format yet.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from runtime.preprocess.background import (
    MIN_AREA_PX,
    MIN_CONTRAST_LEVELS,
    Foreground,
    otsu,
    subtract_background,
    subtract_even_background,
)
from runtime.preprocess.connected_components import Components, Mask, Plane, find_components
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.region import MIN_WINDOW_PX as MIN_WINDOW_PX
from runtime.preprocess.region import Box as Box
from runtime.preprocess.region import Region, find_region
from runtime.preprocess.ruled_lines import remove_ruled_lines
from runtime.preprocess.tight_crop import is_tight, possible_polarities

# A pixel is ink if its contrast is above both of these limits.
_STROKE_LEVEL_SHARE = 0.3  # of the ink's mean contrast
_NOISE_LEVEL_SHARE = 0.75  # of the noise floor

# Longer side. In a picture up to this size, a pixel beside ink is part of the soft edge of a
# stroke if its contrast is above the second limit only.
_MAX_SOFT_SIDE_PX = 31

# The digit is the component with the highest score: the mass (sum of the contrast of the pixels)
# times the factors that apply.
_CENTER_DECAY = 4  # factor exp(-4 d²); d: distance from the center, in widths and heights
_BORDER_FACTOR = 0.2  # factor if the component touches an edge of the picture
_CORNER_FACTOR = 0.1  # additional factor if the component is in a corner of the picture
# Of the picture's area. A component whose box is smaller and touches two edges is in a corner.
_MAX_CORNER_SHARE = 0.25

# Components near the digit become pieces of the digit.
_MIN_PIECE_SHARE = 0.03  # of the digit's mass; lighter components are specks, which are left out
_MAX_PIECE_GAP_SHARE = 0.15  # of the longer side of the digit's box; more distant ones are left out
_MAX_JOIN_ROUNDS = 3  # each round enlarges the box, which brings further components near
# Of the narrower box's width. Ink that touches one edge of the picture is a piece of the digit if
# it is that much above or below the rest: the bar of a 5 at the upper edge.
_MIN_STACKED_SHARE = 0.5

# Of the greater height. Ink beside the digit is a neighbor if both share at least this height.
_MIN_NEIGHBOR_SHARE = 0.5

# Pixels, if the digit's longer side is 20 pixels. Thinner strokes are widened. More would close the
# narrow openings of digits in pencil; MNIST has 2 to 4.
MIN_STROKE_PX = 1.3
FORMAT_DIGIT_PX = 20  # longer side of a digit in MNIST's format
# Width of the strokes as a share of the digit's longer side. With wider strokes, the digit is a
# filled shape and implausible: a square has 0.64, a disc 0.5.
_MAX_STROKE_SHARE = 0.42

# A region around the digit is searched for in a picture of at least this side, whose levels have at
# least this range.
_MIN_REGION_SIDE_PX = 32
_MIN_REGION_RANGE_LEVELS = 40  # of 255
_MIN_WINDOW_SHARE = 0.45  # of its box; ink that covers more may be a window around a digit
_MAX_GROUND_DIFFERENCE_LEVELS = 40  # between digit and rim; with a larger one, they may be regions
_MAX_REGION_STROKE_SHARE = 0.33  # as `_MAX_STROKE_SHARE`; wider strokes are the hole of a digit
_MIN_REGION_ASPECT = 0.5  # height / width of a digit in a region

# Clutter is ink around the digit. With too much clutter, the digit is part of a drawing or a text
# and implausible.
_MIN_CLUTTER_SHARE = 0.05  # of the digit's mass; lighter components are not clutter
_MAX_CLUTTER_RATIO = 1.5  # times the digit's mass; with a larger mass, the clutter is too much

# A piece of ink in a hole is the dot of a zero if all three hold; otherwise it is implausible.
_MIN_ZERO_ASPECT = 1.15  # height / width of the zero; a circle with a dot is a symbol
_MAX_DOT_OFFSET = 0.06  # of the zero's width and height; distance from the center
_MAX_DOT_SIZE = (0.36, 0.26)  # of the zero's width and height; size of the dot


@dataclass(frozen=True)
class Segment:
    """The ink of one digit.

    Attributes:
        ink: float32 (height, width) from 0 to 1, cropped to `box`. With a rim on all sides if the
            strokes were widened.
        box: left, top, right, bottom of the digit in the picture's pixels; right and bottom
            exclusive.
        dark: whether the ink is darker than its background.
        implausible: whether the shape is probably not a digit.
        has_neighbors: whether other ink, about as high as the digit, stands in a line with it.
    """

    ink: Plane
    box: Box
    dark: bool
    implausible: bool = False
    has_neighbors: bool = False


def segment_digit(gray: Gray, *, is_part: bool = False) -> Segment | None:
    """Segment the digit in a gray picture.

    If the digit is in a region with another ground than the rest of the picture, or in a drawn
    circle or box, it is segmented in this region alone.

    Args:
        gray: uint8 (height, width).
        is_part: whether it is a part of a larger picture. Otherwise, if it is small, faint pixels
            beside the ink are kept: they are the soft edges of strokes.

    Returns:
        The segment; None if the picture is blank, or if the only ink is too small or in a corner.
    """
    segment = _segment_whole(gray, is_part)
    if not _may_have_region(gray, segment):
        return segment
    region = _find_region(gray, None if segment is None else segment.box)
    if region is None:
        return segment
    inside = segment_digit(region.gray, is_part=True)
    if inside is None or inside.implausible or not _is_digit_of_region(inside.ink):
        return segment
    x, y = region.box[:2]
    left, top, right, bottom = inside.box
    return replace(
        inside,
        box=(left + x, top + y, right + x, bottom + y),
        has_neighbors=inside.has_neighbors or _has_neighbors(region.others, region.box),
    )


def _may_have_region(gray: Gray, segment: Segment | None) -> bool:
    """Return whether the digit may be in a region of the picture.

    It may if the ink is not certainly a digit, fills its box like a window, or has another ground
    than the picture's rim has.

    Args:
        gray: uint8 (height, width), the picture.
        segment: the ink of the picture.
    """
    if min(gray.shape) < _MIN_REGION_SIDE_PX:
        return False
    if segment is None or segment.implausible:
        return True
    left, top, right, bottom = segment.box
    rim = np.concatenate((gray[0], gray[-1], gray[:, 0], gray[:, -1]))
    part = gray[top:bottom, left:right]
    ground = np.quantile(part, 0.8 if segment.dark else 0.2)
    return bool(
        segment.ink.mean() > _MIN_WINDOW_SHARE
        or abs(ground - np.median(rim)) > _MAX_GROUND_DIFFERENCE_LEVELS
    )


def _is_digit_of_region(ink: Plane) -> bool:
    """Return whether ink in a region may be a digit, not the hole of a thick digit or a dash."""
    height, width = ink.shape
    strokes_are_thin = stroke_width(ink > 0.5) <= _MAX_REGION_STROKE_SHARE * max(ink.shape)
    return bool(strokes_are_thin and height >= _MIN_REGION_ASPECT * width)


def _find_region(gray: Gray, around: Box | None) -> Region | None:
    """Find the region around ink: split the picture at its Otsu threshold, then by its ink."""
    values = gray.ravel().astype(np.float32)
    if values.max() - values.min() < _MIN_REGION_RANGE_LEVELS:
        return None
    region = find_region(gray, gray >= otsu(values)[0], around)
    if region is not None:
        return region
    found = _find_ink(gray)
    return None if found is None else find_region(gray, found[1], around)


def _find_ink(gray: Gray) -> tuple[Foreground, Mask] | None:
    """Return a picture without its background, and the mask of its ink without ruled lines."""
    foreground = subtract_background(gray)
    if foreground is None:
        return None
    stroke = _STROKE_LEVEL_SHARE * foreground.ink_level
    mask = foreground.contrast > max(stroke, _NOISE_LEVEL_SHARE * foreground.noise_floor)
    return foreground, remove_ruled_lines(remove_ruled_lines(mask).T).T


def _segment_whole(gray: Gray, is_part: bool) -> Segment | None:
    """Segment the digit in a gray picture that is one region; arguments as for `segment_digit`."""
    for dark in possible_polarities(gray):
        foreground = subtract_even_background(gray, dark)
        if foreground is None:
            continue
        level = foreground.ink_level
        mask = foreground.contrast > np.float32(_STROKE_LEVEL_SHARE * level)
        components = find_components(mask, foreground.contrast)
        if components is None or not is_tight(mask, components, foreground.noise_floor / level):
            continue
        chosen = _choose(mask, components, tight=True)
        if chosen is not None and not (chosen[2] or is_filled_shape(chosen[0])):
            if max(gray.shape) <= _MAX_SOFT_SIDE_PX:
                chosen = _with_soft_edges(chosen, foreground.contrast, MIN_CONTRAST_LEVELS)
            return _cut_out(foreground, chosen)
    found = _find_ink(gray)
    if found is None:
        return None
    foreground, mask = found
    components = find_components(mask, foreground.contrast)
    if components is None:
        return None
    chosen = _choose(mask, components)
    if chosen is None:
        return None
    if max(gray.shape) <= _MAX_SOFT_SIDE_PX and not is_part:
        chosen = _with_soft_edges(chosen, foreground.contrast, foreground.noise_floor)
    segment = _cut_out(foreground, chosen)
    return replace(segment, has_neighbors=_has_neighbors(components.boxes, segment.box))


def _has_neighbors(boxes: npt.NDArray[np.intp], box: Box) -> bool:
    """Return whether ink to the left or right of the digit is about as high as the digit.

    Args:
        boxes: left, top, right, bottom of each component of the picture, (N, 4).
        box: of the digit.
    """
    left, top, right, bottom = box
    beside = (boxes[:, 0] >= right) | (boxes[:, 2] <= left)
    lowest = _MIN_NEIGHBOR_SHARE * np.maximum(boxes[:, 3] - boxes[:, 1], bottom - top)
    overlap = np.minimum(boxes[:, 3], bottom) - np.maximum(boxes[:, 1], top)
    return bool((beside & (overlap >= lowest)).any())


def _with_soft_edges(
    chosen: tuple[Mask, Box, bool], contrast: Plane, noise_floor: float
) -> tuple[Mask, Box, bool]:
    """Add the pixels beside the ink that are fainter; `chosen` is the result of `_choose`."""
    kept, (left, top, right, bottom), implausible = chosen
    beside = dilate(np.pad(kept, 1).astype(np.float32), 3) > 0
    faint = contrast > np.float32(_NOISE_LEVEL_SHARE * noise_floor)
    return beside & faint[top:bottom, left:right], (left, top, right, bottom), implausible


def _cut_out(foreground: Foreground, chosen: tuple[Mask, Box, bool]) -> Segment:
    """Cut the digit out of the picture; `chosen` is the result of `_choose`."""
    kept, box, implausible = chosen
    contrast, level = foreground.contrast, foreground.ink_level
    ink = contrast[box[1] : box[3], box[0] : box[2]] / np.float32(level)
    ink = dilate_thin_strokes(np.where(kept, np.minimum(ink, 1), np.float32(0)))
    return Segment(
        ink,
        box,
        foreground.dark,
        implausible or foreground.polarity_ambiguous or is_filled_shape(kept),
    )


def is_filled_shape(mask: Mask) -> bool:
    """Return whether a shape is filled instead of drawn with strokes.

    Args:
        mask: (height, width) bool, True for ink, cropped to the shape.
    """
    return bool(stroke_width(mask) > _MAX_STROKE_SHARE * max(mask.shape))


def stroke_width(mask: Mask) -> float:
    """Return the mean stroke width of a shape, estimated as in `dilate_thin_strokes`.

    Args:
        mask: (height, width) bool, True for ink, cropped to the shape.
    """
    inner = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    outer = sum(np.count_nonzero(side) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return float(2 * np.count_nonzero(mask) / max(np.pi / 4 * (inner + outer), 1))


def dilate_thin_strokes(ink: Plane) -> Plane:
    """Widen strokes that would be thinner than MNIST's strokes after scaling to 20 pixels.

    Args:
        ink: float32 (height, width) from 0 to 1, cropped to the digit.

    Returns:
        `ink` if the strokes are wide enough. Otherwise a grayscale dilation of `ink`; the array is
        then larger by the same number of pixels on all sides.
    """
    extra = missing_stroke_width(ink, max(ink.shape))
    if extra < 1:
        return ink
    return dilate(np.pad(ink, extra), extra + 1)


def missing_stroke_width(ink: Plane, side: int) -> int:
    """Return by how many pixels strokes are thinner than MNIST's.

    The mean width of a stroke is the area divided by half the outline. The outline is estimated as
    pi / 4 times the number of transitions between ink and background along rows and columns.

    Args:
        ink: (height, width) from 0 to 1.
        side: the longer side of a digit, in pixels.
    """
    mask = ink > 0.5
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    width = 2 * np.count_nonzero(mask) / max(np.pi / 4 * steps, 1)
    missing = MIN_STROKE_PX * side / FORMAT_DIGIT_PX - width
    # The missing pixels, rounded, but at most an eighth of the longer side.
    return min(int(missing + 0.5), side // 8)


def dilate(ink: Plane, window: int) -> Plane:
    """Return the maximum over a square window; each side of it is smaller by window - 1 pixels."""
    for _ in range(2):  # along one axis; the transposition at the end exchanges the axes
        covered = 1
        while covered < window:
            step = min(covered, window - covered)
            ink = np.maximum(ink[:-step], ink[step:])
            covered += step
        ink = ink.T
    return ink


def dilate_mask(mask: Mask) -> Mask:
    """Return a mask, of the same shape, with the 8 neighbors of each of its pixels."""
    padded = np.pad(mask, 1)
    wide = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    dilated: Mask = wide[:-2] | wide[1:-1] | wide[2:]
    return dilated


def _choose(
    mask: Mask, components: Components, *, tight: bool = False
) -> tuple[Mask, Box, bool] | None:
    """Choose the component that is most likely the digit, and the pieces close to this component.

    Args:
        mask: (height, width) bool, True for ink.
        components: the components of the mask.
        tight: whether the picture is cropped to the digit. Then ink at an edge is as likely a digit
            as other ink.

    Returns:
        The mask of the digit, cropped to the box; the box; and whether the digit is implausible. A
        digit is implausible if there is too much other ink around it, or a separate piece of ink in
        its hole. None if the most likely component is too small or in a corner.
    """
    height, width = mask.shape
    boxes, mass = components.boxes, components.mass
    if mass.size == 1:
        # A fast path for the most common case.
        left, top, right, bottom = bounds = tuple(boxes[0].tolist())
        rims = (left == 0) + (top == 0) + (right == width) + (bottom == height)
        small = (right - left) * (bottom - top) < _MAX_CORNER_SHARE * height * width
        if components.area[0] < MIN_AREA_PX or (rims >= 2 and small and not tight):
            return None
        return mask[top:bottom, left:right], bounds, False
    border_count = (boxes[:, :2] == 0).sum(axis=1) + (boxes[:, 2:] == (width, height)).sum(axis=1)
    border_count *= not tight
    border = border_count > 0
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height) - 0.5
    corner = (border_count >= 2) & (
        np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) < _MAX_CORNER_SHARE * height * width
    )
    score = mass * np.exp(-_CENTER_DECAY * (center**2).sum(axis=1))
    score *= np.where(border, _BORDER_FACTOR, 1)
    score[corner] *= _CORNER_FACTOR
    main = int(score.argmax())
    if components.area[main] < MIN_AREA_PX or corner[main]:
        return None
    kept = np.zeros(mass.size, np.bool_)
    kept[main] = True
    heavy = mass > _MIN_PIECE_SHARE * mass[main]
    near = heavy & (~border | border[main])
    cut_off = heavy & ~near & (border_count == 1)
    box = boxes[main]
    for _ in range(_MAX_JOIN_ROUNDS):
        reach = _MAX_PIECE_GAP_SHARE * max(box[2] - box[0], box[3] - box[1])
        gap = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1)
        joined = (near | (cut_off & _is_stacked(boxes, box))) & (gap <= reach) & ~kept
        if not joined.any():
            break
        kept |= joined
        box = np.concatenate((boxes[kept, :2].min(axis=0), boxes[kept, 2:].max(axis=0)))
    left, top, right, bottom = (int(edge) for edge in box)
    bounds = left, top, right, bottom
    clutter = float(mass[~kept & ~border & (mass > _MIN_CLUTTER_SHARE * mass[main])].sum())
    implausible = clutter > _MAX_CLUTTER_RATIO * float(mass[kept].sum())
    pieces = np.flatnonzero(kept & (mass > _MIN_PIECE_SHARE * mass[main]))
    if pieces.size > 1:
        surrounded = []
        middle = (boxes[pieces, :2] + boxes[pieces, 2:]) // 2
        for outer in pieces:
            within = ((boxes[outer, :2] < middle) & (middle < boxes[outer, 2:])).all(axis=1)
            within &= pieces != outer
            if not within.any():
                continue
            outline = components.paint(np.arange(mass.size) == outer, bounds)
            places = boxes[pieces[within]] - (left, top) * 2
            surrounded += [(outline, place) for place in places if _surrounds(outline, place)]
        implausible |= bool(surrounded) and not (
            len(surrounded) == 1 and _is_zero_dot(*surrounded[0])
        )
    return components.paint(kept, bounds), bounds, implausible


def _is_stacked(boxes: npt.NDArray[np.intp], box: npt.NDArray[np.intp]) -> Mask:
    """Return which boxes overlap a box, or are above or below it; not those that surround it.

    Args:
        boxes: left, top, right, bottom of each component, (N, 4).
        box: of the digit.
    """
    overlap = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    width = np.minimum(boxes[:, 2] - boxes[:, 0], box[2] - box[0])
    surrounds = (boxes[:, :2] <= box[:2]).all(axis=1) & (boxes[:, 2:] >= box[2:]).all(axis=1)
    overlaps = (overlap > 0).all(axis=1)
    stacked: Mask = (overlaps | (overlap[:, 0] >= _MIN_STACKED_SHARE * width)) & ~surrounds
    return stacked


def _is_zero_dot(outline: Mask, box: npt.NDArray[np.intp]) -> bool:
    """Return whether a piece of ink in a hole is the dot of a zero, as monospaced fonts have it.

    Args:
        outline: (height, width) bool, the mask of the zero.
        box: left, top, right, bottom of the dot, in pixels of the mask.
    """
    height, width = outline.shape
    size = (box[2:] - box[:2]) / (width, height)
    offset = np.abs((box[:2] + box[2:]) / 2 / (width, height) - 0.5)
    return bool(
        height >= _MIN_ZERO_ASPECT * width
        and (offset <= _MAX_DOT_OFFSET).all()
        and (size <= _MAX_DOT_SIZE).all()
    )


def _surrounds(outline: Mask, box: npt.NDArray[np.intp]) -> bool:
    """Return whether a mask has ink on the left, on the right, above and below a box.

    Then the ink in the box is a separate piece of ink in a hole. Only a dotted zero has such a
    piece, see `_is_zero_dot`.

    Args:
        outline: (height, width) bool, the mask of one component.
        box: left, top, right, bottom of another component, in pixels of the mask.
    """
    left, top, right, bottom = (int(edge) for edge in box)
    x, y = (left + right) // 2, (top + bottom) // 2
    return bool(
        outline[y, :left].any()
        and outline[y, right:].any()
        and outline[:top, x].any()
        and outline[bottom:, x].any()
    )
