"""A second look at what may be no digit: turned, slanted, thicker and thinner it is still the same.

A digit stays what it is when it is written a little differently; what only happens to look like
one does not.
"""

import numpy as np
from PIL import Image, ImageFilter

from runtime.backends import Pixels
from runtime.preprocess import normalise

# Radians turned and slant, as it is and either way; each with the pen as it is, thicker, thinner.
_WAYS = ((0.0, 0.0), (0.2, 0.0), (-0.2, 0.0), (0.0, 0.25), (0.0, -0.25))
# Enlarged, so that a pen can grow by less than a pixel; what is fainter is a resampling's rim.
_SIDE, _FAINT = 84, 40
_PENS = (None, ImageFilter.MaxFilter(5), ImageFilter.MinFilter(3))


def variants(pixels: Pixels) -> Pixels:
    """The same ink written differently, (15, 28, 28, 1) uint8, of pixels (28, 28, 1) uint8."""
    large = Image.fromarray(pixels[:, :, 0]).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    middle = np.full(2, _SIDE / 2)
    written = []
    for turn, slant in _WAYS:
        cos, sin = np.cos(turn), np.sin(turn)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, slant], [0, 1]])
        x, y = (middle - matrix @ middle).tolist()
        across, down = matrix.tolist()
        moved = large.transform(
            large.size,
            Image.Transform.AFFINE,
            (*across, x, *down, y),
            Image.Resampling.BILINEAR,
        )
        for pen in _PENS:
            ink = np.asarray(moved if pen is None else moved.filter(pen))
            written.append(normalise(np.where(ink > _FAINT, ink, 0)))
    return np.stack(written)
