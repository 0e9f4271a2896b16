"""Copy the kernel, and build the initramfs, that boot an emulated Raspberry Pi from a virtio disk.

`deploy.emulation.roots` calls `make_kernel`; `deploy.emulation.machine` boots the result.
"""

import gzip
import lzma
import shutil
from pathlib import Path

# First program of the initramfs. It mounts the disk /dev/vda (ext4) and starts the program on it
# that $PI_START names. `deploy.emulation.machine` passes that variable on the kernel's command
# line.
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc proc /proc
/bin/busybox insmod /virtio_blk.ko
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -t devtmpfs dev /new/dev
exec /bin/busybox switch_root /new "$PI_START"
"""


def make_kernel(kernel: Path, busybox: Path, place: Path) -> None:
    """Write `vmlinuz` and `initrd` for arm64 into a folder.

    Args:
        kernel: folder with Debian's unpacked package linux-image-….
        busybox: folder with Debian's unpacked package busybox-static.
        place: folder to write to.
    """
    (image,) = kernel.glob("boot/vmlinuz-*")
    shutil.copy2(image, place / "vmlinuz")
    (module,) = kernel.rglob("virtio_blk.ko.xz")
    members = {
        "bin": None,
        "bin/busybox": (busybox / "usr/bin/busybox").read_bytes(),
        "init": _INIT.encode(),
        "virtio_blk.ko": lzma.decompress(module.read_bytes()),
    }
    archive = b"".join(_member(name, content) for name, content in members.items())
    with gzip.open(place / "initrd", "wb") as file:
        file.write(archive + _member("TRAILER!!!", b""))


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
