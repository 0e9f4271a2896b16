"""Fits the rejection model to digits and to drawn negatives."""

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
from runtime.tta import mean_tta_score, tta_variants
from train.data.splits import Split
from train.evaluate import MIN_CALIBRATION_IMAGES, allowed_rejections
from train.negatives import DIGITS, draw_negatives, glyphs

HIDDEN = 16
MAX_FALSE_REJECTION_RATE = 0.006  # share of the held-back digits that may score below the threshold
# Digits of the training set, strangers, and printed digits: print is to be accepted as well.
_SEEN, _STRANGE, _PRINTED = 40_000, 24_000, 4_000
# Strangers that the weight of the confidence's odds is fitted to.
_FRESH = 2_000
_EPOCHS = 30
# Share of the seen digits that are given another pen: blurred, thickened or thinned.
_RESTYLED = 0.3
# A pixel and its four neighbors.
_NEIGHBORS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))

Floats = npt.NDArray[np.float64]


def fit_rejection_model(
    labels: tuple[str, ...],
    seen: Pixels,
    validation: Pixels,
    answer: Callable[[Pixels], Scores],
    seed: int,
) -> RejectionModel | None:
    """Fit the rule and its threshold; None if the classes are not the ten digits, or if fewer than
    MIN_CALIBRATION_IMAGES held-back images have any ink.

    Of 20 held-back images the least is the threshold, and one new digit in 21 scores less: of
    drawn digits test-time augmentation made that one in seven.

    Only for digits is it known what is not one of the classes: a letter is a negative among
    digits, and can be a class of another model.

    Args:
        labels: names of the classes.
        seen: training images, uint8 (N, 28, 28, 1).
        validation: validation images; at most `MAX_FALSE_REJECTION_RATE` of them score below the
            threshold.
        answer: the model: pixels → scores (N, classes).
        seed: decides what is drawn and where the fit starts.
    """
    # Images of one gray are refused before any rule is asked: they have no say in it.
    validation = validation[validation.min(axis=(1, 2, 3)) < validation.max(axis=(1, 2, 3))]
    if labels != tuple(DIGITS) or len(validation) < MIN_CALIBRATION_IMAGES:
        return None
    random = np.random.default_rng([seed, len(seen)])
    some = seen[random.permutation(len(seen))[:_SEEN]]
    # Few digits ask for few strangers: the shares stay the same.
    share = min(1.0, len(some) / _SEEN)
    known = np.concatenate(
        [
            _restyled(some, random),
            glyphs(DIGITS, max(_PRINTED // 8, round(share * _PRINTED)), random),
        ]
    )
    rule = _fit_ink(known, draw_negatives(max(_STRANGE // 8, round(share * _STRANGE)), seed), seed)
    fresh = draw_negatives(_FRESH, seed + 1)
    confidences = answer(validation).max(axis=1)
    rule = _fit_logit_weight(rule, validation, confidences, fresh, answer(fresh).max(axis=1))
    ranked = np.sort(_scores(rule, validation, confidences))
    # Rounded down: the digits that decide it stay accepted on an engine that rounds otherwise.
    threshold = math.floor(ranked[int(MAX_FALSE_REJECTION_RATE * len(ranked))] * 1e3) / 1e3
    return dataclasses.replace(rule, threshold=threshold)


def lower_threshold(
    rule: RejectionModel, validation: Split, answer: Callable[[Pixels], Scores]
) -> RejectionModel:
    """Lower the threshold until the runtime accepts 99 % of the held-back digits in pictures.

    In pictures test-time augmentation has to confirm a digit that scores little above the
    threshold. Few digits give wide scores, so that this concerns most of them. With MNIST it
    changes nothing.

    Args:
        rule: with the threshold of `fit_rejection_model`.
        validation: validation images; only right predictions count.
        answer: the model: pixels → scores (N, classes).
    """
    scores = answer(validation.pixels)
    right = np.flatnonzero(scores.argmax(axis=1) == validation.labels).tolist()
    scorer = RejectionScorer(0.0, rule)
    confidences = scores.max(axis=1).tolist()
    # Of each digit the highest threshold with which it is accepted; enough if it is certain.
    highest = [scorer.score(validation.pixels[n], confidences[n]) for n in right]
    uncertain = [
        (at, n)
        for at, n in enumerate(right)
        if highest[at] > -math.inf and scorer.is_uncertain(highest[at], confidences[n])
    ]
    if uncertain:
        written = np.stack([tta_variants(validation.pixels[n]) for _, n in uncertain])
        copies = answer(written.reshape(-1, *written.shape[2:])).reshape(*written.shape[:2], -1)
        for (at, n), images, of_copies in zip(uncertain, written, copies, strict=True):
            without = (
                highest[at] - CERTAIN_SCORE_MARGIN
                if confidences[n] >= CERTAIN_CONFIDENCE
                else -math.inf
            )
            again = mean_tta_score(images, of_copies, int(scores[n].argmax()), scorer)
            highest[at] = max(without, min(highest[at], again))
    # No threshold accepts those of minus infinity.
    allowed = max(allowed_rejections(len(highest)), 0)
    possible = [one for one in sorted(highest)[allowed:] if one > -math.inf]
    if not possible:
        return rule
    threshold = math.floor(possible[0] * 1e3) / 1e3
    return dataclasses.replace(rule, threshold=min(rule.threshold, threshold))


def _fit_ink(known: Pixels, unknown: Pixels, seed: int) -> RejectionModel:
    """The hidden layer, its weights rounded to int8."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        (HIDDEN,),
        alpha=1e-3,
        batch_size=256,
        learning_rate_init=3e-3,
        max_iter=_EPOCHS,
        random_state=seed,
    )
    squares = np.concatenate([_squares(known), _squares(unknown)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are meant to be few
        warnings.filterwarnings("ignore", "Training interrupted by user", UserWarning)
        network.fit(squares, np.arange(len(squares)) < len(known))
    interrupt.check()  # of KeyboardInterrupt scikit-learn makes that warning
    weights = network.coefs_[0].T.reshape(HIDDEN, *GRID_SHAPE)
    scales = np.abs(weights).max(axis=(1, 2)) / 127
    return RejectionModel(
        weights=np.rint(weights / scales[:, None, None]).astype(np.int8),
        scales=scales.astype(np.float32),
        biases=network.intercepts_[0].astype(np.float32),
        outputs=network.coefs_[1][:, 0].astype(np.float32),
        logit_weight=0.0,
        threshold=0.0,
    )


def _fit_logit_weight(
    rule: RejectionModel, digits: Pixels, sure: Floats, strange: Pixels, strange_sure: Floats
) -> RejectionModel:
    """Set what the confidence's odds are worth beside the ink: logistic regression on both."""
    from sklearn.linear_model import LogisticRegression

    ink = np.concatenate([_scores(rule, digits, sure), _scores(rule, strange, strange_sure)])
    both = np.stack([ink, log_odds(np.concatenate([sure, strange_sure]))], axis=1)
    # Pages of one gray are refused before any of this.
    judged = np.isfinite(ink)
    both, is_digit = both[judged], np.flatnonzero(judged) < len(digits)
    of_ink, of_odds = (
        LogisticRegression(class_weight="balanced").fit(both, is_digit).coef_[0].tolist()
    )
    return dataclasses.replace(rule, logit_weight=max(0.0, of_odds / of_ink))


def _scores(rule: RejectionModel, pixels: Pixels, confidences: Floats) -> Floats:
    scorer = RejectionScorer(0.0, rule)
    pairs = zip(pixels, confidences.tolist(), strict=True)
    return np.array([scorer.score(image, confidence) for image, confidence in pairs])


def _squares(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Mean ink, 0 to 1, of the squares that the rule looks at: (N, 140)."""
    rows, columns = GRID_SHAPE
    parts = pixels[:, TOP_ROW:BOTTOM_ROW].reshape(-1, rows, SQUARE_PX, columns, SQUARE_PX)
    return parts.mean(axis=(2, 4), dtype=np.float32).reshape(len(pixels), -1) / 255


def _restyled(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Some of the images blurred, some with thicker and some with thinner strokes."""
    styled = pixels.copy()
    chosen = random.integers(3, size=len(pixels))
    for style, combine in enumerate((_mean, np.maximum.reduce, np.minimum.reduce)):
        rows = (chosen == style) & (random.random(len(pixels)) < _RESTYLED)
        padded = np.pad(pixels[rows], ((0, 0), (1, 1), (1, 1), (0, 0)))
        styled[rows] = combine([padded[:, 1 + y : 29 + y, 1 + x : 29 + x] for y, x in _NEIGHBORS])
    return styled


def _mean(planes: list[Pixels]) -> Pixels:
    return np.mean(planes, axis=0).astype(np.uint8)
