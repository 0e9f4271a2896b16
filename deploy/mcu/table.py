"""The table of what the C costs on each microcontroller: compared and written."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from deploy.wheels import CHECKOUT
from runtime.errors import EdgeError
from runtime.system import atomic_write

SCHEMA_VERSION = 1
BASELINE = CHECKOUT / "benchmarks/results/mcu.json"
REMEDY = "make a new one: python -m deploy.mcu --baseline"
MAX_WORSE = 0.02  # more than this much worse than the baseline fails
_COSTS = {
    "instructions": "instructions an image",
    "stack_bytes": "stack",
    "workspace_bytes": "workspace",
    "flash_bytes": "flash",
    "flash_with_selftest_bytes": "flash with the self-test",
}


@dataclass(frozen=True)
class Row:
    """The model on a processor.

    Attributes:
        optimization: GCC's option.
        images: images that it classified.
        equal: images whose scores, label and `accepted` equal LiteRT's in Python, bit by bit.
        selftest: what the self-test returned; 0 if all is well.
        instructions: of `digits_classify` of one image, the mean.
        stack_bytes: the most that the whole test program used.
        workspace_bytes: RAM that the caller provides.
        flash_bytes: of the smallest program that classifies.
        flash_with_selftest_bytes: of the same with the self-test and its golden images.
    """

    target: str
    optimization: str
    images: int
    equal: int
    selftest: int
    instructions: int = 0
    stack_bytes: int = 0
    workspace_bytes: int = 0
    flash_bytes: int = 0
    flash_with_selftest_bytes: int = 0

    @property
    def name(self) -> str:
        """The processor and the optimization."""
        return f"{self.target} {self.optimization}"


def failures(rows: list[Row]) -> list[str]:
    """Return a line for each row whose answers are not LiteRT's or whose self-test fails."""
    lines = [f"{row.name}: the self-test returned {row.selftest}" for row in rows if row.selftest]
    return lines + [
        f"{row.name}: {row.images - row.equal} of {row.images} images differ from LiteRT"
        for row in rows
        if row.equal != row.images or not row.images
    ]


def compare(rows: list[Row], baseline: list[Row]) -> list[str]:
    """Return a line for each figure that is more than 2 % worse than before, or missing."""
    found = {row.name: row for row in rows}
    worse = []
    for before in baseline:
        now = found.get(before.name)
        if now is None:
            worse.append(f"{before.name}: was measured, and is missing now")
            continue
        for field, title in _COSTS.items():
            was, is_now = getattr(before, field), getattr(now, field)
            if is_now > was * (1 + MAX_WORSE):
                worse.append(f"{before.name}: {title} {was:,} → {is_now:,}")
    return worse


def read(path: Path = BASELINE) -> list[Row]:
    """Return the rows of a baseline; none if there is no such file.

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
        raise EdgeError(f"{path} is not a baseline ({error}): {REMEDY}") from error


def write(rows: list[Row], path: Path = BASELINE) -> None:
    """Write the rows as JSON, and beside it the table as Markdown."""
    content = {"schema_version": SCHEMA_VERSION, "rows": list(map(dataclasses.asdict, rows))}
    atomic_write.write(path, json.dumps(content, indent=1) + "\n")
    atomic_write.write(path.with_suffix(".md"), markdown(rows))


def markdown(rows: list[Row]) -> str:
    """Return the table, and what its figures are."""
    lines = [
        "# On microcontrollers, emulated",
        "",
        "`make mcu` makes this page: the published int8 model as C (`digit-edge export-c`),",
        "compiled by Debian's GCC 12.2 and run in QEMU 7.2. Equal: images whose scores, label and",
        "rejection are LiteRT's bit by bit. Instructions are counted by QEMU (`-icount`) and **not",
        "a time**: wait states, caches and multi-cycle instructions are not in them.",
        "RAM is workspace + stack; the stack is that of the whole test program at its highest.",
        "Flash is that of the smallest program that classifies; with the self-test its 8 golden",
        "images are in it too.",
        "Workspace, stack and flash are in bytes.",
        "",
        "| processor | GCC | equal | M instructions | workspace | stack | flash | with self-test |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [row.target, row.optimization, f"{row.equal:,} of {row.images:,}"]
        if row.instructions:
            cells += [f"{row.instructions / 1e6:.2f}", f"{row.workspace_bytes:,}"]
            cells += [f"{row.stack_bytes:,}", f"{row.flash_bytes:,}"]
            cells += [f"{row.flash_with_selftest_bytes:,}"]
        else:
            cells += [""] * 5
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
