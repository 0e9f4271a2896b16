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
    """Return the folders of the sites of the published artifacts, by precision."""
    folder = tmp_path_factory.mktemp("sites")
    sites = {}
    for precision, name in (("int8", "digits-int8.onnx"), ("float32", "digits.onnx")):
        command = [sys.executable, "-m", "export.web", "--out", folder / precision]
        done = subprocess.run(
            [*command, "--model", PRETRAINED / name], capture_output=True, text=True, timeout=600
        )
        if "npm" in done.stderr:
            pytest.skip(f"{done.stderr.strip()} (apt install npm)")
        assert (done.returncode, done.stderr) == (0, "")
        sites[precision] = folder / precision
    return sites


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
