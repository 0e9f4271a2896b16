"""Anonymous measurements of volunteers' boards, and the table of docs/boards.md.

`digit-edge benchmark --submit FILE` writes a `Submission`. Maintainers put such files into
benchmarks/results/boards and run `python -m benchmarks.boards`, which writes the table.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.harness import messages
from benchmarks.harness.machine import Host
from benchmarks.harness.serialize import (
    NonEmpty,
    NonNegative,
    Positive,
    Precision,
    read_report,
    to_json,
)
from benchmarks.schema.latency import LatencyReport
from benchmarks.schema.parity import ParityResult
from benchmarks.schema.report import BenchmarkReport
from runtime import __version__
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError, printable
from runtime.selftest import selftest
from runtime.system import atomic_write

SCHEMA_VERSION = 1  # of the JSON format
FOLDER = Path("benchmarks/results/boards")  # the submissions, in a checkout
PAGE = Path("docs/boards.md")  # the page with the table
# Names of data sets that everybody has. Another name may be that of a private folder.
_KNOWN_DATASETS = ("MNIST", "embedded digits")
_OTHER_DATASET = "other"


@dataclass(frozen=True)
class BoardFigures:
    """The figures of one artifact in one engine, without its file name.

    Attributes:
        format: suffix of the artifact, such as ".tflite".
        precision: "float32" or "int8".
        digest: SHA-256 of the artifact.
        engine: name of the engine.
        version: version of the engine.
        device: the processor, such as "cpu".
        threads: number of threads.
        n: number of test images.
        correct: number of correct predictions.
        equal: number of predictions that equal those of the Keras model.
        passed: whether the comparison with the Keras model passed.
        p50_ns: median duration of a call with one image; None if not measured.
        p90_ns: 90th percentile of it; None if not measured.
        images_per_second: with the fastest batch size; None if not measured.
        start_ns: from the start of the process to the first prediction; None if not measured.
        memory_bytes: peak resident memory after the first prediction; None if unknown.
        valid: whether the timing is valid: the machine was quiet enough.
    """

    format: str
    precision: Precision
    digest: str
    engine: str
    version: str
    device: str
    threads: Positive
    n: Positive
    correct: NonNegative
    equal: NonNegative
    passed: bool
    p50_ns: float | None
    p90_ns: float | None
    images_per_second: float | None
    start_ns: float | None
    memory_bytes: int | None
    valid: bool


@dataclass(frozen=True)
class BoardSelfTest:
    """The self-test of one artifact in one engine.

    Attributes:
        digest: SHA-256 of the artifact.
        engine: name of the engine.
        passed: whether all checks of the engine passed.
    """

    digest: str
    engine: str
    passed: bool


@dataclass(frozen=True)
class Submission:
    """The figures of a board.

    It contains no name of a host, a user, a file or a folder, and no address.

    Attributes:
        schema_version: version of this format.
        created: date and time in UTC, ISO 8601.
        program: version of digit-edge.
        dataset: name of the test images: "MNIST", "embedded digits" or "other".
        board: the machine.
        figures: one entry for each artifact and engine.
        selftests: the results of the self-test; empty if the board was measured over ssh.
    """

    schema_version: int
    created: str
    program: str
    dataset: str
    board: Host
    figures: NonEmpty[BoardFigures]
    selftests: tuple[BoardSelfTest, ...] = ()


def submit(report: BenchmarkReport, models: Path, path: Path) -> None:
    """Write the submission of a run.

    Args:
        report: the report of the run. If it has figures of a device (--on), those are submitted.
        models: folder of the artifacts, for the self-test.
        path: the file to write.

    Raises:
        EdgeError: nothing was measured, or the file cannot be written.
    """
    atomic_write.write(path, to_json(make_submission(report, models)))


def make_submission(report: BenchmarkReport, models: Path) -> Submission:
    """Return the submission of a run; see `submit`."""
    parity, latency, results = report.parity, report.latency, report.parity.results
    if report.device is not None:
        latency, results = report.device, report.parity.device_results
    if not results:
        raise EdgeError("nothing was measured, so there is nothing to submit: see the table above")
    selftests: tuple[BoardSelfTest, ...] = ()
    if report.device is None:
        names = sorted({result.case.artifact for result in results})
        selftests = tuple(each for name in names for each in _selftests(models / name))
    dataset = parity.dataset if parity.dataset in _KNOWN_DATASETS else _OTHER_DATASET
    return Submission(
        SCHEMA_VERSION,
        report.created,
        __version__,
        dataset,
        latency.host,
        tuple(_figures(result, latency) for result in results),
        selftests,
    )


def _figures(result: ParityResult, latency: LatencyReport) -> BoardFigures:
    case = result.case
    single, offline = latency.find(case, messages.SINGLE), latency.find(case, messages.OFFLINE)
    start = next((start for start in latency.starts if start.case == case), None)
    timed = [each for each in (single, offline) if each is not None]
    return BoardFigures(
        format=Path(case.artifact).suffix,
        precision=result.precision,
        digest=result.digest,
        engine=case.backend,
        version=result.version,
        device=case.device,
        threads=case.threads,
        n=result.n,
        correct=result.candidate.correct,
        equal=result.n - len(result.flips),
        passed=bool(result),
        p50_ns=single.percentile_ns(50) if single else None,
        p90_ns=single.percentile_ns(90) if single else None,
        images_per_second=offline.images_per_second if offline else None,
        start_ns=start.total_ns if start else None,
        memory_bytes=start.median.peak_bytes if start else None,
        valid=bool(timed) and not any(each.problems(latency.settings) for each in timed),
    )


def _selftests(path: Path) -> list[BoardSelfTest]:
    report = selftest(path)
    file_passed = all(check.passed for check in report.checks)
    return [
        BoardSelfTest(
            report.digest, engine.name, file_passed and all(c.passed for c in engine.checks)
        )
        for engine in report.engines
    ]


def read(path: Path) -> Submission:
    """Read a submission.

    Raises:
        EdgeError: the file is missing, is not a submission, or has another schema version.
    """
    return read_report(Submission, path, SCHEMA_VERSION, "digit-edge benchmark --submit FILE")


def table(submissions: Sequence[Submission]) -> str:
    """Return the Markdown table of all submissions, the newest first."""
    from benchmarks.report import markdown
    from benchmarks.report.formats import duration, megabytes, percent

    if not submissions:
        return "Nobody has sent figures yet."
    lines = []
    for each in sorted(submissions, key=lambda each: each.created, reverse=True):
        for row in each.figures:
            tests = [t for t in each.selftests if (t.digest, t.engine) == (row.digest, row.engine)]
            tested = "passed" if all(test.passed for test in tests) else "FAILED"
            lines.append(
                (
                    f"{each.board.cpu}, {each.board.machine}",
                    f"{row.precision} {row.format}",
                    row.digest[:12],
                    f"{row.engine} {row.version}",
                    duration(row.p50_ns) + ("" if row.valid else " INVALID"),
                    "–" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
                    duration(row.start_ns),
                    "–" if row.memory_bytes is None else megabytes(row.memory_bytes),
                    f"{percent(row.equal / row.n)} of {row.n:,}",
                    tested if tests else "–",
                    each.created[:10],
                )
            )
    header = (
        *("board", "artifact", "digest", "engine", "p50", "images/s", "start", "memory"),
        *("agreement", "self-test", "date"),
    )
    cells = [tuple(markdown.plain_text(cell) for cell in line) for line in lines]
    return markdown.render_lines(header, cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table of docs/boards.md, or check that it is up to date."""
    parser = CommandParser(
        "python -m benchmarks.boards",
        "Write the table of docs/boards.md from the files in benchmarks/results/boards.",
        {0: "written, or up to date", 3: "--check found that the table is not up to date"},
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with status 3 if the table is not up to date",
    )
    arguments = parser.parse_args(argv)
    try:
        text = PAGE.read_text("utf-8")
    except OSError as error:
        raise EdgeError(f"cannot read {PAGE}: run this command in a checkout") from error
    submissions = [read(path) for path in sorted(FOLDER.glob("*.json"))]
    updated = readme.replace(text, table(submissions))
    if updated == text:
        print(printable(f"{PAGE} is up to date"))
        return 0
    if arguments.check:
        drift = f"{PAGE} is not up to date: run python -m benchmarks.boards"
        print(printable(f"error: {drift}"), file=sys.stderr)
        return CHECK_FAILED
    atomic_write.write(PAGE, updated)
    print(printable(f"written: {PAGE}"))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
