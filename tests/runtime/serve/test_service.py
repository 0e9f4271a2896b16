"""The server as a service: load, memory, signals, hot reload of the model, systemd."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from benchmarks.serve import load
from benchmarks.serve.hostile_clients import abuse
from runtime.model.default_model import find_model


def test_200_parallel_requests_all_succeed(server, photo):
    requests = [load.post("/v1/classify", photo, "image/jpeg")]
    result = asyncio.run(load.load(server.port, requests, 200, 200))
    assert (len(result.latencies_ns), result.failed) == (200, 0)


def test_memory_does_not_grow_with_requests(server, photo):
    requests = [load.post("/v1/classify", photo, "image/jpeg"), load.get("/v1/model")]
    asyncio.run(load.load(server.port, requests, 8, 200))
    names = ("process_resident_memory_bytes", "digit_edge_worker_resident_memory_bytes")
    before = [server.metric(name) for name in names]
    assert all(before)
    asyncio.run(load.load(server.port, requests, 8, 500))
    for name, size in zip(names, before, strict=True):
        assert server.metric(name) < 1.1 * size


def test_requests_succeed_while_hostile_clients_are_connected(serve, photo):
    # The time limit of a request is wall time: on a busy machine, one may need more than 2 s.
    server = serve("--timeout", "20")

    async def probe():
        attack = asyncio.create_task(abuse(server.port))
        end = time.monotonic() + 3
        failed = 0
        while time.monotonic() < end:
            request = load.post("/v1/classify", photo, "image/jpeg")
            failed += (await load.load(server.port, [request], 1, 1)).failed
        attack.cancel()
        await asyncio.wait([attack])
        return failed

    assert asyncio.run(probe()) == 0
    assert server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_stops_the_server_after_requests_in_flight(popen, tmp_path, photo, sent, status):
    process = popen(
        [sys.executable, "-m", "runtime.serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
    request = load.post("/v1/classify", photo, "image/jpeg")

    async def end():
        idle = await asyncio.open_connection("127.0.0.1", port)  # must not delay the shutdown
        reader, writer = [], []
        for _ in range(20):
            r, w = await asyncio.open_connection("127.0.0.1", port)
            connection = load.ClientConnection(r, w)
            reader.append(asyncio.create_task(connection.ask(request)))
            writer.append(w)
        await asyncio.wait(reader, return_when=asyncio.FIRST_COMPLETED)
        process.send_signal(sent)
        responses = await asyncio.gather(*reader)
        for each in (*writer, idle[1]):
            each.close()
        return responses

    responses = asyncio.run(end())
    _, errors = process.communicate(timeout=30)
    assert [response.status for response in responses] == [200] * 20
    assert process.returncode == status
    assert errors == ("interrupted\n" if sent == signal.SIGINT else "")


def test_replaced_model_is_reloaded(serve, tmp_path, photo):
    model = tmp_path / "model.tflite"
    int8 = find_model("litert")
    shutil.copy(int8, model)
    server = serve("--model", model)
    before = server.client.get("/v1/model").json()
    assert before["precision"] == "int8"
    shutil.copy(int8.with_name("digits.tflite"), tmp_path / "new.tflite")
    (tmp_path / "new.tflite").replace(model)
    deadline = time.monotonic() + 30
    while server.client.get("/v1/model").json()["precision"] == "int8":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    classification = server.client.post("/v1/classify", content=photo).json()
    assert classification["model"]["precision"] == "float32"


def test_systemd_is_notified_of_start_watchdog_and_stop(tmp_path, photo):
    """STOPPING comes before requests in flight complete; repeated SIGTERMs still exit with 0."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.serve", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
        )
        with process:
            try:
                assert manager.recv(100) == b"READY=1"
                assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
                port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
                request = load.post("/v1/classify", photo, "image/jpeg")
                with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                    client.sendall(request[:-1])
                    # After two more notifications the server has started to read the request.
                    messages = [manager.recv(100) for _ in range(2)]
                    process.terminate()
                    while messages[-1] == b"WATCHDOG=1":
                        messages.append(manager.recv(100))
                    assert messages[-1] == b"STOPPING=1"
                    client.sendall(request[-1:])
                    assert client.recv(12) == b"HTTP/1.1 200"
                while process.poll() is None:
                    process.terminate()
                    time.sleep(0.001)
                assert process.returncode == 0
            finally:
                process.kill()
