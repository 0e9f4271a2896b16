"""The report of real images, on a folder that the test draws."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.photos import report as view
from benchmarks.photos.run import edit_distance, measure, read_manifest
from benchmarks.photos.speed import measure_speed
from benchmarks.schema.photos import NumberRead, Photo, PhotosReport, Speed
from runtime.classifier import Classifier
from runtime.errors import DatasetError

HEADER = ("file", "kind", "label", "writer", "medium")


def page(*numbers: int) -> Image.Image:
    digits = load_digits()
    ink = np.zeros((200, 200 + 160 * len(numbers)), np.float32)
    for place, number in enumerate(numbers):
        index = int(np.flatnonzero(digits.target == number)[0])
        small = Image.fromarray(digits.images[index].astype(np.float32))
        stroke = np.asarray(small.resize((120, 120), Image.Resampling.BICUBIC)) > 7
        ink[40:160, 80 + 160 * place : 200 + 160 * place] = stroke
    return Image.fromarray((220 - 170 * ink).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [
        ("one.png", "single", "3", "w1", "scan"),
        ("wrong.png", "single", "9", "w2", "photo"),
        ("number.png", "multi", "601", "w1", "photo"),
        ("blank.png", "notdigit", "paper", "w2", "photo"),
        ("taken.png", "notdigit", "digit", "w2", "photo"),
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


def test_each_kind_is_counted(folder: Path) -> None:
    report = measure(folder, Classifier.load(), "digits", speed=False)
    assert [(one.label, one.right, one.accepted) for one in report.singles] == [
        ("3", True, True),
        ("4", False, True),
    ]
    assert [len(one.pixels) for one in report.singles] == [0, 784]
    (number,) = report.numbers
    assert (number.expected, number.lines) == (("601",), ("60",))
    assert (number.right_lines, number.edits, number.digits) == (0, 1, 3)
    assert [one.accepted for one in report.negatives] == [False, True]


def test_the_report_names_every_mistake_and_target(folder: Path, tmp_path: Path) -> None:
    report = measure(folder, Classifier.load(), "digits", speed=False)
    out = tmp_path / "out"
    assert view.write(report, out) == ("photos.json", "photos.md", "photos.html")
    assert json.loads((out / "photos.json").read_text())["artefact"] == "digits"
    text, sheet = (out / "photos.md").read_text(), (out / "photos.html").read_text()
    assert "| single digits right | 1 of 2 | 50.00 % | ≥ 98.5 %: MISSED |" in text
    assert "| w1 | 1 | 1 | 100.00 % | 0 | ≥ 90 %: met |" in text
    for name in ("wrong.png", "number.png", "taken.png"):
        assert name in sheet
        assert f"| {name} |" in text
    assert "one.png" not in sheet
    assert "blank.png" not in sheet
    assert sheet.count("<img") == 2
    assert view.render_sheet(report, folder).count("<img") == 5


def test_lines_are_right_wherever_they_stand() -> None:
    photo = Photo("a.png", "multi", "1", "w", "photo")
    number = NumberRead(photo, ("12",), ("12", "7"), 1, 2, 2)
    speed = Speed("JPEG", 3, 10.0, 25.0, 2.0)
    report = PhotosReport(1, "2026", "m", "d", "litert", "2", (), (number,), (), (speed,))
    text = view.render(report)
    assert "| a.png | w | 1 of 1 | 2 | 2 |" in text
    assert "2.50× | ≤ 2×: MISSED" in text


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("12", "", 2), ("123", "13", 1), ("123", "1423", 1), ("abc", "cab", 2)],
)
def test_edit_distance(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, ("file", "kind"), ("a.png", "single"))
    with pytest.raises(DatasetError, match="no column 'label'"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, HEADER)
    with pytest.raises(DatasetError, match="lists no images"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, HEADER, ("a.png", "song", "1", "w", "photo"))
    with pytest.raises(DatasetError, match="'song'"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", [("b.png", "single"), ("b.png",), ("b.png", *"123")])
def test_a_line_that_is_too_short_is_named(tmp_path: Path, line: tuple[str, ...]) -> None:
    write_manifest(tmp_path, HEADER, ("a.png", "single", "1", "w", "photo"), line)
    with pytest.raises(DatasetError, match="manifest.csv, line 3"):
        read_manifest(tmp_path)


def test_a_manifest_in_another_encoding_is_said(tmp_path: Path) -> None:
    text = "file,kind,label,writer,medium\na.png,single,1,Zoë,photo\n"
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(text, "utf-8-sig")  # as Excel does
    assert read_manifest(tmp_path) == (Photo("a.png", "single", "1", "Zoë", "photo"),)
    manifest.write_text(text, "latin-1")
    with pytest.raises(DatasetError, match="manifest.csv is not UTF-8"):
        read_manifest(tmp_path)
    manifest.write_text("x" * 200_000)
    with pytest.raises(DatasetError, match="manifest.csv, line 1: field larger"):
        read_manifest(tmp_path)


def test_the_command_writes_the_report_or_says_what_is_missing(
    folder: Path, tmp_path: Path
) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks.photos", "--no-speed", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("--data", folder, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out" / "photos.html").exists()
    (folder / "one.png").unlink()
    done = run("--data", folder, "--out", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "one.png" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_speed_is_measured_of_every_kind() -> None:
    speeds = measure_speed(Classifier.load())
    assert len(speeds) == 4
    assert all(speed.decode_ns > 0 and speed.classify_ns > 0 for speed in speeds)
