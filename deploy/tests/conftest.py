"""What the tests on emulated Pis share: `make pi` and `make pi-page` run them on built Pis.

They stand outside `tests/`: they need QEMU, Debian's packages from the network, and minutes.
"""

from pathlib import Path

import pytest

from deploy.systems import SYSTEMS, System


@pytest.fixture(params=SYSTEMS, ids=lambda system: system.name)
def system(request) -> System:
    """Each emulated system."""
    return request.param


@pytest.fixture
def card(tmp_path) -> Path:
    """Where what is written on a Pi goes: gone after the test."""
    return tmp_path / "card"
