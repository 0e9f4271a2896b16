"""Subtracts uneven light and the paper from a gray picture, leaving the contrast of the ink.

`subtract_background` estimates the light on a coarse copy, decides whether ink is darker or lighter
than its background, and measures noise, so that `segment` and `runtime.multi_digit.layout` can
threshold the result.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray, row_slices

_COARSE_SIDE_PX = 48  # light is estimated on a copy of at most this side
_MAX_STROKE_SHARE = 0.4  # of the copy's longer side; only what is narrower is removed as ink

# Ink must exceed the background by both; otherwise the picture is blank.
NOISE_FACTOR = 4.0  # standard deviations of the background's noise
MIN_CONTRAST_LEVELS = 10.0  # of 255 gray levels
MIN_AREA_PX = 6  # a digit has at least this many pixels of ink

# Polarity is ambiguous if the lightness score is closer to 0 than this, as in a pattern whose ink
# and background are alike. Of 4,000 MNIST digits, dark or light, 1 is that close if it is cropped
# with a margin of a twentieth of its height; without a margin, 23 are.
_MIN_LIGHTNESS = 0.02
_LOCAL_SHARES = (0.15, 0.5)  # of the copy's longer side; windows of the local means in the score

# The background is estimated below the Otsu threshold if both hold, otherwise from all pixels.
_MIN_SEPARATION = 0.8  # share of the variance that the threshold explains
_MAX_GROUND_SHARE = 0.6  # of all pixels, below the threshold; lower only in a tight crop
_GROUND_SAMPLES = 2048  # pixels that the estimate is made from, at least

_BINS = np.arange(64)  # of the histogram for the Otsu threshold
_RIDGE = (np.eye(6) * 1e-2).astype(np.float32)  # regularizes the surface fit for thin pictures


@dataclass(frozen=True)
class Foreground:
    """A picture without its background.

    Attributes:
        contrast: float32 (height, width), 0 to 255; difference of each pixel from its background
            in gray levels, 0 if the pixel differs in the direction opposite to ink.
        noise_floor: contrast below it may be noise.
        ink_level: mean contrast of the pixels above the Otsu threshold.
        dark: whether ink is darker than its background.
        polarity_ambiguous: whether ink and background are too alike to tell them apart.
    """

    contrast: Plane
    noise_floor: float
    ink_level: float
    dark: bool
    polarity_ambiguous: bool


def subtract_background(gray: Gray, dark: bool | None = None) -> Foreground | None:
    """Subtract the background from a gray picture.

    The light is a grayscale opening of a coarse copy, inverted first if the ink is dark. Ink is the
    contrast to the light.

    Args:
        gray: uint8 (height, width).
        dark: whether ink is darker than its background; None decides by the picture.

    Returns:
        The foreground; None if the picture is blank.
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
    # Neither estimate exceeds the picture: the higher one is closer to the background.
    opened = _opening(np.stack((coarse, coarse - surface), axis=1), window)
    light = np.maximum(opened[:, 0], surface + opened[:, 1])
    contrast = _contrast(gray, light, dark)
    ground, noise = _ground(contrast)
    contrast -= np.float32(ground)
    np.maximum(contrast, 0, out=contrast)
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST_LEVELS)
    candidates = contrast[contrast > floor]
    if candidates.size < MIN_AREA_PX:
        return None
    level = float(candidates[candidates >= _otsu(candidates)[0]].mean())
    return Foreground(contrast, floor, level, dark, abs(lightness) < _MIN_LIGHTNESS)


def _contrast(gray: Gray, light: Plane, dark: bool) -> Plane:
    """Return the picture, inverted if `dark`, minus the light enlarged to the same size.

    Large pictures are processed some columns at a time, so that one float plane is held, not four.
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
    """Fit a quadratic surface to the background, by iteratively reweighted least squares.

    Pixels above the surface get less weight. The surface follows gradients and vignetting at the
    rim of the picture, which a grayscale opening does not.
    """
    terms, sparse, unweighted_fit = _surface_terms(*coarse.shape)
    values = coarse[::2, ::2].ravel()
    fit: Plane = unweighted_fit @ values
    for _ in range(3):
        above = values - fit @ sparse
        scale = _mean(np.abs(above)) + 0.5
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

    The score is the skewness of the gray levels minus the brightness of the rim: ink covers less
    area than the background and is rare at the rim. Both are computed after subtracting local means
    over a narrow and a wide window, which removes uneven light; edges of shadows do not add skew.
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
    """Return the mean over a square window of 2 `half` + 1 pixels, cropped to the plane."""
    mean: Plane = _averaging(plane.shape[0], half) @ plane @ _averaging(plane.shape[1], half).T
    return mean


@lru_cache(maxsize=64)
def _averaging(length: int, half: int) -> Plane:
    """Return the matrix (length, length) of a moving average over at most 2 `half` + 1 values."""
    position = np.arange(length)
    in_window = (np.abs(position[:, None] - position) <= half).astype(np.float32)
    weights: Plane = in_window / in_window.sum(axis=1, keepdims=True)
    return weights


def _opening(planes: Plane, window: int) -> Plane:
    """Return the grayscale opening: remove bright spots that are smaller than the window.

    Args:
        planes: (height, N, width), N pictures side by side.
        window: side of the square window in pixels, odd.
    """
    return _dilate(-_dilate(-planes, window), window)


def _dilate(planes: Plane, window: int) -> Plane:
    """Return the maximum over a square window, with edges repeated; computed by doubling shifts."""
    for _ in range(2):
        half = window // 2
        line = np.concatenate((planes[:1].repeat(half, 0), planes, planes[-1:].repeat(half, 0)))
        covered = 1
        while covered < window:
            step = min(covered, window - covered)
            line = np.maximum(line[:-step], line[step:])
            covered += step
        planes = line.T
    return planes


def _ground(contrast: Plane) -> tuple[float, float]:
    """Return the background's level and the standard deviation of its noise, in gray levels.

    The level is the median of the background; the deviation is its distance from the 16th
    percentile, because ink distorts only the percentiles above the median.
    """
    sample = np.sort(contrast.ravel()[:: max(1, contrast.size // _GROUND_SAMPLES)])
    threshold, separation = _otsu(sample)
    below = int(np.searchsorted(sample, threshold))
    if separation > _MIN_SEPARATION and below < _MAX_GROUND_SHARE * sample.size:
        sample = sample[:below]
    ground = float(sample[sample.size // 2])
    return ground, ground - float(sample[int(0.16 * sample.size)])


def _otsu(values: Plane) -> tuple[float, float]:
    """Return the Otsu threshold of some values, and the share of the variance that it explains.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low, 0.0
    scale = 63.99 / (high - low)
    counts = sum(
        np.bincount(((values[rows] - low) * scale).astype(np.intp), minlength=64)
        for rows in row_slices(values.size, 1)
    )
    moments = counts * _BINS
    below, moment = np.add.accumulate(counts)[:-1], np.add.accumulate(moments)
    mean = float(moment[-1]) / values.size
    # No division by zero: the first bin contains the minimum and the last the maximum.
    between = (mean * below - moment[:-1]) ** 2 / (below * (values.size - below))
    best = int(between.argmax())
    variance = float(moments.dot(_BINS)) / values.size - mean * mean
    return low + (best + 1) * (high - low) / 64, float(between[best]) / variance
