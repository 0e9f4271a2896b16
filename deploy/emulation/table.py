"""Measure the engines on emulated Pis and compare the figures with a baseline.

`deploy.emulation.__main__` calls this module. The figures are instructions per inference and per
start, resident memory and installed size. The module writes the figures
to pi.json and, as a table, to pi.md.
"""

import dataclasses
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.emulation import installed, machine
from deploy.systems import System
from deploy.wheels import CHECKOUT
from runtime.errors import EdgeError
from runtime.system import atomic_write

SCHEMA_VERSION = 1  # version of pi.json; a file with another version raises EdgeError
BASELINE = CHECKOUT / "benchmarks/results/pi.json"  # the figures that new figures are compared with
# Quoted in messages if a figure is worse or the baseline is damaged.
REMEDY = "make a new baseline: .venv-pi/bin/python -m deploy.emulation --measure --baseline"
MAX_INCREASE_SHARE = 0.02  # share of the baseline's figure; a larger increase fails the comparison
_QUOTED_CHARS = 2000  # length of the end of the console output that an error message quotes
# Processor → boards with this processor, for the table.
_BOARDS = {
    "cortex-a53": "Pi 3, Zero 2 W",
    "cortex-a72": "Pi 4",
    "cortex-a76": "Pi 5",
    "arm1176": "Pi 1, Zero, Zero W",
}
# Field of `Row` → title of its column. A lower figure is always better.
_TITLES = {
    "inference_float32": "float32, M instructions",
    "inference_int8": "int8, M instructions",
    "start_instructions": "start, M instructions",
    "resident_bytes": "resident, MB",
    "installed_bytes": "installed, MB",
}


@dataclass(frozen=True)
class Row:
    """Figures of one engine on one system and processor.

    Attributes:
        system: name of the system.
        cpu: QEMU's name of the processor.
        engine: name of the extra of digit-edge that installs the engine, such as "litert".
        absent: reason why the engine is not available, and all figures are 0. Empty if the engine
            was measured.
        version: version of the engine.
        inference_float32: instructions per image with the float32 model, in batches of one image on
            one thread; 0 if the engine has no float32 model.
        inference_int8: the same figure with the int8 model.
        start_instructions: instructions of `digit-edge classify PICTURE`, from exec to exit, with
            all files cached.
        resident_bytes: peak resident memory of `digit-edge classify PICTURE`.
        installed_bytes: size of the folder that install-pi.sh makes, without bytecode.
    """

    system: str
    cpu: str
    engine: str
    absent: str = ""
    version: str = ""
    inference_float32: int = 0
    inference_int8: int = 0
    start_instructions: int = 0
    resident_bytes: int = 0
    installed_bytes: int = 0

    @property
    def name(self) -> str:
        """System, processor and engine, separated by spaces."""
        return f"{self.system} {self.cpu} {self.engine}"


def make_disk(system: System, folder: Path) -> Path:
    """Write the disk image that `measure` boots on each processor of a system.

    Args:
        system: operating system; all its engines must be installed (`deploy.emulation.installed`).
        folder: an empty folder to write to.

    Returns:
        The path of the disk image.

    Raises:
        EdgeError: The disk image cannot be made.
    """
    job = f"exec python3 /pi/measure.py {' '.join(system.engines)}"
    guest = Path(__file__).parent / "guest/measure.py"
    files = {
        "/pi/job": job.encode(),
        "/pi/measure.py": guest.read_bytes(),
        "/pi/digit.png": _digit(),
    }
    pi = installed.with_engines(system, system.cpus[0], folder)
    machine.disk(pi, files, folder / "disk")
    return folder / "disk"


def measure(system: System, cpu: str, disk: Path) -> list[Row]:
    """Boot a system with 512 MiB and measure each of its engines.

    Args:
        system: operating system.
        cpu: QEMU's name of the processor.
        disk: disk image made by `make_disk`.

    Returns:
        One row per engine, including the engines that do not exist for the system.

    Raises:
        EdgeError: The system does not boot, or a command on the system fails.
    """
    console = machine.boot(system, cpu, disk)
    if "PI-STATUS 0" not in console:
        raise EdgeError(f"{system.name} on {cpu}: {console[-_QUOTED_CHARS:]}")
    # Search inside lines: the kernel and the engines print to the same console.
    printed = [json.loads(text) for text in re.findall(r"PI-ROW (\{.*\})", console)]
    if len(printed) != len(system.engines):
        raise EdgeError(
            f"{system.name} on {cpu}: {len(printed)} of {len(system.engines)} engines printed "
            f"figures; the console: {console[-_QUOTED_CHARS:]}"
        )
    rows = [
        Row(
            system.name,
            cpu,
            row["engine"],
            version=row["version"],
            inference_float32=row["inference_instructions"].get("float32", 0),
            inference_int8=row["inference_instructions"]["int8"],
            start_instructions=row["start_instructions"],
            resident_bytes=row["resident_bytes"],
            installed_bytes=installed.size_bytes(system, row["engine"]),
        )
        for row in printed
    ]
    return rows + [Row(system.name, cpu, *pair) for pair in system.absent.items()]


def compare(rows: list[Row], baseline: list[Row]) -> list[str]:
    """Return a line for each figure that is worse than the baseline.

    A figure is worse if it is more than MAX_INCREASE_SHARE (2 %) larger, or if the engine no longer
    runs. Rows that the baseline does not contain are not compared. The list is empty if no figure
    is worse.
    """
    by_name = {row.name: row for row in rows}
    worse = []
    for before in baseline:
        now = by_name.get(before.name)
        if now is None or (now.absent and not before.absent):
            worse.append(f"{before.name}: no longer runs")
            continue
        for field, title in _TITLES.items():
            old, new = getattr(before, field), getattr(now, field)
            if old and new > old * (1 + MAX_INCREASE_SHARE):
                worse.append(f"{before.name}: {title} {new / old - 1:+.1%}")
    return worse


def read(path: Path = BASELINE) -> list[Row]:
    """Return the rows of a baseline; an empty list if the file does not exist.

    Raises:
        EdgeError: The file is damaged, or has another schema version.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']}")
        return [Row(**row) for row in content["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeError(f"{path}: not a baseline ({error}): {REMEDY}") from error


def write(rows: list[Row], path: Path) -> None:
    """Write the rows as JSON to `path`, and as Markdown to a file of the same name with .md.

    Raises:
        EdgeError: A file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "rows": list(map(dataclasses.asdict, rows))}
    atomic_write.write(path, json.dumps(content, indent=1) + "\n")
    atomic_write.write(path.with_suffix(".md"), markdown(rows))


def markdown(rows: list[Row]) -> str:
    """Return the page pi.md: the explanation of the figures, and the table."""
    lines = [
        "# The runtime on emulated Raspberry Pis",
        "",
        "`make pi` writes this page. QEMU counts instructions (`-icount`) in full-system mode with",
        "512 MiB of memory. The counts show regressions; they are **not times**, because they",
        "ignore a Pi's caches, memory and clock.",
        "",
        "- Inference: one image, one thread.",
        "- Start: `digit-edge classify PICTURE` from exec to exit, with its files cached.",
        "- Resident: peak resident memory of that process.",
        "- Installed: the folder of `install-pi.sh`, without Debian's NumPy and Pillow.",
        "- armhf systems were measured under a 64-bit kernel, as Raspberry Pi OS runs them.",
        "- armel (ARMv6) was measured on QEMU's board raspi0, under a 32-bit kernel. It has no",
        "  hardware floating point, which Raspberry Pi OS uses.",
        "",
        f"| system | processor | engine | {' | '.join(_TITLES.values())} |",
        "|---" * 3 + "|---:" * len(_TITLES) + "|",
    ]
    for row in rows:
        cells = [row.system, f"{row.cpu} ({_BOARDS[row.cpu]})", f"{row.engine} {row.version}"]
        if row.absent:
            cells += [f"does not run: {row.absent}", *[""] * (len(_TITLES) - 1)]
        else:
            cells += [_millions(field, getattr(row, field)) for field in _TITLES]
        lines.append(f"| {' | '.join(cell.strip() for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _millions(field: str, value: int) -> str:
    """Format a figure in millions: inferences with two decimals, other figures with one."""
    if not value:
        return "–"
    return f"{value / 1e6:.2f}" if field.startswith("inference") else f"{value / 1e6:.1f}"


def _digit() -> bytes:
    """Return an image of a digit as PNG: the first golden input of the published model."""
    from PIL import Image

    from runtime import Classifier

    packed = io.BytesIO()
    golden = Classifier.load().spec.golden
    assert golden is not None
    Image.fromarray(golden.pixels[0, :, :, 0]).save(packed, "PNG")
    return packed.getvalue()
