"""Runs the parity benchmark: each artifact against the Keras reference on the test set.

`digit-edge benchmark` and `digit-edge benchmark-parity` call `compare`. The reference is the Keras
model that the artifacts were exported from, such as digits.keras. This module also defines the
options that the two commands share.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import cases, subprocesses
from benchmarks.harness.cases import ABSENT, FAILED, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import ExplainRequest, Explanation, PredictRequest, PredictResponse
from benchmarks.harness.test_set import TestSet
from benchmarks.parity import metrics
from benchmarks.schema.parity import AccuracyResult, ParityResult
from benchmarks.schema.parity_report import (
    SCHEMA_VERSION,
    ParityReport,
    SeriesAccuracy,
    TestImage,
)
from benchmarks.schema.remote import DevicePredictions
from runtime.backends import Scores
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.tolerance import Tolerance
from runtime.preprocess.form import MNIST_FORM
from train.data.writers import accuracy_by_series
from train.options import add_data_argument

# A report contains the pixels of at most this many images that an artifact and the reference
# predict differently. If there are more, those with the smallest margin are left out: the highest
# score of the reference minus its second highest.
MAX_FLIPPED_IMAGES = 64

# Images that --explain traces layer by layer; further test images are not traced. With this number,
# the reported differences have two significant digits. More images would take long, because tracing
# uses the engine's unoptimized kernels.
_EXPLAINED_IMAGES = 500
# The artifacts that --explain traces, as (engine, float artifact, int8 artifact).
_EXPLAINED_ARTIFACTS = (
    ("litert", "digits.tflite", "digits-int8.tflite"),
    ("onnxruntime", "digits.onnx", "digits-int8.onnx"),
)


def compare(
    models: Path,
    test_set: TestSet,
    *,
    backends: tuple[str, ...] = (),
    device: str = "cpu",
    tolerance: Tolerance | None = None,
    fail_fast: bool = False,
    explain: bool = False,
    external_pythons: tuple[ExternalPython, ...] = (),
    elsewhere: DevicePredictions | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> ParityReport:
    """Run the reference and the artifacts on the same images, each case in a subprocess.

    Args:
        models: the folder of the artifacts. Those that were exported from its Keras model, the
            reference, are compared with it; of the others, only the accuracy is measured.
        test_set: the images and labels.
        backends: the names of the engines to compare; all engines if empty.
        device: "cpu" or "gpu".
        tolerance: the allowed differences; None for those that `digit-edge export` allows.
        fail_fast: stop after the first case that fails; the cases after it are not in the report.
        explain: also compare the int8 artifacts with the float artifacts layer by layer.
        external_pythons: Pythons for engines that are not installed in this one.
        elsewhere: predictions of the same artifacts for the same images on a remote device; None if
            no device was used.
        progress: called with a text for each step.

    Returns:
        The report. `skipped` contains the cases without usable scores; `results` contains all
        others, also those beyond the tolerance.

    Raises:
        ArtifactError: the folder has no models, or the reference is damaged or cannot be run.
        DatasetError: the classes of the images are not those of the reference.
        BackendUnavailable: `backends` contains an unknown name.
    """
    cases.check_folder(models)
    planned = cases.enumerate_cases(models, backends, device)
    name = cases.find_reference(models)
    reference = None if name is None else artifact.read(models / name)
    if reference is not None:
        test_set.check_classes(reference.spec.labels, reference.path)
    # Keras models that no artifact was exported from have no artifact to be compared with.
    planned += [
        BenchmarkCase(other, "keras", "cpu", 1)
        for other in cases.keras_models(models)
        if other != name
    ]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as temporary:
        folder = Path(temporary)
        np.save(folder / "pixels.npy", test_set.pixels)
        comparison, keras_response = None, PredictResponse("", 0.0)
        if reference is not None:
            case = BenchmarkCase(reference.path.name, "keras", "cpu", 1)
            progress(f"{case}: the reference")
            predicted = _scores(folder, reference.path, case, ())
            if isinstance(predicted, SkippedCase):
                raise ArtifactError(f"the reference cannot be run: {predicted.reason}")
            reference_scores, keras_response = predicted
            limits = tolerance or Tolerance()
            comparison = _Comparison(reference, reference_scores, test_set, limits)
        results: list[ParityResult] = []
        alone: list[AccuracyResult] = []
        skipped: list[SkippedCase] = []
        series: list[SeriesAccuracy] = []
        if comparison is not None:
            keras_case = BenchmarkCase(comparison.reference.path.name, "keras", "cpu", 1)
            series += _by_series(keras_case, comparison.reference_scores, test_set)
        for case in planned:
            progress(str(case))
            compared = _measure_case(
                folder, models / case.artifact, case, test_set, comparison, external_pythons
            )
            if isinstance(compared, SkippedCase):
                skipped.append(compared)
                failed = compared.status == FAILED
            else:
                result, scores = compared
                if isinstance(result, ParityResult):
                    results.append(result)
                else:
                    alone.append(result)
                series += _by_series(case, scores, test_set)
                failed = not result
            if failed and fail_fast:
                break
        explanations: list[Explanation] = []
        for engine, plain, int8 in _EXPLAINED_ARTIFACTS if explain else ():
            exported = [result.case.artifact for result in results]
            if comparison is None or not {plain, int8} <= set(exported):
                continue
            if backends and engine not in backends:
                continue
            progress(f"tracing the layers of {int8}")
            case = BenchmarkCase(int8, f"{engine}, traced", "cpu", 1)
            explanation = _explain(
                folder, case, models / plain, models / int8, comparison.reference_scores, test_set
            )
            if isinstance(explanation, SkippedCase):
                skipped.append(explanation)
            else:
                explanations.append(explanation)
    device_results: list[ParityResult] = []
    device_skipped = list(elsewhere.skipped) if elsewhere else []
    for case, response, scores in elsewhere.answered if elsewhere else ():
        if comparison is None:
            reason = "there is no Keras reference to compare with"
            device_skipped.append(SkippedCase(case, ABSENT, reason))
            continue
        candidate = artifact.read(models / case.artifact)
        answered = comparison.compare(candidate, case, scores, response)
        if isinstance(answered, SkippedCase):
            device_skipped.append(answered)
        else:
            device_results.append(answered)
    training_set = test_set.sha256 if reference is None else reference.spec.dataset.sha256
    return ParityReport(
        schema_version=SCHEMA_VERSION,
        dataset=test_set.name,
        dataset_sha256=test_set.sha256,
        n=len(test_set.labels),
        class_names=test_set.class_names,
        reference=BenchmarkCase(reference.path.name, "keras", "cpu", 1) if reference else None,
        reference_version=keras_response.version,
        reference_digest=reference.spec.digest if reference else "",
        reference_bytes=len(reference.data) if reference else 0,
        trained_on=reference.spec.dataset.name
        if reference and training_set not in (test_set.sha256, "")  # empty: unknown
        else "",
        macs=keras_response.macs,
        parameters=keras_response.parameters,
        reference_metrics=None
        if comparison is None
        else metrics.compute_metrics(comparison.reference_scores, test_set.labels),
        results=tuple(results),
        skipped=tuple(skipped),
        pictures=_flipped_images(results, test_set),
        explanations=tuple(explanations),
        activations=keras_response.activations,
        alone=tuple(alone),
        device_results=tuple(device_results),
        device_skipped=tuple(device_skipped),
        series=tuple(series),
    )


def _measure_case(
    folder: Path,
    path: Path,
    case: BenchmarkCase,
    test_set: TestSet,
    comparison: "_Comparison | None",
    external_pythons: tuple[ExternalPython, ...],
) -> tuple[ParityResult | AccuracyResult, Scores] | SkippedCase:
    """Run an artifact on the images in `folder`, and compare it with the reference if it has one.

    Args:
        folder: the folder that contains pixels.npy.
        path: the artifact.
        case: the artifact's engine, device and threads.
        test_set: the images in pixels.npy and their correct classes.
        comparison: compares the scores with those of the reference; None if there is none.
        external_pythons: Pythons for engines that are not installed in this one.

    Returns:
        (result, scores of the artifact); a SkippedCase with the reason if the case failed.
    """
    try:
        candidate = artifact.read(path)
    except ArtifactError as error:
        return SkippedCase(case, FAILED, str(error))
    has_reference = comparison is not None and candidate.spec.source_sha256 != ""
    labels = candidate.spec.labels
    if not has_reference and sorted(labels) != sorted(test_set.class_names):
        return SkippedCase(
            case,
            FAILED,
            f"the model predicts {', '.join(labels)}, but {test_set.name} has the classes "
            f"{', '.join(test_set.class_names)}: pass images of its classes with --data",
        )
    predicted = _scores(folder, path, case, external_pythons)
    if isinstance(predicted, SkippedCase):
        return predicted
    scores, response = predicted
    if comparison is not None and has_reference:
        compared = comparison.compare(candidate, case, scores, response)
        return compared if isinstance(compared, SkippedCase) else (compared, scores)
    in_order = scores[:, [labels.index(name) for name in test_set.class_names]]
    result = AccuracyResult(
        case=case,
        version=response.version,
        precision=candidate.spec.precision,
        digest=candidate.spec.digest,
        size_bytes=len(candidate.data),
        candidate=metrics.compute_metrics(in_order, test_set.labels),
        batch_difference=response.batch_difference,
    )
    return result, in_order


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Compares candidates with the reference within a tolerance.

    Attributes:
        reference: the artifact of the reference.
        reference_scores: the scores of the reference for `test_set`, (N, classes) float32.
        test_set: the images and their correct classes.
        tolerance: the allowed differences.
    """

    reference: Artifact
    reference_scores: Scores
    test_set: TestSet
    tolerance: Tolerance

    def compare(
        self, candidate: Artifact, case: BenchmarkCase, scores: Scores, response: PredictResponse
    ) -> ParityResult | SkippedCase:
        """Compare a candidate's scores (N, classes); a SkippedCase if their shape is wrong."""
        reference, labels = self.reference_scores, self.test_set.labels
        if scores.shape != reference.shape:
            return SkippedCase(
                case,
                FAILED,
                f"the scores have the shape {scores.shape}, not {reference.shape}: "
                "export the artifact again",
            )
        difference = metrics.score_difference(reference, scores)
        before, after = _correct(reference, self.test_set), _correct(scores, self.test_set)
        return ParityResult(
            case=case,
            version=response.version,
            precision=candidate.spec.precision,
            digest=candidate.spec.digest,
            size_bytes=len(candidate.data),
            reference=metrics.compute_metrics(reference, labels),
            candidate=metrics.compute_metrics(scores, labels),
            only_reference_correct=int((before & ~after).sum()),
            only_candidate_correct=int((after & ~before).sum()),
            max_difference=difference.largest,
            p99_difference=difference.p99,
            mean_difference=difference.mean,
            min_cosine=difference.min_cosine,
            batch_difference=response.batch_difference,
            flips=metrics.find_flips(reference, scores, labels),
            tolerance=self.tolerance,
            incompatibilities=_incompatibilities(candidate, self.reference),
        )


def _scores(
    folder: Path, path: Path, case: BenchmarkCase, external_pythons: tuple[ExternalPython, ...]
) -> tuple[Scores, PredictResponse] | SkippedCase:
    """Run a model on the images in pixels.npy of `folder`; return its scores (N, classes)."""
    file = folder / "scores.npy"
    file.unlink(missing_ok=True)
    job = PredictRequest(case, str(path.resolve()), str(folder / "pixels.npy"), str(file))
    response = subprocesses.request_predictions(job, external_pythons)
    if isinstance(response, SkippedCase):
        return response
    return np.load(file), response


def _explain(
    folder: Path, case: BenchmarkCase, plain: Path, int8: Path, reference: Scores, test_set: TestSet
) -> Explanation | SkippedCase:
    """Trace the first test images in a float and an int8 artifact, in a subprocess.

    Args:
        folder: a folder for temporary files.
        case: the int8 artifact and its engine.
        plain: path of the float artifact.
        int8: path of the int8 artifact.
        reference: scores of the reference for the test set, (N, classes).
        test_set: the images.
    """
    first = slice(_EXPLAINED_IMAGES)
    np.save(folder / "few.npy", test_set.pixels[first])
    np.save(folder / "reference.npy", reference[first])
    job = ExplainRequest(
        case=case,
        plain=str(plain.resolve()),
        int8=str(int8.resolve()),
        pixels=str(folder / "few.npy"),
        scores=str(folder / "reference.npy"),
    )
    return subprocesses.request_explanation(job)


def _by_series(case: BenchmarkCase, scores: Scores, test_set: TestSet) -> list[SeriesAccuracy]:
    """Return the accuracy of a case on each series of writers; empty if they are unknown."""
    if test_set.writers is None:
        return []
    rows = accuracy_by_series(_correct(scores, test_set), test_set.writers)
    return [
        SeriesAccuracy(case, row.series, row.writers, row.n, row.correct, row.low, row.high)
        for row in rows
    ]


def _correct(scores: Scores, test_set: TestSet) -> npt.NDArray[np.bool_]:
    """Return for each image whether it is predicted correctly, (N,) bool.

    An image with a NaN or infinite score counts as predicted incorrectly.
    """
    finite = np.isfinite(scores)
    predicted = np.where(finite, scores, 0).argmax(axis=1)
    correct: npt.NDArray[np.bool_] = finite.all(axis=1) & (predicted == test_set.labels)
    return correct


def _incompatibilities(candidate: Artifact, reference: Artifact) -> tuple[str, ...]:
    """Return the reasons why a candidate cannot be compared with the reference; empty if it can."""
    reasons = []
    if candidate.spec.labels != reference.spec.labels:
        reasons.append(
            f"the labels of the artifact are {', '.join(candidate.spec.labels)}, but those of the "
            f"reference are {', '.join(reference.spec.labels)}: export the artifact again"
        )
    if candidate.spec.source_sha256 != reference.spec.digest:
        reasons.append(
            f"the artifact was not exported from {reference.path}: export the artifact again"
        )
    return tuple(reasons)


def _flipped_images(results: list[ParityResult], test_set: TestSet) -> tuple[TestImage, ...]:
    """Return the images that a case in `results` predicts differently, the largest margin first.

    There are at most MAX_FLIPPED_IMAGES.
    """
    margins = {flip.index: flip.margin for result in results for flip in result.flips}
    indices = sorted(margins, key=lambda index: -margins[index])[:MAX_FLIPPED_IMAGES]
    return tuple(
        TestImage(
            index,
            tuple(int(v) for v in test_set.pixels[index].ravel()),
            () if test_set.form == MNIST_FORM else test_set.form.shape,
        )
        for index in indices
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the parity benchmark, which `digit-edge benchmark` has too."""
    default = Tolerance()
    add_data_argument(parser, "the data set that the model was trained on, or other test images")
    parser.add_argument(
        "--max-difference",
        type=float,
        default=default.max_difference,
        metavar="X",
        help="allowed difference of a float artifact's scores (default: %(default)s)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=100 * default.max_drop,
        metavar="X",
        help="allowed loss of an int8 artifact's accuracy, in percentage points "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=100 * default.min_agreement,
        metavar="X",
        help="required share of an int8 artifact's predictions that equal those of the reference, "
        "in %% (default: %(default)s)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="trace which steps and layers cause the differences of the int8 artifacts",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing case")


def tolerance_of(arguments: argparse.Namespace) -> Tolerance:
    """Return the tolerance that the options of `add_arguments` select.

    --max-drop and --min-agreement are in percent; a `Tolerance` has shares from 0 to 1.
    --max-difference is a difference of scores in both.
    """
    return Tolerance(
        arguments.max_difference, arguments.max_drop / 100, arguments.min_agreement / 100
    )
