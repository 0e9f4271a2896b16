"""The systemd units: valid, hardened, and of commands that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy/systemd").glob("*.service"))
# systemd-analyze calls up to 2.0 "OK"; what holds the services open is the network.
MAX_EXPOSED = 20


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def unit(request, tmp_path) -> Path:
    """A unit as the installer writes it, with a Python that is there."""
    folder = tmp_path / "digit-edge"
    (folder / "env/bin").mkdir(parents=True)
    (folder / "env/bin/python").symlink_to(sys.executable)
    text = request.param.read_text().replace("@DIR@", str(folder))
    path = tmp_path / request.param.name
    path.write_text(text.replace("@FOLDER@", str(tmp_path)))
    return path


def analyze(*options: str | Path) -> subprocess.CompletedProcess:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: apt install systemd")
    return subprocess.run(["systemd-analyze", *options], capture_output=True, text=True)


def test_there_is_one_for_each_service():
    assert [path.stem for path in UNITS] == [
        f"digit-edge-{name}" for name in ("camera", "serve", "watch")
    ]


def test_it_is_valid(unit):
    done = analyze("verify", "--man=no", unit)
    # It also reads this machine's own units, whose faults are none of ours.
    assert unit.stem not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_it_is_hardened(unit):
    done = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


def test_its_command_takes_its_options_and_those_of_its_example(unit):
    text = unit.read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    (example,) = re.findall(r"^# .*: OPTIONS=(.+)$", text, re.MULTILINE)
    words = [*line.split(), *example.split()]
    module = words[words.index("-m") + 1]
    folder = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    for option in [word for word in words if word.startswith("--")]:
        assert option in done.stdout
