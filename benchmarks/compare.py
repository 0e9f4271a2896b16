"""Two reports side by side, a ratio with an interval a row: python -m benchmarks.compare."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.cases import BenchmarkCase
from benchmarks.harness.machine import Host
from benchmarks.schema.latency import LatencyResult, Settings
from benchmarks.schema.report import BenchmarkReport
from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, EdgeError, printable

FASTER, SLOWER, NO_DIFFERENCE = "faster", "slower", "no difference"
ONE_REPETITION = (
    "one repetition tells nothing of how processes differ: measure with --repetitions 2 or more"
)
_START = "start to first answer"


@dataclass(frozen=True)
class RowComparison:
    """One row in two runs: how many times as long the second takes, with a 95 % interval."""

    case: BenchmarkCase
    scenario: str
    before_ns: float
    after_ns: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Which is faster, where the interval leaves 1 out."""
        if self.high < 1:
            return FASTER
        return SLOWER if self.low > 1 else NO_DIFFERENCE


@dataclass(frozen=True)
class Comparison:
    """All rows that both runs have, and those that only one has."""

    rows: tuple[RowComparison, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Why there is no comparison; empty if there is one."""
        return () if self.rows else ("nothing was compared: the runs have no row in common",)

    def slower_than(self, max_slowdown: float) -> tuple[str, ...]:
        """The rows that are surely slower and by more than this factor, and those that are gone."""
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
    """Compare the medians of each row and scenario.

    Raises:
        EdgeError: a run has one repetition, or the runs are of different machines or artifacts and
            that was not asked for; or SciPy is not installed.
    """
    latency = after.latency
    digests = _digests(after)
    check(before, latency.settings, latency.host, digests, different_models, different_hosts)
    first, second = _samples(before), _samples(after)
    shared = [key for key in first if key in second]
    return Comparison(
        rows=tuple(compare_cases(*key, first[key], second[key]) for key in shared),
        only_before=tuple(f"{case}, {what}" for case, what in first if (case, what) not in second),
        only_after=tuple(f"{case}, {what}" for case, what in second if (case, what) not in first),
    )


def check(
    before: BenchmarkReport,
    settings: Settings,
    host: Host,
    digests: Mapping[str, str],
    different_models: bool = False,
    different_hosts: bool = False,
) -> None:
    """Refuse a run that cannot be compared with the one before it; it need not be measured yet.

    Args:
        digests: of the run's artifacts, by their names.

    Raises:
        EdgeError: as `compare`.
    """
    if min(before.latency.settings.repetitions, settings.repetitions) < 2:
        raise EdgeError(ONE_REPETITION)
    first = before.latency.host
    if not different_hosts and first.identity() != host.identity():
        raise EdgeError(
            f"the runs are of different machines, {_name(first)} and {_name(host)}: compare with "
            "--different-hosts"
        )
    for artifact, digest in _digests(before).items():
        if not different_models and digests.get(artifact, digest) != digest:
            raise EdgeError(
                f"{artifact} is not the same model in both runs: compare with --different-models"
            )


def compare_cases(
    case: BenchmarkCase, scenario: str, before_ns: Sequence[float], after_ns: Sequence[float]
) -> RowComparison:
    """The ratio of two times, each known from several processes, with its 95 % interval.

    The unit of chance is the process, not the call: memory layout and neighbors stay the same
    within one. So the interval is Welch's, of the mean logarithms of the processes' times.
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
    """The times of each row and scenario: per image, one from each process; and its starts."""
    samples = {(r.case, r.scenario): _times_ns(r) for r in report.latency.results}
    for start in report.latency.starts:
        totals = [float(one.total_ns) for one in start.starts]
        if len(totals) > 1:
            samples[start.case, _START] = totals
    return samples


def _digests(report: BenchmarkReport) -> dict[str, str]:
    return {result.case.artifact: result.digest for result in report.latency.results}


def _times_ns(result: LatencyResult) -> list[float]:
    """The median call of each repetition, per image."""
    return [time / result.batch for time in result.medians_ns]


def print_comparison(comparison: Comparison) -> None:
    """Print a line a row."""
    from benchmarks.report import terminal
    from benchmarks.report.formats import Table, duration

    terminal.print_table(
        Table(
            "Time per image, second run over first",
            ("artifact", "engine", "device", "threads", "scenario", "before", "after", "ratio",
             "95 %", "verdict"),
            tuple(
                (
                    r.case.artifact,
                    r.case.backend,
                    r.case.device,
                    str(r.case.threads),
                    r.scenario,
                    duration(r.before_ns),
                    duration(r.after_ns),
                    f"{r.ratio:.3f}",
                    f"{r.low:.3f}–{r.high:.3f}",
                    r.verdict,
                )
                for r in comparison.rows
            ),
            "Medians of the repetitions; Welch's t interval of their logarithms.",
        )
    )  # fmt: skip
    for names, where in ((comparison.only_before, "first"), (comparison.only_after, "second")):
        for name in names:
            print(printable(f"only in the {where} run: {name}"))


def _name(host: Host) -> str:
    return f"{host.cpu} ({host.cores} cores, {host.system.split()[0]})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 if the runs cannot be compared, 3 if they have no row in common."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    parser.add_argument("--different-hosts", action="store_true", help="compare all the same")
    parser.add_argument("--different-models", action="store_true", help="compare all the same")
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
