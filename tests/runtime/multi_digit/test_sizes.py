"""Lines of another size than the typical digit are read: a title, and small numbers below one."""

import numpy as np
import pytest
from PIL import Image

from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, HEIGHT, Array, number, paper, read

pytestmark = pytest.mark.portable


def _page(texts: tuple[str, ...], heights: tuple[int, ...]) -> Array:
    """Return the ink of lines of different digit heights, one below the other."""
    lines = []
    for text, height in zip(texts, heights, strict=True):
        ink = number(text, margin=0)
        size = round(ink.shape[1] * height / HEIGHT), height
        lines.append(np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)))
    gap = max(heights) // 2
    width = max(line.shape[1] for line in lines) + 80
    page = np.zeros((sum(heights) + gap * (len(lines) + 1), width), np.float32)
    top = gap
    for line in lines:
        page[top : top + len(line), 40 : 40 + line.shape[1]] = np.clip(line, 0, 1)
        top += len(line) + gap
    return page


@pytest.mark.parametrize("ratio", [3, 4, 6])
@pytest.mark.parametrize("title", ["38", "2024"])
def test_title_above_small_numbers_is_read(title: str, ratio: int) -> None:
    texts = (title, "26835", "47092", "31863")
    assert read(_page(texts, (36 * ratio, 36, 36, 36))) == texts


@pytest.mark.parametrize("ratio", [4, 6])
def test_one_small_number_below_a_long_tall_one_is_read(ratio: int) -> None:
    texts = ("26835", "47")
    assert read(_page(texts, (36 * ratio, 36))) == texts


def test_specks_below_a_number_are_not_a_line() -> None:
    ink = np.pad(number("2683"), ((0, 120), (0, 0)))
    random = np.random.default_rng(0)
    for left in random.integers(10, ink.shape[1] - 20, 5).tolist():
        ink[-40:-30, left : left + 5] = 0.9
    lines = CLASSIFIER.read(paper(ink)).lines
    assert lines[0] == "2683"
    assert not any(map(str.isdigit, "".join(lines[1:])))
