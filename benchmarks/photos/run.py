"""Measures accuracy on photographs: python -m benchmarks.photos --data FOLDER.

The folder holds `manifest.csv` (file, kind, label, writer, medium) and the images it names:
`single` digits, `multi`, numbers of several digits whose lines the two characters \\n part, and
`notdigit`.
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

_COLUMNS = tuple(field.name for field in fields(Photo))
_NEEDS = "it needs file, kind, label, writer and medium, parted by commas"


def read_manifest(folder: Path) -> tuple[Photo, ...]:
    """The images of a folder.

    Raises:
        DatasetError: there is no manifest, or it is none, or a line of it is too short or names a
            kind that does not exist.
    """
    path = folder / "manifest.csv"
    try:
        # Excel puts a byte order mark before UTF-8.
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            photos = tuple(_photo(line, f"{path}, line {lines.line_num}") for line in lines)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); give --data a folder of images with a "
            "manifest.csv"
        ) from error
    except KeyError as error:
        raise DatasetError(f"{path} has no column {error}; {_NEEDS}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: save it as that") from error
    except csv.Error as error:
        raise DatasetError(f"{path}, line {lines.reader.line_num}: {error}; mend it") from error
    if not photos:
        raise DatasetError(f"{path} names no image; give one a line below its header")
    for photo in photos:
        if photo.kind not in (SINGLE, MULTI, NOT_A_DIGIT):
            raise DatasetError(
                f"{path}: {photo.file} is {photo.kind!r}: give {SINGLE}, {MULTI} or {NOT_A_DIGIT}"
            )
    return photos


def _photo(line: dict[str, str], where: str) -> Photo:
    values = [line[column] for column in _COLUMNS]
    if None in values:  # the reader's word for what a short line lacks
        raise DatasetError(f"{where}, is too short; {_NEEDS}")
    return Photo(*values)


def measure(
    folder: Path,
    classifier: Classifier,
    artifact: str = "",
    *,
    speed: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> PhotosReport:
    """Read every image of a folder.

    Args:
        artifact: its name, for the report.
        speed: whether to time the way from bytes to a label, too.
        progress: called with one line for each step.

    Raises:
        DatasetError: the manifest is none, or an image that it names cannot be read.
    """
    singles: list[PhotoPrediction] = []
    numbers: list[NumberRead] = []
    negatives: list[PhotoPrediction] = []
    for photo in read_manifest(folder):
        progress(photo.file)
        try:
            if photo.kind == MULTI:
                numbers.append(_number(photo, classifier.read(folder / photo.file)))
                continue
            answer = _answer(photo, classifier.classify(folder / photo.file, return_view=True))
        except ImageError as error:
            raise DatasetError(str(error)) from error
        (singles if photo.kind == SINGLE else negatives).append(answer)
    progress("timing")
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


def _answer(photo: Photo, prediction: Prediction) -> PhotoPrediction:
    seen = prediction.view
    assert seen is not None  # it was asked for
    expected = prediction.label if photo.kind == SINGLE else None
    mistake = prediction.accepted != (photo.kind == SINGLE) or expected not in (None, photo.label)
    return PhotoPrediction(
        photo,
        prediction.label,
        prediction.confidence,
        prediction.accepted,
        tuple(seen.pixels.reshape(-1).tolist()) if mistake else (),
        seen.method,
    )


def _number(photo: Photo, reading: Recognition) -> NumberRead:
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


def edit_distance(one: str, other: str) -> int:
    """How many characters to insert, delete or replace to make one of the other.

    V. Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.
    """
    row = list(range(len(other) + 1))
    for count, character in enumerate(one, 1):
        above, row = row, [count]
        for place, wanted in enumerate(other):
            replaced = above[place] + (character != wanted)
            row.append(min(above[place + 1] + 1, row[-1] + 1, replaced))
    return row[-1]
