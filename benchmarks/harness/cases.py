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
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model import artifact
from runtime.model.spec import SEQUENCE, ModelSpec

KERAS_SUFFIX = ".keras"
REFERENCE = "digits.keras"  # the Keras model that the artifacts were exported from
# The files that `digit-edge export` writes. If a folder has one of them, or no model at all, a
# missing one is reported as a failed case.
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
    def is_keras(self) -> bool:
        """Whether the model is a Keras model, which Keras runs."""
        return self.artifact.endswith(KERAS_SUFFIX)

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
    if not failures and all(result.case.is_keras for result in results):
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
    even if their files are missing, unless the folder has models of other tools only. The folder's
    other .tflite and .onnx files follow, except line readers, which `digit-edge benchmark-lines`
    measures.

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
    present = sorted(p.name for p in models.glob("*") if p.suffix in (".tflite", ".onnx"))
    specs = {name: _spec(models / name) for name in present}
    present = [name for name in present if not _is_line_reader(specs[name])]
    is_own = (models / REFERENCE).exists() or any(
        name in EXPECTED and spec is not None and spec.source_sha256 for name, spec in specs.items()
    )
    expected = EXPECTED if is_own or not present else ()
    names = [*expected, *(name for name in present if name not in expected)]
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


def find_reference(models: Path) -> str | None:
    """Return the file name of the Keras model that the folder's artifacts were exported from.

    It is `REFERENCE` if that exists. Otherwise it is the Keras artifact that most of the folder's
    artifacts were exported from; None if there is none.
    """
    if (models / REFERENCE).exists():
        return REFERENCE
    sources = [
        spec.source_sha256
        for path in models.glob("*")
        if path.suffix in (".tflite", ".onnx") and (spec := _spec(path)) is not None
    ]
    exported = {
        path.name: sources.count(spec.digest)
        for path in sorted(models.glob(f"*{KERAS_SUFFIX}"))
        if (spec := _spec(path)) is not None and spec.digest in sources
    }
    return max(exported, key=exported.__getitem__, default=None)


def keras_models(models: Path) -> list[str]:
    """Return the file names of a folder's Keras artifacts, without line readers."""
    specs = {path.name: _spec(path) for path in sorted(models.glob(f"*{KERAS_SUFFIX}"))}
    return [n for n, spec in specs.items() if spec is not None and not _is_line_reader(spec)]


def check_folder(models: Path) -> None:
    """Check that a folder has a model to measure, before data are loaded.

    Raises:
        ArtifactError: it has none, or its reference `REFERENCE` cannot be read.
    """
    if (models / REFERENCE).exists():
        artifact.read(models / REFERENCE)
    elif not any(path.suffix in (".tflite", ".onnx") for path in models.glob("*")):
        raise ArtifactError(
            f"{models} has no {REFERENCE} and no .tflite or .onnx artifact: pass a folder of "
            "models with --model, or run digit-edge train, then digit-edge export"
        )


def _spec(path: Path) -> ModelSpec | None:
    """Return the spec of an artifact; None if the file cannot be read."""
    try:
        return artifact.read(path).spec
    except ArtifactError:
        return None


def _is_line_reader(spec: ModelSpec | None) -> bool:
    return spec is not None and spec.kind == SEQUENCE


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
