"""Test and measure the model as C on emulated microcontrollers: python -m deploy.mcu."""

import argparse
import sys

from deploy.mcu import run, table
from deploy.wheels import CHECKOUT
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED


def main(argv: list[str] | None = None) -> int:
    """Measure all targets; 0 if all answers are LiteRT's and nothing got worse, otherwise 3."""
    arguments = parse_args(argv)
    rows = run.measure_all()
    print(table.markdown(rows))
    problems = table.failures(rows)
    if arguments.baseline and not problems:
        table.write(rows)
        print(f"{table.BASELINE.relative_to(CHECKOUT)}: {len(rows)} rows")
        return 0
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    for line in (worse := table.compare(rows, table.read())):
        print(f"error: {line}; if that is intended, {table.REMEDY}", file=sys.stderr)
    return CHECK_FAILED if problems or worse else 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = CommandParser(
        "python -m deploy.mcu",
        "Compile the published int8 model as C for microcontrollers and run it in QEMU. Compare "
        "its scores with LiteRT's, and its costs with benchmarks/results/mcu.json. Compilers and "
        "QEMU come from Debian and are unpacked into .pi/mcu.",
        {
            0: "all scores equal LiteRT's and no figure is worse",
            2: "bad usage, or the compilers or QEMU cannot be downloaded",
            3: "a score differs, or a figure is more than 2 % worse than the baseline",
        },
    )
    parser.add_argument(
        "--baseline", action="store_true", help="make these figures the baseline: mcu.json, mcu.md"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
