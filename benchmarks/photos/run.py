"""How well real images are read: python -m benchmarks.photos --data FOLDER.

The folder holds `manifest.csv` (file, kind, label, writer, medium) and the images it names:
`single` digits, `multi`, numbers of several digits whose lines the two characters \\n part, and
`notdigit`.
"""

import argparse
import csv
import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.photos.speed import measure_speed
from benchmarks.schema.photos import (
    MULTI,
    SCHEMA_VERSION,
    SINGLE,
    STRANGER,
    Answer,
    NumberRead,
    Photo,
    PhotosReport,
)
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.errors import DatasetError, ImageError
from runtime.multi_digit.recognize import Reading
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
        if photo.kind not in (SINGLE, MULTI, STRANGER):
            raise DatasetError(
                f"{path}: {photo.file} is {photo.kind!r}: give {SINGLE}, {MULTI} or {STRANGER}"
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
    artefact: str = "",
    *,
    speed: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> PhotosReport:
    """Read every image of a folder.

    Args:
        artefact: its name, for the report.
        speed: whether to time the way from bytes to a label, too.
        progress: is told what is being done.

    Raises:
        DatasetError: the manifest is none, or an image that it names cannot be read.
    """
    singles: list[Answer] = []
    numbers: list[NumberRead] = []
    strangers: list[Answer] = []
    for photo in read_manifest(folder):
        progress(photo.file)
        try:
            if photo.kind == MULTI:
                numbers.append(_number(photo, classifier.read(folder / photo.file)))
                continue
            answer = _answer(photo, classifier.classify(folder / photo.file, explain=True))
        except ImageError as error:
            raise DatasetError(str(error)) from error
        (singles if photo.kind == SINGLE else strangers).append(answer)
    progress("timing")
    return PhotosReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        artefact=artefact,
        digest=classifier.spec.digest,
        backend=classifier.backend.name,
        version=classifier.backend.version,
        singles=tuple(singles),
        numbers=tuple(numbers),
        strangers=tuple(strangers),
        speeds=measure_speed(classifier) if speed else (),
    )


def _answer(photo: Photo, prediction: Prediction) -> Answer:
    seen = prediction.view
    assert seen is not None  # it was asked for
    expected = prediction.label if photo.kind == SINGLE else None
    mistake = prediction.accepted != (photo.kind == SINGLE) or expected not in (None, photo.label)
    return Answer(
        photo,
        prediction.label,
        prediction.confidence,
        prediction.accepted,
        tuple(seen.pixels.reshape(-1).tolist()) if mistake else (),
        seen.method,
    )


def _number(photo: Photo, reading: Reading) -> NumberRead:
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = parse_args(argv)
    from benchmarks.photos import report as view
    from benchmarks.report import html_templates, terminal
    from runtime.classifier import find_model

    output_dir.check_folder(arguments.out)
    html_templates.environment()  # fails here, not after minutes, if jinja2 is missing
    path = arguments.model or find_model(arguments.backend)
    report = measure(
        arguments.data,
        Classifier.load(path, backend=arguments.backend),
        Path(path).name,
        speed=not arguments.no_speed,
        progress=terminal.tell,
    )
    terminal.clear()
    view.print_report(report)
    written = view.write(report, arguments.out, arguments.data if arguments.pictures else None)
    print(f"written: {arguments.out}: {', '.join(written)}")
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photos",
        description="Read real photographs, scans and drawings, and time the way from bytes to a "
        "label.",
        epilog="Exit status: 0 measured, 2 bad input. Targets are reported and decide nothing.",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="images and their manifest.csv"
    )
    parser.add_argument("--model", metavar="PATH", help="an artefact (default: the published one)")
    parser.add_argument("--backend", help="the engine (default: the first that reads the model)")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="folder of the report"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="show the images themselves in the sheet of mistakes, not only what the network saw",
    )
    parser.add_argument("--no-speed", action="store_true", help="leave out the timings")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
