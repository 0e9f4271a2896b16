"""Builds the record of a classified image: the JSON object that every output receives.

`runtime.watch` and the batch command of `runtime` call `describe` for each image.
"""

from typing import Any

import numpy as np

from runtime.prediction import Prediction

Record = dict[str, Any]


def describe(image: str, prediction: Prediction, labels: tuple[str, ...], top: int = 1) -> Record:
    """Return the record of a prediction.

    Args:
        image: name of the image, its path for example.
        prediction: of the classifier.
        labels: of all classes, in the order of `prediction.scores`.
        top: number of most likely labels to include.

    Returns:
        The keys "image", "label", "confidence" (6 decimals), "accepted", and "top": the most likely
        labels, each with its confidence.
    """
    confidence = round(prediction.confidence, 6)
    best = [{"label": prediction.label, "confidence": confidence}]
    if top > 1:
        scores = prediction.scores
        ranked = np.argsort(-scores, kind="stable")[1:top].tolist()
        best += [{"label": labels[i], "confidence": round(float(scores[i]), 6)} for i in ranked]
    return {
        "image": image,
        "label": prediction.label,
        "confidence": confidence,
        "accepted": prediction.accepted,
        "top": best,
    }
