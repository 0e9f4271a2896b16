"""The worker process: killed, stopped, replaced; requests that take too long."""

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

from runtime.server import supervisor
from runtime.server.limits import Limits
from runtime.server.problems import Problem
from runtime.server.wire import Model

STOPPING_S = 10  # SIGTERM ends the server within this
HEALTH_S = 1  # /healthz answers within this


class Server:
    """A server process that may write on stderr, and its worker."""

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
        """The status of /healthz, and the seconds that it took."""
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
    """Starts a server with options."""
    with contextlib.ExitStack() as stack:

        def start(*options, **environment):
            server = Server(tmp_path, *options, **environment)
            stack.callback(server.close)
            return server

        yield start


@contextlib.contextmanager
def hanging_request(server, photo):
    """Sends a photo to a worker that is stopped, as if its decoder hung; yields the answer."""
    os.kill(server.worker, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.classify, photo)
        time.sleep(0.3)
        yield answer


def test_request_past_its_deadline_is_refused_and_the_worker_replaced(serve, photo):
    server = serve("--timeout", "1.5")
    first = server.worker
    with hanging_request(server, photo) as hanging:
        refused = hanging.result()
    assert refused.status_code == 422
    assert refused.json()["detail"] == "the image takes longer than 1.5 s: scale it down"
    assert server.classify(photo).status_code == 200
    assert server.worker != first
    assert server.restarts() == 1
    assert server.stderr == (
        "error: the process that decodes images was ended by SIGKILL; another one is started\n"
    )


def test_health_is_reported_within_a_second_while_a_decoder_hangs(serve, photo):
    server = serve("--timeout", "3")
    with hanging_request(server, photo) as hanging:
        while not hanging.done():
            status, seconds = server.health()
            assert status == 200
            assert seconds < HEALTH_S


def test_idle_worker_that_does_not_answer_is_unhealthy(serve):
    server = serve()
    os.kill(server.worker, signal.SIGSTOP)
    status, seconds = server.health()
    assert status == 503
    assert seconds < HEALTH_S
    os.kill(server.worker, signal.SIGCONT)
    assert server.health()[0] == 200


def test_requests_beside_one_past_its_deadline_are_answered(serve, photo):
    server = serve("--timeout", "4")
    os.kill(server.worker, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(server.classify, photo)]
        time.sleep(2)
        answers += [pool.submit(server.classify, photo) for _ in range(7)]
    statuses = [answer.result().status_code for answer in answers]
    assert statuses == [422, *[200] * 7]


def test_crashed_worker_is_replaced_and_its_requests_answered(serve, photo):
    server = serve()
    with hanging_request(server, photo) as hanging:
        os.kill(server.worker, signal.SIGKILL)
        assert hanging.result().status_code == 200
    assert "ended by SIGKILL" in server.stderr


# A worker that a body of b"poison" ends, and that answers others with what they sent.
_FRAGILE_WORKER = """
import os, socket, sys, time
sys.path.insert(0, sys.argv[1])
from runtime.server import wire
connection = socket.socket(fileno=int(sys.argv[2]))
wire.send(connection, {"id": wire.READY, "model": {}})
with connection.makefile("rb") as messages:
    while message := wire.receive(messages):
        if message[1] == b"poison":
            time.sleep(0.05)
            os._exit(3)
        time.sleep(0.1)
        wire.send(connection, {"id": message[0]["id"], "digits": []}, message[1])
"""


def test_image_that_ends_two_workers_is_refused_and_the_others_answered(monkeypatch, capsys):
    monkeypatch.setattr(supervisor, "_PROGRAM", _FRAGILE_WORKER)

    async def ask():
        workers = supervisor.Supervisor(Model(None, None, 1, "cpu"), Limits(workers=4))
        await asyncio.get_running_loop().run_in_executor(None, workers.start)
        await workers.open()
        try:
            images = [b"one", b"poison", b"two", b"poison", b"three"]
            asked = [workers.ask("classify", image, drawing=False) for image in images]
            return await asyncio.gather(*asked, return_exceptions=True), workers.restarts
        finally:
            await workers.close()

    answers, restarts = asyncio.run(ask())
    assert [getattr(answer, "body", None) for answer in answers] == [
        b"one",
        None,
        b"two",
        None,
        b"three",
    ]
    refused = [answer for answer in answers if isinstance(answer, Problem)]
    assert [problem.status for problem in refused] == [422, 422]
    assert restarts == 3
    assert capsys.readouterr().err.count("ended with status 3; another one is started\n") == 3


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
    assert server.stderr.count("\n") <= 1  # uvicorn reports how many requests it gave up


def test_worker_ends_with_a_server_that_is_killed(serve):
    server = serve()
    worker = server.worker
    server.process.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{worker}/cmdline").exists() and time.monotonic() < end:
        if "Z" in Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]:
            break  # ended; whoever adopted it has not taken note
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
    from runtime.classifier import find_model

    model = tmp_path / "model.tflite"
    model.write_bytes(find_model("litert").read_bytes())
    server = serve("--model", str(model))
    hidden = model.rename(tmp_path / "hidden")
    os.kill(server.worker, signal.SIGKILL)
    end = time.monotonic() + 30
    while server.health()[0] == 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert server.health()[0] == 503
    refused = server.classify(photo)
    assert refused.status_code == 503
    assert "model.tflite" in refused.json()["detail"]
    hidden.rename(model)
    while server.classify(photo).status_code == 503 and time.monotonic() < end:
        time.sleep(0.2)
    assert server.classify(photo).status_code == 200
    assert server.health()[0] == 200


def test_package_in_the_working_directory_is_not_taken_for_the_server(tmp_path):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    script = (
        "from runtime.server.supervisor import Supervisor\n"
        "from runtime.server.limits import Limits\n"
        "from runtime.server.wire import Model\n"
        "import os\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "print(Supervisor(Model(None, None, 1, 'cpu'), Limits()).start()['name'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("digits\n", "")
