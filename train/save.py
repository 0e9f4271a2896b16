"""Saves a trained network as a `.keras` artifact that explains itself; same network, same bytes."""

import io
import json
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
from runtime.preprocess.mnist_format import PIXELS_SHAPE
from runtime.system import atomic_write
from train.data.load import sklearn_digits
from train.evaluate import logits_of

if TYPE_CHECKING:
    import keras

GOLDEN_INPUTS = 8
# The earliest time a zip archive can name.
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
) -> Artifact:
    """Write an inference network with its spec to `path`, whole or not at all.

    Raises:
        EdgeError: the file cannot be written.
    """
    pixels = golden_inputs()
    spec = ModelSpec(
        name=path.stem,
        labels=labels,
        input_shape=PIXELS_SHAPE,
        precision="float32",
        temperature=temperature,
        confidence_threshold=confidence_threshold,
        source_sha256="",
        dataset=dataset,
        metrics=metrics,
        golden=GoldenOutputs(pixels, logits_of(model, pixels)),
        provenance=provenance,
        rejection_model=rejection_model,
    )
    return artifact.write(path, to_bytes(model), spec)


def golden_inputs() -> npt.NDArray[np.uint8]:
    """The known inputs of every artifact: of the embedded test digits, the first of 0 to 7."""
    test = sklearn_digits().test
    first = [int(np.argmax(test.labels == digit)) for digit in range(GOLDEN_INPUTS)]
    return test.pixels[first]


def to_bytes(model: "keras.Model") -> bytes:
    """A model in Keras's own format, less the traces of when and where in memory it was saved."""
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
    """Number the objects that layers share 1, 2, …: Keras names them by their place in memory."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)',
        lambda match: match[1] + str(numbers.setdefault(match[2], len(numbers) + 1)),
        config,
    )


def versions() -> tuple[tuple[str, str], ...]:
    """The versions that decide a network's weights, as (name, version)."""
    import keras
    import tensorflow as tf

    return (
        ("python", platform.python_version()),
        ("tensorflow", tf.__version__),
        ("keras", keras.__version__),
        ("numpy", np.__version__),
    )
