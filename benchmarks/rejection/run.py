"""Measures how well artifacts reject images that are not digits.

Measured with `benchmarks.rejection.negatives`: fonts, shapes and textures other than those that the
rule was fitted to.
"""

import timeit
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import cases, statistics
from benchmarks.harness.cases import ABSENT, FAILED, BenchmarkCase, SkippedCase
from benchmarks.parity.run import TestSet
from benchmarks.rejection.negatives import KINDS, NegativeKind
from benchmarks.schema.rejection import KindResult, RejectionReport, RejectionResult
from benchmarks.schema.robustness import SCHEMA_VERSION
from runtime.backends import Backend, Pixels, open_backend
from runtime.errors import ArtifactError, BackendUnavailable, DatasetError
from runtime.model import artifact
from runtime.model.rejection import RejectionScorer

_SEED = 40
# Short series, so that one of them runs undisturbed by whatever else the machine does.
_COST_CALLS, _COST_REPETITIONS = 100, 300

Floats = npt.NDArray[np.float64]


def measure(
    models: Path,
    test_set: TestSet,
    *,
    kinds: Sequence[NegativeKind] = KINDS,
    backends: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> RejectionReport:
    """Classify digits and negatives with each artifact of `models`.

    Raises:
        BackendUnavailable: an engine named in `backends` does not exist.
        DatasetError: the test set does not hold the ten digits.
    """
    digits = tuple("0123456789")
    if test_set.class_names != digits:
        raise DatasetError(
            f"{test_set.name} has the classes {', '.join(test_set.class_names)}: what is no digit "
            "is known of the digits 0 to 9 alone; give --data with those"
        )
    drawn = []
    for number, kind in enumerate(kinds):
        progress(f"drawing {kind.name}")
        drawn.append(kind.draw(kind.n, np.random.default_rng([_SEED, number])))
    results: list[RejectionResult] = []
    skipped: list[SkippedCase] = []
    for case in cases.enumerate_cases(models, backends):
        progress(str(case))
        try:
            backend = open_backend(artifact.read(models / case.artifact), case.backend)
            results.append(_measure_case(backend, case, test_set.pixels, kinds, drawn))
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
    drawn: Sequence[Pixels],
) -> RejectionResult:
    spec = backend.spec
    scorer, by_confidence = (
        RejectionScorer(spec.confidence_threshold, rule) for rule in (spec.rejection_model, None)
    )

    def scores(pixels: Pixels) -> tuple[Floats, Floats]:
        answers = backend.scores(pixels)
        if answers.shape[1] != len(spec.labels) or not np.isfinite(answers).all():
            raise ArtifactError(
                f"{case.artifact} gives scores that are no numbers: export it again"
            )
        pairs = list(zip(pixels, answers.max(axis=1).tolist(), strict=True))
        return (
            np.array([scorer.score(image, confidence) for image, confidence in pairs]),
            np.array([by_confidence.score(image, confidence) for image, confidence in pairs]),
        )

    of_digits, sure_of_digits = scores(digits)
    results = []
    for kind, pixels in zip(kinds, drawn, strict=True):
        of_kind, sure_of_kind = scores(pixels)
        results.append(
            KindResult(
                kind=kind.name,
                is_digit=kind.is_digit,
                n=len(pixels),
                rejected=int((of_kind < scorer.threshold).sum()),
                rejected_by_confidence=int((sure_of_kind < by_confidence.threshold).sum()),
                auroc=statistics.auroc(of_digits, of_kind),
                auroc_of_confidence=statistics.auroc(sure_of_digits, sure_of_kind),
            )
        )
    digit, alike = digits[0], np.full(len(digits), 0.5, np.float32)
    return RejectionResult(
        case=case,
        version=backend.version,
        digest=spec.digest,
        has_rejection_model=spec.rejection_model is not None,
        threshold=scorer.threshold,
        digits=len(digits),
        digits_rejected=int((of_digits < scorer.threshold).sum()),
        digits_rejected_by_confidence=int((sure_of_digits < by_confidence.threshold).sum()),
        cost_ns=_cost_ns(lambda: scorer.accepts(digit, 0.5), _COST_CALLS),
        kinds=tuple(results),
        batch_cost_ns=_cost_ns(lambda: scorer.accept_all(digits, alike), 1) / len(digits),
    )


def _cost_ns(decide: Callable[[], object], calls: int) -> float:
    return 1e9 * min(timeit.repeat(decide, number=calls, repeat=_COST_REPETITIONS)) / calls
