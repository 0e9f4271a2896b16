"""The exporters, checked by the engines that run what they wrote."""

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
from runtime.model import artifact
from runtime.model.spec import QuantizationParams

TARGETS = pytest.mark.parametrize("target", [tflite.TARGET, onnx.TARGET], ids=lambda t: t.name)
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "int8"])


def made(source, target, data, folder, samples=None):
    return export(source, target, data, folder / f"digits{target.suffix}", samples)


@TARGETS
@PRECISIONS
def test_an_artifact_answers_as_its_source_and_explains_itself(
    source, data, samples, tmp_path, target, precision
):
    calibrated = samples if precision == "int8" else None
    written = made(source, target, data, tmp_path, calibrated)
    classifier = Classifier.load(written.path)
    spec = classifier.spec
    assert spec.precision == precision
    assert spec.source_sha256 == source.artifact.spec.digest
    assert spec.dataset == data.dataset
    assert spec.labels == data.labels
    expected = source.scores(data.test.pixels)
    scores = classifier.scores(data.test.pixels)
    limit = 1e-5 if precision == "float32" else 0.25
    assert np.abs(scores - expected).max() <= limit
    assert spec.metrics.n_test == len(data.test)
    assert spec.metrics.test_accuracy == np.mean(scores.argmax(1) == data.test.labels)
    np.testing.assert_array_equal(classifier.scores(spec.golden.pixels), spec.golden.scores)
    if precision == "int8":
        assert spec.quantization.calibration == samples.dataset
        assert spec.quantization.calibration_counts == (10,) * 10
        assert spec.quantization.input.zero_point == -128
        assert spec.quantization.input.scale == pytest.approx(1 / 255, rel=1e-6)
        assert spec.quantization.output is None
        assert len(written.data) < 120_000


@TARGETS
@PRECISIONS
def test_the_same_model_gives_the_same_bytes(source, data, samples, tmp_path, target, precision):
    calibrated = samples if precision == "int8" else None
    first, second = (
        made(source, target, data, tmp_path / name, calibrated) for name in ("one", "two")
    )
    assert first.data == second.data


@PRECISIONS
def test_a_tflite_network_is_one_partition_at_any_batch(source, samples, precision):
    from ai_edge_litert.interpreter import Interpreter

    data = tflite.convert(source, samples if precision == "int8" else None)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    # No delegate knows the look-up of an int8 model's softmax, so the rest of it is another one.
    assert names.count("DELEGATE") == (2 if precision == "int8" else 1)
    assert not {"SHAPE", "PACK"} & set(names)
    dtype = np.int8 if precision == "int8" else np.float32
    assert interpreter.get_input_details()[0]["dtype"] is dtype
    assert interpreter.get_output_details()[0]["dtype"] is np.float32


@TARGETS
def test_an_int8_model_is_as_sure_as_its_float_one(source, data, samples, tmp_path, target):
    """An int8 softmax would answer in steps of 1/256, the surest with 0.996."""
    made(source, target, data, tmp_path, samples)
    scores = Classifier.load(tmp_path / f"digits{target.suffix}").scores(data.test.pixels)
    assert scores.max() > 0.999
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    steps = scores * 256
    assert np.abs(steps - np.round(steps)).max() > 0.1


@TARGETS
def test_an_int8_softmax_is_a_look_up(source, data, samples, tmp_path, target):
    """No exp is left in the file: it answers with the same bytes on every processor."""
    written = made(source, target, data, tmp_path, samples)
    operators, scale = _inside(target, written.data)
    assert not {"SOFTMAX", "Softmax", "EXP", "Exp"} & operators
    table = softmax_lut.softmax_lut(scale, 10, np.float64 if target is onnx.TARGET else np.float32)
    scores = Classifier.load(written.path).scores(data.test.pixels).astype(np.float64)
    shares = scores / scores.max(axis=1, keepdims=True)
    apart = np.abs(shares[..., None] - table).min(axis=-1)
    assert apart.max() < 3e-7


def _inside(target, data):
    """The kinds of an int8 model's operators, and the scale of its logits."""
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
def test_the_table_of_a_softmax_has_exact_sums(classes, dtype):
    random = np.random.default_rng(classes)
    for scale in (0.01, 0.07, 0.5, 4.0):
        table = softmax_lut.softmax_lut(scale, classes, dtype)
        assert table.dtype == dtype
        assert table[0] == 1
        assert (
            np.abs(table - np.exp(-scale * np.arange(256))).max() <= classes * np.finfo(dtype).eps
        )
        for rows in (np.ones(classes, int) * 0, random.integers(0, 256, classes)):
            found = table[rows]
            sums = {dtype(sum(random.permutation(found), start=dtype(0))) for _ in range(20)}
            assert sums == {dtype(math.fsum(found))}


def test_a_softmax_of_float_logits_stays_as_it_is(source):
    float_file = tflite.convert(source)
    assert softmax_lut.replace_softmax_with_lut_tflite(float_file) == float_file
    model = onnx._load(onnx.convert(source))
    before = model.SerializeToString()
    softmax_lut.replace_softmax_with_lut_onnx(model)
    assert model.SerializeToString() == before


def test_a_tflite_model_with_int8_scores_is_still_read(
    source, data, samples, tmp_path, monkeypatch
):
    """As the files made before, and other makers' with int8 out."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    monkeypatch.setattr(tflite, "_quantize", lambda calibrated: mlir_quantize(
        calibrated, input_data_type=tf.int8, output_data_type=tf.int8
    ))  # fmt: skip
    path = made(source, tflite.TARGET, data, tmp_path, samples).path
    assert artifact.read(path).spec.quantization.output == QuantizationParams(1 / 256, -128)
    steps = Classifier.load(path).scores(data.test.pixels) * 256
    np.testing.assert_array_equal(steps, np.round(steps))
    assert steps.max() == 255
    record = artifact.read(path)
    wrong = dataclasses.replace(record.spec.quantization, output=None)
    lying = dataclasses.replace(record, spec=dataclasses.replace(record.spec, quantization=wrong))
    with pytest.raises(ArtifactError, match="is quantized with"):
        open_backend(lying)


def test_an_onnx_model_names_its_axes_and_declares_what_it_uses(source, samples):
    for calibrated in (None, samples):
        model = onnx._load(onnx.convert(source, calibrated))
        assert model.ir_version == onnx.IR_VERSION
        assert [(o.domain, o.version) for o in model.opset_import] == [("", onnx.OPSET)]
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_calibration_is_stratified_seeded_and_apart_from_the_test_set(data):
    first = calibration.choose(data, 100, seed=1)
    assert len(first.pixels) == 100
    position = {pixels.tobytes(): at for at, pixels in enumerate(data.train.pixels)}
    chosen = [position[pixels.tobytes()] for pixels in first.pixels]
    assert np.bincount(data.train.labels[chosen]).tolist() == [10] * 10
    assert first.counts == (10,) * 10
    assert calibration.choose(data, 103).counts == (11,) * 3 + (10,) * 7
    tested = {pixels.tobytes() for pixels in data.test.pixels}
    assert not tested & {pixels.tobytes() for pixels in first.pixels}
    assert calibration.choose(data, 100, seed=1).dataset == first.dataset
    assert calibration.choose(data, 100, seed=2).dataset != first.dataset


def test_calibration_leaves_out_what_the_test_set_holds(data):
    leaky = dataclasses.replace(data, test=data.train)
    with pytest.raises(DatasetError, match="that is not in its test set"):
        calibration.choose(leaky, 100)


def test_a_class_that_calibration_misses_is_refused(blind):
    with pytest.raises(DatasetError, match="no training image of '3'"):
        calibration.choose(blind, 100)
    with pytest.raises(DatasetError, match="cannot cover 10 classes"):
        calibration.choose(blind, 9)


def test_calibration_with_images_from_0_to_255_is_refused(source, data, samples, tmp_path):
    class Unscaled(calibration.Calibration):
        def batches(self):
            return (batch * 255 for batch in super().batches())

    wrong = Unscaled(samples.pixels, samples.dataset, samples.counts)
    with pytest.raises(ArtifactError, match="expects another input than int8 = pixel − 128"):
        made(source, tflite.TARGET, data, tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []


@TARGETS
def test_a_failing_artifact_is_not_written(source, data, tmp_path, target):
    """The converter is made to see another network than the one it is compared with."""
    path = tmp_path / f"digits{target.suffix}"
    good = export(source, target, data, path)
    weights = source.model.get_weights()
    source.model.set_weights([w + 0.05 for w in weights])
    try:
        other = target.convert(source, None)
    finally:
        source.model.set_weights(weights)
    faulty = target._replace(convert=lambda *_: other)
    with pytest.raises(ParityError, match="not written.*values: largest difference"):
        export(source, faulty, data, path)
    assert path.read_bytes() == good.data
    assert list(tmp_path.iterdir()) == [path]


def test_nan_fails(source, data, tmp_path):
    weights = source.model.get_weights()
    source.model.set_weights([*weights[:-1], np.full_like(weights[-1], np.nan)])
    try:
        broken = tflite.convert(source)
    finally:
        source.model.set_weights(weights)
    with pytest.raises(ParityError, match="NaN"):
        made(source, tflite.TARGET._replace(convert=lambda *_: broken), data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_all_four_and_prints_its_checks(trained, tmp_path):
    """In a process of its own, so that what native code prints is seen too."""
    local = tmp_path / trained.name
    local.write_bytes(trained.read_bytes())
    command = [sys.executable, "-m", "export", "--model", str(local), "--data", "embedded"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    stems = ("digits.tflite", "digits-int8.tflite", "digits.onnx", "digits-int8.onnx")
    assert heads == [str(tmp_path / stem) for stem in stems]
    ticks = [line for line in lines if line.startswith("  ")]
    assert all(re.match(r"  ✓ |    \d+ KB, digest", line) for line in ticks)
    assert len(ticks) == 4 * 7
    for stem in stems:
        assert Classifier.load(tmp_path / stem).spec.source_sha256


def test_other_data_than_it_was_trained_on_is_refused(trained, tmp_path):
    from train.data.load import sklearn_digits

    other = tmp_path / "other.npz"
    split = sklearn_digits().train
    np.savez(other, x=split.pixels[:500], y=split.labels[:500])
    with pytest.raises(DatasetError, match="was trained on"):
        export_all.main(["--model", str(trained), "--data", str(other)])


def test_a_seed_below_zero_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        export_all.main(["--seed", "-1"])
    assert ended.value.code == 2
    assert "-1 is not a whole number from 0" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--calibration", "--seed"])
def test_a_float_export_takes_no_option_of_the_calibration(option):
    with pytest.raises(EdgeError, match=f"^{option} .*pass --quantize too"):
        tflite.main([option, "7"])


@pytest.mark.parametrize("module", ["export", "export.tflite", "export.onnx", "export.spec"])
def test_help_answers_without_loading_tensorflow(module):
    script = (
        "import runpy, sys\nsys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith(f"usage: python -m {module} ")


def test_full_folder_for_temporary_files_is_one_line_and_nothing_is_left(trained, tmp_path):
    """A limit on the size of files stands for the full disk: Keras's weights do not fit."""
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
        "set TMPDIR to another folder, and run it again\n",
    )
    assert not list(temporary.iterdir())
    assert not out.exists()
