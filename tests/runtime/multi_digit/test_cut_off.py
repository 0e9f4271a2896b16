"""A digit of which the image border leaves a small part is `?`: the number is not shorter."""

import numpy as np
import pytest

from runtime.multi_digit.line_crop import crop_whole
from runtime.multi_digit.recognize import UNKNOWN
from tests.runtime.multi_digit.test_read_lines import CLASSIFIER, Array, number, paper

pytestmark = pytest.mark.portable


def cut(text: str, part_px: int, at_left: bool) -> Array:
    """Return a page that ends after the first `part_px` pixels of a number's last digit.

    If `at_left`, the page begins with the last pixels of its first digit.
    """
    ink = number(text, margin=40)
    has_ink = ink.max(axis=0) > 0.3
    starts = np.flatnonzero(has_ink[1:] & ~has_ink[:-1]) + 1
    ends = np.flatnonzero(~has_ink[1:] & has_ink[:-1]) + 1
    return paper(ink[:, ends[0] - part_px :] if at_left else ink[:, : starts[-1] + part_px])


@pytest.mark.parametrize("part_px", [10, 13])
@pytest.mark.parametrize("text", ["5025", "2793", "6802", "4037", "975"])
def test_last_digit_that_the_border_cuts_off_is_unknown(text: str, part_px: int) -> None:
    assert CLASSIFIER.read(cut(text, part_px, at_left=False)).text == text[:-1] + UNKNOWN


@pytest.mark.parametrize("part_px", [10, 12])
@pytest.mark.parametrize("text", ["6502", "2793", "7802", "4037", "675"])
def test_first_digit_that_the_border_cuts_off_is_unknown(text: str, part_px: int) -> None:
    assert CLASSIFIER.read(cut(text, part_px, at_left=True)).text == UNKNOWN + text[1:]


@pytest.mark.parametrize("width", [4, 12])
def test_edge_of_a_page_beside_digits_is_not_a_digit(width: int) -> None:
    gray = paper(number("5807", margin=30))
    gray[:, -width:] = 40
    assert CLASSIFIER.read(gray).text == "5807"


def test_box_of_a_digit_that_is_cut_off_ends_at_the_border() -> None:
    gray = cut("2793", 13, at_left=False)
    recognition = CLASSIFIER.read(gray)
    assert recognition.digits[-1].prediction.label == UNKNOWN
    left, top, right, bottom = recognition.digits[-1].box
    assert right == gray.shape[1]
    assert 10 <= right - left <= 16
    assert 0 < top < bottom < gray.shape[0]


def test_whole_crop_has_the_ink_that_is_cut_off() -> None:
    crop = crop_whole(cut("2793", 13, at_left=False))
    assert crop is not None
    assert len(crop.cut_off) == 1
