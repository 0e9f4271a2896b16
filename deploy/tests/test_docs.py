"""Run the commands of docs/raspberry-pi.md on a booted Pi with systemd, 512 MiB and no network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.bundle import bundle
from deploy.emulation import machine, roots
from deploy.emulation.installed import compiled_by_apt, freshly_flashed
from deploy.systems import SYSTEMS
from deploy.wheels import CHECKOUT

PAGE = CHECKOUT / "docs/raspberry-pi.md"
(TRIXIE,) = [system for system in SYSTEMS if system.name == "trixie-arm64"]
# Replacement for apt on the Pi, which has no network. It copies the files of packages that were
# downloaded before into the system, adds the user mosquitto, and starts the service mosquitto.
APT = """#!/bin/sh
shift
for package; do
  [ "$package" = -y ] || [ -e "/pi/apt/usr/share/doc/$package" ] ||
    [ -e "/usr/share/doc/$package" ] || { echo "E: Unable to locate package $package"; exit 100; }
done
for folder in etc usr var; do cp -al /pi/apt/$folder/. /$folder/; done
grep -q mosquitto /etc/passwd || echo mosquitto:x:990:990::/nonexistent:/bin/false >> /etc/passwd
grep -q mosquitto /etc/group || echo mosquitto:x:990: >> /etc/group
case $* in *mosquitto*) systemctl daemon-reload; systemctl start mosquitto ;; esac
"""
# systemd unit that runs all commands after the boot and prints to the console.
UNIT = """[Unit]
After=basic.target
[Service]
Type=oneshot
WorkingDirectory=/home/pi
Environment=HOME=/home/pi USER=pi LANG=C.UTF-8
ExecStart=/bin/sh /pi/docs
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyAMA0
TimeoutStartSec=infinity
"""


def commands() -> list[str]:
    """Return the commands of the blocks marked `sh pi`, in order."""
    blocks = re.findall(r"^```sh pi\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def script() -> str:
    """Return a script that runs all commands, with a pause of 3 s after each.

    It prints a line "PI-COMMAND number" before a command, and "PI-STATUS number status" after it.
    """
    lines = []
    for number, command in enumerate(commands()):
        lines += [f"echo PI-COMMAND {number}", command, f"echo PI-STATUS {number} $?", "sleep 3"]
    return "\n".join([*lines, "sync", "echo o > /proc/sysrq-trigger", "sleep 60", ""])


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Command → its output on a booted Pi; the last line contains the exit status."""
    card = tmp_path_factory.mktemp("card")
    home = card / "up/home/pi"
    (card / "up/pi").mkdir(parents=True)
    bundle(home / "digit-edge-pi")
    for file in (home / "digit-edge-pi/wheels").iterdir():
        # Wheels of other systems would fill half of the disk.
        if not re.search(r"(cp313|none|abi3).*(aarch64|any)", file.name):
            file.unlink()
    shutil.copy2(CHECKOUT / "examples/photo.jpg", home)
    apt = (roots.part("systems", TRIXIE.name) / "apt", compiled_by_apt(TRIXIE), roots.part("page"))
    for layer in apt:
        link_tree(layer, card / "up/pi/apt")
    pi = freshly_flashed(TRIXIE, "cortex-a53", card, apt=False)
    files = {
        "/usr/bin/apt": APT,
        "/pi/docs": script(),
        "/etc/systemd/system/docs.service": UNIT,
        "/etc/systemd/system/default.target": "[Unit]\nRequires=docs.service basic.target\n",
        # An empty file disables a unit. A flashed system has built its hardware database already.
        "/etc/systemd/system/systemd-hwdb-update.service": "",
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/etc/hosts": "127.0.0.1 localhost raspberrypi.local\n",
        "/etc/nsswitch.conf": "hosts: files dns\n",
    }
    machine.disk(pi, {name: text.encode() for name, text in files.items()}, card / "disk")
    console = machine.boot(TRIXIE, "cortex-a53", card / "disk", start="/lib/systemd/systemd")
    marked = re.findall(r"PI-COMMAND (\d+)\n(.*?PI-STATUS \1 \d+)", console, re.DOTALL)
    outputs = {commands()[int(number)]: output for number, output in marked}
    assert len(outputs) == len(set(commands())), console[-5000:]
    return outputs


@pytest.mark.parametrize("command", commands())
def test_command_of_the_page_succeeds(command: str, printed: dict[str, str]) -> None:
    assert printed[command].endswith(" 0"), printed[command]


def test_successful_installer_prints_no_error(printed: dict[str, str]) -> None:
    for command, text in printed.items():
        assert "install-pi.sh" not in command or "error" not in text.lower(), text


def test_photograph_is_classified_as_the_page_shows(printed: dict[str, str]) -> None:
    (line,) = re.findall(r"^    (photo.jpg: .*)$", PAGE.read_text(), re.MULTILINE)
    assert line in printed["digit-edge/env/bin/digit-edge classify photo.jpg"]
    assert line in printed["lean/bin/digit-edge classify photo.jpg"]


def test_watch_service_classifies_a_new_image(printed: dict[str, str]) -> None:
    assert '"label": "7"' in printed["journalctl -u digit-edge-watch -o cat"]


def test_watch_service_starts_once_and_keeps_running(printed: dict[str, str]) -> None:
    journal = printed["journalctl -u digit-edge-watch -o cat"]
    assert journal.count("Started digit-edge-watch") == 1
    assert "active (running)" in printed["systemctl status digit-edge-watch --no-pager"]


def test_server_classifies_only_with_the_token(printed: dict[str, str]) -> None:
    without_token, with_token = (
        text for command, text in printed.items() if "/v1/classify" in command
    )
    assert "the token is missing or wrong" in without_token
    assert '"label"' not in without_token
    assert '"label":"7"' in with_token


def test_camera_service_reads_its_source_once(printed: dict[str, str]) -> None:
    journal = printed["journalctl -u digit-edge-camera -o cat"]
    assert journal.count('"label": "7"') == journal.count("Started digit-edge-camera") == 1


def test_mqtt_delivers_availability_and_result(printed: dict[str, str]) -> None:
    availability, result = (text for command, text in printed.items() if "mosquitto_sub" in command)
    assert "online" in availability
    assert '"label": "7"' in result


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder over another by hard links."""
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", "--force", f"{source}/.", target], check=True)
