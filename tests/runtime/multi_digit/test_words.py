"""Words of a line are read again from their own crops if a symbol is doubtful."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from runtime.multi_digit import read_lines
from runtime.multi_digit.line_crop import LineCrop
from runtime.multi_digit.verify import Symbol
from runtime.multi_digit.words import crop_word, doubtful_words, moved, replaces
from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, HEIGHT, Array, glyphs

pytestmark = pytest.mark.portable


def symbol(label: str, left: int, accepted: bool = True, proposed: float = 0.9) -> Symbol:
    return Symbol(label, 0.9, accepted, (left, 10, left + 20, 40), None, proposed)


def low_one(height: float) -> Array:
    image = Image.new("L", (16, round(height) + 4))
    ImageDraw.Draw(image).line((12, 2, 4, round(height) + 1), fill=255, width=5)
    return np.asarray(image)[2:, 2:-2] / np.float32(255)


def page_of_low_ones(seed: int) -> Array:
    """Draw 14 to 19 with wide gaps, low 1s, and 7 and 9 below the baseline: uint8."""
    random = np.random.default_rng(seed)
    page = np.zeros((200, 1100), np.float32)
    left = 40
    for number in range(14, 20):
        baseline = 100 + round(20 * np.sin(np.pi * (number - 14) / 5))
        for digit in str(number):
            ink = glyphs()[digit][random.integers(len(glyphs()[digit]))]
            if digit == "1":
                ink = low_one(HEIGHT * random.uniform(0.5, 0.7))
            top = baseline + 14 * (digit in "79") - ink.shape[0]
            part = page[top : top + ink.shape[0], left : left + ink.shape[1]]
            np.maximum(part, ink, out=part)
            left += ink.shape[1] + 16
        left += 55
    noise = random.normal(0, 1.5, page.shape)
    return np.clip(225 - 185 * page + noise, 0, 255).astype(np.uint8)[:, :left]


def test_word_with_a_doubtful_symbol_is_found_if_the_line_has_several() -> None:
    line = [symbol("1", 0), symbol("7", 30, accepted=False), symbol("1", 100), symbol("8", 130)]
    assert doubtful_words(line, 30) == [slice(0, 2)]
    assert doubtful_words([*line[:1], symbol("7", 30), *line[2:]], 30) == []
    one_word = [symbol("1", 0), symbol("7", 30, accepted=False), symbol("1", 60)]
    assert doubtful_words(one_word, 30) == []


def test_line_that_is_mostly_doubtful_is_not_read_again() -> None:
    line = [symbol(str(n), 60 * n, accepted=n < 2) for n in range(5)]
    assert doubtful_words(line, 30) == []
    assert len(doubtful_words(line[:4], 30)) == 2


def test_left_over_ink_is_doubtful_and_an_operator_is_not() -> None:
    line = [symbol("?", 0, accepted=False, proposed=0.0), symbol("7", 100)]
    assert doubtful_words(line, 30) == [slice(0, 1)]
    line = [symbol("?", 0, accepted=False), symbol("7", 100)]
    assert doubtful_words(line, 30) == []


@pytest.mark.parametrize(
    ("again", "first", "expected"),
    [
        ("17", "?7", True),
        ("17", "?1", False),  # the first reading had another digit
        ("71", "17", False),  # in another order
        ("", "?", False),
    ],
)
def test_second_reading_keeps_the_accepted_symbols(again: str, first: str, expected: bool) -> None:
    first_symbols = [symbol(label, 30 * n, label != "?") for n, label in enumerate(first)]
    assert (
        replaces([symbol(label, 30 * n) for n, label in enumerate(again)], first_symbols)
        is expected
    )


def test_second_reading_with_a_doubtful_symbol_does_not_replace_the_first() -> None:
    again = [symbol("1", 0, accepted=False), symbol("7", 30)]
    assert not replaces(again, [symbol("?", 0, accepted=False), symbol("7", 30)])


def test_word_is_cut_at_its_own_height_and_its_boxes_are_those_of_the_line() -> None:
    ink = np.zeros((64, 400), np.uint8)
    ink[10:60, 20:40] = 255  # a tall digit far away
    ink[30:50, 200:210] = 255
    crop = LineCrop(ink, ink, 50.0, 7.0, 5.0, 0.1, 0.5)
    cut = crop_word(crop, [Symbol("1", 0.9, False, (200, 30, 210, 50))])
    assert cut is not None
    word, left, top = cut
    assert word.digit_height == 20
    assert (word.ink > 0).sum() == 20 * 10
    assert word.ink.shape == (20 + 2 * 6, 10 + 2 * 18)
    inside = Symbol("1", 0.9, True, (200 - left, 30 - top, 210 - left, 50 - top))
    assert moved([inside], left, top)[0].box == (200, 30, 210, 50)
    np.testing.assert_allclose(
        word.page_box(inside.box), crop.page_box((200, 30, 210, 50)), atol=1e-9
    )


def test_word_without_ink_has_no_crop() -> None:
    blank = np.zeros((64, 400), np.uint8)
    crop = LineCrop(blank, blank, 50.0, 0.0, 0.0, 0.0, 1.0)
    assert crop_word(crop, [symbol("?", 100)]) is None


def test_more_lines_are_exact_if_words_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [page_of_low_ones(seed) for seed in range(20)]

    def exact() -> list[bool]:
        return [CLASSIFIER.read(page).lines == ("141516171819",) for page in pages]

    with_words = exact()
    monkeypatch.setattr(read_lines, "doubtful_words", lambda symbols, height: [])
    without = exact()
    assert sum(with_words) > sum(without)
    assert all(now >= before for now, before in zip(with_words, without, strict=True))
