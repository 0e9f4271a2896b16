"""python -m benchmarks.serve: what runtime.serve does under load, beside classify in process."""

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
from runtime.errors import CHECK_FAILED, EdgeError
from runtime.system import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a target is missed."""
    arguments = parse_args(argv)
    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    checks: list[TargetCheck] = []

    def show(found: list[TargetCheck]) -> None:
        for check in found:
            print(f"{'✓' if check.passed else '✗'} {check.name:18} {check.text}", flush=True)
        checks.extend(found)

    with started() as server:
        show(measure_throughput(server, arguments.seconds))
        show(measure_crowd(server, arguments.clients, arguments.each))
        show(measure_memory(server, arguments.requests))
        show(measure_abuse(server, arguments.abuse_seconds))
    show(measure_end())
    if arguments.out is not None:
        record = {"host": asdict(describe()), "checks": [asdict(check) for check in checks]}
        atomic_write.write(arguments.out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(check.passed for check in checks) else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve",
        description="Start python -m runtime.serve and load it: images a second against classify "
        "in process, a crowd of clients, memory over many requests, a minute of clients that "
        "misbehave, and SIGTERM with requests in flight. Some minutes.",
        epilog="Exit status: 0 all within target, 2 bad input, 3 a target missed.",
    )
    parser.add_argument("--seconds", type=float, default=24, help="of throughput (24)")
    parser.add_argument("--clients", type=int, default=200, help="at once (200)")
    parser.add_argument("--each", type=int, default=10, help="requests of each client (10)")
    parser.add_argument(
        "--requests", type=int, default=100_000, help="over which memory is flat (100000)"
    )
    parser.add_argument("--abuse-seconds", type=float, default=60, help="of misbehavior (60)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    if min(arguments.clients, arguments.each, arguments.requests) < 1:
        raise EdgeError("--clients, --each and --requests take 1 or more")
    if not min(arguments.seconds, arguments.abuse_seconds) > 0:
        raise EdgeError("--seconds and --abuse-seconds take more than 0")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
