"""BenchmarkReport: the results of a run, read from report.json."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.harness.serialize import from_json
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity_report import ParityReport
from runtime.errors import EdgeError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class BenchmarkReport:
    """A run of `python -m benchmarks`; true where nothing failed.

    `created` is the date and time in UTC, ISO 8601; `device` is what --on measured elsewhere.
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
        """Why the run fails; empty where it passes."""
        # A missing artifact fails both; say it once.
        failures = dict.fromkeys(self.parity.failures + self.latency.failures)
        elsewhere = () if self.device is None else self.device.failures
        return tuple(dict.fromkeys((*failures, *(f"on the device: {why}" for why in elsewhere))))


def make(
    parity: ParityReport, latency: LatencyReport, device: LatencyReport | None = None
) -> BenchmarkReport:
    """Put the parts of a run together, dated now."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return BenchmarkReport(SCHEMA_VERSION, now, parity, latency, device)


def read(path: Path) -> BenchmarkReport:
    """Read a report.json.

    Raises:
        EdgeError: the file is missing, no report, or of another schema.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise EdgeError(f"cannot read the report {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise EdgeError(f"{path} is no report: give a report.json") from error
    report = from_json(BenchmarkReport, text, str(path))
    if report.schema_version != SCHEMA_VERSION:
        raise EdgeError(
            f"{path} has schema {report.schema_version}, this program reads {SCHEMA_VERSION}: "
            "measure again"
        )
    return report
