"""Writes the results of `digit-edge benchmark` to report.json, report.md and report.html."""

from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.serialize import to_json
from benchmarks.report import html, html_templates, markdown, related
from benchmarks.schema.report import BenchmarkReport
from runtime.system import atomic_write

JSON_NAME = "report.json"  # all results; the other two files are rendered from it
MARKDOWN_NAME = "report.md"
HTML_NAME = "report.html"


def check(folder: Path) -> None:
    """Check before a run that `write` will succeed.

    Raises:
        EdgeError: the folder is not writable, or a related report in it is invalid.
        ModuleNotFoundError: jinja2 is not installed.
    """
    html_templates.environment()
    output_dir.check_folder(folder)
    related.read(folder)


def write(report: BenchmarkReport, folder: Path) -> None:
    """Write the three files of a report into `folder`.

    If the folder contains robustness.json or rejection.json, the pages include their results.

    Raises:
        EdgeError: a file cannot be written, or a related report in the folder is invalid.
    """
    # The JSON comes first: if rendering fails, the measurements are not lost.
    atomic_write.write(folder / JSON_NAME, to_json(report))
    related_reports = related.read(folder)
    atomic_write.write(folder / MARKDOWN_NAME, markdown.render(report, related_reports))
    atomic_write.write(folder / HTML_NAME, html.render(report, related_reports))
