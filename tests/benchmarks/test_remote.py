"""A device over ssh: an sshd of this machine's own, with its own keys, on a port of its own."""

import dataclasses
import getpass
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.harness.cases import FAILED, SkippedCase
from benchmarks.harness.serialize import to_json
from benchmarks.parity import run as parity
from benchmarks.remote import agent
from benchmarks.remote import client as remote
from benchmarks.remote.client import Device, RemoteResults
from benchmarks.report import device_tables, html, summary_tables, write
from benchmarks.schema import report
from benchmarks.schema.latency import LatencyReport, Settings
from benchmarks.schema.parity_report import ParityReport
from benchmarks.schema.remote import DevicePredictions
from runtime.errors import BackendUnavailable, EdgeError
from runtime.model.tolerance import Tolerance

SETTINGS = Settings(repetitions=1, min_seconds=0.01, min_count=12)
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
needs_ssh = pytest.mark.skipif(
    not shutil.which("ssh"), reason="no ssh here: apt install openssh-client"
)


@dataclass(frozen=True)
class Server:
    """An sshd that is running, the folder that its Python keeps temporary files in."""

    device: Device
    temporary: Path
    imported: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def key(path: Path) -> str:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ssh")
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="module")
def python(folder) -> Path:
    """The device's Python: packages that it lacks leave a mark there when they are imported."""
    absent = folder / "absent"
    absent.mkdir()
    for name in ("keras", "tensorflow", "train", "scipy", "sklearn", "matplotlib"):
        text = f"open({str(folder / 'imported')!r}, 'a').write({name!r})\nraise ImportError\n"
        (absent / f"{name}.py").write_text(text)
    (folder / "temporary").mkdir()
    script = folder / "python"
    script.write_text(
        f"#!/bin/sh\nexport TMPDIR='{folder / 'temporary'}' PYTHONPATH='{absent}'\n"
        f"echo a greeting; exec '{sys.executable}' \"$@\"\n"
    )
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def server(folder, python) -> Iterator[Server]:
    if SSHD is None or not shutil.which("ssh"):
        pytest.skip("no sshd or no ssh on this machine: apt-get install openssh-server")
    port, host_key = free_port(), key(folder / "host")
    (folder / "authorized_keys").write_text(key(folder / "user") + "\n")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile none\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\n"
    )
    # What a service manager makes before it starts sshd.
    separation = Path("/run/sshd")
    make = os.geteuid() == 0 and not separation.exists()
    if make:
        separation.mkdir(0o755)
    with (folder / "log").open("wb") as log:
        command = [SSHD, "-D", "-e", "-f", folder / "sshd_config"]
        sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while sshd.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("sshd: " + (folder / "log").read_text())
        device = Device(f"{getpass.getuser()}@127.0.0.1", port, str(python))
        yield Server(device, folder / "temporary", folder / "imported")
    finally:
        sshd.terminate()
        sshd.wait()
        if make:
            separation.rmdir()


@pytest.fixture(scope="module", autouse=True)
def client(folder) -> Iterator[None]:
    """The system's ssh with the keys of these tests and none of the user's configuration."""
    program = shutil.which("ssh")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder / 'user'}\nIdentitiesOnly yes\nIdentityAgent none\n"
        f"UserKnownHostsFile {folder / 'known_hosts'}\nStrictHostKeyChecking yes\n"
    )
    wrapper = folder / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/sh\nexec {program} -F '{folder / 'ssh_config'}' \"$@\"\n")
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def brought(server, models, test_set) -> tuple[RemoteResults, list[str]]:
    told: list[str] = []
    got = remote.measure(
        server.device,
        models,
        SETTINGS,
        pixels=test_set.pixels,
        quick=True,
        backends=("onnxruntime",),
        threads=(1,),
        progress=told.append,
    )
    return got, told


@pytest.fixture(scope="module")
def measured(brought) -> tuple[LatencyReport, list[str]]:
    return brought[0].latency, brought[1]


@pytest.fixture(scope="module")
def compared(brought, models, test_set) -> ParityReport:
    """The device's answers beside Keras's; one row a second time, with two digits swapped."""
    answers = brought[0].answers
    row, answer, scores = answers.answered[0]
    swapped = row, answer, scores[:, [1, 0, *range(2, 10)]]
    skipped = (SkippedCase(row, FAILED, "its process was ended by SIGILL"),)
    return parity.compare(
        models,
        test_set,
        backends=("onnxruntime",),
        tolerance=Tolerance(max_drop=0.02, min_agreement=0.97),
        elsewhere=DevicePredictions((*answers.answered, swapped), skipped),
    )


def test_a_device_answers_as_the_original_does(compared) -> None:
    sound = compared.device_results[:-1]
    assert [r.case.artifact for r in sound] == ["digits.onnx", "digits-int8.onnx"]
    for there, here in zip(sound, compared.results, strict=True):
        assert there, there.failures
        assert there.n == compared.n
        assert there.digest == here.digest
        assert there.max_difference == pytest.approx(here.max_difference, abs=1e-5)


def test_a_device_that_answers_otherwise_fails_the_run(compared, measured, timings) -> None:
    assert not compared.device_results[-1]
    assert not compared
    said = [why for why in compared.failures if why.startswith("on the device: ")]
    assert any("scores differ" in why for why in said)
    assert any("SIGILL" in why for why in said)
    made = report.make(compared, timings, measured[0])
    assert set(said) <= set(made.failures)
    assert report.from_json(report.BenchmarkReport, to_json(made), "it") == made
    text = html.render(made)
    assert "Parity on the device" in text
    assert "SIGILL" in text
    assert "predictions differ, on the device" in text


def test_a_device_measures_the_same_files_without_keras(measured, server, timings) -> None:
    got, told = measured
    assert got, got.failures
    assert {r.case.artifact for r in got.results} == {"digits.onnx", "digits-int8.onnx"}
    digests = {(r.case.artifact, r.digest) for r in timings.results}
    assert {(r.case.artifact, r.digest) for r in got.results} <= digests
    assert got.commands
    assert any("digits-int8.onnx" in line for line in told)
    assert not server.imported.exists(), server.imported.read_text()


def test_a_device_needs_numpy_pillow_and_an_engine_alone(
    python, folder, models, test_set, tmp_path
) -> None:
    program = Path(agent.__file__).read_text("utf-8")
    options = ["--repetitions=1", "--min-seconds=0.01", "--min-count=12", "--quick"]
    with (tmp_path / "archive.zip").open("w+b") as archive:
        remote.pack(models, archive, test_set.pixels[:20])
        archive.seek(0)
        ended = subprocess.run(
            [python, "-c", program, *options, "--threads=1", "--backend=onnxruntime"],
            stdin=archive,
            capture_output=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr.decode()
    with zipfile.ZipFile(io.BytesIO(ended.stdout.partition(agent.MARKER)[2])) as results:
        assert {"latency.json", "answers.json", "0.npy", "1.npy"} <= set(results.namelist())
    imported = folder / "imported"
    assert not imported.exists(), imported.read_text()


def test_nothing_stays_on_the_device(measured, server) -> None:
    assert list(server.temporary.iterdir()) == []


def test_both_machines_stand_side_by_side(measured, timings, request, tmp_path) -> None:
    there, _ = measured
    table = device_tables.side_by_side(timings, there)
    assert {line[0] for line in table.lines} == {"digits.onnx", "digits-int8.onnx"}
    assert all(len(line) == len(table.header) and line[5].endswith("×") for line in table.lines)
    made = report.make(request.getfixturevalue("report"), timings, there)
    write.write(made, tmp_path)
    assert report.read(tmp_path / write.JSON_NAME) == made
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        assert table.title in (tmp_path / name).read_text("utf-8")
    without = report.make(made.parity, timings)
    assert table.title not in html.render(without)


def test_a_row_that_fails_on_the_device_fails_the_run(measured, timings, request) -> None:
    there, _ = measured
    failed = dataclasses.replace(
        there, skipped=(SkippedCase(there.results[0].case, FAILED, "it burnt"),)
    )
    made = report.make(request.getfixturevalue("report"), timings, failed)
    assert any(why.startswith("on the device") and "burnt" in why for why in made.failures)
    assert summary_tables.unmeasured_table(failed.skipped).lines


def test_an_absent_engine_is_said(server, models) -> None:
    with pytest.raises(BackendUnavailable, match="tflite_runtime is not.*--on-python"):
        remote.measure(
            server.device, models, SETTINGS, quick=True, backends=("tflite-runtime",), threads=(1,)
        )
    assert list(server.temporary.iterdir()) == []


def test_an_absent_python_is_said(server, models) -> None:
    device = Device(server.device.destination, server.device.port, "python-that-is-not")
    with pytest.raises(EdgeError, match="has no python-that-is-not"):
        remote.measure(device, models, SETTINGS)


def test_an_unknown_user_is_refused_without_a_question(server, models) -> None:
    device = Device("nobody-of-that-name@127.0.0.1", server.device.port)
    with pytest.raises(EdgeError, match="cannot reach.*denied"):
        remote.measure(device, models, SETTINGS)


@needs_ssh
def test_a_closed_port_is_said_before_anything_is_measured(models, tmp_path) -> None:
    typed = ["--models", str(models), "--data", str(tmp_path / "never"), "--on", "127.0.0.1"]
    with pytest.raises(EdgeError, match="cannot reach 127.0.0.1: .*refused"):
        main([*typed, "--on-port", str(free_port())])


def test_an_absent_ssh_is_said(models, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeError, match="cannot start ssh"):
        remote.measure(Device("pi@device"), models, SETTINGS)


def test_what_is_sent_is_the_runtime_and_the_artifacts(models) -> None:
    file = io.BytesIO()
    pixels = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28, 1)
    remote.pack(models, file, pixels)
    names = zipfile.ZipFile(file).namelist()
    sent = np.load(io.BytesIO(zipfile.ZipFile(file).read("pixels.npy")))
    np.testing.assert_array_equal(sent, pixels)
    assert {"runtime/classifier.py", "benchmarks/latency/run.py", "models/digits.tflite"} <= set(
        names
    )
    assert not any(n.startswith(("train", "export")) or n.endswith(".keras") for n in names)
