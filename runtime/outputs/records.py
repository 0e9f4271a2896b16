"""Build the record of a classified image: the JSON object that every output receives.

`digit-edge watch` and `digit-edge classify` call `describe` for each image.
"""

from typing import Any

import numpy as np

from runtime.prediction import Prediction

Record = dict[str, Any]  # key → a value that JSON can represent


def describe(image: str, prediction: Prediction, labels: tuple[str, ...], top: int = 1) -> Record:
    """Return the record of a prediction.

    Args:
        image: name of the image, for example the path.
        prediction: the result of the classifier.
        labels: names of all classes, in the order of `prediction.scores`.
        top: number of most likely labels in the record, at least 1; more than the number of classes
            includes all.

    Returns:
        The keys "image", "label", "confidence" (rounded to 6 decimals), "accepted" and "top". The
        value of "top" is a list of objects with the keys "label" and "confidence", the most likely
        label first.
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
