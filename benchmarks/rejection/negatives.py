"""Draws negatives to measure with; `train.negatives` draws others, to fit with."""

import math
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runtime.backends import Pixels
from runtime.preprocess.pipeline import to_pixels

# Letters that a hand's 0, 1, 2, 5, 6, 8 or 9 cannot be told from; capitals of 0 include D.
LOOK_ALIKES = "OoQDIilLjJZzSsGbBgq"
LETTERS = "".join(sorted(set(string.ascii_letters) - set(LOOK_ALIKES)))

# None of them is DejaVu, which the rule is fitted to: Pillow's own font, then matplotlib's others.
_PILLOWS = ""
_FONTS = (
    _PILLOWS, "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf", "cmr10.ttf",
    "cmss10.ttf", "cmtt10.ttf", "cmmi10.ttf",
)  # fmt: skip
_SIDE = 28
_PAGE = 160

Planes = npt.NDArray[np.floating]


@dataclass(frozen=True)
class NegativeKind:
    """A kind of images: its name, how many are drawn, and what draws them.

    Attributes:
        is_digit: whether these are digits after all, of which few ought to be refused.
        draw: (how many, random) → pixels (N, 28, 28, 1) uint8.
    """

    name: str
    n: int
    draw: Callable[[int, np.random.Generator], Pixels]
    is_digit: bool = False


def blank_pages(n: int, random: np.random.Generator) -> Pixels:
    """Pages without a mark: every gray as pixels, and photographs of paper with its grain."""
    grays = np.linspace(0, 255, n // 2).round()[:, None, None] * np.ones((_SIDE, _SIDE))
    at = np.linspace(-0.5, 0.5, _PAGE)
    pages = []
    for _ in range(n - n // 2):
        light = random.uniform(60, 235) + random.uniform(-25, 25) * at[:, None]
        grain = random.normal(0, random.uniform(0, 3), (_PAGE, _PAGE))
        pages.append(_photographed(light + random.uniform(-25, 25) * at + grain))
    return np.concatenate([_pixels(grays), np.stack(pages)])


def nearly_blank_pages(n: int, random: np.random.Generator) -> Pixels:
    """Pages with a few specks of dust, or with grain alone, as pixels."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    planes = random.normal(0, 1, (n, _SIDE, _SIDE)) * random.uniform(1, 12, (n, 1, 1))
    for plane in planes:
        for _ in range(random.integers(0, 4)):
            top, left = random.uniform(1, _SIDE - 1, 2)
            radius = random.uniform(0.5, 1.5)
            speck = np.clip(radius + 0.5 - np.hypot(y - top, x - left), 0, 1)
            np.maximum(plane, 255 * random.uniform(0.3, 1) * speck, out=plane)
    return _pixels(planes)


def noise(n: int, random: np.random.Generator) -> Pixels:
    """Gaussian noise of any strength on any gray, and noise smoothed over some pixels."""
    fine = random.normal(0, 1, (n, _SIDE, _SIDE))
    coarse = np.stack(
        [
            np.asarray(
                Image.fromarray(small.astype(np.float32)).resize(
                    (_SIDE, _SIDE), Image.Resampling.BICUBIC
                )
            )
            for small in random.normal(0, 1, (n, 9, 9))
        ]
    )
    planes = np.where(random.random((n, 1, 1)) < 0.5, fine, coarse)
    return _pixels(random.uniform(0, 160, (n, 1, 1)) + random.uniform(15, 120, (n, 1, 1)) * planes)


def letters(n: int, random: np.random.Generator) -> Pixels:
    """Printed letters, photographed: each letter in each of eight fonts before any comes again."""
    return _printed(LETTERS, n, random)


def printed_digits(n: int, random: np.random.Generator) -> Pixels:
    """Digits in the letters' fonts: were they refused, the rule would know print, not digits."""
    return _printed(string.digits, n, random)


def sklearn_digits(n: int, random: np.random.Generator) -> Pixels:
    """Digits of other writers: scikit-learn's, the test split."""
    from train.data.load import sklearn_digits

    pixels = sklearn_digits().test.pixels
    return pixels[random.permutation(len(pixels))[:n]]


def shapes(n: int, random: np.random.Generator) -> Pixels:
    """Polygons, stars, crosses, arrows, hearts and grids, drawn with a pen or filled."""
    drawn = []
    for number in range(n):
        page = Image.new("L", (_PAGE, _PAGE), 250)
        pen = ImageDraw.Draw(page)
        width, turn = int(random.integers(5, 14)), random.uniform(-0.3, 0.3)
        outline = _OUTLINES[number % len(_OUTLINES)] @ _rotation(turn)
        points = [tuple(p) for p in (_PAGE / 2 + 50 * outline)]
        if random.random() < 0.3:
            pen.polygon(points, fill=10)
        else:
            pen.line([*points, points[0]], fill=10, width=width, joint="curve")
        drawn.append(to_pixels(page))
    return np.stack(drawn)


def textures(n: int, random: np.random.Generator) -> Pixels:
    """What fills photographs: wood, tiles, leaves, a horizon with shaded bodies before it.

    Half of them are pixels as they are, the other half is brought into MNIST's form as a photograph
    would be.
    """
    makers = (_wood, _tiles, _bodies, _stripes)
    drawn = []
    for number in range(n):
        plane = makers[number % len(makers)](random)
        page = Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8))
        pixels = np.asarray(page.resize((_SIDE, _SIDE), Image.Resampling.BOX))[..., None]
        if number // len(makers) % 2:
            found = to_pixels(page)
            # Where no ink is found the page is blank, which is another kind.
            pixels = found if found.any() else pixels
        drawn.append(pixels)
    return np.stack(drawn)


BLANK = "blank pages"
KINDS = (
    NegativeKind(BLANK, 500, blank_pages),
    NegativeKind("nearly blank pages", 1_000, nearly_blank_pages),
    NegativeKind("noise", 1_000, noise),
    NegativeKind("letters", 2 * len(LETTERS) * len(_FONTS), letters),
    NegativeKind("shapes", 500, shapes),
    NegativeKind("textures", 1_000, textures),
    NegativeKind("printed digits", 20 * len(_FONTS), printed_digits, is_digit=True),
    NegativeKind("digits of other writers", 360, sklearn_digits, is_digit=True),
)


def _printed(characters: str, n: int, random: np.random.Generator) -> Pixels:
    drawn = []
    for number in range(n):
        character = characters[number % len(characters)]
        font = _font(_FONTS[number // len(characters) % len(_FONTS)])
        page = Image.new("L", (_PAGE, _PAGE), 250)
        middle = (_PAGE / 2, _PAGE / 2)
        ImageDraw.Draw(page).text(middle, character, font=font, fill=10, anchor="mm")
        turned = page.rotate(random.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=250).filter(
            ImageFilter.GaussianBlur(random.uniform(0, 1.5))
        )
        drawn.append(to_pixels(turned))
    return np.stack(drawn)


def _photographed(plane: Planes) -> Pixels:
    return to_pixels(Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8)))


def _wood(random: np.random.Generator) -> Planes:
    y, x = np.mgrid[:_PAGE, :_PAGE] / _PAGE
    ring = np.hypot(x - random.uniform(-1, 2), 0.3 * (y - random.uniform(-1, 2)))
    ring += 0.02 * np.sin(2 * np.pi * random.uniform(1, 4) * y)
    return 130 + 70 * np.sin(2 * np.pi * random.uniform(4, 20) * ring)


def _tiles(random: np.random.Generator) -> Planes:
    """Cells around points drawn at random (Voronoi), each of its own gray."""
    middles = random.uniform(0, _PAGE, (int(random.integers(6, 40)), 2))
    at = np.stack(np.mgrid[:_PAGE, :_PAGE], axis=-1)[:, :, None]
    nearest = np.square(at - middles).sum(axis=-1).argmin(axis=-1)
    return random.uniform(0, 255, len(middles))[nearest]


def _bodies(random: np.random.Generator) -> Planes:
    """A sky, a ground, and spheres that the light falls on from above."""
    y, x = np.mgrid[:_PAGE, :_PAGE] / _PAGE
    horizon = random.uniform(0.3, 0.7)
    plane = np.where(y < horizon, 200 - 60 * y, random.uniform(40, 120) + 50 * y)
    for _ in range(random.integers(1, 5)):
        left, top, radius = *random.uniform(0.1, 0.9, 2), random.uniform(0.08, 0.3)
        distance = np.hypot(x - left, y - top) / radius
        light = 120 + 110 * (top - y) / radius + random.uniform(-40, 40)
        plane = np.where(distance < 1, light, plane)
    return plane + random.normal(0, 6, plane.shape)


def _stripes(random: np.random.Generator) -> Planes:
    """Two waves across each other, as in cloth, blinds and fences."""
    y, x = np.mgrid[:_PAGE, :_PAGE] / _PAGE
    angles = random.uniform(0, np.pi, 2)
    first, second = (
        np.sin(2 * np.pi * random.uniform(1, 12) * (x * np.cos(a) + y * np.sin(a))) for a in angles
    )
    return 128 + 100 * np.where(random.random() < 0.5, first, first * second)


def _rotation(angle: float) -> Planes:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _regular(corners: int, inner: float = 1.0) -> Planes:
    """A regular polygon, or a star where every second corner stands at `inner`."""
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Planes:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -y / 16], axis=1)


# Closed outlines within -1 to 1. Left out are a circle and other rings of blunt corners, which
# are a 0, and the hourglass, an 8.
_OUTLINES = (
    _regular(3),
    _regular(4) @ _rotation(np.pi / 4),
    _regular(4),
    _regular(10, 0.45),
    _regular(16, 0.6),
    _regular(8, 0.3),
    _heart(),
    # A plus, an arrow, a flash.
    np.array([(-.3, -1), (.3, -1), (.3, -.3), (1, -.3), (1, .3), (.3, .3), (.3, 1), (-.3, 1),
              (-.3, .3), (-1, .3), (-1, -.3), (-.3, -.3)]),
    np.array([(-1, -.25), (.2, -.25), (.2, -.7), (1, 0), (.2, .7), (.2, .25), (-1, .25)]),
    np.array([(-.1, -1), (.7, -1), (.2, -.2), (.8, -.2), (-.4, 1), (-.05, .1), (-.7, .1)]),
)  # fmt: skip


@cache
def _font(name: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == _PILLOWS:
        return ImageFont.load_default(100)
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), 100)


def _pixels(planes: Planes) -> Pixels:
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)[..., None]
