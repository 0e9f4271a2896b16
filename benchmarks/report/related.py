"""Reads related reports and builds their tables and curves for the report of a whole run.

Related reports are robustness.json and rejection.json in the folder of report.json, written by
`digit-edge benchmark-robustness` and `digit-edge benchmark-rejection`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.harness.serialize import read_report
from benchmarks.report import charts
from benchmarks.report.charts import Charts
from benchmarks.report.formats import Table, counted, duration, percent
from benchmarks.schema.rejection import RejectionReport
from benchmarks.schema.robustness import MIDDLE, SCHEMA_VERSION, RobustnessReport, RobustnessResult

ROBUSTNESS_NAME = "robustness.json"  # written by `digit-edge benchmark-robustness`
REJECTION_NAME = "rejection.json"  # written by `digit-edge benchmark-rejection`

T = TypeVar("T", RobustnessReport, RejectionReport)


@dataclass(frozen=True)
class RelatedReports:
    """The related reports of a folder; None if the file does not exist."""

    robustness: RobustnessReport | None = None
    rejection: RejectionReport | None = None


def read(folder: Path) -> RelatedReports:
    """Read the related reports of a folder.

    Raises:
        EdgeError: a file cannot be read, is not such a report, or has another schema version.
    """
    return RelatedReports(
        _read(folder / ROBUSTNESS_NAME, RobustnessReport),
        _read(folder / REJECTION_NAME, RejectionReport),
    )


def _read(path: Path, kind: type[T]) -> T | None:
    if not path.exists():
        return None
    return read_report(kind, path, SCHEMA_VERSION, f"digit-edge benchmark-{path.stem}")


def rejection_table(report: RejectionReport | None) -> Table:
    """Return one line per case: the rejected share of test digits and of each kind of image."""
    if report is None:
        return Table("Rejection", (), ())
    kinds = report.results[0].kinds if report.results else ()
    return Table(
        "Rejection",
        ("artifact", "engine", "test digits", *(kind.kind for kind in kinds), "lowest AUROC",
         "time per decision"),
        tuple(
            (
                result.case.artifact,
                f"{result.case.engine} {result.version}",
                percent(result.digits_rejected / result.digits),
                *(percent(kind.rejected / kind.n) for kind in result.kinds),
                f"{min((k.auroc for k in result.kinds if not k.is_digit), default=0.0):.4f}",
                duration(result.cost_ns),
            )
            for result in report.results
        ),
        f"Share of rejected images; low is right for digits, high for all other kinds. Test digits "
        f"of {report.dataset}, {report.created[:10]}, digit-edge benchmark-rejection. AUROC: the "
        "probability that a test digit scores higher than an image that is not a digit.",
    )  # fmt: skip


def robustness_table(report: RobustnessReport | None) -> Table:
    """Return one line per case: clean accuracy, mean and lowest accuracy at middle strength."""
    if report is None:
        return Table("Robustness", (), ())
    return Table(
        "Robustness",
        ("artifact", "engine", "clean", "mean corrupted", "lowest", "corruption"),
        tuple(
            (
                result.case.artifact,
                f"{result.case.backend} {result.version}",
                percent(result.clean.accuracy),
                percent(result.mean),
                percent(result.worst.middle.accuracy),
                f"{result.worst.corruption} ({result.worst.strengths[MIDDLE]})",
            )
            for result in report.results
        ),
        f"{counted(report.n, 'test image')} of {report.dataset}, {report.created[:10]}, "
        "digit-edge benchmark-robustness; corrupted at the middle of five strengths.",
    )


def robustness_curves(report: RobustnessReport | None) -> Charts | None:
    """Return one chart per corruption with one line per case; None if there are no results."""
    if report is None or not report.results:
        return None
    return Charts(
        tuple(
            charts.curves(
                [_line(result, number) for result in report.results],
                ("none", *curve.strengths),
                curve.corruption,
            )
            for number, curve in enumerate(report.results[0].curves)
        ),
        tuple((charts.style(n), _name(result)) for n, result in enumerate(report.results)),
    )


def _line(result: RobustnessResult, number: int) -> tuple[str, tuple[float, ...]]:
    readings = (result.clean, *result.curves[number].readings)
    return _name(result), tuple(reading.accuracy for reading in readings)


def _name(result: RobustnessResult) -> str:
    return f"{result.case.artifact} · {result.case.backend}"
