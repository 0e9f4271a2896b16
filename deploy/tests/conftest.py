"""Fixtures for the tests on emulated Pis, which `make pi` and `make pi-page` run.

They are not in `tests/`, because they need minutes, QEMU, and Debian packages from the network.
"""

from pathlib import Path

import pytest

from deploy.systems import SYSTEMS, System


@pytest.fixture(params=SYSTEMS, ids=[system.name for system in SYSTEMS])
def system(request: pytest.FixtureRequest) -> System:
    """Each emulated system."""
    tested: System = request.param
    return tested


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Folder for the changes on a Pi, deleted after the test."""
    return tmp_path / "card"
