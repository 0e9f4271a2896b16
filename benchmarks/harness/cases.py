"""Defines a benchmark case (artifact × engine × device × threads) and lists a folder's cases.

Also holds the command-line options that all benchmark commands share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.harness.serialize import json_key
from runtime.backends import ENGINES, devices
from runtime.cli import options
from runtime.cli.parser import CommandParser
from runtime.engines import NAMES, engine_name
from runtime.errors import BackendUnavailable

REFERENCE = "digits.keras"  # the Keras model that the artifacts were exported from
# The files that `digit-edge export` writes. A missing one is reported as a failed case.
EXPECTED = ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx")
# The ways to run the Keras model that are measured, by device:
#   keras              `model.predict` on TensorFlow
#   keras tf.function  the model wrapped in a `tf.function`
#   keras jax          `model.predict` with KERAS_BACKEND=jax
KERAS_CALLS = {
    "cpu": ("keras", "keras tf.function"),
    "gpu": ("keras", "keras tf.function", "keras jax"),
}
DEFAULT_MODELS = Path("models")  # the default of --model

# Values of `SkippedCase.status`:
ABSENT = "absent"  # the engine or the device is not available on this machine; not a failure
FAILED = "failed"  # the case should have run, but did not
INVALID = "invalid"  # the engine fell back to the CPU, so its figures would be those of the CPU


@dataclass(frozen=True)
class BenchmarkCase:
    """One row of a benchmark's tables.

    Attributes:
        artifact: the file name of the artifact.
        backend: the name of the engine, or one of `KERAS_CALLS`.
        device: "cpu", "gpu", or the name of an accelerator of the engine.
        threads: the number of CPU threads.
    """

    artifact: str = field(metadata=json_key("artefact"))
    backend: str
    device: str
    threads: int

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"{self.artifact} · {self.backend} · {self.device} · {self.threads} thread{plural}"

    @property
    def engine(self) -> str:
        """The engine's name, followed by the device unless it is the CPU."""
        return self.backend if self.device == "cpu" else f"{self.backend} on {self.device}"


@dataclass(frozen=True)
class SkippedCase:
    """A case without results: its status (ABSENT, FAILED or INVALID) and the reason."""

    case: BenchmarkCase = field(metadata=json_key("row"))
    status: str
    reason: str


LINE_READERS = "lines"  # the file names of line readers begin with it


class Measured(Protocol):
    """Any result of one case."""

    @property
    def case(self) -> BenchmarkCase:
        """The case that was measured."""


def failure_reasons(results: Sequence[Measured], skipped: Sequence[SkippedCase]) -> list[str]:
    """Return the reasons why a run fails: its failed cases, or that no artifact was measured.

    A missing engine alone is not a failure. A run that measured only the Keras reference fails,
    because the reference is there to be compared with artifacts.
    """
    failures = [f"{u.case}: {u.reason}" for u in skipped if u.status == FAILED]
    if not failures and all(result.case.artifact == REFERENCE for result in results):
        failures.append(
            "nothing was measured: no installed engine opens any artifact, or the device is missing"
        )
    return failures


@dataclass(frozen=True)
class ExternalPython:
    """The Python interpreter to run one engine with.

    An example is tflite-runtime, which needs NumPy 1 and so an environment of its own.
    """

    backend: str
    python: str


def enumerate_cases(
    models: Path, backends: tuple[str, ...] = (), device: str = "cpu", threads: int = 1
) -> list[BenchmarkCase]:
    """Return the cases to measure: each artifact with each engine that opens its format.

    Engines are listed whether they are installed or not. The artifacts of `EXPECTED` come first,
    even if their files are missing; the folder's other .tflite and .onnx files follow, except line
    readers, which `digit-edge benchmark-lines` measures.

    Args:
        models: the folder of the artifacts.
        backends: the names of the engines to use; all engines if empty.
        device: "cpu", or "gpu" for one case per accelerator that the engine supports.
        threads: the number of CPU threads of each case.

    Raises:
        BackendUnavailable: `backends` contains an unknown name.
    """
    known = {engine.name for engine in ENGINES}
    for name in backends:
        if name not in known:
            raise BackendUnavailable(
                f"no backend {name!r}: choose among {', '.join(sorted(known))}"
            )
    present = sorted(
        p.name
        for p in models.glob("*")
        if p.suffix in (".tflite", ".onnx") and not p.name.startswith(LINE_READERS)
    )
    names = [*EXPECTED, *(name for name in present if name not in EXPECTED)]
    planned = []
    for name in names:
        engines = [
            engine.name
            for engine in ENGINES
            if name.endswith(engine.suffix) and (not backends or engine.name in backends)
        ]
        possible = [
            BenchmarkCase(name, engine, case_device, threads)
            for engine in engines
            for case_device in _case_devices(engine, device)
        ]
        # One case is enough to report a missing file.
        planned += possible if (models / name).exists() else possible[:1]
    return planned


def _case_devices(engine: str, device: str) -> tuple[str, ...]:
    """Return the devices to measure an engine on: for "gpu", each of its accelerators."""
    # An engine without accelerators keeps one case, which is then reported as ABSENT.
    return (device,) if device != "gpu" else devices(engine)[1:] or (device,)


def parse_external_python(text: str) -> ExternalPython:
    """Parse `NAME=PATH`, the value of --python: an engine and a Python interpreter.

    Raises:
        BackendUnavailable: the text has another form, or the backend is unknown.
    """
    name, equals, python = text.partition("=")
    backend = engine_name(name)
    if not equals or backend not in NAMES:
        raise BackendUnavailable(
            f"--python takes NAME=PATH, an engine and the path of a Python, not {text!r}"
        )
    return ExternalPython(backend, python)


def add_arguments(parser: CommandParser) -> None:
    """Add the options that every benchmark command shares."""
    add_models_argument(parser)
    options.add_backends_argument(parser)
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="run an engine with another Python, e.g. tflite-runtime=/path/to/python",
    )


def add_models_argument(parser: CommandParser) -> None:
    """Add the option --model; the parsed value is called `models`, for it is a folder of them."""
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODELS,
        dest="models",
        metavar="PATH",
        help="a folder of artifacts (default: %(default)s)",
    )
    parser.add_alias("--models", "--model")
