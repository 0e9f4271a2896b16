"""Export a trained model as ONNX, float32 or int8.

The command is `digit-edge export-onnx`. `digit-edge export` uses this module too, through TARGET.
tf2onnx converts the model. onnxruntime quantizes an int8 model, except for the softmax, which
`export.softmax_lut` replaces.
"""

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from export.calibration import Calibration
from export.cli import run
from export.keras_model import CONVERSION_ERRORS, INPUT_NAME, KerasModel, serving_function
from export.pipeline import ExportTarget
from export.softmax_lut import replace_softmax_with_lut_onnx
from export.verify import Signature
from runtime.backends.codec import Tensor
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, ConversionError, first_line
from runtime.model.spec import QuantizationParams
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    import onnx

# Version of the ONNX operators in a file. onnxruntime before 1.14 cannot open newer versions,
# and tf2onnx writes at most version 18.
OPSET = 17
IR_VERSION = 8  # version of the ONNX file format; older engines reject files with a newer version

# (operator, index of a constant input) → name of the constant, such as "weight" in conv1.weight.
_CONSTANT_NAMES = {
    ("conv", 1): "weight",
    ("conv", 2): "bias",
    ("matmul", 1): "weight",
    ("add", 1): "bias",
    ("reshape", 1): "shape",
}
# Operators that rearrange or select values without changing them. `quantization` follows the
# model's input through these operators.
_LAYOUT_OPERATORS = {
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


def convert(source: KerasModel, calibration: Calibration | None = None) -> bytes:
    """Convert a model to ONNX.

    The input of the converted model is float32 (batch, 28, 28, 1) from 0 to 1. The output is
    float32 (batch, classes). An int8 model has the same input and output types.

    Args:
        source: the model to convert.
        calibration: images for static int8 quantization with QuantizeLinear and
            DequantizeLinear operators (QDQ). None converts to float32.

    Returns:
        The bytes of an .onnx file without a spec.

    Raises:
        ConversionError: tf2onnx cannot convert the model, or onnxruntime cannot quantize it.
    """
    with suppress_native_output(1, 2):
        import tensorflow as tf
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        try:
            function = serving_function(source.model)
            model, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=OPSET
            )
            _rename(model.graph)
            if calibration is not None:
                model = _quantize(model, calibration)
        except (*CONVERSION_ERRORS, tf.errors.OpError) as error:
            raise ConversionError(
                f"tf2onnx cannot convert {source.artifact.path}"
                f"{'' if calibration is None else ' to int8'} ({first_line(error)}): use layers "
                "that ONNX supports"
            ) from error
    _normalize(model, source.model.input_shape[0])
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _rename(graph: "onnx.GraphProto") -> None:
    """Name nodes after their operators, and tensors after their nodes: conv1, conv1.weight.

    The converter's names (unk__52, StatefulPartitionedCall/…) are not readable. The numbers in
    these names also differ from one conversion to the next.
    """
    constants = {tensor.name for tensor in graph.initializer}
    renamed = {INPUT_NAME: INPUT_NAME, graph.output[0].name: graph.output[0].name}
    counts: Counter[str] = Counter()
    for node in graph.node:
        kind = node.op_type.lower()
        counts[kind] += 1
        node.name = f"{kind}{counts[kind]}"
        for index, name in enumerate(node.input):
            if name in constants:
                constant_name = _CONSTANT_NAMES.get((kind, index), f"input{index}")
                renamed.setdefault(name, f"{node.name}.{constant_name}")
        for name in node.output:
            renamed.setdefault(name, node.name)
        node.input[:] = [renamed[name] for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    del graph.value_info[:]


def _normalize(model: "onnx.ModelProto", batch: int | None) -> None:
    """Name the graph and its free batch axis, and remove unused operator sets."""
    model.ir_version = IR_VERSION
    model.graph.name = "digit-edge"
    model.graph.doc_string = ""
    for value in (*model.graph.input, *model.graph.output) if batch is None else ():
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # The converter and the quantizer declare operator sets that no node uses; an engine may reject
    # a model because of an unknown operator set.
    used = {node.domain for node in model.graph.node}
    used_opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(used_opsets)


def _quantize(model: "onnx.ModelProto", calibration: Calibration) -> "onnx.ModelProto":
    """Quantize a float model to int8 (static, QDQ), with a look-up table for the softmax."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type stubs
        def __init__(self) -> None:
            self.batches = calibration.batches()

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT_NAME: batch}

    with atomic_write.temporary_folder() as folder, suppress_native_output(1, 2):
        original, prepared, quantized = (folder / f"{n}.onnx" for n in ("plain", "prepared", "q"))
        onnx.save(model, original)
        # Fuse MatMul and Add, so that biases are quantized together with the products. Symbolic
        # shape inference is skipped: it needs sympy, and only the batch size is symbolic here.
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # Quantized scores would be multiples of 1/256, and none would exceed 0.996.
            nodes_to_exclude=[node.name for node in model.graph.node if node.op_type == "Softmax"],
        )
        model = onnx.load(quantized)
    replace_softmax_with_lut_onnx(model)
    return model


def describe(data: bytes) -> Signature:
    """Return the names and shapes of a model's input and output.

    Args:
        data: the bytes of an .onnx file.

    Raises:
        ArtifactError: the data are not an ONNX model, or the model does not have one input and
            one output.
    """
    graph = _load(data).graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ArtifactError(
            f"the model has {len(graph.input)} inputs and {len(graph.output)} outputs: use a model "
            "with one input and one output"
        )
    source, result = graph.input[0], graph.output[0]
    return Signature(source.name, result.name, *(_shape(value) for value in (source, result)))


def tensors(data: bytes) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs and the outputs of a model, without inputs that have a default value.

    Args:
        data: the bytes of an .onnx file.

    Raises:
        ArtifactError: the data are not an ONNX model.
    """
    graph = _load(data).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    return [*map(_tensor, inputs)], [*map(_tensor, graph.output)]


def _tensor(value: "onnx.ValueInfoProto") -> Tensor:
    import onnx

    name = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return Tensor(_shape(value), {"float": "float32", "double": "float64"}.get(name, name))


def quantization(data: bytes) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """Return the quantization parameters (scale and zero point) of a model's input and output.

    Args:
        data: the bytes of an .onnx file.

    Returns:
        (parameters of the input, parameters of the output). The second item is None if the output
        is not quantized. None instead of a tuple if the input is not quantized.

    Raises:
        ArtifactError: the data are not an ONNX model, or a scale is not a single constant.
    """
    import onnx

    graph = _load(data).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Names of the input and of the tensors with the same values in another layout.
    input_names = {value.name for value in graph.input} - values.keys()
    scores = graph.output[0].name
    input_params = scores_params = None
    for node in graph.node:  # in the order of execution
        if node.op_type == "Constant":
            constant = onnx.helper.get_attribute_value(node.attribute[0])
            is_tensor = isinstance(constant, onnx.TensorProto)
            array = onnx.numpy_helper.to_array(constant) if is_tensor else np.asarray(constant)
            values[node.output[0]] = array
        elif node.op_type in _LAYOUT_OPERATORS and node.input[0] in input_names:
            input_names.add(node.output[0])
        elif node.op_type == "QuantizeLinear" and node.input[0] in input_names:
            input_params = _params(node, values)
        elif node.op_type == "DequantizeLinear" and node.output[0] == scores:
            scores_params = _params(node, values)
    return None if input_params is None else (input_params, scores_params)


def _params(node: "onnx.NodeProto", values: dict[str, np.ndarray]) -> QuantizationParams:
    """Return the scale and the zero point of a QuantizeLinear or DequantizeLinear operator.

    The zero point is 0 if the operator has none.

    Raises:
        ArtifactError: the scale or the zero point is not a single constant.
    """
    scale, zero_point = (*node.input[1:3], "")[:2]
    try:
        return QuantizationParams(
            values[scale].item(), values[zero_point].item() if zero_point else 0
        )
    except (KeyError, ValueError) as error:
        raise ArtifactError(
            f"the scale of {node.input[0]} is not a single constant ({error}): quantize the model "
            "with one constant scale per tensor"
        ) from error


def _load(data: bytes) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ArtifactError(f"not a valid ONNX model: {error}") from error
    return model


def _shape(value: "onnx.ValueInfoProto") -> tuple[int | None, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)


TARGET = ExportTarget("ONNX", ".onnx", convert, describe, quantization)  # for `export.cli.run`


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-onnx` and return its exit status."""
    return run([TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
