"""Own handwriting: pages are cut into digits, checked, saved, and read by a served page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from runtime import Classifier
from runtime.errors import EdgeError
from train.data.load import load
from train.lesson import own_digits

PUBLISHED = Path(runtime.__file__).parent / "pretrained/digits-int8.tflite"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return a folder with ten drawn pages."""
    folder = tmp_path_factory.mktemp("photographs")
    own_digits.draw_stand_ins(folder)
    return folder


@pytest.fixture(scope="module")
def pages(photographs):
    return own_digits.read_pages(photographs)


def test_every_digit_of_a_drawn_page_is_found(pages):
    assert [page.label for page in pages] == list("0123456789")
    assert [len(page.boxes) for page in pages] == [own_digits.DIGITS_PER_PAGE] * 10
    classifier = Classifier.load()
    for page in pages:
        read = [classifier.classify(pixels).label for pixels in page.pixels]
        assert read.count(page.label) >= 7, page.path.name  # most of the other writers' digits


def test_the_same_seed_draws_the_same_pages(photographs, tmp_path):
    own_digits.draw_stand_ins(tmp_path)
    assert (tmp_path / "3.jpg").read_bytes() == (photographs / "3.jpg").read_bytes()


def test_name_before_the_dash_is_the_label(photographs, tmp_path):
    (tmp_path / "7-anna.JPG").write_bytes((photographs / "7.jpg").read_bytes())
    (page,) = own_digits.read_pages(tmp_path)
    assert page.label == "7"


def test_rotated_photograph_is_turned_upright(photographs, tmp_path):
    with Image.open(photographs / "7.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # rotate by 90° clockwise to view
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "7.jpg", exif=exif)
    (page,) = own_digits.read_pages(tmp_path)
    read = [Classifier.load().classify(pixels).label for pixels in page.pixels]
    assert read.count("7") >= 9


def test_digits_left_out_are_not_saved(pages, tmp_path):
    counts = own_digits.save_digits(pages, {"7.jpg": [0, 5]}, tmp_path)
    assert counts["7"] == own_digits.DIGITS_PER_PAGE - 2
    assert not (tmp_path / "7/cut-7-05.png").exists()
    data = load(tmp_path, as_is=True)
    assert data.labels == tuple("0123456789")
    assert len(data.train) + len(data.test) == 118
    saved = np.asarray(Image.open(tmp_path / "7/cut-7-01.png"))
    np.testing.assert_array_equal(saved, pages[7].pixels[1, :, :, 0])


def test_saving_again_removes_the_digits_of_before(pages, tmp_path):
    own_digits.save_digits(pages, {}, tmp_path)
    own_digits.save_digits(pages, {"7.jpg": range(12)}, tmp_path)
    assert list((tmp_path / "7").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("seven.jpg", "begin it with the digit"), ("7.txt", "has no photographs")],
)
def test_unusable_folder_says_what_to_do(photographs, tmp_path, name, message):
    (tmp_path / name).write_bytes((photographs / "7.jpg").read_bytes())
    with pytest.raises(EdgeError, match=message):
        own_digits.read_pages(tmp_path)


def test_blank_page_says_what_to_do(tmp_path):
    Image.new("L", (400, 400), 240).save(tmp_path / "7.jpg")
    with pytest.raises(EdgeError, match="no digits found; write them larger"):
        own_digits.read_pages(tmp_path)


def test_unknown_photograph_to_leave_out_is_named(pages, tmp_path):
    with pytest.raises(EdgeError, match=r"no photograph is called 70\.jpg"):
        own_digits.save_digits(pages, {"70.jpg": [1]}, tmp_path)


def test_served_page_reads_digits_until_it_is_stopped(pages):
    page = own_digits.ServedPage(PUBLISHED)
    try:
        assert page.read(pages[7].pixels[0]) == "7"
        assert page.read(np.zeros((28, 28, 1), np.uint8)) == "?"
    finally:
        page.stop()
    page.stop()


def test_model_that_does_not_open_is_reported(tmp_path):
    with pytest.raises(EdgeError, match=r"missing\.tflite"):
        own_digits.ServedPage(tmp_path / "missing.tflite")
