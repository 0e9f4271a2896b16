"""A report of real images: on the terminal, as JSON and Markdown, and a sheet of every mistake."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness.serialize import to_json
from benchmarks.report import html_templates, markdown, terminal
from benchmarks.report.formats import Table, duration, percent, ratio
from benchmarks.schema.photos import (
    MAX_DIGITS_REJECTED_SHARE,
    MIN_DIGIT_ACCURACY,
    MIN_LINE_ACCURACY,
    MIN_NEGATIVES_REJECTED_SHARE,
    MIN_ACCURACY,
    MIN_MEDIUM_ACCURACY,
    MIN_WRITER_ACCURACY,
    NumberRead,
    PhotoPrediction,
    PhotosReport,
)
from runtime.preprocess.decode import decode_color
from runtime.system import atomic_write

JSON_NAME, MARKDOWN_NAME, SHEET_NAME = "photos.json", "photos.md", "photos.html"
_PICTURE = 420


def print_report(report: PhotosReport) -> None:
    """Print the tables."""
    for table in tables(report):
        terminal.print_table(table)


def write(report: PhotosReport, folder: Path, pictures: Path | None = None) -> tuple[str, ...]:
    """Write the report's files into `folder`; their names.

    Args:
        pictures: the folder of the images, where the sheet is to show them.

    Raises:
        EdgeError: they cannot be written.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))
    atomic_write.write(folder / MARKDOWN_NAME, render(report))
    atomic_write.write(folder / SHEET_NAME, render_sheet(report, pictures))
    return JSON_NAME, MARKDOWN_NAME, SHEET_NAME


def render(report: PhotosReport) -> str:
    """The whole report as Markdown text."""
    parts = [
        "# Real images",
        f"{report.created[:10]}, `python -m benchmarks.photos --data FOLDER`: {report.artifact} "
        f"({report.digest[:12]}…) on {report.backend} {report.version}. Every mistake: "
        f"{SHEET_NAME}.",
        *(markdown.render_table(table) for table in tables(report) if table.lines),
    ]
    return "\n\n".join(parts) + "\n"


def tables(report: PhotosReport) -> tuple[Table, ...]:
    """The targets, single digits by medium and by writer, numbers, strangers, and speed."""
    return (
        _summary(report),
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
            "From bytes to a label, on one core",
            ("image", "n", "whole decode", "classify", "ratio", "target"),
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
            "The same bytes decoded whole by Pillow and classified, one after the other; the "
            "median of each picture's least time.",
        ),
        _mistakes(report),
    )


def _summary(report: PhotosReport) -> Table:
    lines: list[tuple[str, ...]] = []

    def add(name: str, count: int, n: int, bound: float, least: bool = True) -> None:
        if n:
            met = count / n >= bound if least else count / n <= bound
            target = f"{'≥' if least else '≤'} {100 * bound:g} %"
            lines.append((name, f"{count} of {n}", percent(count / n), _verdict(met, target)))

    singles, numbers = report.singles, report.numbers
    add("single digits right", sum(one.right for one in singles), len(singles), MIN_ACCURACY)
    rejected = sum(not one.accepted for one in singles)
    add("single digits refused", rejected, len(singles), MAX_DIGITS_REJECTED_SHARE, least=False)
    rejected = sum(not one.accepted for one in report.negatives)
    negatives = len(report.negatives)
    add("what is no digit refused", rejected, negatives, MIN_NEGATIVES_REJECTED_SHARE)
    all_lines = sum(len(number.expected) for number in numbers)
    add(
        "lines exactly right", sum(one.right_lines for one in numbers), all_lines, MIN_LINE_ACCURACY
    )
    digits = sum(number.digits for number in numbers)
    edits = sum(number.edits for number in numbers)
    add("digits of them right", digits - edits, digits, MIN_DIGIT_ACCURACY)
    return Table(
        "Summary",
        ("", "count", "share", "target"),
        tuple(lines),
        "Digits right: all but the characters to insert, delete or replace.",
    )


def _shares(title: str, what: str, answers: Iterable[PhotoPrediction], bound: float) -> Table:
    groups: dict[str, list[PhotoPrediction]] = {}
    for answer in answers:
        groups.setdefault(getattr(answer.photo, what), []).append(answer)
    lines = []
    for name, group in sorted(groups.items()):
        right, rejected = sum(one.right for one in group), sum(not one.accepted for one in group)
        share = right / len(group)
        met = _verdict(share >= bound, f"≥ {100 * bound:g} %")
        lines.append((name, str(len(group)), str(right), percent(share), str(rejected), met))
    return Table(title, (what, "n", "right", "share", "refused", "target"), tuple(lines))


def _mistakes(report: PhotosReport) -> Table:
    lines = [
        *((one.photo.file, one.photo.label, _said(one)) for one in _wrong(report.singles)),
        *(
            (one.photo.file, " / ".join(one.expected), " / ".join(one.lines) or "nothing")
            for one in report.numbers
            if one.edits
        ),
        *((one.photo.file, one.photo.label, _said(one)) for one in _taken(report.negatives)),
    ]
    return Table("Mistakes", ("image", "shows", "read as"), tuple(lines))


def render_sheet(report: PhotosReport, pictures: Path | None = None) -> str:
    """Return the HTML page of every mistake, with the 28x28 pixels given to the model.

    Args:
        pictures: the folder of the images, to show them too.

    Raises:
        ModuleNotFoundError: jinja2 is not installed.
    """
    sections = (
        ("Single digits predicted wrong, or rejected", _wrong(report.singles)),
        ("Accepted, although not a digit", _taken(report.negatives)),
        ("Numbers read wrong", [number for number in report.numbers if number.edits]),
    )
    return html_templates.render(
        "photos.html",
        name=report.artifact,
        date=report.created[:10],
        sections=[(title, [_card(m, pictures) for m in found]) for title, found in sections],
    )


def _card(mistake: PhotoPrediction | NumberRead, pictures: Path | None) -> dict[str, str]:
    """Return the file, the text and the images, as data: URIs, of a mistake."""
    card = {"file": mistake.photo.file, "photo": "", "pixels": ""}
    if pictures is not None:
        decoded = decode_color(pictures / mistake.photo.file, longest=_PICTURE)
        image = Image.fromarray(np.ascontiguousarray(decoded.rgb))
        card["photo"] = html_templates.png_uri(image)
    if isinstance(mistake, PhotoPrediction):
        pixels = np.array(mistake.pixels, np.uint8).reshape(28, 28)
        card["pixels"] = html_templates.png_uri(Image.fromarray(pixels))
        card["text"] = f"{mistake.photo.label}, read as {_said(mistake)}; {mistake.method}"
    else:
        read = " / ".join(mistake.lines) or "nothing"
        card["text"] = f"{' / '.join(mistake.expected)}, read as {read}"
    return card


def _wrong(answers: Iterable[PhotoPrediction]) -> list[PhotoPrediction]:
    return [answer for answer in answers if not (answer.right and answer.accepted)]


def _taken(answers: Iterable[PhotoPrediction]) -> list[PhotoPrediction]:
    return [answer for answer in answers if answer.accepted]


def _said(answer: PhotoPrediction) -> str:
    rejected = "" if answer.accepted else ", refused"
    return f"{answer.label} ({answer.confidence:.0%}{rejected})"


def _verdict(met: bool, target: str) -> str:
    return f"{target}: {'met' if met else 'MISSED'}"
