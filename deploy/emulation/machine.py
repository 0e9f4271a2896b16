"""Boot an emulated Pi in QEMU's full-system mode: kernel, disk and 512 MiB of memory.

A Pi with ARMv6 is QEMU's board raspi0, the others are QEMU's board virt.

`deploy.emulation.table` measures with this module, deploy/tests/test_memory.py runs the conformance
suite with it, and deploy/tests/test_docs.py boots systemd.
With `-icount shift=0` QEMU advances the emulated clock by one nanosecond per instruction, whatever
the load of this machine. Therefore the Pi's clock counts instructions. The counts show regressions;
they are not the times of a real Pi.
"""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.emulation import roots
from deploy.emulation.user import Pi
from deploy.systems import System
from runtime.errors import EdgeError

MEMORY_MIB = 512  # memory of an emulated Pi, as of a Zero 2 W, the smallest supported Pi
_TIMEOUT_S = 1800  # an emulated Pi that has not powered off after this time is killed: EdgeError
# Size of the ext4 file system; enough for a system with all engines. The size of an SD card in QEMU
# is a power of two.
_DISK_MIB = 2048
_ARMV6 = "arm1176"  # QEMU's name of the processor of a raspi0
_END = b"PI-STATUS "  # begins the last line that `_START` prints
_QUOTED_LINES = 5  # last lines of the console that the error message of an endless boot quotes

# First program on the disk: runs /pi/job, prints the exit status of the job, and powers off.
_START = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/home/pi USER=pi LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
cd /home/pi
sh /pi/job
echo "PI-STATUS $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def disk(pi: Pi, files: Mapping[str, bytes], place: Path) -> None:
    """Write a disk image with the file system of a Pi.

    Args:
        pi: the Pi.
        files: additional files, path on the Pi → content. The files become executable.
        place: disk image to write; an existing image is replaced.

    Raises:
        EdgeError: The disk image cannot be made.
    """
    place.unlink(missing_ok=True)
    added = place.with_suffix(".files")
    shutil.rmtree(added, ignore_errors=True)
    for name, content in {"/pi/start": _START.encode(), **files}.items():
        path = added / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    for name in ("up", "root"):
        (pi.written / name).mkdir(parents=True, exist_ok=True)
    layers = ":".join(map(str, (added, pi.written / "up", *pi.layers)))
    # Mount the layers in a user namespace, in which all files belong to root.
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
        raise EdgeError(f"{place}: cannot make the disk of the emulated Pi: {done.stderr.strip()}")


def boot(
    system: System,
    cpu: str,
    disk: Path,
    *,
    start: str = "/pi/start",
) -> str:
    """Boot a disk image, wait until the Pi powers off, and return the output of its console.

    Args:
        system: operating system on the disk, for error messages.
        cpu: QEMU's name of the processor.
        disk: disk image; it is not changed.
        start: path of the first program: /pi/start or an init.

    Raises:
        EdgeError: The Pi did not power off within half an hour, or QEMU failed. The message is one
            line; it ends with the last lines of the console.
    """
    kernel = roots.part("kernel-armv6" if cpu == _ARMV6 else "kernel")
    options = "quiet loglevel=3 panic=-1 norandmaps console=ttyAMA0"
    if cpu == _ARMV6:
        command = [*_emulator("qemu-system-arm"), "-M", "raspi0", "-dtb", str(kernel / "dtb")]
        command += ["-drive", f"file={disk},if=sd,format=raw,snapshot=on"]
        # QEMU lacks the chip for which this part of the kernel waits.
        options += " initcall_blacklist=bcm2835_pm_driver_init"
    else:
        command = [*_emulator("qemu-system-aarch64"), "-M", "virt", "-cpu", cpu]
        command += ["-m", str(MEMORY_MIB), "-nic", "none"]
        command += ["-drive", f"file={disk},if=none,format=raw,id=card,snapshot=on"]
        command += ["-device", "virtio-blk-pci,drive=card"]
        # With page-table isolation QEMU needs a quarter more time for the same counts.
        options += " kpti=off"
    command += ["-nographic", "-no-reboot"]
    command += ["-L", str(roots.part("emulators") / "usr/share/qemu")]
    command += ["-icount", "shift=0,sleep=off"]  # one nanosecond per instruction
    command += ["-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd")]
    command += ["-append", f"{options} PI_START={start}"]
    end = time.monotonic() + _TIMEOUT_S
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as qemu:
        timer = threading.Timer(_TIMEOUT_S, qemu.kill)
        timer.start()
        try:
            assert qemu.stdout is not None
            lines = []
            for line in qemu.stdout:
                lines.append(line)
                if cpu == _ARMV6 and line.startswith(_END):
                    qemu.terminate()  # a raspi0 does not power off
                    break
            status = qemu.wait()
        finally:
            timer.cancel()
    console = b"".join(lines).decode(errors="replace").replace("\r", "")
    if status not in (0, -signal.SIGTERM):
        late = f"the emulated Pi did not power off within {_TIMEOUT_S} s"
        reason = late if time.monotonic() >= end else f"QEMU ended with status {status}"
        printed = [line.strip() for line in console.splitlines() if line.strip()]
        last = " | ".join(printed[-_QUOTED_LINES:]) or "none"
        raise EdgeError(f"{system.name} on {cpu}: {reason}; last lines of its console: {last}")
    return console


def _emulator(program: str) -> list[str]:
    """Return the command of a downloaded Debian program, run with Debian's own libraries."""
    root = roots.part("emulators")
    library = root / "usr/lib/x86_64-linux-gnu"
    (path,) = [p for p in (root / f"usr/{d}/{program}" for d in ("bin", "sbin")) if p.exists()]
    return [
        str(root / "usr/lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(library),
        str(path),
    ]
