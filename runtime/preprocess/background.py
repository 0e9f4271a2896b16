"""Subtract uneven light and the paper from a gray picture, leaving the contrast of the ink.

`subtract_background` estimates the light on a coarse copy. It also decides whether ink is darker or
lighter than its background, and measures the noise. `runtime.preprocess.segment` and
`runtime.multi_digit.layout` threshold the result to find ink.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray, row_slices

# Width and height of the coarse copy on which the light is estimated; smaller pictures keep their
# size.
_COARSE_SIDE_PX = 48
# Of the copy's longer side. Marks that are wider in both directions count as uneven light and are
# subtracted.
_MAX_STROKE_SHARE = 0.4

# A pixel is a candidate for ink if its contrast exceeds both of these limits.
NOISE_FACTOR = 4.0  # times the standard deviation of the background's noise
MIN_CONTRAST_LEVELS = 10.0  # of 255 gray levels
MIN_AREA_PX = 6  # number of pixels; with fewer candidates, the picture is blank

# The polarity (ink darker or lighter) is ambiguous if the absolute lightness score is smaller, as
# in a pattern whose ink and background are alike. The shape then counts as implausible. Of 4,000
# MNIST digits, 1 is ambiguous if cropped with a margin of a twentieth of the digit's height, and 23
# without a margin.
_MIN_LIGHTNESS = 0.02
# Of the copy's longer side: widths of the windows whose means the lightness score subtracts.
_LOCAL_SHARES = (0.15, 0.5)

# In a tight crop, ink may cover more area than the background. If both of these conditions hold,
# the background is measured on the pixels below the Otsu threshold, otherwise on all pixels.
_MIN_SEPARATION = 0.8  # the threshold explains a larger share of the variance than this
_MAX_GROUND_SHARE = 0.6  # a smaller share of the pixels than this is below the threshold

# A tight crop is even if the threshold explains at least this share of the variance. Soft and thin
# strokes have 0.73.
_MIN_EVEN_SEPARATION = 0.7

# The background is measured on every n-th pixel of a larger picture: on 2048 to 4095 pixels.
_GROUND_SAMPLES = 2048

_BIN_COUNT = 64  # bins of the histogram for the Otsu threshold
_BINS = np.arange(_BIN_COUNT)  # numbers of these bins
_FIT_ROUNDS = 3  # reweighted fits of the light's surface, after the first fit
_MIN_FIT_SCALE_LEVELS = 0.5  # gray levels; avoids a division by 0 in pictures of one level
_RIDGE = (np.eye(6) * 1e-2).astype(np.float32)  # regularizes the surface fit for thin pictures


@dataclass(frozen=True)
class Foreground:
    """A picture without its background.

    Attributes:
        contrast: float32 (height, width), 0 to 255: the difference between each pixel and the
            background, in gray levels. It is 0 if the pixel differs in the direction opposite to
            ink.
        noise_floor: contrast in gray levels; a lower contrast may be noise.
        ink_level: mean contrast of the ink, the candidates above their Otsu threshold.
        dark: whether ink is darker than its background.
        polarity_ambiguous: whether ink and background are too alike to decide `dark`.
    """

    contrast: Plane
    noise_floor: float
    ink_level: float
    dark: bool
    polarity_ambiguous: bool


def subtract_even_background(gray: Gray, dark: bool) -> Foreground | None:
    """Subtract a background of one level, which may be the smaller part of the picture.

    Args:
        gray: uint8 (height, width), at least 1x1.
        dark: whether ink is darker than its background.

    Returns:
        The foreground; None if the picture does not consist of two levels, ink and background.
    """
    contrast = (255 - gray if dark else gray).astype(np.float32)
    sample = _sorted_sample(contrast)
    threshold, separation = otsu(sample)
    if separation < _MIN_EVEN_SEPARATION:
        return None
    ground, noise = _ground(sample[: np.searchsorted(sample, threshold)])
    ink = sample[sample > ground + MIN_CONTRAST_LEVELS]
    if not ink.size:
        return None
    level = _mean(ink[ink >= otsu(ink)[0]]) - ground
    contrast -= np.float32(ground)
    np.maximum(contrast, 0, out=contrast)
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST_LEVELS)
    return Foreground(contrast, floor, level, dark, False)


def subtract_background(gray: Gray, dark: bool | None = None) -> Foreground | None:
    """Subtract the background from a gray picture.

    If the ink is dark, the picture is inverted. The light is estimated on a coarse copy, as the
    higher of two grayscale openings. The first is the opening of the copy, the second the opening
    of the copy minus a fitted surface. The contrast is the picture minus the light; negative values
    are set to 0.

    Args:
        gray: uint8 (height, width), at least 1x1.
        dark: whether ink is darker than its background; None decides by the picture.

    Returns:
        The foreground; None if the picture is blank: it has fewer than `MIN_AREA_PX` candidates for
        ink.
    """
    height, width = gray.shape
    size = (min(width, _COARSE_SIDE_PX), min(height, _COARSE_SIDE_PX))
    picture = Image.fromarray(gray)
    coarse = np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(np.float32)
    lightness = _lightness(coarse)
    if dark is None:
        dark = lightness <= 0
    if dark:
        coarse = 255 - coarse
    surface = _smooth_light(coarse)
    window = int(_MAX_STROKE_SHARE * max(coarse.shape)) | 1
    # Neither opening exceeds the picture, so the higher opening is closer to the background.
    opened = opening(np.stack((coarse, coarse - surface), axis=1), window)
    light = np.maximum(opened[:, 0], surface + opened[:, 1])
    contrast = _contrast(gray, light, dark)
    sample = _sorted_sample(contrast)
    threshold, separation = otsu(sample)
    below = int(np.searchsorted(sample, threshold))
    if separation > _MIN_SEPARATION and below < _MAX_GROUND_SHARE * sample.size:
        sample = sample[:below]
    ground, noise = _ground(sample)
    contrast -= np.float32(ground)
    np.maximum(contrast, 0, out=contrast)
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST_LEVELS)
    candidates = contrast[contrast > floor]
    if candidates.size < MIN_AREA_PX:
        return None
    level = float(candidates[candidates >= otsu(candidates)[0]].mean())
    return Foreground(contrast, floor, level, dark, abs(lightness) < _MIN_LIGHTNESS)


def _contrast(gray: Gray, light: Plane, dark: bool) -> Plane:
    """Return the picture, inverted if `dark`, minus the light enlarged to the same size.

    Large pictures are processed in parts of some columns, so that one float plane is in memory, not
    four.
    """
    height, width = gray.shape
    parts = list(row_slices(width, height))
    if len(parts) > 1:
        # The result is the same as enlarging at once: Pillow resizes horizontally first.
        across = Image.fromarray(light).resize((width, len(light)), Image.Resampling.BILINEAR)
        contrast = np.empty(gray.shape, np.float32)
        for columns in parts:
            part = across.crop((columns.start, 0, columns.stop, len(light)))
            contrast[:, columns] = _contrast(gray[:, columns], np.asarray(part), dark)
        return contrast
    plane = gray.astype(np.float32)
    if dark:
        plane = 255 - plane
    if light.shape != plane.shape:
        enlarged = Image.fromarray(light).resize((width, height), Image.Resampling.BILINEAR)
        light = np.asarray(enlarged)
    return plane - light


def _smooth_light(coarse: Plane) -> Plane:
    """Return a quadratic surface, fitted to the background by iteratively reweighted least squares.

    Pixels above the surface get less weight. The surface follows gradients and vignetting at the
    rim of the picture; a grayscale opening does not follow them.
    """
    terms, sparse, unweighted_fit = _surface_terms(*coarse.shape)
    values = coarse[::2, ::2].ravel()
    fit: Plane = unweighted_fit @ values
    for _ in range(_FIT_ROUNDS):
        above = values - fit @ sparse
        scale = _mean(np.abs(above)) + _MIN_FIT_SCALE_LEVELS
        above = np.maximum(above, 0) / scale
        weighted = sparse / (1 + above * above) ** 2
        fit = np.linalg.solve(weighted @ sparse.T + _RIDGE, weighted @ values)
    surface: Plane = (fit @ terms).reshape(coarse.shape)
    return surface


@lru_cache(maxsize=32)
def _surface_terms(height: int, width: int) -> tuple[Plane, Plane, Plane]:
    """Return the matrices of the quadratic surface fit.

    Returns:
        terms: (6, pixels), the terms 1, x, y, x², xy, y² at each pixel.
        sparse: (6, sparse pixels), the same at every second pixel of every second row.
        unweighted_fit: (6, sparse pixels); its product with the values of the sparse pixels gives
            the coefficients of the unweighted least-squares fit.
    """
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    ones = np.ones((height, width), np.float32)
    down = ones * y[:, None]
    terms = np.stack((ones, ones * x, down, ones * x * x, down * x, down * down))
    sparse = np.ascontiguousarray(terms[:, ::2, ::2]).reshape(6, -1)
    unweighted_fit: Plane = np.linalg.solve(sparse @ sparse.T + _RIDGE, sparse)
    return terms.reshape(6, -1), sparse, unweighted_fit


def _lightness(coarse: Plane) -> float:
    """Return a score that is positive if ink is lighter than its background, otherwise negative.

    The score is the skewness of the gray levels minus the brightness of the rim (the outermost rows
    and columns), in standard deviations. Ink covers less area than the background and is rare at
    the rim. To remove uneven light, local means are subtracted first. The skewness is the sum for a
    narrow and a wide window; the brightness of the rim is computed for the wide window.
    """
    score = 0.0
    for share in _LOCAL_SHARES:
        local = coarse - _local_mean(coarse, int(share * max(coarse.shape)) // 2)
        local -= _mean(local)
        square = local * local
        spread = math.sqrt(_mean(square))
        if spread > 0:
            score += _mean(square * local) / spread**3
    if spread > 0:
        rim = np.concatenate((local[0], local[-1], local[:, 0], local[:, -1]))
        score -= _mean(rim) / spread
    return score


def _mean(plane: Plane) -> float:
    """Return `plane.mean()`, in a third of its time for a few thousand pixels."""
    return float(np.add.reduce(plane, axis=None)) / plane.size


def _local_mean(plane: Plane, half: int) -> Plane:
    """Return the mean of each pixel's square window of side 2 `half` + 1, cropped to the plane."""
    mean: Plane = _averaging(plane.shape[0], half) @ plane @ _averaging(plane.shape[1], half).T
    return mean


@lru_cache(maxsize=64)
def _averaging(length: int, half: int) -> Plane:
    """Return the matrix (length, length) of a moving average over at most 2 `half` + 1 values."""
    position = np.arange(length)
    in_window = (np.abs(position[:, None] - position) <= half).astype(np.float32)
    weights: Plane = in_window / in_window.sum(axis=1, keepdims=True)
    return weights


def opening(planes: Plane, window: int) -> Plane:
    """Return the grayscale opening: remove bright spots that are smaller than the window.

    Args:
        planes: float32 (height, N, width), N pictures of one size.
        window: side of the square window in pixels, odd.
    """
    return _dilate(-_dilate(-planes, window), window)


def _dilate(planes: Plane, window: int) -> Plane:
    """Return the maximum over a square window, with edges repeated; arguments as for `opening`.

    The maximum is computed by shifts of doubling length.
    """
    for _ in range(2):  # along one axis; the transposition at the end exchanges the axes
        half = window // 2
        line = np.concatenate((planes[:1].repeat(half, 0), planes, planes[-1:].repeat(half, 0)))
        covered = 1
        while covered < window:
            step = min(covered, window - covered)
            line = np.maximum(line[:-step], line[step:])
            covered += step
        planes = line.T
    return planes


def _sorted_sample(contrast: Plane) -> Plane:
    """Return every n-th value of the contrast, sorted: 2048 to 4095 values of a larger picture."""
    sample: Plane = np.sort(contrast.ravel()[:: max(1, contrast.size // _GROUND_SAMPLES)])
    return sample


def _ground(sample: Plane) -> tuple[float, float]:
    """Return the background's level and the standard deviation of its noise, in gray levels.

    The level is the median of the background. The standard deviation is the distance from the
    median to the 16th percentile. Ink distorts only the percentiles above the median.

    Args:
        sample: sorted values of the background.
    """
    ground = float(sample[sample.size // 2])
    return ground, ground - float(sample[int(0.16 * sample.size)])


def otsu(values: Plane) -> tuple[float, float]:
    """Return the Otsu threshold of some values, and the share of the variance that it explains.

    If all values are equal, return this value and 0.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low, 0.0
    scale = (_BIN_COUNT - 0.01) / (high - low)  # the highest value falls into the last bin
    counts = sum(
        np.bincount(((values[rows] - low) * scale).astype(np.intp), minlength=_BIN_COUNT)
        for rows in row_slices(values.size, 1)
    )
    moments = counts * _BINS
    below, moment = np.add.accumulate(counts)[:-1], np.add.accumulate(moments)
    mean = float(moment[-1]) / values.size
    # No division by zero: the first bin contains the minimum and the last the maximum.
    between = (mean * below - moment[:-1]) ** 2 / (below * (values.size - below))
    best = int(between.argmax())
    variance = float(moments.dot(_BINS)) / values.size - mean * mean
    return low + (best + 1) * (high - low) / _BIN_COUNT, float(between[best]) / variance
