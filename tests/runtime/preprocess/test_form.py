"""Pixels of other forms than 28×28 ink: ink in other sizes, and photographs."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from runtime.preprocess.form import INK, MNIST_FORM, PHOTO, Form
from runtime.preprocess.mnist_format import to_ink_format, to_mnist_format
from runtime.preprocess.pipeline import (
    NO_POLARITY,
    preprocess,
    preprocess_batch,
    stack_pixels,
    to_pixels,
)

pytestmark = pytest.mark.portable

COLOR = Form(PHOTO, (32, 20, 3))


def page(text: str = "4", size: tuple[int, int] = (120, 90)) -> Image.Image:
    picture = Image.new("RGB", size, (230, 225, 220))
    ImageDraw.Draw(picture).text((60, 45), text, (30, 30, 60), ImageFont.load_default(50), "mm")
    return picture


@pytest.mark.parametrize("shape", [(5, 5), (40, 13), (17, 61), (20, 20), (100, 3)])
def test_ink_of_28_pixels_is_that_of_mnist(shape):
    ink = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    ink[0] = ink[-1] = ink[:, 0] = ink[:, -1] = 200
    difference = to_ink_format(ink, (28, 28)).astype(int) - to_mnist_format(ink)
    assert np.abs(difference).max() <= 1  # sums in another order


@pytest.mark.parametrize("size", [(16, 16), (32, 20), (20, 32), (64, 64), (96, 17)])
def test_ink_is_centered_with_a_margin_at_any_size(size):
    pixels = to_pixels(page(), form=Form(INK, (*size, 1)))[:, :, 0]
    assert pixels.shape == size
    assert pixels.max() == 255
    for axis in (0, 1):
        mass = pixels.sum(axis=1 - axis)
        center = mass @ np.arange(size[axis]) / mass.sum()
        assert abs(center - size[axis] / 2) <= 1
    extent = [np.ptp(np.flatnonzero(pixels.max(axis=axis) > 60)) + 1 for axis in (1, 0)]
    shares = [side / whole for side, whole in zip(extent, size, strict=True)]
    assert 0.6 < max(shares) < 0.8


def test_blank_page_is_blank_at_any_size():
    preprocessed = preprocess(Image.new("L", (50, 50), 200), form=Form(INK, (40, 30, 1)))
    assert preprocessed.method == "blank"
    assert preprocessed.pixels.shape == (40, 30, 1)


def test_photograph_is_stretched_to_the_size():
    picture = Image.new("RGB", (200, 100), (250, 10, 10))
    picture.paste((10, 10, 250), (100, 0, 200, 100))
    preprocessed = preprocess(picture, form=COLOR)
    assert preprocessed.pixels.shape == (32, 20, 3)
    assert preprocessed.box == (0, 0, 200, 100)
    assert (preprocessed.method, preprocessed.polarity) == ("photo", NO_POLARITY)
    assert preprocessed.pixels[16, 2].tolist() == [250, 10, 10]
    assert preprocessed.pixels[16, 17].tolist() == [10, 10, 250]


def test_gray_photograph_is_the_luminance():
    pixels = to_pixels(Image.new("RGB", (60, 60), (255, 0, 0)), form=Form(PHOTO, (16, 16, 1)))
    assert pixels.shape == (16, 16, 1)
    assert set(pixels.ravel().tolist()) == {76}


def test_gray_picture_becomes_gray_pixels_of_a_color_form():
    pixels = to_pixels(np.full((70, 50), 99, np.uint8), form=COLOR)
    assert pixels.shape == (32, 20, 3)
    assert set(pixels.ravel().tolist()) == {99}


def test_photograph_of_the_size_is_not_resampled():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 20, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert np.array_equal(to_pixels(buffer.getvalue(), form=COLOR), pixels)
    assert to_pixels(pixels, form=COLOR) is not None
    assert np.array_equal(stack_pixels([pixels, pixels], COLOR), np.stack([pixels, pixels]))
    assert stack_pixels([pixels, pixels]) is None


def test_photograph_is_turned_upright():
    picture = Image.new("RGB", (40, 80), "white")
    picture.paste((0, 0, 0), (0, 0, 40, 40))  # the upper half is black
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180°
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    pixels = to_pixels(buffer.getvalue(), form=COLOR)
    assert pixels[4].mean() > 240
    assert pixels[-4].mean() < 15


def test_batch_of_small_files_is_converted_in_the_form(tmp_path):
    for n in range(6):
        page(str(n), (28, 28)).convert("L").save(tmp_path / f"{n}.png")
    files = [tmp_path / f"{n}.png" for n in range(6)]
    results = preprocess_batch(files, COLOR)
    assert all(result.pixels.shape == (32, 20, 3) for result in results)
    assert all(result.pixels.shape == (28, 28, 1) for result in preprocess_batch(files))


def test_form_is_described_for_people():
    assert str(COLOR) == "32x20 color (photo)"
    assert str(MNIST_FORM) == "28x28 gray (ink)"
