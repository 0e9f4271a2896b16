"""Every engine of a system, installed from wheels by install-pi.sh: a layer above the system."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.emulation import roots
from deploy.emulation.user import Pi, output
from deploy.systems import System
from deploy.wheels import CHECKOUT

INSTALLER = "/srv/deploy/install-pi.sh"


def install(system: System) -> None:
    """Install each engine into /home/pi/ENGINE, unless this very wheel is there already.

    Raises:
        EdgeError: the installer failed; the message ends with what it said.
    """
    place = _place(system)
    stamp = place.with_name(f"{place.name}.json")
    made_from = [
        Path(__file__),
        CHECKOUT / "deploy/install-pi.sh",
        roots.CACHE / f"systems/{system.name}.json",
    ]
    made_from += sorted((roots.CACHE / "wheels" / system.name).iterdir())
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in made_from]
    if stamp.exists() and stamp.read_text() == json.dumps(digests):
        return
    print(f"installing on {system.name}", flush=True)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    pi = roots.pi(system, system.cpus[0], place)
    pi.folders = {**pi.folders, CHECKOUT / "deploy": "/srv/deploy"}
    for engine in system.engines:
        options = ("--engine", engine, "--dir", f"/home/pi/{engine}", "--wheels", "/srv/wheels")
        output(pi.run("sh", INSTALLER, *options))
    # The scripts of Debian's packages, which were not run, would have compiled Python's modules.
    # Those that an installation imports are compiled by now: for every other Pi, in two layers.
    for part, folder in (("flashed", "python3.*"), ("apt", "python3")):
        layer = place / "compiled" / part / "usr/lib"
        layer.mkdir(parents=True)
        for found in (place / "up/usr/lib").glob(folder):
            found.rename(layer / found.name)
    stamp.write_text(json.dumps(digests))


def with_engines(
    system: System, cpu: str, written: Path, folders: Mapping[Path, str] | None = None
) -> Pi:
    """A Pi with all its engines installed.

    Args:
        folders: folders and files of this machine, and where they are on the Pi.
    """
    pi = roots.pi(system, cpu, written, above=[_place(system) / "up", *_compiled(system, apt=True)])
    pi.folders = {**pi.folders, **(folders or {})}
    return pi


def freshly_flashed(system: System, cpu: str, written: Path, *, apt: bool) -> Pi:
    """A Pi without the runtime; with `apt`, what the documentation installs by apt is there."""
    return roots.pi(system, cpu, written, apt=apt, above=_compiled(system, apt=apt))


def compiled_by_apt(system: System) -> Path:
    """What apt would have compiled, as a layer, of the packages that the documentation names."""
    return _place(system) / "compiled/apt"


def size_bytes(system: System, engine: str) -> int:
    """What an engine, the runtime and its models take on the disk, without compiled Python."""
    environment = _place(system) / "up/home/pi" / engine
    files = [f for f in environment.rglob("*") if "__pycache__" not in f.parts]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def python(engine: str) -> str:
    """The interpreter of an engine's environment."""
    return f"/home/pi/{engine}/env/bin/python"


def _place(system: System) -> Path:
    return roots.part("installed", system.name)


def _compiled(system: System, *, apt: bool) -> list[Path]:
    flashed = _place(system) / "compiled/flashed"
    return [compiled_by_apt(system), flashed] if apt else [flashed]
