"""Fixtures of the tests of the exporters: a small trained model, data, and exported sites."""

import contextlib
import dataclasses
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.backends import open_backend
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import Dataset, GoldenOutputs, ModelSpec, Quantization
from runtime.preprocess.form import PHOTO
from train.data.load import sklearn_digits

PRETRAINED = Path(runtime.__file__).parent / "pretrained"


@pytest.fixture(scope="session")
def data():
    """Return the embedded digits."""
    return sklearn_digits()


@pytest.fixture(scope="session")
def trained(once, data) -> Path:
    """Return the path of a `.keras` artifact trained on the embedded digits for some seconds."""
    return once("trained", lambda folder: _train(data, folder / "digits.keras")) / "digits.keras"


def _train(data, path):
    import keras

    from runtime.model.spec import Metrics
    from train.model import build
    from train.save import save

    keras.utils.set_random_seed(0)
    model = build(len(data.labels))
    model.compile("adam", "sparse_categorical_crossentropy")
    inputs = np.divide(data.train.pixels, 255, dtype=np.float32)
    model.fit(inputs, data.train.labels, batch_size=64, epochs=12, verbose=0)
    metrics = Metrics(0.9, len(data.train), 0.9, len(data.test))
    save(path, model, data.labels, 1.0, 0.5, data.dataset, metrics, (("seed", "0"),))


@pytest.fixture(scope="session")
def source(trained):
    """Return the trained model, opened."""
    from export.keras_model import open_source

    return open_source(trained)


@pytest.fixture(scope="session")
def samples(data):
    """Return 100 calibration images."""
    from export.calibration import choose

    return choose(data, 100)


@pytest.fixture
def without_3(data):
    """Return the embedded digits without training images of a 3."""
    indices = np.flatnonzero(data.train.labels != 3)
    return dataclasses.replace(data, train=data.train.take(indices))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return the folder of the site of the published artifact."""
    site = tmp_path_factory.mktemp("sites") / "site"
    command = [sys.executable, "-m", "export.web", "--out", site]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    return site


def patches(shape, count) -> np.ndarray:
    """Return images of gray patches with noise, uint8 (count, *shape)."""
    random = np.random.default_rng(3)
    height, width, channels = shape
    coarse = random.integers(0, 200, (count, 4, 4, channels))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    noise = random.integers(0, 56, (count, *shape))
    images = (coarse[:, rows][:, :, columns] + noise).astype(np.uint8)
    images[0, 0, 0], images[0, -1, -1] = 0, 255  # calibration must contain both extremes
    return images


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Return a function that builds an int8 artifact with random weights from Keras layers."""
    import keras

    from export import tflite
    from export.keras_model import KerasModel

    folder = tmp_path_factory.mktemp("small")

    class Samples:
        has_float_io = False

        def __init__(self, shape):
            self.images = patches(shape, 16).astype(np.float32) / 255

        def batches(self):
            return iter(self.images[:, np.newaxis])

    def make(name, shape, layers, classes=4) -> Artifact:
        keras.utils.set_random_seed(0)
        random = np.random.default_rng(0)
        model = keras.Sequential([keras.Input(shape, name="pixels"), *layers])
        model.add(keras.layers.Dense(classes, activation="softmax", name="scores"))
        for weights in model.weights:
            if weights.ndim == 1:
                weights.assign(random.normal(0, 0.3, weights.shape))
        labels = tuple(f"class {n}" for n in range(classes))
        unknown = Dataset("random", "")
        spec = ModelSpec(name, labels, shape, "float32", 1.0, 0.4, "", unknown, None, None)
        if shape[2] == 3:
            spec = dataclasses.replace(spec, form=PHOTO)
        path = folder / f"{name}.tflite"
        data = tflite.convert(KerasModel(Artifact(path, b"", spec), model), Samples(shape))
        quantization = Quantization(*tflite.quantization(data), calibration=unknown)
        spec = dataclasses.replace(spec, precision="int8", quantization=quantization)
        pixels = patches(shape, 4)
        golden = GoldenOutputs(pixels, open_backend(Artifact(path, data, spec)).scores(pixels))
        return artifact.write(path, data, dataclasses.replace(spec, golden=golden))

    return make


def layers_of(case):
    """Return the input shape and the layers of a test model.

    The three models together use every layer function in `export/c/pieces`.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)  # a layer draws the seed of its weights when it is made
    return {
        "depthwise": (
            (20, 16, 3),
            [
                layers.Conv2D(8, 3, padding="same", activation="relu"),
                layers.DepthwiseConv2D(3, activation="relu6"),
                layers.AveragePooling2D(2),
                layers.Conv2D(6, 1),
                layers.AveragePooling2D(3, strides=2, padding="same"),
                layers.Flatten(),
            ],
        ),
        "strided": (
            (21, 17, 1),
            [
                layers.Conv2D(8, (5, 3), strides=2, padding="same"),
                layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
                layers.MaxPooling2D(3, 2, padding="same"),
                layers.ReLU(),
                layers.GlobalAveragePooling2D(),
            ],
        ),
        "padded": (
            (40, 17, 1),
            [
                layers.ZeroPadding2D(((1, 2), (0, 3))),
                layers.SeparableConv2D(8, 3),
                layers.ReLU(6),
                layers.MaxPooling2D((3, 2)),
                layers.Cropping2D(((0, 1), (2, 1))),
                layers.Flatten(),
                layers.Dense(20),
                layers.ReLU(),
            ],
        ),
    }[case]


@pytest.fixture(scope="session")
def hosted():
    """Return a context manager that serves a folder with http.server and yields its URL."""
    return _hosted


@contextlib.contextmanager
def _hosted(folder):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
