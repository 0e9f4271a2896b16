"""Compare the timings of two reports, case by case.

Run as digit-edge benchmark-compare; digit-edge benchmark --baseline uses it too.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.machine import Host
from benchmarks.report.formats import Table, counted, duration
from benchmarks.schema.latency import LatencyResult, Settings
from benchmarks.schema.report import BenchmarkReport
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError, printable

# Verdicts on a case:
FASTER = "faster"  # the whole interval of the ratio is below 1
SLOWER = "slower"  # the whole interval of the ratio is above 1
NO_DIFFERENCE = "no difference"  # the interval of the ratio contains 1

_START = "start to first answer"  # printed in the scenario column for the cold start


@dataclass(frozen=True)
class RowComparison:
    """The timings of one case and scenario in two runs.

    Attributes:
        case: the artifact, engine, device and threads.
        scenario: the name of the scenario, or "start to first answer" for the cold start.
        before_ns: time per image in the first run, the geometric mean of the repetitions.
        after_ns: the same of the second run.
        ratio: after_ns / before_ns.
        low: lower end of the 95 % confidence interval of the ratio.
        high: upper end of the interval.
    """

    case: BenchmarkCase
    scenario: str
    before_ns: float
    after_ns: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """FASTER, SLOWER or NO_DIFFERENCE."""
        if self.high < 1:
            return FASTER
        return SLOWER if self.low > 1 else NO_DIFFERENCE


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs.

    Attributes:
        rows: the cases and scenarios that both runs have.
        only_before: names of the cases and scenarios that only the first run has.
        only_after: names of those that only the second run has.
    """

    rows: tuple[RowComparison, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why nothing was compared; empty if something was."""
        return () if self.rows else ("nothing was compared: the runs have no case in common",)

    def slower_than(self, max_slowdown: float) -> tuple[str, ...]:
        """Return a line for each case that became too slow or is missing in the second run.

        A case is too slow if its verdict is SLOWER and its ratio exceeds `max_slowdown`.
        """
        slower = [
            f"{r.case}, {r.scenario}: {r.ratio:.2f} times as long ({r.low:.2f}–{r.high:.2f})"
            for r in self.rows
            if r.verdict == SLOWER and r.ratio > max_slowdown
        ]
        return (*slower, *(f"{name}: measured before, not now" for name in self.only_before))


def compare(
    before: BenchmarkReport,
    after: BenchmarkReport,
    different_models: bool = False,
    different_hosts: bool = False,
) -> Comparison:
    """Compare the medians of each case and scenario of two runs.

    Args:
        before: the report of the first run.
        after: the report of the second run.
        different_models: allow artifacts with different digests.
        different_hosts: allow reports of different machines.

    Raises:
        EdgeError: a run has only one repetition, the machines or artifacts differ although that
            is not allowed, or SciPy is not installed.
    """
    latency = after.latency
    digests = _digests(after)
    check(before, latency.settings, latency.host, digests, different_models, different_hosts)
    first, second = _samples(before), _samples(after)
    shared = [key for key in first if key in second]
    return Comparison(
        rows=tuple(compare_cases(*key, first[key], second[key]) for key in shared),
        only_before=tuple(f"{case}, {name}" for case, name in first if (case, name) not in second),
        only_after=tuple(f"{case}, {name}" for case, name in second if (case, name) not in first),
    )


def check(
    before: BenchmarkReport,
    settings: Settings,
    host: Host,
    digests: Mapping[str, str],
    different_models: bool = False,
    different_hosts: bool = False,
) -> None:
    """Check that a planned or finished run can be compared with an earlier report.

    Args:
        before: the report of the earlier run.
        settings: the settings of the other run.
        host: the machine of the other run.
        digests: the digests of the other run's artifacts, by file name.
        different_models: allow artifacts with different digests.
        different_hosts: allow reports of different machines.

    Raises:
        EdgeError: a run has only one repetition, or the machines or artifacts differ although
            that is not allowed.
    """
    if min(before.latency.settings.repetitions, settings.repetitions) < 2:
        raise EdgeError(
            "cannot compute a confidence interval from one repetition: "
            "measure both runs with --repetitions 2 or more"
        )
    first = before.latency.host
    if not different_hosts and first.identity() != host.identity():
        raise EdgeError(
            f"the runs are from different machines, {_name(first)} and {_name(host)}: pass "
            "--different-hosts to compare them anyway"
        )
    for artifact, digest in _digests(before).items():
        if not different_models and digests.get(artifact, digest) != digest:
            raise EdgeError(
                f"{artifact} is not the same model in both runs: pass --different-models to "
                "compare them anyway"
            )


def compare_cases(
    case: BenchmarkCase, scenario: str, before_ns: Sequence[float], after_ns: Sequence[float]
) -> RowComparison:
    """Compute the ratio of two times, each measured in several processes, and its 95 % interval.

    The samples are processes, not calls, because all calls of a process share its memory layout and
    the load of the machine. The interval is Welch's for the means of the logarithms.

    Args:
        case: the artifact, engine, device and threads.
        scenario: the name of the scenario.
        before_ns: the time per image of each process of the first run.
        after_ns: the time per image of each process of the second run.

    Raises:
        EdgeError: SciPy is not installed.
    """
    before, after = np.log(before_ns), np.log(after_ns)
    low, high = statistics.welch_interval(before, after)
    return RowComparison(
        case=case,
        scenario=scenario,
        before_ns=math.exp(before.mean()),
        after_ns=math.exp(after.mean()),
        ratio=math.exp(after.mean() - before.mean()),
        low=math.exp(low),
        high=math.exp(high),
    )


def _samples(report: BenchmarkReport) -> dict[tuple[BenchmarkCase, str], list[float]]:
    """Return the time per image of each process, by case and scenario, with the cold starts.

    Times of a single process are left out, because they have no confidence interval.
    """
    samples = {(r.case, r.scenario): _times_ns(r) for r in report.latency.results}
    for result in report.latency.starts:
        samples[result.case, _START] = [float(start.total_ns) for start in result.starts]
    return {key: times for key, times in samples.items() if len(times) > 1}


def _digests(report: BenchmarkReport) -> dict[str, str]:
    """Return the digests of the measured artifacts, by file name."""
    return {result.case.artifact: result.digest for result in report.latency.results}


def _times_ns(result: LatencyResult) -> list[float]:
    """Return the median duration of a call divided by its images, for each repetition."""
    return [time / result.batch for time in result.medians_ns]


def print_comparison(comparison: Comparison) -> None:
    """Print a table per case with a line per scenario, then the cases that only one run has."""
    from benchmarks.report import terminal

    lines: dict[BenchmarkCase, list[tuple[str, ...]]] = {}
    for row in comparison.rows:
        lines.setdefault(row.case, []).append(
            (
                row.scenario,
                duration(row.before_ns),
                duration(row.after_ns),
                f"{row.ratio:.3f}",
                f"{row.low:.3f}–{row.high:.3f}",
                row.verdict,
            )
        )
    if lines:
        print("Time per image, second run over first: medians of the repetitions, their ratio, and")
        print("Welch's 95 % interval of the ratio, computed from the logarithms.\n")
    header = ("scenario", "before", "after", "ratio", "95 %", "verdict")
    terminal.print_tables(Table(str(case), header, tuple(rows)) for case, rows in lines.items())
    for names, run in ((comparison.only_before, "first"), (comparison.only_after, "second")):
        for name in names:
            print(printable(f"only in the {run} run: {name}"))


def _name(host: Host) -> str:
    """Return a short description of a machine for messages."""
    return f"{host.cpu} ({counted(host.cores, 'core')}, {host.system.partition(' ')[0]})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if the reports have no case in common.

    Raises:
        EdgeError: the reports cannot be read or compared.
    """
    parser = CommandParser(
        "digit-edge benchmark-compare",
        "Compare the timings of two reports: the ratio of each case with its confidence interval.",
        {0: "compared", 3: "the reports have no case in common"},
    )
    parser.add_argument("before", type=Path, metavar="A.json", help="report.json of the first run")
    parser.add_argument("after", type=Path, metavar="B.json", help="report.json of the second run")
    parser.add_argument(
        "--different-hosts", action="store_true", help="allow reports from different machines"
    )
    parser.add_argument(
        "--different-models", action="store_true", help="allow artifacts with different digests"
    )
    arguments = parser.parse_args(argv)
    from benchmarks.report import terminal
    from benchmarks.schema import report

    comparison = compare(
        report.read(arguments.before),
        report.read(arguments.after),
        arguments.different_models,
        arguments.different_hosts,
    )
    print_comparison(comparison)
    if comparison.failures:
        terminal.print_verdict("Comparison", comparison.failures)
        return CHECK_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
