"""Install every engine on the emulated Pis with install-pi.sh, as an overlay layer of each system.

An overlay layer is a folder with the files that a step adds to the file system of a Pi.
`deploy.emulation.__main__` calls `install`. deploy/tests and `deploy.emulation.table` then use the
Pis of `freshly_flashed` and `with_engines`.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.emulation import roots
from deploy.emulation.user import Pi, output
from deploy.systems import System
from deploy.wheels import CHECKOUT

INSTALLER = "/srv/deploy/install-pi.sh"  # path of the installer on an emulated Pi


def install(system: System) -> None:
    """Install each engine of a system into /home/pi/ENGINE.

    Nothing is installed again if the system, the wheels and the installer are the same as before.

    Raises:
        EdgeError: install-pi.sh failed; the message ends with its output.
    """
    place = _place(system)
    stamp = place.with_name(f"{place.name}.json")
    sources = [
        Path(__file__),
        CHECKOUT / "deploy/install-pi.sh",
        roots.CACHE / f"systems/{system.name}.json",
    ]
    sources += sorted((roots.CACHE / "wheels" / system.name).iterdir())
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sources]
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
    # The maintainer scripts of Debian's packages, which are not run, would compile Python modules.
    # Here the installations compiled these modules: move the bytecode into two layers, which all
    # other Pis use.
    for part, folder in (("flashed", "python3.*"), ("apt", "python3")):
        layer = place / "compiled" / part / "usr/lib"
        layer.mkdir(parents=True)
        for compiled in (place / "up/usr/lib").glob(folder):
            compiled.rename(layer / compiled.name)
    stamp.write_text(json.dumps(digests))


def with_engines(
    system: System, cpu: str, written: Path, folders: Mapping[Path, str] | None = None
) -> Pi:
    """Return a Pi with all engines of the system, which `install` must have installed before.

    Args:
        system: operating system.
        cpu: QEMU's name of the processor.
        written: folder for the changes, as in `Pi`.
        folders: folder or file of this machine → path on the Pi; None for none.
    """
    pi = roots.pi(system, cpu, written, above=[_place(system) / "up", *_compiled(system, apt=True)])
    pi.folders = {**pi.folders, **(folders or {})}
    return pi


def freshly_flashed(system: System, cpu: str, written: Path, *, apt: bool) -> Pi:
    """Return a Pi without the runtime.

    Args:
        system: operating system.
        cpu: QEMU's name of the processor.
        written: folder for the changes, as in `Pi`.
        apt: add the apt packages that docs/raspberry-pi.md installs.
    """
    return roots.pi(system, cpu, written, apt=apt, above=_compiled(system, apt=apt))


def compiled_by_apt(system: System) -> Path:
    """Return the layer with the bytecode of the apt packages that docs/raspberry-pi.md installs."""
    return _place(system) / "compiled/apt"


def size_bytes(system: System, engine: str) -> int:
    """Return the size in bytes of an engine, the runtime and the models, without bytecode.

    Args:
        system: operating system.
        engine: name of the extra of the engine, such as "litert"; `install` must have installed it.
    """
    environment = _place(system) / "up/home/pi" / engine
    files = [f for f in environment.rglob("*") if "__pycache__" not in f.parts]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def python(engine: str) -> str:
    """Return the path, on the Pi, of the Python interpreter with an engine.

    Args:
        engine: name of the extra of the engine, such as "litert".
    """
    return f"/home/pi/{engine}/env/bin/python"


def _place(system: System) -> Path:
    return roots.part("installed", system.name)


def _compiled(system: System, *, apt: bool) -> list[Path]:
    flashed = _place(system) / "compiled/flashed"
    return [compiled_by_apt(system), flashed] if apt else [flashed]
