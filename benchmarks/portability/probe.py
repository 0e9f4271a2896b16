"""Runs one model file in one engine: `python probe.py ENGINE MODEL INPUTS OUTPUTS`.

`benchmarks.portability.run` starts this file with the Python of the engine's own environment, which
contains NumPy and the engine and not this project. It runs one image a call by the engine's own
API. INPUTS is a .npy file with the model's inputs, OUTPUTS the .npy file to write.
"""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_ARENA_BYTES = 4_000_000  # memory that TFLM gets; more than any of the models needs
Run = Callable[[Any], Any]  # the input of one image → the output


def _tflite(package: str) -> Callable[[Path, Any], Run]:
    def open_model(path: Path, first: Any) -> Run:
        interpreter = importlib.import_module(package).Interpreter(str(path), num_threads=1)
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(source, first.shape)
        interpreter.allocate_tensors()

        def run(image: Any) -> Any:
            interpreter.set_tensor(source, image)
            interpreter.invoke()
            return interpreter.get_tensor(result)

        return run

    return open_model


def _onnxruntime(path: Path, first: Any) -> Run:
    session = importlib.import_module("onnxruntime").InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def _openvino(path: Path, first: Any) -> Run:
    core = importlib.import_module("openvino").Core()
    model = core.read_model(str(path))
    model.reshape(list(first.shape))
    # On processors with AMX, the default is bfloat16, which is not the arithmetic of the model.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: compiled([image])[0]


def _mnn(path: Path, first: Any) -> Run:
    kind = {".tflite": "TFLITE", ".onnx": "ONNX"}[path.suffix]
    converted = Path(tempfile.mkdtemp()) / "model.mnn"
    files = ["--modelFile", str(path), "--MNNModel", str(converted)]
    options = ["-f", kind, *files, "--bizCode", "probe"]
    # Not MNN's own command `mnnconvert`: it installs a package with pip and sends a log.
    program = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True)
    if not converted.exists():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "NOT_SUPP" in line]
        reason = lines[-1].partition("==>")[2].strip() if lines else "no reason given"
        end = "crashes" if done.returncode < 0 else f"rejects it: {reason}"
        raise RuntimeError(f"its converter {end}")
    mnn = importlib.import_module("MNN")
    module = mnn.nn.load_module_from_file(str(converted), [], [])
    if first.dtype == np.int8:
        raise RuntimeError("its Python interface takes no int8 input")
    layout = mnn.expr.data_format.NHWC if kind == "TFLITE" else mnn.expr.data_format.NCHW

    def run(image: Any) -> Any:
        source = mnn.expr.const(image, list(image.shape), layout)
        return np.array(module.forward(source).read())

    return run


def _tract(path: Path, first: Any) -> Run:
    tract = importlib.import_module("tract")
    model = tract.onnx().load(str(path))
    model.set_input_fact(0, f"{','.join(map(str, first.shape))},f32")
    runnable = model.into_model().into_runnable()
    return lambda image: runnable.run([image])[0].to_numpy()


def _tflm(path: Path, first: Any) -> Run:
    runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=_ARENA_BYTES)

    def run(image: Any) -> Any:
        interpreter.set_input(image, 0)
        interpreter.invoke()
        return interpreter.get_output(0)

    return run


# Name of the engine → function that opens a model for inputs of the first one's shape.
OPENERS: dict[str, Callable[[Path, Any], Run]] = {
    "LiteRT": _tflite("ai_edge_litert.interpreter"),
    "tflite-runtime": _tflite("tflite_runtime.interpreter"),
    "onnxruntime": _onnxruntime,
    "OpenVINO": _openvino,
    "MNN": _mnn,
    "tract": _tract,
    "TFLM": _tflm,
}


def main(argv: list[str]) -> None:
    """Run the model on each input, and write the outputs."""
    engine, model, inputs, outputs = argv
    images = np.load(inputs)
    run = OPENERS[engine](Path(model), images[:1])
    results = [np.array(run(images[n : n + 1])) for n in range(len(images))]
    np.save(outputs, np.stack(results))


if __name__ == "__main__":
    main(sys.argv[1:])
