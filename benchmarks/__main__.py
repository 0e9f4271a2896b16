"""Parity, then latency, then the report: python -m benchmarks."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.harness import cases, machine
from benchmarks.harness.test_set import load_test_set
from benchmarks.latency import run as latency
from benchmarks.parity import run as parity
from benchmarks.remote import client
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError, printable
from runtime.model import artifact

MAX_SLOWDOWN = 1.2  # times the baseline's time


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 3 where a row fails, or is slower than the baseline allows."""
    arguments = parse_args(argv)
    from benchmarks import compare
    from benchmarks.report import terminal, write
    from benchmarks.schema import report

    device = client.device_of(arguments)
    baseline = report.read(arguments.baseline) if arguments.baseline else None
    settings = latency.settings_of(arguments)
    threads = latency.parse_threads(arguments.threads, arguments.quick)
    external_pythons = tuple(map(cases.parse_external_python, arguments.python))
    folder = arguments.out or arguments.models / "report"
    different = arguments.different_models, arguments.different_hosts
    # What would be in vain is said before anything takes time.
    artifact.read(arguments.models / cases.REFERENCE)
    write.check(folder)
    if baseline is not None:
        digests = _digests(arguments.models, tuple(arguments.backend))
        compare.check(baseline, settings, machine.describe(), digests, *different)
    if device is not None:
        client.check_connection(device)
    test_set = load_test_set(arguments.data)
    elsewhere = None
    if device is not None:
        elsewhere = client.measure(
            device,
            arguments.models,
            settings,
            pixels=test_set.pixels,
            quick=arguments.quick,
            backends=tuple(arguments.backend),
            kind=arguments.device,
            threads=threads,
            progress=lambda line: terminal.show_progress(f"{arguments.on}: {line}"),
        )
    answers = parity.compare(
        arguments.models,
        test_set,
        backends=tuple(arguments.backend),
        device=arguments.device,
        tolerance=parity.tolerance_of(arguments),
        fail_fast=arguments.fail_fast,
        explain=arguments.explain or not arguments.quick,
        external_pythons=external_pythons,
        elsewhere=elsewhere.answers if elsewhere else None,
        progress=lambda line: terminal.show_progress(f"parity: {line}"),
    )
    times = latency.measure(
        arguments.models,
        settings,
        backends=tuple(arguments.backend),
        device=arguments.device,
        threads=threads,
        external_pythons=external_pythons,
        progress=lambda line: terminal.show_progress(f"latency: {line}"),
    )
    terminal.clear()
    made = report.make(answers, times, elsewhere.latency if elsewhere else None)
    terminal.print_report(made)
    write.write(made, folder)
    page = printable(str(folder / write.HTML_NAME))
    print(f"written: {page}, {write.MARKDOWN_NAME}, {write.JSON_NAME}")
    if baseline is not None:
        comparison = compare.compare(baseline, made, *different)
        compare.print_comparison(comparison)
        allowed = MAX_SLOWDOWN if arguments.max_slowdown is None else arguments.max_slowdown
        slower = comparison.failures + comparison.slower_than(allowed)
        terminal.print_verdict(f"Baseline {arguments.baseline}", slower)
        if slower:
            return CHECK_FAILED
    return 0 if made else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    cases.add_arguments(parser)
    parity.add_arguments(parser)
    latency.add_arguments(parser)
    client.add_arguments(parser)
    parser.add_argument("--out", type=Path, help="folder of the report (MODELS/report)")
    parser.add_argument("--baseline", type=Path, help="a report.json to be compared with")
    parser.add_argument(
        "--max-slowdown",
        type=float,
        help=f"fail if a row is surely slower than the baseline's by more than this factor "
        f"({MAX_SLOWDOWN})",
    )
    parser.add_argument(
        "--different-models",
        action="store_true",
        help="compare with the baseline of other artifacts",
    )
    parser.add_argument(
        "--different-hosts",
        action="store_true",
        help="compare with the baseline of another machine",
    )
    arguments = parser.parse_args(argv)
    if arguments.baseline is None:
        for given, option in (
            (arguments.max_slowdown is not None, "--max-slowdown"),
            (arguments.different_models, "--different-models"),
            (arguments.different_hosts, "--different-hosts"),
        ):
            if given:
                raise EdgeError(f"{option} compares with a baseline: give --baseline REPORT too")
    return arguments


def _digests(models: Path, backends: tuple[str, ...]) -> dict[str, str]:
    """Of the artifacts that will be measured; what cannot be read is a failed row, later."""
    digests = {}
    for name in {case.artifact for case in cases.enumerate_cases(models, backends)} | {
        cases.REFERENCE
    }:
        with suppress(ArtifactError):
            digests[name] = artifact.read(models / name).spec.digest
    return digests


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
