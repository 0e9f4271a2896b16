"""How results are printed: JSON lines, CSV, a table on a terminal, plain lines elsewhere."""

import io
import json
from collections.abc import Sequence
from typing import Protocol

from runtime.errors import printable
from runtime.outputs.records import Record


class OutputFormat(Protocol):
    """One way to print results."""

    header: str
    # Whether an image that could not be read has its line here; else stderr names it.
    has_errors: bool

    def line(self, record: Record) -> str:
        """A result's text with the newline at its end; other characters that break it escaped."""


class JsonLines:
    """One JSON object a line."""

    header = ""
    has_errors = True

    def line(self, record: Record) -> str:
        """The record itself."""
        return json.dumps(record) + "\n"


class Csv:
    """A row a result, a header first; the `top` labels stand in columns of their own."""

    has_errors = True

    def __init__(self, top: int) -> None:
        ranks = [f"{name}_{n}" for n in range(2, top + 1) for name in ("label", "confidence")]
        self.header = ",".join(["image", "label", "confidence", "accepted", *ranks, "error"]) + "\n"
        self._ranks = len(ranks)

    def line(self, record: Record) -> str:
        """A row; of an image that could not be read, only image and error are filled in."""
        if "error" in record:
            return _row([record["image"], "", "", "", *[""] * self._ranks, record["error"]])
        others = [cell for answer in record["top"][1:] for cell in answer.values()]
        others += [""] * (self._ranks - len(others))
        accepted = "true" if record["accepted"] else "false"
        return _row([record["image"], record["label"], record["confidence"], accepted, *others, ""])


class PlainLines:
    """`image: label confidence`, and `?` where it is no digit."""

    header = ""
    has_errors = False

    def line(self, record: Record) -> str:
        """The image's name and its likeliest labels."""
        answers = _answers(record["top"])
        if not record["accepted"]:
            answers = f"? (not sure: {answers})"
        return f"{printable(record['image'])}: {answers}\n"


class TerminalTable:
    """Columns for people; the image comes last, as how long names will be is not known yet."""

    header = "digit  confidence  image\n"
    has_errors = False

    def line(self, record: Record) -> str:
        """Digit, confidence, image, and what else it may be."""
        label, others = record["label"], record["top"][1:]
        if not record["accepted"]:
            label, others = "?", record["top"]
        name = printable(record["image"])
        other = f"  ({'or' if record['accepted'] else 'perhaps'} {_answers(others)})"
        return f"{label:>5}  {record['confidence']:>10.1%}  {name}{other if others else ''}\n"


def _answers(top: Sequence[Record]) -> str:
    return ", ".join(f"{answer['label']} {answer['confidence']:.1%}" for answer in top)


def _row(cells: Sequence[object]) -> str:
    import csv

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
