"""Fits the rejection model, which decides whether an image is a digit.

`train.run` calls `fit_rejection_model` and then `lower_threshold`, after training the classifier.
`runtime.model.rejection` applies the model. It scores an image by the ink of the image and by the
confidence of the prediction. An image that scores below the threshold is rejected. The model is
fitted to training digits and to negatives (drawn images that are not digits). The threshold is
fitted to the validation digits.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from runtime.backends import Pixels, Scores
from runtime.model.rejection import (
    BOTTOM_ROW,
    CERTAIN_CONFIDENCE,
    CERTAIN_SCORE_MARGIN,
    GRID_SHAPE,
    SQUARE_PX,
    TOP_ROW,
    RejectionModel,
    RejectionScorer,
    log_odds,
)
from runtime.system import interrupt
from runtime.tta import tta_score, tta_variants
from train.data.splits import Split
from train.evaluation.evaluate import MIN_CALIBRATION_IMAGES, allowed_rejections
from train.negatives import DIGITS, draw_negatives, glyphs

HIDDEN_UNITS = 16  # of the rejection network's only hidden layer
# Share of the validation digits that may score below the threshold of `fit_rejection_model`.
MAX_FALSE_REJECTION_RATE = 0.0065
_HANDWRITTEN_DIGITS = 40_000  # training images in the fit; further ones are not used
_PRINTED_DIGITS = 4_000  # digits in DejaVu fonts in the fit, so that printed digits are accepted
_DRAWN_DIGITS = 12_000  # of the pool in the fit, so that the forms of other countries are accepted
_NEGATIVES = 24_000  # drawn to fit the rejection network
# With few training images, fewer printed digits and negatives are drawn, but at least this share.
_MIN_DRAWN_SHARE = 1 / 8
_ODDS_NEGATIVES = 2_000  # drawn anew, to fit the weight of the confidence's log-odds
_EPOCHS = 30  # of the rejection network's training
_RESTYLED_SHARE = 0.3  # of the handwritten digits in the fit: blurred, thickened or thinned
# Offsets (row, column) of a pixel and its four neighbors.
_NEIGHBORS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
_MAX_INT8 = 127  # the largest weight of a hidden unit is stored as this integer

Floats = npt.NDArray[np.float64]  # (N,): a score or a confidence per image


def fit_rejection_model(
    labels: tuple[str, ...],
    train: Pixels,
    validation: Pixels,
    predict: Callable[[Pixels], Scores],
    seed: int,
    drawn: Split | None = None,
) -> RejectionModel | None:
    """Fit a rejection model and its threshold, if the classes are the ten digits.

    Models of other classes have no rejection model. A letter is a negative for a model of digits,
    but may be a class of another model.

    A threshold needs MIN_CALIBRATION_IMAGES (100) validation images. With only 20 images, the
    lowest of the 20 scores would be the threshold, and one new digit in 21 would score lower. In
    an experiment, test-time augmentation then rejected one drawn digit in seven.

    Args:
        labels: names of the classes.
        train: training images, uint8 (N, 28, 28, 1).
        validation: validation images, uint8 (N, 28, 28, 1). At most MAX_FALSE_REJECTION_RATE of
            the images that contain ink score below the threshold.
        predict: the trained network: pixels uint8 (N, 28, 28, 1) → scores (N, classes).
        seed: seed of the drawn negatives and of the fit.
        drawn: drawn digits and negatives of `train.data.pool`, which are used too; or None.

    Returns:
        The rejection model with its threshold. None if the classes are not "0" to "9", or if fewer
        than MIN_CALIBRATION_IMAGES validation images contain ink.
    """
    # Blank images, whose pixels are all equal, are rejected without the rejection model.
    validation = validation[validation.min(axis=(1, 2, 3)) < validation.max(axis=(1, 2, 3))]
    if labels != tuple(DIGITS) or len(validation) < MIN_CALIBRATION_IMAGES:
        return None
    random = np.random.default_rng([seed, len(train)])
    handwritten = train[random.permutation(len(train))[:_HANDWRITTEN_DIGITS]]
    # If there are fewer handwritten digits, keep the proportions to printed digits and negatives.
    share = min(1.0, max(_MIN_DRAWN_SHARE, len(handwritten) / _HANDWRITTEN_DIGITS))
    printed_count = round(share * _PRINTED_DIGITS)
    negative_count = round(share * _NEGATIVES)
    digits = np.concatenate([_restyled(handwritten, random), glyphs(DIGITS, printed_count, random)])
    drawn_negatives = draw_negatives(negative_count, seed)
    if drawn is not None:
        drawn_digits = drawn.pixels[drawn.labels >= 0]
        chosen = random.permutation(len(drawn_digits))[: round(share * _DRAWN_DIGITS)]
        digits = np.concatenate([digits, drawn_digits[chosen]])
        drawn_negatives = np.concatenate([drawn_negatives, drawn.pixels[drawn.labels < 0]])
    model = _fit_network(digits, drawn_negatives, seed)
    negatives = draw_negatives(_ODDS_NEGATIVES, seed + 1)
    confidences = predict(validation).max(axis=1)
    negative_confidences = predict(negatives).max(axis=1)
    model = _fit_logit_weight(model, validation, confidences, negatives, negative_confidences)
    ranked = np.sort(_scores(model, validation, confidences))
    threshold = _round_down(ranked[int(MAX_FALSE_REJECTION_RATE * len(ranked))])
    return dataclasses.replace(model, threshold=threshold)


def lower_threshold(
    model: RejectionModel, validation: Split, predict: Callable[[Pixels], Scores]
) -> RejectionModel:
    """Lower the threshold until the runtime accepts 99 % of the validation digits in photographs.

    In a photograph, the runtime repeats an uncertain prediction by test-time augmentation (TTA).
    The scores of 15 varied copies then decide instead of the score of the image. A prediction is
    uncertain if the confidence is low, or if the score is little above the threshold. After
    training on few digits, most predictions are uncertain. With MNIST the threshold stays the same.

    Args:
        model: the rejection model, with the threshold of `fit_rejection_model`.
        validation: validation images; only images that are predicted correctly count.
        predict: the trained network: pixels uint8 (N, 28, 28, 1) → scores (N, classes).

    Returns:
        The model with the lower threshold, or with the same threshold if 99 % are accepted already
        or no threshold accepts 99 %.
    """
    scores = predict(validation.pixels)
    correct = np.flatnonzero(scores.argmax(axis=1) == validation.labels).tolist()
    scorer = RejectionScorer(0.0, model)
    confidences = scores.max(axis=1).tolist()
    # The highest threshold that accepts each digit: the score of the digit, unless the prediction
    # is uncertain.
    highest = [scorer.score(validation.pixels[n], confidences[n]) for n in correct]
    uncertain = [
        (position, n)
        for position, n in enumerate(correct)
        if highest[position] > -math.inf and scorer.is_uncertain(highest[position], confidences[n])
    ]
    if uncertain:
        variants = np.stack([tta_variants(validation.pixels[n]) for _, n in uncertain])
        variant_scores = predict(variants.reshape(-1, *variants.shape[2:]))
        variant_scores = variant_scores.reshape(*variants.shape[:2], -1)
        for (position, n), images, image_scores in zip(
            uncertain, variants, variant_scores, strict=True
        ):
            # Up to this threshold, the prediction is certain and TTA is not used.
            confident = confidences[n] >= CERTAIN_CONFIDENCE
            without_tta = highest[position] - CERTAIN_SCORE_MARGIN if confident else -math.inf
            repeated = tta_score(images, image_scores, scorer)
            highest[position] = max(without_tta, repeated)
    allowed = max(allowed_rejections(len(highest)), 0)
    # No threshold accepts a digit with the value minus infinity.
    candidates = [value for value in sorted(highest)[allowed:] if value > -math.inf]
    if not candidates:
        return model
    threshold = _round_down(candidates[0])
    return dataclasses.replace(model, threshold=min(model.threshold, threshold))


def _round_down(score: float) -> float:
    """Round a score down to a multiple of 0.001.

    A digit with exactly this score is then still accepted if an engine rounds differently.
    """
    return math.floor(score * 1000) / 1000


def _fit_network(digits: Pixels, negatives: Pixels, seed: int) -> RejectionModel:
    """Fit a network of one hidden layer to the ink, and round its weights to int8."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        (HIDDEN_UNITS,),
        alpha=1e-3,
        batch_size=256,
        learning_rate_init=3e-3,
        max_iter=_EPOCHS,
        random_state=seed,
    )
    squares = np.concatenate([_squares(digits), _squares(negatives)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # _EPOCHS is low on purpose
        warnings.filterwarnings("ignore", "Training interrupted by user", UserWarning)
        network.fit(squares, np.arange(len(squares)) < len(digits))
    interrupt.check()  # scikit-learn turns Ctrl-C into the warning "Training interrupted by user"
    weights = network.coefs_[0].T.reshape(HIDDEN_UNITS, *GRID_SHAPE)
    scales = np.abs(weights).max(axis=(1, 2)) / _MAX_INT8
    return RejectionModel(
        weights=np.rint(weights / scales[:, None, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        biases=network.intercepts_[0].astype(np.float32),
        outputs=network.coefs_[1][:, 0].astype(np.float32),
        logit_weight=0.0,
        threshold=0.0,
    )


def _fit_logit_weight(
    model: RejectionModel,
    digits: Pixels,
    digit_confidences: Floats,
    negatives: Pixels,
    negative_confidences: Floats,
) -> RejectionModel:
    """Fit the weight of the confidence's log-odds in a score by logistic regression.

    The other summand of a score, the ink score, has the weight 1.
    """
    from sklearn.linear_model import LogisticRegression

    ink_scores = np.concatenate(
        [
            _scores(model, digits, digit_confidences),
            _scores(model, negatives, negative_confidences),
        ]
    )
    odds = log_odds(np.concatenate([digit_confidences, negative_confidences]))
    features = np.stack([ink_scores, odds], axis=1)
    has_ink = np.isfinite(ink_scores)  # blank pages score minus infinity
    features, is_digit = features[has_ink], np.flatnonzero(has_ink) < len(digits)
    regression = LogisticRegression(class_weight="balanced").fit(features, is_digit)
    ink_weight, odds_weight = regression.coef_[0].tolist()
    return dataclasses.replace(model, logit_weight=max(0.0, odds_weight / ink_weight))


def _scores(model: RejectionModel, pixels: Pixels, confidences: Floats) -> Floats:
    scorer = RejectionScorer(0.0, model)
    pairs = zip(pixels, confidences.tolist(), strict=True)
    return np.array([scorer.score(image, confidence) for image, confidence in pairs])


def _squares(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the rejection model's features: mean ink, 0 to 1, of 10 × 14 squares, (N, 140)."""
    rows, columns = GRID_SHAPE
    parts = pixels[:, TOP_ROW:BOTTOM_ROW].reshape(-1, rows, SQUARE_PX, columns, SQUARE_PX)
    means = parts.mean(axis=(2, 4), dtype=np.float32).reshape(len(pixels), -1)
    features: npt.NDArray[np.float32] = means / 255
    return features


def _restyled(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Blur some of the images, and thicken or thin the strokes of others."""
    restyled: Pixels = pixels.copy()
    style_of_image = random.integers(3, size=len(pixels))
    styles: tuple[Callable[[list[Pixels]], Pixels], ...] = (
        _mean,
        np.maximum.reduce,
        np.minimum.reduce,
    )
    for style, combine in enumerate(styles):
        rows = (style_of_image == style) & (random.random(len(pixels)) < _RESTYLED_SHARE)
        padded = np.pad(pixels[rows], ((0, 0), (1, 1), (1, 1), (0, 0)))
        restyled[rows] = combine([padded[:, 1 + y : 29 + y, 1 + x : 29 + x] for y, x in _NEIGHBORS])
    return restyled


def _mean(planes: list[Pixels]) -> Pixels:
    mean: Pixels = np.mean(planes, axis=0).astype(np.uint8)
    return mean
