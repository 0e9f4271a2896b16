"""digit-edge selftest: published models pass, and planted faults fail.

Also the functions it uses: `run_in_fork`, and `runtime.system.host` for temperature and throttling.
"""

import faulthandler
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from runtime import backends, selftest
from runtime.backends import ENGINES, Engine
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.system import host
from runtime.system.fork import WorkerCrashed, run_in_fork

PRETRAINED = Path(selftest.__file__).parent / "pretrained"
PUBLISHED = sorted([*PRETRAINED.glob("*.onnx"), *PRETRAINED.glob("*.tflite")])


def run(*arguments, **options):
    command = [sys.executable, "-m", "runtime.selftest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_published_model_passes_with_every_engine(path):
    report = selftest.selftest(path)
    assert report, report.failures()
    engines = [row.name for row in ENGINES if row.suffix == path.suffix and row.installed()]
    assert [engine.name for engine in report.engines] == engines
    for engine in report.engines:
        threads = [timing.threads for timing in engine.timings]
        assert threads == sorted({1, host.usable_cores()})
        assert all(timing.latency_ns > 0 for timing in engine.timings)
        assert 10e6 < engine.memory_bytes < 2e9


def test_command_prints_pass_and_returns_0():
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "PASS"
    assert "batches of 1, 2 and 8" in done.stdout


def test_json_prints_one_object():
    done = run("--model", PRETRAINED / "digits.onnx", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert record["passed"] is True
    assert {check["name"] for check in record["checks"]} == {"digest", "spec", "picture"}
    assert record["engines"][0]["name"] == "onnxruntime"
    assert {"celsius", "throttled"} <= set(record)


def failures(path: Path, name: str) -> str:
    """Test a model; check that all failed checks have this name, and return their details."""
    report = selftest.selftest(path)
    failed = [check for check in report.all_checks() if not check.passed]
    assert not report
    assert {check.name for check in failed} == {name}
    assert str(path) in report.failures()
    return report.failures()


@pytest.fixture
def one_score_off(plant, tmp_path) -> Path:
    """A model with one golden score off by 6/256, as with a kernel that computes differently."""

    def change(scores):
        scores[5, 2] += 6 / 256
        return scores

    return plant(tmp_path / "model.tflite", scores=change)


def test_different_golden_scores_fail(one_score_off):
    assert "differ by 0.0234" in failures(one_score_off, "golden")


def test_command_prints_fail_and_returns_3(one_score_off):
    done = run("--model", one_score_off)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "FAIL"


@pytest.mark.parametrize("source", ["digits-int8.tflite", "digits.tflite"])
def test_changed_weights_with_a_correct_digest_fail(plant, tmp_path, source):
    middle = (PRETRAINED / source).stat().st_size // 2
    path = plant(tmp_path / "model.tflite", source, flip=range(middle, middle + 256))
    assert "do not use this model on this machine" in failures(path, "golden")


def test_name_in_the_model_that_is_not_utf8_fails_without_other_output(tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    model, name, spec = (PRETRAINED / "digits.onnx").read_bytes().partition(b"model_spec.json")
    data = model.replace(b"pixels", b"pixel\xf6") + name + spec
    path.write_bytes(data[:-64] + artifact._digest(data).encode())
    assert "onnxruntime rejects" in failures(path, "engine")
    assert capfd.readouterr() == ("", "")


def test_spec_with_a_wrong_input_shape_fails(plant, tmp_path):
    path = plant(tmp_path / "model.tflite", input_shape=(1, 784, 1))
    assert "its spec says" in failures(path, "engine")


def test_spec_with_a_wrong_precision_fails(plant, tmp_path):
    path = plant(tmp_path / "model.tflite", precision="float32")
    assert "is not float32" in failures(path, "engine")


def test_spec_without_golden_inputs_fails(plant, tmp_path):
    path = plant(tmp_path / "model.tflite", golden=None)
    assert "has no golden inputs" in failures(path, "spec")


def test_damaged_model_fails(tmp_path):
    path = tmp_path / "model.tflite"
    data = bytearray((PRETRAINED / "digits.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "its SHA-256 differs from the one stored in it" in failures(path, "digest")
    assert run("--model", path).returncode == 3


def test_missing_model_is_one_line_and_exit_2(tmp_path):
    done = run("--model", tmp_path / "absent.tflite")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot read the model")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def engine(monkeypatch):
    """Replace the table of engines by one whose scores pass through `fault`: `engine(fault)`."""

    def install(fault) -> None:
        driver = types.ModuleType("faulty_driver")

        class Faulty:
            def __init__(self, real):
                self.name, self.version, self.device = "faulty", real.version, real.device
                self.spec, self._real = real.spec, real

            def scores(self, pixels):
                return fault(self._real.scores(pixels))

        def open_artifact(opened, name, threads, device):
            real = importlib.import_module(ENGINES[0].module)
            return Faulty(real.open_artifact(opened, ENGINES[0].name, threads, device))

        driver.open_artifact = open_artifact
        monkeypatch.setitem(sys.modules, "faulty_driver", driver)
        row = Engine("faulty", ".tflite", "faulty_driver", "json", "litert", "json")
        monkeypatch.setattr(selftest, "ENGINES", (row,))
        monkeypatch.setattr(backends, "ENGINES", (row,))

    return install


MODEL = PRETRAINED / "digits-int8.tflite"


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_kernel_that_is_wrong_at_one_batch_size_fails(engine, batch):
    def wrong_at_batch(scores):
        return scores[:, ::-1].copy() if len(scores) == batch else scores

    engine(wrong_at_batch)
    assert f"in a batch of {batch} " in failures(MODEL, "golden")


@pytest.mark.parametrize(
    "fault",
    [lambda scores: scores * np.nan, lambda scores: scores[:, :9], lambda scores: scores * 0],
    ids=["nan", "nine classes", "zeros"],
)
def test_invalid_scores_fail(engine, fault):
    engine(fault)
    failures(MODEL, "golden")


def test_engine_that_crashes_fails_the_check(engine):

    def crash(scores):
        faulthandler.disable()  # pytest's, which would print a traceback
        signal.raise_signal(signal.SIGILL)

    engine(crash)
    assert "died with SIGILL" in failures(MODEL, "engine")


def test_engine_that_hangs_fails_the_check(engine, monkeypatch):
    monkeypatch.setattr(selftest, "_TIMEOUT_S", 0.5)
    engine(lambda scores: signal.pause())
    assert "no answer after 0.5 s" in failures(MODEL, "engine")


def test_engine_that_runs_out_of_memory_fails_the_check(engine):
    engine(lambda scores: np.empty(1 << 60, np.uint8))
    assert "memory" in failures(MODEL, "engine")


def test_missing_engine_fails_the_check_with_the_pip_command(monkeypatch):
    rows = tuple(row._replace(package="no_such_package") for row in ENGINES)
    monkeypatch.setattr(selftest, "ENGINES", rows)
    assert 'pip install "digit-edge[' in failures(MODEL, "engine")


def test_too_little_memory_for_any_engine_prints_fail_and_no_traceback():
    """The memory limit is just above the size of Python with NumPy."""
    program = (
        "import resource, sys\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from runtime import selftest\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (4 << 20), -1))\n"
        f"sys.exit(exit_status(lambda: selftest.main(['--model', {str(MODEL)!r}])))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[-1] == "FAIL"


@pytest.mark.parametrize("value", [{"a": [1, 2]}, "x" * 1_000_000], ids=["dict", "1 MB"])
def test_run_in_fork_returns_the_value(value):
    assert run_in_fork(lambda: value, 10) == value


def test_run_in_fork_calls_in_another_process():
    assert run_in_fork(os.getpid, 10) != os.getpid()


def test_run_in_fork_raises_an_edge_error_with_the_same_message():
    def reject():
        raise ArtifactError("not this one")

    with pytest.raises(EdgeError, match=r"^not this one$"):
        run_in_fork(reject, 10)


def test_run_in_fork_reports_an_exit_without_result():
    with pytest.raises(WorkerCrashed, match="ended without an answer, with status 7"):
        run_in_fork(lambda: os._exit(7), 10)


def test_run_in_fork_reports_other_exceptions_by_type():
    with pytest.raises(WorkerCrashed, match=r"^ZeroDivisionError: "):
        run_in_fork(lambda: 1 // 0, 10)


def test_temperature_and_throttling_are_read_from_sysfs(tmp_path):
    (tmp_path / "class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "class/thermal/thermal_zone0/temp").write_text("48312\n")
    firmware = tmp_path / "devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    assert host.celsius(tmp_path) == 48.312
    assert host.throttled(tmp_path) == "0x50005"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("0x50005", "under-voltage, throttled now; under-voltage, throttled since the start"),
        ("0x0", "not throttled"),
        ("0x20000", "frequency capped since the start"),
        ("0x80000", "soft temperature limit since the start"),
        ("error", "unknown throttling flags 'error'"),
    ],
)
def test_throttling_flags_are_described_in_words(flags, words):
    assert host.describe_throttled(flags) == words


def test_unknown_temperature_and_throttling_are_0_and_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (host.celsius(tmp_path), host.throttled(tmp_path)) == (0.0, "")


def test_throttling_is_read_from_vcgencmd_without_sysfs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x80000\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    assert shutil.which("vcgencmd")
    assert host.throttled(tmp_path) == "0x80000"
