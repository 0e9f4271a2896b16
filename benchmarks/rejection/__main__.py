"""Measure the rejection of images that are not digits.

`digit-edge benchmark-rejection` runs this command. It writes rejection.json and rejection.md, and
prints the same tables.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.rejection.run import measure
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, printable
from train.options import add_data_argument


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the options, without the program's name; None for those of this process.

    Returns:
        The exit status: 0, or 3 if a case failed or no artifact was measured.

    Raises:
        EdgeError: an option or the data set is invalid, or the report cannot be written.
        ModuleNotFoundError: a package of digit-edge[train] is not installed.
    """
    arguments = parse_args(argv)
    from benchmarks.rejection import report as rejection_report
    from benchmarks.report import terminal

    folder = arguments.out or arguments.models / "rejection"
    output_dir.check_folder(folder)
    report = measure(
        arguments.models,
        load_test_set(arguments.data, arguments.models),
        backends=tuple(arguments.backend),
        progress=terminal.show_progress,
    )
    terminal.clear()
    rejection_report.print_report(report)
    written = rejection_report.write(report, folder)
    print(f"written: {printable(str(folder))}: {', '.join(written)}")
    return CHECK_FAILED if report.failures else 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "digit-edge benchmark-rejection",
        "Measure the share of blank pages, letters, shapes, … that each artifact "
        "rejects, the share of digits that it rejects by mistake, and the time per decision.",
        {0: "measured, even if a target is missed", 3: "a case failed"},
    )
    cases.add_models_argument(parser)
    options.add_backends_argument(parser)
    add_data_argument(parser, "the test images")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the report (default: rejection in that of the artifacts)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
