"""Robustness and rejection results in the report of a run, read from files in its folder."""

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
    """Return results of two cases and two corruptions, with figures unique in a report."""
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


@pytest.fixture
def rejection() -> RejectionReport:
    """Return results of one case and two kinds of images, with figures unique in a report."""
    kinds = (
        KindResult("noise", False, 1000, 987, 12, 0.9876, 0.5),
        KindResult("printed digits", True, 1000, 3, 4, 0.4321, 0.5),
    )
    case = BenchmarkCase("digits.tflite", "litert", "cpu", 1)
    result = RejectionResult(case, "2.1", "0" * 64, True, 0.5, 10000, 123, 45, 2345.0, kinds)
    return RejectionReport(1, "2026-01-02T03:04:05", "MNIST", "0" * 64, (result,), ())


def test_report_contains_robustness_results_of_its_folder(made, robustness, tmp_path) -> None:
    (tmp_path / related.ROBUSTNESS_NAME).write_text(to_json(robustness))
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        assert "43.21 %" in text
        assert "ink (3)" in text
        assert "digit-edge benchmark-robustness" in text


def test_report_without_related_results_does_not_mention_them(made, tmp_path) -> None:
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        assert "obustness" not in text
        assert "ejection" not in text
        assert "digit-edge benchmark-parity --explain" in text


@pytest.fixture
def robustness_curves(made, robustness) -> ElementTree.Element:
    """Return the section of the robustness curves in the HTML page."""
    text = html.render(made, RelatedReports(robustness))
    (section,) = re.findall(r'<div id="robustness-curves">.*?</details>', text, re.DOTALL)
    section = section.removesuffix("</details>")
    return ElementTree.fromstring(section)


def charts_of(section: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the charts of a section, without the samples of its legend."""
    return [svg for svg in section.iter("svg") if svg.get("role") == "img"]


def lines_of(chart: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the curves of a chart."""
    return [path for path in chart.iter("path") if "curve" in path.get("class", "")]


def test_each_corruption_has_a_robustness_chart(robustness_curves) -> None:
    titles = [chart.findtext("title", "") for chart in charts_of(robustness_curves)]
    assert [title.split(": ")[1] for title in titles] == ["blur", "ink"]


def test_robustness_charts_have_a_line_per_case(robustness_curves) -> None:
    for chart in charts_of(robustness_curves):
        styles = [line.get("class") for line in lines_of(chart)]
        assert styles == ["curve style0", "curve style1"]


def test_robustness_legend_has_an_entry_per_case(robustness_curves) -> None:
    samples = [svg for svg in robustness_curves.iter("svg") if svg.get("aria-hidden") == "true"]
    assert len(samples) == 2


def test_robustness_curves_show_and_describe_each_accuracy(robustness_curves) -> None:
    for chart, lowest in zip(charts_of(robustness_curves), ("87.65 %", "43.20 %"), strict=True):
        curve = lines_of(chart)[1]
        assert lowest in curve.findtext("title", "")
        assert lowest in chart.findtext("desc", "")
        points = curve.get("d", "").removeprefix("M").split("L")
        y_px = [float(point.split()[1]) for point in points]
        assert len(y_px) == 6
        assert max(y_px) == y_px[1 + MIDDLE]


def test_report_contains_rejection_results_of_its_folder(made, rejection, tmp_path) -> None:
    (tmp_path / related.REJECTION_NAME).write_text(to_json(rejection))
    write.write(made, tmp_path)
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        text = (tmp_path / name).read_text("utf-8")
        for figure in ("98.70 %", "1.23 %", "0.9876", "2.3 µs", "benchmark-rejection"):
            assert figure in text


@pytest.mark.parametrize("page", [markdown, html])
def test_lowest_auroc_ignores_kinds_that_are_digits(made, rejection, page) -> None:
    text = page.render(made, RelatedReports(rejection=rejection))
    assert "0.9876" in text
    assert "0.4321" not in text


def test_rejection_report_of_an_older_version_is_read(rejection, tmp_path) -> None:
    record = json.loads(to_json(rejection))
    del record["results"][0]["batch_cost_ns"]
    (tmp_path / related.REJECTION_NAME).write_text(json.dumps(record))
    assert related.read(tmp_path).rejection == rejection


def test_rejection_report_without_results_gives_an_empty_table(rejection) -> None:
    empty = dataclasses.replace(rejection, results=())
    assert related.rejection_table(empty).lines == ()


@pytest.mark.parametrize("name", [related.ROBUSTNESS_NAME, related.REJECTION_NAME])
@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_file_that_is_not_a_report_is_an_error(tmp_path, text: str, name: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(EdgeError, match=name):
        related.read(tmp_path)


def test_newer_schema_version_is_an_error(robustness, tmp_path) -> None:
    newer = dataclasses.replace(robustness, schema_version=2)
    (tmp_path / related.ROBUSTNESS_NAME).write_text(to_json(newer))
    with pytest.raises(EdgeError, match="schema version 2"):
        related.read(tmp_path)


def test_html_has_robustness_curves_only_if_there_are_results(made, robustness) -> None:
    empty = dataclasses.replace(robustness, results=())
    assert "Robustness curves" not in html.render(made, RelatedReports(empty))
    assert "Robustness curves" in html.render(made, RelatedReports(robustness))


def test_markdown_has_no_robustness_table_without_results(made, robustness) -> None:
    empty = dataclasses.replace(robustness, results=())
    text = markdown.render(made, RelatedReports(empty))
    assert "Robustness" not in text
