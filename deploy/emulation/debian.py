"""Debian's packages of any suite and architecture, fetched and unpacked without installing any."""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import EdgeError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What is linked to /usr since Debian 12; a package of Bookworm may still ship either name.
_MERGED = ("bin", "sbin", "lib", "lib64")
# What nothing that runs reads: nearly a quarter of Trixie's files.
_LEFT_OUT = [f"--exclude=./usr/share/{name}/*" for name in ("man", "locale", "info", "lintian")]
_NEEDS = "apt-get install apt dpkg debian-archive-keyring"


class NotHere(EdgeError):
    """This machine lacks what an emulated Pi is made of."""


@dataclass(frozen=True)
class Suite:
    """A release of Debian, for one architecture."""

    name: str
    architecture: str


@functools.cache
def mirror() -> str:
    """The address Debian is fetched from: $DEBIAN_MIRROR, else the one apt is configured with.

    Raises:
        NotHere: this machine has no apt, or fetches its packages from no mirror of Debian.
    """
    if "DEBIAN_MIRROR" in os.environ:
        return os.environ["DEBIAN_MIRROR"]
    for program in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(program):
            raise NotHere(f"no {program} here, which unpacks Debian's packages: {_NEEDS}")
    sources = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for address in sources.split():
        if address.rstrip("/").endswith("/debian"):
            return address
    raise NotHere("apt is configured with no mirror of Debian: name one in $DEBIAN_MIRROR")


def fetch(suite: Suite, folder: Path, *wanted: Sequence[str]) -> list[list[Path]]:
    """Download packages with all they depend on into a private apt directory, `folder`.

    Args:
        wanted: one or more lists of packages; the last contains the others.

    Returns:
        For each list the .deb files, as many as apt would install on an empty machine.

    Raises:
        NotHere: apt, its keyring or the network is missing.
    """
    if not Path(KEYRING).exists():
        raise NotHere(f"{KEYRING} is missing: {_NEEDS}")
    environment = _private_apt(suite, mirror(), folder)
    _run(["apt-get", "update", "-qq"], environment)
    install = ["apt-get", "install", "-qq", "--yes"]
    # Where nothing is cached, all of them are listed.
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
    """Unpack .deb files into a folder that is laid out as Debian's: /bin is /usr/bin, and so on."""
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    extract = ["tar", "-x", *_LEFT_OUT, "--keep-directory-symlink", "--no-same-owner"]
    for archive in archives:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
        ) as content:
            subprocess.run(extract, stdin=content.stdout, cwd=root, check=True)
        if content.returncode:
            raise NotHere(f"{archive} cannot be unpacked: remove it and try again")


def _private_apt(suite: Suite, address: str, folder: Path) -> dict[str, str]:
    """Lay out an apt directory of its own, with the machine's way to the network."""
    folder = folder.absolute()
    for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state/status").touch()
    (folder / "etc/sources.list").write_text(
        f"deb [signed-by={KEYRING}] {address} {suite.name} main\n"
    )
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise NotHere(f"{' '.join(command[:2])}: {reason}; check the network and apt's sources")
    return done.stdout
