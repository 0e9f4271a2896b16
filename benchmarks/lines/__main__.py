"""Measure how exactly numbers are read on composed lines.

`digit-edge benchmark-lines` runs this module.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.lines.run import measure
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import printable
from runtime.model.default_model import find_model
from train.data import writers
from train.options import add_data_argument, whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parse_args(argv)
    from benchmarks.lines import report as lines_report
    from benchmarks.report import terminal

    output_dir.check_folder(arguments.out)
    model = arguments.model or find_model(arguments.backend)
    classifier = Classifier.load(model, backend=arguments.backend)
    test_set = load_test_set(arguments.data)
    by = (
        None
        if arguments.writers is None
        else (writers.read(arguments.writers, test_set.labels).writer)
    )
    report = measure(
        classifier,
        model.name,
        test_set,
        by,
        arguments.lines,
        arguments.seed,
        terminal.show_progress,
    )
    terminal.clear()
    lines_report.print_report(report)
    written = lines_report.write(report, arguments.out)
    print(f"written: {printable(str(arguments.out))}: {', '.join(written)}")
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge benchmark-lines",
        "Measure how exactly numbers are read: lines composed of test digits, by difficulty. "
        "Missed targets are reported and do not fail.",
        {0: "measured"},
    )
    parser.add_argument(
        "--model", type=Path, metavar="PATH", help="the digit network (default: the published one)"
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="the engine (default: the first installed one that opens the model)",
    )
    add_data_argument(parser, "the digits that lines are composed of")
    parser.add_argument(
        "--writers",
        type=Path,
        metavar="FILE",
        help="QMNIST's qmnist-test-labels-idx2-int.gz: each line is then mostly of one writer",
    )
    parser.add_argument(
        "--lines",
        type=whole(1),
        default=2000,
        metavar="N",
        help="number of lines (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="random seed (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models/lines"),
        metavar="FOLDER",
        help="folder of the report (default: %(default)s)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
