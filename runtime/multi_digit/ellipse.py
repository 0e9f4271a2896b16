"""Fits an ellipse to a drawn circle, so that digits that touch it can be cut from it."""

import numpy as np

from runtime.preprocess.connected_components import Mask, Plane
from runtime.preprocess.segment import dilate

_SAMPLES = 1000  # pixels that the ellipse is fitted to
# The scales of the robust fits, in half sides of the frame: pixels that are further from the
# ellipse than this hardly count.
_FIT_SCALES = (0.3, 0.2, 0.1, 0.07, 0.05, 0.05, 0.05)
_MIN_COVERED_SHARE = 0.9  # of the ellipse; with less ink along it, the frame is not an ellipse
_MIN_SLOPE = 1e-6  # avoids a division by 0 at the center


def distance_from_ellipse(ink: Mask, reach_px: int) -> Plane | None:
    """Fit an ellipse to a frame, and return the distance of each pixel from it.

    The conic a x² + b xy + c y² + d x + e y = 1 is fitted by iteratively reweighted least squares
    with Cauchy's weights, so that digits that touch the frame hardly count. The distance is
    Sampson's approximation, |F| / |∇F|.

    Args:
        ink: (height, width), of the frame, cropped to it.
        reach_px: by how many pixels the frame may differ from the ellipse.

    Returns:
        float32 (height, width), in pixels; None if the frame is not an ellipse.
    """
    rows, columns = np.nonzero(ink)
    step = max(len(rows) // _SAMPLES, 1)
    scale = max(ink.shape) / 2
    middle_row, middle_column = (ink.shape[0] - 1) / 2, (ink.shape[1] - 1) / 2
    x = (columns[::step] - middle_column) / scale
    y = (rows[::step] - middle_row) / scale
    terms = np.stack((x * x, x * y, y * y, x, y), axis=1)
    weights = np.ones(len(x))
    for fit_scale in _FIT_SCALES:
        fitted = np.linalg.lstsq(terms * weights[:, None], weights, rcond=None)[0]
        a, b, c, d, e = fitted.tolist()
        slope = np.hypot(2 * a * x + b * y + d, b * x + 2 * c * y + e)
        off = (terms @ fitted - 1) / np.maximum(slope, _MIN_SLOPE)
        weights = 1 / (1 + (off / fit_scale) ** 2)
    if b * b >= 4 * a * c:  # a hyperbola or a parabola
        return None
    across = (np.arange(ink.shape[1], dtype=np.float32) - middle_column) / scale
    down = (np.arange(len(ink), dtype=np.float32)[:, None] - middle_row) / scale
    value = (a * across + b * down + d) * across + (c * down + e) * down - 1
    gradient = np.hypot(2 * a * across + b * down + d, b * across + 2 * c * down + e)
    inside = value < 0
    if any(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1])):
        return None
    distance: Plane = scale * np.abs(value) / np.maximum(gradient, _MIN_SLOPE)
    curve = distance <= 1
    covered = _dilated(ink, reach_px)[curve]
    return distance if covered.size and covered.mean() >= _MIN_COVERED_SHARE else None


def without_curve(ink: Mask, distance: Plane, band_px: float, line_width: float) -> Mask:
    """Remove the ink along a curve, but not the strokes that cross it.

    Args:
        ink: (height, width).
        distance: (height, width), of each pixel from the curve.
        band_px: distance up to which ink is removed.
        line_width: of the curve, in pixels; ink of the band that is nearer to other ink is kept.
    """
    rest = ink & (distance > band_px)
    kept: Mask = rest | (ink & _dilated(rest, round(line_width) + 1))
    return kept


def _dilated(mask: Mask, pixels: int) -> Mask:
    dilated: Mask = dilate(np.pad(mask, pixels).astype(np.float32), 2 * pixels + 1) > 0
    return dilated
