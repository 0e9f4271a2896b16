"""export.spec on models made with other tools: they get a spec, or are rejected."""

import numpy as np
import pytest

from export import onnx, spec, tflite
from runtime import ArtifactError, Classifier
from runtime.model import artifact
from runtime.model.spec import QuantizationParams

SUFFIXES = pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".keras"])


@pytest.fixture
def bare_model(source, tmp_path, suffix):
    """Return the path of a model without a spec."""
    path = tmp_path / f"found{suffix}"
    if suffix == ".keras":
        source.model.save(path)
    else:
        target = tflite if suffix == ".tflite" else onnx
        path.write_bytes(target.convert(source))
    return path


@SUFFIXES
def test_model_without_a_spec_is_rejected_with_the_remedy(bare_model):
    with pytest.raises(ArtifactError, match=r"digit-edge export-spec"):
        artifact.read(bare_model)


@SUFFIXES
def test_model_gets_a_spec_with_labels_and_golden_scores(bare_model, source, data):
    assert spec.main([str(bare_model), "--labels", ",".join(data.labels)]) == 0
    opened = artifact.read(bare_model)
    assert opened.spec.labels == data.labels
    expected = source.scores(opened.spec.golden.pixels)
    np.testing.assert_allclose(opened.spec.golden.scores, expected, atol=1e-5)


@SUFFIXES
def test_spec_is_replaced_by_a_second_call(bare_model, data):
    bare = artifact.read_bare(bare_model)
    spec.main([str(bare_model), "--labels", ",".join(data.labels)])
    spec.main([str(bare_model), "--labels", "a,b,c,d,e,f,g,h,i,j"])
    opened = artifact.read(bare_model)
    assert opened.spec.labels == tuple("abcdefghij")
    if bare_model.suffix != ".keras":  # a .keras file is a zip archive, which is written anew
        assert artifact.read_bare(bare_model) == bare


def test_model_of_this_project_is_rejected(trained):
    with pytest.raises(ArtifactError, match="has a spec already"):
        spec.main([str(trained), "--labels", "0-9"])


def test_wrong_number_of_labels_is_rejected_and_the_file_kept(source, tmp_path):
    bare = tmp_path / "found.tflite"
    bare.write_bytes(tflite.convert(source))
    before = bare.read_bytes()
    with pytest.raises(ArtifactError, match="10 scores, 3 labels: pass 10 class names"):
        spec.main([str(bare), "--labels", "a,b,c"])
    assert bare.read_bytes() == before


def test_spec_of_an_int8_tflite_model_has_its_quantization(source, samples, data, tmp_path):
    bare = tmp_path / "found.tflite"
    bare.write_bytes(tflite.convert(source, samples))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    quantization = artifact.read(bare).spec.quantization
    assert quantization.input == QuantizationParams(pytest.approx(1 / 255, rel=1e-5), -128)


def quantized_onnx(kind):
    """Return the bytes of a small QDQ model, as other tools write them."""
    from onnx import TensorProto, checker, helper, numpy_helper

    numbers = {
        "weights": np.random.default_rng(0).normal(0, 0.05, (784, 10)).astype(np.float32),
        "flat": np.array([-1, 784]),
        "half": np.array(0.5, np.float32),
        "scale": np.array(1 / 255, np.float32),
        "zero": np.array(0, np.uint8),
    }
    constants = {name: numpy_helper.from_array(number, name) for name, number in numbers.items()}
    nodes, source, params = [], "image", ["scale", "zero"]
    if kind == "no zero point":
        params = ["scale"]
    elif kind == "constant nodes":
        nodes = [
            helper.make_node("Constant", [], ["scale"], value_float=1 / 255),
            helper.make_node("Constant", [], ["zero"], value=constants["zero"]),
        ]
        del constants["scale"], constants["zero"]
    elif kind == "computed scale":
        params = ["computed", "zero"]
        nodes = [helper.make_node("Mul", ["scale", "half"], ["computed"])]
    elif kind == "quantized hidden layer":
        nodes, source = [helper.make_node("Mul", ["image", "half"], ["halved"])], "halved"
    nodes += [
        helper.make_node("QuantizeLinear", [source, *params], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", *params], ["values"]),
        helper.make_node("Reshape", ["values", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 28, 28, 1])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 10])],
        list(constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["zero point", "no zero point", "constant nodes"])
def test_spec_of_a_quantized_onnx_model_has_its_quantization(tmp_path, kind, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_onnx(kind))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    loaded = Classifier.load(bare).spec
    assert loaded.precision == "int8"
    assert loaded.quantization.output is None
    assert loaded.quantization.input == QuantizationParams(pytest.approx(1 / 255), 0)


def test_onnx_model_with_a_quantized_hidden_layer_is_float32(tmp_path, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_onnx("quantized hidden layer"))
    spec.main([str(bare), "--labels", ",".join(data.labels)])
    loaded = Classifier.load(bare).spec
    assert (loaded.precision, loaded.quantization) == ("float32", None)


def test_computed_scale_is_rejected(tmp_path, data):
    bare = tmp_path / "found.onnx"
    bare.write_bytes(quantized_onnx("computed scale"))
    message = r"found\.onnx: the scale of image is not a single constant"
    with pytest.raises(ArtifactError, match=message):
        spec.main([str(bare), "--labels", ",".join(data.labels)])


@pytest.mark.parametrize("damaged", [b"config", b"weights"])
def test_damaged_keras_file_is_rejected(source, data, tmp_path, damaged):
    bare = tmp_path / "found.keras"
    source.model.save(bare)
    content = bytearray(bare.read_bytes())
    content[content.index(b'"module"' if damaged == b"config" else b"HDF") + 1] ^= 1
    bare.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"Keras cannot open .*found\.keras.*Bad CRC"):
        spec.main([str(bare), "--labels", ",".join(data.labels)])


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("shapes", [[(28, 28, 1)] * 2, []])
def test_keras_model_with_other_inputs_is_rejected_and_the_file_kept(data, tmp_path, shapes):
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
