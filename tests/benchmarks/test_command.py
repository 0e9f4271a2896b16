"""Tests the benchmark commands with command-line arguments: exit status, output and errors."""

import dataclasses
import importlib.util
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.__main__ import main
from benchmarks.harness import output_dir
from benchmarks.harness.serialize import to_json
from benchmarks.latency.__main__ import main as latency_main
from benchmarks.parity.__main__ import main as parity_main
from benchmarks.remote import predict
from benchmarks.report import related, write
from benchmarks.robustness.__main__ import main as robustness_main
from benchmarks.schema import report
from benchmarks.serve.__main__ import main as serve_main
from runtime.errors import CHECK_FAILED, EdgeError

ROOT = Path(__file__).resolve().parents[2]
PRETRAINED = ROOT / "runtime" / "pretrained"


def test_missing_reference_is_reported_before_data_is_loaded(tmp_path) -> None:
    with pytest.raises(EdgeError, match=r"digits\.keras"):
        main(["--model", str(tmp_path), "--data", str(tmp_path / "never")])


@pytest.mark.parametrize(
    ("options", "required"),
    [
        (["--max-slowdown", "2"], "--baseline"),
        (["--different-models"], "--baseline"),
        (["--different-hosts"], "--baseline"),
        (["--on-port", "22"], "--on"),
        (["--on-python", "python3"], "--on"),
    ],
)
def test_option_without_the_option_it_requires_is_an_error(options, required) -> None:
    with pytest.raises(EdgeError, match=f"^{options[0]} .*give {required} "):
        main(options)


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_runtime") is not None, reason="needs an engine that is missing"
)
@pytest.mark.parametrize("command", [latency_main, robustness_main], ids=["latency", "robustness"])
def test_command_fails_if_its_only_engine_is_missing(command, data_file, tmp_path, capsys) -> None:
    options = ["--model", str(PRETRAINED), "--backend", "tflite-runtime", "--quick", "--no-keras"]
    if command is robustness_main:
        options += ["--data", str(data_file), "--out", str(tmp_path / "report")]
    assert command(options) == CHECK_FAILED
    printed = capsys.readouterr().out
    assert re.search(r"FAILED\n  nothing was measured", printed), printed


@pytest.mark.parametrize("option", ["--clients", "--each", "--requests", "--seconds"])
def test_serve_rejects_options_of_zero(option) -> None:
    with pytest.raises(EdgeError, match=f"{option}.* take "):
        serve_main([option, "0"])


def test_baseline_with_one_repetition_is_an_error(made_report: Path, models) -> None:
    with pytest.raises(EdgeError, match="--repetitions"):
        main(["--model", str(models), "--quick", "--baseline", str(made_report)])


def write_changed_latency(path: Path, change) -> None:
    """Replace the latency part of a report file by `change` of it."""
    made = report.read(path)
    path.write_text(to_json(dataclasses.replace(made, latency=change(made.latency))))


BASELINE_CHANGES = [
    ({"host": {"cpu": "Another"}}, "--different-hosts"),
    ({"results": {"digest": "0" * 64}}, "--different-models"),
    ({"settings": {"repetitions": 1}}, "--repetitions"),
]


@pytest.fixture
def changed_baseline(made_report: Path, change) -> Path:
    """Return a baseline in which `change` maps a field of its latency part to new values."""
    ((name, values),) = change.items()

    def change_field(latency):
        part = getattr(latency, name)
        if isinstance(part, tuple):
            part = tuple(dataclasses.replace(result, **values) for result in part)
        else:
            part = dataclasses.replace(part, **values)
        return dataclasses.replace(latency, **{name: part})

    write_changed_latency(made_report, change_field)
    return made_report


@pytest.mark.parametrize(("change", "option"), BASELINE_CHANGES)
def test_incomparable_baseline_is_reported_before_data_is_loaded(
    changed_baseline: Path, models, tmp_path, option: str
) -> None:
    options = ["--model", str(models), "--data", str(tmp_path / "never")]
    with pytest.raises(EdgeError, match=option):
        main([*options, "--baseline", str(changed_baseline)])


@pytest.mark.parametrize(("change", "option"), BASELINE_CHANGES[:2])
def test_option_allows_an_incomparable_baseline(
    changed_baseline: Path, models, tmp_path, option: str
) -> None:
    """The run goes on to load the data, which do not exist."""
    options = ["--model", str(models), "--data", str(tmp_path / "never")]
    with pytest.raises(EdgeError, match="never"):
        main([*options, "--baseline", str(changed_baseline), option])


def test_baseline_may_differ_in_artifacts_that_are_not_measured(
    made_report: Path, models, tmp_path
) -> None:
    """The run goes on to load the data, which do not exist."""

    def change_onnx_digests(latency):
        results = tuple(
            dataclasses.replace(r, digest="0" * 64) if r.case.backend == "onnxruntime" else r
            for r in latency.results
        )
        return dataclasses.replace(latency, results=results)

    write_changed_latency(made_report, change_onnx_digests)
    options = ["--model", str(models), "--data", str(tmp_path / "never"), "--backend", "litert"]
    with pytest.raises(EdgeError, match="never"):
        main([*options, "--baseline", str(made_report)])


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (None, "--out"), ("parity", "--out"), ("latency", "--out"),
        ("robustness", "--out"), ("rejection", "--out"), ("photos", "--out"), ("serve", "--out"),
    ],
)  # fmt: skip
def test_unwritable_output_is_reported_before_anything_is_measured(
    tmp_path, models, name: str | None, option: str
) -> None:
    (tmp_path / "file").touch()
    options = [option, str(tmp_path / "file" / "results" / "results.json")]
    options += [] if name == "serve" else ["--data" if name != "latency" else "--python", "never"]
    options += [] if name in ("serve", "photos") else ["--model", str(models)]
    with pytest.raises(EdgeError, match=r"cannot write .*: Not a directory"):
        import_module(".".join(filter(None, ("benchmarks", name, "__main__")))).main(options)


def test_check_of_the_output_leaves_no_trace(tmp_path) -> None:
    output_dir.check_folder(tmp_path / "new" / "folder")
    output_dir.check_file(tmp_path / "new" / "file.json")
    assert not list(tmp_path.iterdir())


def test_output_file_that_is_a_folder_is_an_error(tmp_path) -> None:
    with pytest.raises(EdgeError, match="it is a folder; name a file"):
        output_dir.check_file(tmp_path)


def test_related_report_is_read_before_anything_is_measured(models, tmp_path) -> None:
    (tmp_path / related.REJECTION_NAME).write_text("{}")
    with pytest.raises(EdgeError, match=r"rejection\.json"):
        main(["--model", str(models), "--data", "never", "--out", str(tmp_path)])


def test_predict_rejects_a_file_as_output_folder(models, tmp_path) -> None:
    file = tmp_path / "file"
    np.save(tmp_path / "pixels.npy", np.zeros((1, 28, 28, 1), np.uint8))
    file.touch()
    options = ["--model", str(models), "--pixels", str(tmp_path / "pixels.npy")]
    with pytest.raises(EdgeError, match=r"cannot write .*file"):
        predict.main([*options, "--out", str(file)])


def test_compare_prints_a_line_per_case_and_scenario(made_report: Path, capsys) -> None:
    assert compare.main([str(made_report), str(made_report)]) == 0
    printed = capsys.readouterr().out
    results = len(report.read(made_report).latency.results)
    assert printed.count("no difference") >= results > 20


def test_compare_fails_if_the_runs_have_no_case_in_common(
    made_report: Path, tmp_path, capsys
) -> None:
    made = report.read(made_report)
    case = dataclasses.replace(made.latency.results[0].case, threads=99)
    result = dataclasses.replace(made.latency.results[0], case=case)
    other = dataclasses.replace(made.latency, results=(result,), starts=())
    (tmp_path / "other.json").write_text(to_json(dataclasses.replace(made, latency=other)))
    assert compare.main([str(made_report), str(tmp_path / "other.json")]) == CHECK_FAILED
    assert "Comparison: FAILED\n  nothing was compared" in capsys.readouterr().out


@pytest.fixture
def made_report(request, timings, tmp_path) -> Path:
    """Return the path of a report.json of short measurements."""
    made = report.make(request.getfixturevalue("report"), timings)
    write.write(made, tmp_path)
    return tmp_path / write.JSON_NAME


@pytest.fixture
def data_file(test_set, tmp_path) -> Path:
    """Return the embedded digits as an .npz file, so that no test downloads MNIST."""
    from train.data.load import sklearn_digits

    train = sklearn_digits().train
    path = tmp_path / "digits.npz"
    np.savez(
        path,
        x_train=train.pixels[..., 0],
        y_train=train.labels,
        x_test=test_set.pixels[..., 0],
        y_test=test_set.labels,
    )
    return path


def test_parity_stops_at_the_first_failure_and_writes_json(
    models, data_file, tmp_path, capsys
) -> None:
    status = parity_main(
        ["--model", str(models), "--data", str(data_file), "--backend", "onnxruntime",
         "--max-difference", "0", "--fail-fast", "--out", str(tmp_path / "parity.json")]
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert status == 3
    assert "Parity: FAILED" in printed
    assert "0 is allowed" in printed
    assert "digits-int8.onnx" not in printed
    assert (tmp_path / "parity.json").stat().st_size > 1000


@pytest.mark.slow
def test_quick_run_writes_all_reports(models, data_file, tmp_path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--model", models, "--data", data_file, "--quick",
         "--max-drop", "3", "--min-agreement", "97", "--out", tmp_path / "out"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    made = report.read(tmp_path / "out" / "report.json")
    assert {r.case.backend for r in made.latency.results} >= {
        "keras",
        "keras tf.function",
        "litert",
    }
    for name in ("report.md", "report.html"):
        assert "digits-int8.onnx" in (tmp_path / "out" / name).read_text("utf-8")
