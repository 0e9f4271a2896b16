"""install-pi.sh on emulated Pis: again, upgrading, failing, removing, with and without apt."""

import shutil

import pytest

from deploy.emulation import roots
from deploy.emulation.installed import INSTALLER, freshly_flashed, python, with_engines
from deploy.emulation.user import Pi, output
from deploy.systems import SYSTEMS
from deploy.wheels import CHECKOUT

BY_NAME = {system.name: system for system in SYSTEMS}
OFFLINE = ("--wheels", "/srv/wheels")


def flashed(name: str, card, *, apt: bool = True, cpu: str | None = None) -> Pi:
    system = BY_NAME[name]
    pi = freshly_flashed(system, cpu or system.cpus[0], card, apt=apt)
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy"}
    return pi


def written(card) -> set[str]:
    """What is new or changed on the Pi, outside its user's home and what is never on a disk."""
    up = card / "up"
    places = {str(path.relative_to(up)) for path in up.rglob("*") if path.is_file()}
    temporary = ("home/pi/", "tmp/", "run/", "dev/", "proc/", "sys/", "srv/")
    return {p for p in places if not p.startswith(temporary) and "__pycache__" not in p}


def test_once_more_upgrades_and_uninstalling_leaves_nothing(card, tmp_path):
    # By the pip of the system alone: the wheel that venv would install is hidden.
    (tmp_path / "none").mkdir()
    hidden = {tmp_path / "none": "/usr/share/python-wheels"}
    pi = with_engines(BY_NAME["trixie-arm64"], "cortex-a76", card, hidden)
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy"}
    before = output(pi.run("readlink", "litert/env"))
    said = output(pi.run("sh", INSTALLER, "--dir", "/home/pi/litert", *OFFLINE))
    assert "PASS" in said
    assert "python -m runtime photo.jpg" in said
    after = output(pi.run("readlink", "litert/env"))
    assert after != before
    assert output(pi.run("sh", "-c", "ls -d litert/env-*")).split() == [f"litert/{after.strip()}"]
    assert written(card) == set()
    output(pi.run("sh", INSTALLER, "--dir", "/home/pi/litert", "--uninstall"))
    assert "litert" not in output(pi.run("ls", "-A")).split()


def test_an_upgrade_that_fails_its_selftest_leaves_the_old_one(card, tmp_path):
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
    assert "the earlier version stays" in done.stderr
    assert output(pi.run("readlink", "litert/env")) == before
    assert output(pi.run(python("litert"), "-m", "runtime", "--help"))


def test_without_apts_libraries_the_wheels_bring_them(card):
    pi = flashed("trixie-arm64", card, apt=False, cpu="cortex-a53")
    assert "PASS" in output(pi.run("sh", INSTALLER, *OFFLINE))
    where = "import numpy; print(numpy.__file__)"
    assert "/home/pi/digit-edge/" in output(pi.run("digit-edge/env/bin/python", "-c", where))


def test_apts_numpy_is_the_one_that_is_used(system, card):
    pi = with_engines(system, system.cpus[-1], card)
    where = "import numpy, PIL; print(numpy.__file__, PIL.__file__)"
    found = output(pi.run(python(system.engines[0]), "-c", where)).split()
    assert all(path.startswith("/usr/lib/python3/dist-packages/") for path in found)


def test_the_index_serves_where_no_folder_is_named(card, tmp_path):
    pi = flashed("bookworm-arm64", card)
    (wheel,) = (roots.CACHE / "wheels/bookworm-arm64").glob("digit_edge-*.whl")
    shutil.copy2(wheel, tmp_path)
    pi.folders = {**pi.folders, tmp_path: "/srv/project"}
    found = {"PIP_FIND_LINKS": "/srv/project"}
    assert "PASS" in output(pi.run("sh", INSTALLER, online=True, environment=found))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("bookworm-armhf", "sudo apt install python3-numpy python3-pil"),
        ("trixie-armhf", "sudo apt install python3-onnxruntime python3-numpy python3-pil"),
    ],
)
def test_a_32_bit_system_is_told_what_to_install(name, remedy, card):
    done = flashed(name, card, apt=False).run("sh", INSTALLER, *OFFLINE)
    assert done.returncode == 2
    assert remedy in done.stderr
    assert not (card / "up/home/pi/digit-edge").exists()


def test_wheels_that_are_not_there_are_named(card):
    pi = flashed("trixie-arm64", card, cpu="cortex-a53")
    done = pi.run("sh", INSTALLER, "--wheels", "/srv/deploy")
    assert done.returncode == 2
    assert "error: the packages cannot be had" in done.stderr
    assert "/srv/deploy" in done.stderr
    assert not list((card / "up/home/pi/digit-edge").glob("env*"))


def break_model(wheel) -> None:
    """Change a byte of the model in a wheel, and leave the rest as it is."""
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members.items():
            if info.filename.endswith("digits-int8.tflite"):
                content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
            archive.writestr(info, content)
