"""Save the scores of every published artifact on given images, as .npy files.

Usage: python scores.py ENGINE IMAGES.npy FOLDER. deploy/tests/test_engines.py runs this script on
emulated Pis and on the host, and compares the scores. The script needs the project's wheel.
"""

import importlib
import sys
from pathlib import Path
from platform import machine

import numpy as np
import numpy.typing as npt
from digit_edge import import_own

runtime = import_own("digit_edge.runtime")
artifact = import_own("digit_edge.runtime.model.artifact")
backends = import_own("digit_edge.runtime.backends")


def main(engine: str, images: str, folder: str) -> None:
    """Write FOLDER/ARTIFACT.npy for each published artifact of an engine.

    Args:
        engine: name of the engine's extra: litert, tflite, onnx or native.
        images: .npy file of pixels, uint8 (N, 28, 28, 1).
        folder: folder to write to; created if it is missing.
    """
    (row,) = [row for row in backends.ENGINES if row.extra == engine]
    pixels = np.load(images)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in sorted(
        (Path(str(runtime.__file__)).parent / "pretrained").glob(f"digits*{row.suffix}")
    ):
        opened = artifact.read(path)
        if engine == "tflite" and opened.spec.precision == "int8" and machine() == "x86_64":
            scores = reference_scores(opened.data, pixels)
        else:
            scores = backends.open_backend(opened, row.name).scores(pixels)
        np.save(Path(folder) / f"{path.name}.npy", scores)


def reference_scores(model: bytes, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the scores of tflite-runtime's reference kernels.

    On x86, tflite-runtime's optimized kernels sometimes differ from the reference kernels by one
    quantization step. On Arm, both kinds of kernels round alike.

    Args:
        model: content of an int8 .tflite file.
        pixels: uint8 (N, 28, 28, 1).

    Returns:
        float32 (N, classes).
    """
    tflite = importlib.import_module("tflite_runtime.interpreter")
    interpreter = tflite.Interpreter(
        model_content=model, experimental_op_resolver_type=tflite.OpResolverType.BUILTIN_REF
    )
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], pixels.shape)
    interpreter.allocate_tensors()
    # The int8 input is pixel − 128. Flipping the highest bit of a uint8 gives the same byte.
    interpreter.set_tensor(source["index"], (pixels ^ 128).view(np.int8))
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(result["index"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
