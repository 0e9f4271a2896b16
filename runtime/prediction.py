"""`Prediction`: the label and scores of one image, returned by `runtime.Classifier`."""

from dataclasses import dataclass

from runtime.backends import Scores
from runtime.preprocess.pipeline import PreprocessedImage


# Not frozen: a frozen dataclass takes three times as long to create.
@dataclass(slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: the likeliest class.
        confidence: the score of the label, 0 to 1, calibrated on the validation set.
        scores: (classes,) float32, in the order of the spec's labels.
        accepted: False if the image is probably not one of the classes. A blank image is always
            rejected. Models of the ten digits have a rejection model, which rejects an image if

            - its rejection score is below the threshold,
            - its ink has an implausible shape (`PreprocessedImage.implausible`),
            - it is predicted as 8 and looks like a B, or
            - test-time augmentation does not confirm an uncertain prediction.

            Other models reject an image if its confidence is below the spec's
            `confidence_threshold`.
        view: the preprocessed image if `return_view=True` was passed, otherwise None.
    """

    label: str
    confidence: float
    scores: Scores
    accepted: bool
    view: PreprocessedImage | None = None
