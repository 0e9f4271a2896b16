"""Fixtures: small trained models, copies with planted faults, and benchmark reports of both."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.cases import ExternalPython, SkippedCase
from benchmarks.harness.serialize import from_json, to_json
from benchmarks.harness.test_set import TestSet
from benchmarks.latency import run as latency
from benchmarks.parity import run as parity
from benchmarks.schema.latency import LatencyReport, Settings
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.parity_report import ParityReport
from runtime.model import artifact
from runtime.model.spec import Dataset, GoldenOutputs, ModelSpec, Quantization
from runtime.model.tolerance import Tolerance

# Short runs: the tests check which figures are recorded, never the durations.
SETTINGS = Settings(repetitions=2, min_seconds=0.02, min_count=24, starts=1, images=200)


@pytest.fixture(scope="session")
def test_set() -> TestSet:
    """Return the test split of the embedded digits."""
    from train.data.load import sklearn_digits

    data = sklearn_digits()
    return TestSet(data.name, data.sha256, data.labels, data.test.pixels, data.test.labels)


@pytest.fixture(scope="session")
def models(once) -> Path:
    """Train digits.keras for some seconds and export it; return the folder of the five files."""
    return once("benchmarks-models", _train_and_export)


def _train_and_export(folder: Path) -> None:
    import keras

    from export import calibration, onnx, tflite
    from export.keras_model import open_source
    from train.data.load import sklearn_digits
    from train.model import build

    data = sklearn_digits()
    keras.utils.set_random_seed(0)
    model = build(10)
    model.compile("adam", "sparse_categorical_crossentropy")
    scaled = np.divide(data.train.pixels, 255, dtype=np.float32)
    model.fit(scaled, data.train.labels, batch_size=64, epochs=8, verbose=0)
    bare = folder / "bare.keras"
    model.save(bare)
    golden = data.test.pixels[:8]
    spec = ModelSpec(
        name="digits",
        labels=data.labels,
        input_shape=(28, 28, 1),
        precision="float32",
        temperature=1.0,
        confidence_threshold=0.5,
        source_sha256="",
        dataset=Dataset(data.name, data.sha256),
        metrics=None,
        golden=GoldenOutputs(
            golden, model.predict(np.divide(golden, 255, dtype=np.float32), verbose=0)
        ),
    )
    reference = artifact.write(folder / "digits.keras", bare.read_bytes(), spec)
    bare.unlink()
    source = open_source(reference.path)
    samples = calibration.choose(data, 60)
    spec = dataclasses.replace(spec, source_sha256=reference.spec.digest)
    for target in (tflite.TARGET, onnx.TARGET):
        artifact.write(folder / f"digits{target.suffix}", target.convert(source, None), spec)
        converted = target.convert(source, samples)
        scales = target.quantization(converted)
        assert scales is not None
        int8 = dataclasses.replace(
            spec,
            precision="int8",
            quantization=Quantization(*scales, samples.dataset, samples.counts),
        )
        artifact.write(folder / f"digits-int8{target.suffix}", converted, int8)


@pytest.fixture(scope="session")
def crashing(tmp_path_factory) -> ExternalPython:
    """Return a Python whose tflite-runtime aborts the process, as a broken native library does."""
    folder = tmp_path_factory.mktemp("crashing")
    package = folder / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "2.14.0"\n')
    (package / "interpreter.py").write_text(
        "import os\n\n\ndef Interpreter(**options):\n    os.abort()\n"
    )
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}:$PYTHONPATH" exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return ExternalPython("tflite-runtime", os.fspath(python))


@pytest.fixture(scope="session")
def faulty(models, tmp_path_factory) -> Path:
    """Return a folder with copies of `models` and with artifacts that have one fault each."""
    import onnx
    from onnx import numpy_helper

    folder = tmp_path_factory.mktemp("faulty")
    for path in models.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    sound = artifact.read(models / "digits.onnx")
    (folder / "truncated.onnx").write_bytes(sound.data[:-1000])
    tflite = artifact.read(models / "digits.tflite")

    reversed_labels = dataclasses.replace(tflite.spec, labels=tflite.spec.labels[::-1])
    graph = tflite.data[: tflite.data.index(b"PK\x03\x04")]
    artifact.write(folder / "swapped-names.tflite", graph, reversed_labels)
    other_source = dataclasses.replace(tflite.spec, source_sha256="0" * 64)
    artifact.write(folder / "other-source.tflite", graph, other_source)

    def write_edited(name: str, edit) -> None:
        model = onnx.load_from_string(sound.data)
        del model.metadata_props[:]
        edit(model.graph)
        artifact.write(folder / name, model.SerializeToString(), sound.spec)

    def set_nan(graph) -> None:
        """Set one value of the last layer's bias to NaN."""
        (tensor,) = [t for t in graph.initializer if list(t.dims) == [10]]
        values = numpy_helper.to_array(tensor).copy()
        values[3] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def rotate_classes(graph) -> None:
        """Make the last layer give each class the score of the class before it."""
        for tensor in graph.initializer:
            if 10 in tensor.dims:
                values = np.roll(numpy_helper.to_array(tensor), 1, list(tensor.dims).index(10))
                tensor.CopyFrom(numpy_helper.from_array(values.copy(), tensor.name))

    def rescale_input(graph) -> None:
        """Divide the first kernel by 255, as if the model expected pixels from 0 to 255."""
        (tensor,) = [t for t in graph.initializer if list(t.dims) == [32, 1, 3, 3]]
        values = numpy_helper.to_array(tensor) / np.float32(255)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def freeze_batch(graph) -> None:
        """Fix the batch size to 1."""
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    write_edited("nan.onnx", set_nan)
    write_edited("swapped-classes.onnx", rotate_classes)
    write_edited("wrong-scale.onnx", rescale_input)
    write_edited("frozen-batch.onnx", freeze_batch)
    return folder


@pytest.fixture(scope="session")
def report(once, faulty, test_set, crashing) -> ParityReport:
    """Return the parity of sound and faulty artifacts, with a tflite-runtime that aborts.

    The test set is small, so int8 artifacts are allowed some flips. Each fault exceeds them.
    """

    def measure(folder: Path) -> None:
        tolerance = Tolerance(max_drop=0.02, min_agreement=0.97)
        made = parity.compare(faulty, test_set, tolerance=tolerance, external_pythons=(crashing,))
        (folder / "parity.json").write_text(to_json(made))

    folder = once("benchmarks-parity", measure)
    return from_json(ParityReport, (folder / "parity.json").read_text(), "parity.json")


@pytest.fixture(scope="session")
def timings(once, models) -> LatencyReport:
    """Return the report of a short latency run without Keras."""

    def measure(folder: Path) -> None:
        made = latency.measure(models, SETTINGS, threads=(1,), keras=False)
        (folder / "latency.json").write_text(to_json(made))

    folder = once("benchmarks-latency", measure)
    return from_json(LatencyReport, (folder / "latency.json").read_text(), "latency.json")


@pytest.fixture
def find_case():
    """Return a function that finds a case of a report by the names of its artifact and engine."""

    def find(report: ParityReport, name: str, backend: str = "") -> ParityResult | SkippedCase:
        (result,) = [
            result
            for result in (*report.results, *report.skipped)
            if result.case.artifact == name and (not backend or result.case.backend == backend)
        ]
        return result

    return find
