"""python -m deploy.bundle: one folder that installs the runtime on any Raspberry Pi, offline."""

import argparse
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy import wheels
from deploy.systems import SYSTEMS
from runtime.cli.exit_status import exit_status
from runtime.errors import printable
from runtime.system import atomic_write

_HERE = Path(__file__).parent
# A folder that holds the installer and nothing but these was written by this command. The
# checkout's own `deploy` holds the installer too, and more.
_INSTALLER = "install-pi.sh"
_OURS = (_INSTALLER, "systemd/*.service", "wheels/*.whl")


def main(argv: list[str] | None = None) -> int:
    """Make the folder and say how to use it."""
    arguments = parse_args(argv)
    bundle(arguments.out)
    print(f"scp -r {printable(str(arguments.out))} pi@raspberrypi.local:")
    return 0


def bundle(out: Path) -> None:
    """Put the installer, its units and every system's wheels into a folder, whole or not at all.

    Raises:
        EdgeError: the folder holds other things or cannot be written, or the wheels cannot be had.
    """
    with atomic_write.atomic_folder(out, _OURS, {_INSTALLER}) as fresh:
        place = fresh / "wheels"
        # Each into a folder of its own: systems share wheels, and pip replaces a file that
        # is there.
        with ThreadPoolExecutor(len(SYSTEMS)) as pool:
            list(pool.map(lambda system: wheels.download(system, place / system.name), SYSTEMS))
        for file in place.glob("*/*.whl"):
            file.replace(place / file.name)
        for system in SYSTEMS:
            (place / system.name).rmdir()
        wheels.project(place)
        shutil.copy2(_HERE / _INSTALLER, fresh)
        shutil.copytree(_HERE / "systemd", fresh / "systemd")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.bundle",
        description="Put the installer and the wheels of every Raspberry Pi OS into one folder, "
        "to be copied to the Pi and installed there without a network.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("digit-edge-pi"),
        metavar="FOLDER",
        help="default: digit-edge-pi",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
