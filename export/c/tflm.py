"""Convert an int8 .tflite artifact for TensorFlow Lite Micro (TFLM) and verify the result.

`digit-edge export-c --target tflm` calls `write`. The converted model has batch size 1 and ends
with the logits. TFLM and Arm's compiler for the Ethos-U (vela) do not support a variable batch size
or the softmax by look-up table.

TFLM's kernels round differently from LiteRT's. TFLM's logits may differ from LiteRT's by two
quantization steps.
"""

import importlib
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.network import litert_module, read_network
from export.c.source import array, comment, identifier
from runtime.backends import Pixels
from runtime.errors import ArtifactError, BackendUnavailable, ParityError, printable
from runtime.model.artifact import Artifact
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

# Largest allowed difference between TFLM's and LiteRT's int8 logits, in quantization steps. With a
# larger difference, `verify` raises ParityError.
MAX_STEPS = 2
# Size of the tensor arena that TFLM's interpreter gets for the verification. The interpreter prints
# how much of the arena the model needs. A model that needs more fails with ParityError.
_ARENA_BYTES = 1 << 20
_FILE_IDENTIFIER = b"TFL3"  # the identifier of .tflite files
_MESSAGE_CHARACTERS = 500  # an error message contains at most this much output, the end of it

# In a C++ program, TFLM's op resolver registers the operators of a model. The resolver has one
# method for each operator. Most methods have the operator's name in camel case; this table contains
# the other methods.
_METHODS = {"CONV_2D": "AddConv2D", "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D"}
_METHODS |= {"MAX_POOL_2D": "AddMaxPool2D", "AVERAGE_POOL_2D": "AddAveragePool2D"}
_METHODS |= {"RELU6": "AddRelu6"}
# This program runs in the interpreter of --python. It reads a model and images from the folder
# argv[1], writes the logits to the same folder, and prints the memory that TFLM allocated.
_RUN = """
import sys
from pathlib import Path
import numpy as np
from tflite_micro.python.tflite_micro import runtime

folder = Path(sys.argv[1])
interpreter = runtime.Interpreter.from_file(folder / "model.tflite", arena_size=int(sys.argv[2]))
logits = []
for image in np.load(folder / "images.npy"):
    interpreter.set_input(image, 0)
    interpreter.invoke()
    logits.append(interpreter.get_output(0)[0])
np.save(folder / "logits.npy", np.stack(logits))
interpreter.print_allocations()
"""


@dataclass(frozen=True)
class Verified:
    """The result of running a model in TFLM's interpreter.

    Attributes:
        arena_bytes: size of the tensor arena on a 64-bit machine; a 32-bit machine needs less.
        steps: largest difference between TFLM's and LiteRT's logits, in quantization steps.
    """

    arena_bytes: int
    steps: int


def convert(artifact: Artifact) -> tuple[bytes, list[str]]:
    """Convert an artifact to a model with batch size 1 that ends with the int8 logits.

    Returns:
        The bytes of the .tflite file, and the sorted names of its operators.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, or a layer is not supported.
    """
    read_network(artifact)  # raises ArtifactError for unsupported models
    schema = litert_module("schema_py_generated")
    flatbuffers: Any = importlib.import_module("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(artifact.data, 0)
    (graph,) = model.subgraphs
    names: dict[int, str] = {
        number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()
    }

    def code(operator: Any) -> int:
        """Return the number of an operator; the unused one of its two fields has a lower number."""
        found = model.operatorCodes[operator.opcodeIndex]
        return max(int(found.builtinCode), int(found.deprecatedBuiltinCode))

    # The operator DEQUANTIZE follows the logits. Remove DEQUANTIZE and the softmax after it.
    kinds = [names[code(operator)] for operator in graph.operators]
    graph.operators = graph.operators[: kinds.index("DEQUANTIZE")]
    kinds = kinds[: kinds.index("DEQUANTIZE")]
    # Remove unused tensors, buffers and operator codes, and renumber the others. The number -1 is a
    # missing optional tensor.
    used = {*graph.inputs} | {t for o in graph.operators for t in (*o.inputs, *o.outputs) if t >= 0}
    kept = sorted(int(tensor) for tensor in used)
    place = {tensor: number for number, tensor in enumerate(kept)} | {-1: -1}
    model.buffers = [
        model.buffers[0],
        *(model.buffers[graph.tensors[tensor].buffer] for tensor in kept),
    ]
    graph.tensors = [graph.tensors[tensor] for tensor in kept]
    for number, tensor in enumerate(graph.tensors, 1):
        tensor.buffer = number
        tensor.shapeSignature = None  # without it, the batch size is fixed
    codes = sorted({operator.opcodeIndex for operator in graph.operators})
    for operator in graph.operators:
        operator.inputs = [place[int(tensor)] for tensor in operator.inputs]
        operator.outputs = [place[int(tensor)] for tensor in operator.outputs]
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[number] for number in codes]
    graph.inputs = [place[int(graph.inputs[0])]]
    graph.outputs = [graph.operators[-1].outputs[0]]
    model.signatureDefs, model.metadata, model.metadataBuffer = [], [], []
    builder = flatbuffers.Builder(len(artifact.data))
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output()), sorted(set(kinds))


def verify(artifact: Artifact, data: bytes, images: Pixels, python: str) -> Verified:
    """Run a converted model in TFLM's interpreter and compare its logits with LiteRT's.

    Args:
        artifact: the artifact before the conversion.
        data: the bytes from `convert`.
        images: uint8 (N, height, width, channels), at least one image.
        python: path of a Python interpreter with the package tflite-micro.

    Raises:
        BackendUnavailable: tflite-micro is not installed in `python`.
        ParityError: TFLM cannot run the model, a prediction differs, or a logit differs by more
            than `MAX_STEPS`.
    """
    # Flipping the highest bit of a byte and reading it as int8 subtracts 128.
    signed = (images ^ np.uint8(128)).view(np.int8)[:, np.newaxis]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(data)
        np.save(folder / "images.npy", signed)
        command = [python, "-c", _RUN, name, str(_ARENA_BYTES)]
        done = subprocess.run(command, capture_output=True, text=True)
        if "No module named 'tflite_micro'" in done.stderr:
            raise BackendUnavailable(
                f"{python} has no tflite-micro: pip install tflite-micro, or select another Python "
                "interpreter with --python"
            )
        if done.returncode:
            printed = " ".join(done.stderr.split())[-_MESSAGE_CHARACTERS:]
            raise ParityError(
                f"{artifact.path}: TFLM cannot run the model; export with --target c instead; "
                f"output of TFLM: {printed}"
            )
        logits = np.load(folder / "logits.npy").astype(int)
    expected = _logits(data, signed)
    flips = np.flatnonzero(logits.argmax(axis=1) != expected.argmax(axis=1))
    steps = int(np.abs(logits - expected).max())
    # TFLM prints "[RecordingMicroAllocator] Arena allocation total 21520 bytes".
    arena = re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)
    if steps > MAX_STEPS or arena is None:
        raise ParityError(
            f"{artifact.path}: TFLM's logits differ from LiteRT's by up to {steps} quantization "
            f"steps (allowed: {MAX_STEPS}), or TFLM did not print the size of its arena; install "
            "another version of tflite-micro, or export with --target c"
        )
    if len(flips):
        raise ParityError(
            f"{artifact.path}: TFLM predicts another class than LiteRT for {len(flips)} of "
            f"{len(images)} images, first for number {flips[0]}; export with --target c, whose "
            "predictions are LiteRT's"
        )
    return Verified(int(arena[1]), steps)


def _logits(data: bytes, signed: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return LiteRT's logits of a converted model.

    Args:
        data: the bytes from `convert`.
        signed: int8 (N, 1, height, width, channels), pixels − 128.

    Returns:
        int64 (N, classes), values of int8.
    """
    interpreter_module = litert_module("interpreter")
    with suppress_native_output(2):
        interpreter = interpreter_module.Interpreter(model_content=data)
        interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in signed:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        found.append(interpreter.get_tensor(result["index"])[0])
    return np.stack(found).astype(int)


def write(artifact: Artifact, out: Path, python: str, images: Pixels | None = None) -> list[str]:
    """Convert an artifact, verify the result in TFLM, and write it as a .tflite file and as C.

    The files are NAME_tflm.tflite, NAME_tflm.c with the same bytes as a C array, and NAME_tflm.h
    with a function that registers the model's operators.

    Args:
        artifact: an int8 .tflite artifact.
        out: the folder to write to; existing files with the same names are replaced.
        python: path of a Python interpreter with the package tflite-micro.
        images: uint8 (N, height, width, channels) for the verification. None: the golden images.

    Returns:
        Lines to print: the written files, the operators, and the result of the verification.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, a layer is not supported, or
            golden images are needed and missing.
        BackendUnavailable: tflite-micro is not installed in `python`.
        ParityError: TFLM cannot run the model, a prediction differs, or a logit differs by more
            than `MAX_STEPS`.
        EdgeError: a file cannot be written.
    """
    data, operators = convert(artifact)
    golden = artifact.spec.golden
    if images is None:
        if golden is None or len(golden.pixels) == 0:
            raise ArtifactError(
                f"{artifact.path}: the artifact has no golden inputs; export the model again, or "
                "pass --check"
            )
        images = golden.pixels
    verified = verify(artifact, data, images, python)
    name = f"{identifier(artifact.spec.name)}_tflm"
    files: dict[str, bytes | str] = {
        f"{name}.tflite": data,
        f"{name}.h": _header(artifact, name, operators, len(data), verified),
        f"{name}.c": f'#include "{name}.h"\n\n'
        + array(f"_Alignas(16) const unsigned char {name}[{name.upper()}_BYTES]", data),
    }
    for file, content in files.items():
        atomic_write.write(out / file, content)
    return [
        printable(", ".join(str(out / file) for file in files)) + f": {len(data):,} bytes",
        f"operators: {', '.join(operators)}",
        f"verified in tflite-micro: {len(images):,} images; same prediction as LiteRT: "
        f"100.00%; largest difference of a logit in quantization steps: "
        f"{verified.steps}; arena: {verified.arena_bytes:,} bytes",
    ]


def _header(
    artifact: Artifact, name: str, operators: list[str], size: int, verified: Verified
) -> str:
    """Return the text of the header file."""
    macro = name.upper()
    # A method of the resolver returns 0 (kTfLiteOk) if it succeeds.
    adds = "\n           && ".join(f"resolver.{_method(kind)}() == 0" for kind in operators)
    labels = json.dumps(list(artifact.spec.labels))
    return f"""/* {name}: a model for TensorFlow Lite Micro, generated by
 * `digit-edge export-c --target tflm` from {comment(artifact.path.name)}
 * (SHA-256 {artifact.spec.digest}).
 *
 * Input: one image as int8, pixel - 128. Output: int8 logits of the labels
 * {comment(labels)} */

#ifndef {macro}_H
#define {macro}_H

#define {macro}_BYTES {size}
/* Size of the tensor arena on a 64-bit machine. A 32-bit microcontroller needs less. */
#define {macro}_ARENA_BYTES {verified.arena_bytes}
#define {macro}_OPERATORS {len(operators)}

#ifdef __cplusplus
extern "C" {{
#endif
extern const unsigned char {name}[{macro}_BYTES];
#ifdef __cplusplus
}}

/* Register the operators of the model in a tflite::MicroMutableOpResolver<{macro}_OPERATORS>.
 * Return false if an operator cannot be registered. */
template <typename Resolver>
bool {name}_add_operators(Resolver &resolver)
{{
    return {adds};
}}
#endif

#endif
"""


def _method(kind: str) -> str:
    """Return the name of the method of TFLM's resolver that registers an operator."""
    return _METHODS.get(kind) or "Add" + "".join(part.title() for part in kind.split("_"))
