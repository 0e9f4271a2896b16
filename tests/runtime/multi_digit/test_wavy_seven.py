"""A barred 7 with a wavy top, which the line reader often takes for a 4, and is certain."""

import numpy as np
import pytest
from PIL import Image

from runtime.multi_digit.recognize import UNKNOWN
from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, Array
from tests.runtime.multi_digit.test_recognize import paper
from train.data.drawn import draw_digit

pytestmark = pytest.mark.portable


def drawn(text: str, seed: int) -> Array:
    """Draw the digits of a text in random forms, side by side."""
    random = np.random.default_rng(seed)
    digits = [np.pad(draw_digit(int(symbol), random)[..., 0], ((4, 4), (1, 1))) for symbol in text]
    ink = np.concatenate(digits, axis=1).astype(np.float32) / 255
    size = ink.shape[1] * 2, ink.shape[0] * 2
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)


@pytest.mark.parametrize("seed", [63, 444, 625])
def test_wavy_seven_is_corrected_if_the_digit_network_is_confident(seed: int) -> None:
    assert CLASSIFIER.read(paper(drawn("77577", seed))).text == "77577"


@pytest.mark.parametrize(
    ("text", "seed"), [("2783", 27), ("77577", 40), ("77577", 122), ("77577", 762)]
)
def test_wavy_seven_is_unknown_if_it_may_be_a_four(text: str, seed: int) -> None:
    read = CLASSIFIER.read(paper(drawn(text, seed))).text
    assert read.replace(UNKNOWN, "7") == text
    assert UNKNOWN in read
