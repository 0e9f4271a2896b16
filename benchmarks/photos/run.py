r"""Runs a classifier on the images that a manifest.csv lists, and collects its predictions.

The report computes the accuracy from them. The time from file bytes to label is measured too.

`digit-edge benchmark-photos` calls `measure`. manifest.csv has the columns file, kind, label,
writer and medium. The kind is one of:

    single      an image of one digit; the label is the digit
    multi       an image of lines of digits; the label contains the lines, separated by the two
                characters \n
    notdigit    an image without a digit; the label is not used

A folder without a manifest has one subfolder per class instead, with images of single digits.
"""

import csv
import difflib
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.photos.speed import measure_speed
from benchmarks.schema.photos import (
    MULTI,
    NOT_A_DIGIT,
    SCHEMA_VERSION,
    SINGLE,
    NumberRead,
    Photo,
    PhotoPrediction,
    PhotosReport,
)
from runtime.classifier import Classifier
from runtime.errors import DatasetError, ImageError
from runtime.multi_digit.recognize import Recognition
from runtime.prediction import Prediction
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from train.data.formats.image_folder import visible_files, visible_subfolders

_COLUMNS = tuple(field.name for field in fields(Photo))  # required columns of manifest.csv
# The end of error messages about missing columns or cells.
_REMEDY = "each line needs file, kind, label, writer and medium, separated by commas"


def list_photos(folder: Path, labels: tuple[str, ...]) -> tuple[Photo, ...]:
    """Return the images of a folder with a manifest.csv, or with one subfolder per class.

    Args:
        folder: the folder. The images are not opened.
        labels: the classes of the model, which name the subfolders.

    Raises:
        DatasetError: the manifest is invalid, see `read_manifest`; or there is none, and the
            subfolders are not named after classes or contain no files.
    """
    if (folder / "manifest.csv").exists():
        return read_manifest(folder)
    subfolders = visible_subfolders(folder) if folder.is_dir() else []
    if not subfolders:
        raise DatasetError(
            f"{folder} has neither a manifest.csv nor subfolders; pass --data a folder of images "
            "with a manifest.csv, or with one subfolder per class"
        )
    unknown = [part.name for part in subfolders if part.name not in labels]
    if unknown:
        raise DatasetError(
            f"{folder} has the subfolder {unknown[0]!r}, which is not a class of the model: name "
            f"each subfolder after one of the classes {', '.join(labels)}, or add a manifest.csv"
        )
    photos = tuple(
        Photo(file.relative_to(folder).as_posix(), SINGLE, part.name, "", "")
        for part in subfolders
        for file in visible_files(part)
    )
    if not photos:
        raise DatasetError(f"the subfolders of {folder} contain no images; add some")
    return photos


def read_manifest(folder: Path) -> tuple[Photo, ...]:
    """Return the lines of manifest.csv in the order of the file; always at least one.

    Args:
        folder: the folder that contains manifest.csv. The images are not opened.

    Raises:
        DatasetError: the manifest is missing, empty, not CSV or not UTF-8, lacks a column, or
            contains a short line or an unknown kind.
    """
    path = folder / "manifest.csv"
    try:
        # utf-8-sig skips the byte order mark that Excel writes before UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            photos = tuple(_photo(line, f"{path}, line {lines.line_num}") for line in lines)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); pass --data a folder of images with a "
            "manifest.csv"
        ) from error
    except KeyError as error:
        raise DatasetError(f"{path} has no column {error}; {_REMEDY}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; save it in UTF-8") from error
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.reader.line_num}: {error}; correct this line"
        ) from error
    if not photos:
        raise DatasetError(f"{path} lists no images; add one line per image below the header")
    for photo in photos:
        if photo.kind not in (SINGLE, MULTI, NOT_A_DIGIT):
            raise DatasetError(
                f"{path}: {photo.file} has the unknown kind {photo.kind!r}; use {SINGLE}, {MULTI} "
                f"or {NOT_A_DIGIT}"
            )
    return photos


def _photo(line: dict[str, str], location: str) -> Photo:
    """Return a line of the manifest.

    Raises:
        DatasetError: the line has too few cells.
        KeyError: the manifest has no such column.
    """
    values = [line[column] for column in _COLUMNS]
    if None in values:  # csv.DictReader fills the missing cells of a short line with None
        raise DatasetError(f"{location}: the line has too few cells; {_REMEDY}")
    return Photo(*values)


def measure(
    folder: Path,
    classifier: Classifier,
    artifact: str = "",
    *,
    speed: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> PhotosReport:
    """Classify or read every image of the manifest, and measure the speed on images made for it.

    Args:
        folder: the images and their manifest.csv, or one subfolder of images per class.
        classifier: the model under test.
        artifact: the file name of the model, for the report.
        speed: also measure the time from file bytes to label; otherwise the report's `speeds` are
            empty.
        progress: called with a text for each step.

    Raises:
        DatasetError: the manifest is invalid, or an image cannot be read.
        ModuleNotFoundError: `speed` is True, but scikit-learn is not installed.
    """
    singles: list[PhotoPrediction] = []
    numbers: list[NumberRead] = []
    negatives: list[PhotoPrediction] = []
    for photo in list_photos(folder, classifier.spec.labels):
        progress(photo.file)
        try:
            if photo.kind == MULTI:
                numbers.append(_number(photo, classifier.read(folder / photo.file)))
                continue
            prediction = classifier.classify(folder / photo.file, return_view=True)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        target = singles if photo.kind == SINGLE else negatives
        target.append(_photo_prediction(photo, prediction))
    if speed:
        progress("measuring the speed")
    return PhotosReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        artifact=artifact,
        digest=classifier.spec.digest,
        backend=classifier.backend.name,
        version=classifier.backend.version,
        singles=tuple(singles),
        numbers=tuple(numbers),
        negatives=tuple(negatives),
        speeds=measure_speed(classifier) if speed else (),
    )


def _photo_prediction(photo: Photo, prediction: Prediction) -> PhotoPrediction:
    """Return a prediction for the report; only mistakes keep their pixels."""
    view = prediction.view
    assert view is not None  # classify was called with return_view=True
    is_digit = photo.kind == SINGLE
    wrong_label = is_digit and prediction.label != photo.label
    mistake = wrong_label or prediction.accepted != is_digit
    return PhotoPrediction(
        photo,
        prediction.label,
        prediction.confidence,
        prediction.accepted,
        tuple(view.pixels.reshape(-1).tolist()) if mistake else (),
        view.method,
        () if view.pixels.shape == PIXELS_SHAPE else view.pixels.shape,
    )


def _number(photo: Photo, reading: Recognition) -> NumberRead:
    """Compare the lines that were read in an image with the lines of its label."""
    expected = tuple(photo.label.split("\\n"))
    matcher = difflib.SequenceMatcher(None, expected, reading.lines, autojunk=False)
    return NumberRead(
        photo=photo,
        expected=expected,
        lines=reading.lines,
        right_lines=sum(block.size for block in matcher.get_matching_blocks()),
        edits=edit_distance("\n".join(expected), reading.text),
        digits=sum(map(len, expected)),
    )


def edit_distance(first: str, second: str) -> int:
    """Return the Levenshtein distance: the least number of inserted, deleted, replaced characters.

    V. Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.
    """
    row = list(range(len(second) + 1))
    for length, character in enumerate(first, 1):
        previous, row = row, [length]
        for index, other in enumerate(second):
            replaced = previous[index] + (character != other)
            row.append(min(previous[index + 1] + 1, row[-1] + 1, replaced))
    return row[-1]
