"""Write the README's table of results from a report.json, or check that it is up to date.

Run as python -m benchmarks.readme. The table is between two HTML comments in the README.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError, printable
from runtime.system import atomic_write

START = "<!-- results -->"  # the line before the table in the README
END = "<!-- /results -->"  # the line after the table
_REPORT = Path("benchmarks/results/report.json")  # the default of --report
_README = Path("README.md")  # the default of --readme
# The columns of the README's table, a selection of those of the report's summary.
_COLUMNS = ("artifact", "engine", "accuracy", "agreement", "p50", "images/s", "start", "memory",
            "size", "verdict")  # fmt: skip


def render(report_path: Path, readme: Path) -> str:
    """Return the Markdown between START and END: the table, the machine, and the commands.

    Args:
        report_path: path of report.json. The link to all figures leads to the .md file beside it.
        readme: path of the README, which the link is relative to.

    Raises:
        EdgeError: the report cannot be read.
    """
    from benchmarks.report import markdown, summary_tables
    from benchmarks.report.formats import counted
    from benchmarks.schema import report

    made = report.read(report_path)
    summary = summary_tables.summary(made.parity, made.latency)
    indices = [summary.header.index(name) for name in _COLUMNS]
    lines = [tuple(line[index] for index in indices) for line in summary.lines]
    page = report_path.with_suffix(".md")
    link = Path(os.path.relpath(page.resolve(), readme.resolve().parent)).as_posix()
    host, settings = made.latency.host, made.latency.settings
    commands = [
        "digit-edge benchmark-parity",
        f"digit-edge benchmark-latency --repetitions {settings.repetitions} "
        f"--min-seconds {settings.min_seconds:g} --min-count {settings.min_count}",
    ]
    note = (
        f"{markdown.plain_text(host.cpu)}, {counted(host.cores, 'core')}, "
        f"{markdown.plain_text(host.system)}, {markdown.plain_text(made.created[:10])}; "
        f"{counted(made.parity.n, 'test image')} of {markdown.plain_text(made.parity.dataset)}; "
        f"one image per call on one thread (Keras: {host.cores}). images/s: with the fastest batch "
        "size. start: the time from the start of the process to the first prediction. "
        f"{' and '.join(f'`{command}`' for command in commands)} print these figures, "
        f"`digit-edge benchmark` both at once. All figures: [{page.name}]({link}).\n\n"
        "p50 is the median duration of a call; agreement is the share of predictions equal to "
        "those of Keras. INVALID timing: medians differed by more than a factor of "
        f"{settings.max_drift:g} within or between repetitions{settings.retry_note}, so the "
        "machine was too noisy; accuracy is unaffected. int8 is faster than float only on "
        "processors with instructions for it (VNNI, dot product)."
    )
    if not made:
        failures = markdown.plain_text("; ".join(made.failures))
        note = f"**This run FAILED**: {failures}.\n\n{note}"
    return f"{markdown.render_lines(_COLUMNS, lines)}\n\n{note}"


def replace(text: str, results: str) -> str:
    """Return the text of a README with `results` between START and END.

    Raises:
        EdgeError: the text does not contain START and END once each, in this order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise EdgeError(f"the README must contain {START} and {END}, once each, in this order")
    return f"{before}{START}\n\n{results}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 3 if --check finds that the table is not up to date."""
    parser = CommandParser(
        "python -m benchmarks.readme",
        "Write the README's table of results from a report.json.",
        {3: "--check found that the table is not up to date"},
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=_REPORT,
        metavar="FILE",
        help="the report.json to read (default: %(default)s)",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        default=_README,
        metavar="FILE",
        help="the README to update (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with status 3 if the table is not up to date",
    )
    arguments = parser.parse_args(argv)
    results = render(arguments.report, arguments.readme)
    try:
        text = arguments.readme.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"cannot read {arguments.readme}: {error}") from error
    updated = replace(text, results)
    if updated == text:
        print(printable(f"{arguments.readme} is up to date with {arguments.report}"))
        return 0
    if arguments.check:
        drift = f"{arguments.readme} is not up to date with {arguments.report}"
        print(printable(f"error: {drift}: run python -m benchmarks.readme"), file=sys.stderr)
        return CHECK_FAILED
    atomic_write.write(arguments.readme, updated)
    print(printable(f"written: {arguments.readme}"))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
