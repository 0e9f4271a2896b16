"""Measures how numbers are read, on composed lines: python -m benchmarks.lines."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.lines.run import measure
from runtime.classifier import Classifier, find_model
from runtime.cli.exit_status import exit_status
from runtime.errors import printable
from train.lines import writers
from train.options import whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parse_args(argv)
    from benchmarks.lines import report as lines_report
    from benchmarks.report import terminal

    output_dir.check_folder(arguments.out)
    model = arguments.model or find_model(arguments.backend)
    classifier = Classifier.load(model, backend=arguments.backend)
    test_set = load_test_set(arguments.data)
    by = None if arguments.writers is None else writers.read(arguments.writers, test_set.labels)
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
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lines",
        description="How exactly numbers are read: lines composed of test digits, by difficulty.",
        epilog="Exit status: 0 measured, 2 bad input. Targets are reported and decide nothing.",
    )
    parser.add_argument("--model", type=Path, help="the digit network (the published one)")
    parser.add_argument("--backend", help="this engine")
    parser.add_argument("--data", help="data set: a folder or a file; see python -m train --help")
    parser.add_argument(
        "--writers",
        type=Path,
        metavar="PATH",
        help="QMNIST's qmnist-test-labels-idx2-int.gz: lines are then of one writer each",
    )
    parser.add_argument(
        "--lines", type=whole(1), default=2000, metavar="N", help="lines to read (2000)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of the lines (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("models/lines"), help="folder of the report (models/lines)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
