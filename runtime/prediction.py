"""Prediction: the classes' scores of one image, and whether one of them is accepted."""

from dataclasses import dataclass

from runtime.backends import Scores
from runtime.preprocess.pipeline import PreprocessedImage


# Not frozen: making ten thousand would take three times as long.
@dataclass(slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: the likeliest class.
        confidence: its score, 0 to 1; calibrated on the data the model was validated with.
        scores: (classes,) float32, in the order of the spec's labels.
        accepted: False if the image is probably not one of the classes. A blank image is always
            rejected. With a rejection model, which models of the ten digits carry, an image is
            rejected if that scores it below its threshold, if the ink found in a picture has an
            implausible shape (`PreprocessedImage.implausible`) or looks like a B, or if test-time
            augmentation does not confirm an uncertain prediction. Otherwise the confidence alone
            decides: it has to reach the spec's `confidence_threshold`.
        view: how the image was seen, where that was asked for; else None.
    """

    label: str
    confidence: float
    scores: Scores
    accepted: bool
    view: PreprocessedImage | None = None
