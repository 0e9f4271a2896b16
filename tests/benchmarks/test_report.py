"""The three files of a report, and two reports compared."""

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
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write.write(made, folder)
    return folder


def test_json_reads_back_as_it_was(made, folder) -> None:
    assert report.read(folder / "report.json") == made


def test_json_keeps_the_samples(made, folder) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    assert record["schema_version"] == 1
    kept = record["latency"]["results"][0]["runs"][0]["samples_ns"]
    assert kept == list(made.latency.results[0].runs[0].samples_ns)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', "\x00"])
def test_other_files_are_no_report(tmp_path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(EdgeError, match="other.json"):
        report.read(path)


def test_a_key_of_an_older_version_is_ignored(made, folder, tmp_path) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    record["parity"]["results"][0]["mean_cosine"] = 0.99
    path = tmp_path / "older.json"
    path.write_text(json.dumps(record))
    assert report.read(path) == made


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
def test_values_of_another_type_are_refused_in_one_line(tmp_path, old: str, new: str) -> None:
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
    # Figures that were added since the files were published.
    assert keys(written) - keys(json.loads(text)) <= {"negative_log_likelihood", "again"}


def test_a_newer_schema_is_refused(made, tmp_path) -> None:
    path = tmp_path / "newer.json"
    path.write_text(to_json(dataclasses.replace(made, schema_version=2)))
    with pytest.raises(EdgeError, match="schema 2"):
        report.read(path)


def test_a_failed_row_fails_the_report_and_stands_in_each_file(made, folder) -> None:
    assert not made
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


def test_the_summary_has_a_line_a_row(made) -> None:
    lines = summary_tables.summary(made.parity, made.latency).lines
    rows = (*made.parity.results, *made.parity.skipped)
    assert len(lines) == 1 + len(rows)
    verdicts = {line[0]: line[2] for line in lines if "tflite-runtime" not in line[1]}
    assert verdicts["digits.onnx"].startswith("PASS")
    assert verdicts["nan.onnx"].startswith("FAIL")


def test_the_limit_counts_weights_and_values_by_precision(made) -> None:
    table = latency_tables.limit_table(made.parity, made.latency)
    names = ("precision", "bytes", "time at memory bandwidth")
    places = [table.header.index(name) for name in names]
    found = {tuple(line[place] for place in places) for line in table.lines}
    moved = made.parity.parameters + 2 * made.parity.activations
    assert {(kind, size) for kind, size, _ in found} == {
        ("float32", f"{4 * moved / 1e3:,.0f} KB"),
        ("int8", f"{moved / 1e3:,.0f} KB"),
    }
    assert all(pace.endswith("s") for _, _, pace in found)


def slowed(made: BenchmarkReport, factor: float) -> BenchmarkReport:
    """The same run, every call taking `factor` times as long."""
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
    """The same run without noise: three repetitions with medians a hundredth apart."""
    run = made.latency.results[0].runs[0]
    runs = tuple(dataclasses.replace(run, samples_ns=(n,) * 30) for n in (9900, 10000, 10100))
    results = tuple(dataclasses.replace(r, runs=runs) for r in made.latency.results)
    latency = dataclasses.replace(made.latency, results=results, starts=())
    return dataclasses.replace(made, latency=latency)


def test_the_same_run_shows_no_difference(made) -> None:
    comparison = compare.compare(made, made)
    assert {row.verdict for row in comparison.rows} == {compare.NO_DIFFERENCE}
    assert comparison.slower_than(1.0) == ()
    assert not comparison.only_before
    assert not comparison.only_after


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, compare.SLOWER), (0.5, compare.FASTER)])
def test_a_change_is_seen(made, factor: float, verdict: str) -> None:
    before = steady(made)
    comparison = compare.compare(before, slowed(before, factor))
    assert {row.verdict for row in comparison.rows} == {verdict}
    row = comparison.rows[0]
    assert row.low < factor < row.high
    assert row.ratio == pytest.approx(factor, rel=1e-3)
    assert bool(comparison.slower_than(1.2)) == (factor > 1)
    assert comparison.slower_than(2.0) == ()


def test_a_row_that_is_gone_counts_as_slower(made) -> None:
    latency = dataclasses.replace(made.latency, results=made.latency.results[1:])
    after = dataclasses.replace(made, latency=latency)
    (gone,) = compare.compare(made, after).slower_than(1.2)
    assert "measured before, not now" in gone


def test_two_machines_are_not_compared_silently(made) -> None:
    host = dataclasses.replace(made.latency.host, cpu="Another")
    other = dataclasses.replace(made, latency=dataclasses.replace(made.latency, host=host))
    with pytest.raises(EdgeError, match="different machines"):
        compare.compare(made, other)
    assert compare.compare(made, other, different_hosts=True).rows


def test_one_repetition_is_not_compared(made) -> None:
    settings = dataclasses.replace(made.latency.settings, repetitions=1)
    latency = dataclasses.replace(made.latency, settings=settings)
    with pytest.raises(EdgeError, match="--repetitions"):
        compare.compare(made, dataclasses.replace(made, latency=latency))


def test_two_models_are_not_compared_silently(made) -> None:
    results = tuple(dataclasses.replace(r, digest="0" * 64) for r in made.latency.results)
    other = dataclasses.replace(made, latency=dataclasses.replace(made.latency, results=results))
    with pytest.raises(EdgeError, match="not the same model"):
        compare.compare(made, other)
    assert compare.compare(made, other, different_models=True).rows
