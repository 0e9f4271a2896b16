"""The pipeline converts any image of a digit to MNIST's format, and keeps blank pages blank."""

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from runtime.errors import ImageError
from runtime.preprocess.mnist_format import PIXELS_SHAPE, to_mnist_format
from runtime.preprocess.pipeline import DARK_ON_LIGHT, LIGHT_ON_DARK, preprocess, to_pixels
from runtime.preprocess.segment import missing_stroke_width

pytestmark = pytest.mark.portable

Array = np.ndarray[Any, np.dtype[Any]]
DIGITS = load_digits().images[:40]
HEIGHT = 360  # pixels of a generated page
WIDTH = 480


def pen(digit: Array, side: int) -> Array:
    """A digit drawn with an even pen stroke: ink from 0 to 1 in a square of `side` pixels."""
    image = Image.fromarray(digit.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.clip((np.asarray(image) - 6) / 2 + 0.5, 0, 1)


def page(digit: Array, side: int = 160, at: tuple[int, int] = (90, 140)) -> Array:
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    ink[at[0] : at[0] + side, at[1] : at[1] + side] = pen(digit, side)
    return ink


def gray(values: Array, noise: float = 2.0) -> Array:
    noisy = values + np.random.default_rng(0).normal(0, noise, values.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def encode(array: Array, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **options)
    return file.getvalue()


def alike(pixels: Array, expected: Array) -> float:
    """Return the correlation of two images, at the best shift of at most one pixel."""
    flat = pixels[..., 0].astype(float).ravel()
    return max(
        float(np.corrcoef(flat, np.roll(expected[..., 0], (y, x), (0, 1)).ravel())[0, 1])
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    )


def lighting(kind: str) -> Array:
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    if kind == "gradient":
        return 1 - 0.5 * x - 0.2 * y
    if kind == "vignette":
        return 1 - 0.9 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    return np.where(x + 0.2 * y > 0.62, 0.55, 1.0)  # the hard edge of a shadow through the digit


def ruled(squared: bool) -> Array:
    lines = np.zeros((HEIGHT, WIDTH))
    for at in range(3):
        lines[15 + at :: 40] = 0.6
        if squared:
            lines[:, 15 + at :: 40] = 0.6
    return lines


def table(values: Array) -> Array:
    out = values.copy()
    out[:, :60] = 70
    return out


def paper(ink: Array) -> Array:
    return 225 * (1 - 0.8 * ink)


PHOTOGRAPHS: dict[str, Callable[[Array], Array]] = {
    "plain": lambda ink: gray(paper(ink)),
    "noisy": lambda ink: gray(paper(ink), noise=15),
    "faint pencil": lambda ink: gray(225 * (1 - 0.25 * ink)),
    "gradient": lambda ink: gray(paper(ink) * lighting("gradient")),
    "vignette": lambda ink: gray(paper(ink) * lighting("vignette")),
    "shadow": lambda ink: gray(paper(ink) * lighting("shadow")),
    "ruled": lambda ink: gray(paper(np.maximum(ink, ruled(False)))),
    "squared": lambda ink: gray(paper(np.maximum(ink, ruled(True)))),
    "table in view": lambda ink: gray(table(paper(ink) * lighting("gradient")), noise=4),
    "thresholded": lambda ink: np.where(ink > 0.5, 0, 255).astype(np.uint8),
    "dark mode": lambda ink: gray(30 + 150 * ink),
    "blackboard": lambda ink: gray((60 + 160 * ink) * lighting("vignette"), noise=4),
}


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_digit_is_found_on_any_kind_of_photograph(kind: str) -> None:
    for digit in DIGITS[:10]:
        ink = page(digit)
        photograph = PHOTOGRAPHS[kind](ink)
        result = preprocess(encode(photograph, "JPEG", quality=85))
        assert alike(result.pixels, to_mnist_format(ink)) > 0.9
        assert result.polarity == (
            LIGHT_ON_DARK if kind in ("dark mode", "blackboard") else DARK_ON_LIGHT
        )


def test_digit_in_perspective_is_found() -> None:
    image = Image.fromarray(gray(paper(page(DIGITS[3]))))
    corners = (30, 20, 0, HEIGHT, WIDTH, HEIGHT - 30, WIDTH - 40, 0)
    distorted = image.transform(
        image.size, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
    )
    assert alike(to_pixels(distorted), to_mnist_format(page(DIGITS[3]))) > 0.7


@pytest.mark.parametrize("side", [20, 40, 90, 200, 340])
def test_digit_of_any_size_gives_the_same_pixels(side: int) -> None:
    for digit in DIGITS[:10]:
        image = gray(paper(page(digit, side, (5, 100))), noise=0)
        assert alike(to_pixels(image), to_mnist_format(page(digit, 160))) > 0.87


def test_box_refers_to_pixels_of_the_original() -> None:
    ink = np.zeros((3000, 2000), np.float32)
    ink[2000:2400, 300:380] = 1
    for format in ("PNG", "JPEG"):
        box = preprocess(encode(gray(paper(ink), noise=0), format)).box
        assert np.abs(np.subtract(box, (300, 2000, 380, 2400))).max() <= 16


def test_small_digit_in_a_large_picture_is_segmented_at_high_resolution() -> None:
    ink = np.zeros((1500, 2000), np.float32)
    ink[700:780, 900:980] = pen(DIGITS[8], 80)
    result = preprocess(encode(gray(paper(ink)), "JPEG", quality=90))
    assert alike(result.pixels, to_mnist_format(pen(DIGITS[8], 80))) > 0.9


def test_large_jpeg_is_decoded_at_a_reduced_scale(tmp_path) -> None:
    pytest.importorskip("resource", reason="getrusage is not available")
    huge = Image.new("L", (9000, 9000), 220)
    huge.paste(30, (3000, 2000, 3600, 6500))
    huge.save(tmp_path / "huge.jpg")
    script = (
        "import resource, sys; from runtime.preprocess.pipeline import preprocess\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); box = preprocess(sys.argv[1]).box; print(*box, peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "huge.jpg")],
        capture_output=True,
        text=True,
        check=True,
    )
    *box, kilobytes = map(int, done.stdout.split())
    assert np.abs(np.subtract(box, (3000, 2000, 3600, 6500))).max() < 100
    # At full scale it would take 81 MB.
    assert kilobytes < 30_000


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, format: str) -> None:
    upright = gray(paper(page(DIGITS[7])), noise=0)
    image = Image.fromarray(upright)
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](image)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, format, exif=exif)
    result, expected = preprocess(file.getvalue()), preprocess(encode(upright))
    assert alike(result.pixels, expected.pixels) > 0.95
    assert np.abs(np.subtract(result.box, expected.box)).max() <= 6


MODES = ["1", "L", "P", "PA", "LA", "La", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"]


@pytest.mark.parametrize("mode", [*MODES, "LAB", "I", "F", "I;16", "I;16B", "I;16L"])
def test_every_mode_gives_the_same_pixels(mode: str) -> None:
    base = Image.fromarray(gray(paper(page(DIGITS[2])), noise=0))
    if mode.startswith("I;16"):
        order = ">u2" if mode.endswith("B") else "<u2"
        data = (np.asarray(base).astype(np.uint16) * 257).astype(order).tobytes()
        image = Image.frombytes(mode, base.size, data)
    elif mode == "LAB":
        plain = Image.new("L", base.size, 128)
        image = Image.merge("LAB", (base, plain, plain))
    else:
        via = {"PA": "P", "La": "LA", "RGBa": "RGBA"}.get(mode)
        image = base.convert("RGB").convert(via) if via in ("P", "RGBA") else base
        image = (image.convert("LA") if via == "LA" else image).convert(mode)
        if mode in ("YCbCr", "HSV", "CMYK"):
            image = base.convert("RGB").convert(mode)
    assert image.mode == mode
    assert alike(to_pixels(image), to_pixels(base)) > 0.97


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_array_of_every_dtype_and_channel_count_gives_the_digit(dtype: Any, channels: int) -> None:
    unit = 1 - page(DIGITS[4])
    scale = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    array = (unit > 0.5) if dtype is np.bool_ else (unit * scale).astype(dtype)
    if channels:
        array = np.repeat(array[..., None], channels, axis=2)
        array[..., 3:] = True if dtype is np.bool_ else scale
    assert alike(to_pixels(array), to_mnist_format(page(DIGITS[4]))) > 0.9


@pytest.mark.parametrize("luminance", [20, 240])
def test_transparent_drawing_is_composited_on_a_contrasting_background(luminance: int) -> None:
    ink = page(DIGITS[5])
    drawing = np.stack([np.full(ink.shape, luminance), ink * 255], axis=2).astype(np.uint8)
    result = preprocess(encode(np.asarray(Image.fromarray(drawing, "LA").convert("RGBA"))))
    assert result.polarity == (DARK_ON_LIGHT if luminance < 128 else LIGHT_ON_DARK)
    assert alike(result.pixels, to_mnist_format(ink)) > 0.9


def test_page_with_transparent_corners_keeps_its_background() -> None:
    page_gray = gray(paper(page(DIGITS[5])))
    alpha = np.full(page_gray.shape, 255, np.uint8)
    alpha[:40, :40] = alpha[-40:, -40:] = 0
    result = preprocess(Image.merge("LA", (Image.fromarray(page_gray), Image.fromarray(alpha))))
    assert alike(result.pixels, to_mnist_format(page(DIGITS[5]))) > 0.9


def test_ink_of_equal_luminance_is_found_by_color() -> None:
    ink = page(DIGITS[6])[..., None]
    ground, stroke = np.array((120.0, 160.0, 110.0)), np.array((226.0, 110.0, 100.0))
    picture = np.rint(ground * (1 - ink) + stroke * ink).astype(np.uint8)
    result = preprocess(encode(picture))
    assert result.method == "color"
    assert alike(result.pixels, to_mnist_format(page(DIGITS[6]))) > 0.9


# MNIST's format


def test_mnist_format_of_a_bar_equals_the_result_computed_by_hand() -> None:
    # A bar 20 high and 10 wide: side 20, so nothing is resampled; center of mass (10, 10).
    ink = np.zeros((50, 40), np.float32)
    ink[3:23, 7:17] = 0.5
    pixels = to_mnist_format(ink)
    expected = np.zeros((28, 28), np.uint8)
    expected[5:25, 10:20] = 255
    assert pixels.dtype == np.uint8
    assert pixels.shape == PIXELS_SHAPE
    np.testing.assert_array_equal(pixels[..., 0], expected)


def test_mnist_format_weights_pixels_by_area() -> None:
    # 30 pixels to 20 bins: every bin covers one whole pixel and half of another.
    ink = np.zeros((30, 30), np.uint8)
    ink[0] = ink[-1] = 100
    ink[:, 0] = ink[:, -1] = 100
    row = to_mnist_format(ink)[..., 0].max(axis=1)
    assert row.max() == 255
    edge = to_mnist_format(ink)[..., 0][row > 0][0]
    middle = to_mnist_format(ink)[..., 0][14]
    # Share of ink: 1.5² - 0.5² of 1.5² in a corner bin, 1 of 1.5 in an edge bin.
    assert abs(int(edge[edge > 0][1]) - 255 * (1 / 1.5) / (2 / 2.25)) <= 1
    assert abs(int(middle[middle > 0][0]) - 255 * (1 / 1.5) / (2 / 2.25)) <= 1


def test_mnist_format_centers_every_digit_of_scikit_learn() -> None:
    position = np.arange(28)
    for digit in DIGITS:
        pixels = to_mnist_format(digit)[..., 0].astype(float)
        assert pixels.max() == 255
        for axis in (0, 1):
            assert 13.4 < pixels.sum(axis=1 - axis) @ position / pixels.sum() < 14.6
        np.testing.assert_array_equal(
            to_mnist_format(digit), to_mnist_format(digit.astype(np.uint8))
        )


def test_mnist_format_without_ink_is_blank() -> None:
    assert not to_mnist_format(np.zeros((8, 8), np.uint8)).any()


def test_mnist_format_rejects_three_dimensions() -> None:
    with pytest.raises(ImageError, match="height, width"):
        to_mnist_format(np.zeros((2, 8, 8), np.uint8))


@pytest.mark.parametrize("shape", [(28, 28), PIXELS_SHAPE])
def test_pixels_are_returned_without_a_copy(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.shares_memory(to_pixels(pixels), pixels)
    assert to_pixels(pixels).shape == PIXELS_SHAPE
    assert preprocess(pixels).method == "pixels"


@pytest.mark.parametrize("inverted", [False, True])
def test_file_in_mnist_format_is_unchanged(inverted: bool) -> None:
    for digit in DIGITS:
        pixels = to_mnist_format(digit)
        stored = 255 - pixels[..., 0] if inverted else pixels[..., 0]
        result = preprocess(encode(stored))
        np.testing.assert_array_equal(result.pixels, pixels)
        assert result.polarity == (DARK_ON_LIGHT if inverted else LIGHT_ON_DARK)
    np.testing.assert_array_equal(to_pixels(pixels[..., 0] / 255), pixels)


# Blank pages


@pytest.mark.parametrize("shape", [(28, 28), (16, 16), (HEIGHT, WIDTH), (1, 1), (1, 400), (3, 2)])
@pytest.mark.parametrize("noise", [0, 1, 4, 12])
@pytest.mark.parametrize("level", [0, 60, 215])
def test_blank_page_stays_blank(shape: tuple[int, int], noise: int, level: int) -> None:
    # Noise around 0 would be clipped to half.
    level += 4 * noise if level == 0 else 0
    result = preprocess(encode(gray(np.full(shape, float(level)), noise)))
    assert not result.pixels.any()
    assert result.method == "blank"
    assert result.box == (0, 0, shape[1], shape[0])


@pytest.mark.parametrize("kind", ["gradient", "vignette"])
def test_blank_page_under_uneven_light_stays_blank(kind: str) -> None:
    assert not to_pixels(encode(gray(225 * lighting(kind)), "JPEG")).any()


@pytest.mark.parametrize(
    ("outline", "dots", "implausible"),
    [
        ((60, 40, 140, 160), [(90, 88, 110, 112)], False),  # a zero of a monospaced font
        ((40, 40, 160, 160), [(85, 85, 115, 115)], True),  # a circle with a dot
        ((60, 40, 140, 160), [(90, 60, 110, 80)], True),  # a dot that is not in the middle
        ((60, 40, 140, 160), [(84, 70, 96, 82), (104, 70, 116, 82)], True),  # a face
    ],
)
def test_only_the_dot_of_a_zero_is_plausible_in_a_hole(outline, dots, implausible):
    page = Image.new("L", (200, 200), 230)
    draw = ImageDraw.Draw(page)
    draw.ellipse(outline, outline=30, width=10)
    for dot in dots:
        draw.ellipse(dot, fill=30)
    assert preprocess(np.asarray(page)).implausible == implausible


def five(bar_top: int, bottom: int, bar_right: int = 130) -> Image.Image:
    """Draw a 5 whose bar and bow do not touch, on a page of 173 × 130 pixels."""
    image = Image.new("L", (173, 130), 255)
    draw = ImageDraw.Draw(image)
    draw.line((72, bar_top, bar_right, bar_top), fill=60, width=7)
    draw.line((68, bar_top + 14, 60, bar_top + 50), fill=60, width=7)
    draw.arc((40, bar_top + 42, 105, bottom), -110, 150, fill=60, width=7)
    return image


@pytest.mark.parametrize(
    ("bar_top", "bottom"), [(2, 110), (12, 131), (12, 115)], ids=["bar", "bow", "neither"]
)
def test_loose_bar_of_a_5_belongs_to_it_at_an_edge_too(bar_top: int, bottom: int) -> None:
    left, top, right, below = preprocess(five(bar_top, bottom)).box
    assert top <= bar_top
    assert below >= min(bottom, 130) - 2
    assert right >= 128
    assert left <= 60


def test_ink_beside_a_digit_at_an_edge_is_left_out() -> None:
    image = five(20, 110)
    ImageDraw.Draw(image).line((3, 30, 0, 100), fill=60, width=7)
    assert preprocess(image).box == preprocess(five(20, 110)).box


def test_hairline_is_widened_and_a_thin_pen_is_not() -> None:
    """A thin pen has a 20th of the digit's height; widened, it would close narrow openings."""
    ink = np.zeros((80, 60), np.float32)
    ink[:, 20] = 1
    assert missing_stroke_width(ink, 80) >= 1
    ink[:, 20:24] = 1
    assert missing_stroke_width(ink, 80) == 0
