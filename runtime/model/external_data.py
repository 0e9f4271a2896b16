"""Find data of a model that is stored in other files, which neither digest nor signature covers.

An ONNX tensor can name a file with its values, and onnxruntime reads this file relative to the
working directory. LiteRT has external buffers. `runtime.model.artifact` rejects both.
"""

import struct

from runtime.errors import ArtifactError
from runtime.model.protobuf import all_fields

# A larger model is rejected: reading it would take longer than about a second. The models of this
# project have fewer than 1,000.
_MAX_FIELDS = 1_000_000  # number of protobuf fields, with those of nested messages

# Message of onnx.proto → field number → message in this field, for all fields that can contain a
# tensor. Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_TENSOR_NAME = 8  # field of TensorProto
_EXTERNAL_DATA = 13  # field of TensorProto: where the values are stored
_DATA_LOCATION = 14  # field of TensorProto: 0 in this file, 1 in another file
_OPERATOR = 4  # field of NodeProto: name of the operator
_COMPILED_MODEL = b"EPContext"  # operator of onnxruntime that loads a compiled model from a file

# Fields of the table Model in TFLite's schema that describe external buffers.
_TFLITE_EXTERNAL_SLOTS = (8, 9)


def external_file(suffix: str, model: bytes) -> str | None:
    """Return what part of a model is stored in another file; None if the model is complete.

    Args:
        suffix: ".onnx" or ".tflite"; models of other formats are complete.
        model: all bytes of the file.

    Raises:
        ArtifactError: the file is damaged, or has too many parts to be searched.
    """
    if suffix == ".onnx":
        return _external_onnx(model)
    if suffix == ".tflite":
        return _external_tflite(model)
    return None


def _external_onnx(model: bytes) -> str | None:
    count, operators = 0, set()
    waiting = [("ModelProto", memoryview(model))]  # not recursive: messages may be nested deeply
    while waiting:
        kind, message = waiting.pop()
        nested, name, external = _MESSAGES[kind], "", False
        for number, value in all_fields(message):
            count += 1
            if count > _MAX_FIELDS:
                raise ArtifactError(
                    f"the model has more than {_MAX_FIELDS:,} fields: pass a smaller model"
                )
            if number in nested and isinstance(value, memoryview):
                waiting.append((nested[number], value))
            elif kind == "TensorProto":
                if number == _TENSOR_NAME and isinstance(value, memoryview):
                    name = bytes(value).decode("utf-8", "replace")
                external |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
            elif kind == "NodeProto" and number == _OPERATOR and isinstance(value, memoryview):
                operators.add(bytes(value))
        if external:
            return f"the tensor {name!r}"
    return f"the operator {_COMPILED_MODEL.decode()}" if _COMPILED_MODEL in operators else None


def _external_tflite(model: bytes) -> str | None:
    """Look up the slots of the table Model: https://flatbuffers.dev/internals/."""
    try:
        (table,) = struct.unpack_from("<I", model)
        (distance,) = struct.unpack_from("<i", model, table)
        vtable = table - distance
        (size,) = struct.unpack_from("<H", model, vtable)
        for slot in _TFLITE_EXTERNAL_SLOTS:
            at = 4 + 2 * slot  # after the sizes of vtable and table
            if at + 2 <= size and struct.unpack_from("<H", model, vtable + at)[0]:
                return "a buffer"
    except struct.error:
        raise ArtifactError("the file is damaged: export it again") from None
    return None
