"""What the tests of the exporters share: a small trained model, the sites."""

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
    """The embedded digits."""
    return sklearn_digits()


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data) -> Path:
    """A `.keras` artifact trained on the embedded digits for some seconds."""
    import keras

    from runtime.model.spec import Metrics
    from train.model import build
    from train.save import save

    keras.utils.set_random_seed(0)
    model = build(len(data.labels))
    model.compile("adam", "sparse_categorical_crossentropy")
    inputs = np.divide(data.train.pixels, 255, dtype=np.float32)
    model.fit(inputs, data.train.labels, batch_size=64, epochs=12, verbose=0)
    path = tmp_path_factory.mktemp("models") / "digits.keras"
    metrics = Metrics(0.9, len(data.train), 0.9, len(data.test))
    save(path, model, data.labels, 1.0, 0.5, data.dataset, metrics, (("seed", "0"),))
    return path


@pytest.fixture(scope="session")
def source(trained):
    """The trained model, open."""
    from export.keras_model import open_source

    return open_source(trained)


@pytest.fixture(scope="session")
def samples(data):
    """Calibration images."""
    from export.calibration import choose

    return choose(data, 100)


@pytest.fixture
def blind(data):
    """The embedded digits without any training image of a 3."""
    kept = np.flatnonzero(data.train.labels != 3)
    return dataclasses.replace(data, train=data.train.take(kept))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The sites of the published artifacts, by precision."""
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
    """A function: a plain http.server for a folder, as a context manager; its address."""
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
