"""Tests the parity of real artifacts in real engines: sound ones pass, each fault is detected."""

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
from train.data.writers import Writers

# The artifacts without a fault, with the engine that opens each.
SOUND = [
    ("digits.tflite", "litert"),
    ("digits-int8.tflite", "litert"),
    ("digits.onnx", "onnxruntime"),
    ("digits-int8.onnx", "onnxruntime"),
]


@pytest.mark.parametrize(("name", "backend"), SOUND)
def test_sound_artifacts_pass(report, find_case, name: str, backend: str) -> None:
    result = find_case(report, name, backend)
    assert isinstance(result, ParityResult)
    assert result, result.failures
    assert result.n == report.n > 300
    assert result.candidate.accuracy > 0.8
    assert (result.precision == "int8") == ("int8" in name)
    assert result.max_difference > 0
    assert result.min_cosine > 0.9


def test_published_artifacts_agree_with_the_published_reference(test_set) -> None:
    published = Path(pretrained.__file__).parent
    # The digits are few and of other writers than MNIST's, so 1 % may be predicted differently.
    tolerance = Tolerance(min_agreement=0.99, max_drop=0.01)
    engines = ("litert", "onnxruntime")
    report = parity.compare(published, test_set, backends=engines, tolerance=tolerance)
    assert [result.case.artifact for result in report.results] == [name for name, _ in SOUND]
    assert report, [result.failures for result in report.results]


def test_run_passes_if_no_case_failed(report) -> None:
    sound = tuple(r for r in report.results if (r.case.artifact, r.case.backend) in SOUND)
    assert dataclasses.replace(report, results=sound, skipped=())


def test_report_describes_the_reference(report, models) -> None:
    assert report.reference_metrics.n == report.n
    assert report.reference_bytes == (models / "digits.keras").stat().st_size


@pytest.fixture
def predict(models, test_set, tmp_path):
    """Return a function that predicts three images in the subprocess of a case."""
    np.save(tmp_path / "pixels.npy", test_set.pixels[:3])

    def predict_case(case: BenchmarkCase):
        files = str(tmp_path / "pixels.npy"), str(tmp_path / "scores.npy")
        return subprocesses.request_predictions(
            PredictRequest(case, str(models / case.artifact), *files)
        )

    return predict_case


def test_table_names_the_training_data_if_they_differ_from_the_test_data(report) -> None:
    assert report.trained_on == ""
    other = dataclasses.replace(report, trained_on="letters")
    assert "trained on letters" in parity_tables.parity_table(other).note


def test_macs_parameters_and_activations_are_those_of_the_network(report) -> None:
    # 22x22 → 20x20x32, 10x10 → 8x8x64, 4x4 → 2x2x64, 64 → 128 → 10.
    convolutions = 400 * 9 * 32 + 64 * 9 * 32 * 64 + 4 * 9 * 64 * 64
    assert report.macs == convolutions + 64 * 128 + 128 * 10
    assert report.parameters == 65_354
    pooled = 100 * 32 + 16 * 64 + 64
    assert report.activations == 400 * 32 + 64 * 64 + 4 * 64 + pooled + 128 + 10


def failure_of(result: ParityResult | SkippedCase) -> str:
    """Return the reason why a case failed, after checking that it did."""
    if isinstance(result, SkippedCase):
        assert result.status == FAILED
        return result.reason
    assert not result
    return "; ".join(result.failures)


def test_nan_in_a_weight_is_detected(report, find_case) -> None:
    assert "NaN" in failure_of(find_case(report, "nan.onnx", "onnxruntime"))


def test_swapped_classes_are_detected(report, find_case) -> None:
    result = find_case(report, "swapped-classes.onnx", "onnxruntime")
    assert "scores differ" in failure_of(result)
    assert result.agreement < 0.1
    assert result.candidate.accuracy < 0.1
    assert result.p_value < 1e-9
    assert len(result.flips) > 0.9 * result.n
    assert result.confident_flips


def test_swapped_labels_are_detected_although_the_scores_are_equal(report, find_case) -> None:
    result = find_case(report, "swapped-names.tflite", "litert")
    assert "labels" in failure_of(result)
    assert result.agreement == 1


def test_wrong_input_scale_is_detected(report, find_case) -> None:
    assert "scores differ" in failure_of(find_case(report, "wrong-scale.onnx", "onnxruntime"))


def test_artifact_of_another_model_is_detected(report, find_case) -> None:
    assert "was not exported from" in failure_of(find_case(report, "other-source.tflite", "litert"))


def test_frozen_batch_size_is_detected_and_named(report, find_case) -> None:
    assert "a batch, after single images" in failure_of(
        find_case(report, "frozen-batch.onnx", "onnxruntime")
    )


def test_truncated_artifact_is_detected(report, find_case) -> None:
    assert "has no model spec" in failure_of(find_case(report, "truncated.onnx", "onnxruntime"))


def test_crash_of_one_engine_does_not_affect_other_cases(report, find_case) -> None:
    reason = failure_of(find_case(report, "digits.tflite", "tflite-runtime"))
    assert "SIGABRT" in reason
    assert "opening the model" in reason
    assert find_case(report, "digits.tflite", "litert")


def test_every_fault_fails_the_run(report) -> None:
    assert not report
    failures = "\n".join(report.failures)
    faults = ("nan", "swapped-classes", "swapped-names", "wrong-scale", "frozen", "other-source")
    for name in faults:
        assert name in failures


def test_report_contains_the_pixels_of_flipped_images(report, test_set) -> None:
    picture = report.pictures[0]
    assert len(report.pictures) == parity.MAX_FLIPPED_IMAGES
    expected = test_set.pixels[picture.index].ravel()
    np.testing.assert_array_equal(picture.pixels, expected)


def test_missing_engine_is_absent_with_an_install_hint(predict) -> None:
    # tflite-runtime needs NumPy 1, so it cannot be installed in the environment of the tests.
    response = predict(BenchmarkCase("digits.tflite", "tflite-runtime", "cpu", 1))
    assert isinstance(response, SkippedCase)
    assert response.status == ABSENT
    assert "pip install" in response.reason


def test_missing_gpu_is_absent(predict) -> None:
    response = predict(BenchmarkCase("digits.tflite", "litert", "gpu", 1))
    assert isinstance(response, SkippedCase)
    assert response.status == ABSENT
    assert "GPU" in response.reason


def test_missing_engine_does_not_fail_the_run(report, find_case, absent_case) -> None:
    sound = find_case(report, "digits.onnx", "onnxruntime")
    assert dataclasses.replace(report, results=(sound,), skipped=(absent_case,))


def test_run_without_any_comparison_fails(report, absent_case) -> None:
    assert not dataclasses.replace(report, results=(), skipped=(absent_case,))


@pytest.fixture
def absent_case() -> SkippedCase:
    case = BenchmarkCase("digits.tflite", "tflite-runtime", "cpu", 1)
    return SkippedCase(case, ABSENT, "not installed")


def test_tf_function_gives_the_same_scores_as_predict(models, test_set, report) -> None:
    opened = artifact.read(models / "digits.keras")
    predicted, traced = (
        keras_reference.open_artifact(opened, call).scores(test_set.pixels)
        for call in cases.KERAS_CALLS["cpu"]
    )
    np.testing.assert_allclose(traced, predicted, atol=1e-6)
    correct = predicted.argmax(axis=1) == test_set.labels
    assert correct.sum() == report.reference_metrics.correct


def test_missing_reference_is_an_error(test_set, tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"digits\.keras"):
        parity.compare(tmp_path, test_set)


def test_unknown_backend_is_an_error(models, test_set) -> None:
    with pytest.raises(BackendUnavailable, match="no backend 'tensorrt'"):
        parity.compare(models, test_set, backends=("tensorrt",))


def test_test_set_of_other_classes_is_an_error(models, test_set) -> None:
    letters = dataclasses.replace(test_set, class_names=tuple("abcdefghij"))
    with pytest.raises(DatasetError, match="classes a, b"):
        parity.compare(models, letters)


def test_accuracy_is_reported_by_series_of_writers_if_they_are_known(models, test_set) -> None:
    n = len(test_set.labels)
    known = Writers(np.arange(n) // 10, np.where(np.arange(n) < n // 2, 0, 4))
    with_writers = dataclasses.replace(test_set, writers=known)
    report = parity.compare(models, with_writers, backends=("litert",))
    rows = {(row.case.artifact, row.series): row for row in report.series}
    names = {name for name, _ in rows}
    assert names >= {"digits.keras", "digits-int8.tflite"}
    for name in names:
        parts = rows[name, "hsf_0"], rows[name, "hsf_4"]
        assert sum(part.n for part in parts) == rows[name, "all"].n == n
        assert sum(part.correct for part in parts) == rows[name, "all"].correct
    table = parity_tables.series_table(report)
    assert len(table.lines) == len(rows)
    assert "hsf_4" in table.lines[1]


def test_unknown_writers_leave_the_table_of_series_out(report) -> None:
    assert report.series == ()
    assert parity_tables.series_table(report).lines == ()
