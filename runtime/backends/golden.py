"""Golden answers: the inputs and scores in an artifact, with which it proves itself anywhere."""

import numpy as np

from runtime.backends import Backend
from runtime.errors import ArtifactError
from runtime.model.spec import SEQUENCE, ModelSpec

# How far the scores may lie from the golden ones. In an int8 model the kernels of two engines or
# processors round one step apart now and then, and one step inside the network moves the scores of
# an unsure answer by a few of 1/256.
TOLERANCE = {"float32": 1e-5, "int8": 4 / 256}
# The scores of a sequence model are logits, of up to about 30.
_SEQUENCE_TOLERANCE = {"float32": 1e-3, "int8": 1.0}


def tolerance(spec: ModelSpec) -> float:
    """Return how far scores may be from the golden ones."""
    limits = _SEQUENCE_TOLERANCE if spec.kind == SEQUENCE else TOLERANCE
    return limits[spec.precision]


def largest_difference(backend: Backend, batch: int) -> float:
    """The largest difference between a backend's scores and the golden ones.

    Args:
        batch: how many images each call is given; the last call may have fewer.

    Returns:
        Infinity where a score is not finite, or the scores have another shape.

    Raises:
        ArtifactError: the artifact has no golden inputs.
    """
    golden = backend.spec.golden
    if golden is None or len(golden.pixels) == 0:
        raise ArtifactError("it has no golden inputs to prove itself with: export it again")
    largest = 0.0
    for at in range(0, len(golden.pixels), batch):
        scores = backend.scores(golden.pixels[at : at + batch])
        expected = golden.scores[at : at + batch]
        if scores.shape != expected.shape or not np.isfinite(scores).all():
            return float("inf")
        largest = max(largest, float(np.abs(scores - expected).max()))
    return largest


def check(backend: Backend) -> None:
    """Raise an ArtifactError unless a backend gives the golden scores; one call of the engine.

    A model made without golden inputs has nothing to prove itself with and passes.
    """
    golden = backend.spec.golden
    if golden is None or len(golden.pixels) == 0:
        return
    difference = largest_difference(backend, len(golden.pixels))
    if not difference <= tolerance(backend.spec):
        raise ArtifactError(
            f"its answers are not its golden ones (a difference of {difference:.3g}) with "
            f"{backend.name}: export it again, or see python -m runtime.selftest"
        )
