"""Conformance: all engines return the same scores and raise the same errors for the same calls."""

import dataclasses
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import ArtifactError, BackendUnavailable, Classifier, ImageError
from runtime.backends import ENGINES, devices, install_hint, open_backend
from runtime.model import artifact
from runtime.model.spec import QuantizationParams

pytestmark = pytest.mark.portable

# Largest allowed difference of any score, by precision. Two engines sometimes round an int8 value
# differently by one step, which moves the scores of an uncertain prediction by a few 1/256.
TOLERANCE = {"float32": 1e-5, "int8": 4 / 256}


@pytest.fixture
def backend(engine_and_path):
    engine, path = engine_and_path
    return open_backend(artifact.read(path), engine.name)


def test_at_least_one_engine_is_installed():
    assert any(engine.installed() for engine in ENGINES)


def test_backend_has_name_version_device_and_spec(backend, engine_and_path):
    engine, path = engine_and_path
    assert backend.name == engine.name
    assert backend.version[0].isdigit()
    assert backend.device == "cpu"
    assert backend.spec.digest == artifact.read(path).spec.digest


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_golden_scores_are_reproduced(backend, batch):
    golden = backend.spec.golden
    for start in range(0, len(golden.pixels) - batch + 1, batch):
        scores = backend.scores(golden.pixels[start : start + batch])
        expected = golden.scores[start : start + batch]
        assert np.abs(scores - expected).max() <= TOLERANCE[backend.spec.precision]


def test_scores_are_float32_with_one_row_per_image_at_any_batch_size(backend):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (130, 28, 28, 1), dtype=np.uint8)
    for count in (1, 3, 130, 2):
        scores = backend.scores(images[:count])
        assert scores.dtype == np.float32
        assert scores.shape == (count, len(backend.spec.labels))
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=0.03)


def test_image_alone_and_in_a_batch_gets_the_same_scores(backend):
    images = np.random.default_rng(1).integers(0, 256, (70, 28, 28, 1), dtype=np.uint8)
    together = backend.scores(images)
    alone = np.concatenate([backend.scores(image[np.newaxis]) for image in images])
    assert np.abs(together - alone).max() <= TOLERANCE[backend.spec.precision]


def test_returned_scores_are_not_overwritten_by_the_next_call(backend):
    first = backend.scores(backend.spec.golden.pixels[:1])
    copy = first.copy()
    backend.scores(backend.spec.golden.pixels[1:2])
    np.testing.assert_array_equal(first, copy)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 28, 28, 1), np.float32),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 32, 32, 1), np.uint8),
        np.zeros((0, 28, 28, 1), np.uint8),
    ],
    ids=["float", "no batch", "32 px", "empty"],
)
def test_arrays_that_are_not_pixels_are_rejected(backend, pixels):
    with pytest.raises(ImageError, match="pixels must be uint8"):
        backend.scores(pixels)


@pytest.mark.parametrize("copies", [1, 9], ids=["8 images", "72 images"])
def test_two_threads_reproduce_the_golden_scores(engine_and_path, copies):
    """72 images exceed onnxruntime's chunk, so the chunks run in parallel."""
    engine, path = engine_and_path
    opened = artifact.read(path)
    golden = opened.spec.golden
    backend = open_backend(opened, engine.name, threads=2)
    scores = backend.scores(np.concatenate([golden.pixels] * copies))
    expected = np.tile(golden.scores, (copies, 1))
    assert np.abs(scores - expected).max() <= TOLERANCE[opened.spec.precision]


def test_zero_threads_are_rejected(engine_and_path):
    engine, path = engine_and_path
    with pytest.raises(BackendUnavailable, match="pass 1 or more"):
        open_backend(artifact.read(path), engine.name, threads=0)


def test_concurrent_callers_get_their_own_predictions(engine_and_path):
    engine, path = engine_and_path
    classifier = Classifier.load(path, backend=engine.name)
    pixels = classifier.spec.golden.pixels
    expected = [classifier.classify(image).label for image in pixels]
    with ThreadPoolExecutor(4) as pool:
        predictions = list(pool.map(classifier.classify, list(pixels) * 4))
    assert [prediction.label for prediction in predictions] == expected * 4


@pytest.mark.parametrize(
    "changes",
    [{"labels": tuple("0123456789a")}, {"input_shape": (32, 32, 1)}],
    ids=["labels", "input shape"],
)
def test_model_that_contradicts_its_spec_is_rejected(engine_and_path, changes):
    engine, path = engine_and_path
    opened = artifact.read(path)
    spec = dataclasses.replace(opened.spec, **changes)
    with pytest.raises(ArtifactError, match="its spec says"):
        open_backend(dataclasses.replace(opened, spec=spec), engine.name)


@pytest.fixture
def int8_tflite(engine_and_path):
    """The name of an engine, and an int8 .tflite artifact, whose spec states the scales.

    `conftest.py` deselects the tests with other artifacts.
    """
    engine, path = engine_and_path
    return engine.name, artifact.read(path)


def test_wrong_input_scale_in_the_spec_is_rejected(int8_tflite):
    name, opened = int8_tflite
    quantization = opened.spec.quantization
    params = dataclasses.replace(quantization.input, scale=1.0)
    spec = dataclasses.replace(
        opened.spec, quantization=dataclasses.replace(quantization, input=params)
    )
    with pytest.raises(ArtifactError, match="is quantized with"):
        open_backend(dataclasses.replace(opened, spec=spec), name)


def test_wrong_output_scale_in_the_spec_is_rejected(int8_tflite):
    name, opened = int8_tflite
    quantization = opened.spec.quantization
    params = QuantizationParams(1 / 256, -128) if quantization.output is None else None
    spec = dataclasses.replace(
        opened.spec, quantization=dataclasses.replace(quantization, output=params)
    )
    with pytest.raises(ArtifactError, match="is quantized with"):
        open_backend(dataclasses.replace(opened, spec=spec), name)


def test_wrong_precision_in_the_spec_is_rejected(int8_tflite):
    name, opened = int8_tflite
    spec = dataclasses.replace(opened.spec, precision="float32")
    with pytest.raises(ArtifactError, match="is not float32"):
        open_backend(dataclasses.replace(opened, spec=spec), name)


def open_on_gpu(engine_and_path):
    engine, path = engine_and_path
    return open_backend(artifact.read(path), engine.name, device="gpu")


@pytest.fixture
def has_gpu(engine_and_path) -> bool:
    try:
        open_on_gpu(engine_and_path)
    except BackendUnavailable:
        return False
    return True


def test_gpu_is_used_or_rejected_but_never_replaced_by_the_cpu(engine_and_path, has_gpu):
    if has_gpu:
        backend = open_on_gpu(engine_and_path)
        assert backend.device in ("gpu", *devices(engine_and_path[0].name)[1:])
    else:
        with pytest.raises(BackendUnavailable, match=r"(?i)gpu"):
            open_on_gpu(engine_and_path)


def test_engine_rejects_files_of_another_format(published):
    other = next(engine for engine in ENGINES if engine.suffix != published.suffix)
    with pytest.raises(BackendUnavailable, match="does not open"):
        open_backend(artifact.read(published), other.name)


def test_error_for_a_missing_engine_says_how_to_install_it(published):
    missing = [e for e in ENGINES if e.suffix == published.suffix and not e.installed()]
    for engine in missing:
        with pytest.raises(BackendUnavailable, match=re.escape(install_hint(engine.name))):
            open_backend(artifact.read(published), engine.name)


def test_name_of_the_extra_opens_the_engine(engine_and_path):
    engine, path = engine_and_path
    assert Classifier.load(path, backend=engine.extra).backend.name == engine.name
    assert Classifier.load(backend=engine.extra).backend.name == engine.name


def test_default_model_is_a_published_one():
    classifier = Classifier.load()
    assert classifier.backend.name == next(e.name for e in ENGINES if e.installed())
    golden = classifier.spec.golden
    predictions = classifier.classify_batch(list(golden.pixels))
    assert [p.label for p in predictions] == [
        classifier.spec.labels[i] for i in golden.scores.argmax(1)
    ]


def test_command_reads_an_image_without_importing_training_packages(tmp_path):
    from PIL import Image

    picture = tmp_path / "digit.png"
    Image.fromarray(Classifier.load().spec.golden.pixels[0, :, :, 0]).save(picture)
    script = (
        "import sys, runpy; package, *sys.argv[1:] = sys.argv[1:]\n"
        "try: runpy.run_module(package, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'sklearn', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, runtime.__name__, str(picture)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    prediction, imported = done.stdout.splitlines()
    assert prediction.startswith(f"{picture}: ")
    assert imported == "[]"


@pytest.mark.one_engine
def test_installed_wheel_is_tested_in_an_environment_of_one_engine():
    """Such an environment, `.venv-*`, must not import the checkout."""
    assert Path(sys.prefix) in Path(runtime.__file__).parents
