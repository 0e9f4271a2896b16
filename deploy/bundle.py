"""Build the folder that installs the runtime on any Raspberry Pi, without a network.

The folder contains install-pi.sh, the systemd units, and the wheels of every system in
`deploy.systems`. The command is `python -m deploy.bundle`.
"""

import argparse
import hashlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy import wheels
from deploy.systems import SYSTEMS
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import printable
from runtime.system import atomic_write

_HERE = Path(__file__).parent  # the folder `deploy` of the repository
_INSTALLER = "install-pi.sh"  # name of the installer, in `deploy` and in a bundle
# Patterns of all files in a bundle. An existing folder is replaced only if it contains the
# installer and only files of these patterns; otherwise EdgeError is raised. This protects the
# folder `deploy` of the repository, which contains further files.
_BUNDLE_FILES = (
    _INSTALLER,
    "systemd/*.service",
    "systemd/*.conf",
    "wheels/*.whl",
    "wheels/SHA256SUMS",
)


def main(argv: list[str] | None = None) -> int:
    """Build the folder and print the command that copies it to a Pi."""
    arguments = parse_args(argv)
    bundle(arguments.out)
    print(f"scp -r {printable(str(arguments.out))} pi@raspberrypi.local:")
    return 0


def bundle(out: Path) -> None:
    """Write the installer, the systemd units and all wheels into a folder, atomically.

    Args:
        out: folder to write; an earlier bundle in this folder is replaced.

    Raises:
        EdgeError: The folder contains files that are not of a bundle, or cannot be written. Or pip
            cannot download or build a wheel.
    """
    with atomic_write.atomic_folder(out, _BUNDLE_FILES, {_INSTALLER}) as bundle_folder:
        wheel_folder = bundle_folder / "wheels"
        # Download into one folder per system: several systems need the same wheels, and parallel
        # downloads to one folder would overwrite each other.
        with ThreadPoolExecutor(len(SYSTEMS)) as pool:
            list(pool.map(lambda s: wheels.download(s, wheel_folder / s.name), SYSTEMS))
        for file in wheel_folder.glob("*/*.whl"):
            file.replace(wheel_folder / file.name)
        for system in SYSTEMS:
            (wheel_folder / system.name).rmdir()
        wheels.project(wheel_folder)
        sums = [
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
            for file in sorted(wheel_folder.glob("*.whl"))
        ]
        # The installer checks it: the folder may have been damaged on its way to the Pi.
        (wheel_folder / "SHA256SUMS").write_text("".join(sums))
        shutil.copy2(_HERE / _INSTALLER, bundle_folder)
        shutil.copytree(_HERE / "systemd", bundle_folder / "systemd")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = CommandParser(
        "python -m deploy.bundle",
        "Write the installer and the wheels of every Raspberry Pi OS into one folder. "
        "Copy it to a Pi and install there without a network.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("digit-edge-pi"),
        metavar="FOLDER",
        help="folder to write (default: %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
