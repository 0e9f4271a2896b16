"""The exporters, whose artifacts are run in the engines of the device."""

import dataclasses
import math
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

from export import __main__ as export_all
from export import calibration, onnx, softmax_lut, tflite
from export.pipeline import export
from runtime import ArtifactError, Classifier, DatasetError, EdgeError, ParityError
from runtime.backends import open_backend
from runtime.errors import ConversionError
from runtime.model import artifact
from runtime.model.spec import QuantizationParams

TARGETS = pytest.mark.parametrize("target", [tflite.TARGET, onnx.TARGET], ids=lambda t: t.name)
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "int8"])


def export_to(folder, source, target, data, samples=None):
    return export(source, target, data, folder / f"digits{target.suffix}", samples)


@pytest.fixture(scope="module")
def artifacts(source, data, samples, tmp_path_factory):
    """Return the artifacts by format and precision."""
    return {
        (target.name, precision): export_to(
            tmp_path_factory.mktemp(precision),
            source,
            target,
            data,
            samples if precision == "int8" else None,
        )
        for target in (tflite.TARGET, onnx.TARGET)
        for precision in ("float32", "int8")
    }


@TARGETS
@PRECISIONS
def test_artifact_has_the_scores_of_its_source(artifacts, source, data, target, precision):
    scores = Classifier.load(artifacts[target.name, precision].path).scores(data.test.pixels)
    limit = 1e-5 if precision == "float32" else 0.25
    assert np.abs(scores - source.scores(data.test.pixels)).max() <= limit


@TARGETS
@PRECISIONS
def test_spec_has_precision_source_data_and_labels(artifacts, source, data, target, precision):
    spec = artifacts[target.name, precision].spec
    assert spec.precision == precision
    assert spec.source_sha256 == source.artifact.spec.digest
    assert spec.dataset == data.dataset
    assert spec.labels == data.labels


@TARGETS
@PRECISIONS
def test_spec_has_the_artifact_s_own_accuracy_and_golden_scores(artifacts, data, target, precision):
    classifier = Classifier.load(artifacts[target.name, precision].path)
    spec, scores = classifier.spec, classifier.scores(data.test.pixels)
    assert spec.metrics.n_test == len(data.test)
    assert spec.metrics.test_accuracy == np.mean(scores.argmax(1) == data.test.labels)
    np.testing.assert_array_equal(classifier.scores(spec.golden.pixels), spec.golden.scores)


@TARGETS
def test_spec_of_an_int8_artifact_has_its_quantization(artifacts, samples, target):
    quantization = artifacts[target.name, "int8"].spec.quantization
    assert quantization.calibration == samples.dataset
    assert quantization.calibration_counts == (10,) * 10
    assert quantization.input.zero_point == -128
    assert quantization.input.scale == pytest.approx(1 / 255, rel=1e-6)
    assert quantization.output is None


@TARGETS
def test_int8_artifact_is_smaller_than_120_kb(artifacts, target):
    assert len(artifacts[target.name, "int8"].data) < 120_000


@TARGETS
@PRECISIONS
def test_same_model_gives_same_bytes(source, data, samples, tmp_path, target, precision):
    calibration_images = samples if precision == "int8" else None
    first, second = (
        export_to(tmp_path / name, source, target, data, calibration_images)
        for name in ("one", "two")
    )
    assert first.data == second.data


@pytest.fixture
def interpreter(source, samples, precision):
    """Return LiteRT's interpreter of a converted model."""
    from ai_edge_litert.interpreter import Interpreter

    data = tflite.convert(source, samples if precision == "int8" else None)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    return interpreter


@PRECISIONS
def test_tflite_network_is_one_partition_before_the_softmax(interpreter, precision):
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    # XNNPACK does not support the look-up in an int8 model, so the operators after it are a
    # second partition.
    assert names.count("DELEGATE") == (2 if precision == "int8" else 1)
    assert not {"SHAPE", "PACK"} & set(names)


@PRECISIONS
def test_tflite_input_has_the_precision_and_output_is_float32(interpreter, precision):
    dtype = np.int8 if precision == "int8" else np.float32
    assert interpreter.get_input_details()[0]["dtype"] is dtype
    assert interpreter.get_output_details()[0]["dtype"] is np.float32


@TARGETS
def test_scores_of_an_int8_model_are_not_multiples_of_1_256(artifacts, data, target):
    """The scores of an int8 softmax would be multiples of 1/256, at most 0.996."""
    scores = Classifier.load(artifacts[target.name, "int8"].path).scores(data.test.pixels)
    assert scores.max() > 0.999
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    steps = scores * 256
    assert np.abs(steps - np.round(steps)).max() > 0.1


@TARGETS
def test_int8_softmax_is_a_look_up_table(artifacts, data, target):
    """The file has no exp operator, whose last bits differ between processors."""
    written = artifacts[target.name, "int8"]
    operators, scale = _operators_and_scale(target, written.data)
    assert not {"SOFTMAX", "Softmax", "EXP", "Exp"} & operators
    table = softmax_lut.softmax_lut(scale, 10, np.float64 if target is onnx.TARGET else np.float32)
    scores = Classifier.load(written.path).scores(data.test.pixels).astype(np.float64)
    ratios = scores / scores.max(axis=1, keepdims=True)
    differences = np.abs(ratios[..., None] - table).min(axis=-1)
    assert differences.max() < 3e-7


def _operators_and_scale(target, data):
    """Return the kinds of an int8 model's operators, and the quantization scale of its logits."""
    if target is onnx.TARGET:
        import onnx as library

        graph = library.load_from_string(data).graph
        last = [node for node in graph.node if node.op_type == "DequantizeLinear"][-1]
        values = {tensor.name: tensor for tensor in graph.initializer}
        scale = library.numpy_helper.to_array(values[last.input[1]]).item()
        return {node.op_type for node in graph.node}, scale
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    codes = [tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] is np.int8]
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    return operators, codes[-1]["quantization"][0]


@pytest.mark.parametrize("classes", [2, 10, 26, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_the_softmax_table_are_exact_in_any_order(classes, dtype):
    random = np.random.default_rng(classes)
    for scale in (0.01, 0.07, 0.5, 4.0):
        table = softmax_lut.softmax_lut(scale, classes, dtype)
        assert table.dtype == dtype
        assert table[0] == 1
        assert (
            np.abs(table - np.exp(-scale * np.arange(256))).max() <= classes * np.finfo(dtype).eps
        )
        for rows in (np.ones(classes, int) * 0, random.integers(0, 256, classes)):
            values = table[rows]
            sums = {dtype(sum(random.permutation(values), start=dtype(0))) for _ in range(20)}
            assert sums == {dtype(math.fsum(values))}


def test_float_tflite_softmax_is_not_replaced(source):
    float_file = tflite.convert(source)
    assert softmax_lut.replace_softmax_with_lut_tflite(float_file) == float_file


def test_float_onnx_softmax_is_not_replaced(source):
    model = onnx._load(onnx.convert(source))
    before = model.SerializeToString()
    softmax_lut.replace_softmax_with_lut_onnx(model)
    assert model.SerializeToString() == before


@pytest.fixture
def with_int8_scores(source, data, samples, tmp_path, monkeypatch):
    """Return the path of a .tflite artifact with int8 scores, as earlier versions wrote them."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    monkeypatch.setattr(tflite, "_quantize", lambda calibrated, _: mlir_quantize(
        calibrated, input_data_type=tf.int8, output_data_type=tf.int8
    ))  # fmt: skip
    return export_to(tmp_path, source, tflite.TARGET, data, samples).path


def test_tflite_model_with_int8_scores_is_read(with_int8_scores, data):
    spec = artifact.read(with_int8_scores).spec
    assert spec.quantization.output == QuantizationParams(1 / 256, -128)
    steps = Classifier.load(with_int8_scores).scores(data.test.pixels) * 256
    np.testing.assert_array_equal(steps, np.round(steps))
    assert steps.max() == 255


def test_spec_with_wrong_quantization_is_rejected(with_int8_scores):
    opened = artifact.read(with_int8_scores)
    quantization = dataclasses.replace(opened.spec.quantization, output=None)
    spec = dataclasses.replace(opened.spec, quantization=quantization)
    with pytest.raises(ArtifactError, match="is quantized with"):
        open_backend(dataclasses.replace(opened, spec=spec))


@PRECISIONS
def test_onnx_model_has_a_batch_axis_and_one_operator_set(source, samples, precision):
    model = onnx._load(onnx.convert(source, samples if precision == "int8" else None))
    assert model.ir_version == onnx.IR_VERSION
    assert [(o.domain, o.version) for o in model.opset_import] == [("", onnx.OPSET)]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_calibration_has_equal_numbers_of_each_class(data):
    chosen = calibration.choose(data, 100, seed=1)
    index_of = {pixels.tobytes(): n for n, pixels in enumerate(data.train.pixels)}
    indices = [index_of[pixels.tobytes()] for pixels in chosen.pixels]
    assert np.bincount(data.train.labels[indices]).tolist() == [10] * 10
    assert chosen.counts == (10,) * 10


def test_first_classes_have_one_more_calibration_image_if_the_size_is_not_a_multiple(data):
    assert calibration.choose(data, 103).counts == (11,) * 3 + (10,) * 7


def test_calibration_has_no_test_images(data):
    chosen = {pixels.tobytes() for pixels in calibration.choose(data, 100, seed=1).pixels}
    assert len(chosen) == 100
    assert not chosen & {pixels.tobytes() for pixels in data.test.pixels}


def test_calibration_depends_on_the_seed_only(data):
    first, same, other = (calibration.choose(data, 100, seed=seed) for seed in (1, 1, 2))
    assert first.dataset == same.dataset != other.dataset


def test_calibration_with_all_training_images_in_the_test_set_is_rejected(data):
    leaky = dataclasses.replace(data, test=data.train)
    with pytest.raises(DatasetError, match="that is not in its test set"):
        calibration.choose(leaky, 100)


def test_calibration_without_images_of_a_class_is_rejected(without_3):
    with pytest.raises(DatasetError, match="no training image of '3'"):
        calibration.choose(without_3, 100)


def test_calibration_with_fewer_images_than_classes_is_rejected(data):
    with pytest.raises(DatasetError, match="cannot cover 10 classes"):
        calibration.choose(data, 9)


def test_calibration_with_images_from_0_to_255_is_rejected(source, data, samples, tmp_path):
    class Unscaled(calibration.Calibration):
        def batches(self):
            return (batch * 255 for batch in super().batches())

    unscaled = Unscaled(samples.pixels, samples.dataset, samples.counts)
    with pytest.raises(ConversionError, match="the input must be int8 = pixel − 128"):
        export_to(tmp_path, source, tflite.TARGET, data, unscaled)
    assert list(tmp_path.iterdir()) == []


@TARGETS
def test_artifact_that_differs_from_its_source_is_not_written(source, data, tmp_path, target):
    """The converter converts a network with other weights."""
    path = tmp_path / f"digits{target.suffix}"
    good = export(source, target, data, path)
    weights = source.model.get_weights()
    source.model.set_weights([w + 0.05 for w in weights])
    try:
        different = target.convert(source, None)
    finally:
        source.model.set_weights(weights)
    faulty = target._replace(convert=lambda *_: different)
    with pytest.raises(ParityError, match=r"not written.*values: largest difference"):
        export(source, faulty, data, path)
    assert path.read_bytes() == good.data
    assert list(tmp_path.iterdir()) == [path]


def test_artifact_with_nan_scores_is_not_written(source, data, tmp_path):
    weights = source.model.get_weights()
    source.model.set_weights([*weights[:-1], np.full_like(weights[-1], np.nan)])
    try:
        broken = tflite.convert(source)
    finally:
        source.model.set_weights(weights)
    with pytest.raises(ParityError, match="NaN"):
        export_to(tmp_path, source, tflite.TARGET._replace(convert=lambda *_: broken), data)
    assert list(tmp_path.iterdir()) == []


def test_command_writes_four_artifacts_and_prints_all_checks(trained, tmp_path):
    """In a process of its own, to also capture the output of native code."""
    local = tmp_path / trained.name
    local.write_bytes(trained.read_bytes())
    command = [sys.executable, "-m", "export", "--model", str(local), "--data", "embedded"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    names = ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx")
    paths = [tmp_path / name for name in names]
    assert [line for line in lines if not line.startswith(" ")] == list(map(str, paths))
    checks = [line for line in lines if line.startswith("  ")]
    assert all(re.match(r"  ✓ |    \d+ KB, digest", line) for line in checks)
    assert len(checks) == 4 * 7
    for path in paths:
        assert Classifier.load(path).spec.source_sha256


def test_data_that_the_model_was_not_trained_on_is_rejected(trained, tmp_path):
    from train.data.load import sklearn_digits

    other = tmp_path / "other.npz"
    split = sklearn_digits().train
    np.savez(other, x=split.pixels[:500], y=split.labels[:500])
    with pytest.raises(DatasetError, match="was trained on"):
        export_all.main(["--model", str(trained), "--data", str(other)])


def test_negative_seed_is_rejected(capsys):
    with pytest.raises(SystemExit) as ended:
        export_all.main(["--seed", "-1"])
    assert ended.value.code == 2
    assert "-1 is not a whole number from 0" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--calibration", "--seed"])
def test_calibration_options_without_quantize_are_rejected(option):
    with pytest.raises(EdgeError, match=f"^{option} .*pass --quantize too"):
        tflite.main([option, "7"])


def test_full_temporary_folder_prints_one_line_and_leaves_no_files(trained, tmp_path):
    """A limit on file sizes simulates the full disk: Keras's weights exceed it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    out = tmp_path / "digits.tflite"
    command = [sys.executable, "-m", "export.tflite", "--model", str(trained), "--out", str(out)]
    done = subprocess.run(
        [*command, "--data", "embedded"],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"error: cannot write temporary files in {temporary}: File too large; make room there, or "
        "set TMPDIR to another folder, and run the command again\n",
    )
    assert not list(temporary.iterdir())
    assert not out.exists()
