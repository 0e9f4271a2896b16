"""python answers.py ENGINE IMAGES.npy FOLDER: the scores of every published artifact, as .npy."""

import sys
from pathlib import Path
from platform import machine

import numpy as np

import runtime
from runtime.backends import ENGINES, open_backend
from runtime.model import artifact


def main(engine: str, images: str, folder: str) -> None:
    """Write FOLDER/ARTIFACT.npy for each artifact that the engine, named by its extra, opens."""
    (row,) = [row for row in ENGINES if row.extra == engine]
    pixels = np.load(images)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in sorted((Path(runtime.__file__).parent / "pretrained").glob(f"digits*{row.suffix}")):
        opened = artifact.read(path)
        if engine == "tflite" and opened.spec.precision == "int8" and machine() == "x86_64":
            scores = reference_scores(opened.data, pixels)
        else:
            scores = open_backend(opened, row.name).scores(pixels)
        np.save(Path(folder) / f"{path.name}.npy", scores)


def reference_scores(model: bytes, pixels: np.ndarray) -> np.ndarray:
    """What tflite-runtime's reference kernels answer.

    Its other kernels round as they do on Arm, and one step apart now and then on x86.
    """
    from tflite_runtime.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], (pixels ^ 128).view(np.int8))
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


if __name__ == "__main__":
    main(*sys.argv[1:])
