"""1s with a long flag, which leans: they resemble a slash, and two 1s."""

import numpy as np
import pytest

from runtime.multi_digit.recognize import UNKNOWN
from tests.runtime.multi_digit.test_read_lines import (
    CLASSIFIER,
    HEIGHT,
    Array,
    drawn,
    number,
    paper,
)

pytestmark = pytest.mark.portable


def one(lean: int, flag: int, drop: int, gap: int = 0) -> Array:
    """Draw a 1 with a flag.

    Args:
        lean: horizontal distance of the ends of the stem in pixels.
        flag: width of the flag in pixels.
        drop: height of the flag in pixels.
        gap: horizontal gap between the flag and the stem in pixels.
    """
    top, right = 30, lean + flag + 15
    ink = np.zeros((HEIGHT + 2 * top, right + 23), np.float32)
    stem = (right - lean, top + HEIGHT - 2, right, top + 2)
    return drawn(ink, stem, (right - flag - gap, top + drop, right - gap, top + 2))


@pytest.mark.parametrize(("left", "right"), [("27", "60"), ("5", "08"), ("36", "94")])
def test_one_with_a_flag_is_not_a_slash(left: str, right: str) -> None:
    ink = np.concatenate([number(left), one(20, 20, 12), number(right)], axis=1)
    assert CLASSIFIER.read(paper(ink)).text == f"{left}1{right}"


@pytest.mark.parametrize("flag", [6, 10])
@pytest.mark.parametrize("right", ["000", "60", "2837"])
def test_flag_beside_the_stem_is_not_a_digit_without_doubt(right: str, flag: int) -> None:
    ink = np.concatenate([np.zeros((108, 20)), one(6, flag, 42, gap=6), number(right)], axis=1)
    text = CLASSIFIER.read(paper(ink)).text
    assert text.endswith(right)
    assert UNKNOWN in text
