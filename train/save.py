"""Saves a trained network as a `.keras` artifact: a model file with its spec inside.

The spec has the class names, the metrics and golden outputs. The same network gives the same bytes.
`train.run` calls `save`.
"""

import io
import json
import math
import platform
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.rejection import RejectionModel
from runtime.model.spec import Dataset, GoldenOutputs, Metrics, ModelSpec
from runtime.preprocess.form import INK, MNIST_FORM, Form
from runtime.preprocess.mnist_format import to_ink_format
from runtime.preprocess.pipeline import to_pixels
from runtime.system import atomic_write
from train.data.load import sklearn_digits
from train.evaluation.evaluate import logits_of

if TYPE_CHECKING:
    import keras

# Number of golden inputs: images that an artifact contains with their scores. The runtime's
# self-test compares an engine's scores with these.
GOLDEN_INPUTS = 8
MAX_GOLDEN_BYTES = 400_000  # of the golden inputs of a model of large images
# Time stamp of all files in the `.keras` archive, constant to make the bytes reproducible. It is
# the earliest time of the zip format, as (year, month, day, hour, minute, second).
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(
    path: Path,
    model: "keras.Model",
    labels: tuple[str, ...],
    temperature: float,
    confidence_threshold: float,
    dataset: Dataset,
    metrics: Metrics,
    provenance: tuple[tuple[str, str], ...],
    rejection_model: RejectionModel | None = None,
    form: Form = MNIST_FORM,
) -> Artifact:
    """Write an inference network with its spec to `path` atomically.

    Args:
        path: the `.keras` file to write; its name without the suffix becomes the model's name.
        model: a network as `train.model.build` builds it.
        labels: names of the classes, in the order of the scores.
        temperature: the temperature already folded into the network, for the spec.
        confidence_threshold: lowest confidence that is accepted, from 0 to 1. The runtime ignores
            this threshold if there is a rejection model.
        dataset: name and digest of the data that the network was trained on.
        metrics: accuracy on the training and the test images.
        provenance: (name, value) of everything else that determined the network.
        rejection_model: decides which predictions are accepted; None if there is no such model.
        form: the form of the network's pixels.

    Returns:
        The written artifact.

    Raises:
        EdgeError: the file cannot be written.
    """
    pixels = golden_inputs(form)
    spec = ModelSpec(
        name=path.stem,
        labels=labels,
        input_shape=form.shape,
        precision="float32",
        temperature=temperature,
        confidence_threshold=confidence_threshold,
        source_sha256="",
        dataset=dataset,
        metrics=metrics,
        golden=GoldenOutputs(pixels, logits_of(model, pixels)),
        provenance=provenance,
        rejection_model=rejection_model,
        form=form.name,
    )
    return artifact.write(path, to_bytes(model), spec)


def golden_inputs(form: Form = MNIST_FORM) -> npt.NDArray[np.uint8]:
    """Return the golden inputs of every artifact of a form, uint8 (8, *form.shape).

    The golden inputs are the first test image of each digit from 0 to 7 in scikit-learn's digits,
    also for other classes: the user's images are not given away with an artifact.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    test = sklearn_digits().test
    first = [int(np.argmax(test.labels == digit)) for digit in range(GOLDEN_INPUTS)]
    return digits_in_form(test.pixels[first], form)


def digits_in_form(digits: npt.NDArray[np.uint8], form: Form) -> npt.NDArray[np.uint8]:
    """Convert golden inputs to another form: in color, on papers of different colors.

    Args:
        digits: uint8 (N, 28, 28, 1) in MNIST's form.
        form: the form of the result.

    Returns:
        uint8 (N, *form.shape); fewer if they would exceed MAX_GOLDEN_BYTES, but at least two.
    """
    if form == MNIST_FORM:
        return digits
    digits = digits[: max(2, MAX_GOLDEN_BYTES // math.prod(form.shape))]
    if form.name == INK:
        return np.stack([to_ink_format(image[:, :, 0], form.size) for image in digits])
    # The paper of image n is bright in the channels of the bits of n.
    bright = (np.arange(len(digits))[:, None] >> np.arange(3)) & 1
    paper = np.array([40, 200])[bright][:, None, None, :]
    photos = np.rint(paper + digits / 255 * (255 - 2 * paper)).astype(np.uint8)
    return np.stack([to_pixels(photo, form=form) for photo in photos])


def to_bytes(model: "keras.Model") -> bytes:
    """Return the bytes of a `.keras` file of a model, without time stamps and memory addresses."""
    with atomic_write.temporary_folder() as folder:
        saved = folder / "model.keras"
        model.save(saved)
        buffer = io.BytesIO()
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name == "metadata.json":
                    content = json.dumps({**json.loads(content), "date_saved": ""}).encode()
                elif name == "config.json":
                    content = _renumber(content.decode()).encode()
                target.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content)
    return buffer.getvalue()


def _renumber(config: str) -> str:
    """Replace the numbers of shared objects in Keras's configuration by 1, 2, ….

    Keras derives the original numbers from memory addresses.
    """
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)',
        lambda match: match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)),
        config,
    )


def versions() -> tuple[tuple[str, str], ...]:
    """Return (name, version) of the software that affects a network's weights."""
    import keras
    import tensorflow as tf

    return (
        ("python", platform.python_version()),
        ("tensorflow", tf.__version__),
        ("keras", keras.__version__),
        ("numpy", np.__version__),
    )
