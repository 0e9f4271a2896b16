"""The record of a classified image: the JSON object that every output shares."""

from typing import Any

import numpy as np

from runtime.prediction import Prediction

Record = dict[str, Any]


def describe(image: str, prediction: Prediction, labels: tuple[str, ...], top: int = 1) -> Record:
    """image, label, confidence, accepted, and the `top` likeliest labels with their scores."""
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
