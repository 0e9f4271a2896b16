"""`digit-edge train --network FILE.py:NAME`: networks of the user, and mistakes in their files."""

import numpy as np
import pytest

from runtime.errors import EdgeError
from runtime.preprocess.form import PHOTO, Form
from train.evaluation.evaluate import logits_of, softmax
from train.model import Network
from train.user_network import load

FORM = Form(PHOTO, (20, 24, 3))
IMPORT = "import keras\nfrom keras import layers\n"
INPUT = "keras.Input(shape), layers.Conv2D(4, 3, strides=2)"
NETWORKS = {
    "softmax": f"keras.Sequential([{INPUT}, layers.Flatten(), layers.Dense(n, 'softmax')])",
    "logits": f"keras.Sequential([{INPUT}, layers.Flatten(), layers.Dense(n)])",
    "pooled": "keras.Sequential([keras.Input(shape), layers.Conv2D(n, 3), "
    "layers.BatchNormalization(), layers.GlobalAveragePooling2D(), layers.Softmax()])",
}


def network(folder, body: str):
    path = folder / "network.py"
    path.write_text(f"{IMPORT}\ndef build(shape, n):\n    return {body}\n")
    return load(f"{path}:build", Network(FORM))


@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_trained_as_logits_and_saved_with_softmax_and_temperature(tmp_path, name):
    user = network(tmp_path, NETWORKS[name])
    user.check(5)
    trained = user.trainable(5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *FORM.shape), np.uint8)
    saved = user.inference(trained, temperature=2.5)
    expected = softmax(logits_of(trained, pixels), 2.5)
    np.testing.assert_allclose(logits_of(saved, pixels), expected, atol=1e-5)
    assert user.margin == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("None", "returned NoneType"),
        ("keras.Sequential([layers.Dense(n)])", "whose input is known"),
        (f"keras.Sequential([{INPUT}, layers.Flatten(), layers.Dense(3)])", r"returns \(None, 3\)"),
        (f"keras.Sequential([{INPUT}, layers.Flatten(), layers.Dense(n, 'relu')])", "relu"),
        (f"keras.Sequential([{INPUT}, layers.Flatten(), layers.Lambda(lambda x: x), "
         "layers.Dense(n)])", "layers of Keras only"),
    ],
)  # fmt: skip
def test_unsuitable_network_is_one_line(tmp_path, body, message):
    with pytest.raises(EdgeError, match=message) as caught:
        network(tmp_path, body).check(5)
    assert "\n" not in str(caught.value)
    assert "network.py:build" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("def build(:", "{}:build", "SyntaxError"),
        ("import nowhere", "{}:build", "nowhere"),
        ("raise SystemError('broken')", "{}:build", "broken"),
        ("x = 1", "{}:build", "no function build"),
        ("build = 1", "{}:build", "no function build"),
        ("", "{}", "FILE.py:FUNCTION"),
        ("", "missing.py:build", "cannot read"),
    ],
)
def test_unsuitable_file_is_one_line(tmp_path, source, value, message):
    path = tmp_path / "network.py"
    path.write_text(source)
    with pytest.raises(EdgeError, match=message) as caught:
        load(value.format(path), Network(FORM))
    assert "\n" not in str(caught.value)
