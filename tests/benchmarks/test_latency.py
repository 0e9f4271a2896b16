"""Timings: what is recorded, when they are invalid, and rows that fail. No test times anything."""

import dataclasses
import math
import sys

import numpy as np
import pytest

from benchmarks.harness import messages, subprocesses
from benchmarks.harness.cases import ABSENT, FAILED, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import LatencyRequest, LatencyResponse, TimingSeries
from benchmarks.latency import decode_only, litert_benchmark_tool, scenarios
from benchmarks.latency import run as latency
from benchmarks.latency.interleave import CaseState, InterleavedRunner
from benchmarks.report import latency_tables
from benchmarks.schema.latency import FolderThroughputResult, LatencyReport, LatencyResult, Settings
from runtime.errors import EdgeError
from runtime.model import artifact

ENGINE_ROWS = [
    BenchmarkCase("digits.tflite", "litert", "cpu", 1),
    BenchmarkCase("digits-int8.tflite", "litert", "cpu", 1),
    BenchmarkCase("digits.onnx", "onnxruntime", "cpu", 1),
    BenchmarkCase("digits-int8.onnx", "onnxruntime", "cpu", 1),
]
ALL_SCENARIOS = {
    *messages.SCENARIOS,
    messages.PNG_PREPROCESSING,
    messages.JPEG_PREPROCESSING,
    messages.BARE,
}
ALL_SCENARIOS |= {*messages.MANY}


@pytest.mark.parametrize("row", ENGINE_ROWS, ids=str)
def test_every_row_has_every_scenario_in_every_repetition(timings: LatencyReport, row) -> None:
    results = [r for r in timings.results if r.case == row]
    assert {r.scenario for r in results} == ALL_SCENARIOS
    for result in results:
        assert len(result.runs) == timings.settings.repetitions
        enough = 2 if result.scenario in messages.MANY else timings.settings.min_count
        assert result.count >= enough
        assert result.seconds >= timings.settings.min_seconds
        assert all(0 < s <= run.slowest_ns for run in result.runs for s in run.samples_ns)
        assert len({run.batch for run in result.runs}) == 1


def test_the_keras_reference_alone_is_no_measurement(timings) -> None:
    """A run that was to measure an engine that is missing fails, though Keras was measured."""
    row = BenchmarkCase("digits.keras", "keras", "cpu", 1)
    keras = dataclasses.replace(timings.results[0], case=row)
    absent = SkippedCase(ENGINE_ROWS[0], ABSENT, "litert is not installed")
    only_keras = dataclasses.replace(timings, results=(keras,), skipped=(absent,))
    assert not only_keras
    assert "nothing was measured" in only_keras.failures[0]
    assert dataclasses.replace(only_keras, results=(keras, timings.results[0]))


def test_percentiles_are_ordered(timings) -> None:
    for result in timings.results:
        p50, p90 = result.percentile_ns(50), result.percentile_ns(90)
        assert p50 is not None
        assert p50 <= (p90 or p50) <= (result.percentile_ns(99) or 1e18)


def test_preprocessing_and_inference_are_apart(timings) -> None:
    row = ENGINE_ROWS[0]
    whole, part = timings.find(row, messages.PNG), timings.find(row, messages.PNG_PREPROCESSING)
    assert whole is not None
    assert part is not None
    assert whole.runs != part.runs


def test_starts_have_phases_and_memory(timings) -> None:
    settings = timings.settings
    assert [start.case for start in timings.starts] == ENGINE_ROWS
    for start in timings.starts:
        assert len(start.starts) == settings.repetitions + settings.starts
        for one in start.starts:
            phases = (one.process_ns, one.import_ns, one.load_ns, one.first_ns)
            assert min(phases) > 0
            assert one.total_ns == sum(phases)
            assert 1e7 < one.peak_bytes < 1e9


def test_the_command_is_measured_beside_bare_imports(timings) -> None:
    assert [c.case.backend for c in timings.commands] == ["litert", "onnxruntime"]
    for command in timings.commands:
        assert len(command.command_ns) == len(command.imports_ns) == timings.settings.starts
        assert command.command_bytes > 1e7
        assert command.imports_bytes > 1e7
        assert command.ratio > 0


def test_many_arrays_are_timed_beside_the_bare_engine(timings) -> None:
    for row in ENGINE_ROWS:
        scores, labels, bare = (timings.find(row, scenario) for scenario in messages.MANY)
        assert scores.batch == labels.batch == timings.settings.images
        assert bare.batch in scenarios.OFFLINE_BATCHES
        # Of each as many images: they had their turns.
        assert bare.batch * bare.count >= timings.settings.images
        assert timings.best(row.artifact, row.backend, messages.MANY_SCORES) == scores
    table = latency_tables.arrays_table(timings)
    assert len(table.lines) == len(ENGINE_ROWS)
    assert all(line[-1].startswith("scores(): target 0.9×: ") for line in table.lines)


def test_many_files_are_timed_beside_decoding_alone(timings) -> None:
    assert [f.case.backend for f in timings.files] == ["litert", "onnxruntime"]
    for found in timings.files:
        assert found.files == timings.settings.images
        assert len(found.command_ns) == len(found.decoding_ns) == timings.settings.repetitions
    few = FolderThroughputResult(ENGINE_ROWS[0], 10, 2, (1000, 1000), (700, 900))
    assert few.ratio == pytest.approx(0.8)
    table = latency_tables.many_files_table(dataclasses.replace(timings, files=(few,)))
    assert table.lines[0][-1] == "target 0.8×: met"


def test_decoding_alone_reads_every_file(tmp_path, capsys) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(scenarios.png(np.zeros((28, 28, 1), np.uint8)))
    assert decode_only.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "3 files\n"
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(EdgeError, match="cannot decode .*1.png"):
        decode_only.main([str(tmp_path)])
    with pytest.raises(EdgeError, match="--jobs takes 1 or more"):
        decode_only.main([str(tmp_path), "--jobs", "0"])
    with pytest.raises(EdgeError, match="no PNG files"):
        decode_only.main([str(tmp_path / "nothing")])


def test_litert_own_program_is_measured_over_the_same_files(timings) -> None:
    assert [p.case for p in timings.programs] == [
        row for row in ENGINE_ROWS if row.backend == "litert"
    ]
    for program in timings.programs:
        assert program.runs >= timings.settings.min_count
        assert len(program.means_ns) == len(program.medians_ns) == timings.settings.repetitions
        # The mean, from its throughput, is not below what it prints as the fastest half: both are
        # of the same calls, the median rounded to 10 µs.
        assert all(1e3 < mean < 1e9 for mean in program.means_ns)
        assert all(median >= 0 and median % 10_000 < 1 for median in program.medians_ns)
    table = latency_tables.programs_table(timings)
    assert all(line[-1].endswith("×") for line in table.lines)


def test_litert_own_program_may_be_missing(models, timings, tmp_path) -> None:
    """As in wheels before 2.2, and on processors that its CompiledModel does not run on."""
    ours = [r for r in timings.results if r.scenario == messages.SINGLE]
    python = tmp_path / "python"
    for script, why in (
        (f'exec "{sys.executable}" -m a_module_that_is_not', "a_module_that_is_not"),
        ("kill -ILL $$", "ended by SIGILL"),
    ):
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        measured, absent = litert_benchmark_tool.measure(
            models, ours, timings.settings, (ExternalPython("litert", str(python)),)
        )
        assert not measured
        assert {u.status for u in absent} == {ABSENT}
        assert why in absent[0].reason
        assert "pip install" in absent[0].reason


def test_overhead_is_the_ratio_of_two_medians(timings) -> None:
    row = ENGINE_ROWS[0]
    ours, bare = timings.find(row, messages.CLASSIFY), timings.find(row, messages.BARE)
    ratios = [a / b for a, b in zip(ours.medians_ns, bare.medians_ns, strict=True)]
    assert timings.overhead(row) == pytest.approx(sum(ratios) / 2)
    assert timings.overhead(BenchmarkCase("digits.keras", "keras", "cpu", 2)) is None


def test_the_peak_is_measured_for_both_precisions(timings) -> None:
    assert timings.peak is not None
    assert timings.peak.float32 > 1e8
    assert timings.peak.int8 > 1e8
    assert 1e7 < timings.peak.memory < 1e13


def test_the_host_is_described(timings) -> None:
    assert timings.host.cpu
    assert timings.host.cores >= 1
    assert timings.host.machine
    assert timings.host.identity() == timings.host_after.identity()


def test_a_crashing_engine_fails_its_rows_once_and_the_others_are_measured(
    models, crashing
) -> None:
    settings = Settings(repetitions=2, min_seconds=0.0, min_count=2, starts=0)
    report = latency.measure(
        models,
        settings,
        backends=("litert", "tflite-runtime"),
        threads=(1, 2),
        external_pythons=(crashing,),
        keras=False,
    )
    assert [(u.case.artifact, u.case.backend, u.status) for u in report.skipped] == [
        ("digits.tflite", "tflite-runtime", FAILED),
        ("digits-int8.tflite", "tflite-runtime", FAILED),
    ]
    assert "SIGABRT" in report.skipped[0].reason
    assert not report
    assert {r.case.threads for r in report.results} == {1, 2}
    assert {r.case.backend for r in report.results} == {"litert"}


def failing(folder, call: int) -> ExternalPython:
    """A Python for litert that aborts when it is started for the `call`th time."""
    calls, python = folder / "calls", folder / "python"
    python.write_text(
        f'#!/bin/sh\necho >> "{calls}"\n[ $(wc -l < "{calls}") = {call} ] && kill -ABRT $$\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return ExternalPython("litert", str(python))


@pytest.mark.parametrize(("repetitions", "kept"), [(2, {2}), (3, set())])
def test_a_row_has_all_its_repetitions_or_none(models, tmp_path, repetitions, kept) -> None:
    """The row of one thread fails in its second: that of two is complete, or is given up too."""
    (tmp_path / "digits.tflite").write_bytes((models / "digits.tflite").read_bytes())
    report = latency.measure(
        tmp_path,
        Settings(repetitions=repetitions, min_seconds=0.0, min_count=2, starts=0, images=20),
        backends=("litert",),
        threads=(1, 2),
        # In turns, and every other time backwards, the fourth is the second of the first row.
        external_pythons=(failing(tmp_path, 4),),
        keras=False,
    )
    (failed,) = (u for u in report.skipped if u.case.artifact == "digits.tflite")
    assert failed.case.threads == 1
    assert "SIGABRT" in failed.reason
    assert {r.case.threads for r in report.results} == kept
    assert {len(r.runs) for r in report.results} <= {repetitions}


@pytest.mark.parametrize(
    ("max_drift", "max_retries", "expected"), [(1.0, 2, [1, 2]), (1.0, 0, []), (math.inf, 2, [])]
)
def test_what_is_too_noisy_is_measured_again(
    models, tmp_path, max_drift, max_retries, expected
) -> None:
    (tmp_path / "digits.onnx").write_bytes((models / "digits.onnx").read_bytes())
    said: list[str] = []
    report = latency.measure(
        tmp_path,
        Settings(2, 0.0, 2, starts=0, max_drift=max_drift, images=20, max_retries=max_retries),
        backends=("onnxruntime",),
        threads=(1,),
        keras=False,
        progress=said.append,
    )
    rounds = dict.fromkeys(line.split(":")[0] for line in said if "retry" in line)
    assert list(rounds) == [f"too noisy, retry {number}" for number in expected]
    assert report.results
    assert {len(result.runs) for result in report.results} == {2}


def test_a_row_that_fails_when_it_is_measured_again_has_failed(models, tmp_path) -> None:
    (tmp_path / "digits.tflite").write_bytes((models / "digits.tflite").read_bytes())
    report = latency.measure(
        tmp_path,
        Settings(2, 0.0, 2, starts=0, max_drift=1.0, images=20, max_retries=2),
        backends=("litert",),
        threads=(1,),
        external_pythons=(failing(tmp_path, 3),),
        keras=False,
    )
    (failed,) = (u for u in report.skipped if u.case.artifact == "digits.tflite")
    assert "SIGABRT" in failed.reason
    assert not report.results


def test_of_two_measurements_the_steadier_is_kept(models) -> None:
    row = BenchmarkCase("digits.onnx", "onnxruntime", "cpu", 1)
    opened = artifact.read(models / row.artifact)
    settings = Settings(2, 0.0, 20, starts=0, images=20, max_retries=1)

    def entry_of(*runs: list[int]) -> CaseState:
        return CaseState(
            row, (messages.SINGLE,), opened, runs={messages.SINGLE: list(result_of(*runs).runs)}
        )

    steady, wild = entry_of(STEADY, STEADY), entry_of([1] * 80, [10**9] * 80)
    InterleavedRunner(settings, (), [], lambda line: None).repeat_noisy([steady, wild])
    assert [run.samples_ns for run in steady.runs[messages.SINGLE]] == [tuple(STEADY)] * 2
    first, second = wild.runs[messages.SINGLE]
    assert min(first.samples_ns) > 1
    assert max(second.samples_ns) < 10**9


def test_missing_artifacts_fail_and_an_absent_device_does_not(tmp_path, models) -> None:
    settings = Settings(repetitions=1, min_seconds=0.0, min_count=1, starts=0)
    (tmp_path / "digits.tflite").write_bytes((models / "digits.tflite").read_bytes())
    report = latency.measure(
        tmp_path, settings, backends=("litert",), device="gpu", threads=(1, 2), keras=False
    )
    found = {u.case.artifact: u for u in report.skipped}
    assert len(report.skipped) == 2
    assert not report.results
    assert found["digits.tflite"].status == ABSENT
    assert "GPU" in found["digits.tflite"].reason
    assert found["digits-int8.tflite"].status == FAILED
    assert report.failures == (
        f"{found['digits-int8.tflite'].case}: {found['digits-int8.tflite'].reason}",
    )


def test_a_python_that_does_not_exist_is_a_failed_row(models, tmp_path) -> None:
    row = ENGINE_ROWS[0]
    job = LatencyRequest(row, str(models / row.artifact), (), 0.0, 1, 0)
    answer = subprocesses.request_latency(
        job, (ExternalPython("litert", str(tmp_path / "python")),)
    )
    assert not isinstance(answer, LatencyResponse)
    assert answer.status == FAILED
    assert "cannot start" in answer.reason


def result_of(*runs: list[int]) -> LatencyResult:
    series = tuple(
        TimingSeries(messages.SINGLE, 1, len(run), sum(run), max(run), tuple(run)) for run in runs
    )
    return LatencyResult(ENGINE_ROWS[0], "1", "int8", "", messages.SINGLE, series)


LIMITS = Settings(repetitions=2, min_seconds=1e-4, min_count=100, max_drift=1.2)
STEADY = [1000, 1010, 990, 1005] * 20


def test_steady_timings_are_valid() -> None:
    assert result_of(STEADY, STEADY).problems(LIMITS) == ()


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (([1000] * 60, [1300] * 60), "noisy"),
        (([1000] * 40 + [1300] * 40, [1000] * 40 + [1300] * 40), "noisy"),
        (([9000] * 24, [9000] * 24), "too few"),
        (([10] * 80, [10] * 80), "too short"),
    ],
)
def test_bad_timings_are_invalid_and_say_why(runs, why: str) -> None:
    (problem,) = result_of(*runs).problems(LIMITS)
    assert why in problem


def test_no_percentile_of_too_few_samples() -> None:
    few = result_of([1000] * 9)
    assert few.percentile_ns(50) == 1000
    assert few.percentile_ns(90) is None
    assert few.percentile_ns(99) is None
    assert result_of(list(range(1, 101))).percentile_ns(99) == 99


def test_thinning_keeps_order_and_distribution() -> None:
    samples = list(range(10_000))
    kept = scenarios.subsample(samples, 500)
    assert len(kept) == 500
    assert list(kept) == sorted(kept)
    assert all(at * 20 <= sample < at * 20 + 20 for at, sample in enumerate(kept))
    assert scenarios.subsample(samples, 20_000) == tuple(samples)


@pytest.mark.parametrize("text", ["0", "1,x", "", "2,-1"])
def test_threads_are_refused(text: str) -> None:
    with pytest.raises(EdgeError, match="--threads"):
        latency.parse_threads(text)


def test_total_time_counts_batches() -> None:
    run = TimingSeries(messages.OFFLINE, 64, 10, 1_000_000, 110_000, (100_000,) * 10)
    offline = dataclasses.replace(result_of([1]), scenario=messages.OFFLINE, runs=(run, run))
    assert offline.images_per_second == pytest.approx(640_000)
