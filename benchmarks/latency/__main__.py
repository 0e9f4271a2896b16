"""Measure latency, throughput, start-up and memory."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import cases, output_dir
from benchmarks.latency.run import add_arguments, measure, parse_threads, settings_of
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a case fails."""
    arguments = parse_args(argv)
    from benchmarks.harness.serialize import to_json
    from benchmarks.report import terminal

    if arguments.out is not None:
        output_dir.check_file(arguments.out)
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
    if arguments.out is not None:
        atomic_write.write(arguments.out, to_json(report))
    return 0 if report else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge benchmark-latency",
        "Measure latency, throughput, start-up and memory of each artifact.",
        {0: "measured", 3: "a case failed"},
    )
    cases.add_arguments(parser)
    add_arguments(parser)
    parser.add_argument(
        "--no-keras", action="store_true", help="do not measure the Keras reference"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the results to this JSON file"
    )
    parser.add_alias("--json", "--out")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
