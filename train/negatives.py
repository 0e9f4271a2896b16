"""Draws negatives, images that are not digits: letters, scribbles, polygons, textures.

`train.evaluation.rejection` fits the rejection model to these images. The rejection model decides
whether an image is a digit. `benchmarks.rejection` measures the model with other fonts, shapes and
textures.
"""

import string
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime.backends import Pixels
from runtime.preprocess.mnist_format import to_mnist_format

# Letters that look like 0, 1, 2, 5, 6, 8 or 9 in handwriting; not used as negatives.
LOOK_ALIKES = "OoQDIilLjJZzSsGbBgq"
LETTERS = "".join(sorted(set(string.ascii_letters) - set(LOOK_ALIKES)))  # used as negatives
DIGITS = string.digits  # 0 to 9, which `train.evaluation.rejection` draws as printed digits

# Greek and Cyrillic letters and symbols that do not look like digits. After training with these,
# the rejection model also rejects Latin letters in fonts that were not in training.
_SYMBOLS = (
    "ΓΔΘΛΞΠΣΦΨΩαδεηκλμνξπσφχψωЖИЛПФЦШЩЫЭЮЯджлмфцшщъыэюя#$%&@+=?*~{}<>←↑→↓↔■▲▼◆★♠♣♥♦✚✖✿☺√∞≈≠∑∫∆"
)
# Font files in matplotlib's package; characters are drawn in all these fonts in turn.
_FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf",
    "DejaVuSans-BoldOblique.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf", "DejaVuSerif-BoldItalic.ttf", "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf", "DejaVuSansMono-Oblique.ttf", "DejaVuSansMono-BoldOblique.ttf",
)  # fmt: skip

_CANVAS_PX = 72  # side of the square canvas for a drawing, before it is reduced to MNIST's form
_FONT_SIZE_PX = 40  # of characters on the canvas
_SIDE_PX = 28  # side of an MNIST image
_MIN_INK_LEVEL = 17  # of 255; lower gray levels on the canvas are set to 0, the background


def draw_negatives(n: int, seed: int) -> Pixels:
    """Draw about 1.3 `n` images that are not digits, a third of them Latin letters.

    Args:
        n: number of images that the shares of the kinds refer to, at least 20. The shares add up
            to 1.3.
        seed: random seed, a whole number from 0.

    Returns:
        uint8 (about 1.3 n, 28, 28, 1), light ink (255) on a dark background (0) as in MNIST.
    """
    random = np.random.default_rng([seed, n])
    figures = polygons(n // 5, random)
    kinds = [
        glyphs(LETTERS, 2 * n // 5, random),
        glyphs(_SYMBOLS, n // 10, random),
        scribbles(n // 10, random),
        figures,
        figures.swapaxes(1, 2),
        boxes(n // 20, random),
        _blank_pages(n // 20, random),
        _specks(n // 20, random),
        _noise(n // 20, random),
        _clouds(n // 10, random),
    ]
    return np.concatenate(kinds)


def glyphs(
    characters: str,
    n: int,
    random: np.random.Generator,
    fonts: Sequence[ImageFont.FreeTypeFont] = (),
) -> Pixels:
    """Draw `n` random characters, distorted, thickened or thinned.

    Args:
        characters: the characters to choose from.
        n: number of images, at least 1.
        random: source of randomness.
        fonts: the fonts, which are used in turn; DejaVu's if there are none.

    Returns:
        uint8 (n, 28, 28, 1), light ink (255) on a dark background (0) as in MNIST.
    """
    fonts = fonts or letter_fonts()
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
    """Return DejaVu's fonts, which come with matplotlib."""
    return [_font(name) for name in _FONTS]


@cache
def draw(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a character in the middle of a canvas, white on black.

    Args:
        character: a single character.
        font: the font, with the size to draw in.

    Returns:
        A grayscale image (Pillow's mode "L") of 72 × 72 pixels; do not modify the image, because it
        is cached.
    """
    page = Image.new("L", (_CANVAS_PX, _CANVAS_PX))
    middle = (_CANVAS_PX / 2, _CANVAS_PX / 2)
    ImageDraw.Draw(page).text(middle, character, font=font, fill=255, anchor="mm")
    return page


def scribbles(n: int, random: np.random.Generator) -> Pixels:
    """Draw images of two to five strokes through random points.

    Args:
        n: number of images, at least 1.
        random: source of randomness.

    Returns:
        uint8 (n, 28, 28, 1), light ink (255) on a dark background (0) as in MNIST.
    """
    images = []
    for _ in range(n):
        page = Image.new("L", (_CANVAS_PX, _CANVAS_PX))
        width = int(random.integers(3, 8))
        for _ in range(random.integers(2, 6)):
            points = random.uniform(14, _CANVAS_PX - 14, (random.integers(2, 4), 2))
            ImageDraw.Draw(page).line([tuple(p) for p in points], fill=255, width=width)
        images.append(_distorted(page, random))
    return np.stack(images)


def polygons(n: int, random: np.random.Generator) -> Pixels:
    """Draw irregular triangles, quadrangles and stars, outlined or filled.

    Args:
        n: number of images, at least 1.
        random: source of randomness.

    Returns:
        uint8 (n, 28, 28, 1), light ink (255) on a dark background (0) as in MNIST.
    """
    images = []
    for number in range(n):
        page = Image.new("L", (_CANVAS_PX, _CANVAS_PX))
        corners = int(random.integers(3, 5)) if number % 2 else int(random.integers(6, 15))
        angles = 2 * np.pi * (np.arange(corners) + random.uniform(-0.2, 0.2, corners)) / corners
        radii = random.uniform(18, 28, corners)
        if corners > 4:
            # Move every second corner inwards, which makes a star: a convex polygon of many corners
            # would look like a 0.
            radii[1::2] *= random.uniform(0.2, 0.7)
            radii *= random.uniform(0.6, 1.0, corners)
        middle, angles = _CANVAS_PX / 2, angles + random.uniform(0, 2 * np.pi)
        points = [
            (middle + r * np.cos(a), middle + r * np.sin(a))
            for r, a in zip(radii, angles, strict=True)
        ]
        if random.random() < 0.3:
            ImageDraw.Draw(page).polygon(points, fill=255)
        else:
            width = int(random.integers(3, 7))
            ImageDraw.Draw(page).line([*points, points[0]], fill=255, width=width, joint="curve")
        images.append(_distorted(page, random))
    return np.stack(images)


def boxes(n: int, random: np.random.Generator) -> Pixels:
    """Draw outlines of boxes with square or round corners: empty windows, keys, form fields.

    A box is at least 0.67 times as wide as high after the distortion: the 0 of a display is a
    narrower box.

    Args:
        n: number of images, at least 1.
        random: source of randomness.

    Returns:
        uint8 (n, 28, 28, 1), light ink (255) on a dark background (0) as in MNIST.
    """
    images = []
    for _ in range(n):
        page = Image.new("L", (_CANVAS_PX, _CANVAS_PX))
        width = random.uniform(34, 44)
        height = width * random.uniform(0.65, 1.1)
        radius = random.uniform(0, 0.28) * min(width, height) if random.random() < 0.8 else 0.0
        x, y = (_CANVAS_PX - width) / 2, (_CANVAS_PX - height) / 2
        ImageDraw.Draw(page).rounded_rectangle(
            (x, y, x + width, y + height), radius, outline=255, width=int(random.integers(2, 8))
        )
        images.append(_distorted(page, random))
    return np.stack(images)


def _distorted(page: Image.Image, random: np.random.Generator) -> Pixels:
    """Distort a drawing at random, and reduce it to MNIST's form, uint8 (28, 28, 1).

    Every drawing is rotated, sheared and stretched. Some are also thickened, thinned or blurred.
    """
    angle, shear, log_stretch = random.uniform(-1, 1, 3) * (0.2, 0.2, 0.15)
    cos, sin, stretch = np.cos(angle), np.sin(angle), np.exp(log_stretch)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, shear], [0, 1 / stretch]])
    middle = np.full(2, _CANVAS_PX / 2)
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
    return to_mnist_format(np.where(ink >= _MIN_INK_LEVEL, ink, 0))


def _blank_pages(n: int, random: np.random.Generator) -> Pixels:
    """Draw `n` pages without ink: black, gray, or with a brightness gradient."""
    levels = random.uniform(0, 255, (n, 1, 1)) * (random.random((n, 1, 1)) < 0.8)
    slopes = random.uniform(-8, 8, (n, 2, 1)) * (random.random((n, 1, 1)) < 0.5)
    positions = np.arange(_SIDE_PX) - _SIDE_PX / 2
    return _pixels(levels + slopes[:, :1] * positions[:, None] + slopes[:, 1:] * positions)


def _specks(n: int, random: np.random.Generator) -> Pixels:
    """Draw `n` pages with one to six specks of at most 2 × 2 pixels."""
    planes = np.zeros((n, _SIDE_PX, _SIDE_PX))
    for plane in planes:
        for _ in range(random.integers(1, 7)):
            top, left = random.integers(0, _SIDE_PX - 1, 2)
            height, width = random.integers(1, 3, 2)
            plane[top : top + height, left : left + width] = random.uniform(40, 255)
    return _pixels(planes)


def _noise(n: int, random: np.random.Generator) -> Pixels:
    """Draw `n` images of white noise: uniform gray values, or black and white pixels."""
    shape = (n, _SIDE_PX, _SIDE_PX)
    uniform = random.uniform(0, 1, shape) * random.uniform(5, 255, (n, 1, 1))
    binary = 255.0 * (random.random(shape) < random.uniform(0.01, 0.6, (n, 1, 1)))
    return _pixels(np.where(random.random((n, 1, 1)) < 0.5, uniform, binary))


def _clouds(n: int, random: np.random.Generator) -> Pixels:
    """Draw `n` images of 1/f noise, whose amplitude spectrum falls as in photographs."""
    frequency = np.hypot(np.fft.fftfreq(_SIDE_PX)[:, None], np.fft.fftfreq(_SIDE_PX))
    frequency[0, 0] = 1
    white = np.fft.fft2(random.standard_normal((n, _SIDE_PX, _SIDE_PX)))
    planes = np.fft.ifft2(white / frequency ** random.uniform(0.5, 2, (n, 1, 1))).real
    planes -= planes.mean(axis=(1, 2), keepdims=True)
    planes /= planes.std(axis=(1, 2), keepdims=True)
    return _pixels(random.uniform(0, 200, (n, 1, 1)) + random.uniform(20, 120, (n, 1, 1)) * planes)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(path, _FONT_SIZE_PX)


def _pixels(planes: npt.NDArray[np.floating]) -> Pixels:
    """Round planes (N, 28, 28) to pixels uint8 (N, 28, 28, 1)."""
    pixels: Pixels = np.clip(np.rint(planes), 0, 255).astype(np.uint8)[..., None]
    return pixels
