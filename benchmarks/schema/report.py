"""The report of `digit-edge benchmark`: parity and latency together, as stored in report.json."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.harness.serialize import read_report
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport

SCHEMA_VERSION = 1  # of report.json; `read` rejects other versions


@dataclass(frozen=True)
class BenchmarkReport:
    """The report of a run; true if nothing failed.

    Attributes:
        schema_version: the version of this format.
        created: date and time in UTC, ISO 8601.
        parity: the results of the parity benchmark.
        latency: the results of the latency benchmark on this machine.
        device: the results of the latency benchmark on the machine of --on, if any.
    """

    schema_version: int
    created: str
    parity: ParityReport
    latency: LatencyReport
    device: LatencyReport | None = None

    def __bool__(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the run fails; empty if it passes."""
        # A dict removes duplicates: a missing artifact fails both parity and latency.
        failures = dict.fromkeys(self.parity.failures + self.latency.failures)
        remote = () if self.device is None else self.device.failures
        return tuple(dict.fromkeys((*failures, *(f"on the device: {reason}" for reason in remote))))


def make(
    parity: ParityReport, latency: LatencyReport, device: LatencyReport | None = None
) -> BenchmarkReport:
    """Return the report of a run, with the current date and time."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return BenchmarkReport(SCHEMA_VERSION, now, parity, latency, device)


def read(path: Path) -> BenchmarkReport:
    """Read a report.json.

    Raises:
        EdgeError: the file is missing, is not a report, or has another schema version.
    """
    return read_report(BenchmarkReport, path, SCHEMA_VERSION, "digit-edge benchmark")
