"""The command `digit-edge benchmark-rejection`: measures the rejection of non-digit images.

It writes rejection.json and rejection.md, and prints the same tables.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.rejection.run import measure
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, printable


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
        load_test_set(arguments.data),
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
    parser = argparse.ArgumentParser(
        prog="digit-edge benchmark-rejection",
        description="Measure the share of blank pages, letters, shapes, … that each artifact "
        "rejects, the share of digits that it rejects by mistake, and the time per decision.",
        epilog="Exit status: 0 measured, 2 invalid input, 3 a case failed. A missed target does "
        "not change it.",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=cases.DEFAULT_MODELS,
        help="folder of the artifacts (%(default)s)",
    )
    parser.add_argument(
        "--backend", action="append", default=[], help="only this engine; may be repeated"
    )
    parser.add_argument(
        "--data", help="test images: a folder or a file; see digit-edge train --help"
    )
    parser.add_argument("--out", type=Path, help="folder of the report (MODELS/rejection)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
