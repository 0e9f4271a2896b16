"""Replaces the softmax of an int8 model by a look-up table: equal scores on every processor.

`export.tflite` and `export.onnx` call this module after the quantization. An engine's exponential
function and sums differ in their last bits between processors. An int8 logit is one of 256 integers
(codes). Therefore e^(logit - largest logit) has at most 256 values, and the model contains them as
a table.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_CODES = 256  # number of different int8 values, and so the length of the table

# The difference of two codes is computed in float, and then truncated to an integer. Rounding
# errors could make the float slightly smaller than the integer. Multiplied by this factor, the
# float is slightly larger: the largest difference, 255, becomes 255.255, which is truncated to 255.
_TRUNCATION_MARGIN = 1.001


def softmax_lut(scale: float, classes: int, dtype: type[np.floating]) -> npt.NDArray[np.floating]:
    """Return the table e^(-scale · k) for k = 0 to 255, rounded so that sums are exact.

    The values are multiples of 2^-b. The number b is the largest for which `dtype` represents every
    integer up to 2^b · `classes`. Therefore the sum of `classes` values is exact, in any order of
    addition. With float32, the error of a score is about 1e-6 for ten classes, and 1e-4 for a
    thousand classes.

    Args:
        scale: quantization scale of the logits, above 0.
        classes: number of classes, and so of values in a sum; at least 1.
        dtype: type of the table and of the sum.

    Returns:
        Array (256,) of `dtype`, from 1 down to about 0.
    """
    bits = np.finfo(dtype).nmant + 1 - math.ceil(math.log2(classes))
    steps = np.rint(np.ldexp(np.exp(-scale * np.arange(_CODES)), bits))
    table: npt.NDArray[np.floating] = np.ldexp(steps, -bits).astype(dtype)
    return table


def replace_softmax_with_lut_tflite(data: bytes) -> bytes:
    """Replace the softmax of int8 logits in a .tflite file by the table.

    Only operators that LiteRT's GPU accelerator supports are used. The accelerator computes with
    dequantized values, so the codes are recomputed from these. The numerators are multiplied by the
    reciprocal of their sum, because the division of tflite-runtime for 64-bit Arm has other last
    bits.

    Args:
        data: the bytes of a .tflite file without a spec.

    Returns:
        The bytes of the changed file. `data` itself if the model does not end in a softmax of int8
        logits.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    graph = _TFLiteGraph(model)
    if graph.kinds()[-2:] != ["DEQUANTIZE", "SOFTMAX"]:
        return data
    dequantize, softmax = graph.operators[-2:]
    (scale,) = graph.tensors[dequantize.inputs[0]].quantization.scale
    logits, scores = dequantize.outputs[0], softmax.outputs[0]
    classes = int(graph.tensors[scores].shape[-1])
    graph.operators.remove(softmax)
    row, column = [-1, classes], [-1, 1]
    last_axis = graph.constant("last_axis", np.array([1], np.int32))
    per_step = graph.constant("per_step", np.array(_TRUNCATION_MARGIN / scale, np.float32))
    steps, below = graph.variable("steps", row), graph.variable("below", row)
    largest = graph.variable("largest", column)
    graph.append("MUL", [logits, per_step], steps, "Mul")
    graph.append("REDUCE_MAX", [steps, last_axis], largest, "Reducer", keepDims=True)
    graph.append("SUB", [largest, steps], below, "Sub")
    codes = graph.variable("codes", row, "INT32")
    float32, int32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    graph.append("CAST", [below], codes, "Cast", inDataType=float32, outDataType=int32)
    # EMBEDDING_LOOKUP and the GPU need the indices as a vector.
    flat = graph.reshape(codes, [-1], "INT32")
    looked_up = graph.variable("found", column)
    table = graph.constant("table", softmax_lut(scale, classes, np.float32)[:, np.newaxis])
    graph.append("EMBEDDING_LOOKUP", [flat, table], looked_up)
    numerators = graph.reshape(looked_up, row, "FLOAT32")
    total, reciprocal = graph.variable("total", column), graph.variable("reciprocal", column)
    graph.append("SUM", [numerators, last_axis], total, "Reducer", keepDims=True)
    one = graph.constant("one", np.array([1], np.float32))
    graph.append("DIV", [one, total], reciprocal, "Div")
    graph.append("MUL", [numerators, reciprocal], scores, "Mul")
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _TFLiteGraph:
    """The graph of a .tflite file, with methods that add to it; -1 is an axis of any size."""

    def __init__(self, model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._schema = schema
        self._model = model
        (graph,) = model.subgraphs
        self.tensors = graph.tensors
        self.operators = graph.operators

    def kinds(self) -> list[str]:
        """Return the kinds of all operators, in the order of execution."""
        names = {
            number: name
            for name, number in vars(self._schema.BuiltinOperator).items()
            if isinstance(number, int)
        }
        codes = self._model.operatorCodes
        return [names[codes[operator.opcodeIndex].builtinCode] for operator in self.operators]

    def constant(self, name: str, values: npt.NDArray[np.floating] | npt.NDArray[np.int32]) -> int:
        """Add a constant tensor, float32 or int32, and return its index."""
        kind = "INT32" if values.dtype == np.int32 else "FLOAT32"
        return self._tensor(name, list(values.shape), kind, values.tobytes())

    def variable(self, name: str, shape: list[int], kind: str = "FLOAT32") -> int:
        """Add a tensor that an operator writes, and return the tensor's index.

        Args:
            name: name of the tensor.
            shape: sizes of the axes; -1 for an axis of any size.
            kind: type of the values in the TFLite schema, "FLOAT32" or "INT32".
        """
        return self._tensor(name, shape, kind)

    def reshape(self, source: int, shape: list[int], kind: str) -> int:
        """Append a RESHAPE operator, and return the index of the output tensor.

        Args:
            source: index of the input tensor.
            shape: sizes of the output's axes; -1 for an axis of any size.
            kind: type of the values in the TFLite schema, "FLOAT32" or "INT32".
        """
        name = self.tensors[source].name + "_reshaped"
        result = self.variable(name, shape, kind)
        sizes = np.array(shape, np.int32)
        inputs = [source, self.constant(f"{name}_shape", sizes)]
        self.append("RESHAPE", inputs, result, "Reshape", newShape=sizes)
        return result

    def append(
        self, kind: str, inputs: list[int], output: int, options: str = "", **values: Any
    ) -> None:
        """Append an operator.

        Args:
            kind: name of the operator in the TFLite schema.
            inputs: indices of the operator's input tensors.
            output: index of the operator's output tensor.
            options: name of the options type in the schema, without the suffix "Options"; empty
                for an operator without options.
            values: name of an option in the schema → value.
        """
        schema = self._schema
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self._model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([output], np.int32)
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
            for name, value in values.items():
                setattr(operator.builtinOptions, name, value)
        self.operators.append(operator)

    def _tensor(self, name: str, shape: list[int], kind: str, data: bytes | None = None) -> int:
        """Add a tensor, with its data if it is constant, and return its index."""
        schema = self._schema
        buffer = schema.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(data, np.uint8)
        self._model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, getattr(schema.TensorType, kind)
        tensor.shape = np.maximum(np.array(shape, np.int32), 1)
        if min(shape, default=1) < 0:
            tensor.shapeSignature = np.array(shape, np.int32)
        tensor.buffer = len(self._model.buffers) - 1
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def replace_softmax_with_lut_onnx(model: "onnx.ModelProto") -> None:
    """Replace the softmax of int8 logits in an ONNX model by the table.

    The codes are recomputed from the dequantized logits. If another operator also read the codes
    themselves, onnxruntime would not compute the last layer in integers. The quotients are computed
    in float64, and rounded to float32 at the end. Quotients in float32 would have errors of up to
    6e-6 in Debian's onnxruntime for 32-bit Arm.

    Args:
        model: the model, which is modified in place. A model that does not end in a softmax of int8
            logits stays unchanged.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    if [node.op_type for node in graph.node[-2:]] != ["DequantizeLinear", "Softmax"]:
        return
    dequantize, softmax = graph.node[-2:]
    values = {tensor.name: tensor for tensor in graph.initializer}
    scale = numpy_helper.to_array(values[dequantize.input[1]]).item()
    (classes,) = (axis.dim_value for axis in graph.output[0].type.tensor_type.shape.dim[1:])
    logits, scores = dequantize.output[0], softmax.output[0]
    del graph.node[-1]
    for operator, inputs, output, attributes in (
        ("Mul", [logits, "per_step"], "steps", {}),
        ("ReduceMax", ["steps"], "largest", {"axes": [1]}),
        ("Sub", ["largest", "steps"], "below", {}),
        ("Cast", ["below"], "codes", {"to": TensorProto.INT32}),
        ("Gather", ["table", "codes"], "numerators", {}),
        ("ReduceSum", ["numerators", "last_axis"], "total", {}),
        ("Div", ["numerators", "total"], "quotients", {}),
        ("Cast", ["quotients"], scores, {"to": TensorProto.FLOAT}),
    ):
        graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))
    for name, value in (
        ("per_step", np.array(_TRUNCATION_MARGIN / scale, np.float32)),
        ("table", softmax_lut(scale, classes, np.float64)),
        ("last_axis", np.array([1], np.int64)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
