"""Data sets as folders of image files with one subfolder per class."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from train.data import load


def _draw_letters(folder: Path, classes: str = "ABC", n: int = 8) -> None:
    font = ImageFont.load_default(size=40)
    kinds = [("png", "L"), ("jpg", "RGB"), ("bmp", "1"), ("webp", "RGB"), ("gif", "P")]
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(n):
            suffix, mode = kinds[k % len(kinds)]
            page = Image.new("L", (70 + 5 * k, 90 + 3 * k), 255)
            ImageDraw.Draw(page).text((10 + k, 15 + 2 * k), name, 0, font, stroke_width=k % 4)
            page.rotate(3 * k - 10, fillcolor=255).convert(mode).save(
                folder / name / f"{k}.{suffix}"
            )


@pytest.fixture
def letters(tmp_path):
    """Return a folder of 24 images in several formats, two unreadable files and a hidden folder."""
    folder = tmp_path / "letters"
    _draw_letters(folder)
    (folder / ".git").mkdir()
    (folder / "A" / "notes.txt").write_text("no image")
    (folder / "B" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_images_of_several_formats_are_read_and_preprocessed(letters):
    read = load.load(letters)
    assert (read.name, read.labels) == ("letters", ("A", "B", "C"))
    assert len(read.train) + len(read.test) == 24
    assert (np.bincount(read.test.labels, minlength=3) >= 1).all()
    assert (read.train.pixels.max(axis=(1, 2, 3)) == 255).all()


def test_unreadable_files_are_listed_and_counted(letters, capsys):
    load.load(letters)
    err = capsys.readouterr().err
    assert "notes.txt" in err
    assert "cut.png" in err
    assert "2 of 26 files skipped" in err


def test_divided_folder_keeps_its_division(tmp_path):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / "test", "AB", 3)
    read = load.load(tmp_path)
    assert len(read.train) == 16
    assert len(read.test) == 6
    assert read.labels == ("A", "B")


VALIDATION_FOLDERS = pytest.mark.parametrize("val", ["val", "Valid", "validation"])


@VALIDATION_FOLDERS
def test_folder_of_validation_images_is_used_for_training(tmp_path, val, capsys):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / val, "AB", 3)
    _draw_letters(tmp_path / "test", "AB", 4)
    read = load.load(tmp_path)
    assert np.bincount(read.train.labels).tolist() == [11, 11]
    assert np.bincount(read.test.labels).tolist() == [4, 4]
    err = capsys.readouterr().err
    assert str(tmp_path / val) in err
    assert "are both used for training" in err


@VALIDATION_FOLDERS
def test_test_images_are_split_off_if_there_is_no_test_folder(tmp_path, val):
    _draw_letters(tmp_path / "train", "AB", 8)
    _draw_letters(tmp_path / val, "AB", 3)
    read = load.load(tmp_path)
    assert read.labels == ("A", "B")
    assert len(read.test) > 0


@pytest.fixture
def without_classes(tmp_path):
    """Return a folder with `train` and `test` folders of images without subfolders."""
    for name in ("test", "train"):
        (tmp_path / name).mkdir()
        Image.new("L", (28, 28)).save(tmp_path / name / "0.png")
    return tmp_path


def test_divided_folder_without_classes_is_rejected(without_classes, rejected):
    rejected(without_classes, "0 subfolders", "train and", "test")


def test_other_folders_next_to_train_and_test_are_rejected(without_classes, rejected):
    _draw_letters(without_classes / "train", "AB")
    (without_classes / "extra").mkdir()
    rejected(without_classes, "extra, test, train", "remove other folders")


def test_class_may_be_named_train(tmp_path):
    _draw_letters(tmp_path, "A")
    _draw_letters(tmp_path / "more", "B")
    (tmp_path / "more" / "B").rename(tmp_path / "train")
    (tmp_path / "more").rmdir()
    assert load.load(tmp_path).labels == ("A", "train")


def test_folder_name_that_is_not_utf_8_becomes_an_encodable_name(tmp_path):
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    try:
        _draw_letters(folder)
    except OSError:
        pytest.skip("this file system only supports names in UTF-8")
    assert load.load(folder).name.encode() == rb"donn\udce9es"


def test_folder_without_read_permission_is_rejected(tmp_path):
    """In a process of its own, which becomes the user nobody if the tests run as root."""
    tmp_path.chmod(0)
    script = (
        "import os, sys; from train.data.load import load; os.geteuid() or os.setuid(65534)\n"
        "from runtime.cli.exit_status import exit_status\n"
        "sys.exit(exit_status(lambda: load(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    tmp_path.chmod(0o700)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot read {tmp_path}")
    assert "denied" in done.stderr


@pytest.fixture
def numbers(tmp_path):
    """Return a folder of 28x28 images in classes 9, 10 and 100, whose strokes differ in width."""
    for name in ("10", "9", "100"):
        (tmp_path / name).mkdir()
        for k in range(6):
            pixels = np.zeros((28, 28), np.uint8)
            pixels[4 : 12 + k, 8 : 10 + len(name)] = 255
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_classes_that_are_numbers_are_sorted_numerically(numbers):
    assert load.load(numbers, as_is=True).labels == ("9", "10", "100")


def test_as_is_keeps_the_pixels(numbers):
    train = load.load(numbers, as_is=True).train
    widths = [train.pixels[train.labels == n][0, 6].sum() // 255 for n in range(3)]
    assert widths == [3, 4, 5]


def test_missing_path_is_rejected(tmp_path, rejected):
    rejected(tmp_path / "nowhere", "nowhere", "does not exist")


def test_file_of_another_kind_is_rejected(tmp_path, rejected):
    (tmp_path / "file.txt").write_text("hello")
    rejected(tmp_path / "file.txt", "file.txt", "not a data set")


@pytest.mark.parametrize(("classes", "count"), [("", "0 subfolders;"), ("A", "1 subfolder;")])
def test_fewer_than_two_classes_are_rejected(tmp_path, rejected, classes, count):
    _draw_letters(tmp_path, classes, 8)
    rejected(tmp_path, count)


def test_class_with_too_few_images_is_rejected(tmp_path, rejected):
    _draw_letters(tmp_path, "A", 8)
    _draw_letters(tmp_path, "B", 4)
    rejected(tmp_path, "'B' has 4", "at least 5")


def test_as_is_skips_images_of_another_size(tmp_path, rejected):
    _draw_letters(tmp_path, "AB", 8)
    rejected(tmp_path, "'A' has 0", as_is=True)
