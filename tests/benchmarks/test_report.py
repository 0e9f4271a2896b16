"""The files of a report, its tables, and the comparison of two reports."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.harness.serialize import from_json, to_json
from benchmarks.report import latency_tables, parity_tables, summary_tables, write
from benchmarks.schema import report
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.photos import PhotosReport
from benchmarks.schema.rejection import RejectionReport
from benchmarks.schema.report import BenchmarkReport
from benchmarks.schema.robustness import RobustnessReport
from runtime.errors import EdgeError

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def made(timings, request) -> BenchmarkReport:
    return report.make(request.getfixturevalue("report"), timings)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    """Return a folder with the three files of the report."""
    folder = tmp_path_factory.mktemp("report")
    write.write(made, folder)
    return folder


def test_report_is_equal_after_writing_and_reading(made, folder) -> None:
    assert report.read(folder / "report.json") == made


def test_json_contains_the_schema_version(folder) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    assert record["schema_version"] == 1


def test_json_contains_the_raw_samples(made, folder) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    samples_ns = record["latency"]["results"][0]["runs"][0]["samples_ns"]
    assert samples_ns == list(made.latency.results[0].runs[0].samples_ns)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', "\x00"])
def test_file_that_is_not_a_report_is_an_error(tmp_path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(EdgeError, match=r"other\.json"):
        report.read(path)


def test_unknown_key_of_an_older_version_is_ignored(made, folder, tmp_path) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    record["parity"]["results"][0]["mean_cosine"] = 0.99
    path = tmp_path / "older.json"
    path.write_text(json.dumps(record))
    assert report.read(path) == made


# The published results: file name without suffix, and type.
PUBLISHED = [
    ("report", BenchmarkReport),
    ("gpu-h200", LatencyReport),
    ("rejection", RejectionReport),
    ("robustness", RobustnessReport),
    ("photos", PhotosReport),
]


@pytest.mark.parametrize(("name", "kind"), PUBLISHED)
def test_published_results_can_be_read(name: str, kind: type) -> None:
    path = RESULTS / f"{name}.json"
    assert from_json(kind, path.read_bytes(), path.name).schema_version == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"n":', '"n":true,"was":'),
        ('"n":', '"n":"5","was":'),
        ('"confidence":', f'"confidence":{10**400},"was":'),
        ('"confidence":', '"confidence":"0.5","was":'),
        ('"confidence":', '"confidence":NaN,"was":'),
        ('"class_names":', '"class_names":"","was":'),
        ('"class_names":', '"class_names":{},"was":'),
        ('"created":', f'"created":{[0] * 100_000},"was":'),
    ],
)
def test_value_of_the_wrong_type_is_a_short_error(tmp_path, old: str, new: str) -> None:
    text = (RESULTS / "report.json").read_text().replace('": ', '":')
    assert old in text
    path = tmp_path / "report.json"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(EdgeError) as caught:
        report.read(path)
    assert len(str(caught.value)) < 400


def keys(value: object) -> set[str]:
    """Return the keys of all objects in a JSON value."""
    if isinstance(value, dict):
        return set(value) | keys(list(value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(("name", "kind"), PUBLISHED)
def test_keys_of_published_results_have_not_changed(name: str, kind: type) -> None:
    text = (RESULTS / f"{name}.json").read_text()
    written = json.loads(to_json(from_json(kind, text, name)))
    # These two keys were added after the files were published.
    assert keys(written) - keys(json.loads(text)) <= {
        *("negative_log_likelihood", "again", "alone", "series", "shape")
    }


def test_newer_schema_version_is_an_error(made, tmp_path) -> None:
    path = tmp_path / "newer.json"
    path.write_text(to_json(dataclasses.replace(made, schema_version=2)))
    with pytest.raises(EdgeError, match=r"schema (version )?2"):
        report.read(path)


def test_failed_case_fails_the_report(made) -> None:
    assert not made


def test_failed_case_is_named_in_each_page(folder) -> None:
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text("utf-8")
        assert "SIGABRT" in text
        assert "FAILED" in text
        assert "nan.onnx" in text


def test_tables_are_rectangular(made) -> None:
    parity, latency = made.parity, made.latency
    for table in (
        summary_tables.summary(parity, latency),
        parity_tables.parity_table(parity),
        parity_tables.scores_table(parity),
        latency_tables.latency_table(latency),
        latency_tables.starts_table(latency),
        latency_tables.files_table(latency),
        latency_tables.limit_table(parity, latency),
        latency_tables.commands_table(latency),
        summary_tables.unmeasured_table(parity.skipped),
        summary_tables.host_table(latency),
    ):
        assert table.lines
        assert all(len(line) == len(table.header) for line in table.lines)


def test_summary_has_a_line_per_case_and_one_for_the_reference(made) -> None:
    lines = summary_tables.summary(made.parity, made.latency).lines
    cases = (*made.parity.results, *made.parity.skipped)
    assert len(lines) == 1 + len(cases)


def test_summary_shows_the_verdict_of_each_case(made) -> None:
    lines = summary_tables.summary(made.parity, made.latency).lines
    verdicts = {line[0]: line[2] for line in lines if "tflite-runtime" not in line[1]}
    assert verdicts["digits.onnx"].startswith("PASS")
    assert verdicts["nan.onnx"].startswith("FAIL")


def limit_columns(made: BenchmarkReport, *names: str) -> set[tuple[str, ...]]:
    """Return the lines of the roofline table, reduced to some columns."""
    table = latency_tables.limit_table(made.parity, made.latency)
    columns = [table.header.index(name) for name in names]
    return {tuple(line[column] for column in columns) for line in table.lines}


def test_roofline_counts_bytes_of_weights_and_activations_by_precision(made) -> None:
    values = made.parity.parameters + 2 * made.parity.activations
    assert limit_columns(made, "precision", "bytes") == {
        ("float32", f"{4 * values / 1e3:,.0f} KB"),
        ("int8", f"{values / 1e3:,.0f} KB"),
    }


def test_roofline_has_a_time_at_memory_bandwidth(made) -> None:
    times = limit_columns(made, "time at memory bandwidth")
    assert all(time.endswith("s") for (time,) in times)


def slowed(made: BenchmarkReport, factor: float) -> BenchmarkReport:
    """Return the same run with the duration of every call multiplied by `factor`."""
    results = tuple(
        dataclasses.replace(
            result,
            runs=tuple(
                dataclasses.replace(
                    run, samples_ns=tuple(int(sample * factor) for sample in run.samples_ns)
                )
                for run in result.runs
            ),
        )
        for result in made.latency.results
    )
    return dataclasses.replace(made, latency=dataclasses.replace(made.latency, results=results))


def steady(made: BenchmarkReport) -> BenchmarkReport:
    """Return the same run without noise: three repetitions whose medians differ by 1 %."""
    run = made.latency.results[0].runs[0]
    runs = tuple(dataclasses.replace(run, samples_ns=(n,) * 30) for n in (9900, 10000, 10100))
    results = tuple(dataclasses.replace(r, runs=runs) for r in made.latency.results)
    latency = dataclasses.replace(made.latency, results=results, starts=())
    return dataclasses.replace(made, latency=latency)


def test_comparison_of_a_run_with_itself_shows_no_difference(made) -> None:
    comparison = compare.compare(made, made)
    assert {row.verdict for row in comparison.rows} == {compare.NO_DIFFERENCE}
    assert comparison.slower_than(1.0) == ()
    assert not comparison.only_before
    assert not comparison.only_after


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, compare.SLOWER), (0.5, compare.FASTER)])
def test_comparison_measures_the_change_of_each_case(made, factor: float, verdict: str) -> None:
    before = steady(made)
    comparison = compare.compare(before, slowed(before, factor))
    assert {row.verdict for row in comparison.rows} == {verdict}
    row = comparison.rows[0]
    assert row.low < factor < row.high
    assert row.ratio == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize("factor", [1.5, 0.5])
def test_slower_than_lists_cases_above_the_limit(made, factor: float) -> None:
    before = steady(made)
    comparison = compare.compare(before, slowed(before, factor))
    assert bool(comparison.slower_than(1.2)) == (factor > 1)
    assert comparison.slower_than(2.0) == ()


def test_case_missing_in_the_second_run_counts_as_slower(made) -> None:
    latency = dataclasses.replace(made.latency, results=made.latency.results[1:])
    after = dataclasses.replace(made, latency=latency)
    (missing,) = compare.compare(made, after).slower_than(1.2)
    assert "measured before, not now" in missing


def test_comparing_two_machines_needs_an_option(made) -> None:
    host = dataclasses.replace(made.latency.host, cpu="Another")
    other = dataclasses.replace(made, latency=dataclasses.replace(made.latency, host=host))
    with pytest.raises(EdgeError, match="different machines"):
        compare.compare(made, other)
    assert compare.compare(made, other, different_hosts=True).rows


def test_comparing_runs_of_one_repetition_is_an_error(made) -> None:
    settings = dataclasses.replace(made.latency.settings, repetitions=1)
    latency = dataclasses.replace(made.latency, settings=settings)
    with pytest.raises(EdgeError, match="--repetitions"):
        compare.compare(made, dataclasses.replace(made, latency=latency))


def test_comparing_two_models_needs_an_option(made) -> None:
    results = tuple(dataclasses.replace(r, digest="0" * 64) for r in made.latency.results)
    other = dataclasses.replace(made, latency=dataclasses.replace(made.latency, results=results))
    with pytest.raises(EdgeError, match="not the same model"):
        compare.compare(made, other)
    assert compare.compare(made, other, different_models=True).rows
