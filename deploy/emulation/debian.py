"""Download Debian packages with their dependencies and unpack them into a folder, without root.

From such packages, `deploy.emulation.roots` builds the root folders of the emulated Pis, QEMU and
the kernel.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import EdgeError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"  # keys that verify Debian's packages
# Folders of / that are symbolic links into /usr since Debian 12 (merged-/usr). A package of
# Bookworm may contain files in /bin as well as in /usr/bin.
_MERGED = ("bin", "sbin", "lib", "lib64")
# Options of tar: do not unpack documentation and translations, nearly a quarter of Trixie's files.
_TAR_EXCLUDES = [f"--exclude=./usr/share/{name}/*" for name in ("man", "locale", "info", "lintian")]
_REMEDY = "apt-get install apt dpkg debian-archive-keyring"  # quoted if a program is missing


class MissingPrerequisite(EdgeError):
    """This machine lacks a program, a kernel feature or a network that emulated Pis need."""


@dataclass(frozen=True)
class Suite:
    """A release of Debian for one architecture.

    Attributes:
        name: name of the release, such as "trixie".
        architecture: Debian's name of the architecture, such as "arm64".
    """

    name: str
    architecture: str


@functools.cache
def mirror() -> str:
    """Return the URL of a Debian mirror: $DEBIAN_MIRROR, otherwise the first in apt's sources.

    Raises:
        MissingPrerequisite: A program is missing, or apt's sources do not name a Debian mirror.
    """
    if "DEBIAN_MIRROR" in os.environ:
        return os.environ["DEBIAN_MIRROR"]
    for program in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(program):
            raise MissingPrerequisite(f"{program} is missing: {_REMEDY}")
    sources = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for url in sources.split():
        if url.rstrip("/").endswith("/debian"):
            return url
    raise MissingPrerequisite(
        "apt's sources do not name a Debian mirror: set DEBIAN_MIRROR to the URL of a mirror"
    )


def fetch(suite: Suite, folder: Path, *wanted: Sequence[str]) -> list[list[Path]]:
    """Download packages with their dependencies into a private apt directory.

    Args:
        suite: release and architecture of the packages.
        folder: the apt directory; created if it is missing.
        wanted: one or more lists of package names. The last list must contain all names of the
            other lists.

    Returns:
        For each list, the paths of the .deb files that apt would install on an empty system.

    Raises:
        MissingPrerequisite: apt, its keyring or the network is missing.
    """
    if not Path(KEYRING).exists():
        raise MissingPrerequisite(f"{KEYRING} is missing: {_REMEDY}")
    environment = _private_apt(suite, mirror(), folder)
    _run(["apt-get", "update", "-qq"], environment)
    install = ["apt-get", "install", "-qq", "--yes"]
    # With an empty cache apt lists the URI of every package; it omits cached packages.
    uris = ["--print-uris", "-o", "Dir::Cache::archives=none/"]
    listed = [_run([*install, *packages, *uris], environment) for packages in wanted]
    _run([*install, *wanted[-1], "--download-only"], environment)
    return [
        [
            folder / "cache/archives" / name
            for name in sorted(line.split()[1] for line in text.splitlines() if line[0] == "'")
        ]
        for text in listed
    ]


def unpack(archives: Sequence[Path], root: Path) -> None:
    """Unpack .deb files into a root folder with merged /usr: /bin links to /usr/bin, and so on.

    Args:
        archives: paths of the .deb files.
        root: the root folder; created if it is missing.

    Raises:
        MissingPrerequisite: An archive is damaged.
        subprocess.CalledProcessError: tar cannot write the files.
    """
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    extract = ["tar", "-x", *_TAR_EXCLUDES, "--keep-directory-symlink", "--no-same-owner"]
    for archive in archives:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
        ) as content:
            subprocess.run(extract, stdin=content.stdout, cwd=root, check=True)
        if content.returncode:
            raise MissingPrerequisite(f"{archive} cannot be unpacked: delete it and try again")


def _private_apt(suite: Suite, url: str, folder: Path) -> dict[str, str]:
    """Create a private apt directory that uses this machine's proxies and credentials.

    Returns:
        Environment variables that make apt-get use this directory.
    """
    folder = folder.absolute()
    for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state/status").touch()
    (folder / "etc/sources.list").write_text(f"deb [signed-by={KEYRING}] {url} {suite.name} main\n")
    acquire = _run(["apt-config", "dump", "Acquire"]).splitlines()
    proxies = [line for line in acquire if "::proxy" in line.lower() or "::https::" in line.lower()]
    configuration = folder / "apt.conf"
    configuration.write_text(
        "\n".join(
            [
                f'Dir "{folder}";',
                'Dir::Etc "etc/";',
                'Dir::Etc::netrc "/etc/apt/auth.conf";',
                'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";',
                'Dir::State "state/";',
                f'Dir::State::status "{folder}/state/status";',
                'Dir::Cache "cache/";',
                f'APT::Architecture "{suite.architecture}";',
                f'APT::Architectures {{ "{suite.architecture}"; }};',
                'APT::Install-Recommends "false";',
                'Acquire::Languages "none";',
                'Acquire::Retries "3";',
                *proxies,
                "",
            ]
        )
    )
    return os.environ | {"APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"}


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Return a command's standard output; raise MissingPrerequisite if the command fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise MissingPrerequisite(
            f"{' '.join(command[:2])}: {reason}; check the network and apt's sources"
        )
    return done.stdout
