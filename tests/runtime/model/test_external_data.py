"""Models with data in other files are rejected, wherever the reference is."""

import dataclasses
import struct
import time
from pathlib import Path

import pytest

import runtime
from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.external_data import external_file
from runtime.model.protobuf import varint

onnx = pytest.importorskip("onnx")
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
SPEC = artifact.read(PRETRAINED / "digits.onnx").spec
make = onnx.helper


def external(name="outside"):
    """Return a tensor whose values are in a file."""
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def located_only():
    """Return a tensor that is external, and names no file."""
    tensor = external()
    del tensor.external_data[:]
    return tensor


def named_only():
    """Return a tensor that names a file, and does not say that it is external."""
    tensor = external()
    tensor.ClearField("data_location")
    return tensor


def sparse(values=None, indices=None):
    inside = make.make_tensor("inside", onnx.TensorProto.FLOAT, [1], [0.0])
    positions = make.make_tensor("positions", onnx.TensorProto.INT64, [1], [0])
    return onnx.SparseTensorProto(values=values or inside, indices=indices or positions, dims=[1])


def graph(*nodes, **fields):
    return onnx.GraphProto(node=nodes, name="g", **fields)


def constant(tensor):
    return onnx.NodeProto(
        op_type="Constant", attribute=[onnx.AttributeProto(name="value", t=tensor)]
    )


def attribute(**fields):
    return onnx.NodeProto(op_type="Op", attribute=[onnx.AttributeProto(name="a", **fields)])


def nested(depth):
    inner = graph(constant(external()))
    for _ in range(depth):
        inner = graph(attribute(g=inner))
    return inner


def model(graph_=None, **fields):
    return onnx.ModelProto(ir_version=8, graph=graph_ or graph(), **fields)


PLACES = {
    "initializer": model(graph(initializer=[external()])),
    "location only": model(graph(initializer=[located_only()])),
    "file only": model(graph(initializer=[named_only()])),
    "values of a sparse initializer": model(graph(sparse_initializer=[sparse(external())])),
    "indices of a sparse initializer": model(
        graph(sparse_initializer=[sparse(indices=external())])
    ),
    "constant": model(graph(constant(external()))),
    "tensors": model(graph(attribute(tensors=[external()]))),
    "sparse tensor": model(graph(attribute(sparse_tensor=sparse(external())))),
    "sparse tensors": model(graph(attribute(sparse_tensors=[sparse(indices=external())]))),
    "subgraph": model(nested(1)),
    "deep subgraph": model(nested(20)),
    "initializer of a subgraph": model(graph(attribute(g=graph(initializer=[external()])))),
    "list of subgraphs": model(graph(attribute(graphs=[nested(1)]))),
    "function": model(functions=[onnx.FunctionProto(name="f", node=[constant(external())])]),
    "default of a function": model(
        functions=[
            onnx.FunctionProto(
                name="f", attribute_proto=[onnx.AttributeProto(name="a", t=external())]
            )
        ]
    ),
    "training, start": model(
        training_info=[onnx.TrainingInfoProto(initialization=graph(initializer=[external()]))]
    ),
    "training, step": model(
        training_info=[onnx.TrainingInfoProto(algorithm=graph(constant(external())))]
    ),
    "compiled model": model(graph(onnx.NodeProto(op_type="EPContext", domain="com.microsoft"))),
}


@pytest.mark.parametrize("place", PLACES)
def test_onnx_model_with_external_data_is_rejected(tmp_path, place):
    path = tmp_path / "m.onnx"
    path.write_bytes(artifact.embed(".onnx", PLACES[place].SerializeToString(), SPEC))
    with pytest.raises(ArtifactError, match=r"m\.onnx: .* is stored in another file"):
        artifact.read(path)
    path.write_bytes(PLACES[place].SerializeToString())
    with pytest.raises(ArtifactError, match="is stored in another file"):
        artifact.read_bare(path)


def test_second_graph_of_a_model_is_searched_too():
    """Protobuf merges repeated fields of one message."""
    first, second = model(), model(graph(initializer=[external()]))
    data = first.SerializeToString() + second.SerializeToString()
    assert external_file(".onnx", data) == "the tensor 'outside'"


def test_field_number_with_more_than_32_bits_is_rejected():
    """Protobuf's own parser would drop the upper bits, and see field 13."""
    tag = 13 << 3 | 2 | 1 << 33
    hidden = varint(tag) + b"\x00"
    tensor = b"\x2a" + varint(len(hidden)) + hidden  # initializer of the graph
    data = b"\x3a" + varint(len(tensor)) + tensor
    with pytest.raises(ArtifactError, match="damaged"):
        external_file(".onnx", data)


@pytest.mark.parametrize("name", ["digits.onnx", "digits-int8.onnx", "lines-int8.onnx"])
def test_published_models_are_complete(name):
    assert external_file(".onnx", (PRETRAINED / name).read_bytes()) is None


def test_varint_without_an_end_is_rejected_in_linear_time(tmp_path):
    path = tmp_path / "m.onnx"
    good = artifact.embed(".onnx", model().SerializeToString(), SPEC)
    data = b"\x08" + b"\xff" * 2_000_000 + b"\x01" + good
    path.write_bytes(data[: -artifact._DIGEST_BYTES] + artifact._digest(data).encode())
    start = time.process_time()
    with pytest.raises(ArtifactError, match="damaged"):
        artifact.read(path)
    assert time.process_time() - start < 5


def test_model_with_too_many_fields_is_rejected():
    with pytest.raises(ArtifactError, match="more than 1,000,000 fields"):
        external_file(".onnx", b"\x08\x01" * 1_000_001)


def test_published_tflite_models_are_complete():
    for name in ("digits.tflite", "digits-int8.tflite", "lines-int8.tflite"):
        assert external_file(".tflite", (PRETRAINED / name).read_bytes()) is None


@pytest.mark.parametrize("slot", [8, 9])
def test_tflite_model_with_external_buffers_is_rejected(tmp_path, slot):
    path = tmp_path / "m.tflite"
    # A vtable of ten slots, and its table, behind the header.
    slots = [0] * 10
    slots[slot] = 4
    vtable = struct.pack("<12H", 24, 8, *slots)
    data = struct.pack("<I4s", 32, b"TFL3") + vtable + struct.pack("<iI", 24, 0)
    path.write_bytes(artifact.embed(".tflite", data, dataclasses.replace(SPEC, golden=None)))
    with pytest.raises(ArtifactError, match="a buffer is stored in another file"):
        artifact.read(path)
