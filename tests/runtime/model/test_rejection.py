"""The rejection model: its formula, its JSON in a spec, and its use by the classifier."""

import dataclasses
import json

import numpy as np
import pytest

from runtime.classifier import Classifier
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.model.rejection import RejectionModel, RejectionScorer
from runtime.model.spec import ModelSpec

pytestmark = pytest.mark.portable

BLANK = np.zeros((28, 28, 1), np.uint8)


@pytest.fixture
def model() -> RejectionModel:
    """A rejection model with random weights."""
    random = np.random.default_rng(3)
    return RejectionModel(
        weights=random.integers(-127, 128, (16, 10, 14)).astype(np.int8),
        scales=random.uniform(0.001, 0.01, 16).astype(np.float32),
        biases=random.normal(0, 1, 16).astype(np.float32),
        outputs=random.normal(0, 1, 16).astype(np.float32),
        logit_weight=2.5,
        threshold=50.0,
    )


@pytest.fixture(scope="module")
def published() -> artifact.Artifact:
    return artifact.read(find_model())


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)


def test_score_is_the_formula_of_the_docstring(model, images) -> None:
    scorer = RejectionScorer(0.9, model)
    for image in images:
        squares = image[4:24, :, 0].reshape(10, 2, 14, 2).mean(axis=(1, 3)) / 255
        sums = (model.weights.astype(np.float64) * squares).sum(axis=(1, 2))
        hidden = np.maximum(0, model.scales * sums + model.biases)
        expected = model.outputs @ hidden + 2.5 * np.log(0.75 / 0.25)
        assert scorer.score(image, 0.75) == pytest.approx(expected, abs=1e-4)


def test_image_is_accepted_if_its_score_reaches_the_threshold(model, images) -> None:
    scorer = RejectionScorer(0.9, model)
    for image in images:
        score = scorer.score(image, 0.75)
        assert scorer.accepts(image, 0.75) == (score >= 50.0)
        exact = RejectionScorer(0.9, dataclasses.replace(model, threshold=score))
        assert exact.accepts(image, 0.75)


def test_confidence_counts_as_at_most_0_9999(model, images) -> None:
    scorer = RejectionScorer(0.9, model)
    for image in images:
        assert scorer.score(image, 0.9999) == scorer.score(image, 1.0) < np.inf


@pytest.mark.parametrize("confidence", [0.0, float("nan")])
def test_confidence_of_0_or_nan_is_rejected(model, images, confidence) -> None:
    scorer = RejectionScorer(0.9, dataclasses.replace(model, threshold=-10.0))
    assert scorer.accepts(images[0], 0.5)
    assert not scorer.accepts(images[0], confidence)
    assert not scorer.accept_all(images, np.full(len(images), confidence, np.float32)).any()


def test_confidence_threshold_decides_without_a_rejection_model(images) -> None:
    scorer = RejectionScorer(0.8, None)
    assert scorer.accepts(images[0], 0.8)
    assert not scorer.accepts(images[0], 0.79)


@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_blank_page_is_rejected_without_a_rejection_model(threshold) -> None:
    assert not RejectionScorer(threshold, None).accepts(BLANK, 1.0)


@pytest.mark.parametrize("gray", [0, 1, 127, 255])
def test_page_of_one_gray_is_rejected_at_any_threshold(model, gray) -> None:
    page = np.full((28, 28, 1), gray, np.uint8)
    lenient = RejectionScorer(0.0, dataclasses.replace(model, threshold=-1e9))
    assert not lenient.accepts(page, 1.0)
    page[13, 13] ^= 1
    assert lenient.accepts(page, 1.0)


def test_rejection_model_is_unchanged_by_json(model, published, images) -> None:
    spec = dataclasses.replace(published.spec, rejection_model=model)
    read = ModelSpec.from_json(spec.to_json()).rejection_model
    assert read is not None
    for field in dataclasses.fields(RejectionModel):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(model, field.name))
    before, after = RejectionScorer(0, model), RejectionScorer(0, read)
    assert [before.score(i, 0.5) for i in images] == [after.score(i, 0.5) for i in images]
    assert spec.to_json() == ModelSpec.from_json(spec.to_json()).to_json()


def test_older_spec_without_rejection_model_is_read(published) -> None:
    record = json.loads(published.spec.to_json())
    record.pop("acceptance", None)
    assert ModelSpec.from_json(json.dumps(record)).rejection_model is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", float("nan")),
        ("odds_weight", float("inf")),
        ("biases", [0.0] * 15),
        ("outputs", [float("nan")] * 16),
        ("weights", "AAAA"),
        ("weights", "AAA"),
        ("weights", 7),
        ("scales", "many"),
        ("scales", None),
    ],
)
def test_invalid_or_missing_field_is_an_artifact_error(model, published, field, value) -> None:
    record = json.loads(dataclasses.replace(published.spec, rejection_model=model).to_json())
    record["acceptance"][field] = value
    with pytest.raises(ArtifactError):
        ModelSpec.from_json(json.dumps(record))
    del record["acceptance"][field]
    with pytest.raises(ArtifactError):
        ModelSpec.from_json(json.dumps(record))


def middle_of(scores: list[float]) -> float:
    """Return a threshold between two scores, since sums in a batch may differ in the last bits."""
    count = len(scores)
    return float(np.mean(np.sort(scores)[count // 2 - 1 : count // 2 + 1])) if count else 0.0


@pytest.mark.parametrize("count", [0, 2, 27, 28, 29, 448, 449, 1000])
def test_accept_all_decides_as_accepts(model, count) -> None:
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    images[3::7] = 9
    confidences = random.uniform(0.2, 1, count).astype(np.float32)
    scorer, pairs = RejectionScorer(0, model), zip(images, confidences.tolist(), strict=True)
    scores = [scorer.score(*pair) for pair in pairs]
    threshold = middle_of(scores)
    scorer = RejectionScorer(0, dataclasses.replace(model, threshold=threshold))
    accepted = scorer.accept_all(images, confidences)
    assert accepted.tolist() == [score >= threshold for score in scores]
    assert count < 2 or 0 < accepted.sum() < count


def test_classifier_accepts_by_the_score_of_the_rejection_model(model, published, images) -> None:
    classifier = Classifier.load(published.path)
    predictions = classifier.classify_batch(images)
    scorer = RejectionScorer(0, model)
    scores = [scorer.score(i, p.confidence) for i, p in zip(images, predictions, strict=True)]
    scorer.threshold = middle_of(scores)
    classifier._scorer = scorer
    accepted = [prediction.accepted for prediction in classifier.classify_batch(images)]
    assert accepted == [score >= scorer.threshold for score in scores]
    assert accepted == [classifier.classify(image).accepted for image in images]
    assert any(accepted)
    assert not all(accepted)


@pytest.mark.parametrize("image", [BLANK, np.full((200, 150), 255, np.uint8)], ids=["0", "255"])
def test_published_model_rejects_blank_pages(published, image) -> None:
    assert not Classifier.load(published.path).classify(image).accepted


def test_published_model_accepts_most_digits_of_other_writers(published) -> None:
    from train.data.load import sklearn_digits

    classifier = Classifier.load(published.path)
    accepted = [p.accepted for p in classifier.classify_batch(sklearn_digits().test.pixels[:100])]
    assert np.mean(accepted) > 0.5
