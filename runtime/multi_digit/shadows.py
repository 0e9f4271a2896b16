"""Evens out light with a sharp edge, such as that of a shadow, which hides the digits beside it.

`runtime.preprocess.background` estimates the light on a very coarse copy, on which the edge of a
shadow is wide. Here it is estimated on a finer copy, in which only strokes of the digits' height
are removed. `runtime.multi_digit.recognize.decode_page` calls `even_light`.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.background import opening
from runtime.preprocess.grayscale import Gray

_SIDE_PX = 384  # longer side of the copy on which the light is estimated
_STROKE_HEIGHTS = 0.6  # in heights of a digit; wider dark areas are shadows, not strokes
_MIN_WINDOW_PX = 5  # of the copy
_PAPER_LEVEL = 200.0  # gray level of the paper in the evened page
_MIN_STEP = 0.12  # share by which the light changes at a sharp edge …
_EDGE_PX = 3  # … within this distance in the copy
_MIN_EDGE_SHARE = 0.25  # of the rows or columns have such an edge, if there is a shadow


def even_light(gray: Gray, digit_height: float) -> Gray | None:
    """Divide a page of dark ink by its light, which is its grayscale closing.

    Args:
        gray: uint8 (height, width).
        digit_height: of a typical digit, in pixels.

    Returns:
        uint8 of the same shape; None if the light has no sharp edge.
    """
    picture = Image.fromarray(gray)
    scale = min(_SIDE_PX / max(gray.shape), 1.0)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    copy = np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(np.float32)
    window = max(int(_STROKE_HEIGHTS * digit_height * scale), _MIN_WINDOW_PX) | 1
    if window >= min(size):
        return None
    light = np.maximum(255 - opening(255 - copy[:, None], window)[:, 0], 1)
    if not _has_sharp_edge(light):
        return None
    enlarged = Image.fromarray(light).resize(picture.size, Image.Resampling.BILINEAR)
    even: Gray = np.clip(gray * (np.float32(_PAPER_LEVEL) / np.asarray(enlarged)), 0, 255).astype(
        np.uint8
    )
    return even


def _has_sharp_edge(light: npt.NDArray[np.float32]) -> bool:
    for plane in (light, light.T):
        before, after = plane[:-_EDGE_PX], plane[_EDGE_PX:]
        steps = np.abs(after - before) > _MIN_STEP * np.maximum(before, after)
        if steps.any(axis=0).mean() > _MIN_EDGE_SHARE:
            return True
    return False
