"""python -m runtime.selftest: what is right passes, and planted faults are caught."""

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
def test_a_published_model_passes_with_every_engine(path):
    report = selftest.selftest(path)
    assert report, report.failures()
    engines = [row.name for row in ENGINES if row.suffix == path.suffix and row.installed()]
    assert [engine.name for engine in report.engines] == engines
    for engine in report.engines:
        threads = [timing.threads for timing in engine.timings]
        assert threads == sorted({1, host.usable_cores()})
        assert all(timing.latency_ns > 0 for timing in engine.timings)
        assert 10e6 < engine.memory_bytes < 2e9


def test_the_command_says_pass_and_0():
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "PASS"
    assert "batches of 1, 2 and 8" in done.stdout


def test_json_is_one_object():
    done = run("--model", PRETRAINED / "digits.onnx", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert record["passed"] is True
    assert {check["name"] for check in record["checks"]} == {"digest", "spec", "picture"}
    assert record["engines"][0]["name"] == "onnxruntime"
    assert {"celsius", "throttled"} <= set(record)


def caught(path: Path, name: str) -> str:
    """The failures of a model, all of which are of this name."""
    report = selftest.selftest(path)
    failed = [check for check in report.all_checks() if not check.passed]
    assert not report
    assert {check.name for check in failed} == {name}
    assert str(path) in report.failures()
    return report.failures()


def test_altered_golden_scores_are_caught(plant, tmp_path):
    """As a kernel that gives other results would be: 6 of 256 steps in one score of eight."""

    def one_off(scores):
        scores[5, 2] += 6 / 256
        return scores

    path = plant(tmp_path / "model.tflite", scores=one_off)
    assert "differ by 0.0234" in caught(path, "golden")
    done = run("--model", path)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "FAIL"


@pytest.mark.parametrize("source", ["digits-int8.tflite", "digits.tflite"])
def test_changed_weights_are_caught_behind_a_right_digest(plant, tmp_path, source):
    middle = (PRETRAINED / source).stat().st_size // 3
    path = plant(tmp_path / "model.tflite", source, flip=range(middle, middle + 256))
    assert "do not use it here" in caught(path, "golden")


def test_a_name_that_is_no_text_is_caught_and_nothing_else_printed(tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    model, name, spec = (PRETRAINED / "digits.onnx").read_bytes().partition(b"model_spec.json")
    data = model.replace(b"pixels", b"pixel\xf6") + name + spec
    path.write_bytes(data[:-64] + artifact._digest(data).encode())
    assert "onnxruntime refuses" in caught(path, "engine")
    assert capfd.readouterr() == ("", "")


def test_a_spec_that_lies_is_caught(plant, tmp_path):
    path = tmp_path / "model.tflite"
    assert "its spec says" in caught(plant(path, input_shape=(1, 784, 1)), "engine")
    assert "is not the float32" in caught(plant(path, precision="float32"), "engine")
    assert "has no golden inputs" in caught(plant(path, golden=None), "spec")


def test_a_damaged_model_is_caught(tmp_path):
    path = tmp_path / "model.tflite"
    data = bytearray((PRETRAINED / "digits.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "its SHA-256 is not the one it carries" in caught(path, "digest")
    assert run("--model", path).returncode == 3


def test_no_such_model_is_bad_usage(tmp_path):
    done = run("--model", tmp_path / "absent.tflite")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot read the model")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def engine(monkeypatch):
    """Puts an engine into the table that runs another one with a fault: `engine(fault)`."""

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
def test_a_kernel_that_is_wrong_at_one_batch_is_caught(engine, batch):
    def wrong(scores):
        return scores[:, ::-1].copy() if len(scores) == batch else scores

    engine(wrong)
    assert f"in a batch of {batch} " in caught(MODEL, "golden")


@pytest.mark.parametrize(
    "fault",
    [lambda scores: scores * np.nan, lambda scores: scores[:, :9], lambda scores: scores * 0],
    ids=["nan", "nine classes", "zeros"],
)
def test_scores_that_are_none_are_caught(engine, fault):
    engine(fault)
    caught(MODEL, "golden")


def test_an_engine_that_dies_is_a_check_that_failed(engine):

    def crash(scores):
        faulthandler.disable()  # pytest's, which would print where
        signal.raise_signal(signal.SIGILL)

    engine(crash)
    assert "died with SIGILL" in caught(MODEL, "engine")


def test_an_engine_that_hangs_is_a_check_that_failed(engine, monkeypatch):
    monkeypatch.setattr(selftest, "_TIMEOUT_S", 0.5)
    engine(lambda scores: signal.pause())
    assert "no answer after 0.5 s" in caught(MODEL, "engine")


def test_an_engine_without_memory_is_a_check_that_failed(engine):
    engine(lambda scores: np.empty(1 << 60, np.uint8))
    assert "memory" in caught(MODEL, "engine")


def test_no_engine_is_a_check_that_failed_with_its_remedy(monkeypatch):
    rows = tuple(row._replace(package="no_such_package") for row in ENGINES)
    monkeypatch.setattr(selftest, "ENGINES", rows)
    assert 'pip install "digit-edge[' in caught(MODEL, "engine")


def test_too_little_memory_is_a_message_and_no_traceback():
    """The limit is reached once Python and NumPy are there: no engine fits below it."""
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


def test_work_of_its_own_process_gives_its_answer_or_its_refusal():
    assert run_in_fork(lambda: {"a": [1, 2]}, 10) == {"a": [1, 2]}
    assert run_in_fork(lambda: "x" * 1_000_000, 10) == "x" * 1_000_000

    def refuse():
        raise ArtifactError("not this one")

    with pytest.raises(EdgeError, match="^not this one$"):
        run_in_fork(refuse, 10)
    with pytest.raises(WorkerCrashed, match="ended without an answer, with status 7"):
        run_in_fork(lambda: os._exit(7), 10)
    with pytest.raises(WorkerCrashed, match="^ZeroDivisionError: "):
        run_in_fork(lambda: 1 // 0, 10)
    assert os.getpid() != run_in_fork(os.getpid, 10)


def test_a_raspberry_pis_state_is_read_and_told(tmp_path):
    (tmp_path / "class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "class/thermal/thermal_zone0/temp").write_text("48312\n")
    firmware = tmp_path / "devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    assert host.celsius(tmp_path) == 48.312
    assert host.throttled(tmp_path) == "0x50005"
    assert host.describe_throttled("0x50005") == (
        "under-voltage, throttled now; under-voltage, throttled since the start"
    )
    assert host.describe_throttled("0x0") == "not throttled"
    assert host.describe_throttled("0x20000") == "frequency capped since the start"
    assert "unknown form" in host.describe_throttled("error")


def test_a_machine_that_says_nothing_of_itself_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (host.celsius(tmp_path), host.throttled(tmp_path)) == (0.0, "")
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x80000\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    assert shutil.which("vcgencmd")
    assert host.throttled(tmp_path) == "0x80000"
    assert host.describe_throttled("0x80000") == "soft temperature limit since the start"
