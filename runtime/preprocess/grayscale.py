"""Gray planes of a decoded picture: its luminance, or the axis along which its colors differ.

Large pictures are converted a strip at a time, so that no second one of their size is held.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

Gray: TypeAlias = npt.NDArray[np.uint8]
Convert: TypeAlias = Callable[[Image.Image], Image.Image]

# So many pixels are converted at a time.
_STRIP = 1 << 20
# What pictures with an alpha are resized as: their colors weigh as much as they are opaque.
_WEIGHTED = {"LA": "La", "RGBA": "RGBa"}


def row_slices(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture, in slices of at most `_STRIP` pixels, but a row at least."""
    rows = max(1, _STRIP // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def downscale(image: Image.Image, longest: int, convert: Convert | None = None) -> Image.Image:
    """The image, converted, its longest side reduced to at most `longest` pixels.

    A large one gives the same as `convert(image)` resized at once.
    """
    width, height = image.size
    ratio = min(longest / max(width, height), 1)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    if convert is None or width * height <= _STRIP:
        whole = image if convert is None else convert(image)
        if size == image.size:
            return whole
        return whole.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    # What Pillow does for a reducing_gap of 2: means of whole blocks first, the rest with weights.
    x, y = max(1, int(width / size[0] / 2)), max(1, int(height / size[1] / 2))
    rows = max(1, _STRIP // (width * y)) * y
    small: Image.Image | None = None
    filled, mode = 0, ""
    for top in range(0, height, rows):
        part = convert(_cut(image, slice(top, min(top + rows, height))))
        if size != image.size:
            mode = part.mode
            part = part.convert(_WEIGHTED.get(mode, mode)).reduce((x, y))
        if small is None:
            small = Image.new(part.mode, (part.width, -(-height // y)))
        small.paste(part, (0, filled))
        filled += part.height
    assert small is not None
    if size == image.size:
        return small
    box = (0, 0, width / x, height / y)
    return small.resize(size, Image.Resampling.BILINEAR, box=box).convert(mode)


def luminance(image: Image.Image, longest: int) -> Gray:
    """Luminance, uint8 (height, width) of at most `longest`; transparent ones: `_composite`."""
    mode = image.mode
    if mode == "L" and "transparency" not in image.info:
        return _as_array(image, longest)
    if mode in ("I", "F") or mode.startswith("I;"):
        numbers = _scale(lambda rows: np.asarray(_cut(image, rows)), image.size[::-1])
        return _as_array(Image.fromarray(numbers), longest)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        full = mode if mode in _WEIGHTED else "LA" if mode == "La" else "RGBA"
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
    return image.crop((0, rows.start, image.width, rows.stop))


def _as_array(image: Image.Image, longest: int, convert: Convert | None = None) -> Gray:
    """`downscale` as an array; `np.asarray` of a large picture holds two more copies meanwhile."""
    if max(image.size) > longest or image.width * image.height <= _STRIP:
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
    """Lay a transparent image, (height, width, 2) luminance and alpha, over a ground.

    A picture with its own ground keeps it: most of it is opaque and holds light and dark, so the
    rest is filled with its median. A bare drawing is laid over the ground it contrasts with:
    white under dark ink, black under light ink.
    """
    light, alpha = pair[..., 0], pair[..., 1]
    counts = np.zeros(256, np.int64)
    for rows in row_slices(*light.shape):
        counts += np.bincount(light[rows][alpha[rows] > 127], minlength=256)
    seen = int(counts.sum())
    if seen == 0:
        ground = 255.0
    elif seen > 0.5 * alpha.size and quantile(counts, 0.98) - quantile(counts, 0.02) > 48:
        ground = quantile(counts, 0.5)
    else:
        ground = 255.0 if counts @ np.arange(256) < 128 * seen else 0.0
    laid = np.empty(light.shape, np.uint8)
    for rows in row_slices(*light.shape):
        part = alpha[rows].astype(np.float32) / 255
        laid[rows] = np.rint(light[rows] * part + np.float32(ground) * (1 - part))
    return laid


def quantile(counts: npt.NDArray[np.int64], part: float) -> float:
    """`np.quantile` of whole numbers from 0, of which there are so many each."""
    at = part * (int(counts.sum()) - 1)
    below, above = np.searchsorted(np.cumsum(counts), (int(at), int(np.ceil(at))), "right")
    return float(below + (above - below) * (at - int(at)))


def first_principal_component(image: Image.Image, longest: int) -> Gray:
    """Gray along the axis on which the colors vary most, for ink as light as its paper."""
    convert = None if image.mode == "RGB" else lambda part: part.convert("RGB")
    small = downscale(image, longest, convert)
    parts = list(row_slices(*small.size[::-1]))

    def colors(rows: slice) -> npt.NDArray[np.float32]:
        return np.asarray(_cut(small, rows)).reshape(-1, 3).astype(np.float32)

    pixels = small.width * small.height
    mean = sum(colors(rows).sum(axis=0) for rows in parts) / np.float32(pixels)
    spread = np.zeros((3, 3), np.float32)
    for rows in parts:
        apart = colors(rows) - mean
        spread += apart.T @ apart
    axis = np.linalg.eigh(spread)[1][:, -1]
    # Of a large picture every so many pixels give the median.
    step = len(parts)
    middle = np.median(np.concatenate([((colors(rows) - mean) @ axis)[::step] for rows in parts]))
    gray = np.empty(small.size[::-1], np.uint8)
    for rows in parts:
        values = (colors(rows) - mean) @ axis + (128 - middle)
        gray[rows] = np.clip(np.rint(values), 0, 255).reshape(gray[rows].shape)
    return gray


def to_uint8(values: npt.NDArray[Any]) -> Gray:
    """Scale numbers without a declared depth: full scale is the usual one that holds them."""
    return _scale(values.__getitem__, values.shape)


def _scale(part: Callable[[slice], npt.NDArray[Any]], shape: tuple[int, ...]) -> Gray:
    """`to_uint8` of an array of this shape, of which `part` gives rows."""
    parts = list(row_slices(shape[0], int(np.prod(shape[1:]))))
    low, high = np.float32(0), np.float32(-np.inf)
    for rows in parts:
        values = np.nan_to_num(part(rows).astype(np.float32))
        low, high = min(low, values.min()), max(high, values.max())
    span = float(high - low)
    full = next((scale for scale in (1, 255, 4095, 65535) if span <= scale), span)
    gray = np.empty(shape, np.uint8)
    for rows in parts:
        values = np.nan_to_num(part(rows).astype(np.float32)) - low
        gray[rows] = np.rint(values * np.float32(255 / full))
    return gray
