"""Build the parts of the emulated Pis once: root folders, QEMU, kernel, wheels.

`deploy.emulation.__main__` calls `build`. Each part is a folder in `.pi/`. A JSON file beside the
folder records the recipe of the part: the packages and the code that made it. If the recipe has
changed, the part is built again.
"""

import inspect
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy import wheels
from deploy.emulation import debian
from deploy.emulation.debian import Suite
from deploy.emulation.user import Pi
from deploy.systems import SYSTEMS, System

CACHE = wheels.CHECKOUT / ".pi"  # folder of all parts; delete it to build everything again

# Debian packages of a freshly flashed system: the part of Raspberry Pi OS Lite that the installer,
# the runtime and the tests use.
FLASHED = (
    *("bash", "ca-certificates", "coreutils", "dash", "dbus", "dpkg", "findutils", "gawk", "grep"),
    *("gzip", "hostname", "libc-bin", "python3", "python3-venv", "sed", "systemd", "systemd-sysv"),
    *("tar", "udev", "util-linux", "kmod", "passwd", "base-passwd", "base-files", "libstdc++6"),
)
# System → the apt packages that docs/raspberry-pi.md installs. The 64-bit systems also get pip,
# because the installer uses pip if it is installed, as on many Pis.
APT = {
    "bookworm-arm64": ("python3-numpy", "python3-pil", "python3-pip"),
    "trixie-arm64": ("python3-numpy", "python3-pil", "python3-pip"),
    "bookworm-armhf": ("python3-numpy", "python3-pil"),
    "trixie-armhf": ("python3-numpy", "python3-pil", "python3-onnxruntime"),
    # Raspberry Pi OS contains the compiler (RPi-Distro/pi-gen, stage2/01-sys-tweaks/00-packages).
    "bookworm-armel": ("python3-numpy", "python3-pil", "gcc", "libc6-dev"),
}
# Further packages for the commands of docs/raspberry-pi.md. On a real Pi, curl is part of the
# system.
PAGE = ("curl", "mosquitto", "mosquitto-clients")
EMULATORS = Suite("trixie", "amd64")  # release of the packages that run on this machine
EMULATOR_PACKAGES = ("qemu-user", "qemu-system-arm", "e2fsprogs")  # QEMU, and mke2fs for disks


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot in full-system mode.

    Attributes:
        suite: release and architecture of the package.
        package: Debian's package of the kernel.
        modules: modules that the disk needs.
        disk: name of the disk's device.
    """

    suite: Suite
    package: str
    modules: tuple[str, ...]
    disk: str


# Name of a part → its kernel.
KERNELS = {
    "kernel": Kernel(Suite("trixie", "arm64"), "linux-image-cloud-arm64", ("virtio_blk",), "vda"),
    "kernel-armv6": Kernel(
        Suite("bookworm", "armel"),
        "linux-image-rpi",
        ("crc32c_generic", "crc16", "mbcache", "jbd2", "ext4"),
        "mmcblk0",
    ),
}
# pytest and its dependencies. pytest runs tests/engines on the Pis.
PYTEST = ("iniconfig", "packaging", "pluggy", "pygments", "pytest")


def build(*, install: Callable[[System], None], page: bool = False) -> None:
    """Build every part that is missing or outdated, and print its name.

    Args:
        install: called with each system as soon as the parts of the system are built. Two calls run
            in parallel, while other parts are downloaded.
        page: also build the part for the commands of docs/raspberry-pi.md.

    Raises:
        MissingPrerequisite: This machine lacks a program or a mirror.
        EdgeError: pip cannot download or build a wheel.
    """
    debian.mirror()
    project_folder = CACHE / "project"
    project_folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as making, ThreadPoolExecutor(2) as installing:
        project = making.submit(wheels.project, project_folder)
        common = (making.submit(_emulators), making.submit(_pytest))
        own = {
            system.name: (making.submit(_system, system), making.submit(_wheels, system))
            for system in SYSTEMS
        }
        jobs = [making.submit(_kernel, name) for name in KERNELS]
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
    """Return a freshly flashed Pi.

    Args:
        system: operating system.
        cpu: QEMU's name of the processor.
        written: folder for the changes, as in `Pi`.
        apt: add the apt packages that docs/raspberry-pi.md installs.
        above: layers on top of the system, the uppermost first.
    """
    place = part("systems", system.name)
    layers = [*above, *([place / "apt"] if apt else []), place / "flashed"]
    folders = {CACHE / "wheels" / system.name: "/srv/wheels", CACHE / "pytest": "/srv/pytest"}
    return Pi(part("emulators"), layers, cpu, written, folders)


def part(*names: str) -> Path:
    """Return the path of a part, such as .pi/systems/trixie-arm64 for two names."""
    return CACHE.joinpath(*names).resolve()


def _made(place: Path, recipe: Sequence[object], make: Callable[[Path], None]) -> None:
    """Run `make(place)` unless the folder `place` was made from the same recipe and code."""
    stamp = place.with_name(f"{place.name}.json")
    code = (*map(inspect.getsource, (make, _configure)), Path(debian.__file__).read_text())
    text = json.dumps([*map(str, recipe), *code], indent=1)
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
    """Build QEMU and mke2fs for this machine."""

    def make(place: Path) -> None:
        apt = CACHE / "debian" / "emulators"
        (archives,) = debian.fetch(EMULATORS, apt, EMULATOR_PACKAGES)
        debian.unpack(archives, place)
        shutil.rmtree(apt)

    _made(CACHE / "emulators", EMULATOR_PACKAGES, make)


def _kernel(name: str) -> None:
    """Build a kernel and its initramfs for full-system mode."""
    from deploy.emulation import kernel

    row = KERNELS[name]

    def make(place: Path) -> None:
        apt = CACHE / "debian" / name
        (archives,) = debian.fetch(row.suite, apt, (row.package, "busybox-static"))
        (image,) = [archive for archive in archives if archive.name.startswith("linux-image-6")]
        (busybox,) = [archive for archive in archives if archive.name.startswith("busybox-static")]
        debian.unpack([image, busybox], apt / "unpacked")
        kernel.make_kernel(apt / "unpacked", row.modules, row.disk, place)
        shutil.rmtree(apt)

    _made(CACHE / name, [row, inspect.getsource(kernel)], make)


def _system(system: System) -> None:
    """Build two layers of a system: the packages on a new SD card, and those that apt adds."""
    apt = CACHE / "debian" / system.name
    suite = Suite(system.suite, system.architecture)

    def make(place: Path) -> None:
        flashed, added = debian.fetch(suite, apt, FLASHED, (*FLASHED, *APT[system.name]))
        debian.unpack(flashed, place / "flashed")
        _configure(place / "flashed")
        debian.unpack([archive for archive in added if archive not in flashed], place / "apt")
        # The links that update-alternatives would make: NumPy loads the libraries by these names,
        # and `cc` is the system's C compiler.
        for library in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
            for file in (place / "apt").glob(f"usr/lib/*/{library}"):
                (file.parents[1] / file.name).symlink_to(library)
        if (place / "apt/usr/bin/gcc").exists():
            (place / "apt/usr/bin/cc").symlink_to("gcc")
        shutil.rmtree(apt)

    _made(CACHE / "systems" / system.name, [*FLASHED, "+", *APT[system.name]], make)


def _page() -> None:
    """Build the layer of further packages for the commands of docs/raspberry-pi.md."""
    suite = Suite("trixie", "arm64")

    def make(place: Path) -> None:
        apt = CACHE / "debian" / "page"
        flashed, added = debian.fetch(suite, apt, FLASHED, (*FLASHED, *PAGE))
        debian.unpack([archive for archive in added if archive not in flashed], place)
        shutil.rmtree(apt)

    _made(CACHE / "page", [*FLASHED, "+", *PAGE], make)


def _configure(root: Path) -> None:
    """Do the work of the packages' maintainer scripts, which are not run, and add the user pi."""
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
    # Commands run as root of a user namespace, so sudo only has to run its arguments.
    sudo = root / "usr/bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)


def _wheels(system: System) -> None:
    """Download the wheels of a system."""
    place = CACHE / "wheels" / system.name
    _made(place, wheels.pins(system), lambda place: wheels.download(system, place))


def _pytest() -> None:
    """Install pytest into a folder; it is pure Python and runs on every system."""
    pins = [wheels.pinned("litert", name, "3.11") for name in PYTEST]

    def make(place: Path) -> None:
        packages = [("litert", name, "3.11") for name in PYTEST]
        wheels.pip_with_hashes("install", ["--target", str(place)], packages)

    _made(CACHE / "pytest", pins, make)
