"""Subtracts uneven light and the paper from a gray picture."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from runtime.preprocess.connected_components import Plane
from runtime.preprocess.grayscale import Gray, row_slices

# Lighting is estimated on a copy of at most this many pixels a side, where whatever is narrower
# than this part of the side is taken for ink.
_COARSE = 48
_WIDEST_STROKE = 0.4
# Ink stands this many standard deviations of the ground's noise, and this many of 255 gray
# levels, above it; otherwise the page is blank.
NOISE_FACTOR = 4.0
MIN_CONTRAST = 10.0
# Fewer pixels than this make no digit.
MIN_AREA = 6
# Of the 64 steps of a histogram.
_BIN = np.arange(64)
# A pattern whose ink and ground are alike scores 0. Of 4,000 of MNIST's digits, cut out with a
# margin of a twentieth of their height, dark or light, 1 is as close; without any margin, 23.
_UNDECIDED = 0.02
# Keeps the surface's equations solvable where the picture is a line.
_RIDGE = (np.eye(6) * 1e-2).astype(np.float32)


@dataclass(frozen=True)
class Foreground:
    """The ink of a picture, lifted off its background.

    Attributes:
        contrast: float32 (height, width), how far each pixel stands out from its background, on
            the ink's side: 0 or more, of 255 gray levels.
        noise_floor: contrast below it may be noise.
        ink_level: the mean contrast of the ink proper.
        dark: whether ink is darker than its background.
        polarity_ambiguous: whether ink and background are too alike to tell which is which.
    """

    contrast: Plane
    noise_floor: float
    ink_level: float
    dark: bool
    polarity_ambiguous: bool


def subtract_background(gray: Gray) -> Foreground | None:
    """Take light and ground out of a gray picture, uint8 (height, width); None where it is blank.

    Lighting is what a gray closing of a coarse copy leaves; ink is what stands out from it.
    """
    height, width = gray.shape
    size = (min(width, _COARSE), min(height, _COARSE))
    picture = Image.fromarray(gray)
    coarse = np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(np.float32)
    lightness = _lightness(coarse)
    dark = lightness <= 0
    if dark:
        coarse = 255 - coarse
    surface = _smooth_light(coarse)
    window = int(_WIDEST_STROKE * max(coarse.shape)) | 1
    # Both stay below the picture wherever there is no ink: take the closer one.
    opened = _opening(np.stack((coarse, coarse - surface), axis=1), window)
    light = np.maximum(opened[:, 0], surface + opened[:, 1])
    contrast = _above(gray, light, dark)
    ground, noise = _ground(contrast)
    contrast -= np.float32(ground)
    np.maximum(contrast, 0, out=contrast)
    floor = max(NOISE_FACTOR * noise, MIN_CONTRAST)
    candidates = contrast[contrast > floor]
    if candidates.size < MIN_AREA:
        return None
    level = float(candidates[candidates >= _otsu(candidates)[0]].mean())
    return Foreground(contrast, floor, level, dark, abs(lightness) < _UNDECIDED)


def _above(gray: Gray, light: Plane, dark: bool) -> Plane:
    """How far the picture stands above the light, which is enlarged to its size.

    Of a large picture some columns at a time: so there is one such plane of it, and not four.
    """
    height, width = gray.shape
    parts = list(row_slices(width, height))
    if len(parts) > 1:
        # As Pillow enlarges it at once: first across, then down.
        across = Image.fromarray(light).resize((width, len(light)), Image.Resampling.BILINEAR)
        contrast = np.empty(gray.shape, np.float32)
        for columns in parts:
            part = across.crop((columns.start, 0, columns.stop, len(light)))
            contrast[:, columns] = _above(gray[:, columns], np.asarray(part), dark)
        return contrast
    plane = gray.astype(np.float32)
    if dark:
        plane = 255 - plane
    if light.shape != plane.shape:
        enlarged = Image.fromarray(light).resize((width, height), Image.Resampling.BILINEAR)
        light = np.asarray(enlarged)
    return plane - light


def _smooth_light(coarse: Plane) -> Plane:
    """The quadratic surface through the ground, brighter pixels counting for less and less.

    It takes out what a gray opening cannot at the rim: a gradient, or a lens's dark corners.
    """
    terms, sparse, evenly = _surface_terms(*coarse.shape)
    values = coarse[::2, ::2].ravel()
    fit: Plane = evenly @ values
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
    """1, x, y, x², xy and y² at each pixel, (6, pixels), and at every other one either way.

    Third, what times those other ones' values is the surface in which all of them count alike.
    """
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    ones = np.ones((height, width), np.float32)
    down = ones * y[:, None]
    terms = np.stack((ones, ones * x, down, ones * x * x, down * x, down * down))
    sparse = np.ascontiguousarray(terms[:, ::2, ::2]).reshape(6, -1)
    evenly: Plane = np.linalg.solve(sparse @ sparse.T + _RIDGE, sparse)
    return terms.reshape(6, -1), sparse, evenly


def _lightness(coarse: Plane) -> float:
    """Above 0 where ink is lighter than its ground, below where it is darker.

    Ink is the minority, so that gray levels are skewed towards it; and it shuns the rim.

    Both are seen against the local mean, over a narrow and a wide window, which takes out the
    lighting: a shadow's edge skews neither way.
    """
    score = 0.0
    for part in (0.15, 0.5):
        local = coarse - _local_mean(coarse, int(part * max(coarse.shape)) // 2)
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
    """As `plane.mean()`, in a third of the time that takes for some thousand pixels."""
    return float(np.add.reduce(plane, axis=None)) / plane.size


def _local_mean(plane: Plane, half: int) -> Plane:
    """The mean over the part of a square of 2 half + 1 pixels that lies in the plane."""
    mean: Plane = _averaging(plane.shape[0], half) @ plane @ _averaging(plane.shape[1], half).T
    return mean


@lru_cache(maxsize=64)
def _averaging(length: int, half: int) -> Plane:
    """(length, length): in each row the weights of a mean over the places no further than half."""
    at = np.arange(length)
    near = (np.abs(at[:, None] - at) <= half).astype(np.float32)
    weights: Plane = near / near.sum(axis=1, keepdims=True)
    return weights


def _opening(planes: Plane, window: int) -> Plane:
    """Gray opening: takes out what is brighter than its surroundings and fits in the window.

    Of (height, N, width), N pictures side by side.
    """
    return _dilate(-_dilate(-planes, window), window)


def _dilate(planes: Plane, window: int) -> Plane:
    """The maximum over a square of an odd number of pixels, edges repeated, by doubling shifts."""
    for _ in range(2):
        half = window // 2
        line = np.concatenate((planes[:1].repeat(half, 0), planes, planes[-1:].repeat(half, 0)))
        have = 1
        while have < window:
            step = min(have, window - have)
            line = np.maximum(line[:-step], line[step:])
            have += step
        planes = line.T
    return planes


def _ground(contrast: Plane) -> tuple[float, float]:
    """The ground's level and the standard deviation of its noise, from the side without ink."""
    sample = np.sort(contrast.ravel()[:: max(1, contrast.size // 2048)])
    threshold, parted = _otsu(sample)
    share = int(np.searchsorted(sample, threshold))
    # A tight crop can hold more ink than ground, and then the two are well apart.
    if parted > 0.8 and share < 0.6 * sample.size:
        sample = sample[:share]
    ground = float(sample[sample.size // 2])
    return ground, ground - float(sample[int(0.16 * sample.size)])


def _otsu(values: Plane) -> tuple[float, float]:
    """The threshold that parts values best in two, and the part of the variance it explains.

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
    moments = counts * _BIN
    below, moment = np.add.accumulate(counts)[:-1], np.add.accumulate(moments)
    mean = float(moment[-1]) / values.size
    # Neither side is empty: the first bin holds the least value and the last the greatest.
    between = (mean * below - moment[:-1]) ** 2 / (below * (values.size - below))
    best = int(between.argmax())
    variance = float(moments.dot(_BIN)) / values.size - mean * mean
    return low + (best + 1) * (high - low) / 64, float(between[best]) / variance
