"""Exporting Keras models that other tools made: digit-edge export --labels."""

import numpy as np
import pytest

from export import __main__ as export_all
from export import cli, tflite
from export.keras_model import check_keras_file
from runtime import ArtifactError, Classifier, DatasetError
from runtime.model import artifact


@pytest.fixture(scope="module")
def theirs(data):
    """Return a model for (28, 28) from 0 to 255 that returns logits."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data.train.pixels[..., 0], data.train.labels, epochs=10, verbose=0)
    return model


def accuracy(path, data) -> float:
    scores = Classifier.load(path).scores(data.test.pixels)
    assert scores.max() <= 1
    return float((scores.argmax(axis=1) == data.test.labels).mean())


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
def test_model_is_exported_to_all_formats(theirs, data, tmp_path, suffix, capsys):
    path = tmp_path / f"theirs{suffix}"
    theirs.save(path)
    before = path.read_bytes()
    options = ["--model", str(path), "--labels", "0-9", "--data", "embedded"]
    assert export_all.main(options) == 0
    assert "right with --scale 255" in capsys.readouterr().out
    for name in ("theirs.tflite", "theirs-int8.tflite", "theirs.onnx", "theirs-int8.onnx"):
        assert accuracy(tmp_path / name, data) > 0.9, name
    assert artifact.read(tmp_path / "theirs-int8.tflite").spec.precision == "int8"
    assert path.read_bytes() == before


def test_model_with_a_spec_is_exported_and_measured_on_any_data(theirs, data, tmp_path):
    from export import spec

    path = tmp_path / "theirs.keras"
    theirs.save(path)
    spec.main([str(path), "--labels", "0-9"])
    assert tflite.main(["--model", str(path), "--data", "embedded"]) == 0
    exported = artifact.read(tmp_path / "theirs.tflite").spec
    assert exported.source_sha256 == artifact.read(path).spec.digest
    assert exported.metrics.n_test == len(data.test)


def test_float16_model_is_half_as_large_and_predicts_the_same(source, trained, data, tmp_path):
    out = tmp_path / "digits-float16.tflite"
    options = ["--model", str(trained), "--data", "embedded", "--precision", "float16"]
    assert tflite.main([*options, "--out", str(out)]) == 0
    opened = artifact.read(out)
    assert opened.spec.precision == "float16"
    assert len(opened.data) < 0.6 * len(tflite.convert(source))
    scores = Classifier.load(out).scores(data.test.pixels)
    assert np.abs(scores - source.scores(data.test.pixels)).max() < 0.01


def test_layer_that_a_converter_refuses_fails_with_a_line_and_the_others_are_tried(
    tmp_path, capsys
):
    import keras
    from keras import layers

    path = tmp_path / "lstm.keras"
    inputs = [keras.Input((28, 28, 1)), layers.Reshape((28, 28)), layers.LSTM(4)]
    keras.Sequential([*inputs, layers.Dense(10, "softmax")]).save(path)
    options = ["--model", str(path), "--labels", "0-9", "--data", "embedded"]
    assert export_all.main([*options, "--precision", "float32"]) == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 2
    assert "TensorFlow cannot convert" in errors[0]
    assert "op requires" in errors[0]
    assert "tf2onnx cannot convert" in errors[1]
    assert [p.name for p in tmp_path.iterdir()] == ["lstm.keras"]


def test_labels_in_another_order_than_the_data_are_matched_by_name(theirs, data, tmp_path):
    import keras

    path = tmp_path / "reversed.keras"
    outputs = keras.ops.flip(theirs.outputs[0], axis=1)
    keras.Model(theirs.inputs, outputs).save(path)
    labels = ",".join(reversed(data.labels))
    options = ["--model", str(path), "--labels", labels, "--data", "embedded"]
    assert tflite.main(options) == 0
    metrics = artifact.read(tmp_path / "reversed.tflite").spec.metrics
    assert metrics.test_accuracy > 0.9


def test_data_of_other_classes_are_rejected(theirs, tmp_path):
    path = tmp_path / "theirs.keras"
    theirs.save(path)
    options = ["--model", str(path), "--labels", "a,b,c,d,e,f,g,h,i,j", "--data", "embedded"]
    with pytest.raises(DatasetError, match="pass images of the model's classes with --data"):
        tflite.main(options)


def test_model_without_a_spec_and_labels_is_rejected_with_the_remedy(theirs, tmp_path):
    path = tmp_path / "theirs.keras"
    theirs.save(path)
    with pytest.raises(ArtifactError, match="pass its class names with --labels"):
        tflite.main(["--model", str(path), "--data", "embedded"])


def test_labels_of_a_model_with_a_spec_are_rejected(trained):
    with pytest.raises(ArtifactError, match="has a spec already: leave out --labels"):
        cli.check_labels(trained, ("0", "1"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("saved", r'model\.save\("m\.keras"\)'), ("m.pt", "torch.onnx.export"), ("m.txt", "pass the")],
)
def test_other_formats_are_rejected_with_the_remedy(tmp_path, name, remedy):
    path = tmp_path / name
    if name == "saved":
        path.mkdir()
        (path / "saved_model.pb").touch()
    with pytest.raises(ArtifactError, match=remedy):
        check_keras_file(path)
