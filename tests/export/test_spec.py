"""Models made elsewhere: given a spec by export.spec, or refused."""

import numpy as np
import pytest

from export import onnx, spec, tflite
from runtime import ArtifactError, Classifier
from runtime.model import artifact
from runtime.model.spec import QuantizationParams


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".keras"])
def test_a_model_made_elsewhere_gets_a_spec(source, data, tmp_path, suffix, capsys):
    bare = tmp_path / f"found{suffix}"
    if suffix == ".keras":
        source.model.save(bare)
    else:
        target = tflite if suffix == ".tflite" else onnx
        bare.write_bytes(target.convert(source))
    with pytest.raises(ArtifactError, match="python -m export.spec"):
        artifact.read(bare)
    assert spec.main([str(bare), "--labels", ",".join(data.labels)]) == 0
    opened = artifact.read(bare)
    assert opened.spec.labels == data.labels
    expected = source.scores(opened.spec.golden.pixels)
    np.testing.assert_allclose(opened.spec.golden.scores, expected, atol=1e-5)
    with pytest.raises(ArtifactError, match="carries a spec already"):
        spec.main([str(bare), "--labels", "a,b"])


def test_labels_that_do_not_fit_a_foreign_model_are_refused(source, tmp_path):
    bare = tmp_path / "found.tflite"
    bare.write_bytes(tflite.convert(source))
    before = bare.read_bytes()
    with pytest.raises(ArtifactError, match="its spec says"):
        spec.main([str(bare), "--labels", "a,b,c"])
    assert bare.read_bytes() == before


def test_an_int8_model_made_elsewhere_keeps_its_scales(source, samples, data, tmp_path):
    bare = tmp_path / "found.tflite"
    bare.write_bytes(tflite.convert(source, samples))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    stated = artifact.read(bare).spec.quantization
    assert stated.input == QuantizationParams(pytest.approx(1 / 255, rel=1e-5), -128)


def quantized_elsewhere(kind):
    """A small QDQ model, as other tools write them."""
    from onnx import TensorProto, checker, helper, numpy_helper

    numbers = {
        "weights": np.random.default_rng(0).normal(0, 0.05, (784, 10)).astype(np.float32),
        "flat": np.array([-1, 784]),
        "half": np.array(0.5, np.float32),
        "scale": np.array(1 / 255, np.float32),
        "zero": np.array(0, np.uint8),
    }
    held = {name: numpy_helper.from_array(number, name) for name, number in numbers.items()}
    nodes, source, how = [], "image", ["scale", "zero"]
    if kind == "no zero point":
        how = ["scale"]
    elif kind == "constant nodes":
        nodes = [
            helper.make_node("Constant", [], ["scale"], value_float=1 / 255),
            helper.make_node("Constant", [], ["zero"], value=held["zero"]),
        ]
        del held["scale"], held["zero"]
    elif kind == "a scale that is computed":
        how = ["computed", "zero"]
        nodes = [helper.make_node("Mul", ["scale", "half"], ["computed"])]
    elif kind == "quantized further inside":
        nodes, source = [helper.make_node("Mul", ["image", "half"], ["halved"])], "halved"
    nodes += [
        helper.make_node("QuantizeLinear", [source, *how], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", *how], ["values"]),
        helper.make_node("Reshape", ["values", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 28, 28, 1])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 10])],
        list(held.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["zero point", "no zero point", "constant nodes"])
def test_the_quantization_of_an_onnx_model_made_elsewhere_is_read(tmp_path, kind, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_elsewhere(kind))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    stated = Classifier.load(bare).spec
    assert stated.precision == "int8"
    assert stated.quantization.output is None
    assert stated.quantization.input == QuantizationParams(pytest.approx(1 / 255), 0)


def test_what_another_layer_quantises_is_not_taken_for_the_input_s(tmp_path, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_elsewhere("quantized further inside"))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    stated = Classifier.load(bare).spec
    assert (stated.precision, stated.quantization) == ("float32", None)


def test_a_scale_that_is_computed_is_refused(tmp_path, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_elsewhere("a scale that is computed"))
    with pytest.raises(ArtifactError, match="found.onnx: the scale of image is not a single constant"):
        spec.main([str(bare), "--labels", ",".join(data.labels)])


@pytest.mark.parametrize("damaged", [b"config", b"weights"])
def test_a_damaged_keras_file_is_refused(source, data, tmp_path, damaged):
    bare = tmp_path / "found.keras"
    source.model.save(bare)
    content = bytearray(bare.read_bytes())
    content[content.index(b'"module"' if damaged == b"config" else b"HDF") + 1] ^= 1
    bare.write_bytes(content)
    with pytest.raises(ArtifactError, match="Keras cannot open .*found.keras.*Bad CRC"):
        spec.main([str(bare), "--labels", ",".join(data.labels)])


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("shapes", [[(32, 32, 3)], [(28, 28, 1)] * 2, []])
def test_a_keras_model_of_another_shape_is_refused(data, tmp_path, shapes):
    import keras
    from keras import layers

    bare = tmp_path / "found.keras"
    head = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    if shapes:
        inputs = [keras.Input(shape) for shape in shapes]
        joined = layers.Add()(inputs) if len(inputs) > 1 else inputs[0]
        keras.Model(inputs, head[1](head[0](joined))).save(bare)
    else:
        keras.Sequential(head).save(bare)
    before = bare.read_bytes()
    with pytest.raises(ArtifactError, match=r"found.keras has input shape .* and output shape"):
        spec.main([str(bare), "--labels", ",".join(data.labels)])
    assert bare.read_bytes() == before
