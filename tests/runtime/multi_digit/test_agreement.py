"""A digit of which the line reader is confident at each width of a line is accepted."""

import pytest

from runtime.multi_digit.line_reader import UNKNOWN
from runtime.multi_digit.page_views import common_places
from runtime.multi_digit.verify import Symbol, accept_agreed
from tests.runtime.multi_digit.test_read_lines import number, read

pytestmark = pytest.mark.portable


def doubtful(label: str, proposed: float = 0.9, is_refuted: bool = False) -> Symbol:
    return Symbol(label, 0.1, False, (0, 0, 20, 30), None, proposed, is_refuted)


def accepted(symbols: list[Symbol], agreed: list[float]) -> list[bool]:
    return [symbol.accepted for symbol in accept_agreed(symbols, agreed)]


def test_digit_is_accepted_if_all_readings_are_confident_of_it() -> None:
    symbols = [doubtful(label) for label in "4711"]
    assert accepted(symbols, [0.95, 0.85, 0.75, 0.65]) == [True, False, True, False]
    assert accept_agreed(symbols, [0.95, 0, 0, 0])[0].confidence == 0.95


def test_refuted_digit_other_symbol_and_left_over_ink_stay_doubtful() -> None:
    symbols = [
        doubtful("1", is_refuted=True),
        doubtful(UNKNOWN),
        doubtful(UNKNOWN, proposed=0.0),
        doubtful("8"),
    ]
    assert accepted(symbols, [0.99] * 4) == [False, False, False, True]


def test_short_line_stays_doubtful() -> None:
    assert accepted([doubtful("1"), doubtful("3")], [0.99, 0.99]) == [False, False]


def test_places_that_two_texts_share_are_paired() -> None:
    assert common_places("4?62", "48062") == {0: 0, 2: 3, 3: 4}


@pytest.mark.parametrize(
    ("text", "gap", "seed"),
    [("48062", -0.12, 9), ("59317", 0.0, 32), ("2735", -0.12, 45), ("86204", -0.12, 50)],
)
def test_touching_digits_that_are_cut_badly_are_read(text: str, gap: float, seed: int) -> None:
    assert read(number(text, gap=gap, seed=seed)) == (text,)
