"""Convert decoded pictures to gray: luminance, or the first principal component of the colors.

`runtime.preprocess.decode` calls `luminance` first. If the luminance shows no ink,
`runtime.preprocess.pipeline` requests `first_principal_component`: ink may be as light as its paper
and differ in color only. Large pictures are converted in strips of rows, to save the memory of a
second picture of the full size.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Gray: TypeAlias = npt.NDArray[np.uint8]  # (height, width), gray levels 0 to 255
Convert: TypeAlias = Callable[[Image.Image], Image.Image]  # a conversion, pixel by pixel

_STRIP_PIXELS = 1 << 20  # pictures with more pixels are converted in strips of this many pixels
_REDUCING_GAP = 2.0  # Pillow reduces by whole blocks first, to at least twice the result's size
# Pillow's modes with transparency → modes in which such pictures are resized.
_PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}

# A picture with transparent parts is a complete picture with a background if both of these hold;
# otherwise it is a drawing, see `_composite`.
_MIN_OPAQUE_SHARE = 0.5  # more than this share of all pixels is opaque
_MIN_CONTRAST_LEVELS = 48  # of 255; the opaque pixels' percentiles 2 and 98 differ by more

# The middle gray level. A pixel is opaque if its alpha is at least this. A drawing is dark ink if
# the mean luminance of its opaque pixels is below this. The median of the first principal component
# is moved to this.
_HALF_LEVEL = 128
_FULL_SCALES = (1, 255, 4095, 65535)  # highest values of 1, 8, 12 and 16 bits, see `to_uint8`


def row_slices(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows, each of at most 2^20 pixels but at least one row.

    Args:
        height: number of rows.
        width: pixels per row.
    """
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def downscale(image: Image.Image, longest: int, convert: Convert | None = None) -> Image.Image:
    """Convert an image and scale it down.

    The result does not depend on whether the image is converted in strips.

    Args:
        image: a decoded image.
        longest: largest length of the result's longer side, in pixels. A smaller image keeps its
            size.
        convert: converts the image or a strip of the image; None converts nothing.

    Returns:
        An image in the mode that `convert` returns; `image` itself if nothing changes.
    """
    width, height = image.size
    ratio = min(longest / max(width, height), 1)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if convert is None or width * height <= _STRIP_PIXELS:
        whole = image if convert is None else convert(image)
        if size == image.size:
            return whole
        return whole.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
    # Do the same as `resize` above: first the means of whole blocks, then resampling.
    x = max(1, int(width / size[0] / _REDUCING_GAP))
    y = max(1, int(height / size[1] / _REDUCING_GAP))
    # Strips of a few rows; if one row of blocks is larger than a strip, parts of it.
    columns = min(width, max(1, _STRIP_PIXELS // (y * x)) * x)
    rows = max(1, _STRIP_PIXELS // (columns * y)) * y
    small: Image.Image | None = None
    mode = ""
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            right, bottom = min(left + columns, width), min(top + rows, height)
            part = convert(image.crop((left, top, right, bottom)))
            if size != image.size:
                mode = part.mode
                part = part.convert(_PREMULTIPLIED.get(mode, mode)).reduce((x, y))
            if small is None:
                small = Image.new(part.mode, (-(-width // x), -(-height // y)))
            small.paste(part, (left // x, top // y))
    assert small is not None
    if size == image.size:
        return small
    box = (0, 0, width / x, height / y)
    return small.resize(size, Image.Resampling.BILINEAR, box=box).convert(mode)


def reduced(gray: Gray, longest: int) -> Gray:
    """Return a gray image whose longer side is at most `longest` pixels, by averaging areas."""
    height, width = gray.shape
    scale = min(longest / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))


def luminance(image: Image.Image, longest: int) -> Gray:
    """Return the luminance of an image.

    Transparent parts get a background: for a drawing a contrasting one, otherwise the median level
    of the opaque pixels.

    Args:
        image: a decoded image of any mode.
        longest: largest length of the result's longer side, in pixels.

    Returns:
        uint8 (height, width).
    """
    mode = image.mode
    if mode == "L" and "transparency" not in image.info:
        return _as_array(image, longest)
    if mode in ("I", "F") or mode.startswith("I;"):
        numbers = _scale(lambda rows: np.asarray(_cut(image, rows)), image.size[::-1])
        return _as_array(Image.fromarray(numbers), longest)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        full = mode if mode in _PREMULTIPLIED else "LA" if mode == "La" else "RGBA"
        for rows in row_slices(image.height, image.width):
            if _cut(image, rows).convert(full).getchannel("A").getextrema() != (255, 255):
                return _composite(
                    _as_array(image, longest, lambda part: part.convert(full).convert("LA"))
                )
        return _as_array(image, longest, lambda part: part.convert(full).convert("L"))
    if mode in ("LAB", "YCbCr"):
        return _as_array(image, longest, lambda part: part.getchannel(0))
    if mode == "HSV":
        return _as_array(image, longest, lambda part: part.convert("RGB").convert("L"))
    return _as_array(image, longest, lambda part: part.convert("L"))


def _cut(image: Image.Image, rows: slice) -> Image.Image:
    """Return some rows of an image."""
    return image.crop((0, rows.start, image.width, rows.stop))


def _as_array(image: Image.Image, longest: int, convert: Convert | None = None) -> Gray:
    """Return `downscale` as an array.

    An image of unchanged size is copied in strips: `np.asarray` would hold two more copies of it.
    """
    if max(image.size) > longest or image.width * image.height <= _STRIP_PIXELS:
        return np.asarray(downscale(image, longest, convert))
    array = None
    for rows in row_slices(image.height, image.width):
        part = _cut(image, rows)
        values = np.asarray(part if convert is None else convert(part))
        if array is None:
            array = np.empty((image.height, *values.shape[1:]), np.uint8)
        array[rows] = values
    assert array is not None
    return array


def _composite(pair: Gray) -> Gray:
    """Composite a transparent image over a uniform background.

    The image may be a complete picture: most of it is opaque, with light and dark pixels. Then the
    background is the median of the opaque pixels. Otherwise the opaque part is a drawing. A drawing
    gets a contrasting background: white for dark ink, black for light ink.

    Args:
        pair: uint8 (height, width, 2), luminance and alpha.

    Returns:
        uint8 (height, width); white if all pixels are transparent.
    """
    light, alpha = pair[..., 0], pair[..., 1]
    counts = np.zeros(256, np.int64)
    for rows in row_slices(*light.shape):
        counts += np.bincount(light[rows][alpha[rows] >= _HALF_LEVEL], minlength=256)
    opaque = int(counts.sum())
    if opaque == 0:
        ground = 255.0
    elif (
        opaque > _MIN_OPAQUE_SHARE * alpha.size
        and quantile(counts, 0.98) - quantile(counts, 0.02) > _MIN_CONTRAST_LEVELS
    ):
        ground = quantile(counts, 0.5)
    else:
        ground = 255.0 if counts @ np.arange(256) < _HALF_LEVEL * opaque else 0.0
    gray = np.empty(light.shape, np.uint8)
    for rows in row_slices(*light.shape):
        opacity = alpha[rows].astype(np.float32) / 255
        gray[rows] = np.rint(light[rows] * opacity + np.float32(ground) * (1 - opacity))
    return gray


def quantile(counts: npt.NDArray[np.int64], part: float) -> float:
    """Return `np.quantile` of whole numbers, given their histogram.

    Args:
        counts: (values,), the number of zeros, of ones, of twos, and so on; not all 0.
        part: the quantile, 0 to 1: 0.5 is the median.
    """
    rank = part * (int(counts.sum()) - 1)
    below, above = np.searchsorted(np.cumsum(counts), (int(rank), int(np.ceil(rank))), "right")
    return float(below + (above - below) * (rank - int(rank)))


def first_principal_component(image: Image.Image, longest: int) -> Gray:
    """Return the first principal component of the colors, for ink that is as light as its paper.

    Args:
        image: a decoded image.
        longest: largest length of the result's longer side, in pixels.

    Returns:
        uint8 (height, width). The median is 128. The sign is arbitrary: ink may be lighter or
        darker than the paper.
    """
    convert = None if image.mode == "RGB" else lambda part: part.convert("RGB")
    small = downscale(image, longest, convert)
    parts = list(row_slices(*small.size[::-1]))

    def colors(rows: slice) -> npt.NDArray[np.float32]:
        return np.asarray(_cut(small, rows)).reshape(-1, 3).astype(np.float32)

    pixels = small.width * small.height
    mean = sum(colors(rows).sum(axis=0) for rows in parts) / np.float32(pixels)
    covariance = np.zeros((3, 3), np.float32)
    for rows in parts:
        deviation = colors(rows) - mean
        covariance += deviation.T @ deviation
    axis = np.linalg.eigh(covariance)[1][:, -1]
    step = len(parts)  # the median is taken of every `step`-th pixel, about one strip in total
    middle = np.median(np.concatenate([((colors(rows) - mean) @ axis)[::step] for rows in parts]))
    gray = np.empty(small.size[::-1], np.uint8)
    for rows in parts:
        values = (colors(rows) - mean) @ axis + (_HALF_LEVEL - middle)
        gray[rows] = np.clip(np.rint(values), 0, 255).reshape(gray[rows].shape)
    return gray


def to_uint8(values: npt.NDArray[Any]) -> Gray:
    """Scale numbers of unknown bit depth to gray levels.

    Level 0 is the value 0, or the minimum if there are negative values. The span is the maximum
    minus the value of level 0. The value of level 255 lies one full scale above level 0. The full
    scale is the first of 1, 255, 4095 and 65535 that is not less than the span. For a larger span,
    the full scale is the span. NaN counts as 0.

    Args:
        values: an array of numbers of any shape with at least one axis.

    Returns:
        uint8 array of the same shape.
    """
    return _scale(values.__getitem__, values.shape)


def _scale(part: Callable[[slice], npt.NDArray[Any]], shape: tuple[int, ...]) -> Gray:
    """Return `to_uint8` of an array of this shape, whose rows are returned by `part`."""
    parts = list(row_slices(shape[0], int(np.prod(shape[1:]))))
    low, high = np.float32(0), np.float32(-np.inf)
    for rows in parts:
        values = np.nan_to_num(part(rows).astype(np.float32))
        low, high = min(low, values.min()), max(high, values.max())
    span = float(high - low)
    full = next((scale for scale in _FULL_SCALES if span <= scale), span)
    gray = np.empty(shape, np.uint8)
    for rows in parts:
        values = np.nan_to_num(part(rows).astype(np.float32)) - low
        gray[rows] = np.rint(values * np.float32(255 / full))
    return gray
