"""Parity of real artifacts in real engines: sound ones pass, each planted fault is caught."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import cases, keras_reference, subprocesses
from benchmarks.harness.cases import ABSENT, FAILED, BenchmarkCase, SkippedCase
from benchmarks.harness.messages import PredictRequest
from benchmarks.parity import run as parity
from benchmarks.report import parity_tables
from benchmarks.schema.parity import ParityResult
from runtime import pretrained
from runtime.errors import ArtifactError, BackendUnavailable, DatasetError
from runtime.model import artifact
from runtime.model.tolerance import Tolerance

SOUND = [
    ("digits.tflite", "litert"),
    ("digits-int8.tflite", "litert"),
    ("digits.onnx", "onnxruntime"),
    ("digits-int8.onnx", "onnxruntime"),
]


@pytest.mark.parametrize(("name", "backend"), SOUND)
def test_sound_artifacts_pass(report, row_of, name: str, backend: str) -> None:
    result = row_of(report, name, backend)
    assert isinstance(result, ParityResult)
    assert result, result.failures
    assert result.n == report.n > 300
    assert result.candidate.accuracy > 0.8
    assert (result.precision == "int8") == ("int8" in name)
    assert result.max_difference > 0
    assert result.min_cosine > 0.9


def test_the_published_artifacts_answer_as_the_original_beside_them(test_set) -> None:
    published = Path(pretrained.__file__).parent
    # These are digits of other writers and few: an answer in a hundred may turn.
    tolerance = Tolerance(min_agreement=0.99, max_drop=0.01)
    engines = ("litert", "onnxruntime")
    report = parity.compare(published, test_set, backends=engines, tolerance=tolerance)
    assert [row.case.artifact for row in report.results] == [name for name, _ in SOUND]
    assert report, [row.failures for row in report.results]


def test_the_run_passes_when_no_row_failed(report) -> None:
    sound = tuple(r for r in report.results if (r.case.artifact, r.case.backend) in SOUND)
    assert dataclasses.replace(report, results=sound, skipped=())


def test_the_original_is_in_the_report(report, models) -> None:
    assert report.reference_metrics.n == report.n
    assert report.reference_bytes == (models / "digits.keras").stat().st_size


@pytest.fixture
def ask(models, test_set, tmp_path):
    """Asks a row's process for the scores of three images."""
    np.save(tmp_path / "pixels.npy", test_set.pixels[:3])

    def ask_row(row: BenchmarkCase):
        files = str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")
        return subprocesses.request_predictions(
            PredictRequest(row, str(models / row.artifact), *files)
        )

    return ask_row


def test_other_data_than_the_original_was_trained_on_are_named(report) -> None:
    assert report.trained_on == ""
    other = dataclasses.replace(report, trained_on="letters")
    assert "trained on letters" in parity_tables.parity_table(other).note


def test_the_work_of_the_network_is_counted(report) -> None:
    # 22x22 → 20x20x32, 10x10 → 8x8x64, 4x4 → 2x2x64, 64 → 128 → 10.
    convolutions = 400 * 9 * 32 + 64 * 9 * 32 * 64 + 4 * 9 * 64 * 64
    assert report.macs == convolutions + 64 * 128 + 128 * 10
    assert report.parameters == 65_354
    pooled = 100 * 32 + 16 * 64 + 64
    assert report.activations == 400 * 32 + 64 * 64 + 4 * 64 + pooled + 128 + 10


def failed(row: ParityResult | SkippedCase) -> str:
    """Why a row failed."""
    if isinstance(row, SkippedCase):
        assert row.status == FAILED
        return row.reason
    assert not row
    return "; ".join(row.failures)


def test_one_nan_in_a_weight_is_caught(report, row_of) -> None:
    assert "NaN" in failed(row_of(report, "nan.onnx"))


def test_swapped_answers_are_caught(report, row_of) -> None:
    row = row_of(report, "swapped-answers.onnx")
    assert "scores differ" in failed(row)
    assert row.agreement < 0.1
    assert row.candidate.accuracy < 0.1
    assert row.p_value < 1e-9
    assert len(row.flips) > 0.9 * row.n
    assert row.confident_flips


def test_swapped_names_are_caught_though_the_scores_are_right(report, row_of) -> None:
    row = row_of(report, "swapped-names.tflite", "litert")
    assert "labels" in failed(row)
    assert row.agreement == 1


def test_a_wrong_scale_is_caught(report, row_of) -> None:
    assert "scores differ" in failed(row_of(report, "wrong-scale.onnx"))


def test_an_artifact_of_another_model_is_caught(report, row_of) -> None:
    assert "another model" in failed(row_of(report, "stranger.tflite", "litert"))


def test_a_frozen_batch_is_caught_and_named(report, row_of) -> None:
    assert "a batch, after single images" in failed(row_of(report, "frozen-batch.onnx"))


def test_a_truncated_artifact_is_caught(report, row_of) -> None:
    assert "cut short" in failed(row_of(report, "truncated.onnx"))


def test_a_row_that_crashes_its_process_is_caught_and_the_others_go_on(report, row_of) -> None:
    why = failed(row_of(report, "digits.tflite", "tflite-runtime"))
    assert "SIGABRT" in why
    assert "opening the model" in why
    assert row_of(report, "digits.tflite", "litert")


def test_every_fault_fails_the_run(report) -> None:
    assert not report
    said = "\n".join(report.failures)
    for name in ("nan", "swapped-answers", "swapped-names", "wrong-scale", "frozen", "stranger"):
        assert name in said


def test_the_flips_have_pictures(report, test_set) -> None:
    picture = report.pictures[0]
    assert len(report.pictures) == parity.MAX_FLIPPED_IMAGES
    expected = test_set.pixels[picture.index].ravel()
    np.testing.assert_array_equal(picture.pixels, expected)


def test_an_absent_engine_is_a_row_that_says_how_to_get_it(ask) -> None:
    # tflite-runtime wants NumPy 1, so the environment of the tests cannot hold it.
    answer = ask(BenchmarkCase("digits.tflite", "tflite-runtime", "cpu", 1))
    assert isinstance(answer, SkippedCase)
    assert answer.status == ABSENT
    assert "pip install" in answer.reason


def test_a_missing_gpu_is_a_row_that_says_so(ask) -> None:
    answer = ask(BenchmarkCase("digits.tflite", "litert", "gpu", 1))
    assert isinstance(answer, SkippedCase)
    assert answer.status == ABSENT
    assert "GPU" in answer.reason


def test_an_absent_engine_is_no_failure_but_comparing_nothing_is(report, row_of) -> None:
    absent = SkippedCase(
        BenchmarkCase("digits.tflite", "tflite-runtime", "cpu", 1), ABSENT, "not installed"
    )
    sound = row_of(report, "digits.onnx")
    assert dataclasses.replace(report, results=(sound,), skipped=(absent,))
    assert not dataclasses.replace(report, results=(), skipped=(absent,))


def test_a_tf_function_answers_as_predict_does(models, test_set, report) -> None:
    opened = artifact.read(models / "digits.keras")
    predicted, traced = (
        keras_reference.open_artifact(opened, call).scores(test_set.pixels)
        for call in cases.KERAS_CALLS["cpu"]
    )
    np.testing.assert_allclose(traced, predicted, atol=1e-6)
    right = predicted.argmax(axis=1) == test_set.labels
    assert right.sum() == report.reference_metrics.correct


def test_bad_input_is_refused_before_anything_runs(models, test_set, tmp_path) -> None:
    with pytest.raises(ArtifactError, match="digits.keras"):
        parity.compare(tmp_path, test_set)
    with pytest.raises(BackendUnavailable, match="no backend 'tensorrt'"):
        parity.compare(models, test_set, backends=("tensorrt",))
    letters = dataclasses.replace(test_set, class_names=tuple("abcdefghij"))
    with pytest.raises(DatasetError, match="classes a, b"):
        parity.compare(models, letters)
