"""A Pi in user mode: commands run in its root folder, each program through QEMU.

A user namespace stands in for root: in it the folder becomes `/` with a layer of its own on top,
and the kernel hands every Arm program to QEMU (binfmt_misc, which namespaces have since Linux 6.7).
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.emulation.debian import NotHere
from runtime.errors import EdgeError

# How an ELF program for Arm begins: class, byte order, type (executable or shared), machine.
_MAGIC = {
    "qemu-aarch64": (2, 0xB7),
    "qemu-arm": (1, 0x28),
}
# $1 the layers, $2 what is written, $3 the mount point; then pairs of folders, --, the command.
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
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How this machine reaches its package index; the rest of its environment stays outside.
_NETWORK = ("PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")


@dataclass
class Pi:
    """A system on a processor; what is written on it stays in `written` and nowhere else.

    Attributes:
        emulators: the folder with QEMU's static programs.
        layers: root folders, the uppermost first.
        cpu: QEMU's name of the processor.
        written: an empty folder, or that of an earlier run.
        folders: folders and files of this machine, and where they are on the Pi.
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

        Raises:
            NotHere: this machine's kernel lets nobody do so.
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
            inside |= {name: os.environ[name] for name in _NETWORK if name in os.environ}
        done = subprocess.run(
            [
                *("unshare", "--user", "--map-root-user", "--mount", "--pid"),
                *(("--fork", "--kill-child") if online else ("--fork", "--kill-child", "--net")),
                *("sh", "-c", _ENTER, "enter", ":".join(map(str, self.layers))),
                *(str(self.written), str(self.written / "root")),
                *(str(part) for pair in shared.items() for part in pair),
                "--",
                *map(str, command),
            ],
            env=inside | dict(environment or {}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
        # The kernel's own folder, which nobody could remove else.
        (self.written / "work/work").chmod(0o700)
        return done


def output(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output of a command that has to have succeeded.

    Raises:
        EdgeError: it failed; the message ends with what it said.
    """
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise EdgeError(f"{done.args[-1]}: status {done.returncode}: {said}")
    return done.stdout


def require_namespaces() -> None:
    """Raise NotHere unless this machine and its kernel offer what `Pi.run` stands on."""
    if platform.machine() != "x86_64" or not shutil.which("unshare"):
        raise NotHere("the emulators are for Linux on x86-64, with unshare (util-linux)")
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
        raise NotHere(
            f"no user namespace with binfmt_misc ({done.stderr.strip()}): it takes Linux 6.7 or "
            "newer, its module binfmt_misc, and unprivileged user namespaces (Ubuntu: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
        )


def _registration(program: str, emulators: Path) -> str:
    bits, machine = _MAGIC[program]
    start = bytes([0x7F, *b"ELF", bits, 1, 1, *[0] * 9, 2, 0, machine, 0])
    mask = bytes([*[255] * 7, 0, *[255] * 8, 0xFE, *[255] * 3])
    magic, kept = ("".join(f"\\x{byte:02x}" for byte in text) for text in (start, mask))
    return f":{program}:M::{magic}:{kept}:{emulators / 'usr/bin' / program}:PF"
