"""Copy the kernel, and build the initramfs, that boot an emulated Raspberry Pi from its disk.

`deploy.emulation.roots` calls `make_kernel`; `deploy.emulation.machine` boots the result.
"""

import gzip
import lzma
import shutil
from collections.abc import Sequence
from pathlib import Path

# First program of the initramfs. It loads modules of the kernel, mounts the disk (ext4) and starts
# the program on it that $PI_START names. `deploy.emulation.machine` passes that variable on the
# kernel's command line.
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc
for module in MODULES; do /bin/busybox insmod /$module.ko; done
/bin/busybox mount -t devtmpfs dev /dev
while [ ! -e /dev/DISK ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/DISK /new
/bin/busybox mount -t devtmpfs dev /new/dev
exec /bin/busybox switch_root /new "$PI_START"
"""
_DEVICE_TREE = "bcm2835-rpi-zero-w.dtb"  # in Debian's kernel for ARMv6: the hardware of a Zero W


def make_kernel(unpacked: Path, modules: Sequence[str], disk: str, place: Path) -> None:
    """Write `vmlinuz` and `initrd` into a folder; for ARMv6, also `dtb`, the device tree.

    Args:
        unpacked: folder with Debian's unpacked packages linux-image-… and busybox-static.
        modules: names of the kernel's modules that the disk needs, in the order of loading.
        disk: name of the disk's device in /dev.
        place: folder to write to.
    """
    (image,) = unpacked.glob("boot/vmlinuz-*")
    shutil.copy2(image, place / "vmlinuz")
    for device_tree in unpacked.rglob(_DEVICE_TREE):
        shutil.copy2(device_tree, place / "dtb")
    init = _INIT.replace("MODULES", " ".join(modules)).replace("DISK", disk)
    members = {
        "bin": None,
        "bin/busybox": (unpacked / "usr/bin/busybox").read_bytes(),
        "init": init.encode(),
        **{f"{name}.ko": _module(unpacked, name) for name in modules},
    }
    archive = b"".join(_member(name, content) for name, content in members.items())
    with gzip.open(place / "initrd", "wb") as file:
        file.write(archive + _member("TRAILER!!!", b""))


def _module(unpacked: Path, name: str) -> bytes:
    """Return a module of the kernel, which some kernels contain compressed."""
    (file,) = unpacked.rglob(f"{name}.ko*")
    data = file.read_bytes()
    return lzma.decompress(data) if file.suffix == ".xz" else data


def _member(name: str, content: bytes | None) -> bytes:
    """Return a member of a cpio archive in "newc" format (cpio(5)).

    Args:
        name: path in the archive.
        content: content of the file, which becomes executable; None for a folder.
    """
    mode = 0o040755 if content is None else 0o100755
    content = content or b""
    # inode, mode, uid, gid, links, mtime, size, 4 device numbers, length of the name, checksum
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
