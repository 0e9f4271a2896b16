"""Draws the images of the rejection benchmark: negatives, and digits from other sources.

Used by `benchmarks.rejection.run`. Negatives are images that are not digits: blank pages, noise,
letters, shapes and textures. The rejection model is fitted to the negatives of `train.negatives`,
which have other fonts and drawings. The benchmark therefore measures with images unknown to the
model.

A public drawing function takes a number of images n, at least 1, and a random generator. The result
is the pixels for the model, (n, 28, 28, 1) uint8, with 0 for paper and 255 for ink. Sizes are in
pixels, angles in radians and gray levels from 0 to 255. The numbers inside the drawing functions
are ranges of random sizes, positions and gray levels: wider ranges give more varied images.
"""

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

# Letters that look like a handwritten 0, 1, 2, 5, 6, 8 or 9. These letters are never drawn,
# because no model can be expected to reject them.
LOOK_ALIKES = "OoQDIilLjJZzSsGbBgq"
# The letters that are drawn, A to Z and a to z without the look-alikes. All should be rejected.
LETTERS = "".join(sorted(set(string.ascii_letters) - set(LOOK_ALIKES)))

_PILLOW_FONT = ""  # the name in _FONTS of Pillow's built-in font, which has no file
# The fonts of printed characters: Pillow's, and files in matplotlib's folder of fonts. DejaVu is
# left out, because the rejection model is fitted to letters in DejaVu.
_FONTS = (
    _PILLOW_FONT, "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf", "cmr10.ttf",
    "cmss10.ttf", "cmtt10.ttf", "cmmi10.ttf",
)  # fmt: skip
_FONT_SIZE_PX = 100  # height of printed letters and digits on a page of _PAGE_PX
_SHAPE_RADIUS_PX = 50  # distance of an outline's value 1 from the center of the page
_SIDE_PX = 28  # width and height of the model's input
_PAGE_PX = 160  # width and height of a drawn page; preprocessing reduces it to _SIDE_PX
_COARSE_SIDE_PX = 9  # width and height of the grid that smooth noise is enlarged from
_PAPER = 250  # gray level of drawn paper; 0 is black, 255 is white
_INK = 10  # gray level of ink on drawn paper; 0 is black

Planes = npt.NDArray[np.float64]  # gray levels: (height, width), or (N, height, width)
Points = npt.NDArray[np.float64]  # corners (x, y) of an outline, (corners, 2)


@dataclass(frozen=True)
class NegativeKind:
    """One kind of image in the benchmark.

    Attributes:
        name: its name in the report.
        n: the number of images that the benchmark draws.
        draw: the drawing function, (n, random generator) → pixels (n, 28, 28, 1) uint8.
        is_digit: True for images of digits, which should be accepted; False for negatives, which
            should be rejected.
    """

    name: str
    n: int
    draw: Callable[[int, np.random.Generator], Pixels]
    is_digit: bool = False


def blank_pages(n: int, random: np.random.Generator) -> Pixels:
    """Draw pages without ink: half are uniform grays, half are photographs of paper.

    The paper has a random gray level, a linear gradient of light in each direction, and grain. The
    uniform grays are not preprocessed.
    """
    grays = np.linspace(0, 255, n // 2).round()[:, None, None] * np.ones((_SIDE_PX, _SIDE_PX))
    position = np.linspace(-0.5, 0.5, _PAGE_PX)
    pages = []
    for _ in range(n - n // 2):
        light = random.uniform(60, 235) + random.uniform(-25, 25) * position[:, None]
        grain = random.normal(0, random.uniform(0, 3), (_PAGE_PX, _PAGE_PX))
        pages.append(_preprocessed(light + random.uniform(-25, 25) * position + grain))
    return np.concatenate([_pixels(grays), np.stack(pages)])


def nearly_blank_pages(n: int, random: np.random.Generator) -> Pixels:
    """Draw faint grain with zero to three specks of dust, each 0.5 to 1.5 px in radius.

    The pixels are drawn directly, without preprocessing.
    """
    y, x = np.indices((_SIDE_PX, _SIDE_PX))
    planes = random.normal(0, 1, (n, _SIDE_PX, _SIDE_PX)) * random.uniform(1, 12, (n, 1, 1))
    for plane in planes:
        for _ in range(random.integers(0, 4)):
            center_y, center_x = random.uniform(1, _SIDE_PX - 1, 2)
            radius = random.uniform(0.5, 1.5)
            speck = np.clip(radius + 0.5 - np.hypot(y - center_y, x - center_x), 0, 1)
            np.maximum(plane, 255 * random.uniform(0.3, 1) * speck, out=plane)
    return _pixels(planes)


def noise(n: int, random: np.random.Generator) -> Pixels:
    """Draw Gaussian noise of random strength on a random gray level, without preprocessing.

    Half of the images are smooth: a small grid of random values is enlarged to 28×28.
    """
    fine = random.normal(0, 1, (n, _SIDE_PX, _SIDE_PX))
    coarse = np.stack(
        [
            np.asarray(
                Image.fromarray(small.astype(np.float32)).resize(
                    (_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC
                )
            )
            for small in random.normal(0, 1, (n, _COARSE_SIDE_PX, _COARSE_SIDE_PX))
        ]
    )
    planes = np.where(random.random((n, 1, 1)) < 0.5, fine, coarse)
    return _pixels(random.uniform(0, 160, (n, 1, 1)) + random.uniform(15, 120, (n, 1, 1)) * planes)


def letters(n: int, random: np.random.Generator) -> Pixels:
    """Draw printed letters on paper: all letters in the first font, then in the next font, …."""
    return _printed(LETTERS, n, random)


def printed_digits(n: int, random: np.random.Generator) -> Pixels:
    """Draw printed digits in the fonts of `letters`.

    Printed digits should be accepted. If they are rejected, the model rejects print, not letters.
    """
    return _printed(string.digits, n, random)


def sklearn_digits(n: int, random: np.random.Generator) -> Pixels:
    """Return random digits of other writers, from the test split of scikit-learn's digits.

    The test split has about 360 images. A larger n returns all of them.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    from train.data.load import sklearn_digits

    pixels = sklearn_digits().test.pixels
    return pixels[random.permutation(len(pixels))[:n]]


def shapes(n: int, random: np.random.Generator) -> Pixels:
    """Draw polygons, stars, hearts, crosses, arrows and flashes; about 30 % are filled.

    Each is rotated by up to 0.3 radians; outlines are 5 to 13 px wide on the page.
    """
    images = []
    for number in range(n):
        page = Image.new("L", (_PAGE_PX, _PAGE_PX), _PAPER)
        pen = ImageDraw.Draw(page)
        width_px, angle = int(random.integers(5, 14)), random.uniform(-0.3, 0.3)
        outline = _OUTLINES[number % len(_OUTLINES)] @ _rotation(angle)
        points = [tuple(p) for p in (_PAGE_PX / 2 + _SHAPE_RADIUS_PX * outline)]
        if random.random() < 0.3:
            pen.polygon(points, fill=_INK)
        else:
            pen.line([*points, points[0]], fill=_INK, width=width_px, joint="curve")
        images.append(to_pixels(page))
    return np.stack(images)


def textures(n: int, random: np.random.Generator) -> Pixels:
    """Draw textures of photographs: wood, tiles, shaded spheres before a horizon, stripes.

    Half of the images are only scaled down to 28×28. The other half is preprocessed as a
    photograph.
    """
    draw_functions = (_wood, _tiles, _spheres, _stripes)
    images = []
    for number in range(n):
        plane = draw_functions[number % len(draw_functions)](random)
        page = Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8))
        pixels = np.asarray(page.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX))[..., None]
        if number // len(draw_functions) % 2:
            preprocessed = to_pixels(page)
            # If preprocessing finds no ink, keep the scaled image: blank pages are another kind.
            pixels = preprocessed if preprocessed.any() else pixels
        images.append(pixels)
    return np.stack(images)


BLANK = "blank pages"  # name of the only kind with a target of 100 % rejection
# All kinds of the benchmark, in the order of the report. Each letter is drawn twice in each font,
# each printed digit twice in each font.
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
    """Print n characters, each on its own page, and return the pixels (n, 28, 28, 1).

    Each page is rotated by up to 8 degrees, blurred with a sigma of up to 1.5 px, and preprocessed.
    """
    images = []
    for number in range(n):
        character = characters[number % len(characters)]
        font = _font(_FONTS[number // len(characters) % len(_FONTS)])
        page = Image.new("L", (_PAGE_PX, _PAGE_PX), _PAPER)
        center = (_PAGE_PX / 2, _PAGE_PX / 2)
        ImageDraw.Draw(page).text(center, character, font=font, fill=_INK, anchor="mm")
        angle_degrees = random.uniform(-8, 8)
        rotated = page.rotate(angle_degrees, Image.Resampling.BICUBIC, fillcolor=_PAPER)
        images.append(to_pixels(rotated.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.5)))))
    return np.stack(images)


def _preprocessed(plane: Planes) -> Pixels:
    """Preprocess a page (160, 160) as a photograph; return its pixels, (28, 28, 1) uint8."""
    return to_pixels(Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8)))


def _page_coordinates() -> tuple[Planes, Planes]:
    """Return the y and the x of each pixel of a page, both (160, 160), from 0 to 1."""
    y, x = np.indices((_PAGE_PX, _PAGE_PX)) / _PAGE_PX
    return y, x


def _wood(random: np.random.Generator) -> Planes:
    """Draw the grain of a board, (160, 160): wavy annual rings around a random center."""
    y, x = _page_coordinates()
    ring = np.hypot(x - random.uniform(-1, 2), 0.3 * (y - random.uniform(-1, 2)))
    ring += 0.02 * np.sin(2 * np.pi * random.uniform(1, 4) * y)
    return np.asarray(130 + 70 * np.sin(2 * np.pi * random.uniform(4, 20) * ring), np.float64)


def _tiles(random: np.random.Generator) -> Planes:
    """Draw the Voronoi cells of 6 to 39 random points, (160, 160), each in a random gray."""
    centers = random.uniform(0, _PAGE_PX, (int(random.integers(6, 40)), 2))
    positions = np.moveaxis(np.indices((_PAGE_PX, _PAGE_PX)), 0, -1)[:, :, None]
    nearest = np.square(positions - centers).sum(axis=-1).argmin(axis=-1)
    return np.asarray(random.uniform(0, 255, len(centers))[nearest])


def _spheres(random: np.random.Generator) -> Planes:
    """Draw sky, ground, and one to four spheres lit from above, (160, 160)."""
    y, x = _page_coordinates()
    horizon = random.uniform(0.3, 0.7)
    plane = np.where(y < horizon, 200 - 60 * y, random.uniform(40, 120) + 50 * y)
    for _ in range(random.integers(1, 5)):
        center_x, center_y = random.uniform(0.1, 0.9, 2)
        radius = random.uniform(0.08, 0.3)
        distance = np.hypot(x - center_x, y - center_y) / radius
        light = 120 + 110 * (center_y - y) / radius + random.uniform(-40, 40)
        plane = np.where(distance < 1, light, plane)
    return np.asarray(plane + random.normal(0, 6, plane.shape))


def _stripes(random: np.random.Generator) -> Planes:
    """Draw one wave, or the product of two crossing waves, as in cloth or fences, (160, 160)."""
    y, x = _page_coordinates()
    angles = random.uniform(0, np.pi, 2)
    first, second = (
        np.sin(2 * np.pi * random.uniform(1, 12) * (x * np.cos(a) + y * np.sin(a))) for a in angles
    )
    return np.asarray(128 + 100 * np.where(random.random() < 0.5, first, first * second))


def _rotation(angle_radians: float) -> npt.NDArray[np.float64]:
    """Return a rotation matrix (2, 2)."""
    cos, sin = math.cos(angle_radians), math.sin(angle_radians)
    return np.array([[cos, -sin], [sin, cos]])


def _regular(corners: int, inner_radius: float = 1.0) -> Points:
    """Return a regular polygon (corners, 2); if `inner_radius` is below 1, a star.

    Corners with an odd index have the inner radius; corners with an even index have the radius 1.
    """
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    radii = np.where(np.arange(corners) % 2, inner_radius, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Points:
    """Return a heart-shaped curve as a polygon (60, 2) with coordinates of about −1 to 1."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -y / 16], axis=1)


# Closed outlines, each (corners, 2) with coordinates from −1 to 1. Shapes that look like a digit
# are left out. A circle or a polygon with more than four corners resembles a 0, an hourglass an 8.
_OUTLINES = (
    _regular(3),  # triangle
    _regular(4) @ _rotation(np.pi / 4),  # square
    _regular(4),  # diamond
    _regular(10, 0.45),  # five-pointed star
    _regular(16, 0.6),  # eight-pointed star
    _regular(8, 0.3),  # four-pointed star
    _heart(),
    # Plus.
    np.array([(-.3, -1), (.3, -1), (.3, -.3), (1, -.3), (1, .3), (.3, .3), (.3, 1), (-.3, 1),
              (-.3, .3), (-1, .3), (-1, -.3), (-.3, -.3)]),
    # Arrow.
    np.array([(-1, -.25), (.2, -.25), (.2, -.7), (1, 0), (.2, .7), (.2, .25), (-1, .25)]),
    # Flash.
    np.array([(-.1, -1), (.7, -1), (.2, -.2), (.8, -.2), (-.4, 1), (-.05, .1), (-.7, .1)]),
)  # fmt: skip


@cache
def _font(name: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load a font by its name in `_FONTS`."""
    if name == _PILLOW_FONT:
        return ImageFont.load_default(_FONT_SIZE_PX)
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(path, _FONT_SIZE_PX)


def _pixels(planes: Planes) -> Pixels:
    """Round gray levels (N, 28, 28) and clip them to 0 … 255; return (N, 28, 28, 1) uint8."""
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)[..., None]
