"""Install Debian's cross compilers and QEMU in a folder, and run them without root privileges.

`deploy.mcu` compiles and emulates with these programs.
"""

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

CACHE = CHECKOUT / ".pi/mcu"  # folder of the unpacked packages
_MESSAGE_CHARACTERS = 2000  # an error message contains at most this much output, the end of it
SUITE = Suite("bookworm", "amd64")
PACKAGES = (
    "gcc-arm-none-eabi",
    "gcc-riscv64-unknown-elf",
    "qemu-system-arm",
    "qemu-system-misc",
)
# Shell script that runs a command in the unpacked root folder. Its arguments are: $1 = root
# folder, $2 = folder that the command sees as /build, then the command.
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
    """Run compilers and QEMU in one working folder."""

    def __init__(self, root: Path | None, folder: Path) -> None:
        """Select the programs.

        Args:
            root: the folder from `install`; None to use the programs installed on this machine.
            folder: the working folder of all commands.
        """
        self._root = root
        self._folder = folder

    def run(self, command: Sequence[str], timeout_s: float = 600) -> str:
        """Run a program and return its output, standard error included.

        Args:
            command: the program and its arguments.
            timeout_s: after this time the program is killed.

        Raises:
            EdgeError: the program's exit status is not 0, and the message contains its output; or
                the program ran longer than `timeout_s`.
        """
        enter: list[str] = []
        if self._root is not None:
            enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ENTER, "enter"]
            enter += [str(self._root), str(self._folder)]
        try:
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
        except subprocess.TimeoutExpired as error:
            raise EdgeError(f"{' '.join(command)}: did not end within {timeout_s:g} s") from error
        if done.returncode:
            printed = done.stdout.strip()[-_MESSAGE_CHARACTERS:]
            raise EdgeError(
                f"{' '.join(command)}: exit status {done.returncode}; output: {printed}"
            )
        return done.stdout


def install() -> Path:
    """Download and unpack `PACKAGES` of `SUITE`, unless they are already installed.

    Returns:
        The root folder of the unpacked packages.

    Raises:
        MissingPrerequisite: this machine is not x86-64 Linux, apt or unshare is missing, or the
            packages cannot be downloaded.
    """
    if platform.machine() != "x86_64" or not shutil.which("unshare"):
        raise MissingPrerequisite(
            "the compilers and QEMU need Linux on x86-64 and the program unshare (util-linux)"
        )
    root, stamp = CACHE / "root", CACHE / "root.json"
    recipe = json.dumps([SUITE.name, *PACKAGES])
    if stamp.exists() and stamp.read_text() == recipe:
        return root
    stamp.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    apt = CACHE / "debian"
    print(f"downloading {', '.join(PACKAGES)} (Debian {SUITE.name}) into {CACHE}", flush=True)
    (archives,) = debian.fetch(SUITE, apt, PACKAGES)
    debian.unpack(archives, root)
    shutil.rmtree(apt)
    stamp.write_text(recipe)
    return root
