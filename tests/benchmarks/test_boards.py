"""Submissions of boards: they are anonymous, complete, and become the table of docs/boards.md."""

import dataclasses
import getpass
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import boards
from benchmarks.__main__ import main
from benchmarks.schema import report
from runtime.errors import EdgeError

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "benchmarks/results/report.json"
PRETRAINED = ROOT / "runtime/pretrained"


@pytest.fixture(scope="module")
def published():
    return report.read(REPORT)


@pytest.fixture(scope="module")
def submission(published):
    return boards.make_submission(published, PRETRAINED)


def test_submission_has_the_figures_of_the_report(published, submission):
    rows = published.parity.results
    assert len(submission.figures) == len(rows) > 4
    for figures, result in zip(submission.figures, rows, strict=True):
        single = published.latency.find(result.case, "single stream")
        assert figures.digest == result.digest
        assert figures.correct == result.candidate.correct
        assert figures.equal == result.n - len(result.flips)
        assert figures.p50_ns == single.percentile_ns(50)
        assert figures.engine == result.case.backend
    assert submission.board == published.latency.host
    assert submission.dataset == "MNIST"


def test_submission_has_the_self_test_of_every_artifact_on_this_machine(submission):
    assert {(test.engine, test.passed) for test in submission.selftests} == {
        ("litert", True),
        ("onnxruntime", True),
    }
    assert len(submission.selftests) == 4


def test_submission_names_no_host_user_file_or_folder(published, tmp_path):
    private = dataclasses.replace(published.parity, dataset="/home/ada/digits of Ada")
    path = tmp_path / "board.json"
    boards.submit(dataclasses.replace(published, parity=private), PRETRAINED, path)
    text = path.read_text()
    assert json.loads(text)["dataset"] == "other"
    for name in ("Ada", socket.gethostname(), str(ROOT), str(Path.home()), "digits", "pretrained"):
        assert name not in text
    assert not re.search(rf'"{re.escape(getpass.getuser())}"', text)
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", text.replace(socket.gethostname(), ""))


def test_figures_of_a_device_are_submitted_without_a_self_test(published):
    host = dataclasses.replace(published.latency.host, cpu="Raspberry Pi 4")
    parity = dataclasses.replace(published.parity, device_results=published.parity.results[:1])
    device = dataclasses.replace(published.latency, host=host)
    made = boards.make_submission(
        dataclasses.replace(published, parity=parity, device=device), PRETRAINED
    )
    assert (made.board.cpu, len(made.figures), made.selftests) == ("Raspberry Pi 4", 1, ())


def test_run_without_results_cannot_be_submitted(published):
    parity = dataclasses.replace(published.parity, results=())
    with pytest.raises(EdgeError, match="nothing to submit"):
        boards.make_submission(dataclasses.replace(published, parity=parity), PRETRAINED)


def test_missing_folder_is_reported_before_the_measurement(models, tmp_path):
    with pytest.raises(EdgeError, match="make it first"):
        main(["--model", str(models), "--submit", str(tmp_path / "missing" / "board.json")])


def test_table_has_a_line_per_artifact_and_engine(submission):
    failed = dataclasses.replace(
        submission.selftests[0], digest=submission.figures[0].digest, engine="litert", passed=False
    )
    older = dataclasses.replace(submission, created="2025-01-01T00:00:00", selftests=(failed,))
    lines = boards.table([older, submission]).splitlines()[2:]
    assert len(lines) == 2 * len(submission.figures)
    assert submission.created[:10] in lines[0]
    assert "2025-01-01" in lines[-1]
    assert "| FAILED |" in lines[len(submission.figures)]
    assert submission.figures[0].digest[:12] in lines[0]
    assert boards.table([]) == "Nobody has sent figures yet."


def test_submission_survives_writing_and_reading(published, submission, tmp_path):
    boards.submit(published, PRETRAINED, tmp_path / "board.json")
    assert boards.read(tmp_path / "board.json") == submission


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 9}', "[1]"])
def test_damaged_submission_is_an_error(tmp_path, text):
    (tmp_path / "board.json").write_text(text)
    with pytest.raises(EdgeError, match=r"board\.json"):
        boards.read(tmp_path / "board.json")


def test_committed_page_matches_the_committed_files():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.boards", "--check"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_benchmark_writes_a_submission(models, tmp_path):
    path = tmp_path / "board.json"
    options = ["--quick", "--backend", "onnxruntime", "--out", str(tmp_path / "report")]
    options += ["--data", "embedded", "--submit", str(path)]
    main(["--model", str(models), *options])
    assert boards.read(path).figures[0].engine == "onnxruntime"
