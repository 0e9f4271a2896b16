"""Writes an int8 .tflite artifact for TensorFlow Lite Micro: a batch of one, up to the logits.

TFLM, Arm's Ethos-U compiler (vela) and others take no free batch and do not know the look-up of the
softmax. The logits are those of TFLM's kernels, which round otherwise than LiteRT's: they differ by
at most two steps, and C from `digit-edge export-c` equals LiteRT.
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

from export.c.network import read_network
from export.c.source import array, comment, identifier
from runtime.backends import Pixels
from runtime.errors import ArtifactError, BackendUnavailable, ParityError, printable
from runtime.model.artifact import Artifact
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

MAX_STEPS = 2  # a logit of TFLM may differ from LiteRT's by this many
_ARENA_BYTES = 1 << 20  # for the run that finds out how much is needed
_FILE_IDENTIFIER = b"TFL3"
# TFLM's resolver has a method for each operator; most are the operator's name in camel case.
_METHODS = {"CONV_2D": "AddConv2D", "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D"}
_METHODS |= {"MAX_POOL_2D": "AddMaxPool2D", "AVERAGE_POOL_2D": "AddAveragePool2D"}
_METHODS |= {"RELU6": "AddRelu6"}
# Runs in another Python: a model and images in a folder → logits, and what TFLM prints.
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
    """What TFLM's interpreter made of a model.

    Attributes:
        arena_bytes: the tensor arena that it needs on a 64-bit machine; a 32-bit one needs less.
        top1: share of images with the same prediction as LiteRT.
        steps: the largest difference of a logit from LiteRT's, in steps of its scale.
    """

    arena_bytes: int
    top1: float
    steps: int


def convert(artifact: Artifact) -> tuple[bytes, list[str]]:
    """Return a .tflite file of a batch of one that ends with the int8 logits, and its operators.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file of layers that C is written for.
    """
    read_network(artifact)  # refuses others
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    flatbuffers: Any = importlib.import_module("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(artifact.data, 0)
    (graph,) = model.subgraphs
    names: dict[int, str] = {
        number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()
    }

    def code(operator: Any) -> int:
        found = model.operatorCodes[operator.opcodeIndex]
        return max(int(found.builtinCode), int(found.deprecatedBuiltinCode))

    kinds = [names[code(operator)] for operator in graph.operators]
    graph.operators = graph.operators[: kinds.index("DEQUANTIZE")]
    kinds = kinds[: kinds.index("DEQUANTIZE")]
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
        tensor.shapeSignature = None
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
    """Run a file of `convert` in TFLM's interpreter and compare it with LiteRT.

    Args:
        artifact: what it was converted from.
        data: the file.
        images: pixels (N, height, width, channels) uint8.
        python: a Python that has the package tflite-micro.

    Raises:
        BackendUnavailable: it has not.
        ParityError: a prediction differs, or a logit by more than MAX_STEPS.
    """
    signed = (images ^ np.uint8(128)).view(np.int8)[:, np.newaxis]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(data)
        np.save(folder / "images.npy", signed)
        command = [python, "-c", _RUN, name, str(_ARENA_BYTES)]
        done = subprocess.run(command, capture_output=True, text=True)
        if "No module named 'tflite_micro'" in done.stderr:
            raise BackendUnavailable(
                f"{python} has no tflite-micro: pip install tflite-micro, or name another Python "
                "with --python"
            )
        if done.returncode:
            printed = " ".join(done.stderr.split())[-500:]
            raise ParityError(f"{artifact.path}: TFLM does not run it: {printed}")
        logits = np.load(folder / "logits.npy").astype(int)
    expected = _logits(data, signed)
    top1 = float(np.mean(logits.argmax(axis=1) == expected.argmax(axis=1)))
    steps = int(np.abs(logits - expected).max())
    # "[RecordingMicroAllocator] Arena allocation total 21520 bytes"
    arena = re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)
    if steps > MAX_STEPS or arena is None:
        raise ParityError(
            f"{artifact.path}: TFLM's logits differ from LiteRT's by up to {steps} steps; "
            f"at most {MAX_STEPS} are rounding"
        )
    return Verified(int(arena[1]), top1, steps)


def _logits(data: bytes, signed: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return LiteRT's int8 logits of a file of `convert`."""
    interpreter_module: Any = importlib.import_module("ai_edge_litert.interpreter")
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
    """Write NAME_tflm.tflite, and NAME_tflm.c and .h with the same bytes and the operators.

    Args:
        artifact: an int8 .tflite artifact.
        out: the folder; files of the same names in it are replaced.
        python: a Python that has the package tflite-micro, to verify in.
        images: what to verify with (default: the golden images).

    Returns:
        What was written and verified, in lines to print.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file of layers that C is written for.
        BackendUnavailable: there is no tflite-micro.
        ParityError: TFLM answers otherwise.
        EdgeError: the folder cannot be written.
    """
    data, operators = convert(artifact)
    golden = artifact.spec.golden
    if images is None:
        if golden is None or len(golden.pixels) == 0:
            raise ArtifactError(f"{artifact.path}: it has no golden inputs: export it again")
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
        f"in tflite-micro: {len(images):,} images, top-1 as LiteRT on {verified.top1:.2%}, logits "
        f"at most {verified.steps} steps apart; arena {verified.arena_bytes:,} bytes",
    ]


def _header(
    artifact: Artifact, name: str, operators: list[str], size: int, verified: Verified
) -> str:
    macro = name.upper()
    # 0 is kTfLiteOk.
    adds = "\n           && ".join(f"resolver.{_method(kind)}() == 0" for kind in operators)
    labels = json.dumps(list(artifact.spec.labels))
    return f"""/* {name}: a model for TensorFlow Lite Micro, written by
 * `digit-edge export-c --target tflm` from {comment(artifact.path.name)}
 * (SHA-256 {artifact.spec.digest}).
 *
 * Input: int8 = pixel - 128 of one image. Output: int8 logits of the labels
 * {comment(labels)} */

#ifndef {macro}_H
#define {macro}_H

#define {macro}_BYTES {size}
/* What the interpreter needed on a 64-bit machine; a microcontroller needs less. */
#define {macro}_ARENA_BYTES {verified.arena_bytes}
#define {macro}_OPERATORS {len(operators)}

#ifdef __cplusplus
extern "C" {{
#endif
extern const unsigned char {name}[{macro}_BYTES];
#ifdef __cplusplus
}}

/* Register what the model needs: tflite::MicroMutableOpResolver<{macro}_OPERATORS>.
 * Return whether that succeeded. */
template <typename Resolver>
bool {name}_add_operators(Resolver &resolver)
{{
    return {adds};
}}
#endif

#endif
"""


def _method(kind: str) -> str:
    """Return the method of TFLM's resolver that adds an operator."""
    return _METHODS.get(kind) or "Add" + "".join(part.title() for part in kind.split("_"))
