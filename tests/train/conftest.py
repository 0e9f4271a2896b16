"""What the tests of training share."""

from pathlib import Path

import pytest

from runtime.errors import DatasetError
from train.data import load


@pytest.fixture
def refused():
    """Asserts that a path is refused with one line, with a remedy, that holds every word given."""

    def check(path: Path, *words: str, as_is: bool = False) -> None:
        with pytest.raises(DatasetError) as caught:
            load.load(path, as_is)
        message = str(caught.value)
        assert "\n" not in message and ";" in message, "one line, with a remedy"
        assert [word for word in words if word not in message] == []

    return check
