"""What a command says of an image: the record that becomes a JSON object, a row or a line."""

from typing import Any

import numpy as np

from runtime.classifier import Prediction

Record = dict[str, Any]


def describe(image: str, prediction: Prediction, labels: tuple[str, ...], top: int = 1) -> Record:
    """image, label, confidence, accepted, and the `top` likeliest labels with their scores."""
    best_first = np.argsort(-prediction.scores, kind="stable")[:top].tolist()
    scores = prediction.scores
    return {
        "image": image,
        "label": prediction.label,
        "confidence": round(prediction.confidence, 6),
        "accepted": prediction.accepted,
        "top": [{"label": labels[i], "confidence": round(float(scores[i]), 6)} for i in best_first],
    }
