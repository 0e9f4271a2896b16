"""Sums of int8 products are exact, also on processors whose instructions for them overflow."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.backends import ENGINES, open_backend
from runtime.model.artifact import Artifact, read

onnx = pytest.importorskip("onnx", reason="the model is made with onnx")
INSTALLED = [e.name for e in ENGINES if e.suffix == ".onnx" and e.installed()]


@pytest.mark.parametrize("engine", INSTALLED)
def test_onnx_sums_of_large_products_are_exact(engine):
    """A layer with pairs of products, 2 × 255 × 127, that exceed 16 bits."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.full((784, 10), 127, np.int8)
    weights[:, 1::2] = -127
    weights[::2, 5] = 3
    constants = {
        "shape": np.array([-1, 784]),
        "in.scale": np.float32(1 / 255),
        "in.zero": np.int8(-128),
        "weights": weights,
        "weights.scale": np.float32(1 / 127),
        "weights.zero": np.int8(0),
        "out.scale": np.float32(8),
        "out.zero": np.int8(0),
    }
    nodes = [
        ("QuantizeLinear", ["pixels", "in.scale", "in.zero"], "q"),
        ("DequantizeLinear", ["q", "in.scale", "in.zero"], "d"),
        ("Reshape", ["d", "shape"], "flat"),
        ("DequantizeLinear", ["weights", "weights.scale", "weights.zero"], "w"),
        ("MatMul", ["flat", "w"], "sums"),
        ("QuantizeLinear", ["sums", "out.scale", "out.zero"], "qs"),
        ("DequantizeLinear", ["qs", "out.scale", "out.zero"], "scores"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "sums",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 28, 28, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    published = read(Path(runtime.__file__).parent / "pretrained/digits-int8.onnx")
    spec = dataclasses.replace(published.spec, golden=None)
    backend = open_backend(Artifact(published.path, model.SerializeToString(), spec), engine)
    pixels = np.full((3, 28, 28, 1), 255, np.uint8)
    pixels[1, ::2], pixels[2] = 0, 7
    exact = (pixels.reshape(3, 784) / 255) @ (weights / 127)
    np.testing.assert_allclose(backend.scores(pixels), np.rint(exact / 8) * 8, atol=8)
