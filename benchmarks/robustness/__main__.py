"""Accuracy of artifacts on corrupted images and other writers (python -m benchmarks.robustness)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases as rows
from benchmarks.harness import output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.robustness.run import QUICK_IMAGES, measure, quick_subset
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a case fails."""
    arguments = parse_args(argv)
    from benchmarks.report import terminal
    from benchmarks.robustness import report as robustness_report

    folder = arguments.out or arguments.models / "robustness"
    output_dir.check_folder(folder)
    test_set = load_test_set(arguments.data)
    report = measure(
        arguments.models,
        quick_subset(test_set) if arguments.quick else test_set,
        backends=tuple(arguments.backend),
        keras=not arguments.no_keras,
        external_pythons=tuple(map(rows.parse_external_python, arguments.python)),
        progress=terminal.show_progress,
    )
    terminal.clear()
    robustness_report.print_report(report)
    written = robustness_report.write(report, folder)
    print(f"written: {printable(str(folder))}: {', '.join(written)}")
    return 0 if report else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.robustness",
        description="Accuracy of each artifact on images that are shifted, turned, blurred, …, "
        "and on other writers than those it was trained on.",
        epilog="Exit status: 0 all rows read, 2 bad input, 3 a row failed. Targets are reported "
        "and decide nothing.",
    )
    rows.add_arguments(parser)
    parser.add_argument("--data", help="data set: a folder or a file; see python -m train --help")
    parser.add_argument("--out", type=Path, help="folder of the report (MODELS/robustness)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_IMAGES:,} test images only")
    parser.add_argument("--no-keras", action="store_true", help="leave out the Keras reference")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
