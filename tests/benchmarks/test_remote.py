"""Tests benchmarks on a device over ssh.

The device is this machine: an sshd with temporary keys on a free port of the loopback interface.
"""

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
from benchmarks.harness.serialize import from_json, to_json
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
    """A running sshd.

    Attributes:
        device: the device to connect to.
        temporary: the folder for the temporary files of the device's Python.
        imported: a file that exists if a forbidden package was imported on the device.
    """

    device: Device
    temporary: Path
    imported: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def key(path: Path) -> str:
    """Create a private key; return its public key."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return the folder of the keys and configurations of ssh and sshd."""
    folder = tmp_path_factory.mktemp("ssh")
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="module")
def python(folder) -> Path:
    """Return the device's Python, in which packages that a device does not have are forbidden.

    An import of such a package fails, and creates the file "imported" in `folder`.
    """
    forbidden = folder / "forbidden"
    forbidden.mkdir()
    for name in ("keras", "tensorflow", "train", "scipy", "sklearn", "matplotlib"):
        text = f"open({str(folder / 'imported')!r}, 'a').write({name!r})\nraise ImportError\n"
        (forbidden / f"{name}.py").write_text(text)
    (folder / "temporary").mkdir()
    script = folder / "python"
    script.write_text(
        f"#!/bin/sh\nexport TMPDIR='{folder / 'temporary'}' PYTHONPATH='{forbidden}'\n"
        f"echo a greeting; exec '{sys.executable}' \"$@\"\n"
    )
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def server(folder, python) -> Iterator[Server]:
    """Run an sshd that accepts the tests' key."""
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
    # sshd needs this folder if it runs as root. Usually a service manager creates it.
    separation = Path("/run/sshd")
    create = os.geteuid() == 0 and not separation.exists()
    if create:
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
        if create:
            separation.rmdir()


@pytest.fixture(scope="module", autouse=True)
def client(folder) -> Iterator[None]:
    """Put an ssh into PATH that uses the tests' keys and ignores the user's configuration."""
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
def progress_lines() -> list[str]:
    """Return the list that `remote_results` appends its progress lines to."""
    return []


@pytest.fixture(scope="module")
def remote_results(server, models, test_set, progress_lines) -> RemoteResults:
    """Return the timings and predictions of the device."""
    return remote.measure(
        server.device,
        models,
        SETTINGS,
        pixels=test_set.pixels,
        quick=True,
        backends=("onnxruntime",),
        threads=(1,),
        progress=progress_lines.append,
    )


@pytest.fixture(scope="module")
def remote_latency(remote_results) -> LatencyReport:
    return remote_results.latency


@pytest.fixture(scope="module")
def remote_parity(remote_results, models, test_set) -> ParityReport:
    """Return the parity of the device's predictions, with two faults added.

    The first case is there a second time with two classes swapped, and as a skipped case.
    """
    predictions = remote_results.answers
    case, response, scores = predictions.answered[0]
    swapped = case, response, scores[:, [1, 0, *range(2, 10)]]
    skipped = (SkippedCase(case, FAILED, "its process was ended by SIGILL"),)
    return parity.compare(
        models,
        test_set,
        backends=("onnxruntime",),
        tolerance=Tolerance(max_drop=0.02, min_agreement=0.97),
        elsewhere=DevicePredictions((*predictions.answered, swapped), skipped),
    )


def test_device_agrees_with_the_reference_as_this_machine_does(remote_parity) -> None:
    sound = remote_parity.device_results[:-1]
    assert [r.case.artifact for r in sound] == ["digits.onnx", "digits-int8.onnx"]
    for device_result, local_result in zip(sound, remote_parity.results, strict=True):
        assert device_result, device_result.failures
        assert device_result.n == remote_parity.n
        assert device_result.digest == local_result.digest
        assert device_result.max_difference == pytest.approx(local_result.max_difference, abs=1e-5)


def device_failures(parity_report: ParityReport) -> list[str]:
    return [line for line in parity_report.failures if line.startswith("on the device: ")]


def test_device_with_different_predictions_fails_parity(remote_parity) -> None:
    assert not remote_parity.device_results[-1]
    assert not remote_parity
    failures = device_failures(remote_parity)
    assert any("scores differ" in line for line in failures)
    assert any("SIGILL" in line for line in failures)


def test_report_contains_the_parity_failures_of_the_device(
    remote_parity, remote_latency, timings
) -> None:
    made = report.make(remote_parity, timings, remote_latency)
    assert set(device_failures(remote_parity)) <= set(made.failures)
    assert from_json(report.BenchmarkReport, to_json(made), "report") == made
    text = html.render(made)
    assert "Parity on the device" in text
    assert "SIGILL" in text
    assert "predictions differ, on the device" in text


def test_device_measures_the_same_files(remote_latency, progress_lines, timings) -> None:
    assert remote_latency, remote_latency.failures
    artifacts = {r.case.artifact for r in remote_latency.results}
    assert artifacts == {"digits.onnx", "digits-int8.onnx"}
    digests = {(r.case.artifact, r.digest) for r in timings.results}
    assert {(r.case.artifact, r.digest) for r in remote_latency.results} <= digests
    assert remote_latency.commands
    assert any("digits-int8.onnx" in line for line in progress_lines)


def test_device_imports_neither_keras_nor_other_training_packages(remote_latency, server) -> None:
    assert not server.imported.exists(), server.imported.read_text()


def test_agent_needs_only_numpy_pillow_and_an_engine(
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


def test_device_keeps_no_files(remote_latency, server) -> None:
    assert list(server.temporary.iterdir()) == []


def test_table_compares_both_machines(remote_latency, timings) -> None:
    table = device_tables.side_by_side(timings, remote_latency)
    assert {line[0] for line in table.lines} == {"digits.onnx", "digits-int8.onnx"}
    assert all(len(line) == len(table.header) and line[5].endswith("×") for line in table.lines)


def test_written_reports_contain_the_table_of_both_machines(
    remote_latency, timings, request, tmp_path
) -> None:
    title = device_tables.side_by_side(timings, remote_latency).title
    made = report.make(request.getfixturevalue("report"), timings, remote_latency)
    write.write(made, tmp_path)
    assert report.read(tmp_path / write.JSON_NAME) == made
    for name in (write.MARKDOWN_NAME, write.HTML_NAME):
        assert title in (tmp_path / name).read_text("utf-8")
    without_device = report.make(made.parity, timings)
    assert title not in html.render(without_device)


def test_case_that_fails_on_the_device_fails_the_run(remote_latency, timings, request) -> None:
    failed = dataclasses.replace(
        remote_latency,
        skipped=(SkippedCase(remote_latency.results[0].case, FAILED, "a reason"),),
    )
    made = report.make(request.getfixturevalue("report"), timings, failed)
    assert any(line.startswith("on the device") and "a reason" in line for line in made.failures)
    assert summary_tables.unmeasured_table(failed.skipped).lines


def test_missing_engine_on_the_device_is_reported(server, models) -> None:
    with pytest.raises(BackendUnavailable, match=r"tflite_runtime is not.*--on-python"):
        remote.measure(
            server.device, models, SETTINGS, quick=True, backends=("tflite-runtime",), threads=(1,)
        )
    assert list(server.temporary.iterdir()) == []


def test_missing_python_on_the_device_is_reported(server, models) -> None:
    device = Device(server.device.destination, server.device.port, "python-that-is-not")
    with pytest.raises(EdgeError, match="has no python-that-is-not"):
        remote.measure(device, models, SETTINGS)


def test_unknown_user_is_an_error_without_a_password_prompt(server, models) -> None:
    device = Device("nobody-of-that-name@127.0.0.1", server.device.port)
    with pytest.raises(EdgeError, match=r"cannot reach.*denied"):
        remote.measure(device, models, SETTINGS)


@needs_ssh
def test_unreachable_device_is_reported_before_data_is_loaded(models, tmp_path) -> None:
    options = ["--model", str(models), "--data", str(tmp_path / "never"), "--on", "127.0.0.1"]
    with pytest.raises(EdgeError, match=r"cannot reach 127\.0\.0\.1: .*refused"):
        main([*options, "--on-port", str(free_port())])


def test_missing_ssh_is_reported(models, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeError, match="cannot start ssh"):
        remote.measure(Device("pi@device"), models, SETTINGS)


def test_archive_contains_the_images(models) -> None:
    file = io.BytesIO()
    pixels = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28, 1)
    remote.pack(models, file, pixels)
    packed = np.load(io.BytesIO(zipfile.ZipFile(file).read("pixels.npy")))
    np.testing.assert_array_equal(packed, pixels)


def test_archive_contains_the_runtime_and_artifacts_but_not_keras_or_training(models) -> None:
    file = io.BytesIO()
    remote.pack(models, file)
    names = zipfile.ZipFile(file).namelist()
    assert {"runtime/classifier.py", "benchmarks/latency/run.py", "models/digits.tflite"} <= set(
        names
    )
    assert not any(n.startswith(("train", "export")) or n.endswith(".keras") for n in names)
