"""The engines without this project: the loop a user would write, to measure our overhead."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.backends import Pixels, Scores
from runtime.backends.onnx import EXACT_INT8_SUMS
from runtime.model.artifact import Artifact


@dataclass(frozen=True)
class BareEngine:
    """`prepare` turns pixels into what the engine takes; `run` sets, invokes and gets.

    `resize` makes it ready for another number of images than one.
    """

    prepare: Callable[[Pixels], Any]
    run: Callable[[Any], Any]
    resize: Callable[[int], None]


def open_artifact(artifact: Artifact, engine: str, threads: int) -> BareEngine:
    """Open a model the shortest way; the artifact has been opened by a backend before."""
    if engine == "onnxruntime":
        return _onnx(artifact, threads)
    return _tflite(artifact, engine, threads)


def _tflite(artifact: Artifact, engine: str, threads: int) -> BareEngine:
    import importlib

    from runtime.system.native_output import suppress_native_output

    package = "ai_edge_litert" if engine == "litert" else "tflite_runtime"
    module = importlib.import_module(f"{package}.interpreter")
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


def _onnx(artifact: Artifact, threads: int) -> BareEngine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Without it, processors whose int8 sums overflow are faster and predict differently.
    options.add_session_config_entry(*EXACT_INT8_SUMS)
    session = onnxruntime.InferenceSession(
        artifact.data, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return BareEngine(
        _scaled,
        lambda prepared: session.run(None, {name: prepared})[0],
        lambda images: None,
    )


def _scaled(pixels: Pixels) -> Scores:
    return np.divide(pixels, 255, dtype=np.float32)
