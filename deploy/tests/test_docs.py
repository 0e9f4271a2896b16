"""docs/raspberry-pi.md, as written, on a booted Pi: systemd, 512 MiB, no network."""

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
# What a real apt would do is done here from what was fetched before: lay the packages' files over
# the system, make their users, start their services.
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
    """The Pi's commands, in the page's order."""
    blocks = re.findall(r"^```sh pi\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def script() -> str:
    """All commands, each announced, with some seconds between, as a reader would take."""
    lines = []
    for at, command in enumerate(commands()):
        lines += [f"echo PI-COMMAND {at}", command, f"echo PI-STATUS {at} $?", "sleep 3"]
    return "\n".join([*lines, "sync", "echo o > /proc/sysrq-trigger", "sleep 60", ""])


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, str]:
    """What each command printed, with its status in the last line."""
    card = tmp_path_factory.mktemp("card")
    home = card / "up/home/pi"
    for name in ("up/pi", "work", "root"):
        (card / name).mkdir(parents=True)
    bundle(home / "digit-edge-pi")
    for file in (home / "digit-edge-pi/wheels").iterdir():  # half of the disk, for other systems
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
        # Left out (an empty unit is masked): a flashed system has that table of hardware already.
        "/etc/systemd/system/systemd-hwdb-update.service": "",
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/etc/hosts": "127.0.0.1 localhost raspberrypi.local\n",
        "/etc/nsswitch.conf": "hosts: files dns\n",
    }
    machine.disk(pi, {name: text.encode() for name, text in files.items()}, card / "disk")
    console = machine.boot(card / "disk", "cortex-a53", start="/lib/systemd/systemd")
    found = re.findall(r"PI-COMMAND (\d+)\n(.*?PI-STATUS \1 \d+)", console, re.DOTALL)
    answers = {commands()[int(at)]: said for at, said in found}
    assert len(answers) == len(set(commands())), console[-5000:]
    return answers


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_succeeds(command, shown):
    assert shown[command].endswith(" 0"), shown[command]


def test_the_installer_shows_no_error_that_is_none(shown):
    for command, text in shown.items():
        assert "install-pi.sh" not in command or "error" not in text.lower(), text


def test_the_photograph_is_read_as_the_page_shows(shown):
    (line,) = re.findall(r"^    (photo.jpg: .*)$", PAGE.read_text(), re.MULTILINE)
    assert line in shown["digit-edge/env/bin/python -m runtime photo.jpg"]
    assert line in shown["lean/bin/python -m runtime photo.jpg"]


def test_the_service_reads_what_arrives(shown):
    journal = shown["journalctl -u digit-edge-watch -o cat"]
    assert '"label": "7"' in journal
    assert journal.count("Started digit-edge-watch") == 1
    assert "active (running)" in shown["systemctl status digit-edge-watch --no-pager"]


def test_the_server_asks_for_the_token(shown):
    refused, answered = (text for command, text in shown.items() if "/v1/classify" in command)
    assert "send the server's token" in refused
    assert '"label"' not in refused
    assert '"label":"7"' in answered


def test_the_camera_service_reads_its_source_once(shown):
    journal = shown["journalctl -u digit-edge-camera -o cat"]
    assert journal.count('"label": "7"') == journal.count("Started digit-edge-camera") == 1


def test_mqtt_carries_the_result(shown):
    said = [text for command, text in shown.items() if "mosquitto_sub" in command]
    assert "online" in said[0]
    assert '"label": "7"' in said[1]


def link_tree(source: Path, target: Path) -> None:
    """Lay a folder over another, by hard links."""
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", "--force", f"{source}/.", target], check=True)
