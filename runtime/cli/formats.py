"""The output formats of `digit-edge classify` and `digit-edge read`.

`--json` and `--csv` select the first two kinds. `classify` prints several images on a terminal as a
table; otherwise plain lines are printed.
"""

import io
import json
import re
from collections.abc import Sequence
from typing import Protocol

from runtime.errors import printable
from runtime.outputs.records import Record

# A cell that begins with one of them is a formula; the last four are the same in full width.
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")  # a number with a sign, such as a label


class OutputFormat(Protocol):
    """A format of results.

    Attributes:
        header: printed first; may be empty.
        has_errors: True if unreadable images have lines too, False if stderr names them.
    """

    header: str
    has_errors: bool

    def line(self, record: Record) -> str:
        """Return the text of a result: complete lines, one unless an image has several numbers."""


class JsonLines:
    """One JSON object per line."""

    header = ""
    has_errors = True

    def line(self, record: Record) -> str:
        """Return the record as JSON."""
        return json.dumps(record) + "\n"


class Csv:
    """A header, then one row per result.

    Args:
        top: number of likeliest labels; each has its own two columns.
    """

    has_errors = True

    def __init__(self, top: int) -> None:
        ranks = [f"{name}_{n}" for n in range(2, top + 1) for name in ("label", "confidence")]
        self.header = ",".join(["image", "label", "confidence", "accepted", *ranks, "error"]) + "\n"
        self._ranks = len(ranks)

    def line(self, record: Record) -> str:
        """Return a row; an unreadable image has only the cells image and error."""
        if "error" in record:
            return _row([record["image"], "", "", "", *[""] * self._ranks, record["error"]])
        others = [cell for rank in record["top"][1:] for cell in rank.values()]
        others += [""] * (self._ranks - len(others))
        accepted = "true" if record["accepted"] else "false"
        return _row([record["image"], record["label"], record["confidence"], accepted, *others, ""])


class PlainLines:
    """Lines `image: label confidence`, or `image: ? (not sure: label confidence)` if rejected."""

    header = ""
    has_errors = False

    def line(self, record: Record) -> str:
        """Return the image's path and its likeliest labels."""
        labels = _labels(record["top"])
        if not record["accepted"]:
            labels = f"? (not sure: {labels})"
        return f"{printable(record['image'])}: {labels}\n"


class TerminalTable:
    """Aligned columns; the path comes last, because the longest path is not known in advance."""

    header = "digit  confidence  image\n"
    has_errors = False

    def line(self, record: Record) -> str:
        """Return digit, confidence, path and the other likely labels."""
        label, others = record["label"], record["top"][1:]
        if not record["accepted"]:
            label, others = "?", record["top"]
        name = printable(record["image"])
        other = f"  ({'or' if record['accepted'] else 'perhaps'} {_labels(others)})"
        return f"{label:>5}  {record['confidence']:>10.1%}  {name}{other if others else ''}\n"


class ReadCsv:
    """A header, then one row per line of digits in an image.

    An image without digits has one row without a line number and a text.
    """

    header = "image,line,text,error\n"
    has_errors = True

    def line(self, record: Record) -> str:
        """Return the rows of an image; an unreadable one has only the cells image and error."""
        image = record["image"]
        if "error" in record:
            return _row([image, "", "", record["error"]])
        rows = [[image, number, text, ""] for number, text in enumerate(record["lines"], 1)]
        return "".join(map(_row, rows or [[image, "", "", ""]]))


class ReadLines:
    """Lines `image: digits`, one per line of digits in the image, or `image: no digits`."""

    header = ""
    has_errors = False

    def line(self, record: Record) -> str:
        """Return the image's path before each of its lines."""
        lines = record["lines"] or ("no digits",)
        return "".join(printable(f"{record['image']}: {line}") + "\n" for line in lines)


def _labels(top: Sequence[Record]) -> str:
    return ", ".join(f"{rank['label']} {rank['confidence']:.1%}" for rank in top)


def _row(cells: Sequence[object]) -> str:
    import csv

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(_cell, cells))
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a cell in which a spreadsheet sees a text: without control characters and formulas.

    A spreadsheet runs a cell that begins with = + - or @. A ' before it makes it a text. A single
    sign and a number are no formulas, and are kept.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    is_formula = text.lstrip()[:1] in _FORMULA_STARTS and len(text) > 1
    return f"'{text}" if is_formula and not _NUMBER.fullmatch(text) else text
