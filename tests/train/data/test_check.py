"""Data that a network would learn wrongly are reported, or rejected, before the training."""

import dataclasses
import string

import numpy as np
import pytest
from PIL import Image

from runtime.errors import DatasetError
from runtime.preprocess.form import PHOTO, Form
from train import plots
from train.data import load
from train.data.check import check
from train.data.splits import DataSet, Split
from train.negatives import glyphs

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load.sklearn_digits()


def _changed(data: DataSet, change) -> DataSet:
    """Return a data set with its training and test pixels changed."""
    return dataclasses.replace(
        data,
        train=Split(change(data.train.pixels), data.train.labels),
        test=Split(change(data.test.pixels), data.test.labels),
    )


def _warnings(data: DataSet, **options) -> str:
    return "\n".join(check(data, **options).warnings)


def test_embedded_digits_have_no_warning(digits):
    summary = check(digits)
    assert summary.warnings == ()
    assert "1,438 training images and 359 test images of 10 classes: 0, 1, 2" in summary.lines[0]
    assert "139 to 146 training images per class" in summary.lines[0]
    assert summary.lines[1] == "stored as 28x28 pixels, gray, light on dark"


def test_summary_describes_files_as_they_are_stored(tmp_path):
    for name, color in (("a", (250, 240, 230)), ("b", (240, 240, 240))):
        (tmp_path / name).mkdir()
        for n in range(10):
            page = Image.new("RGB", (30 + n, 40), color)
            page.paste((10, 20, 30), (10, 10 + n, 12 + 4 * (name == "b"), 30))
            page.save(tmp_path / name / f"{n}.png")
    assert (
        check(load.load(tmp_path)).lines[1]
        == "stored as 30x40 to 39x40 pixels, color, dark on light"
    )


# --- orientation

TURNED = {
    "transposed": lambda x: x.transpose(0, 2, 1, 3),
    "mirrored": lambda x: x[:, :, ::-1],
    "upside down": lambda x: x[:, ::-1, ::-1],
    "left": lambda x: np.rot90(x, 1, (1, 2)),
    "right": lambda x: np.rot90(x, -1, (1, 2)),
}


@pytest.mark.parametrize("turn", TURNED)
def test_turned_images_are_rejected_with_the_code_that_turns_them_upright(digits, turn):
    turned = _changed(digits, TURNED[turn])
    with pytest.raises(DatasetError, match=turn) as caught:
        check(turned)
    code = str(caught.value).partition("x = ")[2].partition(", or pass")[0]
    flat = turned.train.pixels[..., 0]
    upright = eval(code, {"x": flat, "numpy": np})
    np.testing.assert_array_equal(upright, digits.train.pixels[..., 0])


def test_as_is_reports_turned_images_and_trains(digits):
    turned = _changed(digits, TURNED["transposed"])
    assert "EMNIST" in _warnings(turned, as_is=True)


@pytest.mark.parametrize("letters", [string.ascii_uppercase, string.ascii_lowercase])
def test_upright_letters_are_not_reported(letters):
    random = np.random.default_rng(0)
    pixels = np.concatenate([glyphs(letter, 25, random) for letter in letters])
    labels = np.repeat(np.arange(26), 25)
    data = DataSet("letters", "", tuple(letters), Split(pixels, labels), Split(pixels, labels))
    assert "turn" not in _warnings(data)
    with pytest.raises(DatasetError, match="transposed"):
        check(_changed(data, TURNED["transposed"]))


def test_orientation_of_other_classes_is_not_checked(digits):
    names = tuple(f"class {n}" for n in range(10))
    turned = _changed(dataclasses.replace(digits, labels=names), TURNED["transposed"])
    assert check(turned).warnings == ()


# --- polarity and size


def test_dark_on_light_arrays_are_inverted_and_announced(tmp_path, digits, capsys):
    pixels, labels = digits.train.pixels[:200, ..., 0], digits.train.labels[:200]
    np.savez(tmp_path / "dark.npz", x=255 - pixels, y=labels)
    np.savez(tmp_path / "light.npz", x=pixels, y=labels)
    dark = load.load(tmp_path / "dark.npz")
    assert "dark.npz: x: dark on light; the images are inverted" in capsys.readouterr().err
    np.testing.assert_array_equal(dark.train.pixels, load.load(tmp_path / "light.npz").train.pixels)


def test_as_is_reports_dark_on_light_arrays_and_keeps_them(tmp_path, digits):
    pixels, labels = digits.train.pixels[:200, ..., 0], digits.train.labels[:200]
    np.savez(tmp_path / "dark.npz", x=255 - pixels, y=labels)
    dark = load.load(tmp_path / "dark.npz", as_is=True)
    assert "100 % of the images have a light background" in _warnings(dark, as_is=True)


def test_mixed_polarity_is_reported(digits):
    mixed = _changed(
        digits, lambda x: np.where(np.arange(len(x)).reshape(-1, 1, 1, 1) % 2, x, 255 - x)
    )
    assert "light background" in _warnings(mixed, as_is=True)


def test_photographs_may_be_light_and_large(digits):
    form = Form(PHOTO, (28, 28, 1))
    assert "light" not in _warnings(_changed(digits, lambda x: 255 - x), form=form)


def test_ink_larger_than_the_device_scales_it_is_reported(digits):
    def enlarge(pixels):
        return np.kron(pixels[:, 7:21, 7:21], np.ones((1, 2, 2, 1), np.uint8))

    assert "larger than 20x20" in _warnings(_changed(digits, enlarge))


# --- classes and duplicates


def test_test_images_that_are_training_images_are_counted(digits):
    test = Split(
        np.concatenate([digits.test.pixels, digits.train.pixels[:7]]),
        np.concatenate([digits.test.labels, digits.train.labels[:7]]),
    )
    text = _warnings(dataclasses.replace(digits, test=test))
    assert "7 of 366 test images are training images too" in text


def test_equal_images_with_different_labels_are_counted(digits):
    train = Split(
        np.concatenate([digits.train.pixels, digits.train.pixels[:3]]),
        np.concatenate([digits.train.labels, (digits.train.labels[:3] + 1) % 10]),
    )
    assert "3 training images equal to one with another label" in _warnings(
        dataclasses.replace(digits, train=train)
    )


def test_class_with_few_images_is_named(digits):
    kept = np.flatnonzero((digits.train.labels != 4) | (np.arange(len(digits.train)) < 80))
    few = dataclasses.replace(digits, train=digits.train.take(kept))
    count = int((few.train.labels == 4).sum())
    assert f"few training images of 4 ({count})" in _warnings(few)


def test_class_without_test_images_is_named(digits):
    test = digits.test.take(np.flatnonzero(digits.test.labels != 9))
    assert "no test images of 9" in _warnings(dataclasses.replace(digits, test=test))


def test_blank_images_are_counted(digits):
    pixels = digits.train.pixels.copy()
    pixels[:5] = 0
    text = _warnings(dataclasses.replace(digits, train=Split(pixels, digits.train.labels)))
    assert "5 training images of" in text
    assert "are blank" in text


def test_several_blank_classes_are_rejected(digits):
    pixels = digits.train.pixels.copy()
    pixels[digits.train.labels < 2] = 0
    with pytest.raises(DatasetError, match="classes 0, 1 are blank"):
        check(dataclasses.replace(digits, train=Split(pixels, digits.train.labels)))


@pytest.fixture
def written_by(tmp_path, digits):
    """Return a function that writes 20 digits each of two writers, with names of a format."""

    def write(name):
        for writer in range(2):
            folder = tmp_path / ("anna", "bert")[writer]
            folder.mkdir()
            for k in range(20):
                n = np.flatnonzero(digits.train.labels == k % 10)[k // 10 + 2 * writer]
                if k < 10 or "{n}" in name:
                    path = folder / name.format(label=k % 10, n=n)
                    Image.fromarray(digits.train.pixels[n, ..., 0]).save(path)
        return load.load(tmp_path)

    return write


def test_folders_whose_files_begin_with_all_digits_are_rejected(written_by):
    with pytest.raises(DatasetError, match=r"anna, bert are named 0, 1, 2.*writers, not classes;"):
        check(written_by("{label}_{n}.png"))


def test_folders_of_files_named_by_digits_are_reported(written_by):
    assert "seem to be writers" in _warnings(written_by("{label}.png"))


# --- the contact sheet


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (62, 3), (130, 1)])
def test_contact_sheet_has_a_row_per_class(tmp_path, classes, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (3 * classes, 20, 32, channels), np.uint8)
    labels = np.arange(len(pixels)) % classes
    figure = plots.contact_sheet(pixels, labels, tuple(f"class {n}" for n in range(classes)))
    (axes,) = figure.axes
    assert len(axes.get_yticklabels()) == min(classes, plots.MAX_SHEET_CLASSES)
    plots.save(figure, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.height > image.width / 10


def test_faint_images_are_reported(digits):
    assert "at most 15 of 255" in _warnings(_changed(digits, lambda x: x // 16))
