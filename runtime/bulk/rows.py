"""Classifies batches of images into the rows of the output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow

from runtime.bulk.sources import Entry
from runtime.cli.batch import BatchJob, ClassifyJob
from runtime.cli.formats import JsonLines
from runtime.cli.inputs import Found
from runtime.outputs.records import Record
from runtime.read import ReadJob

_LABEL = "label"  # column of the predicted class
_TEXT = "text"  # column of the numbers that were read, in its place


class Item(NamedTuple):
    """An image to classify.

    Attributes:
        entry: its entry in the listing.
        image: the image, or the error that replaces it.
    """

    entry: Entry
    image: Found


# key, row, label or text, confidence, accepted, error
Row = tuple[str, int | None, str | None, float | None, bool | None, str | None]


@dataclass
class RowWork:
    """The work of a worker process: turns images into rows."""

    job: BatchJob

    def open(self) -> None:
        """Open the model in this process."""
        self.job.open()

    def do(self, task: Sequence[Item]) -> list[Row]:
        """Return the rows of a batch; an unreadable image has one with its error."""
        results = self.job.results([item.image for item in task])
        return [_row(item.entry, result) for item, result in zip(task, results, strict=True)]


def job(model: str | None, backend: str | None, threads: int, device: str, read: bool) -> BatchJob:
    """Return the job of `digit-edge classify`, or of `digit-edge read`.

    Args:
        model: path of the artifact; None for the default model.
        backend: name of the engine; None for the first installed one.
        threads: number of threads of the engine.
        device: "cpu" or "gpu".
        read: whether to read numbers.
    """
    if read:
        return ReadJob(model, backend, threads, device, JsonLines(), keep_unknown=True)
    return ClassifyJob(model, backend, threads, device, JsonLines(), top=1)


def schema(read: bool) -> pyarrow.Schema:
    """Return the columns of the output."""
    return pyarrow.schema(
        [
            ("path", pyarrow.string()),
            ("row", pyarrow.int64()),
            (_TEXT if read else _LABEL, pyarrow.string()),
            ("confidence", pyarrow.float64()),
            ("accepted", pyarrow.bool_()),
            ("error", pyarrow.string()),
            ("model", pyarrow.string()),
            ("engine", pyarrow.string()),
        ]
    )


def table(rows: Sequence[Row], read: bool, model: str, engine: str) -> pyarrow.Table:
    """Return rows as a table.

    Args:
        rows: the rows.
        read: whether numbers were read.
        model: digest of the model.
        engine: name of the engine.
    """
    columns: list[Sequence[Any]] = [list(column) for column in zip(*rows, strict=True)]
    columns += [[model] * len(rows), [engine] * len(rows)]
    names = schema(read).names
    return pyarrow.table(dict(zip(names, columns, strict=True)), schema=schema(read))


def _row(entry: Entry, result: Record | str) -> Row:
    row = None if entry.row < 0 else entry.row
    if isinstance(result, str):
        return entry.key, row, None, None, None, _utf8(" ".join(result.split()))
    if "label" in result:
        return entry.key, row, result["label"], result["confidence"], result["accepted"], None
    # A number is as certain as its least certain line.
    confidences = result["confidences"]
    certain = all(d["accepted"] for d in result["digits"] if d["line"] is not None)
    return (
        entry.key,
        row,
        result["text"],
        min(confidences) if confidences else None,
        bool(confidences) and certain,
        None,
    )


def _utf8(text: str) -> str:
    """Return a text without the bytes of names that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()
