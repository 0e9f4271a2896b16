"""Progress has the rate and the time left."""

import re

from runtime.bulk import run


def test_log_file_gets_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(run, "_LOG_INTERVAL_S", 0.0)
    progress = run._Progress(1000)
    progress.advance(250)
    progress.advance(250)
    progress.clear()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\[#{6}·{18}\]  250 of 1,000  [\d,]+/s  \d+:\d\d left", lines[0])


def test_short_run_prints_no_progress(capsys):
    progress = run._Progress(1000)
    progress.advance(1000)
    progress.clear()
    assert capsys.readouterr().err == ""
