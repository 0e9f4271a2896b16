"""Test the table of `make pi`: regressions, repeated measurements, pi.json and pi.md."""

import dataclasses

import pytest

from deploy.emulation import __main__ as emulation
from deploy.emulation import roots, table
from deploy.emulation.__main__ import measure_all, verdict
from deploy.emulation.table import BASELINE, Row, markdown, read, write
from deploy.systems import SYSTEMS
from runtime.errors import EdgeError

ROW = Row("trixie-arm64", "cortex-a53", "litert", "", "2.3.0", 1000, 1000, 1000, 1000, 1000)
# The fields that are compared with the baseline.
FIGURES = [field.name for field in dataclasses.fields(Row) if field.type is int]


def test_help_prints_the_percent_sign(capsys):
    with pytest.raises(SystemExit):
        emulation.parse_args(["--help"])
    assert "more than 2 % worse" in " ".join(capsys.readouterr().out.split())


def test_row_has_five_figures():
    assert len(FIGURES) == 5


@pytest.mark.parametrize("figure", FIGURES)
def test_figure_more_than_two_percent_worse_fails(figure, capsys):
    assert verdict([dataclasses.replace(ROW, **{figure: 1020})], [ROW]) == 0
    assert verdict([dataclasses.replace(ROW, **{figure: 1021})], [ROW]) == 3
    printed = capsys.readouterr().err
    assert printed.startswith("error: trixie-arm64 cortex-a53 litert: ")
    assert "+2.1%" in printed


def test_missing_or_absent_row_fails():
    assert verdict([], [ROW]) == 3
    assert verdict([Row(*dataclasses.astuple(ROW)[:3], absent="no wheel")], [ROW]) == 3


def test_better_and_new_rows_pass():
    better = dataclasses.replace(ROW, inference_int8=1)
    assert verdict([better, dataclasses.replace(ROW, engine="onnx")], [ROW]) == 0


def test_worse_figure_is_measured_a_second_time(tmp_path, monkeypatch):
    """Measurements are simulated. In real runs one boot of sixteen counted a wait for the disk."""
    slow, slower = (dataclasses.replace(ROW, start_instructions=count) for count in (2000, 4000))
    measured = []
    monkeypatch.setattr(table, "read", lambda: [ROW])
    monkeypatch.setattr(roots, "CACHE", tmp_path)
    monkeypatch.setattr(emulation, "SYSTEMS", [dataclasses.replace(SYSTEMS[1], cpus=(ROW.cpu,))])
    monkeypatch.setattr(table, "make_disk", lambda system, folder: folder)
    monkeypatch.setattr(table, "measure", lambda *_: [measured.pop(0)])
    for first, second, expected in ((ROW, slow, ROW), (slow, ROW, ROW), (slower, slow, slow)):
        measured[:] = [first, second]
        assert measure_all(1) == [expected]


def test_rows_survive_writing_and_reading(tmp_path):
    rows = [ROW, Row("bookworm-armhf", "cortex-a53", "litert", absent="no 32-bit wheel")]
    write(rows, tmp_path / "pi.json")
    assert read(tmp_path / "pi.json") == rows
    assert "does not run: no 32-bit wheel" in (tmp_path / "pi.md").read_text()


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 9, "rows": []}', "[1]"])
def test_damaged_baseline_is_an_error(tmp_path, text):
    (tmp_path / "pi.json").write_text(text)
    with pytest.raises(EdgeError, match="make a new baseline"):
        read(tmp_path / "pi.json")


def test_committed_page_matches_the_committed_figures():
    if not BASELINE.exists():
        pytest.skip("no baseline yet: python -m deploy.emulation --baseline")
    assert BASELINE.with_suffix(".md").read_text() == markdown(read())
