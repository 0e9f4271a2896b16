"""The photos benchmark, measured on a folder of drawn images."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.photos import report as photos_report
from benchmarks.photos.run import edit_distance, list_photos, measure, read_manifest
from benchmarks.photos.speed import measure_speed
from benchmarks.schema.photos import NumberRead, Photo, PhotosReport, Speed
from runtime.classifier import Classifier
from runtime.errors import DatasetError

HEADER = ("file", "kind", "label", "writer", "medium")


def page(*digits: int) -> Image.Image:
    """Draw a page with digits side by side; without digits, a blank one."""
    data = load_digits()
    ink = np.zeros((200, 200 + 160 * len(digits)), np.float32)
    for position, digit in enumerate(digits):
        index = int(np.flatnonzero(data.target == digit)[0])
        small = Image.fromarray(data.images[index].astype(np.float32))
        stroke = np.asarray(small.resize((120, 120), Image.Resampling.BICUBIC)) > 7
        ink[40:160, 80 + 160 * position : 200 + 160 * position] = stroke
    return Image.fromarray((220 - 170 * ink).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a right and a wrong image of each kind, and their manifest."""
    lines = [
        ("one.png", "single", "3", "w1", "scan"),
        ("wrong.png", "single", "9", "w2", "photo"),
        ("number.png", "multi", "601", "w1", "photo"),
        ("blank.png", "notdigit", "paper", "w2", "photo"),
        ("accepted.png", "notdigit", "digit", "w2", "photo"),
    ]
    for (name, *_), image in zip(
        lines, [page(3), page(4), page(6, 0), page(), page(0)], strict=True
    ):
        image.save(tmp_path / name)
    write_manifest(tmp_path, HEADER, *lines)
    return tmp_path


def write_manifest(folder: Path, *lines: tuple[str, ...]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


@pytest.fixture
def measured(folder: Path) -> PhotosReport:
    return measure(folder, Classifier.load(), "digits", speed=False)


def test_single_digits_are_compared_with_their_labels(measured: PhotosReport) -> None:
    assert [(p.label, p.right, p.accepted) for p in measured.singles] == [
        ("3", True, True),
        ("4", False, True),
    ]


def test_only_mistakes_keep_their_pixels(measured: PhotosReport) -> None:
    assert [len(p.pixels) for p in measured.singles] == [0, 784]


def test_numbers_are_compared_by_line_and_by_edit_distance(measured: PhotosReport) -> None:
    (number,) = measured.numbers
    assert (number.expected, number.lines) == (("601",), ("60",))
    assert (number.right_lines, number.edits, number.digits) == (0, 1, 3)


def test_negatives_record_whether_they_were_accepted(measured: PhotosReport) -> None:
    assert [p.accepted for p in measured.negatives] == [False, True]


def test_write_returns_the_names_of_its_files(measured: PhotosReport, tmp_path: Path) -> None:
    names = photos_report.write(measured, tmp_path)
    assert names == ("photos.json", "photos.md", "photos.html")
    assert (tmp_path / "photos.md").read_text("utf-8") == photos_report.render(measured)
    assert (tmp_path / "photos.html").read_text("utf-8") == photos_report.render_sheet(measured)


def test_json_names_the_artifact(measured: PhotosReport, tmp_path: Path) -> None:
    photos_report.write(measured, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "photos.json").read_text())
    assert record["artefact"] == "digits"


def test_markdown_shows_whether_targets_are_met(measured: PhotosReport) -> None:
    text = photos_report.render(measured)
    assert "| single digits right | 1 of 2 | 50.00 % | ≥ 98.5 %: MISSED |" in text
    assert "| w1 | 1 | 1 | 100.00 % | 0 | ≥ 90 %: met |" in text


def test_markdown_lists_every_mistake(measured: PhotosReport) -> None:
    text = photos_report.render(measured)
    for name in ("wrong.png", "number.png", "accepted.png"):
        assert f"| {name} |" in text


def test_page_shows_mistakes_only(measured: PhotosReport) -> None:
    sheet = photos_report.render_sheet(measured)
    assert all(name in sheet for name in ("wrong.png", "number.png", "accepted.png"))
    assert "one.png" not in sheet
    assert "blank.png" not in sheet


def test_page_shows_model_pixels_of_single_images(measured: PhotosReport) -> None:
    assert photos_report.render_sheet(measured).count("<img") == 2


def test_page_shows_original_images_on_request(measured: PhotosReport, folder: Path) -> None:
    assert photos_report.render_sheet(measured, folder).count("<img") == 5


def test_classes_count_wrong_and_accepted_digits(measured: PhotosReport) -> None:
    text = photos_report.render(measured)
    assert "| wrong and accepted | 1 of 2 | 50.00 % | ≤ 0.3 %: MISSED |" in text
    assert "| 9 | 1 | 0 | 0.00 % | 1 | 0 | 4 (1) | ≥ 97 %: MISSED |" in text
    assert "| 3 | 1 | 1 | 100.00 % | 0 | 0 | – | ≥ 97 %: met |" in text


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """Return a folder with one subfolder per class, without a manifest."""
    for name, image in (("3", page(3)), ("9", page(4))):
        (tmp_path / "plain" / name).mkdir(parents=True)
        image.save(tmp_path / "plain" / name / "a.png")
    return tmp_path / "plain"


def test_folder_of_class_folders_is_measured(class_folder: Path) -> None:
    report = measure(class_folder, Classifier.load(), "digits", speed=False)
    assert [(p.photo.file, p.right) for p in report.singles] == [
        ("3/a.png", True),
        ("9/a.png", False),
    ]
    text = photos_report.render(report)
    assert "| single digits right | 1 of 2 |" in text
    assert "| 9 | 1 | 0 | 0.00 % | 1 | 0 | 4 (1) |" in text
    assert "by writer" not in text
    assert "a.png" not in text


def test_subfolder_that_is_not_a_class_is_an_error(class_folder: Path) -> None:
    (class_folder / "writer-7").mkdir()
    with pytest.raises(DatasetError, match=r"writer-7.*manifest\.csv"):
        list_photos(class_folder, tuple("0123456789"))


@pytest.mark.parametrize("parts", [(), ("3", "9")], ids=["no subfolder", "no file"])
def test_folder_without_images_is_an_error(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        (tmp_path / part).mkdir()
    with pytest.raises(DatasetError, match="subfolders"):
        list_photos(tmp_path, tuple("0123456789"))


@pytest.fixture
def small_report() -> PhotosReport:
    """Return a report of one number, read with an extra line, and one slow image."""
    photo = Photo("a.png", "multi", "1", "w", "photo")
    number = NumberRead(photo, ("12",), ("12", "7"), 1, 2, 2)
    speed = Speed("JPEG", 3, 10.0, 25.0, 2.0)
    return PhotosReport(1, "2026", "m", "d", "litert", "2", (), (number,), (), (speed,))


def test_lines_of_numbers_are_counted_beside_extra_lines(small_report: PhotosReport) -> None:
    assert "| a.png | w | 1 of 1 | 2 | 2 |" in photos_report.render(small_report)


def test_speed_ratio_above_its_target_is_missed(small_report: PhotosReport) -> None:
    assert "2.50× | ≤ 2×: MISSED" in photos_report.render(small_report)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("12", "", 2), ("123", "13", 1), ("123", "1423", 1), ("abc", "cab", 2)],
)
def test_edit_distance(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second) == edit_distance(second, first) == distance


def test_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("file", "kind"), ("a.png", "single")], "no column 'label'"),
        ([HEADER], "lists no images"),
        ([HEADER, ("a.png", "song", "1", "w", "photo")], "'song'"),
    ],
    ids=["missing column", "header only", "unknown kind"],
)
def test_invalid_manifest_is_an_error(
    tmp_path: Path, lines: list[tuple[str, ...]], message: str
) -> None:
    write_manifest(tmp_path, *lines)
    with pytest.raises(DatasetError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", [("b.png", "single"), ("b.png",), ("b.png", *"123")])
def test_error_of_a_short_line_names_the_line(tmp_path: Path, line: tuple[str, ...]) -> None:
    write_manifest(tmp_path, HEADER, ("a.png", "single", "1", "w", "photo"), line)
    with pytest.raises(DatasetError, match=r"manifest\.csv, line 3"):
        read_manifest(tmp_path)


MANIFEST_TEXT = "file,kind,label,writer,medium\na.png,single,1,Zoë,photo\n"


def test_manifest_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Excel writes a byte order mark before UTF-8."""
    (tmp_path / "manifest.csv").write_text(MANIFEST_TEXT, "utf-8-sig")
    assert read_manifest(tmp_path) == (Photo("a.png", "single", "1", "Zoë", "photo"),)


def test_manifest_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(MANIFEST_TEXT, "latin-1")
    with pytest.raises(DatasetError, match=r"manifest\.csv is not UTF-8"):
        read_manifest(tmp_path)


def test_manifest_with_an_oversized_field_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("x" * 200_000)
    with pytest.raises(DatasetError, match=r"manifest\.csv, line 1: field larger"):
        read_manifest(tmp_path)


def run_command(folder: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    """Run digit-edge benchmark-photos without the speed test."""
    command = [sys.executable, "-m", "benchmarks.photos", "--no-speed"]
    command += ["--data", str(folder), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_writes_the_report(folder: Path, tmp_path: Path) -> None:
    done = run_command(folder, tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out" / "photos.html").exists()


def test_command_with_a_missing_image_names_it_and_writes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "one.png").unlink()
    done = run_command(folder, tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "one.png" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_speed_is_measured_for_every_size_and_format() -> None:
    speeds = measure_speed(Classifier.load())
    assert len(speeds) == 4
    assert all(speed.decode_ns > 0 and speed.classify_ns > 0 for speed in speeds)
