"""Runs each artifact on the test set and compares it with the Keras reference."""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import cases, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, ExternalPython, SkippedCase
from benchmarks.harness.messages import ExplainRequest, Explanation, PredictRequest, PredictResponse
from benchmarks.harness.test_set import TestSet
from benchmarks.parity import metrics
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.parity_report import SCHEMA_VERSION, ParityReport, TestImage
from benchmarks.schema.remote import DevicePredictions
from runtime.backends import Scores
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.tolerance import Tolerance

MAX_FLIPPED_IMAGES = 64
# Images that are traced layer by layer: enough for two figures, and reference kernels are slow.
_EXPLAINED = 500
_TRACED = (("litert", *cases.EXPECTED[:2]), ("onnxruntime", *cases.EXPECTED[2:]))


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
    """Ask the reference and each artifact of `models` the same images, each in its own process.

    Args:
        models: the folder with digits.keras and its exported artifacts.
        backends: engines' names; all of them by default.
        tolerance: the default one judges as issued artifacts are.
        fail_fast: stop at the first failing row.
        explain: trace the int8 artifacts layer by layer too.
        external_pythons: other Pythons, for engines that are not installed in this one.
        elsewhere: what the same artifacts answered to the same images on a device.
        progress: called with one line for each step.

    Raises:
        ArtifactError: the reference is missing or damaged, or its process failed.
        DatasetError: the images are not of the reference's classes.
        BackendUnavailable: Keras, or an engine named in `backends`, is not there.
    """
    planned = cases.enumerate_cases(models, backends, device)
    reference = artifact.read(models / cases.REFERENCE)
    test_set.check_classes(reference.spec.labels, reference.path)
    learned = reference.spec.dataset
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        np.save(folder / "pixels.npy", test_set.pixels)
        case = BenchmarkCase(cases.REFERENCE, "keras", "cpu", 1)
        progress(f"{case}: the reference")
        answered = _scores(folder, reference.path, case, ())
        if isinstance(answered, SkippedCase):
            raise ArtifactError(f"the reference cannot be run: {answered.reason}")
        reference_scores, asked = answered
        judge = _Comparison(reference, reference_scores, test_set, tolerance or Tolerance())
        results: list[ParityResult] = []
        skipped: list[SkippedCase] = []
        for case in planned:
            progress(str(case))
            result = _compare_case(folder, models / case.artifact, case, judge, external_pythons)
            if isinstance(result, SkippedCase):
                skipped.append(result)
                failed = result.status == FAILED
            else:
                results.append(result)
                failed = not result
            if failed and fail_fast:
                break
        explanations: list[Explanation] = []
        for engine, plain, int8 in _TRACED if explain else ():
            known = (models / plain).exists() and (models / int8).exists()
            if not known or (backends and engine not in backends):
                continue
            progress(f"where the differences of {int8} come from")
            case = BenchmarkCase(int8, f"{engine}, traced", "cpu", 1)
            traced = _explain(
                folder, case, models / plain, models / int8, reference_scores, test_set
            )
            if isinstance(traced, SkippedCase):
                skipped.append(traced)
            else:
                explanations.append(traced)
    device_results: list[ParityResult] = []
    device_skipped = list(elsewhere.skipped) if elsewhere else []
    for case, answer, scores in elsewhere.answered if elsewhere else ():
        compared = judge.compare(artifact.read(models / case.artifact), case, scores, answer)
        if isinstance(compared, SkippedCase):
            device_skipped.append(compared)
        else:
            device_results.append(compared)
    return ParityReport(
        schema_version=SCHEMA_VERSION,
        dataset=test_set.name,
        dataset_sha256=test_set.sha256,
        n=len(test_set.labels),
        class_names=test_set.class_names,
        reference=BenchmarkCase(cases.REFERENCE, "keras", "cpu", 1),
        reference_version=asked.version,
        reference_digest=reference.spec.digest,
        reference_bytes=len(reference.data),
        trained_on="" if learned.sha256 == test_set.sha256 else learned.name,
        macs=asked.macs,
        parameters=asked.parameters,
        reference_metrics=metrics.compute_metrics(reference_scores, test_set.labels),
        results=tuple(results),
        skipped=tuple(skipped),
        pictures=_flipped_images(results, test_set),
        explanations=tuple(explanations),
        activations=asked.activations,
        device_results=tuple(device_results),
        device_skipped=tuple(device_skipped),
    )


def _compare_case(
    folder: Path,
    path: Path,
    case: BenchmarkCase,
    judge: "_Comparison",
    external_pythons: tuple[ExternalPython, ...],
) -> ParityResult | SkippedCase:
    try:
        opened = artifact.read(path)
    except ArtifactError as error:
        return SkippedCase(case, FAILED, str(error))
    answered = _scores(folder, path, case, external_pythons)
    if isinstance(answered, SkippedCase):
        return answered
    scores, answer = answered
    return judge.compare(opened, case, scores, answer)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The reference, its scores, and the tolerance."""

    reference: Artifact
    reference_scores: Scores
    test_set: TestSet
    tolerance: Tolerance

    def compare(
        self, opened: Artifact, case: BenchmarkCase, scores: Scores, answer: PredictResponse
    ) -> ParityResult | SkippedCase:
        """Compare scores, (N, classes), wherever they were computed, with the reference's."""
        reference, labels = self.reference_scores, self.test_set.labels
        if scores.shape != reference.shape:
            return SkippedCase(
                case, FAILED, f"scores of shape {scores.shape}, not {reference.shape}"
            )
        apart = metrics.score_difference(reference, scores)
        before, after = _right(reference, self.test_set), _right(scores, self.test_set)
        return ParityResult(
            case=case,
            version=answer.version,
            precision=opened.spec.precision,
            digest=opened.spec.digest,
            size_bytes=len(opened.data),
            reference=metrics.compute_metrics(reference, labels),
            candidate=metrics.compute_metrics(scores, labels),
            only_reference_correct=int((before & ~after).sum()),
            only_candidate_correct=int((after & ~before).sum()),
            max_difference=apart.largest,
            p99_difference=apart.p99,
            mean_difference=apart.mean,
            min_cosine=apart.min_cosine,
            batch_difference=answer.batch_difference,
            flips=metrics.find_flips(reference, scores, labels),
            tolerance=self.tolerance,
            incompatibilities=_incompatibilities(opened, self.reference),
        )


def _scores(
    folder: Path, path: Path, case: BenchmarkCase, external_pythons: tuple[ExternalPython, ...]
) -> tuple[Scores, PredictResponse] | SkippedCase:
    file = folder / "scores.npy"
    file.unlink(missing_ok=True)
    job = PredictRequest(case, str(path.resolve()), str(folder / "pixels.npy"), str(file))
    answer = subprocesses.request_predictions(job, external_pythons)
    if isinstance(answer, SkippedCase):
        return answer
    return np.load(file), answer


def _explain(
    folder: Path, case: BenchmarkCase, plain: Path, int8: Path, reference: Scores, test_set: TestSet
) -> Explanation | SkippedCase:
    few = slice(_EXPLAINED)
    np.save(folder / "few.npy", test_set.pixels[few])
    np.save(folder / "reference.npy", reference[few])
    job = ExplainRequest(
        case=case,
        plain=str(plain.resolve()),
        int8=str(int8.resolve()),
        pixels=str(folder / "few.npy"),
        scores=str(folder / "reference.npy"),
    )
    return subprocesses.request_explanation(job)


def _right(scores: Scores, test_set: TestSet) -> np.ndarray:
    sound = np.isfinite(scores).all(axis=1)
    return sound & (np.where(np.isfinite(scores), scores, 0).argmax(axis=1) == test_set.labels)


def _incompatibilities(candidate: Artifact, reference: Artifact) -> tuple[str, ...]:
    found = []
    if candidate.spec.labels != reference.spec.labels:
        found.append(
            f"its labels are {', '.join(candidate.spec.labels)}, the reference's "
            f"{', '.join(reference.spec.labels)}"
        )
    if candidate.spec.source_sha256 != reference.spec.digest:
        found.append(f"it was exported from another model than {reference.path}: export it again")
    return tuple(found)


def _flipped_images(results: list[ParityResult], test_set: TestSet) -> tuple[TestImage, ...]:
    margins = {flip.index: flip.margin for result in results for flip in result.flips}
    surest = sorted(margins, key=lambda index: -margins[index])[:MAX_FLIPPED_IMAGES]
    return tuple(
        TestImage(index, tuple(int(v) for v in test_set.pixels[index].ravel())) for index in surest
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `python -m benchmarks` shares."""
    default = Tolerance()
    parser.add_argument("--data", help="data set: a folder or a file; see python -m train --help")
    parser.add_argument(
        "--max-difference",
        type=float,
        default=default.max_difference,
        help="of a float artifact's scores (%(default)s)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=100 * default.max_drop,
        help="of an int8 artifact's accuracy, in points (%(default)s)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=100 * default.min_agreement,
        help="of an int8 artifact's answers with the reference's, in %% (%(default)s)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say which step and layer int8's differences come from",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing row")


def tolerance_of(arguments: argparse.Namespace) -> Tolerance:
    """The tolerance that the options of `add_arguments` state."""
    return Tolerance(
        arguments.max_difference, arguments.max_drop / 100, arguments.min_agreement / 100
    )
