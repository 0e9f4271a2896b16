"""Measure accuracy on corrupted images and other writers.

`digit-edge benchmark-robustness` runs this command. It writes robustness.json, robustness.md and
robustness.svg, and prints the tables.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.robustness.run import QUICK_IMAGES, measure, quick_subset
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
    from benchmarks.report import terminal
    from benchmarks.robustness import report as robustness_report

    folder = arguments.out or arguments.models / "robustness"
    output_dir.check_folder(folder)
    test_set = load_test_set(arguments.data, arguments.models)
    report = measure(
        arguments.models,
        quick_subset(test_set) if arguments.quick else test_set,
        backends=tuple(arguments.backend),
        keras=not arguments.no_keras,
        external_pythons=tuple(map(cases.parse_external_python, arguments.python)),
        progress=terminal.show_progress,
    )
    terminal.clear()
    robustness_report.print_report(report)
    written = robustness_report.write(report, folder)
    print(f"written: {printable(str(folder))}: {', '.join(written)}")
    return CHECK_FAILED if report.failures else 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "digit-edge benchmark-robustness",
        "Measure the accuracy of each artifact on images that are shifted, rotated, "
        "blurred, …, and on digits of other writers.",
        {0: "measured, even if a target is missed", 3: "a case failed"},
    )
    cases.add_arguments(parser)
    add_data_argument(parser, "the test images")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the report (default: robustness in that of the artifacts)",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"use only {QUICK_IMAGES:,} test images"
    )
    parser.add_argument(
        "--no-keras", action="store_true", help="do not measure the Keras reference"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
