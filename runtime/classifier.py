"""Classify images: `Classifier` combines preprocessing, an engine and the rejection of non-digits.

`classify` predicts one digit, `classify_batch` predicts one digit in each of many images, and
`read` reads numbers of several digits. Programs import it as `runtime.Classifier`. The commands
`digit-edge classify`, `read`, `watch`, `camera` and `serve` use it.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.backends import ENGINES, Backend, Pixels, Scores, open_backend
from runtime.errors import ArtifactError, BackendUnavailable, ImageError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.default_model import PRETRAINED, find_model
from runtime.model.rejection import RejectionScorer
from runtime.model.spec import CLASSES, ModelSpec
from runtime.prediction import Prediction
from runtime.preprocess.decode import CachedDecoder, ImageSource, describe
from runtime.preprocess.form import MNIST_FORM
from runtime.preprocess.pipeline import (
    PreprocessedImage,
    buffer_stream,
    given_pixels,
    preprocess,
    preprocess_batch,
    stack_pixels,
)
from runtime.preprocess.segment import Box

if TYPE_CHECKING:
    from runtime.backends.feature_maps import Maps, Network
    from runtime.multi_digit.line_reader import LineReader
    from runtime.multi_digit.recognize import Recognition


# Of a digit alone in a picture that is rejected as one digit; with less, nothing is read.
_DOUBTFUL_CONFIDENCE = 0.5

# A digit that `read` has read apart from other ink. Distances are in heights of the digit.
_MIN_FRAME_MARGIN_HEIGHTS = 0.08  # from a frame around it, on each side
_MIN_BESIDE_HEIGHTS = 0.3  # to the far end of ink on one side, such as a dash
_MIN_BESIDE_CONFIDENCE = 0.95  # of a digit with ink on one side


def _is_read_apart(recognition: "Recognition", box: Box) -> bool:
    """Return whether the one digit that is accepted was read apart from ink around or beside it.

    `classify` takes this ink together with the digit. A 1 with ink beside it may be a part of that.

    Args:
        recognition: of a picture with one accepted digit.
        box: of all ink that `classify` takes.
    """
    (digit,) = (digit for digit in recognition.digits if digit.prediction.accepted)
    left, top, right, bottom = digit.box
    height = bottom - top
    distances = (left - box[0], top - box[1], box[2] - right, box[3] - bottom)
    is_framed = min(distances) > _MIN_FRAME_MARGIN_HEIGHTS * height
    is_certain = (
        digit.prediction.label != "1" and digit.prediction.confidence >= _MIN_BESIDE_CONFIDENCE
    )
    return is_framed or (is_certain and max(distances) > _MIN_BESIDE_HEIGHTS * height)


class Classifier:
    """Classifies images with an open artifact: a model file that contains its metadata (the spec).

    The class is safe to share between threads. In a process that `os.fork` or `multiprocessing`
    makes, the first use opens the artifact again, because an engine does not survive a fork. With
    NumPy 1, whose OpenBLAS can hang after a fork, fork only while no other thread computes.

    Args:
        backend: an engine with an open artifact; `Classifier.load` opens a file instead.
        opened: the artifact that `backend` has opened; needed for `feature_maps` only.
        reopen: opens the same artifact again, after a fork; without it, the classifier raises
            BackendUnavailable in the new process.
    """

    def __init__(
        self,
        backend: Backend,
        opened: Artifact | None = None,
        reopen: Callable[[], Backend] | None = None,
    ) -> None:
        self._use(backend)
        self._artifact = opened
        self._network: Network | None = None  # computes the feature maps
        self._reopen = reopen
        self._labels, self._form = backend.spec.labels, backend.spec.pixel_form
        self._lock = threading.Lock()
        self._line_reader_sought = False
        self._opened_line_reader: LineReader | None = None
        self._scorer = RejectionScorer(
            backend.spec.confidence_threshold, backend.spec.rejection_model, self._form
        )
        _OPEN.add(self)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        backend: str | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> "Classifier":
        """Open an artifact with an engine that supports its format.

        Args:
            path: a .tflite or .onnx artifact; None opens the result of `find_model`.
            backend: name of the engine, or of the extra that installs it; None uses the first
                installed engine that opens the file.
            threads: number of threads of the engine, at least 1.
            device: "cpu", "gpu" or another device of the engine.

        Raises:
            ArtifactError: the file is missing, damaged or contradicts its spec.
            BackendUnavailable: no engine for the file is installed, or the engine lacks the device.
        """
        opened = artifact.read(path if path is not None else find_model(backend))
        return cls.from_artifact(opened, backend, threads, device)

    @classmethod
    def from_artifact(
        cls, opened: Artifact, backend: str | None = None, threads: int = 1, device: str = "cpu"
    ) -> "Classifier":
        """Open an artifact that was read already.

        Args:
            opened: the artifact.
            backend: as for `load`.
            threads: as for `load`.
            device: as for `load`.

        Raises:
            ArtifactError: the model contradicts its spec, or reads lines.
            BackendUnavailable: no engine for the file is installed, or the engine lacks the device.
        """
        if opened.spec.kind != CLASSES:
            raise ArtifactError(
                f"{opened.path} reads lines, not single images: pass a model that digit-edge train "
                "and digit-edge export made"
            )

        def reopen() -> Backend:
            return open_backend(opened, backend, threads, device)

        return cls(reopen(), opened, reopen)

    def _use(self, backend: Backend) -> None:
        """Use an engine from now on."""
        self.backend = backend
        # The engine native also rejects, in the same call: see `NativeBackend.classify`.
        self._classify: Callable[[Pixels], tuple[Scores, list[int]]] | None
        self._classify = getattr(backend, "classify", None)

    @property
    def spec(self) -> ModelSpec:
        """The spec of the open artifact."""
        return self.backend.spec

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        Raises:
            ImageError: `pixels` has a different shape or dtype than the model's form.
        """
        return self.backend.scores(pixels)

    def preprocess(self, image: ImageSource) -> PreprocessedImage:
        """Convert an image to the pixels that the model takes, see `spec.pixel_form`.

        Raises:
            ImageError: the image cannot be read.
        """
        return preprocess(image, form=self._form)

    @property
    def reads_numbers(self) -> bool:
        """Whether `read` can split images into digits for this model."""
        return self._form == MNIST_FORM

    def feature_maps(self, pixels: Pixels) -> "list[Maps]":
        """Return the outputs of the network's convolutions, before each max pooling.

        The first call opens the model a second time: see `runtime.backends.feature_maps`.

        Args:
            pixels: one image in the model's form, uint8 (28, 28, 1) for digits.

        Returns:
            For each max pooling, float32 (channels, height, width).

        Raises:
            ArtifactError: the network has no max pooling.
            BackendUnavailable: no installed engine keeps the tensors in between.
        """
        from runtime.backends.feature_maps import open_feature_maps

        with self._lock:
            if self._network is None:
                if self._artifact is None:
                    raise BackendUnavailable(
                        "the file of the model is unknown: use Classifier.load"
                    )
                self._network = open_feature_maps(self._artifact)
        return self._network(pixels)

    def classify(self, image: ImageSource, *, return_view: bool = False) -> Prediction:
        """Predict the digit in one image.

        Args:
            image: a path, the bytes of a file, a binary file object, a Pillow image, or an array.
                An array has the shape (height, width[, 1, 3 or 4]) and the dtype uint8, uint16,
                bool, or float with values from 0 to 1. A uint8 array (28, 28) or (28, 28, 1), or
                of the shape of the model's form, is classified without preprocessing.
            return_view: store the preprocessed image in `Prediction.view`, for `runtime.visualize`.

        Returns:
            The prediction; a blank image has a label too and is not accepted.

        Raises:
            ImageError: the image cannot be read.
        """
        pixels = None if return_view else given_pixels(image, self._form)
        if pixels is not None:  # as `classify_preprocessed`, in two thirds of its time
            return self._predict(pixels)
        preprocessed = self.preprocess(image)
        prediction = self.classify_preprocessed(preprocessed)
        return replace(prediction, view=preprocessed) if return_view else prediction

    def classify_preprocessed(self, preprocessed: PreprocessedImage) -> Prediction:
        """Predict the digit in a preprocessed image.

        Args:
            preprocessed: the result of the method `preprocess`.
        """
        return self._confirm(self._predict(preprocessed.pixels), preprocessed)

    def classify_batch(self, images: Iterable[ImageSource]) -> list[Prediction]:
        """Predict the digit in each of several images.

        Args:
            images: images as for `classify`.

        Returns:
            The predictions in the order of the images; an empty list if there are no images.

        Raises:
            ImageError: one of the images cannot be read.
        """
        images = list(images)
        pixels = stack_pixels(images, self._form)
        if pixels is not None:
            return self._predict_all(pixels)
        preprocessed = preprocess_batch(images, self._form)
        predictions = self._predict_batch([image.pixels for image in preprocessed])
        return list(map(self._confirm, predictions, preprocessed))

    def read(self, image: ImageSource, *, keep_unknown: bool = True) -> "Recognition":
        """Read numbers of several digits: touching digits, slanted lines, several lines.

        Models of the ten digits use the published line reader, which is opened at the first call,
        with another installed engine if theirs cannot open it. Models of other classes, and all
        without such an engine, split the ink themselves. If no digit is accepted, the image is
        classified as one digit instead.

        Args:
            image: as for `classify`.
            keep_unknown: whether each place that is not certainly one digit is `?` in the text;
                otherwise it is omitted.

        Raises:
            ArtifactError: the model takes photographs, or ink of another size than 28×28.
            ImageError: the image cannot be read.
        """
        if not self.reads_numbers:
            raise ArtifactError(
                f"the model {self.spec.name} takes {self._form}, but numbers are read by a model "
                "of 28x28 ink: pass another model, or classify each crop"
            )
        name = describe(image)
        try:
            recognition = self._read(image, name)
        except MemoryError as error:
            raise ImageError(f"{name}: not enough memory to read it; scale it down") from error
        return recognition if keep_unknown else recognition.without_unknown()

    def _read(self, image: ImageSource, name: str) -> "Recognition":
        """Read numbers, see `read`, with each place that is not certainly one digit as `?`."""
        from runtime.multi_digit.read_lines import read_lines
        from runtime.multi_digit.recognize import (
            as_rejected,
            as_unknown_digit,
            recognition_of_single_digit,
            recognize,
        )

        image = buffer_stream(image, name)
        decoder = CachedDecoder(image, name)
        reader = self._line_reader()
        if reader is not None:
            recognition = read_lines(decoder, reader, self._predict_batch, self._is_confirmed)
        else:
            digits_only = self.spec.rejection_model is not None
            recognition = recognize(decoder, self._predict_components, digits_only)
        # One digit has no neighbors that confirm it, so its image is classified as one digit.
        text = "".join(recognition.lines)
        accepted = sum(digit.prediction.accepted for digit in recognition.digits)
        if recognition.has_other_symbols_only:
            return recognition
        if accepted == 0 or (reader is not None and len(text) == 1):
            preprocessed = preprocess(image if isinstance(image, np.ndarray) else decoder)
            prediction = replace(self.classify_preprocessed(preprocessed), view=preprocessed)
            if accepted == 1 and _is_read_apart(recognition, preprocessed.box):
                return recognition
            if prediction.accepted and len(text) <= 1:
                return recognition_of_single_digit(prediction)
            if len(text) == 1:
                is_doubtful = text != "1" and recognition.confidences[0] >= _DOUBTFUL_CONFIDENCE
                if is_doubtful:
                    return as_unknown_digit(recognition)
                return as_rejected(recognition)
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

    def _predict_components(self, batch: list[Pixels]) -> list[Prediction]:
        """Predict the ink components of a page; reject them at least as strictly as `classify`."""
        predictions = self._predict_batch(batch)
        return [
            self._repeated(prediction, pixels) if prediction.accepted else prediction
            for prediction, pixels in zip(predictions, batch, strict=True)
        ]

    def _predict_all(self, pixels: Pixels) -> list[Prediction]:
        if self._classify is not None:
            scores, classified = self._classify(pixels)
            return list(map(self._prediction, classified, scores))
        scores = self.backend.scores(pixels)
        best, confidences = scores.argmax(axis=1), scores.max(axis=1)
        accepted = self._scorer.accept_all(pixels, confidences)
        labels = map(self._labels.__getitem__, best.tolist())
        return list(map(Prediction, labels, confidences.tolist(), scores, accepted.tolist()))

    def _confirm(self, prediction: Prediction, preprocessed: PreprocessedImage) -> Prediction:
        """Repeat an uncertain prediction, and reject it if the shape of the ink is implausible.

        Predictions of models without a rejection model are returned unchanged: such a model may
        have a filled shape as a class. So are those of blank images and of MNIST's format.
        """
        if preprocessed.method in ("pixels", "mnist", "blank"):
            return prediction
        if preprocessed.implausible and self.spec.rejection_model is not None:
            return replace(prediction, accepted=False)
        return self._repeated(prediction, preprocessed.pixels)

    def _is_confirmed(
        self,
        prediction: Prediction,
        pixels: Pixels,
        may_augment: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Return whether an accepted prediction stays the same and accepted if it is repeated.

        Args:
            prediction: the accepted prediction.
            pixels: of the image, uint8 (28, 28, 1).
            may_augment: see `_repeated`.
        """
        repeated = self._repeated(prediction, pixels, may_augment)
        return repeated.accepted and repeated.label == prediction.label

    def _repeated(
        self,
        prediction: Prediction,
        pixels: Pixels,
        may_augment: Callable[[], bool] = lambda: True,
    ) -> Prediction:
        """Average the scores of an uncertain prediction over varied copies of the image.

        The copies decide whether an uncertain prediction is accepted. An 8 that looks like a B is
        rejected, and so is a digit that a seven-segment display shows otherwise. Predictions of
        models without a rejection model are returned unchanged.

        Args:
            prediction: the prediction for the image itself.
            pixels: of the image, uint8 (28, 28, 1).
            may_augment: called before test-time augmentation, which takes 1.5 ms. If it returns
                False, the prediction is rejected.
        """
        if self.spec.rejection_model is None:
            return prediction
        accepted = prediction.accepted
        score = self._scorer.score(pixels, prediction.confidence)
        if self._scorer.is_uncertain(score, prediction.confidence):
            if not may_augment():
                return replace(prediction, accepted=False)
            from runtime.tta import tta_score, tta_variants  # few images need it

            variants = tta_variants(pixels)
            scores = self.backend.scores(variants)
            mean = scores.mean(axis=0)
            best = int(mean.argmax())
            accepted = tta_score(variants, scores, self._scorer) >= self._scorer.threshold
            prediction = Prediction(self._labels[best], float(mean[best]), mean, accepted)
        if accepted and (
            self._looks_like_b(prediction, pixels) or self._looks_like_display(prediction, pixels)
        ):
            return replace(prediction, accepted=False)
        return prediction

    def _looks_like_b(self, prediction: Prediction, pixels: Pixels) -> bool:
        """Return whether the image is a B predicted as 8; False if the model has other classes."""
        if prediction.label != "8" or self.spec.rejection_model is None:
            return False
        from runtime.lookalikes import has_straight_left_edge

        return has_straight_left_edge(pixels)

    def _looks_like_display(self, prediction: Prediction, pixels: Pixels) -> bool:
        """Return whether the image is a display's 3 predicted as 7, or its 6 predicted as 5."""
        if prediction.label not in ("5", "7"):
            return False
        from runtime.lookalikes import is_display_of_other

        return is_display_of_other(pixels, int(prediction.label))

    def _predict(self, pixels: Pixels) -> Prediction:
        batch = pixels[np.newaxis]
        if self._classify is not None:
            rows, labels = self._classify(batch)
            return self._prediction(labels[0], rows[0])
        scores = self.backend.scores(batch)[0]
        best = int(scores.argmax())
        confidence = float(scores[best])
        accepted = self._scorer.accepts(pixels, confidence)
        return Prediction(self._labels[best], confidence, scores, accepted)

    def _prediction(self, label: int, scores: Scores) -> Prediction:
        """Return the prediction of the engine native: index n of the label, or -1 - n."""
        accepted = label >= 0
        best = label if accepted else -1 - label
        return Prediction(self._labels[best], float(scores[best]), scores, accepted)

    def _after_fork(self) -> None:
        """Replace what does not survive a fork."""
        self._lock = threading.Lock()
        _keep_forever(self._opened_line_reader)
        self._line_reader_sought, self._opened_line_reader = False, None
        if not isinstance(self.backend, _ForkedBackend):
            _keep_forever(self.backend)
            self._use(_ForkedBackend(self, self.backend))

    def _reopened(self) -> Backend:
        """Return the engine of this process, after a fork."""
        with self._lock:
            if isinstance(self.backend, _ForkedBackend):
                if self._reopen is None:
                    raise BackendUnavailable(
                        "this Classifier was opened before a fork: open one in each process"
                    )
                self._use(self._reopen())
            return self.backend


class _ForkedBackend:
    """Stands for an engine that was opened before this process was forked.

    The engine's threads do not exist in this process, and another thread may have held its locks at
    the time of the fork: a call could wait forever. The first call opens the artifact again.

    Args:
        classifier: its owner.
        former: the engine.
    """

    def __init__(self, classifier: Classifier, former: Backend) -> None:
        self._classifier = classifier
        self.name, self.version = former.name, former.version
        self.device, self.fallback, self.spec = former.device, former.fallback, former.spec

    def scores(self, pixels: Pixels) -> Scores:
        """Return `Backend.scores` of the engine that is opened now.

        Raises:
            BackendUnavailable: the classifier cannot open the artifact.
        """
        return self._classifier._reopened().scores(pixels)


_OPEN: "weakref.WeakSet[Classifier]" = weakref.WeakSet()  # all classifiers of this process


def _keep_forever(engine: object) -> None:
    """Keep an engine of the process before a fork until this process ends, and then, too.

    Closing it could wait forever for its threads, which do not exist in this process.
    """
    import ctypes  # here, because few programs fork

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


def _renew_after_fork() -> None:
    """Renew all classifiers in a process that was forked."""
    for classifier in list(_OPEN):
        classifier._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_after_fork)


def _open_line_reader(engine: str) -> "LineReader | None":
    """Open the published line reader with an engine, or with another one if that cannot open it.

    Returns:
        The line reader; None if no installed engine opens it.
    """
    from runtime.multi_digit.line_reader import LineReader

    own = next((row.suffix for row in ENGINES if row.name == engine), "")
    suffixes = dict.fromkeys((own, *(row.suffix for row in ENGINES)))
    for suffix in suffixes:
        path = PRETRAINED / f"lines-int8{suffix}"
        if path.exists():
            with suppress(BackendUnavailable):
                opened = artifact.read(path)
                return LineReader(open_backend(opened, engine if suffix == own else None))
    return None
