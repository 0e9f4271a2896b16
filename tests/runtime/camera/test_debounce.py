"""What several pictures in a row have to agree on before it is an event."""

import pytest

from runtime.camera.debounce import Debouncer


def test_agreement_holds_on_to_what_is_there():
    debouncer = Debouncer(3, 5)
    shown = [*"77", None, *"7", None, None, *"7", *[None] * 5, *"77", None, *"7"]
    appeared = [debouncer.add(label, 0.9) for label in shown]
    assert [number for number, one in enumerate(appeared) if one] == [3, 15]
    assert appeared[3] == ("7", pytest.approx(0.9), 3)
    assert debouncer.present == {"7"}
    # Another digit read for some pictures in between makes neither appear twice.
    debouncer = Debouncer(3, 5)
    events = [debouncer.add(label, 1.0) for label in "777" + "1" + "777" + "111" + "7777"]
    assert [one.label for one in events if one] == ["7", "1"]
    for needed, of in ((3, 6), (0, 1), (4, 3)):
        with pytest.raises(ValueError):
            Debouncer(needed, of)
