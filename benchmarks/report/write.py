"""Writes a run's results: report.json, report.md, report.html."""

from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.serialize import to_json
from benchmarks.report import html, html_templates, markdown, related
from benchmarks.schema.report import BenchmarkReport
from runtime.system import atomic_write

JSON_NAME, MARKDOWN_NAME, HTML_NAME = "report.json", "report.md", "report.html"


def check(folder: Path) -> None:
    """Ask before a run whether `write` will do.

    Raises:
        EdgeError: nothing can be written there, or what lies there is no report.
        ModuleNotFoundError: jinja2 is not installed.
    """
    html_templates.environment()
    output_dir.check_folder(folder)
    related.read(folder)


def write(report: BenchmarkReport, folder: Path) -> None:
    """Write the three files into `folder`; with what other reports lie there.

    Raises:
        EdgeError: they cannot be written, or a robustness.json or rejection.json there is none.
    """
    atomic_write.write(folder / JSON_NAME, to_json(report))  # first: minutes of measuring are in it
    others = related.read(folder)
    atomic_write.write(folder / MARKDOWN_NAME, markdown.render(report, others))
    atomic_write.write(folder / HTML_NAME, html.render(report, others))
