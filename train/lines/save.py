"""Saves a trained line reader as a `.keras` artifact that explains itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import SEQUENCE, Dataset, GoldenOutputs, Metrics, ModelSpec
from runtime.multi_digit.line_reader import HEIGHT_PX
from train.data.load import sklearn_digits
from train.lines.batches import stack
from train.lines.compose import Composer, Line
from train.lines.fit import LABELS
from train.negatives import letter_fonts
from train.save import to_bytes

if TYPE_CHECKING:
    import keras

_GOLDEN_LINES = 2  # known inputs of a line reader
# Widths of the known inputs. They are narrow, because the scores of each time step are stored as
# text.
_MIN_GOLDEN_WIDTH_PX = 64  # exclusive
_MAX_GOLDEN_WIDTH_PX = 96


def save(
    path: Path,
    model: "keras.Model",
    dataset: Dataset,
    metrics: Metrics,
    provenance: tuple[tuple[str, str], ...],
) -> Artifact:
    """Write an inference network with its spec to `path`, whole or not at all.

    Args:
        path: of the `.keras` file.
        model: see `train.lines.network.build`.
        dataset: whose digits the lines were composed of.
        metrics: sequence accuracies, the shares of lines without an error.
        provenance: see `ModelSpec`.

    Raises:
        EdgeError: the file cannot be written.
    """
    pixels = golden_lines()
    spec = ModelSpec(
        name=path.stem,
        labels=LABELS,
        input_shape=(HEIGHT_PX, None, 1),
        precision="float32",
        temperature=1.0,
        confidence_threshold=0.0,
        source_sha256="",
        dataset=dataset,
        metrics=metrics,
        golden=GoldenOutputs(pixels, logits_of(model, pixels)),
        provenance=provenance,
        kind=SEQUENCE,
    )
    return artifact.write(path, to_bytes(model), spec)


def logits_of(model: "keras.Model", pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the logits, float32 (N, columns, classes), of pixels (N, 32, width, 1) uint8."""
    scaled = np.divide(pixels, 255, dtype=np.float32)
    return np.asarray(model.predict_on_batch(scaled))[:, 0]


def golden_lines() -> npt.NDArray[np.uint8]:
    """Return the known inputs of every line reader, composed of the embedded test digits."""
    test = sklearn_digits().test
    composer = Composer(test.pixels, test.labels, None, letter_fonts())
    random = np.random.default_rng(0)
    chosen: list[Line] = []
    while len(chosen) < _GOLDEN_LINES:
        line = composer.line(random)
        width_px = line.pixels.shape[1]
        is_narrow = _MIN_GOLDEN_WIDTH_PX < width_px <= _MAX_GOLDEN_WIDTH_PX
        if line.text.isdigit() and len(line.text) > 1 and is_narrow:
            chosen.append(line)
    return stack(chosen).pixels
