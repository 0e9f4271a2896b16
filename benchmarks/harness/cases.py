"""BenchmarkCase: one artifact in one engine, on one device, with a number of threads."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.harness.serialize import json_key
from runtime.backends import ENGINES, devices
from runtime.errors import BackendUnavailable

REFERENCE = "digits.keras"
EXPECTED = ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx")
# How a Keras user would ask the model: `model.predict`, the model wrapped in a tf.function, or
# `model.predict` with KERAS_BACKEND=jax.
KERAS_CALLS = {
    "cpu": ("keras", "keras tf.function"),
    "gpu": ("keras", "keras tf.function", "keras jax"),
}
DEFAULT_MODELS = Path("models")

ABSENT = "absent"
FAILED = "failed"
INVALID = "invalid"


@dataclass(frozen=True)
class BenchmarkCase:
    """One line of a table: an artifact's file name, an engine, a device of it, threads."""

    artifact: str = field(metadata=json_key("artefact"))
    backend: str
    device: str
    threads: int

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"{self.artifact} · {self.backend} · {self.device} · {self.threads} thread{plural}"

    @property
    def engine(self) -> str:
        """The engine, and the device where that is not the CPU."""
        return self.backend if self.device == "cpu" else f"{self.backend} on {self.device}"


@dataclass(frozen=True)
class SkippedCase:
    """A row without figures, and why.

    `status` is "absent" where the engine or the device is not on this machine, which is no fault;
    "invalid" where the engine fell back to the CPU without a word, so that its figures would be
    another row's; and "failed" where the row should have been measured.
    """

    case: BenchmarkCase = field(metadata=json_key("row"))
    status: str
    reason: str


LINE_READERS = "lines"  # their file names begin with it


class Measured(Protocol):
    """The figures of one row."""

    @property
    def case(self) -> BenchmarkCase:
        """The row."""


def failure_reasons(results: Sequence[Measured], skipped: Sequence[SkippedCase]) -> list[str]:
    """Return why a run fails: its failed rows, or that no artifact was measured.

    A missing engine is not a failure unless nothing is left. The Keras reference alone does not
    count: it is measured to compare artifacts with it.
    """
    failures = [f"{u.case}: {u.reason}" for u in skipped if u.status == FAILED]
    if not failures and all(result.case.artifact == REFERENCE for result in results):
        failures.append(
            "nothing was measured: no engine that opens any artifact, or no such device"
        )
    return failures


@dataclass(frozen=True)
class ExternalPython:
    """Another Python for one engine: tflite-runtime cannot live beside NumPy 2."""

    backend: str
    python: str


def enumerate_cases(
    models: Path, backends: tuple[str, ...] = (), device: str = "cpu", threads: int = 1
) -> list[BenchmarkCase]:
    """A row for each artifact, and engine that opens its format, installed or not.

    With device "gpu" there is a row for each accelerator that the engine knows of. The four
    artifacts that `python -m export` makes are always there, so that a missing one is seen; other
    .tflite and .onnx files of the folder follow, except line readers, which `benchmarks.lines`
    measures.

    Raises:
        BackendUnavailable: `backends` names one that does not exist.
    """
    known = {engine.name for engine in ENGINES}
    for name in backends:
        if name not in known:
            raise BackendUnavailable(
                f"no backend {name!r}: choose among {', '.join(sorted(known))}"
            )
    found = sorted(
        p.name
        for p in models.glob("*")
        if p.suffix in (".tflite", ".onnx") and not p.name.startswith(LINE_READERS)
    )
    names = [*EXPECTED, *(name for name in found if name not in EXPECTED)]
    planned = []
    for name in names:
        engines = [
            engine.name
            for engine in ENGINES
            if name.endswith(engine.suffix) and (not backends or engine.name in backends)
        ]
        possible = [
            BenchmarkCase(name, engine, place, threads)
            for engine in engines
            for place in _places(engine, device)
        ]
        # A file that is missing is missed once.
        planned += possible if (models / name).exists() else possible[:1]
    return planned


def _places(engine: str, device: str) -> tuple[str, ...]:
    # An engine without accelerators keeps its row, which will say so.
    return (device,) if device != "gpu" else devices(engine)[1:] or (device,)


def parse_external_python(text: str) -> ExternalPython:
    """`BACKEND=PYTHON`, as given to --python."""
    backend, equals, python = text.partition("=")
    if not equals or backend not in {engine.name for engine in ENGINES}:
        raise BackendUnavailable(f"--python takes BACKEND=PYTHON, not {text!r}")
    return ExternalPython(backend, python)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark command shares."""
    parser.add_argument(
        "--models", type=Path, default=DEFAULT_MODELS, help="folder of the artifacts (models)"
    )
    parser.add_argument(
        "--backend", action="append", default=[], help="only this engine; may be repeated"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PYTHON",
        help="run an engine in another Python, as tflite-runtime=/path/to/python",
    )
