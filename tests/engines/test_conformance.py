"""Every engine gives the same answers to the same calls."""

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime import ArtifactError, BackendUnavailable, Classifier, ImageError
from runtime.backends import ENGINES, devices, open_backend
from runtime.model import artifact
from runtime.model.spec import QuantizationParams

# In an int8 model the kernels of two engines round one step apart now and then, and one step inside
# the network moves the scores of an unsure answer by a few of 1/256.
TOLERANCE = {"float32": 1e-5, "int8": 4 / 256}


@pytest.fixture
def backend(engine_and_path):
    engine, path = engine_and_path
    return open_backend(artifact.read(path), engine.name)


def test_some_engine_is_installed():
    assert any(engine.installed() for engine in ENGINES)


def test_a_backend_says_what_it_is(backend, engine_and_path):
    engine, path = engine_and_path
    assert backend.name == engine.name
    assert backend.version[0].isdigit()
    assert backend.device == "cpu"
    assert backend.spec.digest == artifact.read(path).spec.digest


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_golden_inputs_give_the_golden_scores(backend, batch):
    golden = backend.spec.golden
    for at in range(0, len(golden.pixels) - batch + 1, batch):
        scores = backend.scores(golden.pixels[at : at + batch])
        expected = golden.scores[at : at + batch]
        assert np.abs(scores - expected).max() <= TOLERANCE[backend.spec.precision]


def test_scores_are_float32_one_row_an_image_at_any_batch(backend):
    generator = np.random.default_rng(0)
    together = generator.integers(0, 256, (130, 28, 28, 1), dtype=np.uint8)
    for count in (1, 3, 130, 2):
        scores = backend.scores(together[:count])
        assert scores.dtype == np.float32
        assert scores.shape == (count, len(backend.spec.labels))
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=0.03)


def test_an_image_alone_and_among_others_gets_the_same_answer(backend):
    images = np.random.default_rng(1).integers(0, 256, (70, 28, 28, 1), dtype=np.uint8)
    together = backend.scores(images)
    alone = np.concatenate([backend.scores(image[np.newaxis]) for image in images])
    assert np.abs(together - alone).max() <= TOLERANCE[backend.spec.precision]


def test_scores_stay_when_the_next_ones_are_asked_for(backend):
    first = backend.scores(backend.spec.golden.pixels[:1])
    kept = first.copy()
    backend.scores(backend.spec.golden.pixels[1:2])
    np.testing.assert_array_equal(first, kept)


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
def test_other_than_pixels_is_refused(backend, pixels):
    with pytest.raises(ImageError, match="pixels must be uint8"):
        backend.scores(pixels)


def test_more_threads_give_the_same_answers(engine_and_path):
    engine, path = engine_and_path
    opened = artifact.read(path)
    golden = opened.spec.golden
    backend = open_backend(opened, engine.name, threads=2)
    many = np.concatenate([golden.pixels] * 9)  # 72, more than onnxruntime is given at once
    for pixels, expected in (
        (golden.pixels, golden.scores),
        (many, np.tile(golden.scores, (9, 1))),
    ):
        scores = backend.scores(pixels)
        assert np.abs(scores - expected).max() <= TOLERANCE[opened.spec.precision]
    with pytest.raises(BackendUnavailable, match="pass 1 or more"):
        open_backend(opened, engine.name, threads=0)


def test_callers_in_several_threads_get_their_own_answers(engine_and_path):
    engine, path = engine_and_path
    classifier = Classifier.load(path, backend=engine.name)
    pixels = classifier.spec.golden.pixels
    expected = [classifier.classify(image).label for image in pixels]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(classifier.classify, list(pixels) * 4))
    assert [answer.label for answer in answers] == expected * 4


def test_a_spec_that_lies_about_the_model_is_refused(engine_and_path):
    engine, path = engine_and_path
    opened = artifact.read(path)
    eleven = dataclasses.replace(opened.spec, labels=(*opened.spec.labels, "eleventh"))
    with pytest.raises(ArtifactError, match="its spec says"):
        open_backend(dataclasses.replace(opened, spec=eleven), engine.name)
    wide = dataclasses.replace(opened.spec, input_shape=(32, 32, 1))
    with pytest.raises(ArtifactError, match="its spec says"):
        open_backend(dataclasses.replace(opened, spec=wide), engine.name)


def test_a_wrong_scale_is_refused(engine_and_path):
    engine, path = engine_and_path
    opened = artifact.read(path)
    if opened.format != ".tflite" or opened.spec.precision != "int8":
        pytest.skip("only int8 in and out has a scale that a caller could get wrong")
    stated = opened.spec.quantization
    wrong = dataclasses.replace(stated, input=dataclasses.replace(stated.input, scale=1.0))
    with pytest.raises(ArtifactError, match="is quantized with"):
        spec = dataclasses.replace(opened.spec, quantization=wrong)
        open_backend(dataclasses.replace(opened, spec=spec), engine.name)
    other = QuantizationParams(1 / 256, -128) if stated.output is None else None
    with pytest.raises(ArtifactError, match="is quantized with"):
        spec = dataclasses.replace(
            opened.spec, quantization=dataclasses.replace(stated, output=other)
        )
        open_backend(dataclasses.replace(opened, spec=spec), engine.name)
    with pytest.raises(ArtifactError, match="is not float32"):
        spec = dataclasses.replace(opened.spec, precision="float32")
        open_backend(dataclasses.replace(opened, spec=spec), engine.name)


def test_an_absent_device_is_refused_and_not_replaced(engine_and_path):
    engine, path = engine_and_path
    try:
        found = open_backend(artifact.read(path), engine.name, device="gpu")
    except BackendUnavailable as error:
        assert "gpu" in str(error).lower()
    else:  # this machine has one
        assert found.device in ("gpu", *devices(engine.name)[1:])


def test_an_engine_does_not_open_the_files_of_another(published):
    other = next(engine for engine in ENGINES if engine.suffix != published.suffix)
    with pytest.raises(BackendUnavailable, match="does not open"):
        open_backend(artifact.read(published), other.name)


def test_an_absent_engine_is_named_with_its_remedy(published):
    absent = [e for e in ENGINES if e.suffix == published.suffix and not e.installed()]
    for engine in absent:
        with pytest.raises(BackendUnavailable, match=r'pip install "digit-edge\['):
            open_backend(artifact.read(published), engine.name)


def test_without_a_model_named_a_published_one_answers():
    classifier = Classifier.load()
    assert classifier.backend.name == next(e.name for e in ENGINES if e.installed())
    golden = classifier.spec.golden
    answers = classifier.classify_batch(list(golden.pixels))
    assert [a.label for a in answers] == [
        classifier.spec.labels[i] for i in golden.scores.argmax(1)
    ]


def test_a_command_reads_a_picture_and_imports_nothing_heavy(tmp_path):
    from PIL import Image

    picture = tmp_path / "digit.png"
    Image.fromarray(Classifier.load().spec.golden.pixels[0, :, :, 0]).save(picture)
    script = (
        "import sys, runpy; sys.argv = ['runtime', sys.argv[1]]\n"
        "try: runpy.run_module('runtime', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'sklearn', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(picture)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == ""
    answer, heavy = done.stdout.splitlines()
    assert answer.startswith(f"{picture}: ")
    assert heavy == "[]"


def test_the_runtime_under_test_is_the_installed_one():
    """In an engine's own environment the wheel is tested, not the checkout around it."""
    environment = Path(sys.prefix)
    if not environment.name.startswith(".venv-"):
        pytest.skip("the development environment uses the checkout")
    assert environment in Path(runtime.__file__).parents
