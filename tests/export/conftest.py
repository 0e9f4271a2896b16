"""A small trained model, made once, for the tests of the exporters."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from train.data import embedded


@pytest.fixture(scope="session")
def data():
    """The embedded digits."""
    return embedded()


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data) -> Path:
    """A `.keras` artefact trained on the embedded digits for some seconds."""
    import keras

    from runtime.spec import Metrics
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
    from export.source import open_source

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
