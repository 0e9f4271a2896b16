"""Renders the photos benchmark: tables on the terminal, JSON, Markdown, and a page of mistakes.

`digit-edge benchmark-photos` calls `print_report` and `write`. The page of mistakes, photos.html,
shows every mistake with the 28×28 pixels that the model was given.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness.serialize import to_json
from benchmarks.report import html_templates, markdown, terminal
from benchmarks.report.formats import Table, duration, percent, ratio
from benchmarks.schema.photos import (
    MAX_DIGITS_REJECTED_SHARE,
    MAX_WRONG_ACCEPTED_SHARE,
    MIN_ACCURACY,
    MIN_CLASS_ACCURACY,
    MIN_DIGIT_ACCURACY,
    MIN_LINE_ACCURACY,
    MIN_MEDIUM_ACCURACY,
    MIN_NEGATIVES_REJECTED_SHARE,
    MIN_WRITER_ACCURACY,
    NumberRead,
    PhotoPrediction,
    PhotosReport,
)
from runtime.preprocess.decode import decode_color
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from runtime.system import atomic_write

JSON_NAME = "photos.json"  # all results
MARKDOWN_NAME = "photos.md"  # the tables, rendered from the results
SHEET_NAME = "photos.html"  # the page of mistakes, rendered from the results
_PHOTO_SIDE_PX = 420  # longest side of an image in the page of mistakes; larger ones are reduced


def print_report(report: PhotosReport) -> None:
    """Print the tables on the terminal; tables without lines are left out."""
    terminal.print_tables(tables(report))


def write(report: PhotosReport, folder: Path, pictures: Path | None = None) -> tuple[str, ...]:
    """Write photos.json, photos.md and photos.html; return the three file names.

    Args:
        report: the results.
        folder: the folder to write to; it is created if it is missing.
        pictures: the folder of the original images, which photos.html then contains; None to leave
            them out.

    Raises:
        EdgeError: a file cannot be written.
        ImageError: an original image cannot be read.
        ModuleNotFoundError: jinja2 is not installed.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    atomic_write.write(folder / SHEET_NAME, render_sheet(report, pictures))
    return JSON_NAME, MARKDOWN_NAME, SHEET_NAME


def render(report: PhotosReport) -> str:
    """Return the whole report as Markdown; tables without lines are left out."""
    parts = [
        "# Real images",
        f"{report.created[:10]}, `digit-edge benchmark-photos --data FOLDER`: {report.artifact} "
        f"({report.digest[:12]}…) on {report.backend} {report.version}. {SHEET_NAME} shows every "
        "mistake.",
        *(markdown.render_table(table) for table in tables(report) if table.lines),
    ]
    return "\n\n".join(parts) + "\n"


def tables(report: PhotosReport) -> tuple[Table, ...]:
    """Return the tables: summary, single digits by class, medium and writer, numbers, speed, ….

    The tables of a kind of images have no lines if the manifest has no such images. The table of
    speed has no lines if speed was not measured.
    """
    return (
        _summary(report),
        _classes(report.singles),
        _shares("Single digits by medium", "medium", report.singles, MIN_MEDIUM_ACCURACY),
        _shares("Single digits by writer", "writer", report.singles, MIN_WRITER_ACCURACY),
        Table(
            "Numbers of several digits",
            ("image", "writer", "lines right", "edits", "digits"),
            tuple(
                (
                    number.photo.file,
                    number.photo.writer,
                    f"{number.right_lines} of {len(number.expected)}",
                    str(number.edits),
                    str(number.digits),
                )
                for number in report.numbers
            ),
        ),
        Table(
            "From file bytes to label, on one core",
            ("image", "n", "decode", "classify", "ratio", "target"),
            tuple(
                (
                    speed.name,
                    str(speed.n),
                    duration(speed.decode_ns),
                    duration(speed.classify_ns),
                    ratio(speed.ratio),
                    _verdict(speed.ratio <= speed.limit, f"≤ {speed.limit:g}×"),
                )
                for speed in report.speeds
            ),
            "Pillow decodes the bytes at full size, and the model classifies the same bytes, in "
            "turns. The shortest time of each image counts; the table shows their median.",
        ),
        _mistakes(report),
    )


def _summary(report: PhotosReport) -> Table:
    """Return the shares of correct results, with their targets; empty groups are left out."""
    lines: list[tuple[str, ...]] = []

    def add_minimum(name: str, count: int, n: int, minimum: float) -> None:
        if n:
            verdict = _verdict(count / n >= minimum, f"≥ {100 * minimum:g} %")
            lines.append((name, f"{count} of {n}", percent(count / n), verdict))

    def add_maximum(name: str, count: int, n: int, maximum: float) -> None:
        if n:
            # Compared as it is printed: 5 of 1,653 are 0.30 %.
            verdict = _verdict(round(count / n, 4) <= maximum, f"≤ {100 * maximum:g} %")
            lines.append((name, f"{count} of {n}", percent(count / n), verdict))

    singles, numbers, negatives = report.singles, report.numbers, report.negatives
    right = sum(digit.right for digit in singles)
    add_minimum("single digits right", right, len(singles), MIN_ACCURACY)
    wrong_accepted = sum(digit.accepted and not digit.right for digit in singles)
    add_maximum("wrong and accepted", wrong_accepted, len(singles), MAX_WRONG_ACCEPTED_SHARE)
    right_rejected = sum(digit.right and not digit.accepted for digit in singles)
    add_maximum("right and rejected", right_rejected, len(singles), MAX_DIGITS_REJECTED_SHARE)
    rejected = sum(not negative.accepted for negative in negatives)
    add_minimum("negatives rejected", rejected, len(negatives), MIN_NEGATIVES_REJECTED_SHARE)
    all_lines = sum(len(number.expected) for number in numbers)
    right_lines = sum(number.right_lines for number in numbers)
    add_minimum("lines of numbers right", right_lines, all_lines, MIN_LINE_ACCURACY)
    digits = sum(number.digits for number in numbers)
    edits = sum(number.edits for number in numbers)
    add_minimum("digits of numbers right", digits - edits, digits, MIN_DIGIT_ACCURACY)
    return Table(
        "Summary",
        ("measure", "count", "share", "target"),
        tuple(lines),
        "Single digits right: accepted or not. Negatives: images that are not digits. Digits of "
        "numbers right: the number of digits minus the edit distance (Levenshtein).",
    )


def _classes(predictions: Iterable[PhotoPrediction]) -> Table:
    """Return one line per class: right, wrong and accepted, right and rejected, confusions."""
    groups: dict[str, list[PhotoPrediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.photo.label, []).append(prediction)
    lines = []
    for name, group in sorted(groups.items()):
        wrong = [p for p in group if not p.right]
        right = len(group) - len(wrong)
        read_as = Counter(p.label for p in wrong)
        lines.append(
            (
                name,
                str(len(group)),
                str(right),
                percent(right / len(group)),
                str(sum(p.accepted for p in wrong)),
                str(sum(p.right and not p.accepted for p in group)),
                ", ".join(f"{label} ({n})" for label, n in read_as.most_common()) or "–",
                _verdict(
                    right / len(group) >= MIN_CLASS_ACCURACY, f"≥ {100 * MIN_CLASS_ACCURACY:g} %"
                ),
            )
        )
    header = (
        "class", "n", "right", "share", "wrong and accepted", "right and rejected", "read as",
        "target",
    )  # fmt: skip
    return Table("Single digits by class", header, tuple(lines))


def _shares(
    title: str, attribute: str, predictions: Iterable[PhotoPrediction], minimum: float
) -> Table:
    """Return the shares of right predictions, grouped by an attribute of `Photo`.

    Args:
        title: the title of the table.
        attribute: the name of the attribute, "medium" or "writer".
        predictions: the predictions of single digits.
        minimum: the target of each group's share, 0 to 1.
    """
    groups: dict[str, list[PhotoPrediction]] = {}
    for prediction in predictions:
        if group_name := getattr(prediction.photo, attribute):
            groups.setdefault(group_name, []).append(prediction)
    lines = []
    for name, group in sorted(groups.items()):
        right = sum(prediction.right for prediction in group)
        rejected = sum(not prediction.accepted for prediction in group)
        share = right / len(group)
        verdict = _verdict(share >= minimum, f"≥ {100 * minimum:g} %")
        lines.append((name, str(len(group)), str(right), percent(share), str(rejected), verdict))
    return Table(title, (attribute, "n", "right", "share", "rejected", "target"), tuple(lines))


def _mistakes(report: PhotosReport) -> Table:
    """Return one line per mistake: the file, the correct text, and the text that was read.

    Images without a manifest are left out: the table of classes counts them, and the page shows
    them.
    """
    singles = [p for p in _wrong(report.singles) if p.photo.medium or p.photo.writer]
    lines = [
        *((p.photo.file, p.photo.label, _describe(p)) for p in singles),
        *(
            (number.photo.file, " / ".join(number.expected), " / ".join(number.lines) or "nothing")
            for number in report.numbers
            if number.edits
        ),
        *((p.photo.file, p.photo.label, _describe(p)) for p in _accepted(report.negatives)),
    ]
    return Table("Mistakes", ("image", "shows", "read as"), tuple(lines))


def render_sheet(report: PhotosReport, pictures: Path | None = None) -> str:
    """Return the HTML page of every mistake, with the 28×28 pixels given to the model.

    Args:
        report: the results.
        pictures: the folder of the original images, to show them too; None to leave them out.

    Raises:
        ImageError: an original image cannot be read.
        ModuleNotFoundError: jinja2 is not installed.
    """
    sections = (
        ("Single digits predicted wrong, or rejected", _wrong(report.singles)),
        ("Accepted, although not a digit", _accepted(report.negatives)),
        ("Numbers read wrong", [number for number in report.numbers if number.edits]),
    )
    return html_templates.render(
        "photos.html",
        name=report.artifact,
        date=report.created[:10],
        sections=[(title, [_card(m, pictures) for m in mistakes]) for title, mistakes in sections],
    )


def _card(mistake: PhotoPrediction | NumberRead, pictures: Path | None) -> dict[str, str]:
    """Return the template variables of one mistake: file, text, and images as data: URIs.

    "photo" is empty without `pictures`, and "pixels" is empty for a number of several digits.
    """
    card = {"file": mistake.photo.file, "photo": "", "pixels": ""}
    if pictures is not None:
        decoded = decode_color(pictures / mistake.photo.file, longest=_PHOTO_SIDE_PX)
        image = Image.fromarray(np.ascontiguousarray(decoded.rgb))
        card["photo"] = html_templates.png_uri(image)
    if isinstance(mistake, PhotoPrediction):
        height, width, channels = mistake.shape or PIXELS_SHAPE
        size = (height, width, 3) if channels == 3 else (height, width)
        pixels = np.array(mistake.pixels, np.uint8).reshape(size)
        card["pixels"] = html_templates.png_uri(Image.fromarray(pixels))
        card["text"] = f"{mistake.photo.label}, read as {_describe(mistake)}; {mistake.method}"
    else:
        read = " / ".join(mistake.lines) or "nothing"
        card["text"] = f"{' / '.join(mistake.expected)}, read as {read}"
    return card


def _wrong(predictions: Iterable[PhotoPrediction]) -> list[PhotoPrediction]:
    """Return the predictions of single digits that are wrong or rejected."""
    return [p for p in predictions if not (p.right and p.accepted)]


def _accepted(predictions: Iterable[PhotoPrediction]) -> list[PhotoPrediction]:
    """Return the predictions of negatives that are accepted, and so are mistakes."""
    return [p for p in predictions if p.accepted]


def _describe(prediction: PhotoPrediction) -> str:
    """Return the prediction as text, such as "7 (93%, rejected)"."""
    rejected = "" if prediction.accepted else ", rejected"
    return f"{prediction.label} ({prediction.confidence:.0%}{rejected})"


def _verdict(met: bool, target: str) -> str:
    """Return a target and whether it is met, such as "≥ 90 %: met"."""
    return f"{target}: {'met' if met else 'MISSED'}"
