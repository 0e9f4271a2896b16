"""Builds what the emulated Pis are made of, once: root folders, emulators, wheels.

All of it lies in `.pi/`, a part a folder, each with the recipe that it was made from; a part whose
recipe has changed is made again.
"""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.emulation import debian
from deploy.emulation.debian import Suite
from deploy.emulation.systems import SYSTEMS, System
from deploy.emulation.user import Pi
from runtime.errors import EdgeError

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".pi"
# What Raspberry Pi OS Lite is flashed with, as far as anything here touches it.
FLASHED = (
    *("bash", "ca-certificates", "coreutils", "dash", "dbus", "dpkg", "findutils", "gawk", "grep"),
    *("gzip", "hostname", "libc-bin", "python3", "python3-venv", "sed", "systemd", "systemd-sysv"),
    *("tar", "udev", "util-linux", "kmod", "passwd", "base-passwd", "base-files"),
)
# What the documentation has the user install with apt.
APT = {
    "bookworm-arm64": ("python3-numpy", "python3-pil"),
    "trixie-arm64": ("python3-numpy", "python3-pil"),
    "bookworm-armhf": ("python3-numpy", "python3-pil"),
    "trixie-armhf": ("python3-numpy", "python3-pil", "python3-onnxruntime"),
}
EMULATORS = Suite("trixie", "amd64")
EMULATOR_PACKAGES = ("qemu-user", "qemu-system-arm", "e2fsprogs")
KERNEL_PACKAGES = ("linux-image-cloud-arm64", "busybox-static")
LOCKED = {"litert": "ai-edge-litert", "onnx": "onnxruntime", "tflite": "tflite-runtime"}
PYTEST = ("iniconfig", "packaging", "pluggy", "pygments", "pytest")


def build() -> None:
    """Make every part that is missing or out of date; print which.

    Raises:
        NotHere: this machine lacks what they are made with; the message says how to get it.
    """
    debian.mirror()
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(_emulators), pool.submit(_kernel)]
        jobs += [pool.submit(_system, system) for system in SYSTEMS]
        jobs += [pool.submit(_wheels, system) for system in SYSTEMS]
        jobs.append(pool.submit(_pytest))
        for job in jobs:
            job.result()
    project_wheel()


def pi(
    system: System,
    cpu: str,
    written: Path,
    *,
    apt: bool = True,
    above: Sequence[Path] = (),
) -> Pi:
    """A freshly flashed Pi; with `apt`, what the documentation installs by apt is there too.

    Args:
        above: layers to put on top of the system, the uppermost first.
    """
    place = part("systems", system.name)
    layers = [*above, *([place / "apt"] if apt else []), place / "flashed"]
    folders = {CACHE / "wheels" / system.name: "/srv/wheels", CACHE / "pytest": "/srv/pytest"}
    return Pi(part("emulators"), layers, cpu, written, folders)


def part(*names: str) -> Path:
    """Where a part lies."""
    return CACHE.joinpath(*names).resolve()


def project_wheel() -> Path:
    """Build the project's wheel from the checkout and put it among the wheels of every system."""
    place = CACHE / "wheel"
    shutil.rmtree(place, ignore_errors=True)
    # Built from a copy of the tracked files: setuptools would leave its own folders in the tree.
    copy = CACHE / "wheel-source"
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("runtime", "train", "export", "benchmarks"):
        shutil.copytree(
            CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(CHECKOUT / name, copy / name)
    _run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        + ["--wheel-dir", str(place), str(copy)]
    )
    shutil.rmtree(copy)
    (wheel,) = place.glob("*.whl")
    for system in SYSTEMS:
        folder = CACHE / "wheels" / system.name
        for old in folder.glob("digit_edge-*.whl"):
            old.unlink()
        shutil.copy2(wheel, folder / wheel.name)
    return wheel


def pinned(lock: str, package: str, python: str) -> str:
    """`package==version` as a lock file of the project has it for a version of Python."""
    found = []
    for line in (CHECKOUT / f"requirements/{lock}.lock").read_text().splitlines():
        match = re.match(rf"({re.escape(package)}==[^ ]+)(?: ; (.*?))? \\$", line)
        if match and _holds(match[2] or "", python):
            found.append(match[1])
    if len(found) != 1:
        raise EdgeError(f"requirements/{lock}.lock has no one {package} for Python {python}")
    return found[0]


def _holds(marker: str, python: str) -> bool:
    # What uv writes: python_full_version < '3.11', >= '3.12', == '3.11.*'
    match = re.fullmatch(r"python_full_version (<|>=|==) '3\.(\d+)(?:\.\*)?'", marker)
    if not match:
        return not marker
    ours, theirs = int(python.split(".")[1]), int(match[2])
    return {"<": ours < theirs, ">=": ours >= theirs, "==": ours == theirs}[match[1]]


def _made(place: Path, recipe: Sequence[object], make: Callable[[Path], None]) -> None:
    """Run `make(place)` unless `place` was made from this very recipe."""
    stamp = place.with_name(f"{place.name}.json")
    how = (*map(inspect.getsource, (make, _configure)), Path(debian.__file__).read_text())
    text = json.dumps([*map(str, recipe), *how], indent=1)
    if place.exists() and stamp.exists() and stamp.read_text() == text:
        return
    print(f"making {place.relative_to(CHECKOUT)}", flush=True)
    stamp.unlink(missing_ok=True)
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    make(place)
    stamp.write_text(text)


def _emulators() -> None:
    def make(place: Path) -> None:
        apt = CACHE / "debian" / "emulators"
        debian.unpack(debian.fetch(EMULATORS, EMULATOR_PACKAGES, apt), place)
        shutil.rmtree(apt)

    _made(CACHE / "emulators", EMULATOR_PACKAGES, make)


def _kernel() -> None:
    from deploy.emulation.machine import make_kernel  # which needs this module

    def make(place: Path) -> None:
        apt = CACHE / "debian" / "kernel"
        archives = debian.fetch(Suite("trixie", "arm64"), KERNEL_PACKAGES, apt)
        (image,) = [archive for archive in archives if archive.name.startswith("linux-image-6")]
        (busybox,) = [archive for archive in archives if archive.name.startswith("busybox-static")]
        debian.unpack([image, busybox], apt / "unpacked")
        make_kernel(apt / "unpacked", apt / "unpacked", place)
        shutil.rmtree(apt)

    _made(CACHE / "kernel", [*KERNEL_PACKAGES, inspect.getsource(make_kernel)], make)


def _system(system: System) -> None:
    """The flashed system, and above it, as a layer, what apt adds."""
    apt = CACHE / "debian" / system.name

    def make(place: Path) -> None:
        flashed = debian.fetch(system.debian, FLASHED, apt)
        debian.unpack(flashed, place / "flashed")
        _configure(place / "flashed")
        added = debian.fetch(system.debian, (*FLASHED, *APT[system.name]), apt)
        debian.unpack([archive for archive in added if archive not in flashed], place / "apt")
        # As update-alternatives would: the libraries by the names that are looked for.
        for library in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
            for file in (place / "apt").glob(f"usr/lib/*/{library}"):
                (file.parents[1] / file.name).symlink_to(library)
        shutil.rmtree(apt)

    _made(CACHE / "systems" / system.name, [*FLASHED, "+", *APT[system.name]], make)


def _configure(root: Path) -> None:
    """What the packages' own scripts would have done, and the user."""
    for name in ("passwd", "group"):
        shutil.copy2(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    with open(root / "etc/passwd", "a") as users:
        users.write("pi:x:1000:1000::/home/pi:/bin/bash\n")
    (root / "etc/hostname").write_text("raspberrypi\n")
    (root / "usr/bin/awk").symlink_to("gawk")
    certificates = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes(b"".join(file.read_bytes() for file in certificates))
    (root / "home/pi").mkdir(parents=True)
    # The user of a namespace is root in it already.
    sudo = root / "usr/bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)


def _wheels(system: System) -> None:
    wanted = [pinned(engine, LOCKED[engine], system.python) for engine in system.engines]
    if system.wheels:
        if system.architecture == "arm64":
            wanted += [pinned("litert", name, system.python) for name in ("numpy", "pillow")]
    else:
        wanted = []

    def make(place: Path) -> None:
        if not wanted:
            return
        platforms = [word for name in system.wheels for word in ("--platform", name)]
        _run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            + ["--only-binary=:all:", "--python-version", system.python, *platforms]
            + ["--dest", str(place), *wanted]
        )

    _made(CACHE / "wheels" / system.name, wanted, make)


def _pytest() -> None:
    wanted = [pinned("litert", name, "3.11") for name in PYTEST]

    def make(place: Path) -> None:
        _run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
            + ["--target", str(place), *wanted]
        )

    _made(CACHE / "pytest", wanted, make)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise EdgeError(f"{' '.join(command[1:4])}: {done.stderr.strip()[-1000:]}")
