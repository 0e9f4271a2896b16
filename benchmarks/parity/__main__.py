"""Compare each artifact with its Keras reference.

`digit-edge benchmark-parity` runs this command. It prints the tables and can write the results to
a JSON file.
"""

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
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the options, without the program's name; None for those of this process.

    Returns:
        The exit status: 0, or 3 if a case failed or differs by more than the tolerance.

    Raises:
        EdgeError: an option, the reference or the data set is invalid, or the file of --json cannot
            be written.
    """
    arguments = parse_args(argv)
    from benchmarks.harness.serialize import to_json
    from benchmarks.report import terminal

    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    cases.check_folder(arguments.models)  # fail before a data set is downloaded
    report = compare(
        arguments.models,
        load_test_set(arguments.data, arguments.models),
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
    return 0 if report else CHECK_FAILED  # a report is true if all cases pass


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "digit-edge benchmark-parity",
        "Compare the accuracy and predictions of each artifact with those of its Keras reference. "
        "Of models that other tools made, measure the accuracy.",
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
