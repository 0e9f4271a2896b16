"""Puts ink on paper: stroke weight, blur, texture, shade and noise; tests whether it is visible."""

import numpy as np
import numpy.typing as npt

from runtime.preprocess.segment import dilate_mask
from train.lines.marks import Ink
from train.lines.typeset import Strokes

# Probabilities.
_BLUR_SHARE = 0.5  # that the ink is blurred
_GRAY_SHARE = 0.55  # of gray paper: noise, texture and shade; the other lines are ink alone
_TEXTURE_SHARE = 0.3  # that gray paper has a texture
_SHADE_SHARE = 0.3  # that gray paper is shaded
_CORRELATED_SHARE = 0.5  # that the noise of neighboring pixels of gray paper is correlated
_FLOOR_SHARE = 0.5  # that faint gray is cut off, as in half of the runtime's crops
_BITONAL_SHARE = 0.12  # that the line is scanned in black and white

_MIN_THICKENING = 0.25  # a smaller amount leaves the strokes as they are
_MIN_STROKE_INK = 0.2  # of full ink; weaker pixels are not strokes
_PEAK_QUANTILE = 0.7  # of the strokes' pixels; this quantile is scaled to the darkness of the line

# A glyph is visible if enough of its strokes is enough darker than the paper around it.
_MIN_VISIBLE_SHARE = 0.6  # of its strokes' pixels
_MIN_CONTRAST_LEVELS = 50  # of 255 gray levels
_AROUND_PX = 3  # distance up to which paper is around it


def change_stroke_weight(ink: Ink, amount: float) -> Ink:
    """Make strokes thinner or thicker.

    Args:
        ink: float32 (height, width) from 0 to 1.
        amount: from -1 (thinnest) to 1 (thickest); between 0 and `_MIN_THICKENING`, the strokes are
            left as they are.
    """
    if amount < 0:
        eroded = _extreme(ink, np.minimum)
        ink = ink + np.float32(-amount) * (eroded - ink)
        thinned: Ink = ink / max(float(ink.max()), 1e-3) if ink.any() else ink
        return thinned
    if amount > _MIN_THICKENING:
        thickened: Ink = np.maximum(ink, np.float32(amount) * _extreme(ink, np.maximum))
        return thickened
    return ink


def _extreme(ink: Ink, function: np.ufunc) -> Ink:
    """Return the minimum or maximum of each pixel and its four neighbors."""
    padded = np.pad(ink, 1, mode="edge")
    extreme: Ink = function(
        function(function(padded[:-2, 1:-1], padded[2:, 1:-1]), padded[1:-1, 1:-1]),
        function(padded[1:-1, :-2], padded[1:-1, 2:]),
    )
    return extreme


def put_on_paper(ink: Ink, random: np.random.Generator, kinds: list[str]) -> npt.NDArray[np.uint8]:
    """Blur the ink, put it on paper, and return it as uint8."""
    if random.random() < _BLUR_SHARE:
        share = np.float32(random.uniform(0.1, 0.33))
        for axis in (0, 1):
            around = np.roll(ink, 1, axis) + np.roll(ink, -1, axis)
            ink = (1 - 2 * share) * ink + share * around
    # A person can tell the strokes from the paper: most of their pixels are this dark.
    strokes = ink[ink > _MIN_STROKE_INK]
    peak = float(np.quantile(strokes, _PEAK_QUANTILE)) if strokes.size else 1.0
    page = ink * np.float32(random.uniform(0.6, 1.4) / peak)
    if random.random() < _GRAY_SHARE:
        kinds.append("gray paper")
        page = _gray_paper(page, random, kinds)
    if random.random() < _BITONAL_SHARE:
        kinds.append("bitonal")
        noise = random.uniform(0, 0.15)
        page = page + np.float32(noise) * random.standard_normal(page.shape, np.float32)
        page = (page > random.uniform(0.4, 0.6)).astype(np.float32)
    pixels: npt.NDArray[np.uint8] = (np.clip(page, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels


def _gray_paper(page: Ink, random: np.random.Generator, kinds: list[str]) -> Ink:
    """Add the texture, shade and noise of gray paper to ink from 0 to 1."""
    rows, columns = page.shape
    if random.random() < _TEXTURE_SHARE:
        kinds.append("texture")
        x, y = np.arange(columns), np.arange(rows)[:, None]
        for _ in range(random.integers(1, 4)):
            phase = random.uniform(0, 6.28)
            wave = random.uniform(1, 8) * np.sin(x / random.uniform(6, 40) + phase)
            bands = np.sin((y * random.uniform(-1, 1) + x * random.uniform(-0.7, 0.7) + wave)
                           * random.uniform(0.4, 1.6))  # fmt: skip
            level = random.uniform(0.05, 0.3)
            page = np.maximum(page, level * np.clip(4 * bands - 2.5, 0, 1))
    if random.random() < _SHADE_SHARE:
        shade = np.linspace(random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2), columns)
        page = page + shade.astype(np.float32)
    noise = random.uniform(0.01, 0.12)
    grain = random.standard_normal(page.shape, np.float32)
    if random.random() < _CORRELATED_SHARE:
        grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / np.float32(1.7)
    page = page + np.float32(noise) * grain
    if random.random() < _FLOOR_SHARE:
        page = np.where(page > random.uniform(0.05, 0.25), page, 0)
    return page


def are_visible(pixels: npt.NDArray[np.uint8], strokes: list[Strokes]) -> bool:
    """Return whether a person can see each glyph: its strokes are darker than the paper around it.

    Args:
        pixels: of the line, uint8 (32, width).
        strokes: of its glyphs.
    """
    n_glyphs = np.zeros(pixels.shape, np.int64)  # at each pixel
    for one in strokes:
        part = n_glyphs[one.top :, one.left :][: len(one.mask), : one.mask.shape[1]]
        part += one.mask[: part.shape[0], : part.shape[1]]
    paper = ~dilate_mask(n_glyphs > 0)
    for one in strokes:
        rows = slice(max(one.top - _AROUND_PX, 0), one.top + len(one.mask) + _AROUND_PX)
        columns = slice(max(one.left - _AROUND_PX, 0), one.left + one.mask.shape[1] + _AROUND_PX)
        around = pixels[rows, columns][paper[rows, columns]]
        ground = float(np.median(around)) if around.size else 0.0
        inside = np.s_[one.top : one.top + len(one.mask), one.left : one.left + one.mask.shape[1]]
        mask = one.mask[: n_glyphs[inside].shape[0], : n_glyphs[inside].shape[1]]
        visible = mask & (n_glyphs[inside] == 1) & (pixels[inside] >= ground + _MIN_CONTRAST_LEVELS)
        if visible.sum() < _MIN_VISIBLE_SHARE * max(mask.sum(), 1):
            return False
    return True
