"""Supervision of the worker process: deadlines, crashes, restarts, health and shutdown."""

import asyncio
import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from runtime.serve import supervisor
from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem
from runtime.serve.wire import ModelOptions
from runtime.system.own_modules import ROOT

STOPPING_S = 10  # the server must exit within this time after SIGTERM
HEALTH_S = 1  # /healthz must respond within this time


class Server:
    """A server process with a worker; unlike that of conftest.py it may write to stderr."""

    def __init__(self, folder, *options, **environment):
        self._stderr = open(folder / "stderr", "w+")  # noqa: SIM115  (closed in `close`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.serve", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env={**os.environ, **environment},
        )
        url = re.search(r"http://\S+", self.process.stdout.readline())[0]
        self.client = httpx.Client(base_url=url, timeout=30)

    @property
    def worker(self):
        """The worker's process ID."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (child,) = "".join(thread.read_text() for thread in threads).split()
        return int(child)

    @property
    def stderr(self):
        self._stderr.seek(0)
        return self._stderr.read()

    def restarts(self):
        text = self.client.get("/metrics").text
        return int(re.search(r"^digit_edge_worker_restarts_total (\d+)$", text, re.M)[1])

    def health(self):
        """Return the status of /healthz and its response time in seconds."""
        start = time.monotonic()
        status = self.client.get("/healthz").status_code
        return status, time.monotonic() - start

    def classify(self, photo):
        return self.client.post("/v1/classify", content=photo)

    def close(self):
        self.client.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._stderr.close()


@pytest.fixture
def serve(tmp_path):
    """Start a server with options."""
    with contextlib.ExitStack() as stack:

        def start(*options, **environment):
            server = Server(tmp_path, *options, **environment)
            stack.callback(server.close)
            return server

        yield start


@contextlib.contextmanager
def hanging_request(server, photo):
    """Send a photo to a stopped worker, as if its decoder hung; yield the future response."""
    os.kill(server.worker, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        response = pool.submit(server.classify, photo)
        time.sleep(0.3)
        yield response


def test_request_past_its_deadline_is_rejected_and_the_worker_replaced(serve, photo):
    server = serve("--timeout", "1.5")
    first = server.worker
    with hanging_request(server, photo) as hanging:
        rejected = hanging.result()
    assert rejected.status_code == 422
    assert rejected.json()["detail"] == "the image takes longer than 1.5 s: scale it down"
    assert server.classify(photo).status_code == 200
    assert server.worker != first
    assert server.restarts() == 1
    assert server.stderr == (
        "error: the worker process was ended by signal 9; starting a new one\n"
    )


def test_health_is_reported_within_a_second_while_a_decoder_hangs(serve, photo):
    server = serve("--timeout", "3")
    with hanging_request(server, photo) as hanging:
        while not hanging.done():
            status, seconds = server.health()
            assert status == 200
            assert seconds < HEALTH_S


def test_idle_worker_that_does_not_reply_is_unhealthy(serve):
    server = serve()
    os.kill(server.worker, signal.SIGSTOP)
    status, seconds = server.health()
    assert status == 503
    assert seconds < HEALTH_S
    os.kill(server.worker, signal.SIGCONT)
    assert server.health()[0] == 200


def test_only_the_request_past_its_deadline_gets_422(serve, photo):
    server = serve("--timeout", "3")
    os.kill(server.worker, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = [pool.submit(server.classify, photo)]
        time.sleep(1)
        responses += [pool.submit(server.classify, photo) for _ in range(7)]
    statuses = [response.result().status_code for response in responses]
    assert statuses[0] == 422
    # Other requests in that worker get 503, queued requests succeed.
    assert set(statuses[1:]) <= {200, 503}
    assert server.classify(photo).status_code == 200


def test_crashed_worker_is_replaced(serve, photo):
    server = serve()
    with hanging_request(server, photo) as hanging:
        os.kill(server.worker, signal.SIGKILL)
        lost = hanging.result()
    assert lost.status_code == 503
    assert lost.headers["retry-after"] == "1"
    assert server.classify(photo).status_code == 200
    assert "ended by signal 9" in server.stderr


def test_metrics_and_model_do_not_wait_for_images(serve, photo):
    server = serve("--timeout", "20")
    with hanging_request(server, photo) as hanging:
        start = time.monotonic()
        assert server.client.get("/v1/model").json()["name"] == "digits"
        assert server.client.get("/metrics").status_code == 200
        assert time.monotonic() - start < 10
        os.kill(server.worker, signal.SIGCONT)
        assert hanging.result().status_code == 200


# Program of a worker that exits as soon as its model is open.
_SHORT_LIVED_WORKER = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from runtime.serve import wire
from runtime.serve.bodies import ModelDescription

connection = socket.socket(fileno=int(sys.argv[2]))
form, dataset = "ink", ""
model = ModelDescription(
    "m", "int8", "", "litert", "", "cpu", [], [], form, dataset, None, None, {}, 1, 1
)
wire.send(connection, {"id": wire.READY, "model": vars(model)})
os._exit(3)
"""


def test_worker_that_ends_right_after_its_start_is_not_used(monkeypatch, capsys):
    monkeypatch.setattr(
        supervisor,
        "module_command",
        lambda module, *arguments: [
            *(sys.executable, "-c", _SHORT_LIVED_WORKER, str(ROOT)),
            *arguments,
        ],
    )

    async def ask():
        workers = supervisor.Supervisor(ModelOptions(None, None, 1, "cpu"), Limits(seconds=30))
        await asyncio.get_running_loop().run_in_executor(None, workers.start)
        await workers.open()
        try:
            end = time.monotonic() + 30
            statuses = set()
            while time.monotonic() < end and len(statuses) < 1:
                try:
                    await workers.ask("classify", b"an image", drawing=False)
                except HttpProblem as problem:
                    statuses.add(problem.status)
            return statuses, await workers.is_progressing()
        finally:
            await workers.close()

    statuses, progressing = asyncio.run(asyncio.wait_for(ask(), 20))
    assert statuses == {503}
    assert not progressing


def test_sigterm_ends_the_server_in_time_while_a_decoder_hangs_and_a_body_arrives(serve, photo):
    server = serve("--timeout", "60")
    worker = server.worker
    with (
        socket.create_connection(("127.0.0.1", server.client.base_url.port), 30) as slow,
        hanging_request(server, photo) as hanging,
    ):
        slow.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000\r\n\r\nx"
        )
        start = time.monotonic()
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert time.monotonic() - start < STOPPING_S
        assert hanging.result().status_code == 503
        assert slow.recv(100).startswith(b"HTTP/1.1 503")
    assert not Path(f"/proc/{worker}").exists()
    assert server.stderr.count("\n") <= 1  # uvicorn reports the number of canceled requests


def test_worker_ends_with_a_server_that_is_killed(serve):
    server = serve()
    worker = server.worker
    server.process.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{worker}/cmdline").exists() and time.monotonic() < end:
        if "Z" in Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]:
            break  # a zombie: it has ended, but its new parent has not reaped it
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{worker}").exists()


def test_watchdog_is_notified_only_while_requests_complete(tmp_path, serve, photo):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        server = serve(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"  # idle
        assert server.classify(photo).status_code == 200
        assert manager.recv(100) == b"WATCHDOG=1"
        with hanging_request(server, photo) as hanging:
            manager.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while manager.recv(100):
                    pass
            manager.settimeout(1.5)
            with pytest.raises(TimeoutError):
                manager.recv(100)
            os.kill(server.worker, signal.SIGCONT)
            assert hanging.result().status_code == 200
            manager.settimeout(30)
            assert manager.recv(100) == b"WATCHDOG=1"


def test_model_that_cannot_be_opened_ends_the_command(tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(b"no model")
    ended = subprocess.run(
        [sys.executable, "-m", "runtime.serve", "--port", "0", "--model", str(model)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {model}")
    assert ended.stderr.count("\n") == 1


def test_server_whose_model_is_gone_recovers_once_it_is_back(serve, tmp_path, photo):
    from runtime.model.default_model import find_model

    model = tmp_path / "model.tflite"
    model.write_bytes(find_model("litert").read_bytes())
    server = serve("--model", str(model))
    hidden = model.rename(tmp_path / "hidden")
    os.kill(server.worker, signal.SIGKILL)
    end = time.monotonic() + 30
    while server.health()[0] == 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert server.health()[0] == 503
    rejected = server.classify(photo)
    assert rejected.status_code == 503
    assert "model.tflite" in rejected.json()["detail"]
    hidden.rename(model)
    while server.classify(photo).status_code == 503 and time.monotonic() < end:
        time.sleep(0.2)
    assert server.classify(photo).status_code == 200
    assert server.health()[0] == 200


def test_package_of_the_same_name_in_the_working_directory_is_ignored(tmp_path):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    script = (
        "from runtime.serve.supervisor import Supervisor\n"
        "from runtime.serve.limits import Limits\n"
        "from runtime.serve.wire import ModelOptions\n"
        "import os\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "print(Supervisor(ModelOptions(None, None, 1, 'cpu'), Limits()).start().name)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("digits\n", "")
