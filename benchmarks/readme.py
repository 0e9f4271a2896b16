"""The README's table of results, from a report: python -m benchmarks.readme."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.errors import CHECK_FAILED, EdgeError, printable
from runtime.system import atomic_write

START, END = "<!-- results -->", "<!-- /results -->"
_REPORT, _README = Path("benchmarks/results/report.json"), Path("README.md")
# Columns of the report's summary, in the order they have here.
_COLUMNS = ("artifact", "engine", "accuracy", "agreement", "p50", "images/s", "start", "memory",
            "size", "verdict")  # fmt: skip


def render(report_path: Path, readme: Path) -> str:
    """What belongs between the two marks: the table and where its figures come from.

    Raises:
        EdgeError: the report cannot be read.
    """
    from benchmarks.report import markdown, summary_tables
    from benchmarks.schema import report

    made = report.read(report_path)
    summary = summary_tables.summary(made.parity, made.latency)
    places = [summary.header.index(name) for name in _COLUMNS]
    lines = [tuple(line[place] for place in places) for line in summary.lines]
    page = report_path.with_suffix(".md")
    link = Path(os.path.relpath(page.resolve(), readme.resolve().parent)).as_posix()
    host, settings = made.latency.host, made.latency.settings
    commands = [
        "python -m benchmarks.parity",
        f"python -m benchmarks.latency --repetitions {settings.repetitions} "
        f"--min-seconds {settings.min_seconds:g} --min-count {settings.min_count}",
    ]
    note = (
        f"{markdown.plain_text(host.cpu)}, {host.cores} cores, "
        f"{markdown.plain_text(host.system)}, {markdown.plain_text(made.created[:10])}; "
        f"{made.parity.n:,} test images of {markdown.plain_text(made.parity.dataset)}; "
        f"one image at a time on one thread (Keras: {host.cores}), images/s in the fastest "
        "batch, start up to the first answer. "
        f"{' and '.join(f'`{command}`' for command in commands)}, or both at once: "
        f"`python -m benchmarks`. All figures: [{page.name}]({link}).\n\n"
        "p50 is the time of a typical call; agreement says how many answers are the same as "
        "Keras's. INVALID timing: the machine was busy, for medians of halves or repetitions of a "
        f"measurement differ by more than a factor of {settings.max_drift:g}{settings.retry_note}; "
        "accuracy is not touched by that. int8 is faster than float only on processors with "
        "instructions for it (VNNI, dot product)."
    )
    if not made:
        failures = markdown.plain_text("; ".join(made.failures))
        note = f"**This run FAILED**: {failures}.\n\n{note}"
    return f"{markdown.render_lines(_COLUMNS, lines)}\n\n{note}"


def replace(text: str, results: str) -> str:
    """The README's text with `results` between its marks.

    Raises:
        EdgeError: it has not both marks, once each and in their order.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise EdgeError(f"{START} and {END} must stand in the README, once each, in this order")
    return f"{before}{START}\n\n{results}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 3 where --check finds another table than the report gives."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--report", type=Path, default=_REPORT, help="(%(default)s)")
    parser.add_argument("--readme", type=Path, default=_README, help="(%(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; 3 if it drifted")
    arguments = parser.parse_args(argv)
    results = render(arguments.report, arguments.readme)
    try:
        text = arguments.readme.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"cannot read {arguments.readme}: {error}") from error
    wanted = replace(text, results)
    if wanted == text:
        print(printable(f"{arguments.readme} shows {arguments.report}"))
        return 0
    if arguments.check:
        drift = f"{arguments.readme} does not show {arguments.report}"
        print(printable(f"error: {drift}: run python -m benchmarks.readme"), file=sys.stderr)
        return CHECK_FAILED
    atomic_write.write(arguments.readme, wanted)
    print(printable(f"written: {arguments.readme}"))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
