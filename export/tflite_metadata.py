"""Add TFLite metadata to a .tflite file: the normalization of the input and the labels.

`export.tflite` calls `add_metadata`. Netron, MediaPipe's tools and Android Studio show this
metadata; digit-edge itself reads only the spec, which `runtime.model.artifact` appends. Both use
the archive at the end of the file. Specification:
https://ai.google.dev/edge/litert/models/metadata
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.model.artifact import LABELS_MEMBER, SPEC_MEMBER
from runtime.model.spec import SEQUENCE, ModelSpec
from runtime.preprocess.form import PHOTO

if TYPE_CHECKING:
    from flatbuffers import Builder

_BUFFER_NAME = "TFLITE_METADATA"  # names the metadata among the buffers of the model
_FILE_IDENTIFIER = b"M001"  # of metadata_schema.fbs
_MIN_PARSER_VERSION = "1.0.0"  # version of the schema that introduced the fields used here
_PIXEL_SCALE = 255.0  # divides a pixel, 0 to 255; the network's input is 0 to 1
# Numbers of enumerations and unions in metadata_schema.fbs.
_DESCRIPTIONS = 1  # AssociatedFileType
_AXIS_LABELS = 2  # AssociatedFileType
_RGB = 1  # ColorSpaceType
_GRAYSCALE = 2  # ColorSpaceType
_FEATURE_PROPERTIES = 1  # ContentProperties
_IMAGE_PROPERTIES = 2  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions


def add_metadata(model: bytes, spec: ModelSpec) -> bytes:
    """Return a model with TFLite metadata.

    A model with inputs or outputs of its own, `spec.interface`, is returned unchanged: the metadata
    of this module describes pixels divided by 255 and probabilities.

    Args:
        model: bytes of a .tflite file without an appended archive.
        spec: describes the model. The metadata refers to the files that `artifact.write` appends.
    """
    if spec.interface is not None:
        return model
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_metadata(spec))
    entry.name, entry.buffer = _BUFFER_NAME, len(tree.buffers)
    tree.buffers.append(buffer)
    tree.metadata = [*(tree.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _metadata(spec: ModelSpec) -> bytes:
    """Return the ModelMetadata of metadata_schema.fbs."""
    import flatbuffers

    builder = flatbuffers.Builder()
    graph = _table(
        builder,
        {
            0: _text(builder, spec.name),
            2: _tables(builder, [_input(builder, spec)]),
            3: _tables(builder, [_output(builder, spec)]),
        },
    )
    spec_file = _file(builder, SPEC_MEMBER, "digit-edge's description of the model", _DESCRIPTIONS)
    if spec.kind == SEQUENCE:
        subject = "a line of handwriting"
    else:
        subject = "a photograph" if spec.form == PHOTO else "a handwritten character"
    root = _table(
        builder,
        {
            0: _text(builder, spec.name),
            1: _text(builder, f"Reads {subject}; trained on {spec.dataset.name}."),
            2: _text(builder, spec.source_sha256),
            3: _tables(builder, [graph]),
            6: _tables(builder, [spec_file]),
            7: _text(builder, _MIN_PARSER_VERSION),
        },
    )
    builder.Finish(root, file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: "Builder", spec: ModelSpec) -> int:
    """Add the TensorMetadata of the input: an image, normalized to 0 to 1."""
    height, width, channels = spec.input_shape
    size = {}
    if width is not None:  # the width of a line is free
        size = {1: _table(builder, {}, {0: width, 1: height or 0})}
    properties = _table(builder, size, {}, {0: _RGB if channels == 3 else _GRAYSCALE})
    normalization = _table(
        builder, {0: _floats(builder, [0.0]), 1: _floats(builder, [_PIXEL_SCALE])}
    )
    quantized = "" if spec.quantization is None else ", then quantized"
    if spec.form == PHOTO:
        content = f"A whole image, resized: values from 0 to 255, divided by 255{quantized}."
    else:
        subject = "line" if spec.kind == SEQUENCE else "character, centered"
        content = f"A {subject} as in MNIST: background 0, ink 255, divided by 255{quantized}."
    return _table(
        builder,
        {
            0: _text(builder, "image"),
            1: _text(builder, content),
            3: _table(builder, {1: properties}, {}, {0: _IMAGE_PROPERTIES}),
            4: _tables(builder, [_table(builder, {1: normalization}, {}, {0: _NORMALIZATION})]),
            5: _stats(builder),
        },
    )


def _output(builder: "Builder", spec: ModelSpec) -> int:
    """Add the TensorMetadata of the output: a score for each label."""
    description = "The probability of each label."
    if spec.kind == SEQUENCE:
        description = "The logits of each label in each column; the last label is CTC's blank."
    labels = _file(builder, LABELS_MEMBER, "The labels, in the order of the scores", _AXIS_LABELS)
    fields = {
        0: _text(builder, "scores"),
        1: _text(builder, description),
        3: _table(builder, {1: _table(builder, {})}, {}, {0: _FEATURE_PROPERTIES}),
        6: _tables(builder, [labels]),
    }
    if spec.kind != SEQUENCE:
        fields[5] = _stats(builder)
    return _table(builder, fields)


def _file(builder: "Builder", name: str, description: str, kind: int) -> int:
    """Add an AssociatedFile."""
    texts = {0: _text(builder, name), 1: _text(builder, description)}
    return _table(builder, texts, {}, {2: kind})


def _stats(builder: "Builder") -> int:
    """Add the Stats of a tensor from 0 to 1."""
    return _table(builder, {0: _floats(builder, [1.0]), 1: _floats(builder, [0.0])})


def _table(
    builder: "Builder",
    offsets: dict[int, int],
    numbers: dict[int, int] | None = None,
    enumerations: dict[int, int] | None = None,
) -> int:
    """Add a table.

    Args:
        builder: the builder of the metadata.
        offsets: number of a field → offset of a text, a vector or a table.
        numbers: number of a field → uint value.
        enumerations: number of a field → value of an enumeration or type of a union.
    """
    numbers, enumerations = numbers or {}, enumerations or {}
    builder.StartObject(max([-1, *offsets, *numbers, *enumerations]) + 1)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, number in numbers.items():
        builder.PrependUint32Slot(field, number, 0)
    for field, value in enumerations.items():
        builder.PrependUint8Slot(field, value, 0)
    return int(builder.EndObject())


def _tables(builder: "Builder", offsets: Sequence[int]) -> int:
    """Add a vector of tables."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: "Builder", values: Sequence[float]) -> int:
    """Add a vector of float32 values."""
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _text(builder: "Builder", text: str) -> int:
    return int(builder.CreateString(text))
