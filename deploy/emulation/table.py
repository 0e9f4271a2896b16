"""The table of what runs on which Pi and what it costs: measured, compared, written."""

import dataclasses
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.emulation import installed, machine, roots
from deploy.systems import NO_ENGINE, System
from deploy.wheels import CHECKOUT
from runtime.errors import EdgeError
from runtime.system import atomic_write

SCHEMA_VERSION = 1
BASELINE = CHECKOUT / "benchmarks/results/pi.json"
REMEDY = "make a new one: .venv-pi/bin/python -m deploy.emulation --measure --baseline"
# More than this much worse than the baseline fails.
MAX_WORSE = 0.02
# The Zero 2 W, the smallest that is supported: there the first engine is tested in its memory too.
ZERO = ("trixie-arm64", "cortex-a53")
_BOARDS = {"cortex-a53": "Pi 3, Zero 2 W", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
_TITLES = {
    "inference_float32": "float32, M instructions",
    "inference_int8": "int8, M instructions",
    "start_instructions": "start, M instructions",
    "resident_bytes": "resident, MB",
    "installed_bytes": "installed, MB",
}


@dataclass(frozen=True)
class Row:
    """An engine on a system and a processor.

    Attributes:
        absent: why it does not run; then nothing else is known.
        version: the engine's.
        inference_float32, inference_int8: instructions an image, one at a time, one thread.
        start_instructions: of `python -m runtime PICTURE`, from exec to exit, files cached.
        resident_bytes: the largest of that process.
        installed_bytes: of the folder that install-pi.sh makes.
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
        return f"{self.system} {self.cpu} {self.engine}"


def make_disk(system: System, folder: Path) -> Path:
    """Write the disk that a system is measured from, on all its processors, into an empty folder.

    Raises:
        EdgeError: it cannot be made.
    """
    # The kernel hands on what it does not know itself: PI_TESTED, where the runtime is tested too.
    python = installed.python(system.engines[0])
    suite = f"PYTHONPATH=/pi/pytest {python} -m pytest -q -p no:cacheprovider /pi/engines"
    job = f"""
if [ "$PI_TESTED" ]; then {python} -m runtime.selftest && (cd /tmp && {suite}) || exit; fi
exec python3 /pi/measure.py {" ".join(system.engines)}
"""
    pi = installed.with_engines(system, system.cpus[0], folder)
    for name in ("up", "work", "root"):
        (pi.written / name).mkdir(parents=True, exist_ok=True)
    guest = Path(__file__).parent / "guest/measure.py"
    content = {"/pi/job": job.encode(), "/pi/measure.py": guest.read_bytes()}
    content |= _tree(roots.part("pytest"), "/pi/pytest")
    content |= _tree(CHECKOUT / "tests/engines", "/pi/engines")
    machine.disk(pi, content | {"/pi/digit.png": _digit()}, folder / "disk")
    return folder / "disk"


def measure(system: System, cpu: str, disk: Path) -> list[Row]:
    """Boot a system on a processor with 512 MiB and measure each of its engines there.

    Raises:
        EdgeError: it does not boot, or a command fails on it.
    """
    tested = "PI_TESTED=1" if (system.name, cpu) == ZERO else ""
    shown = machine.boot(disk, cpu, environment=tested)
    if "PI-STATUS 0" not in shown or (tested and " passed" not in shown):
        raise EdgeError(f"{system.name} on {cpu}: {shown[-2000:]}")
    # Anywhere in a line: the console is the kernel's and the engines' too.
    said = [json.loads(text) for text in re.findall(r"PI-ROW (\{.*\})", shown)]
    if len(said) != len(system.engines):
        raise EdgeError(f"{system.name} on {cpu}, an engine is missing: {shown[-2000:]}")
    rows = [
        Row(
            system.name,
            cpu,
            row["engine"],
            version=row["version"],
            inference_float32=row["inference_instructions"]["float32"],
            inference_int8=row["inference_instructions"]["int8"],
            start_instructions=row["start_instructions"],
            resident_bytes=row["resident_bytes"],
            installed_bytes=installed.size_bytes(system, row["engine"]),
        )
        for row in said
    ]
    return rows + [Row(system.name, cpu, *pair) for pair in system.absent.items()]


def compare(rows: list[Row], baseline: list[Row]) -> list[str]:
    """What is more than 2 % worse than it was, or gone; a line each."""
    found = {row.name: row for row in rows}
    worse = []
    for before in baseline:
        now = found.get(before.name)
        if now is None or (now.absent and not before.absent):
            worse.append(f"{before.name}: ran, and does not any more")
            continue
        for field, title in _TITLES.items():
            was, is_now = getattr(before, field), getattr(now, field)
            if was and is_now > was * (1 + MAX_WORSE):
                worse.append(f"{before.name}: {title} {is_now / was - 1:+.1%}")
    return worse


def read(path: Path = BASELINE) -> list[Row]:
    """The rows of a baseline; none where there is no such file.

    Raises:
        EdgeError: it is damaged, or of another version.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']}")
        return [Row(**row) for row in content["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeError(f"{path} is no baseline ({error}): {REMEDY}") from error


def write(rows: list[Row], path: Path) -> None:
    """Write the rows as JSON, and beside it the table as Markdown."""
    content = {"schema_version": SCHEMA_VERSION, "rows": list(map(dataclasses.asdict, rows))}
    atomic_write.write(path, json.dumps(content, indent=1) + "\n")
    atomic_write.write(path.with_suffix(".md"), markdown(rows))


def markdown(rows: list[Row]) -> str:
    """The table, and what its figures are."""
    lines = [
        "# On the Raspberry Pi, emulated",
        "",
        "`make pi` makes this page. Instructions are a metric to see regressions by, counted by",
        "QEMU (`-icount`) in full-system mode with 512 MiB, and **not a time**: a Pi's caches,",
        "memory and clock are not in them. Inference: one image, one thread. Start:",
        "`python -m runtime PICTURE` from exec to exit, files cached; resident: that process.",
        "Installed: the folder of `install-pi.sh`, beside Debian's NumPy and Pillow.",
        "A 32-bit system was measured under a 64-bit kernel, as Raspberry Pi OS runs it.",
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
    for name, why in NO_ENGINE.items():
        lines.append(f"| {name} | Pi 1, Zero | every | does not run: {why} | | | | |")
    return "\n".join(lines) + "\n"


def _millions(field: str, value: int) -> str:
    return f"{value / 1e6:.2f}" if field.startswith("inference") else f"{value / 1e6:.1f}"


def _tree(folder: Path, place: str) -> dict[str, bytes]:
    """Every Python file of a folder, by where it goes on the Pi."""
    return {
        f"{place}/{file.relative_to(folder)}": file.read_bytes() for file in folder.rglob("*.py")
    }


def _digit() -> bytes:
    """A picture of a digit, as PNG."""
    from PIL import Image

    from runtime import Classifier

    packed = io.BytesIO()
    golden = Classifier.load().spec.golden
    assert golden is not None
    Image.fromarray(golden.pixels[0, :, :, 0]).save(packed, "PNG")
    return packed.getvalue()
