"""Open an artifact (a model file) with an engine of `runtime.engines.ENGINES`.

`runtime.Classifier`, the self-test, `export` and the benchmarks call `open_backend`. It chooses a
row of `runtime.engines.ENGINES` and imports the module of this package that the row names.
"""

import importlib
from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from runtime.engines import ENGINES, Engine, engine_name, install_hint
from runtime.errors import BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.model.spec import ModelSpec

__all__ = [
    "ENGINES",
    "Backend",
    "CpuFallbackError",
    "Engine",
    "Pixels",
    "Scores",
    "devices",
    "install_hint",
    "open_backend",
]

Pixels = npt.NDArray[np.uint8]  # (28, 28, 1), or (N, 28, 28, 1) for a batch; 0 paper, 255 ink
Scores = npt.NDArray[np.float32]  # (classes,), or (N, classes) for a batch; softmax, 0 to 1


class Backend(Protocol):
    """An engine holding an open artifact.

    Attributes:
        name: name of the engine, as in `ENGINES`.
        version: version of the engine's package.
        device: device that runs the model: "cpu", "gpu" or an execution provider such as "cuda".
        fallback: a text that says which operators run on the CPU instead of the device; empty if
            all run on the device.
        spec: the metadata of the artifact.
    """

    name: str
    version: str
    device: str
    fallback: str
    spec: ModelSpec

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8 with N ≥ 1.

        A model of the kind `SEQUENCE` instead returns logits, (N, columns, classes), of lines of
        pixels (N, 32, width, 1).

        Raises:
            ImageError: `pixels` has a different shape or dtype.
            ArtifactError: the engine cannot run the model, although it opened the file.
        """


class CpuFallbackError(BackendUnavailable):
    """The engine supports the device but would run the model on the CPU instead."""


def open_backend(
    artifact: Artifact, engine: str | None = None, threads: int = 1, device: str = "cpu"
) -> Backend:
    """Open an artifact with the named engine, or with the first installed one for its format.

    Args:
        artifact: the model to open.
        engine: a name in `ENGINES`, or the name of the extra that installs the engine; None tries
            all engines for this format, the first one first.
        threads: number of threads of the engine, at least 1.
        device: "cpu", "gpu" or another device in `devices(engine)`.

    Raises:
        BackendUnavailable: `threads` is below 1, the engine does not open this format, or the
            engine or the device is not available.
        CpuFallbackError: the engine would run the model on the CPU instead of the device.
        ArtifactError: the engine rejects the model, or the model contradicts its spec.
    """
    if threads < 1:
        raise BackendUnavailable(f"{threads} threads cannot run a model: pass 1 or more threads")
    candidates = [row for row in ENGINES if row.suffix == artifact.format]
    if engine is not None:
        engine = engine_name(engine)
        if engine not in {row.name for row in ENGINES}:
            raise BackendUnavailable(f"no backend {engine!r}: choose one of {_names(ENGINES)}")
        if engine not in {row.name for row in candidates}:
            raise BackendUnavailable(
                f"{engine} does not open {artifact.path}: {artifact.format} files are opened by "
                f"{_names(candidates) or 'no engine of the runtime'}"
            )
        candidates = [row for row in candidates if row.name == engine]
    missing: list[str] = []
    for row in candidates:
        driver = importlib.import_module(row.module)
        try:
            backend = driver.open_artifact(artifact, row.name, threads, device)
        except CpuFallbackError:
            raise
        except BackendUnavailable as error:
            missing.append(str(error))
        else:
            return cast(Backend, backend)
    raise BackendUnavailable(
        "; ".join(missing) or f"no engine of the runtime opens {artifact.path}: export it first"
    )


def devices(engine: str) -> tuple[str, ...]:
    """Return the names of all devices that an engine supports; "cpu" comes first.

    A device in this list may be missing on this machine. `open_backend` accepts "gpu" for each
    engine; "gpu" selects the first GPU in this list that is available.

    Args:
        engine: a name in `ENGINES`.
    """
    row = next(row for row in ENGINES if row.name == engine)
    names: tuple[str, ...] = importlib.import_module(row.module).devices(engine)
    return names


def _names(rows: Iterable[Engine]) -> str:
    return ", ".join(row.name for row in rows)
