"""The tables on the terminal: they fit its width, and name what they leave out."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.harness.serialize import from_json
from benchmarks.photos import report as photos
from benchmarks.rejection import report as rejection
from benchmarks.report import terminal, text_table
from benchmarks.report.formats import Table, counted
from benchmarks.robustness import report as robustness
from benchmarks.schema import report
from benchmarks.schema.photos import PhotosReport
from benchmarks.schema.rejection import RejectionReport
from benchmarks.schema.report import BenchmarkReport
from benchmarks.schema.robustness import RobustnessReport

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def published() -> BenchmarkReport:
    """Return the published report, as if its timings and predictions were also a device's."""
    made = report.read(RESULTS / "report.json")
    parity = dataclasses.replace(made.parity, device_results=made.parity.results)
    return dataclasses.replace(made, parity=parity, device=made.latency)


@pytest.fixture
def collected(published, monkeypatch) -> list[Table]:
    """Return all tables with lines that the benchmark commands print for the published results."""
    tables: list[Table] = []
    monkeypatch.setattr(terminal, "print_tables", lambda printed, remedy="": tables.extend(printed))
    terminal.print_parity(published.parity)
    terminal.print_latency(published.latency)
    terminal.print_report(published)
    for kind, print_report in (
        (PhotosReport, photos.print_report),
        (RejectionReport, rejection.print_report),
        (RobustnessReport, robustness.print_report),
    ):
        name = kind.__name__.removesuffix("Report").lower() + ".json"
        print_report(from_json(kind, (RESULTS / name).read_bytes(), name))
    compare.print_comparison(compare.compare(published, published))
    return [table for table in tables if table.lines]


def test_published_tables_are_collected(collected) -> None:
    titles = {table.title for table in collected}
    assert {"Summary", "Latency", "This machine and the device", "Mistakes"} <= titles
    assert len(titles) > 30


def test_columns_have_unique_names(collected) -> None:
    for table in collected:
        assert all(table.header)
        assert len(table.header) == len(set(table.header))
        assert set(table.optional) < set(table.header)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_tables_fit_the_width(collected, width) -> None:
    for table in collected:
        lines, _ = text_table.render(table, width)
        assert max(map(len, lines)) <= width, table.title


def cells_of(lines: list[str]) -> str:
    """Return the text of lines without white space, for a search regardless of wrapping."""
    return "".join("".join(lines).split())


@pytest.mark.parametrize("width", [40, 80, 100])
def test_columns_are_complete_unless_they_are_optional(collected, width) -> None:
    for table in collected:
        lines, hidden = text_table.render(table, width)
        # Cells of a block are joined line by line, so compare the characters, not the text.
        characters = sorted(cells_of(lines))
        for index, name in enumerate(table.header):
            if name not in table.optional:
                column = sorted(cells_of([line[index] for line in table.lines]))
                assert all(characters.count(c) >= column.count(c) for c in set(column)), name
        assert hidden <= len(table.optional)


def test_lines_of_a_wide_terminal_have_all_columns(collected) -> None:
    for table in collected:
        lines, hidden = text_table.render(table, 500)
        assert hidden == 0
        assert len(lines) == 1 + len(table.lines)
        assert [line.split() for line in lines] == [
            " ".join(line).split() for line in (table.header, *table.lines)
        ]


WIDE = Table(
    "title",
    ("name", "largest difference", "p50", "p90", "remark"),
    (
        ("digits.tflite", "0.5", "48.4 µs", "52.4 µs", "a remark that is longer than a line"),
        ("digits.onnx", "0.25", "61.8 µs", "85.5 µs", ""),
    ),
    "",
    optional=("p50", "p90"),
)


def test_headers_and_long_texts_are_wrapped_first() -> None:
    lines, hidden = text_table.render(WIDE, 72)
    assert hidden == 0
    assert lines == [
        "                 largest",
        "  name           difference  p50      p90      remark",
        "  digits.tflite  0.5         48.4 µs  52.4 µs  a remark that is longer",
        "                                               than a line",
        "  digits.onnx    0.25        61.8 µs  85.5 µs",
    ]


def test_least_important_columns_are_left_out_next() -> None:
    lines, hidden = text_table.render(WIDE, 60)
    assert hidden == 1
    assert "p50" in lines[1]
    assert "p90" not in lines[1]


def test_columns_continue_in_a_block_below() -> None:
    lines, hidden = text_table.render(WIDE, 32)
    assert hidden == 2
    assert [line.split()[0] for line in lines if line.strip()].count("name") == 2
    assert "" in lines


def test_numbers_are_not_wrapped_while_texts_can_be() -> None:
    table = Table("", ("engine", "p50"), (("keras tf.function 3.15", "48.4 µs"),))
    lines, _ = text_table.render(table, 24)
    assert lines == ["  engine         p50", "  keras          48.4 µs", "  tf.function", "  3.15"]


def test_long_words_are_broken_if_nothing_else_helps() -> None:
    lines, _ = text_table.render(Table("", ("file", "n"), (("x" * 90, "1"),)), 40)
    assert cells_of(lines).count("x") == 90
    assert max(map(len, lines)) <= 40


@pytest.fixture
def print_table(capsys, monkeypatch):
    """Return a function that prints a table on a terminal of some width; it returns the lines."""

    def print_in(width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        terminal.print_tables([WIDE, WIDE], "report.md contains all")
        return capsys.readouterr().out.splitlines()

    return print_in


def test_one_line_says_how_many_columns_are_left_out(print_table) -> None:
    remark = "  2 columns are left out to fit 60 characters: report.md"
    assert [line for line in print_table(60) if "left out" in line] == [remark]


def test_nothing_is_said_if_no_column_is_left_out(print_table) -> None:
    assert "left out" not in "".join(print_table(200))


def test_notes_are_wrapped(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    terminal.print_tables([dataclasses.replace(WIDE, note="a note " * 30, title="Title " * 20)])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 50


def test_tables_without_lines_are_not_printed(capsys) -> None:
    terminal.print_tables([Table("Title", ("a",), ())])
    assert capsys.readouterr().out == ""


def test_tables_have_100_columns_if_stdout_is_not_a_terminal() -> None:
    program = (
        "from pathlib import Path; from benchmarks.report import terminal;"
        "from benchmarks.schema import report;"
        f"made = report.read(Path({str(RESULTS / 'report.json')!r}));"
        "terminal.print_report(made)"
    )
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
        env=variables | {"PYTHONIOENCODING": "utf-8"}, encoding="utf-8",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert 90 < max(map(len, lines)) <= 100
    assert re.search(r"\d+ columns are left out to fit 100 characters", done.stdout)


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (10_000, "10,000 cases")]
)
def test_nouns_agree_with_their_number(n, text) -> None:
    assert counted(n, "case") == text


def test_irregular_plurals_are_given() -> None:
    assert counted(1, "process", "processes") == "1 process"
    assert counted(3, "process", "processes") == "3 processes"
