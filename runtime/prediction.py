"""`Prediction`: the label and scores of one image.

`runtime.Classifier` returns it; the commands print it, and `runtime.visualize` draws it.
"""

from dataclasses import dataclass

from runtime.backends import Scores
from runtime.preprocess.pipeline import PreprocessedImage


# Not frozen: a frozen dataclass takes three times as long to create.
@dataclass(slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: name of the class with the highest score.
        confidence: the score of the label, 0 to 1, calibrated on the validation set.
        scores: (classes,) float32, softmax, in the order of the labels in the model file. If a
            prediction from a picture is uncertain, their mean over test-time augmentations.
        accepted: False if the image is probably not one of the classes. A blank image is always
            rejected. A model with a rejection model, which only models of the ten digits have,
            rejects an image if one of these holds:

            - The rejection score is below the rejection model's threshold. In a picture, the varied
              copies of test-time augmentation decide if the prediction is uncertain.
            - The ink has an implausible shape (`PreprocessedImage.implausible`).
            - The prediction is 8, and the image looks like the letter B.

            Images that are already in MNIST's format are rejected by the score only. A model
            without a rejection model rejects an image if the confidence is below the
            `confidence_threshold` in the model file.
        view: the preprocessed image if `return_view=True` was passed to `Classifier.classify`, or
            if `Classifier.read` classified the whole image; otherwise None.
    """

    label: str
    confidence: float
    scores: Scores
    accepted: bool
    view: PreprocessedImage | None = None
