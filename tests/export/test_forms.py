"""The forms of models that other tools make: each is read correctly, or refused with the reason.

All models are one softmax regression, written as ONNX by hand or as TFLite by TensorFlow, that
differ in the form of their input and output only.
"""

import dataclasses
import json
import re

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from export import spec
from export.c.network import require_int8_tflite
from runtime import ArtifactError, Classifier
from runtime.backends import open_backend
from runtime.model import artifact
from train.data.load import sklearn_digits

LABELS = "0-9"


@pytest.fixture(scope="module")
def weights():
    """Return weights (784, 10) and biases of a softmax regression for values from 0 to 1."""
    data = sklearn_digits().train
    inputs = data.pixels.reshape(len(data), -1) / 255.0
    targets = np.eye(10)[data.labels]
    weights, biases = np.zeros((784, 10)), np.zeros(10)
    for _ in range(150):
        scores = np.exp(inputs @ weights + biases)
        gradient = (scores / scores.sum(axis=1, keepdims=True) - targets) / len(data)
        weights -= inputs.T @ gradient
        biases -= gradient.sum(axis=0)
    return weights.astype(np.float32), biases.astype(np.float32)


def write_onnx(
    path,
    weights,
    shape=(28, 28, 1),
    *,
    batch="n",
    scale=1.0,
    mean=0.0,
    std=1.0,
    dark=False,
    end="Softmax",
    kind=TensorProto.FLOAT,
    rows=None,
    columns=None,
    outputs=1,
):
    """Write the regression for inputs (value × std + mean) / scale; `end` is its last operator.

    Args:
        path: the file.
        weights: see the fixture.
        shape: shape of one image.
        batch: the batch axis, a name or a number; () for a model without this axis.
        scale: largest value of the input before `mean` and `std`.
        mean: mean that the caller subtracts.
        std: deviation that the caller divides by.
        dark: whether ink is 0 and paper `scale`.
        end: "Softmax", "LogSoftmax", "Sigmoid", or "" for logits.
        kind: type of the input.
        rows: rows of the weights, as indices, for inputs of another order or number of values.
        columns: columns of the weights.
        outputs: number of outputs.
    """
    matrix, biases = weights
    if rows is not None:
        matrix = matrix[rows]
    if columns is not None:
        matrix, biases = matrix[:, columns], biases[columns]
    factor, offset = (-1.0, 1.0) if dark else (1.0, 0.0)
    size = int(np.prod(shape))
    numbers = {
        "shape": np.array([-1, size]),
        "std": np.array(factor * std / scale, np.float32),
        "mean": np.array(offset + factor * mean / scale, np.float32),
        "w": np.ascontiguousarray(matrix),
        "b": biases,
    }
    batch_axes = () if batch == () else (batch,)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "shape"], ["row"]),
        helper.make_node("Mul", ["row", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["values"]),
        helper.make_node("Gemm", ["values", "w", "b"], ["logits"]),
        helper.make_node(end or "Identity", ["logits"], ["out0"]),
    ]
    names = [f"out{n}" for n in range(outputs)]
    nodes += [helper.make_node("Identity", ["logits"], [name]) for name in names[1:]]
    classes = [1 if batch == () else batch, matrix.shape[1]]
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info("image", kind, [*batch_axes, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, classes) for name in names],
        [numpy_helper.from_array(number, name) for name, number in numbers.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def color_rows(height, width, layout):
    """Return the rows of the weights for a color image that is 28×28 pixels in its center."""
    rows = np.full((height, width), 0)
    top, left = (height - 28) // 2, (width - 28) // 2
    rows[top : top + 28, left : left + 28] = np.arange(784).reshape(28, 28)
    colors = np.repeat(rows[..., np.newaxis], 3, axis=2)
    return (colors if layout == "nhwc" else colors.transpose(2, 0, 1)).reshape(-1)


# Name → the arguments of `write_onnx`, and the fields of the interface that must be found.
FORMS = {
    "height and width": ({"shape": (28, 28)}, {"input_shape": (None, 28, 28)}),
    "channels first": ({"shape": (1, 28, 28)}, {"input_shape": (None, 1, 28, 28)}),
    "flat": ({"shape": (784,)}, {"input_shape": (None, 784)}),
    "batch of one": ({"batch": 1}, {"input_shape": (1, 28, 28, 1)}),
    "batch of four": ({"batch": 4}, {"input_shape": (4, 28, 28, 1)}),
    "without a batch": ({"shape": (28, 28), "batch": ()}, {"input_shape": (28, 28)}),
    "0 to 255": ({"scale": 255.0}, {"scale": 255.0}),
    "-1 to 1": ({"mean": 0.5, "std": 0.5}, {"mean": (0.5,), "std": (0.5,)}),
    "mean and deviation": (
        {"mean": 0.1307, "std": 0.3081},
        {"mean": (0.1307,), "std": (0.3081,)},
    ),
    "dark ink": ({"dark": True}, {"polarity": "dark"}),
    "dark ink, 0 to 255": ({"dark": True, "scale": 255.0}, {"polarity": "dark", "scale": 255.0}),
    "uint8": ({"scale": 255.0, "kind": TensorProto.UINT8}, {"dtype": "uint8", "scale": 255.0}),
    "int8": (
        {"scale": 255.0, "mean": 128.0, "kind": TensorProto.INT8},
        {"dtype": "int8", "mean": (128.0,)},
    ),
    "float16": ({"kind": TensorProto.FLOAT16}, {"dtype": "float16"}),
    "float64": ({"kind": TensorProto.DOUBLE}, {"dtype": "float64"}),
    "log-softmax": ({"end": "LogSoftmax"}, {"activation": "log-softmax"}),
    "logits": ({"end": ""}, {"activation": "logits"}),
    "sigmoid": ({"end": "Sigmoid"}, {"activation": "sigmoid"}),
}


def right_of(classifier, labels=tuple("0123456789")) -> float:
    """Return the share of right predictions of test digits, in batches of different sizes."""
    test = sklearn_digits().test
    predictions = classifier.classify_batch(list(test.pixels[:150]))
    predictions += [classifier.classify(image) for image in test.pixels[150:200]]
    confidences = [prediction.confidence for prediction in predictions]
    assert min(confidences) >= 0
    assert max(confidences) <= 1
    truth = [labels[n] for n in test.labels[:200]]
    return float(np.mean([p.label == label for p, label in zip(predictions, truth, strict=True)]))


@pytest.mark.parametrize(("arguments", "fields"), FORMS.values(), ids=FORMS.keys())
def test_form_is_found_and_read(tmp_path, weights, arguments, fields, capsys):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, **arguments)
    assert spec.main([str(path), "--labels", LABELS]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "known digits right" in printed.out
    interface = artifact.read(path).spec.interface
    assert {key: getattr(interface, key) for key in fields} == fields
    assert right_of(Classifier.load(path)) > 0.9


def test_own_form_gets_no_interface(tmp_path, weights):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights)
    spec.main([str(path), "--labels", LABELS])
    opened = artifact.read(path).spec
    assert (opened.interface, opened.schema_version) == (None, 1)


def test_scores_are_those_of_the_own_form(tmp_path, weights):
    own = tmp_path / "own.onnx"
    write_onnx(own, weights)
    spec.main([str(own), "--labels", LABELS])
    pixels = sklearn_digits().test.pixels[:40]
    expected = Classifier.load(own).scores(pixels)
    for name, (arguments, _) in FORMS.items():
        if name in ("sigmoid", "float16"):
            continue
        path = tmp_path / f"{name}.onnx"
        write_onnx(path, weights, **arguments)
        spec.main([str(path), "--labels", LABELS])
        scores = Classifier.load(path).scores(pixels)
        np.testing.assert_allclose(scores, expected, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_color_input_of_another_size_is_padded_and_read(tmp_path, weights, layout, capsys):
    path = tmp_path / "found.onnx"
    shape = (40, 36, 3) if layout == "nhwc" else (3, 40, 36)
    matrix, biases = weights
    rows = color_rows(40, 36, layout)
    outside = (rows == 0)[:, np.newaxis]
    padded = np.where(outside, 0, matrix[rows] / 3).astype(np.float32), biases
    write_onnx(path, padded, shape)
    spec.main([str(path), "--labels", LABELS])
    interface = artifact.read(path).spec.interface
    assert (interface.size, interface.layout, interface.fit) == ((40, 36, 3), layout, "pad")
    assert right_of(Classifier.load(path)) > 0.9


def test_small_input_is_resized_and_read(tmp_path, weights):
    path = tmp_path / "found.onnx"
    matrix, biases = weights
    halves = matrix.reshape(14, 2, 14, 2, 10).sum(axis=(1, 3)).reshape(196, 10), biases
    write_onnx(path, halves, (14, 14, 1))
    spec.main([str(path), "--labels", LABELS])
    assert artifact.read(path).spec.interface.size == (14, 14, 1)
    assert right_of(Classifier.load(path)) > 0.85


@pytest.mark.parametrize("end", ["Sigmoid", ""], ids=["sigmoid", "logit"])
def test_one_unit_is_the_score_of_the_second_label(tmp_path, weights, end):
    path = tmp_path / "found.onnx"
    matrix, biases = weights
    # The logit of a 1 against a 0.
    unit = (matrix[:, 1:2] - matrix[:, 0:1]), (biases[1:2] - biases[0:1])
    write_onnx(path, unit, end=end)
    spec.main([str(path), "--labels", "zero,one"])
    test = sklearn_digits().test
    chosen = test.labels < 2
    scores = Classifier.load(path).scores(test.pixels[chosen])
    assert scores.shape == (chosen.sum(), 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.argmax(axis=1) == test.labels[chosen]).mean() > 0.95


@pytest.fixture(scope="module")
def tflite_of(weights):
    """Return a function that writes the regression as TFLite; see `write`."""
    import contextlib
    import io

    import tensorflow as tf

    def write(path, *, spread=1.0, low=0.0, kind=None, end="softmax", images=1):
        """Write a model for values from `low` to `low + spread`; `kind`, a type, quantizes it."""
        matrix, biases = weights

        @tf.function(input_signature=[tf.TensorSpec([images, 28, 28, 1], tf.float32)])
        def predict(image):
            values = (tf.reshape(image, [images or -1, 784]) - low) / spread
            logits = tf.matmul(values, matrix) + biases
            return {"softmax": tf.nn.softmax, "log": tf.nn.log_softmax, "logits": tf.identity}[end](
                logits
            )

        owner = tf.Module()
        owner.predict = predict
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [predict.get_concrete_function()], owner
        )
        if kind is not None:
            pixels = sklearn_digits().train.pixels[:60] / np.float32(255)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: (
                [(image[np.newaxis] * spread + low).astype(np.float32)] for image in pixels
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = getattr(tf, kind)
            converter.inference_output_type = getattr(tf, kind)
        with contextlib.redirect_stdout(io.StringIO()):
            path.write_bytes(converter.convert())

    return write


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("low", "spread", "end"),
    [
        (0.0, 1.0, "softmax"),
        (0.0, 255.0, "logits"),
        (-1.0, 2.0, "log"),
        (-0.4242, 3.2457, "softmax"),
    ],
    ids=["0 to 1", "0 to 255", "-1 to 1", "mean and deviation"],
)
def test_quantized_tflite_of_any_range_is_read(tmp_path, tflite_of, kind, low, spread, end):
    path = tmp_path / "found.tflite"
    tflite_of(path, low=low, spread=spread, kind=kind, end=end)
    spec.main([str(path), "--labels", LABELS])
    assert artifact.read(path).spec.precision == "int8"
    assert right_of(Classifier.load(path)) > 0.9


def test_float_tflite_of_one_image_is_read(tmp_path, tflite_of):
    path = tmp_path / "found.tflite"
    tflite_of(path, images=1)
    spec.main([str(path), "--labels", LABELS])
    assert artifact.read(path).spec.interface.batch == 1
    assert right_of(Classifier.load(path)) > 0.9


# Arguments of `write_onnx`, --labels, and the message.
REFUSED = {
    "one label": ({}, "zero", "10 scores, 1 label: pass 10 class names"),
    "two outputs": ({"outputs": 2}, LABELS, "1 inputs and 2 outputs"),
    "no image": ({"shape": (5, 7, 11)}, LABELS, r"its input \(N, 5, 7, 11\) does not hold one"),
    "features": ({"shape": (101,)}, LABELS, r"its input \(N, 101\) does not hold one image"),
}


@pytest.mark.parametrize(("arguments", "labels", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_form_that_cannot_be_read_is_refused(tmp_path, weights, arguments, labels, message):
    path = tmp_path / "found.onnx"
    size = int(np.prod(arguments.get("shape", (28, 28))))
    write_onnx(path, weights, rows=np.arange(size) % 784, **arguments)
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match=message):
        spec.main([str(path), "--labels", labels])
    assert path.read_bytes() == before


def test_unreadable_digits_are_reported_and_options_of_the_maker_are_kept(
    tmp_path, weights, capsys
):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, dark=True)
    spec.main([str(path), "--labels", LABELS, "--polarity", "light", "--scale", "255"])
    assert re.search(
        r"warning: .* predicts only \d+ of 100 known digits with --scale 255, but 9\d with "
        "--polarity dark",
        capsys.readouterr().err,
    )
    assert artifact.read(path).spec.interface.scale == 255
    # The remedy works on the same file.
    spec.main([str(path), "--labels", LABELS, "--polarity", "dark"])
    assert capsys.readouterr().err == ""
    assert right_of(Classifier.load(path)) > 0.9


def test_model_that_reads_no_digit_is_reported(tmp_path, weights, capsys):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, columns=np.roll(np.arange(10), 1))
    spec.main([str(path), "--labels", LABELS])
    assert "check the order of --labels" in capsys.readouterr().err


def test_logits_that_are_called_softmax_are_refused(tmp_path, weights):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, end="")
    with pytest.raises(ArtifactError, match="that are not softmax: pass --activation logits"):
        spec.main([str(path), "--labels", LABELS, "--activation", "softmax"])


def test_options_are_stored_if_no_image_of_the_classes_is_known(tmp_path, weights, capsys):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights)
    names = "a b,c,d,e,f,g,h,i,j,k"
    spec.main([str(path), "--labels", names, "--mean", "0.1307", "--std", "0.3081"])
    assert "pass --data" in capsys.readouterr().out
    opened = artifact.read(path).spec
    assert opened.labels[0] == "a b"
    assert (opened.interface.mean, opened.interface.std) == ((0.1307,), (0.3081,))


def test_labels_are_read_from_a_text_file(tmp_path, weights):
    path, names = tmp_path / "found.onnx", tmp_path / "labels.txt"
    write_onnx(path, weights)
    names.write_text("".join(f"{n} number {n}\n" for n in range(10)))  # as Teachable Machine does
    spec.main([str(path), "--labels", str(names)])
    assert artifact.read(path).spec.labels[3] == "number 3"


def test_c_export_names_the_form_that_it_cannot_do(tmp_path, tflite_of):
    path = tmp_path / "found.tflite"
    tflite_of(path, spread=255.0, kind="uint8", end="logits")
    spec.main([str(path), "--labels", LABELS])
    with pytest.raises(ArtifactError, match=r"uint8, values from 0 to 255, .*; output logits"):
        require_int8_tflite(artifact.read(path))


def test_older_spec_of_logits_is_rejected_with_a_remedy_that_works(tmp_path, weights):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, end="")
    spec.main([str(path), "--labels", LABELS])
    made = artifact.read(path)
    golden = dataclasses.replace(made.spec.golden, scores=made.spec.golden.scores * 9)
    older = dataclasses.replace(made.spec, golden=golden, interface=None, schema_version=1)
    path.write_bytes(artifact.embed(".onnx", artifact.read_bare(path), older))
    with pytest.raises(ArtifactError, match="run digit-edge export-spec on the file again"):
        Classifier.load(path)
    spec.main([str(path), "--labels", LABELS])
    assert right_of(Classifier.load(path)) > 0.9


def test_interface_survives_json(tmp_path, weights):
    path = tmp_path / "found.onnx"
    write_onnx(path, weights, (1, 28, 28), scale=255.0)
    spec.main([str(path), "--labels", LABELS])
    opened = artifact.read(path)
    record = json.loads(opened.spec.to_json())
    assert record["schema_version"] == 2
    assert record["interface"]["scale"] == 255.0
    assert type(opened.spec).from_json(json.dumps(record)).interface == opened.spec.interface
    np.testing.assert_allclose(
        open_backend(opened).scores(opened.spec.golden.pixels), opened.spec.golden.scores, atol=1e-5
    )
