"""Measures the accuracy of artifacts on corrupted images and on digits of other writers.

`digit-edge benchmark-robustness` calls `measure`. The test set is corrupted by each of
`benchmarks.robustness.corruptions` at five strengths. The digits of other writers are
scikit-learn's, in MNIST's form. Each artifact runs in each engine, in a process of its own.
"""

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from benchmarks.harness.test_set import TestSet
from benchmarks.robustness.corruptions import BenchmarkCorruption, corruptions_of
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
from runtime.preprocess.form import INK, Form
from runtime.preprocess.mnist_format import PIXELS_SHAPE

PUBLISHED = Path(pretrained.__file__).parent  # folder of the published artifacts
QUICK_IMAGES = 1_000  # size of the test set with --quick; further images are not used
SEED = 20  # of the corruptions and of `quick_subset`; the same seed gives the same images

# Images predicted by one process, which holds them as float32 in some hundred megabytes. Beyond it,
# the next image sets are predicted by a further process. An image set is never divided.
_MAX_IMAGES = 150_000


@dataclass(frozen=True)
class _ImageSet:
    """The test set, clean or corrupted.

    Attributes:
        corruption: the corruption; None for the clean test set.
        step: the index of the strength, 0 to 4; unused for the clean test set.
    """

    corruption: BenchmarkCorruption | None = None
    step: int = 0

    def pixels(self, clean: Pixels, form: Form) -> Pixels:
        """Return the images, made from the clean test set of the same shape and form."""
        if self.corruption is None:
            return clean
        return self.corruption.corrupt(clean, self.step, SEED, form)


@dataclass(frozen=True)
class _Predictions:
    """The predictions of a case.

    Attributes:
        version: the version of the engine.
        classes: the predicted classes, (N,) int64.
    """

    version: str
    classes: npt.NDArray[np.int64]


def measure(
    models: Path,
    test_set: TestSet,
    published: Path = PUBLISHED,
    *,
    corruptions: Sequence[BenchmarkCorruption] | None = None,
    backends: tuple[str, ...] = (),
    keras: bool = True,
    external_pythons: tuple[ExternalPython, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> RobustnessReport:
    """Measure each artifact of `models` on the clean and corrupted test set.

    Args:
        models: the folder of the artifacts. It may contain the Keras reference, digits.keras.
        test_set: the clean images and their labels. A case fails if the model has other classes.
        published: a second folder of artifacts, measured on the digits of other writers only.
        corruptions: the corruptions to measure with; None takes those of the images' form.
        backends: names of the engines to measure; empty for all.
        keras: also measure the Keras reference if `models` contains it.
        external_pythons: other Pythons, for engines that are not installed in this one.
        progress: called with a text for each step.

    Returns:
        The report. A case that failed or whose engine is missing is in `skipped`.

    Raises:
        DatasetError: scikit-learn is not installed.
        BackendUnavailable: an engine named in `backends` does not exist.
    """
    if corruptions is None:
        corruptions = corruptions_of(test_set.form)
    cases = enumerate_cases(models, backends)
    if keras and (models / REFERENCE).exists():
        cases.insert(0, BenchmarkCase(REFERENCE, "keras", "cpu", 1))
    image_sets = [_ImageSet()]
    image_sets += [_ImageSet(c, step) for c in corruptions for step in range(len(c.strengths))]
    skipped: list[SkippedCase] = []
    results: list[RobustnessResult] = []
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        runner = _CaseRunner(Path(name), external_pythons)
        versions: dict[BenchmarkCase, str] = {}
        counts: dict[BenchmarkCase, list[int]] = {case: [] for case in cases}
        # Larger images take more memory.
        images = test_set.pixels.size // math.prod(PIXELS_SHAPE)
        chunk_sets = max(1, _MAX_IMAGES // max(images, len(test_set.labels)))
        for start in range(0, len(image_sets), chunk_sets):
            chunk = image_sets[start : start + chunk_sets]
            position = f"sets {start + 1} to {start + len(chunk)} of {len(image_sets)}"
            progress(f"corrupting images: {position}")
            pixels = [image_set.pixels(test_set.pixels, test_set.form) for image_set in chunk]
            runner.set_images(np.concatenate(pixels))
            for case in list(counts):
                progress(f"{case}: {position}")
                predictions = runner.predict(models / case.artifact, case, test_set.class_names)
                if isinstance(predictions, SkippedCase):
                    skipped.append(predictions)
                    del counts[case]
                    continue
                versions[case] = predictions.version
                right = predictions.classes.reshape(len(chunk), -1) == test_set.labels
                counts[case] += right.sum(axis=1).tolist()
        for case, correct in counts.items():
            spec = artifact.read(models / case.artifact).spec
            results.append(_result(case, versions[case], spec, correct, test_set, corruptions))
        cross_dataset = [
            _measure_cross_dataset(runner, folder, case, skipped)
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
        cross_dataset=tuple(result for result in cross_dataset if result is not None),
        skipped=tuple(dict.fromkeys(skipped)),
    )


def quick_subset(test_set: TestSet, n: int = QUICK_IMAGES) -> TestSet:
    """Return a stratified subset of at most `n` images, the same in every call.

    A test set of at most `n` images is returned unchanged.
    """
    from train.data.splits import Split, stratified_split

    if len(test_set.labels) <= n:
        return test_set
    _, subset = stratified_split(Split(test_set.pixels, test_set.labels), n, SEED)
    return dataclasses.replace(test_set, pixels=subset.pixels, labels=subset.labels)


class _CaseRunner:
    """Runs cases, each in a separate process, on the images of the last `set_images`."""

    def __init__(self, folder: Path, external_pythons: tuple[ExternalPython, ...]) -> None:
        self._pixels_path = folder / "pixels.npy"
        self._scores_path = folder / "scores.npy"
        self._external_pythons = external_pythons
        self._n = 0

    def set_images(self, pixels: Pixels) -> None:
        """Set the images of the next runs, (N, 28, 28, 1) uint8."""
        np.save(self._pixels_path, pixels)
        self._n = len(pixels)

    def predict(
        self, path: Path, case: BenchmarkCase, class_names: tuple[str, ...]
    ) -> _Predictions | SkippedCase:
        """Return the predictions of an artifact; a SkippedCase with the reason if the case fails.

        Args:
            path: the artifact.
            case: its engine, device and threads.
            class_names: the classes of the images.
        """
        try:
            labels = artifact.read(path).spec.labels
        except ArtifactError as error:
            return SkippedCase(case, FAILED, str(error))
        if labels != class_names:
            reason = (
                f"the model's classes are {', '.join(labels)}, but the images have the classes "
                f"{', '.join(class_names)}: pass the model's data set with --data"
            )
            return SkippedCase(case, FAILED, reason)
        self._scores_path.unlink(missing_ok=True)
        request = PredictRequest(
            case, str(path.resolve()), str(self._pixels_path), str(self._scores_path)
        )
        response = subprocesses.request_predictions(request, self._external_pythons)
        if isinstance(response, SkippedCase):
            return response
        scores = np.load(self._scores_path)
        expected_shape = (self._n, len(labels))
        if scores.shape != expected_shape or not np.isfinite(scores).all():
            reason = (
                f"the scores contain NaN or Inf, or their shape {scores.shape} is not "
                f"{expected_shape}: export the artifact again"
            )
            return SkippedCase(case, FAILED, reason)
        return _Predictions(response.version, scores.argmax(axis=1))


def _result(
    case: BenchmarkCase,
    version: str,
    spec: ModelSpec,
    correct: Sequence[int],
    test_set: TestSet,
    corruptions: Sequence[BenchmarkCorruption],
) -> RobustnessResult:
    """Arrange the numbers of correct predictions as one curve per corruption.

    Args:
        case: the artifact and its engine.
        version: the version of the engine.
        spec: the spec of the artifact.
        correct: number of correct predictions of each image set: first the clean one, then for each
            corruption the five strengths.
        test_set: the clean images.
        corruptions: the corruptions, in the order of `correct`.
    """
    n = len(test_set.labels)
    clean = AccuracyCount(correct[0], n)
    remaining = [AccuracyCount(count, n) for count in correct[1:]]
    curves = []
    for corruption in corruptions:
        strengths = tuple(corruption.unit.format(strength) for strength in corruption.strengths)
        readings, remaining = tuple(remaining[: len(strengths)]), remaining[len(strengths) :]
        training = training_of(corruption, spec)
        curves.append(CorruptionCurve(corruption.name, training, strengths, readings))
    return RobustnessResult(case, version, spec.digest, clean, tuple(curves))


def training_of(corruption: BenchmarkCorruption, spec: ModelSpec) -> str:
    """Return whether a model was trained with a corruption: USED, UNUSED or UNKNOWN.

    `digit-edge train` stores its recipe in the spec's provenance. The result is UNKNOWN if the
    recipe is missing or cannot be parsed.

    A recipe has three sections that change the training images. `corruption` applies in the last
    `corrupted_fraction` of the epochs, and `early_corruption` in the epochs before. `distortion`
    applies in all epochs.
    """
    try:
        recipe = json.loads(dict(spec.provenance)["recipe"])
        # In older recipes these settings are named "spoilt" and "corruption_before".
        late_epochs = recipe.get("corrupted_fraction", recipe.get("spoilt", 1))
        early_epochs = 1 - late_epochs
        late = recipe.get("corruption", {})
        early = recipe.get("early_corruption", recipe.get("corruption_before", {}))
        sections = [recipe["distortion"]]
        # A section has no effect if its share of the epochs or of the images is 0.
        if late_epochs and late.get("share"):
            sections.append(late)
        if early_epochs and early.get("share"):
            sections.append(early)
        amounts = [
            amount
            for section in sections
            for name, amount in section.items()
            if name.startswith(corruption.settings)
        ]
    except (KeyError, ValueError, TypeError, AttributeError):
        return UNKNOWN
    return USED if any(amounts) else UNUSED


def _measure_cross_dataset(
    runner: _CaseRunner, folder: Path, case: BenchmarkCase, skipped: list[SkippedCase]
) -> CrossDatasetResult | None:
    """Measure a case on scikit-learn's digits.

    Args:
        runner: runs the case; its images are replaced.
        folder: the folder of the artifact.
        case: the artifact and its engine.
        skipped: the case is appended to this list if it fails.

    Returns:
        The accuracy; None if the case failed, or if the artifact's classes are not 0 to 9.
    """
    from train.data.load import sklearn_digits

    path = folder / case.artifact
    try:
        spec = artifact.read(path).spec
    except ArtifactError as error:
        skipped.append(SkippedCase(case, FAILED, str(error)))
        return None
    digits = sklearn_digits(spec.pixel_form)
    if spec.labels != digits.labels or spec.pixel_form.name != INK:
        return None
    runner.set_images(np.concatenate([digits.train.pixels, digits.test.pixels]))
    predictions = runner.predict(path, case, digits.labels)
    if isinstance(predictions, SkippedCase):
        skipped.append(predictions)
        return None
    right = predictions.classes == np.concatenate([digits.train.labels, digits.test.labels])
    return CrossDatasetResult(
        case=case,
        folder=folder.name,
        version=predictions.version,
        digest=spec.digest,
        trained_on=spec.dataset.name,
        reading=AccuracyCount(int(right.sum()), len(right)),
    )
