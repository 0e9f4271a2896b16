"""The rejection model: its arithmetic, its place in a spec, and the classifier that asks it."""

import dataclasses
import json

import numpy as np
import pytest

from runtime.classifier import Classifier, find_model
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.rejection import RejectionModel, RejectionScorer
from runtime.model.spec import ModelSpec

BLANK = np.zeros((28, 28, 1), np.uint8)


@pytest.fixture
def rule() -> RejectionModel:
    """Any rule."""
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


def test_the_score_is_the_formula_of_the_docstring(rule, images) -> None:
    scorer = RejectionScorer(0.9, rule)
    for image in images:
        squares = image[4:24, :, 0].reshape(10, 2, 14, 2).mean(axis=(1, 3)) / 255
        sums = (rule.weights.astype(np.float64) * squares).sum(axis=(1, 2))
        hidden = np.maximum(0, rule.scales * sums + rule.biases)
        expected = rule.outputs @ hidden + 2.5 * np.log(0.75 / 0.25)
        score = scorer.score(image, 0.75)
        assert score == pytest.approx(expected, abs=1e-4)
        assert scorer.accepts(image, 0.75) == (score >= 50.0)
        exact = RejectionScorer(0.9, dataclasses.replace(rule, threshold=score))
        assert exact.accepts(image, 0.75)
        assert scorer.score(image, 0.9999) == scorer.score(image, 1.0) < np.inf


@pytest.mark.parametrize("confidence", [0.0, float("nan")])
def test_a_confidence_that_no_softmax_gives_is_refused(rule, images, confidence) -> None:
    scorer = RejectionScorer(0.9, dataclasses.replace(rule, threshold=-10.0))
    assert scorer.accepts(images[0], 0.5)
    assert not scorer.accepts(images[0], confidence)
    assert not scorer.accept_all(images, np.full(len(images), confidence, np.float32)).any()


def test_without_a_rule_the_confidence_decides_and_a_blank_page_is_refused(images) -> None:
    scorer = RejectionScorer(0.8, None)
    assert scorer.accepts(images[0], 0.8)
    assert not scorer.accepts(images[0], 0.79)
    assert not scorer.accepts(BLANK, 1.0)
    assert not RejectionScorer(0.0, None).accepts(BLANK, 1.0)


@pytest.mark.parametrize("gray", [0, 1, 127, 255])
def test_no_page_of_one_gray_is_accepted_however_low_the_threshold(rule, gray) -> None:
    page = np.full((28, 28, 1), gray, np.uint8)
    lenient = RejectionScorer(0.0, dataclasses.replace(rule, threshold=-1e9))
    assert not lenient.accepts(page, 1.0)
    page[13, 13] ^= 1
    assert lenient.accepts(page, 1.0)


def test_a_rule_travels_in_the_spec_unchanged(rule, published, images) -> None:
    spec = dataclasses.replace(published.spec, rejection_model=rule)
    read = ModelSpec.from_json(spec.to_json()).rejection_model
    assert read is not None
    for field in dataclasses.fields(RejectionModel):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(rule, field.name))
    before, after = RejectionScorer(0, rule), RejectionScorer(0, read)
    assert [before.score(i, 0.5) for i in images] == [after.score(i, 0.5) for i in images]
    assert spec.to_json() == ModelSpec.from_json(spec.to_json()).to_json()


def test_a_spec_from_before_the_rule_is_read(published) -> None:
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
def test_a_broken_rule_is_an_artifact_error(rule, published, field, value) -> None:
    record = json.loads(dataclasses.replace(published.spec, rejection_model=rule).to_json())
    record["acceptance"][field] = value
    with pytest.raises(ArtifactError):
        ModelSpec.from_json(json.dumps(record))
    del record["acceptance"][field]
    with pytest.raises(ArtifactError):
        ModelSpec.from_json(json.dumps(record))


@pytest.mark.parametrize("count", [0, 2, 27, 28, 29, 448, 449, 1000])
def test_many_are_judged_as_one_by_one(rule, count) -> None:
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    images[3::7] = 9
    confidences = random.uniform(0.2, 1, count).astype(np.float32)
    scorer, pairs = RejectionScorer(0, rule), zip(images, confidences.tolist(), strict=True)
    scores = [scorer.score(*pair) for pair in pairs]
    # Between two scores: those of a batch are summed in another order.
    middle = float(np.mean(np.sort(scores)[count // 2 - 1 : count // 2 + 1])) if count else 0.0
    scorer = RejectionScorer(0, dataclasses.replace(rule, threshold=middle))
    accepted = scorer.accept_all(images, confidences)
    assert accepted.tolist() == [score >= middle for score in scores]
    assert count < 2 or 0 < accepted.sum() < count


def test_the_classifier_asks_the_rule(rule, published, images, tmp_path) -> None:
    plain = Classifier.load(published.path)
    answers = plain.classify_batch(images)
    scorer = RejectionScorer(0, rule)
    scores = [scorer.score(i, a.confidence) for i, a in zip(images, answers, strict=True)]
    # Between two scores: those of a batch are summed in another order.
    scorer.threshold = float(np.mean(np.sort(scores)[len(scores) // 2 - 1 : len(scores) // 2 + 1]))
    plain._scorer = scorer
    accepted = [answer.accepted for answer in plain.classify_batch(images)]
    assert accepted == [score >= scorer.threshold for score in scores]
    assert accepted == [plain.classify(image).accepted for image in images]
    assert any(accepted)
    assert not all(accepted)


def test_the_published_artifacts_refuse_blank_pages_and_accept_digits(published) -> None:
    classifier = Classifier.load(published.path)
    assert not classifier.classify(BLANK).accepted
    assert not classifier.classify(np.full((200, 150), 255, np.uint8)).accepted
    from train.data.load import sklearn_digits

    accepted = [p.accepted for p in classifier.classify_batch(sklearn_digits().test.pixels[:100])]
    assert np.mean(accepted) > 0.5
