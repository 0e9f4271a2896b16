"""The command `digit-edge benchmark-latency`: measures latency, throughput, start-up and memory.

It prints the tables and can write the results to a JSON file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.latency.run import add_arguments, measure, parse_threads, settings_of
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the options, without the program's name; None for those of this process.

    Returns:
        The exit status: 0, or 3 if a case failed or no artifact was measured.

    Raises:
        EdgeError: an option is invalid, or the file of --json cannot be written.
    """
    arguments = parse_args(argv)
    from benchmarks.harness.serialize import to_json
    from benchmarks.report import terminal

    if arguments.json is not None:
        output_dir.check_file(arguments.json)
    report = measure(
        arguments.models,
        settings_of(arguments),
        backends=tuple(arguments.backend),
        device=arguments.device,
        threads=parse_threads(arguments.threads, arguments.quick),
        external_pythons=tuple(map(cases.parse_external_python, arguments.python)),
        keras=not arguments.no_keras,
        progress=terminal.show_progress,
    )
    terminal.clear()
    terminal.print_latency(report)
    if arguments.json is not None:
        atomic_write.write(arguments.json, to_json(report))
    return CHECK_FAILED if report.failures else 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = argparse.ArgumentParser(
        prog="digit-edge benchmark-latency",
        description="Measure latency, throughput, start-up and memory of each artifact.",
    )
    cases.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument(
        "--no-keras", action="store_true", help="do not measure the Keras reference"
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
