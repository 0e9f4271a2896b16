"""The softmax of an int8 model as a look-up, so that it answers with the same bytes everywhere.

An engine's own exp and sum differ in their last bits from one processor to the next. A logit is one
of 256 codes, so e^(logit - largest logit) is one of 256 numbers: the model carries them.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_CODES = 256
# How many steps a logit is below the largest is computed in float and cut off to a whole number.
# This much more, so that what rounding takes away does not matter, and 255 do not become 256.
_A_LITTLE_MORE = 1.001


def softmax_lut(scale: float, classes: int, dtype: type[np.floating]) -> npt.NDArray[np.floating]:
    """e^(-scale · k) for k = 0 to 255, (256,), for sums of `classes` of them in `dtype`.

    Rounded to multiples of 2^-b, where `dtype` holds every whole number up to 2^b · `classes`: the
    sum of so many is exact then, in whatever order a processor adds. With float32, scores of ten
    classes are right to about 1e-6, of a thousand to about 1e-4.
    """
    bits = np.finfo(dtype).nmant + 1 - math.ceil(math.log2(classes))
    steps = np.rint(np.ldexp(np.exp(-scale * np.arange(_CODES)), bits))
    return np.ldexp(steps, -bits).astype(dtype)


def replace_softmax_with_lut_tflite(data: bytes) -> bytes:
    """A bare .tflite file whose softmax of int8 logits is a look-up; another file as it is.

    Made of operators that LiteRT's GPU accelerator knows too. It computes with the numbers that
    int8 tensors stand for, so the codes are found again from those. A row divided by its
    sum differs in its last bits in tflite-runtime for 64-bit Arm; multiplied with the sum's
    reciprocal it does not.
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
    row, one = [-1, classes], [-1, 1]
    last_axis = graph.constant("last_axis", np.array([1], np.int32))
    per_step = graph.constant("per_step", np.array(_A_LITTLE_MORE / scale, np.float32))
    steps, below = graph.variable("steps", row), graph.variable("below", row)
    largest = graph.variable("largest", one)
    graph.append("MUL", [logits, per_step], steps, "Mul")
    graph.append("REDUCE_MAX", [steps, last_axis], largest, "Reducer", keepDims=True)
    graph.append("SUB", [largest, steps], below, "Sub")
    codes = graph.variable("codes", row, "INT32")
    kinds = schema.TensorType.FLOAT32, schema.TensorType.INT32
    graph.append("CAST", [below], codes, "Cast", inDataType=kinds[0], outDataType=kinds[1])
    # One index after the other: neither the look-up nor the GPU takes them in rows.
    flat = graph.reshape(codes, [-1], "INT32")
    found = graph.variable("found", one)
    table = graph.constant("table", softmax_lut(scale, classes, np.float32)[:, np.newaxis])
    graph.append("EMBEDDING_LOOKUP", [flat, table], found)
    numerators = graph.reshape(found, row, "FLOAT32")
    total, reciprocal = graph.variable("total", one), graph.variable("reciprocal", one)
    graph.append("SUM", [numerators, last_axis], total, "Reducer", keepDims=True)
    graph.append("DIV", [graph.constant("one", np.float32([1])), total], reciprocal, "Div")
    graph.append("MUL", [numerators, reciprocal], scores, "Mul")
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _TFLiteGraph:
    """The one graph of a .tflite file, and what adds to it; -1 stands for a free axis."""

    def __init__(self, model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._schema = schema
        self._model = model
        (graph,) = model.subgraphs
        self.tensors = graph.tensors
        self.operators = graph.operators

    def kinds(self) -> list[str]:
        """Every operator's kind, in the order of execution."""
        names = {
            number: name
            for name, number in vars(self._schema.BuiltinOperator).items()
            if isinstance(number, int)
        }
        codes = self._model.operatorCodes
        return [names[codes[operator.opcodeIndex].builtinCode] for operator in self.operators]

    def constant(self, name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> int:
        """Add a constant; its tensor's index."""
        kind = "INT32" if values.dtype == np.int32 else "FLOAT32"
        return self._tensor(name, list(values.shape), kind, values.tobytes())

    def variable(self, name: str, shape: list[int], kind: str = "FLOAT32") -> int:
        """Add a tensor that an operator writes; its index."""
        return self._tensor(name, shape, kind)

    def reshape(self, source: int, shape: list[int], kind: str) -> int:
        """Append a reshaping; the index of what it gives."""
        name = self.tensors[source].name + "_reshaped"
        result = self.variable(name, shape, kind)
        sizes = np.array(shape, np.int32)
        inputs = [source, self.constant(f"{name}_shape", sizes)]
        self.append("RESHAPE", inputs, result, "Reshape", newShape=sizes)
        return result

    def append(
        self, kind: str, inputs: list[int], output: int, options: str = "", **values: Any
    ) -> None:
        """Append an operator, its options by their names in the schema."""
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
    """Make the softmax of a model's int8 logits a look-up; leave another model as it is.

    onnxruntime computes the last layer in whole numbers only where one DequantizeLinear reads its
    codes and one operator reads that, so they are found again here too. It divides in float64 and
    rounds then: quotients of float32 are off by up to 6e-6 in Debian's for 32-bit Arm.
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
        ("per_step", np.array(_A_LITTLE_MORE / scale, np.float32)),
        ("table", softmax_lut(scale, classes, np.float64)),
        ("last_axis", np.array([1], np.int64)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
