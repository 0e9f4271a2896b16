"""Run commands on an emulated Pi in QEMU's user mode: a root folder, Arm programs run by QEMU.

`deploy.emulation.installed` and deploy/tests run commands with `Pi`. Commands run in a Linux user
namespace, which needs no root permissions. In the namespace, an overlay of the Pi's layers is
mounted as `/`. binfmt_misc, a feature of the kernel, runs every Arm program with QEMU. Since Linux
6.7, a namespace can register programs with binfmt_misc.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.emulation.debian import MissingPrerequisite
from runtime.errors import EdgeError

# QEMU program → class and machine in the ELF header of the programs it runs (elf(5)).
_ELF_CLASS_MACHINE = {
    "qemu-aarch64": (2, 0xB7),  # ELFCLASS64, EM_AARCH64
    "qemu-arm": (1, 0x28),  # ELFCLASS32, EM_ARM
}
# Script that sets up the namespace and runs a command in the namespace. Its arguments are the
# layers ($1), the folder for changes ($2) and the mount point ($3). Pairs of a path on this machine
# and a path on the Pi follow, then -- and the command.
_ENTER = r"""
set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
for line in "$PI_EMULATOR_64" "$PI_EMULATOR_32"; do
  printf %s "$line" > /proc/sys/fs/binfmt_misc/register
done
layers=$1 written=$2 root=$3
shift 3
own=upperdir=$written/up,workdir=$written/work
mount -t overlay overlay -o "userxattr,lowerdir=$layers,$own" "$root"
mkdir -p "$root/proc" "$root/dev" "$root/sys" "$root/tmp" "$root/run" "$root/home/pi"
chmod 1777 "$root/tmp"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${2%/*}"; : >> "$root$2"; fi
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2" 2>/dev/null || true
  shift 2
done
shift
unset PI_EMULATOR_64 PI_EMULATOR_32
exec chroot "$root" /usr/bin/env -C "$PI_FOLDER" "$@"
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # $PATH on the Pi

# Environment variables of this machine that an online command on the Pi gets: the proxies and the
# certificates of the package index. A command gets no other variable of this machine.
_NETWORK_VARIABLES = (
    "PIP_CERT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
)
# Files of this machine that replace those of the Pi for an online command.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
_QUOTED_CHARS = 2000  # length of the end of a command's output that an error message quotes


@dataclass
class Pi:
    """A system on a processor. Changes to the files of the Pi are stored in `written` only.

    Attributes:
        emulators: folder with QEMU's programs, from the package qemu-user.
        layers: folders that together are the root folder of the Pi, the uppermost first.
        cpu: QEMU's name of the processor.
        written: folder for the changes: an empty folder, or the folder of an earlier Pi. The
            subfolder `up` is the upper layer of the overlay.
        folders: folder or file of this machine → path on the Pi, where it is read-only.
    """

    emulators: Path
    layers: Sequence[Path]
    cpu: str
    written: Path
    folders: Mapping[Path, str] = field(default_factory=dict)

    def run(
        self,
        *command: str | os.PathLike[str],
        online: bool = False,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 3600,
        folder: str = "/home/pi",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the Pi's user and wait for it.

        Args:
            *command: program and arguments.
            online: let the command use the network of this machine.
            environment: additional environment variables.
            timeout_s: time in seconds after which the command is killed.
            folder: working directory on the Pi.

        Returns:
            The completed process, with stdout and stderr as text. A command that fails is not an
            error here; see `output`.

        Raises:
            EdgeError: The command did not end in time.
        """
        for name in ("up", "work", "root"):
            (self.written / name).mkdir(parents=True, exist_ok=True)
        shared = dict(self.folders)
        if online:
            shared |= {Path(name): name for name in _NETWORK_FILES if Path(name).exists()}
        inside = {
            "PATH": _PATH,
            "HOME": "/home/pi",
            "USER": "pi",
            "LANG": "C.UTF-8",
            "QEMU_CPU": self.cpu,
            "PI_FOLDER": folder,
            "PI_EMULATOR_64": _registration("qemu-aarch64", self.emulators),
            "PI_EMULATOR_32": _registration("qemu-arm", self.emulators),
        }
        if online:
            inside |= {name: os.environ[name] for name in _NETWORK_VARIABLES if name in os.environ}
        arguments = [
            *("unshare", "--user", "--map-root-user", "--mount", "--pid"),
            *(("--fork", "--kill-child") if online else ("--fork", "--kill-child", "--net")),
            *("sh", "-c", _ENTER, "enter", ":".join(map(str, self.layers))),
            *(str(self.written), str(self.written / "root")),
            *(str(part) for pair in shared.items() for part in pair),
            "--",
            *map(str, command),
        ]
        try:
            done = subprocess.run(
                arguments,
                env=inside | dict(environment or {}),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            printed = b"" if error.stdout is None else error.stdout
            last = printed.decode(errors="replace").strip().rpartition("\n")[2] or "none"
            raise EdgeError(
                f"{' '.join(map(str, command))} on {self.cpu}: did not end within {timeout_s:g} s; "
                f"last line of its output: {last}"
            ) from error
        finally:
            # The kernel makes this folder without permissions; with permissions, it can be deleted.
            (self.written / "work/work").chmod(0o700)
        return done


def output(done: subprocess.CompletedProcess[str]) -> str:
    """Return the standard output of a command.

    Args:
        done: the completed process, from `Pi.run`.

    Raises:
        EdgeError: The command failed; the message ends with its output.
    """
    if done.returncode:
        printed = (done.stdout + done.stderr).strip()[-_QUOTED_CHARS:]
        raise EdgeError(f"{done.args[-1]}: exit status {done.returncode}: {printed}")
    return done.stdout


def require_namespaces() -> None:
    """Check that this machine can run `Pi.run`.

    Raises:
        MissingPrerequisite: The machine is not Linux on x86-64, or lacks the program unshare, user
            namespaces, or binfmt_misc in user namespaces.
    """
    if platform.machine() != "x86_64" or not shutil.which("unshare"):
        raise MissingPrerequisite(
            "the emulators need Linux on x86-64 and the program unshare (util-linux)"
        )
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc",
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise MissingPrerequisite(
            f"no user namespace with binfmt_misc ({done.stderr.strip()}): install Linux 6.7 or "
            "newer with the module binfmt_misc, and unprivileged user namespaces (Ubuntu: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
        )


def _registration(program: str, emulators: Path) -> str:
    """Return the line that registers a QEMU program with binfmt_misc (Linux, admin-guide)."""
    elf_class, machine = _ELF_CLASS_MACHINE[program]
    # ELF header: magic, class, little-endian, version, padding, type (2 executable), machine
    header = bytes([0x7F, *b"ELF", elf_class, 1, 1, *[0] * 9, 2, 0, machine, 0])
    # Ignore the ABI (byte 7) and the lowest bit of the type (3 is a shared object).
    mask = bytes([*[255] * 7, 0, *[255] * 8, 0xFE, *[255] * 3])
    magic, mask_text = ("".join(f"\\x{byte:02x}" for byte in part) for part in (header, mask))
    return f":{program}:M::{magic}:{mask_text}:{emulators / 'usr/bin' / program}:PF"
