"""Segments the ink of one digit in a gray picture; ruled lines and specks are left out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.preprocess.background import MIN_AREA, subtract_background
from runtime.preprocess.connected_components import (
    Mask,
    Plane,
    find_components,
)
from runtime.preprocess.grayscale import Gray
from runtime.preprocess.ruled_lines import remove_ruled_lines

Box = tuple[int, int, int, int]

# Whatever is darker than this part of the ink's own level belongs to a stroke.
STROKE_LEVEL = 0.3
# Strokes of a digit 20 pixels high are made at least this wide: MNIST's are mostly 2 to 4.
THIN_STROKE = 1.8
# Strokes wider than this part of the digit's size are none: a square's are 0.64, a disc's 0.5.
SOLID = 0.42
# As much other ink as the digit's, this many times, and it is a part of a drawing or of a text.
_MAX_CLUTTER = 1.5


@dataclass(frozen=True)
class Segment:
    """A digit's ink, float32 from 0 to 1, cut to its box (left, top, right, bottom), right and
    bottom exclusive; whether it is darker than its ground; and whether its shape is no digit's.
    """

    ink: Plane
    box: Box
    dark: bool
    implausible: bool = False


def segment_digit(gray: Gray) -> Segment | None:
    """Find the digit in a gray picture, uint8 (height, width); None where there is no ink."""
    foreground = subtract_background(gray)
    if foreground is None:
        return None
    contrast, level = foreground.contrast, foreground.ink_level
    mask = contrast > max(STROKE_LEVEL * level, 0.75 * foreground.noise_floor)
    mask = remove_ruled_lines(remove_ruled_lines(mask).T).T
    chosen = _choose(mask, contrast)
    if chosen is None:
        return None
    kept, box, implausible = chosen
    ink = contrast[box[1] : box[3], box[0] : box[2]] / np.float32(level)
    ink = dilate_thin_strokes(np.where(kept, np.minimum(ink, 1), np.float32(0)))
    return Segment(
        ink,
        box,
        foreground.dark,
        implausible or foreground.polarity_ambiguous or is_filled_shape(kept),
    )


def is_filled_shape(mask: Mask) -> bool:
    """Return whether this is a filled shape, not strokes; width as in `dilate_thin_strokes`."""
    inner = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    outer = sum(np.count_nonzero(side) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    width = 2 * np.count_nonzero(mask) / max(np.pi / 4 * (inner + outer), 1)
    return bool(width > SOLID * max(mask.shape))


def dilate_thin_strokes(ink: Plane) -> Plane:
    """Widen strokes that would be too thin, among MNIST's, once the digit is 20 pixels high.

    The mean width of a stroke is its area over half its outline, which is pi / 4 of the steps
    between ink and ground counted along rows and columns.
    """
    mask = ink > 0.5
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    width = 2 * np.count_nonzero(mask) / max(np.pi / 4 * steps, 1)
    missing = THIN_STROKE * max(ink.shape) / 20 - width
    extra = min(int(missing + 0.5), max(ink.shape) // 8)
    if extra < 1:
        return ink
    window = extra + 1
    padded = np.zeros((ink.shape[0] + 2 * extra, ink.shape[1] + 2 * extra), np.float32)
    padded[extra:-extra, extra:-extra] = ink
    for _ in range(2):
        have = 1
        while have < window:
            step = min(have, window - have)
            padded = np.maximum(padded[:-step], padded[step:])
            have += step
        padded = padded.T
    return padded


def _choose(mask: Mask, contrast: Plane) -> tuple[Mask, Box, bool] | None:
    """The component that is the digit, with the pieces that lie close to it, cut to its box.

    And whether that is an odd one: amid more ink than its own, or around ink apart from its own.
    """
    height, width = mask.shape
    found = find_components(mask, contrast)
    if found is None:
        return None
    boxes, mass = found.boxes, found.mass
    if mass.size == 1:
        # Most pictures: nothing to choose from, so in fewer calls.
        left, top, right, bottom = bounds = tuple(boxes[0].tolist())
        rims = (left == 0) + (top == 0) + (right == width) + (bottom == height)
        small = (right - left) * (bottom - top) < 0.25 * height * width
        if found.area[0] < MIN_AREA or (rims >= 2 and small):
            return None
        return mask[top:bottom, left:right], bounds, False
    border_count = (boxes[:, :2] == 0).sum(axis=1) + (boxes[:, 2:] == (width, height)).sum(axis=1)
    border = border_count > 0
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height) - 0.5
    corner = (border_count >= 2) & (
        np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) < 0.25 * height * width
    )
    score = mass * np.exp(-4 * (center**2).sum(axis=1)) * np.where(border, 0.2, 1)
    score[corner] *= 0.1
    main = int(score.argmax())
    if found.area[main] < MIN_AREA or corner[main]:
        return None
    kept = np.zeros(mass.size, np.bool_)
    kept[main] = True
    near = (mass > 0.03 * mass[main]) & (~border | border[main])
    box = boxes[main]
    for _ in range(3):
        reach = 0.15 * max(box[2] - box[0], box[3] - box[1])
        gap = np.maximum(boxes[:, :2] - box[2:], box[:2] - boxes[:, 2:]).max(axis=1)
        joined = near & (gap <= reach) & ~kept
        if not joined.any():
            break
        kept |= joined
        box = np.concatenate((boxes[kept, :2].min(axis=0), boxes[kept, 2:].max(axis=0)))
    left, top, right, bottom = (int(edge) for edge in box)
    bounds = left, top, right, bottom
    others = float(mass[~kept & ~border & (mass > 0.05 * mass[main])].sum())
    implausible = others > _MAX_CLUTTER * float(mass[kept].sum())
    pieces = np.flatnonzero(kept & (mass > 0.03 * mass[main]))
    if pieces.size > 1:
        alone = np.arange(mass.size) == main
        outline = found.paint(alone, bounds)
        implausible |= any(_surrounds(outline, boxes[piece] - (left, top) * 2) for piece in pieces)
    return found.paint(kept, bounds), bounds, implausible


def _surrounds(outline: Mask, box: npt.NDArray[np.intp]) -> bool:
    """Whether there is outline on all four sides of a box: no digit has ink apart in its hole."""
    left, top, right, bottom = (int(edge) for edge in box)
    x, y = (left + right) // 2, (top + bottom) // 2
    return bool(
        outline[y, :left].any()
        and outline[y, right:].any()
        and outline[:top, x].any()
        and outline[bottom:, x].any()
    )
