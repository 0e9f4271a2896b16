"""Test that docs/raspberry-pi.md agrees with the installer and the bundle.

`make pi-page` runs the commands of the page on an emulated Pi.
"""

import re
import subprocess
import sys
from pathlib import Path

from deploy import bundle
from deploy.systems import SYSTEMS
from deploy.wheels import pins

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/raspberry-pi.md").read_text()
COMMANDS = re.findall(r"^```sh (?:pi|computer)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_options_shown_are_options_of_the_installer():
    usage = subprocess.run(
        ["sh", ROOT / "deploy/install-pi.sh", "--help"], capture_output=True, text=True, check=True
    ).stdout
    lines = [line for block in COMMANDS for line in block.splitlines() if "install-pi.sh" in line]
    assert len(lines) >= 3
    for option in re.findall(r"--[a-z]+", " ".join(lines)):
        assert option in usage


def test_modules_shown_exist():
    for module in re.findall(r"python -m ([a-z.]+)", PAGE):
        file = ROOT / module.replace(".", "/")
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module


def test_commands_shown_are_registered():
    commands = re.findall(r"(?:env/bin/|`)digit-edge ([a-z-]+)", PAGE)
    registered = (ROOT / "pyproject.toml").read_text().partition("digit_edge.commands")[2]
    assert commands
    for command in commands:
        assert f"\n{command} = " in registered, command


def test_photograph_is_classified_as_shown():
    (shown,) = re.findall(r"^    photo.jpg: (.*)$", PAGE, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "runtime", ROOT / "examples/photo.jpg"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip().endswith(f"photo.jpg: {shown}")


def test_files_of_the_copy_command_exist():
    (line,) = re.findall(r"^scp -r (.*) pi@", PAGE, re.MULTILINE)
    folder, photograph = line.split()
    assert str(bundle.parse_args([]).out) == folder
    assert (ROOT / photograph).exists()


def test_wheels_of_every_system_are_pinned():
    for system in SYSTEMS:
        assert all("==" in pin for pin in pins(system))
        assert any(pin.startswith("paho-mqtt==") for pin in pins(system))
