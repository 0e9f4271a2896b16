"""Test install-pi.sh on emulated Pis: upgrades, failures, uninstallation, with and without apt."""

import shutil
import zipfile
from pathlib import Path

import pytest

from deploy.emulation import roots
from deploy.emulation.installed import INSTALLER, freshly_flashed, python, with_engines
from deploy.emulation.user import Pi, output
from deploy.systems import SYSTEMS, System
from deploy.wheels import CHECKOUT

BY_NAME = {system.name: system for system in SYSTEMS}
OFFLINE = ("--wheels", "/srv/wheels")  # options of install-pi.sh


def flashed(name: str, card: Path, *, apt: bool = True, cpu: str | None = None) -> Pi:
    system = BY_NAME[name]
    pi = freshly_flashed(system, cpu or system.cpus[0], card, apt=apt)
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy"}
    return pi


def changed_system_files(card: Path) -> set[str]:
    """Return new and changed files on the Pi, except in the user's home and temporary folders."""
    upper = card / "up"
    paths = {str(path.relative_to(upper)) for path in upper.rglob("*") if path.is_file()}
    ignored = ("home/pi/", "tmp/", "run/", "dev/", "proc/", "sys/", "srv/")
    return {path for path in paths if not path.startswith(ignored) and "__pycache__" not in path}


def test_second_run_upgrades_and_uninstall_leaves_nothing(card: Path, tmp_path: Path) -> None:
    """Only the system's pip is available: the pip wheel of venv is hidden by an empty folder."""
    (tmp_path / "empty").mkdir()
    hidden = {tmp_path / "empty": "/usr/share/python-wheels"}
    pi = with_engines(BY_NAME["trixie-arm64"], "cortex-a76", card, hidden)
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy"}
    before = output(pi.run("readlink", "litert/env"))
    printed = output(pi.run("sh", INSTALLER, "--dir", "/home/pi/litert", *OFFLINE))
    assert "PASS" in printed
    assert "digit-edge classify photo.jpg" in printed
    after = output(pi.run("readlink", "litert/env"))
    assert after != before
    assert output(pi.run("sh", "-c", "ls -d litert/env-*")).split() == [f"litert/{after.strip()}"]
    assert changed_system_files(card) == set()
    output(pi.run("sh", INSTALLER, "--dir", "/home/pi/litert", "--uninstall"))
    assert "litert" not in output(pi.run("ls", "-A")).split()


def test_upgrade_that_fails_its_selftest_keeps_the_old_version(card: Path, tmp_path: Path) -> None:
    system = BY_NAME["trixie-arm64"]
    pi = with_engines(system, "cortex-a72", card)
    broken = tmp_path / "wheels"
    shutil.copytree(roots.CACHE / "wheels" / system.name, broken)
    break_model(*broken.glob("digit_edge-*.whl"))
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy", broken: "/srv/broken"}
    before = output(pi.run("readlink", "litert/env"))
    options = ("--dir", "/home/pi/litert", "--wheels", "/srv/broken")
    done = pi.run("sh", INSTALLER, *options)
    assert done.returncode == 3
    assert "the old version is kept" in done.stderr
    assert output(pi.run("readlink", "litert/env")) == before
    assert output(pi.run(python("litert"), "-m", "digit_edge", "classify", "--help"))


def test_numpy_comes_from_a_wheel_if_apt_has_none(card: Path) -> None:
    pi = flashed("trixie-arm64", card, apt=False, cpu="cortex-a53")
    assert "PASS" in output(pi.run("sh", INSTALLER, *OFFLINE))
    program = "import numpy; print(numpy.__file__)"
    assert "/home/pi/digit-edge/" in output(pi.run("digit-edge/env/bin/python", "-c", program))


def test_numpy_and_pillow_of_apt_are_used(system: System, card: Path) -> None:
    pi = with_engines(system, system.cpus[-1], card)
    program = "import numpy, PIL; print(numpy.__file__, PIL.__file__)"
    files = output(pi.run(python(system.engines[0]), "-c", program)).split()
    assert all(path.startswith("/usr/lib/python3/dist-packages/") for path in files)


def test_packages_come_from_the_index_without_a_wheel_folder(card: Path, tmp_path: Path) -> None:
    pi = flashed("bookworm-arm64", card)
    (wheel,) = (roots.CACHE / "wheels/bookworm-arm64").glob("digit_edge-*.whl")
    shutil.copy2(wheel, tmp_path)
    pi.folders = {**pi.folders, tmp_path: "/srv/project"}
    links = {"PIP_FIND_LINKS": "/srv/project"}
    assert "PASS" in output(pi.run("sh", INSTALLER, online=True, environment=links))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("bookworm-armhf", "sudo apt install python3-numpy python3-pil"),
        ("trixie-armhf", "sudo apt install python3-onnxruntime python3-numpy python3-pil"),
        ("bookworm-armel", "sudo apt install gcc libc6-dev"),
    ],
)
def test_error_on_a_32_bit_system_names_the_apt_packages(
    name: str, remedy: str, card: Path
) -> None:
    done = flashed(name, card, apt=False).run("sh", INSTALLER, *OFFLINE)
    assert done.returncode == 2
    assert remedy in done.stderr
    assert not (card / "up/home/pi/digit-edge").exists()


def test_error_names_the_folder_without_wheels(card: Path) -> None:
    pi = flashed("trixie-arm64", card, cpu="cortex-a53")
    done = pi.run("sh", INSTALLER, "--wheels", "/srv/deploy")
    assert done.returncode == 2
    assert "error: cannot install the packages" in done.stderr
    assert "/srv/deploy" in done.stderr
    assert not list((card / "up/home/pi/digit-edge").glob("env*"))


def break_model(wheel: Path) -> None:
    """Change one byte of the model in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members.items():
            if info.filename.endswith("digits-int8.tflite"):
                content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
            archive.writestr(info, content)
