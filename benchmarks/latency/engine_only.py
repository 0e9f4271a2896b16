"""Runs an artifact by the engine's own API, without this project's code.

The latency benchmark compares it with `runtime` to measure the overhead of this project.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.backends import ENGINES, Pixels, Scores
from runtime.backends.onnx import EXACT_INT8_SUMS
from runtime.model.artifact import Artifact


@dataclass(frozen=True)
class BareEngine:
    """An open model, as functions of the engine's own API.

    Attributes:
        prepare: converts pixels, (N, 28, 28, 1) uint8, to the engine's input.
        run: sets the input, runs the model and returns the output.
        resize: sets the batch size N of the following calls; it is 1 at first.
    """

    prepare: Callable[[Pixels], Any]
    run: Callable[[Any], Any]
    resize: Callable[[int], None]


def open_artifact(artifact: Artifact, engine: str, threads: int) -> BareEngine | None:
    """Open an artifact that a backend of `runtime` has already opened, without further checks.

    Args:
        artifact: the artifact, in a format of the engine.
        engine: the name of an installed engine.
        threads: the number of CPU threads.

    Returns:
        The open model; None if `OPENERS` does not contain the engine, or if other tools made the
        model and its input or output is converted.
    """
    if engine not in OPENERS or artifact.spec.interface is not None:
        return None
    module = next(importlib.import_module(row.imports) for row in ENGINES if row.name == engine)
    return OPENERS[engine](module, artifact, threads)


def _open_tflite(module: Any, artifact: Artifact, threads: int) -> BareEngine:
    from runtime.system.native_output import suppress_native_output

    with suppress_native_output(2):
        interpreter = module.Interpreter(model_content=artifact.data, num_threads=threads)
        interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    int8 = artifact.spec.precision == "int8"

    def prepare(pixels: Pixels) -> Any:
        return (pixels ^ 128).view(np.int8) if int8 else _scaled(pixels)

    def run(prepared: Any) -> Any:
        interpreter.set_tensor(source, prepared)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    def resize(images: int) -> None:
        interpreter.resize_tensor_input(source, (images, *artifact.spec.input_shape))
        interpreter.allocate_tensors()

    return BareEngine(prepare, run, resize)


def _open_onnx(module: Any, artifact: Artifact, threads: int) -> BareEngine:
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Exact int8 sums as in `runtime`; with the default they may overflow without VNNI.
    options.add_session_config_entry(*EXACT_INT8_SUMS)
    session = module.InferenceSession(artifact.data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return BareEngine(
        _scaled,
        lambda prepared: session.run(None, {name: prepared})[0],
        lambda images: None,
    )


# By the name of an engine, the function that opens an artifact. Its arguments are the module
# `Engine.imports`, the artifact, and the number of threads. An engine that is missing here is
# measured without the comparison.
OPENERS: dict[str, Callable[[Any, Artifact, int], BareEngine]] = {
    "litert": _open_tflite,
    "tflite-runtime": _open_tflite,
    "onnxruntime": _open_onnx,
}


def _scaled(pixels: Pixels) -> Scores:
    """Return pixels scaled from 0–255 to 0–1, float32."""
    return np.divide(pixels, 255, dtype=np.float32)
