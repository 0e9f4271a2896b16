"""Flattens illumination with a sharp edge, such as that of a shadow, which hides digits beside it.

`runtime.preprocess.background` estimates the illumination on a very coarse copy, on which the edge
of a shadow is wide. Here it is estimated on a finer copy, in which only strokes of the digits'
height are removed. `runtime.multi_digit.recognize` calls `flatten_illumination`.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.background import opening
from runtime.preprocess.grayscale import Gray, reduced

_REDUCED_SIDE_PX = 384  # longer side of the reduced copy on which the illumination is estimated
_STROKE_HEIGHTS = 0.6  # digit heights; wider dark areas are shadows, not strokes
_MIN_WINDOW_PX = 5  # pixels of the copy; narrower dark areas are strokes, however small the digits
_PAPER_LEVEL = 200.0  # gray level of the paper in the flattened page
_MIN_STEP = 0.12  # share by which the illumination changes at a sharp edge
_EDGE_PX = 3  # pixels of the copy, within which it changes
_MIN_EDGE_SHARE = 0.25  # of the rows or columns; if fewer have such an edge, there is no shadow


def flatten_illumination(gray: Gray, digit_height: float) -> Gray | None:
    """Divide a page of dark ink by its illumination, which is its grayscale closing.

    Args:
        gray: uint8 (height, width).
        digit_height: of a typical digit, in pixels.

    Returns:
        uint8 of the same shape; None if the illumination has no sharp edge.
    """
    scale = min(_REDUCED_SIDE_PX / max(gray.shape), 1.0)
    copy = reduced(gray, _REDUCED_SIDE_PX).astype(np.float32)
    window = max(int(_STROKE_HEIGHTS * digit_height * scale), _MIN_WINDOW_PX) | 1
    if window >= min(copy.shape):
        return None
    illumination = np.maximum(255 - opening(255 - copy[:, None], window)[:, 0], 1)
    if not _has_sharp_edge(illumination):
        return None
    size = gray.shape[1], gray.shape[0]
    enlarged = Image.fromarray(illumination).resize(size, Image.Resampling.BILINEAR)
    flattened = gray * (np.float32(_PAPER_LEVEL) / np.asarray(enlarged))
    result: Gray = np.clip(flattened, 0, 255).astype(np.uint8)
    return result


def _has_sharp_edge(illumination: npt.NDArray[np.float32]) -> bool:
    for plane in (illumination, illumination.T):
        before, after = plane[:-_EDGE_PX], plane[_EDGE_PX:]
        steps = np.abs(after - before) > _MIN_STEP * np.maximum(before, after)
        if steps.any(axis=0).mean() > _MIN_EDGE_SHARE:
            return True
    return False
