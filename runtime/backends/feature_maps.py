"""Compute feature maps: the outputs of a network's convolutions, before each max pooling.

An engine returns a network's scores only. This module opens the artifact a second time, on the CPU
and in a way that keeps the tensors in between. That is slower, so it happens on request only:
`Classifier.feature_maps` calls `open_feature_maps`.
"""

import importlib
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.backends import ENGINES, Pixels, install_hint
from runtime.backends.codec import Codec, Tensor
from runtime.backends.onnx import tensor_of
from runtime.errors import ArtifactError, BackendUnavailable
from runtime.model import protobuf
from runtime.model.artifact import Artifact
from runtime.system.native_output import suppress_native_output

Maps: TypeAlias = npt.NDArray[np.float32]  # (channels, height, width)
# Returns the feature maps of one image, pixels uint8 in the model's form: one array for each max
# pooling, in the order of the network.
Network: TypeAlias = "Callable[[Pixels], list[Maps]]"

# Numbers of fields in ONNX's protobuf messages:
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_GRAPH_OUTPUT = 12
_NODE_INPUT = 1
_NODE_OPERATOR = 4
_VALUE_NAME = 1


def open_feature_maps(artifact: Artifact) -> Network:
    """Open an artifact with the first installed engine that opens its format.

    Args:
        artifact: a .tflite or .onnx model.

    Raises:
        BackendUnavailable: no engine for this format is installed.
        ArtifactError: the network has no max pooling, or the engine rejects the model.
    """
    engines = [row for row in ENGINES if row.suffix == artifact.format and row.name in _OPENERS]
    for row in engines:
        if row.installed():
            try:
                network = _OPENERS[row.name](artifact, importlib.import_module(row.imports))
            except ImportError:
                continue
            except (ValueError, RuntimeError) as error:
                raise ArtifactError(
                    f"{row.name} cannot keep the feature maps of {artifact.path} ({error}): export "
                    "it again"
                ) from error
            return network
    hint = f": {install_hint(engines[0].name)}" if engines else ""
    raise BackendUnavailable(f"no engine shows the feature maps of {artifact.format} files{hint}")


def onnx_tensors(artifact: Artifact) -> list[str]:
    """Return the names of the tensors that an .onnx network pools, in the order of the network.

    Raises:
        ArtifactError: the network has no max pooling.
    """
    names = []
    for part, graph in protobuf.fields(memoryview(artifact.data)):
        if part != _MODEL_GRAPH:
            continue
        for field, node in protobuf.fields(graph):
            if field != _GRAPH_NODE:
                continue
            parts = [(number, bytes(part)) for number, part in protobuf.fields(node)]
            if (_NODE_OPERATOR, b"MaxPool") in parts:
                names.append(next(part.decode() for n, part in parts if n == _NODE_INPUT))
    if not names:
        raise _no_pooling(artifact)
    return names


def added_outputs(names: list[str]) -> bytes:
    """Return the bytes that make tensors outputs of an .onnx network, if appended to its file.

    A field of the same number, appended to a protobuf message, is merged with the first: the graph
    gets further outputs.

    Args:
        names: names of tensors of the network.
    """
    outputs = [
        protobuf.field(_GRAPH_OUTPUT, protobuf.field(_VALUE_NAME, name.encode())) for name in names
    ]
    return protobuf.field(_MODEL_GRAPH, b"".join(outputs))


def _open_onnx(artifact: Artifact, engine: Any) -> Network:
    names = onnx_tensors(artifact)
    options = engine.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    session = engine.InferenceSession(
        artifact.data + added_outputs(names),
        options,
        providers=["CPUExecutionProvider"],
    )
    source = session.get_inputs()[0]
    scores = session.get_outputs()[0]  # before those that were added
    codec = Codec(artifact, [tensor_of(source)], [tensor_of(scores)])

    def maps(pixels: Pixels) -> list[Maps]:
        feed = {source.name: codec.encode(pixels[np.newaxis])}
        return [np.asarray(each[0], np.float32) for each in session.run(names, feed)]

    return maps


def _open_tflite(artifact: Artifact, engine: Any) -> Network:
    with suppress_native_output(2):
        interpreter = engine.Interpreter(
            model_content=artifact.data,
            num_threads=1,
            # Delegates keep the tensors in between to themselves.
            experimental_op_resolver_type=engine.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    codec = Codec(artifact, [*map(Tensor.of_tflite, inputs)], [*map(Tensor.of_tflite, outputs)])
    tensors = {each["index"]: each for each in interpreter.get_tensor_details()}
    pooled = [
        tensors[operator["inputs"][0]]
        for operator in interpreter._get_ops_details()
        if operator["op_name"] == "MAX_POOL_2D"
    ]
    if not pooled:
        raise _no_pooling(artifact)
    lock = threading.Lock()

    def maps(pixels: Pixels) -> list[Maps]:
        values = codec.encode(pixels[np.newaxis])
        with lock:
            interpreter.set_tensor(inputs[0]["index"], values)
            interpreter.invoke()
            return [_channels_first(interpreter.get_tensor(t["index"])[0], t) for t in pooled]

    return maps


def _channels_first(values: npt.NDArray[Any], tensor: dict[str, Any]) -> Maps:
    """Return a tensor (height, width, channels) as dequantized (channels, height, width)."""
    scale, zero_point = tensor["quantization"]
    real = values.astype(np.float32)
    if scale:
        real = (real - np.float32(zero_point)) * np.float32(scale)
    return np.ascontiguousarray(real.transpose(2, 0, 1))


def _no_pooling(artifact: Artifact) -> ArtifactError:
    return ArtifactError(
        f"{artifact.path} has no max pooling, so it has no feature maps to show: use a model that "
        "digit-edge train and digit-edge export made"
    )


# Name of an engine → function that opens a network with the engine's module.
_OPENERS: dict[str, Callable[[Artifact, Any], Network]] = {
    "litert": _open_tflite,
    "tflite-runtime": _open_tflite,
    "onnxruntime": _open_onnx,
}
