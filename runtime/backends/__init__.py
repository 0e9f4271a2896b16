"""The engines: one file each, one row each in `runtime.engines`; `open_backend` chooses one."""

import importlib
from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from runtime.engines import ENGINES, Engine, install_hint
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

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]


class Backend(Protocol):
    """An engine holding an open artifact.

    `device` is the one asked for; `fallback` says what of the model runs on the CPU all the same,
    and is empty where nothing does.
    """

    name: str
    version: str
    device: str
    fallback: str
    spec: ModelSpec

    def scores(self, pixels: Pixels) -> Scores:
        """The softmax, (N, classes) float32, of pixels (N, 28, 28, 1) uint8."""


class CpuFallbackError(BackendUnavailable):
    """The device is there by name, and the engine would have computed on the CPU instead."""


def open_backend(
    artifact: Artifact, engine: str | None = None, threads: int = 1, device: str = "cpu"
) -> Backend:
    """Open `artifact` with the engine named, else the first installed one that reads its format.

    Args:
        engine: a name of `ENGINES`.
        threads: at least 1.
        device: "cpu", "gpu", or another of the engine's `devices`.

    Raises:
        BackendUnavailable: the engine or device is not there, or does not open such files.
        CpuFallbackError: the engine would have computed on the CPU instead of the device.
        ArtifactError: the engine refuses the model, or the model is not what its spec says.
    """
    if threads < 1:
        raise BackendUnavailable(f"{threads} threads cannot run a model: give 1 or more")
    candidates = [row for row in ENGINES if row.suffix == artifact.format]
    if engine is not None:
        if engine not in {row.name for row in ENGINES}:
            raise BackendUnavailable(f"no backend {engine!r}: choose among {_names(ENGINES)}")
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
    """The devices that an engine's driver knows by name, on whatever machine; "cpu" is the first.

    "gpu" is the first of them that is there.
    """
    row = next(row for row in ENGINES if row.name == engine)
    known: tuple[str, ...] = importlib.import_module(row.module).devices(engine)
    return known


def _names(rows: Iterable[Engine]) -> str:
    return ", ".join(row.name for row in rows)
