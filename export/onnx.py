"""python -m export.onnx: .keras → .onnx, float32 or int8."""

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from export.calibration import Calibration
from export.cli import run
from export.keras_model import INPUT_NAME, KerasModel, serving_function
from export.pipeline import ExportTarget
from export.softmax_lut import replace_softmax_with_lut_onnx
from export.verify import Signature
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError
from runtime.model.spec import QuantizationParams
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    import onnx

# Read by onnxruntime from 1.14 on; tf2onnx writes nothing later than 18.
OPSET = 17
IR_VERSION = 8
_ROLES = {
    ("conv", 1): "weight",
    ("conv", 2): "bias",
    ("matmul", 1): "weight",
    ("add", 1): "bias",
    ("reshape", 1): "shape",
}
# Operators that change no value.
_RESHAPERS = {"Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}


def convert(source: KerasModel, calibration: Calibration | None = None) -> bytes:
    """The model as a bare .onnx file; static QDQ int8 inside where `calibration` is given.

    Raises:
        ArtifactError: tf2onnx refuses the model.
    """
    with suppress_native_output(1, 2):
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        function = serving_function(source.model)
        try:
            model, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=OPSET
            )
        except (ValueError, RuntimeError, KeyError) as error:
            raise ArtifactError(
                f"tf2onnx refuses {source.artifact.path} ({error}): use layers that ONNX knows"
            ) from error
    _rename(model.graph)
    if calibration is not None:
        model = _quantize(model, calibration)
    _tidy(model)
    return model.SerializeToString(deterministic=True)


def _rename(graph: "onnx.GraphProto") -> None:
    """Name every node after its operator, its tensors after the node: conv1, conv1.weight.

    The converter's names (unk__52, StatefulPartitionedCall/…) tell a reader nothing, and count on
    from one conversion to the next.
    """
    constants = {tensor.name for tensor in graph.initializer}
    renamed = {INPUT_NAME: INPUT_NAME, graph.output[0].name: graph.output[0].name}
    seen: Counter[str] = Counter()
    for node in graph.node:
        kind = node.op_type.lower()
        seen[kind] += 1
        node.name = f"{kind}{seen[kind]}"
        for place, name in enumerate(node.input):
            if name in constants:
                role = _ROLES.get((kind, place), f"input{place}")
                renamed.setdefault(name, f"{node.name}.{role}")
        for name in node.output:
            renamed.setdefault(name, node.name)
        node.input[:] = [renamed[name] for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    del graph.value_info[:]


def _tidy(model: "onnx.ModelProto") -> None:
    """Name the graph and its free axis as a reader would, and drop what nothing uses."""
    model.ir_version = IR_VERSION
    model.graph.name = "digit-edge"
    model.graph.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # Converter and quantiser declare operator sets that no node uses; an engine may refuse them.
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _quantize(model: "onnx.ModelProto", calibration: Calibration) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = calibration.batches()

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT_NAME: batch}

    with atomic_write.temporary_folder() as folder, suppress_native_output(1, 2):
        plain, prepared, quantized = (folder / f"{n}.onnx" for n in ("plain", "prepared", "q"))
        onnx.save(model, plain)
        # Fuses MatMul and Add, so that the biases are quantized with their products. Symbolic
        # shapes would need sympy, and this graph has none but the batch.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # Quantized, the scores would be steps of 1/256, none above 0.996.
            nodes_to_exclude=[node.name for node in model.graph.node if node.op_type == "Softmax"],
        )
        model = onnx.load(quantized)
    replace_softmax_with_lut_onnx(model)
    return model


def describe(data: bytes) -> Signature:
    """What a bare .onnx file calls its input and output.

    Raises:
        ArtifactError: it is no ONNX model, or has not one input and one output.
    """
    graph = _load(data).graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ArtifactError("the model has not one input and one output")
    source, result = graph.input[0], graph.output[0]
    return Signature(source.name, result.name, *(_shape(value) for value in (source, result)))


def quantization(data: bytes) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """How an .onnx file quantises its input and scores, inside; None where its input stays float.

    Raises:
        ArtifactError: it is no ONNX model, or computes the scale.
    """
    import onnx

    graph = _load(data).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # The input, and what holds the same values in another shape.
    inputs = {value.name for value in graph.input} - values.keys()
    scores = graph.output[0].name
    of_input = of_scores = None
    for node in graph.node:  # in the order of execution
        if node.op_type == "Constant":
            held = onnx.helper.get_attribute_value(node.attribute[0])
            is_tensor = isinstance(held, onnx.TensorProto)
            array = onnx.numpy_helper.to_array(held) if is_tensor else np.asarray(held)
            values[node.output[0]] = array
        elif node.op_type in _RESHAPERS and node.input[0] in inputs:
            inputs.add(node.output[0])
        elif node.op_type == "QuantizeLinear" and node.input[0] in inputs:
            of_input = _affine(node, values)
        elif node.op_type == "DequantizeLinear" and node.output[0] == scores:
            of_scores = _affine(node, values)
    return of_input and (of_input, of_scores)


def _affine(node: "onnx.NodeProto", values: dict[str, np.ndarray]) -> QuantizationParams:
    """Scale and zero point of a node that quantises or dequantises; it may have no zero point."""
    scale, zero_point = (*node.input[1:3], "")[:2]
    try:
        return QuantizationParams(
            values[scale].item(), values[zero_point].item() if zero_point else 0
        )
    except (KeyError, ValueError) as error:
        raise ArtifactError(
            f"the scale of {node.input[0]} is not one constant number ({error}): quantize the "
            "model with one"
        ) from error


def _load(data: bytes) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ArtifactError(f"it is no valid ONNX model: {error}") from error
    return model


def _shape(value: "onnx.ValueInfoProto") -> tuple[int | None, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)


TARGET = ExportTarget("ONNX", ".onnx", convert, describe, quantization)


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.onnx`."""
    return run([TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
