"""The table of `make pi`: what counts as worse, and that the committed page is made from it."""

import dataclasses

import pytest

from deploy.emulation import __main__ as emulation
from deploy.emulation import roots, table
from deploy.emulation.__main__ import measure_all, verdict
from deploy.emulation.table import BASELINE, Row, markdown, read, write
from deploy.systems import SYSTEMS
from runtime.errors import EdgeError

ROW = Row("trixie-arm64", "cortex-a53", "litert", "", "2.3.0", 1000, 1000, 1000, 1000, 1000)
FIGURES = [field.name for field in dataclasses.fields(Row) if field.type is int]


def test_the_help_has_no_percent_sign_too_many(capsys):
    with pytest.raises(SystemExit):
        emulation.parse_args(["--help"])
    assert "more than 2 % worse" in " ".join(capsys.readouterr().out.split())


def test_five_figures_are_held():
    assert len(FIGURES) == 5


@pytest.mark.parametrize("figure", FIGURES)
def test_more_than_two_percent_worse_fails_with_the_row_named(figure, capsys):
    assert verdict([dataclasses.replace(ROW, **{figure: 1020})], [ROW]) == 0
    assert verdict([dataclasses.replace(ROW, **{figure: 1021})], [ROW]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: trixie-arm64 cortex-a53 litert: ")
    assert "+2.1%" in said


def test_a_row_that_is_gone_fails():
    assert verdict([], [ROW]) == 3
    assert verdict([Row(*dataclasses.astuple(ROW)[:3], absent="no wheel")], [ROW]) == 3


def test_better_and_new_rows_pass():
    better = dataclasses.replace(ROW, inference_int8=1)
    assert verdict([better, dataclasses.replace(ROW, engine="onnx")], [ROW]) == 0


def test_what_is_worse_is_measured_once_more(tmp_path, monkeypatch):
    """Without a Pi: one boot of sixteen counted a wait for the disk."""
    slow, slower = (dataclasses.replace(ROW, start_instructions=count) for count in (2000, 4000))
    measured = []
    monkeypatch.setattr(table, "read", lambda: [ROW])
    monkeypatch.setattr(roots, "CACHE", tmp_path)
    monkeypatch.setattr(emulation, "SYSTEMS", [dataclasses.replace(SYSTEMS[1], cpus=(ROW.cpu,))])
    monkeypatch.setattr(table, "make_disk", lambda system, folder: folder)
    monkeypatch.setattr(table, "measure", lambda *_: [measured.pop(0)])
    for first, second, found in ((ROW, slow, ROW), (slow, ROW, ROW), (slower, slow, slow)):
        measured[:] = [first, second]
        assert measure_all(1) == [found]


def test_what_is_written_is_read_again(tmp_path):
    rows = [ROW, Row("bookworm-armhf", "cortex-a53", "litert", absent="no 32-bit wheel")]
    write(rows, tmp_path / "pi.json")
    assert read(tmp_path / "pi.json") == rows
    assert "does not run: no 32-bit wheel" in (tmp_path / "pi.md").read_text()


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 9, "rows": []}', "[1]"])
def test_a_damaged_baseline_is_refused(tmp_path, text):
    (tmp_path / "pi.json").write_text(text)
    with pytest.raises(EdgeError, match="make a new one"):
        read(tmp_path / "pi.json")


def test_the_committed_page_is_that_of_the_committed_figures():
    if not BASELINE.exists():
        pytest.skip("no baseline yet: python -m deploy.emulation --baseline")
    assert BASELINE.with_suffix(".md").read_text() == markdown(read())
