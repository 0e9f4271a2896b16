"""Tests the latency benchmark: recorded figures, INVALID results and failed cases.

No test depends on how fast the machine is.
"""

import dataclasses
import importlib
import math
import shutil
import sys

import numpy as np
import pytest

from benchmarks.harness import messages, subprocesses
from benchmarks.harness.cases import (
    ABSENT,
    EXPECTED,
    FAILED,
    BenchmarkCase,
    ExternalPython,
    SkippedCase,
)
from benchmarks.harness.messages import LatencyRequest, LatencyResponse, TimingSeries
from benchmarks.latency import (
    decode_only,
    engine_only,
    litert_benchmark_tool,
    scenarios,
)
from benchmarks.latency import program as c_program
from benchmarks.latency import run as latency
from benchmarks.latency.interleave import CaseState, InterleavedRunner
from benchmarks.report import latency_tables
from benchmarks.schema.latency import FolderThroughputResult, LatencyReport, LatencyResult, Settings
from runtime.engines import ENGINES
from runtime.errors import EdgeError
from runtime.model import artifact

# No benchmark model is in C, so the engine native runs none.
INSTALLED = [e for e in ENGINES if e.installed() and e.suffix != ".c"]
ENGINE_CASES = [
    BenchmarkCase(name, engine.name, "cpu", 1)
    for name in EXPECTED
    for engine in INSTALLED
    if name.endswith(engine.suffix)
]
ALL_SCENARIOS = {
    *messages.SCENARIOS,
    messages.PNG_PREPROCESSING,
    messages.JPEG_PREPROCESSING,
    messages.BARE,
}
ALL_SCENARIOS |= {*messages.MANY}


@pytest.mark.parametrize("case", ENGINE_CASES, ids=str)
def test_every_case_has_every_scenario_in_every_repetition(timings: LatencyReport, case) -> None:
    results = [r for r in timings.results if r.case == case]
    assert {r.scenario for r in results} == ALL_SCENARIOS
    for result in results:
        assert len(result.runs) == timings.settings.repetitions
        min_count = 2 if result.scenario in messages.MANY else timings.settings.min_count
        assert result.count >= min_count
        assert result.seconds >= timings.settings.min_seconds
        assert all(0 < s <= run.slowest_ns for run in result.runs for s in run.samples_ns)
        assert len({run.batch for run in result.runs}) == 1


def test_run_that_measures_only_the_keras_reference_fails(timings) -> None:
    case = BenchmarkCase("digits.keras", "keras", "cpu", 1)
    keras = dataclasses.replace(timings.results[0], case=case)
    absent = SkippedCase(ENGINE_CASES[0], ABSENT, "litert is not installed")
    only_keras = dataclasses.replace(timings, results=(keras,), skipped=(absent,))
    assert not only_keras
    assert "nothing was measured" in only_keras.failures[0]
    assert dataclasses.replace(only_keras, results=(keras, timings.results[0]))


def test_percentiles_are_ordered(timings) -> None:
    for result in timings.results:
        p50, p90 = result.percentile_ns(50), result.percentile_ns(90)
        assert p50 is not None
        assert p50 <= (p90 or p50) <= (result.percentile_ns(99) or 1e18)


def test_preprocessing_is_timed_separately(timings) -> None:
    case = ENGINE_CASES[0]
    whole, part = timings.find(case, messages.PNG), timings.find(case, messages.PNG_PREPROCESSING)
    assert whole is not None
    assert part is not None
    assert whole.runs != part.runs


def test_cold_starts_have_phases_and_memory(timings) -> None:
    settings = timings.settings
    assert [result.case for result in timings.starts] == ENGINE_CASES
    for result in timings.starts:
        assert len(result.starts) == settings.repetitions + settings.starts
        for start in result.starts:
            phases = (start.process_ns, start.import_ns, start.load_ns, start.first_ns)
            assert min(phases) > 0
            assert start.total_ns == sum(phases)
            assert 1e7 < start.peak_bytes < 1e9


def test_cold_start_of_the_command_is_measured_for_each_engine(timings) -> None:
    assert [c.case.backend for c in timings.commands] == [engine.name for engine in INSTALLED]
    for command in timings.commands:
        assert len(command.command_ns) == len(command.imports_ns) == timings.settings.starts
        assert command.command_bytes > 1e7
        assert command.imports_bytes > 1e7
        assert command.ratio > 0


@pytest.mark.parametrize("case", ENGINE_CASES, ids=str)
def test_many_arrays_are_timed_with_the_classifier_and_the_bare_engine(timings, case) -> None:
    scores, labels, bare = (timings.find(case, scenario) for scenario in messages.MANY)
    assert scores.batch == labels.batch == timings.settings.images
    assert bare.batch in scenarios.OFFLINE_BATCHES
    # The bare engine, too, has processed at least this number of images.
    assert bare.batch * bare.count >= timings.settings.images


@pytest.mark.parametrize("case", ENGINE_CASES, ids=str)
def test_best_returns_the_only_result_of_a_scenario(timings, case) -> None:
    scores = timings.find(case, messages.MANY_SCORES)
    assert timings.best(case.artifact, case.backend, messages.MANY_SCORES) == scores


def test_table_of_many_arrays_shows_the_target(timings) -> None:
    table = latency_tables.arrays_table(timings)
    assert len(table.lines) == len(ENGINE_CASES)
    assert all(line[-1].startswith("target 0.9×: ") for line in table.lines)


def test_many_files_are_timed_for_each_engine(timings) -> None:
    assert [f.case.backend for f in timings.files] == [engine.name for engine in INSTALLED]
    for result in timings.files:
        assert result.files == timings.settings.images
        assert len(result.command_ns) == len(result.decoding_ns) == timings.settings.repetitions


def test_ratio_of_many_files_is_the_median_of_the_repetitions(timings) -> None:
    result = FolderThroughputResult(ENGINE_CASES[0], 10, 2, (1000, 1000), (700, 900))
    assert result.ratio == pytest.approx(0.8)
    table = latency_tables.many_files_table(dataclasses.replace(timings, files=(result,)))
    assert table.lines[0][-1] == "target 0.8×: met"


@pytest.fixture
def png_folder(tmp_path):
    """Return a folder with three blank PNG files."""
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(scenarios.png(np.zeros((28, 28, 1), np.uint8)))
    return tmp_path


def test_decode_only_prints_the_number_of_files(png_folder, capsys) -> None:
    assert decode_only.main([str(png_folder)]) == 0
    assert capsys.readouterr().out == "3 files\n"


def test_decode_only_names_a_damaged_file(png_folder) -> None:
    (png_folder / "1.png").write_bytes(b"not an image")
    with pytest.raises(EdgeError, match=r"cannot decode .*1\.png"):
        decode_only.main([str(png_folder)])


def test_decode_only_rejects_zero_jobs(png_folder) -> None:
    with pytest.raises(EdgeError, match="--jobs takes 1 or more"):
        decode_only.main([str(png_folder), "--jobs", "0"])


def test_decode_only_rejects_a_folder_without_png_files(tmp_path) -> None:
    with pytest.raises(EdgeError, match="no PNG files"):
        decode_only.main([str(tmp_path / "nothing")])


def test_litert_benchmark_tool_is_run_on_the_same_files(timings) -> None:
    assert [p.case for p in timings.programs] == [
        case for case in ENGINE_CASES if case.backend == "litert"
    ]
    for program in timings.programs:
        assert program.runs >= timings.settings.min_count
        assert len(program.means_ns) == len(program.medians_ns) == timings.settings.repetitions
        assert all(1e3 < mean < 1e9 for mean in program.means_ns)
        # The tool rounds medians to 10 µs.
        assert all(median >= 0 and median % 10_000 < 1 for median in program.medians_ns)
    table = latency_tables.programs_table(timings)
    assert all(line[-1].endswith("×") for line in table.lines)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        # Wheels before 2.2 do not have the tool.
        (f'exec "{sys.executable}" -m a_missing_module', "a_missing_module"),
        # Some processors lack an instruction that the tool uses.
        ("kill -ILL $$", "ended by the signal SIGILL"),
    ],
)
def test_failing_litert_benchmark_tool_is_absent(
    models, timings, tmp_path, script: str, reason: str
) -> None:
    single = [r for r in timings.results if r.scenario == messages.SINGLE]
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    measured, absent = litert_benchmark_tool.measure(
        models, single, timings.settings, (ExternalPython("litert", str(python)),)
    )
    assert not measured
    assert {skipped.status for skipped in absent} == {ABSENT}
    assert reason in absent[0].reason
    assert "pip install" in absent[0].reason


def test_overhead_is_the_median_ratio_of_classify_to_the_bare_engine(timings) -> None:
    case = ENGINE_CASES[0]
    classify, bare = timings.find(case, messages.CLASSIFY), timings.find(case, messages.BARE)
    ratios = [a / b for a, b in zip(classify.medians_ns, bare.medians_ns, strict=True)]
    assert timings.overhead(case) == pytest.approx(sum(ratios) / 2)


def test_overhead_of_an_unmeasured_case_is_none(timings) -> None:
    assert timings.overhead(BenchmarkCase("digits.keras", "keras", "cpu", 2)) is None


def test_roofline_has_both_precisions_and_the_memory_bandwidth(timings) -> None:
    assert timings.peak is not None
    assert timings.peak.float32 > 1e8
    assert timings.peak.int8 > 1e8
    assert 1e7 < timings.peak.memory < 1e13


def test_host_is_described(timings) -> None:
    assert timings.host.cpu
    assert timings.host.cores >= 1
    assert timings.host.machine
    assert timings.host.identity() == timings.host_after.identity()


def test_crashing_engine_fails_each_artifact_once_and_other_cases_are_measured(
    models, crashing
) -> None:
    settings = Settings(repetitions=2, min_seconds=0.0, min_count=2, starts=0, images=20)
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
    """Return a Python for LiteRT that aborts when it is started for the `call`-th time."""
    calls, python = folder / "calls", folder / "python"
    python.write_text(
        f'#!/bin/sh\necho >> "{calls}"\n[ $(wc -l < "{calls}") = {call} ] && kill -ABRT $$\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return ExternalPython("litert", str(python))


@pytest.mark.parametrize(("repetitions", "kept"), [(2, {2}), (3, set())])
def test_case_has_all_its_repetitions_or_none(models, tmp_path, repetitions, kept) -> None:
    """The one-thread case fails in its second repetition.

    The two-thread case is complete after two repetitions. If there are three, it is stopped.
    """
    (tmp_path / "digits.tflite").write_bytes((models / "digits.tflite").read_bytes())
    report = latency.measure(
        tmp_path,
        Settings(repetitions=repetitions, min_seconds=0.0, min_count=2, starts=0, images=20),
        backends=("litert",),
        threads=(1, 2),
        # The order is reversed every other time, so that the fourth process is again that of the
        # first case.
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
def test_noisy_results_are_measured_again(
    models, tmp_path, max_drift, max_retries, expected
) -> None:
    (tmp_path / "digits.onnx").write_bytes((models / "digits.onnx").read_bytes())
    lines: list[str] = []
    report = latency.measure(
        tmp_path,
        Settings(2, 0.0, 2, starts=0, max_drift=max_drift, images=20, max_retries=max_retries),
        backends=("onnxruntime",),
        threads=(1,),
        keras=False,
        progress=lines.append,
    )
    rounds = dict.fromkeys(line.split(":")[0] for line in lines if "retry" in line)
    assert list(rounds) == [f"too noisy, retry {number}" for number in expected]
    assert report.results
    assert {len(result.runs) for result in report.results} == {2}


def test_case_that_fails_in_a_retry_has_failed(models, tmp_path) -> None:
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


def test_retry_replaces_a_result_only_if_it_drifts_less(models) -> None:
    case = BenchmarkCase("digits.onnx", "onnxruntime", "cpu", 1)
    opened = artifact.read(models / case.artifact)
    settings = Settings(2, 0.0, 20, starts=0, images=20, max_retries=1)

    def entry_of(*runs: list[int]) -> CaseState:
        return CaseState(
            case, (messages.SINGLE,), opened, runs={messages.SINGLE: list(result_of(*runs).runs)}
        )

    steady, noisy = entry_of(STEADY, STEADY), entry_of([1] * 80, [10**9] * 80)
    InterleavedRunner(settings, (), [], lambda line: None).repeat_noisy([steady, noisy])
    assert [run.samples_ns for run in steady.runs[messages.SINGLE]] == [tuple(STEADY)] * 2
    first, second = noisy.runs[messages.SINGLE]
    assert min(first.samples_ns) > 1
    assert max(second.samples_ns) < 10**9


def test_missing_artifact_fails_the_run_and_missing_device_does_not(tmp_path, models) -> None:
    settings = Settings(repetitions=1, min_seconds=0.0, min_count=1, starts=0)
    (tmp_path / "digits.tflite").write_bytes((models / "digits.tflite").read_bytes())
    report = latency.measure(
        tmp_path, settings, backends=("litert",), device="gpu", threads=(1, 2), keras=False
    )
    skipped = {s.case.artifact: s for s in report.skipped}
    assert len(report.skipped) == 2
    assert not report.results
    assert skipped["digits.tflite"].status == ABSENT
    assert "GPU" in skipped["digits.tflite"].reason
    missing = skipped["digits-int8.tflite"]
    assert missing.status == FAILED
    assert report.failures == (f"{missing.case}: {missing.reason}",)


def test_missing_python_fails_the_case(models, tmp_path) -> None:
    case = ENGINE_CASES[0]
    job = LatencyRequest(case, str(models / case.artifact), (), 0.0, 1, 0)
    response = subprocesses.request_latency(
        job, (ExternalPython("litert", str(tmp_path / "python")),)
    )
    assert not isinstance(response, LatencyResponse)
    assert response.status == FAILED
    assert "cannot start" in response.reason


@pytest.fixture
def without_opener(models, monkeypatch) -> tuple[TimingSeries, ...]:
    """Return the timings of an engine that `engine_only.OPENERS` does not contain."""
    monkeypatch.delitem(engine_only.OPENERS, "litert")
    case = BenchmarkCase("digits.tflite", "litert", "cpu", 1)
    opened = artifact.read(models / case.artifact)
    backend = scenarios.open_case(opened, case)
    wanted = (messages.SINGLE, messages.PNG, messages.CLASSIFY, messages.MANY_SCORES)
    job = LatencyRequest(case, str(opened.path), wanted, 0.0, 2, 0, images=20)
    return scenarios.measure_all(job, opened, backend, scenarios.images_of(opened.spec))


def test_engine_without_an_opener_is_timed_without_the_bare_engine(without_opener) -> None:
    timed = {series.scenario for series in without_opener}
    assert {messages.CLASSIFY, messages.MANY_SCORES, messages.MANY_CLASSIFY} <= timed
    assert timed.isdisjoint({messages.BARE, messages.MANY_BARE})


def test_tables_show_a_dash_for_an_engine_without_an_opener(without_opener, timings) -> None:
    case = BenchmarkCase("digits.tflite", "litert", "cpu", 1)
    results = tuple(
        LatencyResult(case, "1", "float32", "", series.scenario, (series,))
        for series in without_opener
    )
    made = dataclasses.replace(timings, results=results)
    files, arrays = latency_tables.files_table(made), latency_tables.arrays_table(made)
    for table, names in (
        (files, ("bare engine", "overhead")),
        (arrays, ("bare engine: images/s", "scores over bare", "scores(): verdict")),
    ):
        (line,) = table.lines
        assert [line[table.header.index(name)] for name in names] == ["–"] * len(names)


def test_every_engine_names_the_module_to_import() -> None:
    for engine in ENGINES:
        assert engine.imports.split(".")[0] == engine.package
        if engine.installed():
            importlib.import_module(engine.imports)


@pytest.mark.parametrize(("repetitions", "text"), [(1, "1 process of"), (3, "3 processes of")])
def test_note_counts_the_processes(timings, repetitions, text) -> None:
    settings = dataclasses.replace(timings.settings, repetitions=repetitions)
    made = dataclasses.replace(timings, settings=settings)
    assert f"Each case ran in {text} its own" in latency_tables.latency_table(made).note


def result_of(*runs: list[int]) -> LatencyResult:
    """Return a result with the given durations in ns, a list for each repetition."""
    series = tuple(
        TimingSeries(messages.SINGLE, 1, len(run), sum(run), max(run), tuple(run)) for run in runs
    )
    return LatencyResult(ENGINE_CASES[0], "1", "int8", "", messages.SINGLE, series)


LIMITS = Settings(repetitions=2, min_seconds=1e-4, min_count=100, max_drift=1.2)
STEADY = [1000, 1010, 990, 1005] * 20  # durations in ns without drift


def test_steady_timings_are_valid() -> None:
    assert result_of(STEADY, STEADY).problems(LIMITS) == ()


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (([1000] * 60, [1300] * 60), "noisy"),
        (([1000] * 40 + [1300] * 40, [1000] * 40 + [1300] * 40), "noisy"),
        (([9000] * 24, [9000] * 24), "too few"),
        (([10] * 80, [10] * 80), "too short"),
    ],
)
def test_noisy_or_short_timings_are_invalid_with_a_reason(runs, reason: str) -> None:
    (problem,) = result_of(*runs).problems(LIMITS)
    assert reason in problem


def test_percentile_of_too_few_samples_is_none() -> None:
    few = result_of([1000] * 9)
    assert few.percentile_ns(50) == 1000
    assert few.percentile_ns(90) is None
    assert few.percentile_ns(99) is None
    assert result_of(list(range(1, 101))).percentile_ns(99) == 99


def test_subsample_keeps_order_and_distribution() -> None:
    kept = scenarios.subsample(list(range(10_000)), 500)
    assert len(kept) == 500
    assert list(kept) == sorted(kept)
    assert all(n * 20 <= sample < n * 20 + 20 for n, sample in enumerate(kept))


def test_subsample_keeps_all_of_few_samples() -> None:
    samples = list(range(10_000))
    assert scenarios.subsample(samples, 20_000) == tuple(samples)


@pytest.mark.parametrize("text", ["0", "1,x", "", "2,-1"])
def test_invalid_threads_are_rejected(text: str) -> None:
    with pytest.raises(EdgeError, match="--threads"):
        latency.parse_threads(text)


def test_throughput_counts_the_images_of_a_batch() -> None:
    run = TimingSeries(messages.OFFLINE, 64, 10, 1_000_000, 110_000, (100_000,) * 10)
    offline = dataclasses.replace(result_of([1]), scenario=messages.OFFLINE, runs=(run, run))
    assert offline.images_per_second == pytest.approx(640_000)


def test_c_program_starts_in_little_memory(monkeypatch, capsys):
    if shutil.which("cc") is None:
        pytest.skip("the C compiler cc is missing: apt install gcc")
    monkeypatch.setattr(c_program, "_STARTS", 2)
    assert c_program.main() == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1].partition(".")[0] for row in rows] == [
        "–",
        "raw-28x28",
        "frame-280x280",
        "raw-28x28",
    ]
    assert all(float(row[-1].rstrip(" |")) <= 1.5 for row in rows if "static" in row[0])
