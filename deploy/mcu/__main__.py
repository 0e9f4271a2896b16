"""Test and measure the published model as C on emulated microcontrollers.

`python -m deploy.mcu` and `make mcu` run this module.
"""

import argparse
import sys

from deploy.mcu import run, table
from deploy.wheels import CHECKOUT
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED


def main(argv: list[str] | None = None) -> int:
    """Measure all targets and print the table of results.

    Returns:
        0 if every result equals LiteRT's and no cost is more than 2 % above the baseline. Otherwise
        3. With --baseline, costs are not compared with the old baseline.

    Raises:
        MissingPrerequisite: the compilers or QEMU cannot be downloaded.
        EdgeError: a compiler prints a warning, or a program or emulator fails.
    """
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
        print(f"error: {line}; if this is intended, {table.REMEDY}", file=sys.stderr)
    return CHECK_FAILED if problems or worse else 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "python -m deploy.mcu",
        "Compile the published int8 model as C for microcontrollers and run it in QEMU. Compare "
        "its scores with those of LiteRT. Compare its costs (instructions, RAM and flash) with "
        "benchmarks/results/mcu.json. The compilers and QEMU are downloaded from Debian and "
        "unpacked into .pi/mcu.",
        {
            0: "all scores equal LiteRT's and no cost is more than 2 % above the baseline",
            2: "bad usage, or the compilers or QEMU cannot be downloaded",
            3: "a score differs, or a cost is more than 2 % above the baseline",
        },
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="save the measured costs as the new baseline: benchmarks/results/mcu.json and mcu.md",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
