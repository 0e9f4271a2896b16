"""Compare each artifact with its Keras reference."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.parity.run import add_arguments, compare, tolerance_of
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED
from runtime.model import artifact
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a case fails."""
    arguments = parse_args(argv)
    from benchmarks.harness.serialize import to_json
    from benchmarks.report import terminal

    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    artifact.read(arguments.models / cases.REFERENCE)  # fail before a data set is downloaded
    report = compare(
        arguments.models,
        load_test_set(arguments.data),
        backends=tuple(arguments.backend),
        device=arguments.device,
        tolerance=tolerance_of(arguments),
        fail_fast=arguments.fail_fast,
        explain=arguments.explain,
        external_pythons=tuple(map(cases.parse_external_python, arguments.python)),
        progress=terminal.show_progress,
    )
    terminal.clear()
    terminal.print_parity(report)
    if arguments.out is not None:
        atomic_write.write(arguments.out, to_json(report))
    return 0 if report else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge benchmark-parity",
        "Compare the accuracy and predictions of each artifact with those of its Keras reference.",
        {0: "every case passed", 3: "a case failed"},
    )
    cases.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu"),
        default="cpu",
        metavar="NAME",
        help="cpu, or gpu for every accelerator of each engine (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the results to this JSON file"
    )
    parser.add_alias("--json", "--out")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
