"""Robustness curves and rejection figures in a report, where their files lie beside it."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.serialize import to_json
from benchmarks.report import html, markdown, related, write
from benchmarks.report.related import RelatedReports
from benchmarks.schema import report
from benchmarks.schema.rejection import KindResult, RejectionReport, RejectionResult
from benchmarks.schema.robustness import (
    MIDDLE,
    UNUSED,
    AccuracyCount,
    CorruptionCurve,
    RobustnessReport,
    RobustnessResult,
)
from runtime.errors import EdgeError


@pytest.fixture
def robustness() -> RobustnessReport:
    """Two rows, two corruptions, figures that occur nowhere else."""
    strengths = ("1", "2", "3", "4", "5")

    def curve(name: str, middle: int) -> CorruptionCurve:
        readings = [AccuracyCount(9000 - number, 10000) for number in range(5)]
        readings[MIDDLE] = AccuracyCount(middle, 10000)
        return CorruptionCurve(name, UNUSED, strengths, tuple(readings))

    results = tuple(
        RobustnessResult(
            BenchmarkCase(name, "litert", "cpu", 1), "2.1", "0" * 64, AccuracyCount(9877, 10000),
            (curve("blur", 8765), curve("ink", low)),
        )
        for name, low in (("digits.tflite", 4321), ("digits-int8.tflite", 4320))
    )  # fmt: skip
    return RobustnessReport(1, "2026-01-02T03:04:05", "MNIST", "0" * 64, 10000, results, (), ())


@pytest.fixture
def made(timings, request):
    return report.make(request.getfixturevalue("report"), timings)


def test_the_curves_beside_a_report_stand_in_it(made, robustness, tmp_path) -> None:
    (tmp_path / related.ROBUSTNESS_NAME).write_text(to_json(robustness))
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        assert "43.21 %" in text
        assert "ink (3)" in text
        assert "benchmarks.robustness" in text


def test_without_curves_nothing_is_said_of_them(made, tmp_path) -> None:
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        assert "obustness" not in text
        assert "ejection" not in text
        assert "python -m benchmarks.parity --explain" in text


def test_robustness_charts_have_a_line_per_case(made, robustness) -> None:
    text = html.render(made, RelatedReports(robustness))
    (section,) = re.findall(r'<section id="robustness-curves">.*?</section>', text, re.DOTALL)
    drawing = ElementTree.fromstring(section)
    charts = [svg for svg in drawing.iter("svg") if svg.get("role") == "img"]
    assert [chart.findtext("title", "").split(": ")[1] for chart in charts] == ["blur", "ink"]
    assert len([svg for svg in drawing.iter("svg") if svg.get("aria-hidden") == "true"]) == 2
    for chart, low in zip(charts, ("87.65 %", "43.20 %"), strict=True):
        lines = [path for path in chart.iter("path") if "curve" in path.get("class", "")]
        assert [line.get("class") for line in lines] == ["curve style0", "curve style1"]
        assert low in lines[1].findtext("title", "")
        assert low in chart.findtext("desc", "")
        points = lines[1].get("d", "").removeprefix("M").split("L")
        heights = [float(point.split()[1]) for point in points]
        assert len(heights) == 6
        assert max(heights) == heights[1 + MIDDLE]


def test_the_rejection_beside_a_report_stands_in_it(made, tmp_path) -> None:
    kinds = (
        KindResult("noise", False, 1000, 987, 12, 0.9876, 0.5),
        KindResult("printed digits", True, 1000, 3, 4, 0.4321, 0.5),
    )
    row = BenchmarkCase("digits.tflite", "litert", "cpu", 1)
    result = RejectionResult(row, "2.1", "0" * 64, True, 0.5, 10000, 123, 45, 2345.0, kinds)
    rejection = RejectionReport(1, "2026-01-02T03:04:05", "MNIST", "0" * 64, (result,), ())
    (tmp_path / related.REJECTION_NAME).write_text(to_json(rejection))
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        for figure in ("98.70 %", "1.23 %", "0.9876", "2.3 µs", "benchmarks.rejection"):
            assert figure in text
        assert "0.4321" not in text  # refusing digits is no merit
    # As written before a decision in a batch was timed.
    record = json.loads(to_json(rejection))
    del record["results"][0]["batch_cost_ns"]
    (tmp_path / related.REJECTION_NAME).write_text(json.dumps(record))
    assert related.read(tmp_path).rejection == rejection
    none = dataclasses.replace(rejection, results=())
    assert related.rejection_table(none).lines == ()


@pytest.mark.parametrize("name", [related.ROBUSTNESS_NAME, related.REJECTION_NAME])
@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_another_file_of_that_name_is_an_error(tmp_path, text: str, name: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(EdgeError, match=name):
        related.read(tmp_path)


def test_another_schema_is_an_error(robustness, tmp_path) -> None:
    newer = dataclasses.replace(robustness, schema_version=2)
    (tmp_path / related.ROBUSTNESS_NAME).write_text(to_json(newer))
    with pytest.raises(EdgeError, match="schema version 2"):
        related.read(tmp_path)


def test_rows_that_could_not_be_read_leave_no_curve(made, robustness) -> None:
    empty = dataclasses.replace(robustness, results=())
    assert "Robustness curves" not in html.render(made, RelatedReports(empty))
    assert "Robustness curves" in html.render(made, RelatedReports(robustness))
    assert "Robustness" not in markdown.render(made, RelatedReports(empty)).replace(
        "benchmarks.robustness", ""
    )
