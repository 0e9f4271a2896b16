"""Test that the systemd units are valid, hardened, and start commands with existing options."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy/systemd").glob("*.service"))
# Limit of the exposure in `systemd-analyze security`, in tenths: it rates up to 2.0 as "OK".
# Most of the services' exposure is the network.
MAX_EXPOSURE_TENTHS = 20


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def unit(request, tmp_path) -> Path:
    """A unit as the installer writes it, with an existing command."""
    folder = tmp_path / "digit-edge"
    (folder / "env/bin").mkdir(parents=True)
    (folder / "env/bin/digit-edge").symlink_to(sys.executable)
    text = request.param.read_text().replace("@DIR@", str(folder))
    path = tmp_path / request.param.name
    path.write_text(text.replace("@FOLDER@", str(tmp_path)))
    return path


def analyze(*options: str | Path) -> subprocess.CompletedProcess:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt install systemd")
    return subprocess.run(["systemd-analyze", *options], capture_output=True, text=True)


def test_each_service_has_a_unit():
    assert [path.stem for path in UNITS] == [
        f"digit-edge-{name}" for name in ("camera", "serve", "watch")
    ]


def test_unit_is_valid(unit):
    done = analyze("verify", "--man=no", unit)
    # The command also reports problems of this machine's own units.
    assert unit.stem not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_unit_is_hardened(unit):
    done = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE_TENTHS}", unit)
    assert done.returncode == 0, done.stdout


def test_command_has_the_options_of_the_unit_and_of_its_example(unit):
    text = unit.read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    (example,) = re.findall(r"^# .*: OPTIONS=(.+)$", text, re.MULTILINE)
    words = [*line.split(), *example.split()]
    assert words[0].endswith("/env/bin/digit-edge")
    done = subprocess.run(
        [sys.executable, "-m", "digit_edge", words[1], "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for option in [word for word in words if word.startswith("--")]:
        assert option in done.stdout


@pytest.mark.parametrize("name", ["gpio", "internet"])
def test_unit_is_valid_with_opened_devices_or_internet(unit, name):
    drop_in = unit.with_name(f"{unit.name}.d") / f"{name}.conf"
    drop_in.parent.mkdir()
    shutil.copy(UNITS[0].with_name(f"{name}.conf"), drop_in)
    done = analyze("verify", "--man=no", unit)
    assert unit.stem not in done.stderr, done.stderr
    assert name not in done.stderr, done.stderr
