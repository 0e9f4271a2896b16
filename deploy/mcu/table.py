"""Compare the costs of the model's C code with a baseline, and write the table of costs.

`python -m deploy.mcu` uses this module. The costs are instructions, RAM and flash.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from deploy.wheels import CHECKOUT
from runtime.errors import EdgeError
from runtime.system import atomic_write

SCHEMA_VERSION = 1  # of the baseline file; a file with another version is rejected
BASELINE = CHECKOUT / "benchmarks/results/mcu.json"
REMEDY = "save a new baseline: python -m deploy.mcu --baseline"  # end of error messages
MAX_WORSE = 0.02  # share of the baseline's cost; a larger increase is an error
# Fields of `Row` that are compared with the baseline, and their names in messages.
_COSTS = {
    "instructions": "instructions per image",
    "stack_bytes": "stack",
    "workspace_bytes": "workspace",
    "flash_bytes": "flash",
    "flash_with_selftest_bytes": "flash with the self-test",
}


@dataclass(frozen=True)
class Row:
    """The results and costs of the model on one processor.

    A cost of 0 was not measured.

    Attributes:
        target: name of the processor.
        optimization: GCC's option: "-O2" or "-Os".
        images: number of images that the processor classified.
        equal: number of images with LiteRT's scores, label and `accepted`, bit by bit.
        selftest: return value of the self-test as a byte. The value is 0 if the test passed,
            and 255 if a parameter changed. Otherwise the value is the number of the first golden
            image with other scores.
        instructions: mean number of instructions of `digits_classify` per image.
        stack_bytes: largest size of the stack while the whole test program runs.
        workspace_bytes: size of the RAM that the caller of `digits_classify` provides.
        flash_bytes: size of the smallest program that calls `digits_classify`.
        flash_with_selftest_bytes: size of the same program with self-test and golden images.
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
        """Processor and optimization, as in "cortex-m4 -O2"."""
        return f"{self.target} {self.optimization}"


def failures(rows: list[Row]) -> list[str]:
    """Return one message for each failed self-test and for each row that differs from LiteRT.

    A row without images counts as different. The list is empty if all rows are correct.
    """
    lines = [f"{row.name}: the self-test returned {row.selftest}" for row in rows if row.selftest]
    return lines + [
        f"{row.name}: {row.images - row.equal} of {row.images} images differ from LiteRT"
        for row in rows
        if row.equal != row.images or not row.images
    ]


def compare(rows: list[Row], baseline: list[Row]) -> list[str]:
    """Compare measured costs with a baseline.

    Args:
        rows: the measured rows; a row that the baseline does not contain is ignored.
        baseline: the rows to compare with.

    Returns:
        One message for each cost that is more than 2 % above the baseline, and for each row of the
        baseline that was not measured. Empty if neither occurs.
    """
    found = {row.name: row for row in rows}
    worse = []
    for before in baseline:
        now = found.get(before.name)
        if now is None:
            worse.append(f"{before.name}: in the baseline, but not measured now")
            continue
        for field, title in _COSTS.items():
            was, is_now = getattr(before, field), getattr(now, field)
            if is_now > was * (1 + MAX_WORSE):
                worse.append(f"{before.name}: {title} {was:,} → {is_now:,}")
    return worse


def read(path: Path = BASELINE) -> list[Row]:
    """Read the rows of a baseline.

    Returns:
        The rows; an empty list if the file does not exist.

    Raises:
        EdgeError: the file is damaged, or has another schema version.
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
    """Write the rows as JSON to `path`, and as a Markdown table to the same name with suffix .md.

    Raises:
        EdgeError: a file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "rows": list(map(dataclasses.asdict, rows))}
    atomic_write.write(path, json.dumps(content, indent=1) + "\n")
    atomic_write.write(path.with_suffix(".md"), markdown(rows))


def markdown(rows: list[Row]) -> str:
    """Return a Markdown page: a description of the costs, and the table of the rows."""
    lines = [
        "# On microcontrollers, emulated",
        "",
        "`python -m deploy.mcu --baseline` writes this page. It exports the published int8 model",
        "as C (`digit-edge export-c`), compiles it with Debian's GCC 12.2 and runs it in QEMU 7.2.",
        "",
        "- equal: images whose scores, label and rejection equal LiteRT's bit by bit",
        "- Not in the table: each processor except cortex-m0, whose board has 16 KB of RAM, also",
        "  converts 4 gray frames. Other pixels than the runtime's are an error.",
        "- M instructions: millions of instructions per image, counted by QEMU (`-icount`). They",
        "  are **not a time**: wait states, caches and multi-cycle instructions are not included.",
        "- workspace: bytes of RAM that the caller provides",
        "- stack: largest size of the stack of the whole test program, in bytes",
        "- flash: bytes of the smallest program that classifies",
        "- with self-test: bytes of the same program with the self-test and its 8 golden images",
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
