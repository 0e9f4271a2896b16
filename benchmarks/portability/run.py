"""Opens each artifact in each engine that PyPI has a wheel of, and compares the scores.

Each engine gets an environment of its own from `uv`, because the engines need different versions of
NumPy. `probe.py` runs there. The scores are compared with those of the runtime's own engine.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.portability import probe
from benchmarks.report.formats import Table
from runtime.backends import Pixels, Scores, golden, open_backend
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import CLASSES

_PROBE = Path(probe.__file__)
_TIMEOUT_S = 600  # of the installation of an engine, and of one artifact in one engine
_MAX_REASON_CHARACTERS = 160


@dataclass(frozen=True)
class PortableEngine:
    """An engine on PyPI.

    Attributes:
        name: its name in `probe.OPENERS` and in the table.
        packages: what `uv pip install` installs. Versions are pinned: a new one may behave
            differently.
        suffixes: formats that the engine, or its converter, opens.
    """

    name: str
    packages: tuple[str, ...]
    suffixes: tuple[str, ...]


ENGINES = (
    PortableEngine("LiteRT", ("ai-edge-litert==2.3.0", "numpy==2.4.6"), (".tflite",)),
    PortableEngine("tflite-runtime", ("tflite-runtime==2.14.0", "numpy<2"), (".tflite",)),
    PortableEngine("onnxruntime", ("onnxruntime==1.32.0", "numpy==2.4.6"), (".onnx",)),
    PortableEngine("OpenVINO", ("openvino==2026.4.1", "numpy==2.4.6"), (".tflite", ".onnx")),
    PortableEngine("MNN", ("MNN==3.6.1", "numpy==2.4.6"), (".tflite", ".onnx")),
    PortableEngine("tract", ("tract==0.23.9", "numpy==2.4.6"), (".onnx",)),
    PortableEngine("TFLM", ("tflite-micro==0.dev20261023182759", "numpy==2.4.6"), (".tflite",)),
)


@dataclass(frozen=True)
class PortabilityResult:
    """One artifact in one engine.

    Attributes:
        artifact: file name.
        engine: name of the engine.
        version: version of the engine's package; empty if it is not installed.
        equal: number of images, or of columns of lines, with the same top-1 prediction.
        n: number of compared images, or columns.
        largest_difference: of any score; NaN if the engine returned none.
        limit: the largest difference that counts as agreement.
        reason: why the engine returned no scores; empty if it did.
    """

    artifact: str
    engine: str
    version: str
    equal: int
    n: int
    largest_difference: float
    limit: float
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Return "agrees", "differs" or "does not run"."""
        if self.reason:
            return "does not run"
        within = self.equal == self.n and self.largest_difference <= self.limit
        return "agrees" if within else "differs"


def measure(
    artifacts: Sequence[Path],
    pixels: Pixels,
    environments: Path,
    engines: Sequence[PortableEngine] = ENGINES,
    progress: Callable[[str], None] = lambda line: None,
) -> list[PortabilityResult]:
    """Run the artifacts in the engines, one image a call.

    Args:
        artifacts: the files.
        pixels: images for models of single digits, uint8 (N, 28, 28, 1). Line readers get their
            golden inputs.
        environments: the folder of the engines' environments; missing ones are made.
        engines: the engines.
        progress: called with a text for each step.

    Raises:
        ArtifactError: an artifact cannot be read, or the runtime's own engine cannot run it.
    """
    opened = [artifact.read(path) for path in artifacts]
    results = []
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as temporary:
        folder = Path(temporary)
        expected = {}
        for model in opened:
            inputs = pixels if model.spec.kind == CLASSES else _golden_pixels(model)
            expected[model.path] = open_backend(model).scores(inputs)
            np.save(folder / f"{model.path.name}.npy", _inputs(model, inputs))
        for engine in engines:
            progress(f"installing {engine.name}")
            python, problem = _environment(environments, engine)
            for model in opened:
                if model.format in engine.suffixes:
                    progress(f"{model.path.name} in {engine.name}")
                    scores = expected[model.path]
                    results.append(_run(engine, python, problem, model, scores, folder))
    order = {path.name: number for number, path in enumerate(artifacts)}
    return sorted(results, key=lambda result: order[result.artifact])


def table(results: Sequence[PortabilityResult], images: str) -> Table:
    """Return one line for each artifact and engine.

    Args:
        results: the results.
        images: name and number of the compared images, for the note.
    """
    return Table(
        "Portability",
        ("artifact", "engine", "result", "top-1 equal", "largest difference", "reason"),
        tuple(
            (
                result.artifact,
                f"{result.engine} {result.version}".strip(),
                result.verdict,
                "–" if result.reason else f"{result.equal:,} of {result.n:,}",
                "–" if result.reason else f"{result.largest_difference:.1e}",
                result.reason or "–",
            )
            for result in results
        ),
        f"On {images}, one image a call, compared with LiteRT or onnxruntime in this project's "
        "runtime. An engine agrees if all predictions are equal and no score differs by more than "
        "the self-test allows. Line readers: columns of their golden inputs; their scores are "
        "logits. OpenVINO computes in float32 (INFERENCE_PRECISION_HINT); MNN converts the file "
        "first.",
    )


def _inputs(model: Artifact, pixels: Pixels) -> npt.NDArray[np.generic]:
    """Return the model's input for pixels: from 0 to 1, or int8 = pixel − 128.

    Raises:
        EdgeError: the model has another input.
    """
    if model.spec.interface is not None:
        raise EdgeError(
            f"{model.path}: only models with the input and output of this project's can be "
            f"compared; this model has {model.spec.interface}"
        )
    if model.format == ".tflite" and model.spec.precision == "int8":
        return (pixels ^ 128).view(np.int8)
    return np.divide(pixels, 255, dtype=np.float32)


def _golden_pixels(model: Artifact) -> Pixels:
    assert model.spec.golden is not None
    return model.spec.golden.pixels


def _environment(folder: Path, engine: PortableEngine) -> tuple[Path, str]:
    """Make the environment of an engine unless it exists.

    Returns:
        The path of its Python; the reason why it cannot be made, or an empty text.
    """
    place = folder / engine.name
    python, installed = place / "bin" / "python", place / "installed"
    if installed.exists() and installed.read_text() == " ".join(engine.packages):
        return python, ""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    install = [*uv, "pip", "install", "--only-binary", ":all:", "--python", str(python)]
    commands = (
        [*uv, "venv", "--clear", "--python", sys.executable, str(place)],
        [*install, *engine.packages],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        if "No module named uv" in done.stderr:
            raise EdgeError("uv is not installed: pip install uv")
        if done.returncode:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            return python, f"no wheel for Python {version}: {_last_line(done.stderr)}"
    installed.write_text(" ".join(engine.packages))
    return python, ""


def _run(
    engine: PortableEngine,
    python: Path,
    problem: str,
    model: Artifact,
    expected: Scores,
    folder: Path,
) -> PortabilityResult:
    outputs = folder / "outputs.npy"
    outputs.unlink(missing_ok=True)
    version = "" if problem else engine.packages[0].partition("==")[2]
    if not problem:
        name = model.path.name
        files = (model.path, folder / f"{name}.npy", outputs)
        command = [str(python), str(_PROBE), engine.name, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        problem = _problem(done)
    limit, n = golden.tolerance(model.spec), math.prod(expected.shape[:-1])
    if not problem:
        scores = np.load(outputs)
        if scores.size == expected.size:
            scores = scores.reshape(expected.shape)
            equal = int((scores.argmax(axis=-1) == expected.argmax(axis=-1)).sum())
            with np.errstate(invalid="ignore", over="ignore"):
                difference = float(np.abs(scores - expected).max())
            return PortabilityResult(
                model.path.name, engine.name, version, equal, n, difference, limit
            )
        problem = f"it returns {scores.size} values, not {expected.size}"
    return PortabilityResult(model.path.name, engine.name, version, 0, n, math.nan, limit, problem)


def _problem(done: "subprocess.CompletedProcess[str]") -> str:
    """Return why a probe failed; empty if it did not."""
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return "it crashes"
    # Engines print the operator on stderr before Python prints the exception.
    before, _, trace = done.stderr.partition("Traceback")
    error = _last_line(trace).partition(": ")[2] or _last_line(trace)
    native = [line for line in before.splitlines() if "ail" in line or "idn't find" in line]
    reason = f"{error} ({native[0].strip()})" if native else error
    return reason[:_MAX_REASON_CHARACTERS]


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
