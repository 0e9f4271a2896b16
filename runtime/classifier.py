"""Classifier: spec + backend + preprocessing → Prediction."""

import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.backends import ENGINES, Backend, Pixels, Scores, install_hint, open_backend
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model import artifact
from runtime.model.rejection import RejectionScorer
from runtime.model.spec import CLASSES, ModelSpec
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder, ImageSource, describe
from runtime.preprocess.pipeline import (
    PreprocessedImage,
    buffer_stream,
    preprocess,
    preprocess_batch,
    stack_pixels,
)

if TYPE_CHECKING:
    from runtime.multi_digit.line_reader import LineReader
    from runtime.multi_digit.recognize import Recognition

_PRETRAINED = Path(__file__).parent / "pretrained"
# What `load` looks for when no model is named, best first for a small device.
_DEFAULT_MODELS = ("digits-int8.tflite", "digits.onnx")


class Classifier:
    """Reads digits with an open artifact. Safe to share between threads."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._labels = backend.spec.labels
        self._lock = threading.Lock()
        self._line_reader_sought = False
        self._opened_line_reader: LineReader | None = None
        self._scorer = RejectionScorer(
            backend.spec.confidence_threshold, backend.spec.rejection_model
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        backend: str | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> "Classifier":
        """Open an artifact with the engine that reads its format.

        Args:
            path: a .tflite or .onnx artifact; without it a published one, else one in `models/`.
            backend: an engine's name; else the first installed one that reads the file.
            threads: the engine's threads.
            device: "cpu" or "gpu".

        Raises:
            ArtifactError: the file is missing, damaged, or not what its spec says.
            BackendUnavailable: no engine for it is installed, or not on that device.
        """
        opened = artifact.read(path if path is not None else find_model(backend))
        if opened.spec.kind != CLASSES:
            raise ArtifactError(
                f"{opened.path} reads lines, not single images; name a model that python -m train "
                "and python -m export made"
            )
        return cls(open_backend(opened, backend, threads, device))

    @property
    def spec(self) -> ModelSpec:
        """The spec of the open artifact."""
        return self.backend.spec

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8, any N ≥ 1.

        Raises:
            ImageError: `pixels` has another shape or dtype.
        """
        return self.backend.scores(pixels)

    def classify(self, image: ImageSource, *, return_view: bool = False) -> Prediction:
        """Read one image: a path, bytes, a file object, a PIL image, an array, or pixels.

        Args:
            return_view: whether the prediction holds the preprocessed image; `runtime.visualize`
                draws that.

        Raises:
            ImageError: it cannot be read as an image.
        """
        preprocessed = preprocess(image)
        prediction = self.classify_preprocessed(preprocessed)
        return replace(prediction, view=preprocessed) if return_view else prediction

    def classify_preprocessed(self, preprocessed: PreprocessedImage) -> Prediction:
        """Classify an image that `runtime.preprocess.pipeline.preprocess` returned."""
        scores = self.backend.scores(preprocessed.pixels[np.newaxis])[0]
        return self._confirm(self._predict(preprocessed.pixels, scores), preprocessed)

    def classify_batch(self, images: Iterable[ImageSource]) -> list[Prediction]:
        """Read several images; the answers come in the order of the images.

        Raises:
            ImageError: one of them cannot be read as an image.
        """
        images = list(images)
        given = stack_pixels(images)
        if given is not None:
            return self._predict_all(given)
        preprocessed = preprocess_batch(images)
        predictions = self._predict_batch([one.pixels for one in preprocessed])
        return list(map(self._confirm, predictions, preprocessed))

    def read(self, image: ImageSource, *, keep_unknown: bool = True) -> "Recognition":
        """Read an image of several digits: touching ones, slanting lines, several lines.

        Models of the ten digits use the published line reader, which is opened at the first call;
        models of other classes split the ink themselves. If no digit is found, the picture is read
        as that of one digit.

        Args:
            image: a path, bytes, a file object, a PIL image or an array.
            keep_unknown: whether places that are not certainly one digit are `?` in the text;
                otherwise they are omitted.

        Raises:
            ImageError: it cannot be read as an image.
        """
        from runtime.multi_digit.read_lines import read_lines
        from runtime.multi_digit.recognize import recognize, single_digit, without_lines

        name = describe(image)
        image = buffer_stream(image, name)
        looks = CachedDecoder(image, name)
        reader = self._line_reader()
        if reader is not None:
            recognition = read_lines(looks, reader, self._predict_found, keep_unknown)
        else:
            digits_only = self.spec.rejection_model is not None
            recognition = recognize(looks, self._predict_found, keep_unknown, digits_only)
        # One digit has no neighbors that confirm it: the picture is read as that of one digit.
        text = "".join(recognition.lines)
        accepted = sum(digit.prediction.accepted for digit in recognition.digits)
        if accepted == 0 or (reader is not None and len(text) == 1):
            preprocessed = preprocess(image if isinstance(image, np.ndarray) else looks)
            alone = replace(self.classify_preprocessed(preprocessed), view=preprocessed)
            if alone.accepted and len(text) <= 1:
                return single_digit(alone)
            if len(text) == 1:
                return without_lines(recognition)
        return recognition

    def _line_reader(self) -> "LineReader | None":
        """Open the published line reader with this engine; None for models of other classes."""
        if self._labels != tuple("0123456789") or self.spec.rejection_model is None:
            return None
        with self._lock:
            if not self._line_reader_sought:
                self._line_reader_sought = True
                self._opened_line_reader = _open_line_reader(self.backend.name)
            return self._opened_line_reader

    def _predict_batch(self, batch: list[Pixels]) -> list[Prediction]:
        return self._predict_all(np.stack(batch)) if batch else []

    def _predict_found(self, batch: list[Pixels]) -> list[Prediction]:
        """As `_predict_batch`, of ink found in pictures: there a B is none of the digits."""
        predictions = self._predict_batch(batch)
        for prediction, pixels in zip(predictions, batch, strict=True):
            if prediction.accepted and self._looks_like_b(prediction, pixels):
                prediction.accepted = False
        return predictions

    def _predict_all(self, pixels: Pixels) -> list[Prediction]:
        scores = self.backend.scores(pixels)
        best, confidences = scores.argmax(axis=1), scores.max(axis=1)
        accepted = self._scorer.accept_all(pixels, confidences)
        labels = map(self._labels.__getitem__, best.tolist())
        return list(map(Prediction, labels, confidences.tolist(), scores, accepted.tolist()))

    def _confirm(self, prediction: Prediction, preprocessed: PreprocessedImage) -> Prediction:
        """Reject a digit if the ink has an implausible shape, if an 8 looks like a B, or if
        test-time augmentation does not confirm an uncertain prediction.

        Only models with a rejection model: filled shapes, B and marks that change their meaning
        if they are turned can be classes of others.
        """
        if self.spec.rejection_model is None or not prediction.accepted:
            return prediction
        if preprocessed.method in ("pixels", "mnist"):
            return prediction
        accepted = not preprocessed.implausible and not self._looks_like_b(
            prediction, preprocessed.pixels
        )
        score = self._scorer.score(preprocessed.pixels, prediction.confidence)
        if accepted and self._scorer.is_uncertain(score, prediction.confidence):
            from runtime.tta import mean_tta_score, tta_variants  # few images need it

            written, best = tta_variants(preprocessed.pixels), int(prediction.scores.argmax())
            again = mean_tta_score(written, self.backend.scores(written), best, self._scorer)
            accepted = again >= self._scorer.threshold
        return prediction if accepted else replace(prediction, accepted=False)

    def _looks_like_b(self, prediction: Prediction, pixels: Pixels) -> bool:
        """Whether this 8 is a B; of models that read digits alone, which have a rule of ink."""
        if prediction.label != "8" or self.spec.rejection_model is None:
            return False
        from runtime.lookalikes import has_straight_left_edge

        return has_straight_left_edge(pixels)

    def _predict(self, pixels: Pixels, scores: Scores) -> Prediction:
        best = int(scores.argmax())
        confidence = float(scores[best])
        accepted = self._scorer.accepts(pixels, confidence)
        return Prediction(self._labels[best], confidence, scores, accepted)


def _open_line_reader(engine: str) -> "LineReader | None":
    """Open the published line reader; None if no file of it is for this engine."""
    from runtime.multi_digit.line_reader import LineReader

    suffixes = [row.suffix for row in ENGINES if row.name == engine]
    paths = [_PRETRAINED / f"lines-int8{suffix}" for suffix in suffixes]
    if not paths or not paths[0].exists():
        return None
    return LineReader(open_backend(artifact.read(paths[0]), engine))


def find_model(backend: str | None = None) -> Path:
    """The artifact to use when none is named: published ones first, then those in `models/`.

    Raises:
        ArtifactError: there is none.
    """
    usable = [
        row for row in ENGINES if (row.installed() if backend is None else row.name == backend)
    ]
    suffixes = {row.suffix for row in usable}
    for folder in (_PRETRAINED, Path("models")):
        for name in _DEFAULT_MODELS:
            path = folder / name
            if path.suffix in suffixes and path.exists():
                return path
    if not suffixes:
        raise BackendUnavailable(f"no engine is installed: {install_hint(ENGINES[0].name)}")
    raise ArtifactError(
        f"no {' or '.join(_DEFAULT_MODELS)} in models: name one with --model, "
        "or make them: python -m train, then python -m export"
    )
