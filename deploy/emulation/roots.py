"""Builds what the emulated Pis are made of, once: root folders, emulators, wheels.

All of it lies in `.pi/`, a part a folder, each with the recipe that it was made from; a part whose
recipe has changed is made again.
"""

import inspect
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy import wheels
from deploy.emulation import debian
from deploy.emulation.debian import Suite
from deploy.emulation.user import Pi
from deploy.systems import SYSTEMS, System

CACHE = wheels.CHECKOUT / ".pi"
# What Raspberry Pi OS Lite is flashed with, as far as anything here touches it.
FLASHED = (
    *("bash", "ca-certificates", "coreutils", "dash", "dbus", "dpkg", "findutils", "gawk", "grep"),
    *("gzip", "hostname", "libc-bin", "python3", "python3-venv", "sed", "systemd", "systemd-sysv"),
    *("tar", "udev", "util-linux", "kmod", "passwd", "base-passwd", "base-files", "libstdc++6"),
)
# What the documentation has the user install with apt; on the 64-bit ones pip too, which many a Pi
# has and the installer then uses.
APT = {
    "bookworm-arm64": ("python3-numpy", "python3-pil", "python3-pip"),
    "trixie-arm64": ("python3-numpy", "python3-pil", "python3-pip"),
    "bookworm-armhf": ("python3-numpy", "python3-pil"),
    "trixie-armhf": ("python3-numpy", "python3-pil", "python3-onnxruntime"),
}
# What the page's commands use besides: curl, which Raspberry Pi OS has, and a broker by apt.
PAGE = ("curl", "mosquitto", "mosquitto-clients")
EMULATORS = Suite("trixie", "amd64")
EMULATOR_PACKAGES = ("qemu-user", "qemu-system-arm", "e2fsprogs")
KERNEL_PACKAGES = ("linux-image-cloud-arm64", "busybox-static")
PYTEST = ("iniconfig", "packaging", "pluggy", "pygments", "pytest")


def build(*, install: Callable[[System], None], page: bool = False) -> None:
    """Make every part that is missing or out of date, and print which.

    Args:
        install: called with each system when its parts are there; for two of them at a time, while
            others are fetched.
        page: what the commands of docs/raspberry-pi.md use besides, too.

    Raises:
        NotHere: this machine lacks what they are made with; the message says how to get it.
    """
    debian.mirror()
    built = CACHE / "project"
    built.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as making, ThreadPoolExecutor(2) as installing:
        project = making.submit(wheels.project, built)
        common = (making.submit(_emulators), making.submit(_pytest))
        own = {
            system.name: (making.submit(_system, system), making.submit(_wheels, system))
            for system in SYSTEMS
        }
        jobs = [making.submit(_kernel)]
        jobs += [making.submit(_page)] if page else []

        def finish(system: System) -> None:
            for job in (*common, *own[system.name]):
                job.result()
            folder = CACHE / "wheels" / system.name
            for old in folder.glob("digit_edge-*.whl"):
                old.unlink()
            shutil.copy2(project.result(), folder)
            install(system)

        jobs += [installing.submit(finish, system) for system in SYSTEMS]
        for job in jobs:
            job.result()


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


def _made(place: Path, recipe: Sequence[object], make: Callable[[Path], None]) -> None:
    """Run `make(place)` unless `place` was made from this very recipe."""
    stamp = place.with_name(f"{place.name}.json")
    how = (*map(inspect.getsource, (make, _configure)), Path(debian.__file__).read_text())
    text = json.dumps([*map(str, recipe), *how], indent=1)
    if place.exists() and stamp.exists() and stamp.read_text() == text:
        return
    print(f"making {place.relative_to(wheels.CHECKOUT)}", flush=True)
    stamp.unlink(missing_ok=True)
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    make(place)
    stamp.write_text(text)


def _emulators() -> None:
    def make(place: Path) -> None:
        apt = CACHE / "debian" / "emulators"
        (archives,) = debian.fetch(EMULATORS, apt, EMULATOR_PACKAGES)
        debian.unpack(archives, place)
        shutil.rmtree(apt)

    _made(CACHE / "emulators", EMULATOR_PACKAGES, make)


def _kernel() -> None:
    from deploy.emulation.kernel import make_kernel  # which needs this module

    def make(place: Path) -> None:
        apt = CACHE / "debian" / "kernel"
        (archives,) = debian.fetch(Suite("trixie", "arm64"), apt, KERNEL_PACKAGES)
        (image,) = [archive for archive in archives if archive.name.startswith("linux-image-6")]
        (busybox,) = [archive for archive in archives if archive.name.startswith("busybox-static")]
        debian.unpack([image, busybox], apt / "unpacked")
        make_kernel(apt / "unpacked", apt / "unpacked", place)
        shutil.rmtree(apt)

    _made(CACHE / "kernel", [*KERNEL_PACKAGES, inspect.getsource(make_kernel)], make)


def _system(system: System) -> None:
    """The flashed system, and above it, as a layer, what apt adds."""
    apt = CACHE / "debian" / system.name
    suite = Suite(system.suite, system.architecture)

    def make(place: Path) -> None:
        flashed, added = debian.fetch(suite, apt, FLASHED, (*FLASHED, *APT[system.name]))
        debian.unpack(flashed, place / "flashed")
        _configure(place / "flashed")
        debian.unpack([archive for archive in added if archive not in flashed], place / "apt")
        # As update-alternatives would: the libraries by the names that are looked for.
        for library in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
            for file in (place / "apt").glob(f"usr/lib/*/{library}"):
                (file.parents[1] / file.name).symlink_to(library)
        shutil.rmtree(apt)

    _made(CACHE / "systems" / system.name, [*FLASHED, "+", *APT[system.name]], make)


def _page() -> None:
    """What the commands of docs/raspberry-pi.md use besides, as a layer."""
    suite = Suite("trixie", "arm64")

    def make(place: Path) -> None:
        apt = CACHE / "debian" / "page"
        flashed, added = debian.fetch(suite, apt, FLASHED, (*FLASHED, *PAGE))
        debian.unpack([archive for archive in added if archive not in flashed], place)
        shutil.rmtree(apt)

    _made(CACHE / "page", [*FLASHED, "+", *PAGE], make)


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
    place = CACHE / "wheels" / system.name
    _made(place, wheels.pins(system), lambda place: wheels.download(system, place))


def _pytest() -> None:
    wanted = [wheels.pinned("litert", name, "3.11") for name in PYTEST]

    def make(place: Path) -> None:
        wheels.pip("install", ["--no-deps", "--target", str(place), *wanted])

    _made(CACHE / "pytest", wanted, make)
