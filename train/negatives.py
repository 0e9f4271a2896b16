"""Draws negatives to fit the rejection model with; `benchmarks` measures with others.

`benchmarks.rejection` measures with other fonts, other figures and other textures.
"""

import string
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime.backends import Pixels
from runtime.preprocess.mnist_format import to_mnist_format

# Letters that someone's hand would make of a digit: 0, 1, 2, 5, 6, 8 and 9 in this order.
LOOK_ALIKES = "OoQDIilLjJZzSsGbBgq"
LETTERS = "".join(sorted(set(string.ascii_letters) - set(LOOK_ALIKES)))
DIGITS = string.digits

# Greek, Cyrillic and signs without a likeness: they make the letters of other fonts less strange.
_OTHERS = (
    "ΓΔΘΛΞΠΣΦΨΩαδεηκλμνξπσφχψωЖИЛПФЦШЩЫЭЮЯджлмфцшщъыэюя#$%&@+=?*~{}<>←↑→↓↔■▲▼◆★♠♣♥♦✚✖✿☺√∞≈≠∑∫∆"
)
_FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf",
    "DejaVuSans-BoldOblique.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf", "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf", "DejaVuSansMono-Oblique.ttf", "DejaVuSansMono-BoldOblique.ttf",
)  # fmt: skip

_CANVAS, _GLYPH = 72, 40
_SIDE = 28


def draw_negatives(n: int, seed: int) -> Pixels:
    """Some `n` images of what is no digit, uint8 (N, 28, 28, 1), a third of them letters."""
    random = np.random.default_rng([seed, n])
    figures = polygons(n // 5, random)
    drawn = [
        glyphs(LETTERS, 2 * n // 5, random),
        glyphs(_OTHERS, n // 10, random),
        scribbles(n // 10, random),
        figures,
        figures.swapaxes(1, 2),
        _grounds(n // 20, random),
        *(make(n // 20, random) for make in (_specks, _noise)),
        _clouds(n // 10, random),
    ]
    return np.concatenate(drawn)


def glyphs(characters: str, n: int, random: np.random.Generator) -> Pixels:
    """`n` characters in DejaVu's fonts, distorted, thickened and thinned, in MNIST's form."""
    fonts = letter_fonts()
    return np.stack(
        [
            _distorted(
                draw(characters[random.integers(len(characters))], fonts[number % len(fonts)]),
                random,
            )
            for number in range(n)
        ]
    )


def letter_fonts() -> list[ImageFont.FreeTypeFont]:
    """DejaVu's fonts, which come with matplotlib."""
    return [_font(name) for name in _FONTS]


@cache
def draw(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """A character in the middle of a small page, light on dark."""
    page = Image.new("L", (_CANVAS, _CANVAS))
    middle = (_CANVAS / 2, _CANVAS / 2)
    ImageDraw.Draw(page).text(middle, character, font=font, fill=255, anchor="mm")
    return page


def scribbles(n: int, random: np.random.Generator) -> Pixels:
    """Two to five strokes through points drawn at random."""
    drawn = []
    for _ in range(n):
        page = Image.new("L", (_CANVAS, _CANVAS))
        width = int(random.integers(3, 8))
        for _ in range(random.integers(2, 6)):
            points = random.uniform(14, _CANVAS - 14, (random.integers(2, 4), 2))
            ImageDraw.Draw(page).line([tuple(p) for p in points], fill=255, width=width)
        drawn.append(_distorted(page, random))
    return np.stack(drawn)


def polygons(n: int, random: np.random.Generator) -> Pixels:
    """Irregular triangles, quadrangles and dented figures of more corners, drawn or filled."""
    drawn = []
    for number in range(n):
        page = Image.new("L", (_CANVAS, _CANVAS))
        corners = int(random.integers(3, 5)) if number % 2 else int(random.integers(6, 15))
        angles = 2 * np.pi * (np.arange(corners) + random.uniform(-0.2, 0.2, corners)) / corners
        radii = random.uniform(18, 28, corners)
        if corners > 4:
            # Without dents a ring of many corners would be a 0.
            radii[1::2] *= random.uniform(0.2, 0.7)
            radii *= random.uniform(0.6, 1.0, corners)
        middle, angles = _CANVAS / 2, angles + random.uniform(0, 2 * np.pi)
        points = [
            (middle + r * np.cos(a), middle + r * np.sin(a))
            for r, a in zip(radii, angles, strict=True)
        ]
        if random.random() < 0.3:
            ImageDraw.Draw(page).polygon(points, fill=255)
        else:
            width = int(random.integers(3, 7))
            ImageDraw.Draw(page).line([*points, points[0]], fill=255, width=width, joint="curve")
        drawn.append(_distorted(page, random))
    return np.stack(drawn)


def _distorted(page: Image.Image, random: np.random.Generator) -> Pixels:
    angle, shear, grow = random.uniform(-1, 1, 3) * (0.2, 0.2, 0.15)
    cos, sin, grow = np.cos(angle), np.sin(angle), np.exp(grow)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[grow, shear], [0, 1 / grow]])
    middle = np.full(2, _CANVAS / 2)
    offset = middle - matrix @ middle
    page = page.transform(
        page.size,
        Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BILINEAR,
    )
    choice = random.integers(5)
    if choice < 3:
        kernel = (ImageFilter.MaxFilter(3), ImageFilter.MaxFilter(5), ImageFilter.MinFilter(3))
        page = page.filter(kernel[choice])
    if random.random() < 0.5:
        page = page.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.5)))
    ink = np.asarray(page)
    return to_mnist_format(np.where(ink > 16, ink, 0))


def _grounds(n: int, random: np.random.Generator) -> Pixels:
    """Empty pages, gray ones, and ones that darken towards a side."""
    levels = random.uniform(0, 255, (n, 1, 1)) * (random.random((n, 1, 1)) < 0.8)
    slopes = random.uniform(-8, 8, (n, 2, 1)) * (random.random((n, 1, 1)) < 0.5)
    at = np.arange(_SIDE) - _SIDE / 2
    return _pixels(levels + slopes[:, :1] * at[:, None] + slopes[:, 1:] * at)


def _specks(n: int, random: np.random.Generator) -> Pixels:
    """One to six specks of up to two by two pixels on an empty page."""
    planes = np.zeros((n, _SIDE, _SIDE))
    for plane in planes:
        for _ in range(random.integers(1, 7)):
            top, left = random.integers(0, _SIDE - 1, 2)
            high, wide = random.integers(1, 3, 2)
            plane[top : top + high, left : left + wide] = random.uniform(40, 255)
    return _pixels(planes)


def _noise(n: int, random: np.random.Generator) -> Pixels:
    """Pixels that know nothing of each other: evenly drawn, or black and white."""
    even = random.uniform(0, 1, (n, _SIDE, _SIDE)) * random.uniform(5, 255, (n, 1, 1))
    sparse = 255.0 * (random.random((n, _SIDE, _SIDE)) < random.uniform(0.01, 0.6, (n, 1, 1)))
    return _pixels(np.where(random.random((n, 1, 1)) < 0.5, even, sparse))


def _clouds(n: int, random: np.random.Generator) -> Pixels:
    """Noise smoothed as far as photographs are: spectra that fall with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE))
    frequency[0, 0] = 1
    white = np.fft.fft2(random.standard_normal((n, _SIDE, _SIDE)))
    planes = np.fft.ifft2(white / frequency ** random.uniform(0.5, 2, (n, 1, 1))).real
    planes -= planes.mean(axis=(1, 2), keepdims=True)
    planes /= planes.std(axis=(1, 2), keepdims=True)
    return _pixels(random.uniform(0, 200, (n, 1, 1)) + random.uniform(20, 120, (n, 1, 1)) * planes)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    import matplotlib

    # The fonts that come with matplotlib.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), _GLYPH)


def _pixels(planes: npt.NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)[..., None]
