"""Debian's cross compilers and QEMU, unpacked into a folder and run there without root."""

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.emulation import debian
from deploy.emulation.debian import MissingPrerequisite, Suite
from deploy.wheels import CHECKOUT
from runtime.errors import EdgeError

CACHE = CHECKOUT / ".pi/mcu"
SUITE = Suite("bookworm", "amd64")
PACKAGES = (
    "gcc-arm-none-eabi",
    "gcc-riscv64-unknown-elf",
    "qemu-system-arm",
    "qemu-system-misc",
)
# $1 the root, $2 the folder of this machine that is /build in it; then the command.
_ENTER = r"""
set -e
mkdir -p "$1/dev" "$1/tmp" "$1/build"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/build"
root=$1
shift 2
exec unshare --root="$root" --wd=/build "$@"
"""


class Toolchain:
    """The unpacked programs, or without `root` this machine's; they work in `folder`."""

    def __init__(self, root: Path | None, folder: Path) -> None:
        self._root = root
        self._folder = folder

    def run(self, command: Sequence[str], timeout_s: float = 600) -> str:
        """Run a program and return what it printed (QEMU prints on standard error).

        Raises:
            EdgeError: it failed; the message ends with what it printed.
        """
        enter: list[str] = []
        if self._root is not None:
            enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ENTER, "enter"]
            enter += [str(self._root), str(self._folder)]
        done = subprocess.run(
            [*enter, *command],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
        )
        if done.returncode:
            printed = done.stdout.strip()[-2000:]
            raise EdgeError(f"{' '.join(command)}: status {done.returncode}: {printed}")
        return done.stdout


def install() -> Path:
    """Fetch and unpack the packages, unless that was done before; return their root folder.

    Raises:
        MissingPrerequisite: not Linux on x86-64, or apt, unshare or the network is missing.
    """
    if platform.machine() != "x86_64" or not shutil.which("unshare"):
        raise MissingPrerequisite(
            "the emulators are for Linux on x86-64, with unshare (util-linux)"
        )
    root, stamp = CACHE / "root", CACHE / "root.json"
    recipe = json.dumps([SUITE.name, *PACKAGES])
    if stamp.exists() and stamp.read_text() == recipe:
        return root
    stamp.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    apt = CACHE / "debian"
    print(f"fetching {', '.join(PACKAGES)} (Debian {SUITE.name}) into {CACHE}", flush=True)
    (archives,) = debian.fetch(SUITE, apt, PACKAGES)
    debian.unpack(archives, root)
    shutil.rmtree(apt)
    stamp.write_text(recipe)
    return root
