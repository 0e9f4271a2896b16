"""Compare an engine's scores with the golden outputs stored in the artifact.

An artifact (a model file) contains golden inputs: a few images with the scores that the model
returned for them at export. `digit-edge selftest`, the hot reload in `runtime.reload` and
`digit-edge export-web` check that an engine returns these scores on this machine.
"""

import numpy as np

from runtime.backends import Backend
from runtime.errors import ArtifactError
from runtime.model.spec import SEQUENCE, ModelSpec

# Largest allowed difference of any score from the golden score, by precision. With a larger
# difference, the check fails. The kernels of two engines or processors sometimes round an int8
# value inside the network differently by one step. This step changes the scores of an uncertain
# prediction by a few 1/256. A processor with float16 arithmetic may compute a float16 model in it.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "int8": 4 / 256}
# The scores of a sequence model are logits, of up to about 30.
_SEQUENCE_TOLERANCE = {"float32": 1e-3, "float16": 0.1, "int8": 1.0}


def tolerance(spec: ModelSpec) -> float:
    """Return how far scores may be from the golden ones."""
    limits = _SEQUENCE_TOLERANCE if spec.kind == SEQUENCE else TOLERANCE
    return limits[spec.precision]


def largest_difference(backend: Backend, batch: int) -> float:
    """Return the largest absolute difference between a backend's scores and the golden scores.

    Args:
        backend: an engine with an open artifact.
        batch: number of images per call, at least 1; the last call may have fewer.

    Returns:
        Infinity if a score or a golden score is not finite, or the scores have a wrong shape.

    Raises:
        ArtifactError: the artifact has no golden inputs.
    """
    golden = backend.spec.golden
    if golden is None or len(golden.pixels) == 0:
        raise ArtifactError(
            "the model has no golden inputs, which the self-test needs: export the model again"
        )
    largest = 0.0
    for start in range(0, len(golden.pixels), batch):
        scores = backend.scores(golden.pixels[start : start + batch])
        expected = golden.scores[start : start + batch]
        if scores.shape != expected.shape or not np.isfinite(scores - expected).all():
            return float("inf")
        largest = max(largest, float(np.abs(scores - expected).max()))
    return largest


def check_single(backend: Backend) -> None:
    """Check that a backend returns finite scores for one image: a blank one.

    Unlike `check`, this also runs a model without golden inputs.

    Args:
        backend: an engine with an open artifact of kind `CLASSES`.

    Raises:
        ArtifactError: the scores are not finite. The message does not contain the file name.
    """
    scores = backend.scores(np.zeros((1, *backend.spec.fixed_shape), np.uint8))
    if scores.shape != (1, len(backend.spec.labels)) or not np.isfinite(scores).all():
        raise ArtifactError(f"its scores with {backend.name} are not finite: export it again")


def check(backend: Backend) -> None:
    """Check that a backend returns the golden scores for all golden inputs in one call.

    A model without golden inputs passes.

    Args:
        backend: an engine with an open artifact.

    Raises:
        ArtifactError: a score differs by more than `TOLERANCE`. The message does not contain the
            file name.
    """
    golden = backend.spec.golden
    if golden is None or len(golden.pixels) == 0:
        return
    difference = largest_difference(backend, len(golden.pixels))
    if not difference <= tolerance(backend.spec):
        raise ArtifactError(
            f"its scores differ by {difference:.3g} from its golden scores with {backend.name}: "
            "export it again, or see digit-edge selftest"
        )
