"""Open an artifact with an engine: `open_backend` picks a driver of this package.

Each engine has one module here and one row in `runtime.engines.ENGINES`. `Pixels` and `Scores` are
the array types that engines take and return.
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
Scores = npt.NDArray[np.float32]  # (classes,), or (N, classes) for a batch; softmax


class Backend(Protocol):
    """An engine holding an open artifact.

    Attributes:
        name: of the engine, as in `ENGINES`.
        version: of the engine's package.
        device: "cpu", "gpu" or the engine's own name of the device that runs the model.
        fallback: which part of the model runs on the CPU instead; empty if none does.
        spec: the spec of the open artifact.
    """

    name: str
    version: str
    device: str
    fallback: str
    spec: ModelSpec

    def scores(self, pixels: Pixels) -> Scores:
        """Return the softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8."""


class CpuFallbackError(BackendUnavailable):
    """The engine supports the device but would run the model on the CPU instead."""


def open_backend(
    artifact: Artifact, engine: str | None = None, threads: int = 1, device: str = "cpu"
) -> Backend:
    """Open an artifact with the named engine, or with the first installed one for its format.

    Args:
        artifact: the model to open.
        engine: a name in `ENGINES`, or the name of the extra that installs the engine.
        threads: number of threads of the engine, at least 1.
        device: "cpu", "gpu" or another of the engine's `devices`.

    Raises:
        BackendUnavailable: the engine or device is not available, or opens other formats only.
        CpuFallbackError: the engine would run the model on the CPU instead of the device.
        ArtifactError: the engine rejects the model, or the model contradicts its spec.
    """
    if threads < 1:
        raise BackendUnavailable(f"{threads} threads cannot run a model: pass 1 or more")
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
    """Return the device names of an engine, available on this machine or not; "cpu" comes first.

    For `open_backend`, "gpu" stands for the first GPU in this list that is available.
    """
    row = next(row for row in ENGINES if row.name == engine)
    names: tuple[str, ...] = importlib.import_module(row.module).devices(engine)
    return names


def _names(rows: Iterable[Engine]) -> str:
    return ", ".join(row.name for row in rows)
