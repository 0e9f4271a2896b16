"""Accuracy of artifacts on corrupted images and of other writers (python -m benchmarks.robustness).

The test set is corrupted by each of `benchmarks.robustness.corruptions` at five strengths. Other
writers are scikit-learn's 1,797 digits, in MNIST's form.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from benchmarks.harness import subprocesses
from benchmarks.harness.cases import (
    FAILED,
    REFERENCE,
    BenchmarkCase,
    ExternalPython,
    SkippedCase,
    enumerate_cases,
)
from benchmarks.harness.messages import PredictRequest
from benchmarks.parity.run import TestSet
from benchmarks.robustness.corruptions import CORRUPTIONS, BenchmarkCorruption
from benchmarks.schema.robustness import (
    SCHEMA_VERSION,
    UNKNOWN,
    UNUSED,
    USED,
    AccuracyCount,
    CorruptionCurve,
    CrossDatasetResult,
    RobustnessReport,
    RobustnessResult,
)
from runtime import pretrained
from runtime.backends import Pixels
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.spec import ModelSpec

PUBLISHED = Path(pretrained.__file__).parent
QUICK_IMAGES = 1_000

SEED = 20
# Images a row's process is asked at once: some hundred megabytes as float32.
_MAX_IMAGES = 150_000


@dataclass(frozen=True)
class _Case:
    """The test set as it is, or corrupted by a corruption at strength number `step`."""

    corruption: BenchmarkCorruption | None = None
    step: int = 0

    def pixels(self, clean: Pixels) -> Pixels:
        return clean if self.corruption is None else self.corruption.corrupt(clean, self.step, SEED)


@dataclass(frozen=True)
class _Predictions:
    """The predictions of a case: the engine's version and the classes, (N,) int64."""

    version: str
    classes: np.ndarray


def measure(
    models: Path,
    test_set: TestSet,
    published: Path = PUBLISHED,
    *,
    corruptions: Sequence[BenchmarkCorruption] = CORRUPTIONS,
    backends: tuple[str, ...] = (),
    keras: bool = True,
    external_pythons: tuple[ExternalPython, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> RobustnessReport:
    """Spoil the test set and have each artifact of `models` read it, in processes of their own.

    Args:
        models: the folder of the artifacts, and of the digits.keras they came from, if it is there.
        published: a folder of artifacts that read other writers as well.
        backends: engines' names; all of them by default.
        keras: whether the reference is asked too.
        external_pythons: other Pythons, for engines that are not installed in this one.
        progress: called with one line for each step.

    Raises:
        BackendUnavailable: an engine named in `backends` does not exist.
    """
    planned = enumerate_cases(models, backends)
    if keras and (models / REFERENCE).exists():
        planned.insert(0, BenchmarkCase(REFERENCE, "keras", "cpu", 1))
    cases = [_Case(), *(_Case(c, step) for c in corruptions for step in range(len(c.strengths)))]
    skipped: list[SkippedCase] = []
    results: list[RobustnessResult] = []
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        ask = _Asker(Path(name), external_pythons)
        versions: dict[BenchmarkCase, str] = {}
        counts: dict[BenchmarkCase, list[int]] = {case: [] for case in planned}
        per_piece = max(1, _MAX_IMAGES // len(test_set.labels))
        for start in range(0, len(cases), per_piece):
            piece = cases[start : start + per_piece]
            progress(f"corrupting images: {start} of {len(cases)} sets")
            ask.show(np.concatenate([case.pixels(test_set.pixels) for case in piece]))
            for case in list(counts):
                progress(f"{case}: from set {start} of {len(cases)}")
                answers = ask.answers(models / case.artifact, case, test_set.class_names)
                if isinstance(answers, SkippedCase):
                    skipped.append(answers)
                    del counts[case]
                    continue
                versions[case] = answers.version
                right = answers.classes.reshape(len(piece), -1) == test_set.labels
                counts[case] += right.sum(axis=1).tolist()
        for case, correct in counts.items():
            spec = artifact.read(models / case.artifact).spec
            results.append(_result(case, versions[case], spec, correct, test_set, corruptions))
        others = [
            _measure_cross_dataset(ask, folder, case, skipped)
            for folder in dict.fromkeys((published, models))
            for case in (enumerate_cases(folder, backends) if folder != models else counts)
        ]
    return RobustnessReport(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        dataset=test_set.name,
        dataset_sha256=test_set.sha256,
        n=len(test_set.labels),
        results=tuple(results),
        cross_dataset=tuple(other for other in others if other is not None),
        skipped=tuple(dict.fromkeys(skipped)),
    )


def quick_subset(test_set: TestSet, n: int = QUICK_IMAGES) -> TestSet:
    """At most `n` images of it, each class by its share, always the same ones."""
    from train.data.splits import Split, stratified_split

    if len(test_set.labels) <= n:
        return test_set
    _, few = stratified_split(Split(test_set.pixels, test_set.labels), n, SEED)
    return TestSet(test_set.name, test_set.sha256, test_set.class_names, few.pixels, few.labels)


class _Asker:
    """Runs cases on the images that were set last, each in a separate process."""

    def __init__(self, folder: Path, external_pythons: tuple[ExternalPython, ...]) -> None:
        self._pixels, self._scores = folder / "pixels.npy", folder / "scores.npy"
        self._interpreters = external_pythons
        self._n = 0

    def show(self, pixels: Pixels) -> None:
        np.save(self._pixels, pixels)
        self._n = len(pixels)

    def answers(
        self, path: Path, case: BenchmarkCase, class_names: tuple[str, ...]
    ) -> _Predictions | SkippedCase:
        try:
            labels = artifact.read(path).spec.labels
        except ArtifactError as error:
            return SkippedCase(case, FAILED, str(error))
        if labels != class_names:
            why = f"it answers {', '.join(labels)}, the images are {', '.join(class_names)}"
            return SkippedCase(case, FAILED, f"{why}: give the data it was trained for")
        self._scores.unlink(missing_ok=True)
        job = PredictRequest(case, str(path.resolve()), str(self._pixels), str(self._scores))
        answer = subprocesses.request_predictions(job, self._interpreters)
        if isinstance(answer, SkippedCase):
            return answer
        scores = np.load(self._scores)
        if scores.shape != (self._n, len(labels)) or not np.isfinite(scores).all():
            return SkippedCase(case, FAILED, f"its scores, {scores.shape}, are not all numbers")
        return _Predictions(answer.version, scores.argmax(axis=1))


def _result(
    case: BenchmarkCase,
    version: str,
    spec: ModelSpec,
    correct: Sequence[int],
    test_set: TestSet,
    corruptions: Sequence[BenchmarkCorruption],
) -> RobustnessResult:
    clean, *readings = (AccuracyCount(count, len(test_set.labels)) for count in correct)
    curves = []
    for corruption in corruptions:
        strengths = tuple(corruption.unit.format(strength) for strength in corruption.strengths)
        own, readings = readings[: len(strengths)], readings[len(strengths) :]
        curves.append(
            CorruptionCurve(corruption.name, training_of(corruption, spec), strengths, tuple(own))
        )
    return RobustnessResult(case, version, spec.digest, clean, tuple(curves))


def training_of(corruption: BenchmarkCorruption, spec: ModelSpec) -> str:
    """Whether a model saw a corruption when it was trained: USED, UNUSED, or UNKNOWN.

    The recipe that `python -m train` leaves in a spec's provenance names what it did to images.
    """
    try:
        recipe = json.loads(dict(spec.provenance)["recipe"])
        late = recipe.get("corrupted_fraction", recipe.get("spoilt", 1))
        corrupts = (
            (late, recipe.get("corruption", {})),
            (1 - late, recipe.get("early_corruption", recipe.get("corruption_before", {}))),
        )
        # Amounts say nothing where no epoch, or no image, has a share of them.
        parts = [recipe["distortion"]]
        parts += [part for epochs, part in corrupts if epochs and part.get("share")]
        seen = [
            amount
            for part in parts
            for name, amount in part.items()
            if name.startswith(corruption.settings)
        ]
    except (KeyError, ValueError, TypeError, AttributeError):
        return UNKNOWN
    return USED if any(seen) else UNUSED


def _measure_cross_dataset(
    ask: _Asker, folder: Path, case: BenchmarkCase, skipped: list[SkippedCase]
) -> CrossDatasetResult | None:
    """Measure a case on scikit-learn's digits; None if it has other classes."""
    from train.data.load import sklearn_digits

    digits = sklearn_digits()
    path = folder / case.artifact
    try:
        spec = artifact.read(path).spec
    except ArtifactError as error:
        skipped.append(SkippedCase(case, FAILED, str(error)))
        return None
    if spec.labels != digits.labels:
        return None
    ask.show(np.concatenate([digits.train.pixels, digits.test.pixels]))
    answers = ask.answers(path, case, digits.labels)
    if isinstance(answers, SkippedCase):
        skipped.append(answers)
        return None
    right = answers.classes == np.concatenate([digits.train.labels, digits.test.labels])
    return CrossDatasetResult(
        case=case,
        folder=folder.name,
        version=answers.version,
        digest=spec.digest,
        trained_on=spec.dataset.name,
        reading=AccuracyCount(int(right.sum()), len(right)),
    )
