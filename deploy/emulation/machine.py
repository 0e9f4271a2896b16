"""A Pi in full-system mode: a kernel, a disk and half a gigabyte, booted by QEMU.

With `-icount shift=0` one instruction is one nanosecond of the machine's own clock, whatever this
machine does meanwhile. So its clocks count instructions, repeatably: a metric for regressions, not
a time that a real Pi would take.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.emulation import roots
from deploy.emulation.user import Pi
from runtime.errors import EdgeError

MEMORY_MIB = 512  # a Zero 2 W
_TIMEOUT_S = 3600  # from the start of the emulated Pi until it switches itself off
_DISK_MIB = 1400
_START = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/home/pi USER=pi LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
cd /home/pi
sh /pi/job
echo "PI-STATUS $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def disk(pi: Pi, files: Mapping[str, bytes], place: Path) -> None:
    """Write a disk with all that is on a Pi, and `files` (path on it → content) besides.

    Raises:
        EdgeError: it cannot be made.
    """
    place.unlink(missing_ok=True)
    added = place.with_suffix(".files")
    shutil.rmtree(added, ignore_errors=True)
    for name, content in {"/pi/start": _START.encode(), **files}.items():
        path = added / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    layers = ":".join(map(str, (added, pi.written / "up", *pi.layers)))
    # Laid over each other in a namespace, where all files are root's.
    script = 'mount -t overlay overlay -o "userxattr,lowerdir=$1" "$2" && shift && shift && "$@"'
    mount = pi.written / "root"
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "disk"),
            layers,
            str(mount),
            *_emulator("mke2fs"),
            "-q",
            "-t",
            "ext4",
            "-O",
            "^has_journal",
            "-m",
            "0",
            "-d",
            str(mount),
            str(place),
            f"{_DISK_MIB}M",
        ],
        capture_output=True,
        text=True,
    )
    shutil.rmtree(added)
    if done.returncode:
        raise EdgeError(f"no disk for the emulated Pi: {done.stderr.strip()}")


def boot(
    disk: Path,
    cpu: str,
    *,
    start: str = "/pi/start",
    environment: str = "",
) -> str:
    """Boot a disk, wait until it switches itself off, and return what the console showed.

    Args:
        cpu: QEMU's name of the processor.
        start: the first program, /pi/start or an init.
        environment: what it is told, NAME=VALUE.

    Raises:
        EdgeError: it did not switch itself off in time; the message ends with the console.
    """
    kernel = roots.part("kernel")
    command = [*_emulator("qemu-system-aarch64"), "-M", "virt", "-cpu", cpu]
    command += ["-m", str(MEMORY_MIB), "-nographic", "-no-reboot", "-nic", "none"]
    command += ["-L", str(roots.part("emulators") / "usr/share/qemu")]
    command += ["-icount", "shift=0,sleep=off"]  # one instruction is one nanosecond
    command += ["-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd")]
    command += ["-drive", f"file={disk},if=none,format=raw,id=card,snapshot=on"]
    command += ["-device", "virtio-blk-pci,drive=card"]
    # With the kernel's pages apart (kpti) the same counts take QEMU a quarter more time.
    options = "quiet loglevel=3 panic=-1 norandmaps kpti=off console=ttyAMA0"
    command += ["-append", f"{options} PI_START={start} {environment}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        shown = (error.stdout or b"").decode(errors="replace")[-2000:]
        raise EdgeError(f"the emulated Pi did not finish in {_TIMEOUT_S} s: {shown}") from error
    shown = (done.stdout + done.stderr).decode(errors="replace").replace("\r", "")
    if done.returncode:
        raise EdgeError(f"the emulated Pi broke off: {shown[-2000:]}")
    return shown


def _emulator(program: str) -> list[str]:
    """A program of Debian for this machine, run with the libraries it was built for."""
    root = roots.part("emulators")
    library = root / "usr/lib/x86_64-linux-gnu"
    (found,) = [p for p in (root / f"usr/{d}/{program}" for d in ("bin", "sbin")) if p.exists()]
    return [
        str(root / "usr/lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(library),
        str(found),
    ]
