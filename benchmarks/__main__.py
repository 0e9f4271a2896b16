"""Measure parity and latency, and write a report."""

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
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, ArtifactError, EdgeError, printable
from runtime.model import artifact

# The default of --max-slowdown: a case fails if it takes more than this factor of the baseline's
# time and the confidence interval of the ratio is above 1.
MAX_SLOWDOWN = 1.2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if a case fails or is too slow in comparison with the baseline."""
    arguments = parse_args(argv)
    from benchmarks import boards, compare
    from benchmarks.report import terminal, write
    from benchmarks.schema import report

    device = client.device_of(arguments)
    baseline = report.read(arguments.baseline) if arguments.baseline else None
    settings = latency.settings_of(arguments)
    threads = latency.parse_threads(arguments.threads, arguments.quick)
    external_pythons = tuple(map(cases.parse_external_python, arguments.python))
    folder = arguments.out or arguments.models / "report"
    allow_different = arguments.different_models, arguments.different_hosts
    # Detect errors before the measurements, which take minutes.
    cases.check_folder(arguments.models)
    write.check(folder)
    if arguments.submit is not None and not arguments.submit.absolute().parent.is_dir():
        raise EdgeError(f"--submit {arguments.submit}: its folder does not exist: make it first")
    if baseline is not None:
        digests = _digests(arguments.models, tuple(arguments.backend))
        compare.check(baseline, settings, machine.describe(), digests, *allow_different)
    if device is not None:
        client.check_connection(device)
    test_set = load_test_set(arguments.data, arguments.models)
    remote = None
    if device is not None:
        remote = client.measure(
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
    parity_report = parity.compare(
        arguments.models,
        test_set,
        backends=tuple(arguments.backend),
        device=arguments.device,
        tolerance=parity.tolerance_of(arguments),
        fail_fast=arguments.fail_fast,
        explain=arguments.explain or not arguments.quick,
        external_pythons=external_pythons,
        elsewhere=remote.answers if remote else None,
        progress=lambda line: terminal.show_progress(f"parity: {line}"),
    )
    latency_report = latency.measure(
        arguments.models,
        settings,
        backends=tuple(arguments.backend),
        device=arguments.device,
        threads=threads,
        external_pythons=external_pythons,
        progress=lambda line: terminal.show_progress(f"latency: {line}"),
    )
    terminal.clear()
    made = report.make(parity_report, latency_report, remote.latency if remote else None)
    terminal.print_report(made)
    write.write(made, folder)
    page = printable(str(folder / write.HTML_NAME))
    print(f"written: {page}, {write.MARKDOWN_NAME}, {write.JSON_NAME}")
    if arguments.submit is not None:
        boards.submit(made, arguments.models, arguments.submit)
        print(printable(f"written: {arguments.submit}: docs/boards.md says how to send it"))
    if baseline is not None:
        comparison = compare.compare(baseline, made, *allow_different)
        compare.print_comparison(comparison)
        max_slowdown = MAX_SLOWDOWN if arguments.max_slowdown is None else arguments.max_slowdown
        failures = comparison.failures + comparison.slower_than(max_slowdown)
        terminal.print_verdict(f"Baseline {arguments.baseline}", failures)
        if failures:
            return CHECK_FAILED
    return 0 if made else CHECK_FAILED


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options.

    Raises:
        EdgeError: an option that needs --baseline is given without it.
    """
    parser = CommandParser(
        "digit-edge benchmark",
        "Measure parity and latency of the artifacts and write a report.",
        {0: "measured", 3: "a case failed, or is too slow in comparison with the baseline"},
    )
    cases.add_arguments(parser)
    parity.add_arguments(parser)
    latency.add_arguments(parser)
    client.add_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the report (default: report in that of the artifacts)",
    )
    parser.add_argument(
        "--submit",
        type=Path,
        metavar="FILE",
        help="also write the figures of this board, without names and addresses, to FILE, which "
        "you can attach to an issue (docs/boards.md)",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="report.json of an earlier run to compare the timings with",
    )
    parser.add_argument(
        "--max-slowdown",
        type=float,
        metavar="X",
        help="fail if a case takes more than this factor of the baseline's time and the "
        f"difference is significant (default: {MAX_SLOWDOWN})",
    )
    parser.add_argument(
        "--different-models",
        action="store_true",
        help="allow a baseline of artifacts with different digests",
    )
    parser.add_argument(
        "--different-hosts",
        action="store_true",
        help="allow a baseline from a different machine",
    )
    arguments = parser.parse_args(argv)
    if arguments.baseline is None:
        for is_set, option in (
            (arguments.max_slowdown is not None, "--max-slowdown"),
            (arguments.different_models, "--different-models"),
            (arguments.different_hosts, "--different-hosts"),
        ):
            if is_set:
                raise EdgeError(f"{option} compares with a baseline: give --baseline FILE too")
    return arguments


def _digests(models: Path, backends: tuple[str, ...]) -> dict[str, str]:
    """Return the digests of the artifacts that will be measured, by file name.

    Artifacts that cannot be read are left out; the run reports them as failed cases.
    """
    digests = {}
    names = {case.artifact for case in cases.enumerate_cases(models, backends)}
    for name in names | {cases.find_reference(models) or cases.REFERENCE}:
        with suppress(ArtifactError):
            digests[name] = artifact.read(models / name).spec.digest
    return digests


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
