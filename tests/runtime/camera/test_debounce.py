"""Debouncing: a digit is reported once several frames agree on it."""

import pytest

from runtime.camera.debounce import Debouncer

pytestmark = pytest.mark.portable


def test_digit_is_reported_when_enough_frames_agree_and_again_after_it_was_gone():
    debouncer = Debouncer(3, 5)
    labels = [*"77", None, *"7", None, None, *"7", *[None] * 5, *"77", None, *"7"]
    events = [debouncer.add(label, 0.9) for label in labels]
    assert [number for number, event in enumerate(events) if event] == [3, 15]
    assert events[3] == ("7", pytest.approx(0.9), 3)
    assert debouncer.present == {"7"}


def test_misread_frames_do_not_report_a_digit_twice():
    debouncer = Debouncer(3, 5)
    events = [debouncer.add(label, 1.0) for label in "777" + "1" + "777" + "111" + "7777"]
    assert [event.label for event in events if event] == ["7", "1"]


@pytest.mark.parametrize(("needed", "of"), [(3, 6), (0, 1), (4, 3)])
def test_impossible_or_ambiguous_majority_is_rejected(needed, of):
    with pytest.raises(ValueError, match=f"{needed} of {of} frames"):
        Debouncer(needed, of)
