"""A fixture shared by the tests of data sets."""

from pathlib import Path

import pytest

from runtime.errors import DatasetError
from train.data import load


@pytest.fixture
def rejected():
    """Return a function that asserts that loading a path raises a one-line error with a remedy."""

    def check(path: Path, *words: str, as_is: bool = False) -> None:
        with pytest.raises(DatasetError) as caught:
            load.load(path, as_is)
        message = str(caught.value)
        assert "\n" not in message, "the message has one line"
        assert ";" in message, "the message ends with a remedy"
        assert [word for word in words if word not in message] == []

    return check
