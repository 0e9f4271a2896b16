"""Fixtures for the tests on emulated Pis, which `make pi` and `make pi-page` run.

These tests are not in `tests/`: they take minutes, and need QEMU and Debian packages from the
network.
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
    """Folder for the changes on a Pi (`Pi.written`); pytest deletes it later."""
    return tmp_path / "card"
