"""Measures how well artifacts reject images that are not digits (out-of-distribution rejection).

`digit-edge benchmark-rejection` calls `measure`. `benchmarks.rejection.negatives` draws the images.
Each artifact is measured in each engine. The results are the time per decision and, for each kind
of image, the rejected share and the AUROC (area under the ROC curve).
"""

import timeit
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import cases, statistics
from benchmarks.harness.cases import ABSENT, FAILED, BenchmarkCase, SkippedCase
from benchmarks.harness.test_set import TestSet
from benchmarks.rejection.negatives import KINDS, NegativeKind
from benchmarks.schema.rejection import KindResult, RejectionReport, RejectionResult
from benchmarks.schema.robustness import SCHEMA_VERSION
from runtime.backends import Backend, Pixels, open_backend
from runtime.errors import ArtifactError, BackendUnavailable, DatasetError
from runtime.model import artifact
from runtime.model.rejection import RejectionScorer
from runtime.preprocess.form import MNIST_FORM

_SEED = 40  # of the drawn images; another seed draws other images of the same kinds
# Calls in a series that is timed as a whole. Longer series would rarely run without interruption by
# another process.
_COST_CALLS = 100
_COST_REPETITIONS = 300  # timed series; the time of the fastest is reported
_COST_CONFIDENCE = 0.5  # confidence in the timed calls; the time does not depend on its value

Floats = npt.NDArray[np.float64]  # rejection scores (N,)


def measure(
    models: Path,
    test_set: TestSet,
    *,
    kinds: Sequence[NegativeKind] = KINDS,
    backends: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> RejectionReport:
    """Classify test digits and negatives with each artifact in `models`.

    Args:
        models: the folder of the artifacts.
        test_set: the digits that should be accepted.
        kinds: the kinds of images to draw. Most are not digits and should be rejected.
        backends: names of the engines to measure; empty for all.
        progress: called with a text for each step.

    Returns:
        The report. A case with a missing engine or a damaged artifact is in `skipped`.

    Raises:
        BackendUnavailable: an engine named in `backends` does not exist.
        DatasetError: the classes of the test set are not the digits 0 to 9.
    """
    if test_set.class_names != tuple("0123456789"):
        raise DatasetError(
            f"{test_set.name} has the classes {', '.join(test_set.class_names)}, but the rejection "
            "benchmark needs the digits 0 to 9; pass a data set of digits with --data"
        )
    images = []
    for number, kind in enumerate(kinds):
        progress(f"drawing {kind.name}")
        images.append(kind.draw(kind.n, np.random.default_rng([_SEED, number])))
    results: list[RejectionResult] = []
    skipped: list[SkippedCase] = []
    for case in cases.enumerate_cases(models, backends):
        progress(str(case))
        try:
            backend = open_backend(artifact.read(models / case.artifact), case.backend)
            results.append(_measure_case(backend, case, test_set.pixels, kinds, images))
        except BackendUnavailable as error:
            skipped.append(SkippedCase(case, ABSENT, str(error)))
        except ArtifactError as error:
            skipped.append(SkippedCase(case, FAILED, str(error)))
    return RejectionReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        dataset=test_set.name,
        dataset_sha256=test_set.sha256,
        results=tuple(results),
        skipped=tuple(skipped),
    )


def _measure_case(
    backend: Backend,
    case: BenchmarkCase,
    digits: Pixels,
    kinds: Sequence[NegativeKind],
    images: Sequence[Pixels],
) -> RejectionResult:
    """Measure one artifact in one engine.

    Raises:
        ArtifactError: the model returns scores of the wrong shape, NaN or Inf.
    """
    spec = backend.spec
    if spec.pixel_form != MNIST_FORM:
        raise ArtifactError(
            f"{case.artifact} takes {spec.pixel_form}: the images that it must reject are 28x28 ink"
        )
    scorer = RejectionScorer(spec.confidence_threshold, spec.rejection_model)
    confidence_scorer = RejectionScorer(spec.confidence_threshold, None)

    def rejection_scores(pixels: Pixels) -> tuple[Floats, Floats]:
        """Return the rejection scores (N,) of pixels (N, 28, 28, 1), and the confidences (N,).

        Without a rejection model the rejection scores equal the confidences. In both, a blank
        image has −∞.
        """
        scores = backend.scores(pixels)
        if scores.shape[1] != len(spec.labels) or not np.isfinite(scores).all():
            raise ArtifactError(
                f"{case.artifact}: the model returns scores of the wrong shape, NaN or Inf; "
                "export the artifact again"
            )
        pairs = list(zip(pixels, scores.max(axis=1).tolist(), strict=True))
        return (
            np.array([scorer.score(image, confidence) for image, confidence in pairs]),
            np.array([confidence_scorer.score(image, confidence) for image, confidence in pairs]),
        )

    digit_scores, digit_confidences = rejection_scores(digits)
    results = []
    for kind, pixels in zip(kinds, images, strict=True):
        kind_scores, kind_confidences = rejection_scores(pixels)
        rejected_by_confidence = kind_confidences < confidence_scorer.threshold
        results.append(
            KindResult(
                kind=kind.name,
                is_digit=kind.is_digit,
                n=len(pixels),
                rejected=int((kind_scores < scorer.threshold).sum()),
                rejected_by_confidence=int(rejected_by_confidence.sum()),
                auroc=statistics.auroc(digit_scores, kind_scores),
                auroc_of_confidence=statistics.auroc(digit_confidences, kind_confidences),
            )
        )
    digits_rejected_by_confidence = digit_confidences < confidence_scorer.threshold
    digit = digits[0]
    confidences = np.full(len(digits), _COST_CONFIDENCE, np.float32)
    return RejectionResult(
        case=case,
        version=backend.version,
        digest=spec.digest,
        has_rejection_model=spec.rejection_model is not None,
        threshold=scorer.threshold,
        digits=len(digits),
        digits_rejected=int((digit_scores < scorer.threshold).sum()),
        digits_rejected_by_confidence=int(digits_rejected_by_confidence.sum()),
        cost_ns=_cost_ns(lambda: scorer.accepts(digit, _COST_CONFIDENCE), _COST_CALLS),
        kinds=tuple(results),
        batch_cost_ns=_cost_ns(lambda: scorer.accept_all(digits, confidences), 1) / len(digits),
    )


def _cost_ns(decide: Callable[[], object], calls: int) -> float:
    """Return the mean duration of one call in the fastest series, in nanoseconds.

    Args:
        decide: the function to time.
        calls: number of calls in each of the `_COST_REPETITIONS` series.
    """
    return 1e9 * min(timeit.repeat(decide, number=calls, repeat=_COST_REPETITIONS)) / calls
