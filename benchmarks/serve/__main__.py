"""Test the HTTP server under load."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.machine import describe
from benchmarks.serve.run import (
    TargetCheck,
    measure_abuse,
    measure_crowd,
    measure_end,
    measure_memory,
    measure_throughput,
    started,
)
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a target is missed.

    Raises:
        EdgeError: an option is invalid, or the server did not start.
    """
    arguments = parse_args(argv)
    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    checks: list[TargetCheck] = []

    def record_check(check: TargetCheck) -> None:
        print(f"{'✓' if check.passed else '✗'} {check.name:18} {check.text}", flush=True)
        checks.append(check)

    with started() as server:
        record_check(measure_throughput(server, arguments.seconds))
        record_check(measure_crowd(server, arguments.clients, arguments.each))
        record_check(measure_memory(server, arguments.requests))
        record_check(measure_abuse(server, arguments.abuse_seconds))
    record_check(measure_end())
    if arguments.out is not None:
        record = {"host": asdict(describe()), "checks": [asdict(check) for check in checks]}
        atomic_write.write(arguments.out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(check.passed for check in checks) else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = CommandParser(
        "digit-edge benchmark-serve",
        "Start digit-edge serve and test it under load: throughput compared "
        "with classify in process, many clients at once, memory over many requests, hostile "
        "clients, and SIGTERM with requests in flight. Takes some minutes.",
        {0: "all targets met", 3: "a target missed"},
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=24,
        metavar="S",
        help="duration of the throughput test (default: %(default)s)",
    )
    parser.add_argument(
        "--clients",
        type=int,
        default=200,
        metavar="N",
        help="number of simultaneous clients (default: %(default)s)",
    )
    parser.add_argument(
        "--each",
        type=int,
        default=10,
        metavar="N",
        help="requests of each of these clients (default: %(default)s)",
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=100_000,
        metavar="N",
        help="requests of the memory test (default: %(default)s)",
    )
    parser.add_argument(
        "--abuse-seconds",
        type=float,
        default=60,
        metavar="S",
        help="duration of the test with hostile clients (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the results to this JSON file"
    )
    arguments = parser.parse_args(argv)
    if min(arguments.clients, arguments.each, arguments.requests) < 1:
        raise EdgeError("--clients, --each and --requests take values of 1 or more")
    if not min(arguments.seconds, arguments.abuse_seconds) > 0:
        raise EdgeError("--seconds and --abuse-seconds take values greater than 0")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
