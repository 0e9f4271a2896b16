"""Limits on clients: slow, malformed, large or too many requests do not affect other clients."""

import concurrent.futures
import contextlib
import json
import socket
import sys
import threading
import time

import numpy as np
import pytest

from runtime.serve.limits import DecodeBudget, Limits, UploadBudget
from runtime.serve.problem_details import HttpProblem
from tests.runtime.serve.conftest import encoded, started


def head(length, path="/v1/classify"):
    """Return the header section of a POST request whose body has `length` bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def read_all(connection):
    """Return all bytes until the server closes the connection."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def parse_problem(response):
    """Return the problem document of a raw HTTP response."""
    headers, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in headers
    return json.loads(body)


@pytest.fixture
def quick(serve):
    """A server with a time limit of one second."""
    return serve("--timeout", "1")


def test_connections_with_unfinished_headers_are_closed(quick):
    opened = [quick.connect() for _ in range(50)]
    for connection in opened:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
    assert quick.client.get("/healthz").status_code == 200
    for connection in opened:
        with connection:
            assert read_all(connection) == b""


def test_connection_without_a_request_is_closed(quick):
    with quick.connect() as connection:
        assert read_all(connection) == b""


def test_connection_with_an_unfinished_second_request_is_closed(quick):
    with quick.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        assert b"HTTP" not in read_all(connection)


def test_unfinished_body_gets_408(quick):
    with quick.connect() as connection:
        connection.sendall(head(1000) + b"x")
        assert parse_problem(read_all(connection))["status"] == 408


def test_half_closed_connection_gets_its_response(quick, photo):
    with quick.connect() as connection:
        connection.sendall(head(len(photo)) + photo)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_client_that_stops_in_the_middle_of_a_body_is_disconnected(quick):
    with quick.connect() as connection:
        connection.sendall(head(1000) + b"x" * 500)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert quick.client.get("/healthz").status_code == 200


def test_pipelined_requests_get_responses(server, photo):
    with server.connect() as connection:
        connection.sendall(3 * (head(len(photo)) + photo))
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)
    assert received.count(b"HTTP/1.1 200") >= 1


def test_content_length_above_the_limit_is_rejected_at_once(server):
    with server.connect() as connection:
        connection.sendall(head(1 << 40))
        assert b"HTTP/1.1 413" in connection.recv(65536)


def test_chunked_body_above_the_limit_is_rejected(serve):
    server = serve("--max-body", "1")
    with server.connect() as connection:
        request = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(request)
        try:
            for _ in range(64):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            pass  # the server has closed the connection
        assert b"HTTP/1.1 413" in connection.recv(65536)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_invalid_http_gets_400(server, request_):
    with server.connect() as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert parse_problem(read_all(connection))["status"] == 400


@pytest.mark.parametrize("path", ["/v1/classify", "/nothing", "/healthz"])
def test_malformed_chunk_closes_only_its_connection(serve, path):
    """The server logs nothing (the fixture checks it), even on paths that read no body."""
    server = serve()
    with server.connect() as connection:
        request = head(0, path).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(request + b"zz\r\nnonsense\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")
    assert server.client.get("/healthz").status_code == 200


def test_requests_beyond_the_queue_get_503_with_retry_after(serve_with, photo):
    server = serve_with("workers=1, waiting=2")

    def classify(_):
        return server.client.post("/v1/classify", content=photo)

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        responses = list(pool.map(classify, range(200)))
    statuses = {response.status_code for response in responses}
    assert statuses == {200, 503}
    rejected = next(response for response in responses if response.status_code == 503)
    assert rejected.headers["retry-after"] == "1"
    assert rejected.headers["content-type"] == "application/problem+json"
    assert classify(0).status_code == 200


def test_oversized_headers_close_the_connection(server):
    with server.connect() as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000)
            received = read_all(connection)
        except OSError:
            return  # the server closed the connection while we were sending
        assert received == b"" or parse_problem(received)["status"] == 400


def test_longest_idle_connection_is_closed_for_a_new_one(serve_with):
    server = serve_with("connections=5")
    idle = []
    for _ in range(12):
        idle.append(server.connect())
        time.sleep(0.01)
    assert server.client.get("/healthz").status_code == 200
    idle[0].settimeout(5)
    assert read_all(idle[0]) == b""
    for connection in idle:
        connection.close()


def test_keep_alive_connection_idle_for_longest_is_closed(serve_with):
    server = serve_with("connections=3")
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def is_served(connection):
        received = b""
        connection.sendall(request)
        while b"ok" not in received:
            received += connection.recv(65536) or b"ok"
        return received.startswith(b"HTTP/1.1 200")

    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(server.connect()) for _ in range(3))
        assert all(map(is_served, (first, second, third, first)))
        assert is_served(stack.enter_context(server.connect()))
        # The second connection is idle for longest: the first has sent another request.
        with contextlib.suppress(ConnectionResetError):
            assert read_all(second) == b""
        assert is_served(first)
        assert is_served(third)


def test_decode_budget_rejects_a_lease_after_the_timeout():
    budget = DecodeBudget(Limits(work_bytes=100, seconds=0.2))
    with budget.lease(60):
        with budget.lease(40):
            pass
        with pytest.raises(HttpProblem) as rejected, budget.lease(41):
            pass
        assert rejected.value.status == 503


def test_decode_budget_waits_for_released_memory():
    budget = DecodeBudget(Limits(work_bytes=100, seconds=0.2))
    entered = threading.Event()

    def hold():
        with budget.lease(100):
            entered.set()
            time.sleep(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(5)
    with budget.lease(100):
        pass
    holder.join()


def test_images_that_need_the_whole_budget_are_decoded_one_after_another(serve_with):
    server = serve_with("work_bytes=5_000_000, workers=4")
    image = encoded(np.full((1000, 1200, 3), 240, np.uint8))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = list(
            pool.map(lambda _: server.client.post("/v1/classify", content=image), range(8))
        )
    assert {response.status_code for response in responses} == {200}


def test_image_that_needs_more_than_the_budget_gets_413(serve_with):
    server = serve_with("work_bytes=5_000_000, workers=4")
    larger = server.client.post(
        "/v1/classify", content=encoded(np.full((1200, 1200, 3), 240, np.uint8))
    )
    assert larger.status_code == 413
    assert larger.json()["detail"] == (
        "decoding the image takes 5 MB, more than the limit of 5 MB: "
        "scale the image down, or save it as a baseline JPEG"
    )


def test_upload_budget_releases_the_bytes_of_a_rejected_upload_at_once():
    budget = UploadBudget(100)
    with budget.lease() as first:
        first(60)
        with budget.lease() as second:
            second(40)
            with pytest.raises(HttpProblem) as rejected:
                second(1)
            assert rejected.value.status == 503
            # The rejected upload has released its bytes before its lease ends.
            first(40)
            assert budget.held == 100
    assert budget.held == 0


def test_uploads_beyond_the_memory_limit_get_503(serve_with):
    """Afterwards the memory is free again: a further request is processed."""
    server = serve_with("body_bytes=1 << 20, memory_bytes=2 << 20, seconds=3.0")
    opened = [server.connect() for _ in range(6)]
    for connection in opened:
        connection.sendall(head(1 << 20) + bytes(900_000))
    statuses = []
    for connection in opened:
        with connection:
            statuses.append(int(connection.recv(65536)[9:12]))
    # Two uploads fit and time out (408), the others get 503.
    assert set(statuses) == {408, 503}
    assert server.client.post("/v1/classify", content=bytes(900_000)).status_code == 422


@pytest.mark.parametrize("order", [0, 1])
def test_request_with_two_lengths_is_the_last_of_its_connection(server, order):
    """Behind a proxy that obeys the other length, the rest would be a smuggled request."""
    rest = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b"0\r\n\r\n" + rest
    lengths = [b"Content-Length: %d\r\n" % len(body), b"Transfer-Encoding: chunked\r\n"]
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
            + b"".join(lengths[order:] + lengths[:order])
            + b"\r\n"
            + body
        )
        assert read_all(connection).count(b"HTTP/1.1 ") == 1


def test_second_request_with_two_lengths_closes_the_connection_too(server):
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with server.connect() as connection:
        connection.sendall(
            get
            + b"\r\n"
            + get
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + get
            + b"\r\n"
        )
        assert read_all(connection).count(b"HTTP/1.1 200") == 2


def test_newcomer_is_served_beside_more_idle_connections_than_the_soft_limit(tmp_path):
    command = f"ulimit -Sn 256; exec {sys.executable} -m runtime.serve --port 0"
    with started(tmp_path, ["sh", "-c", command]) as server, contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(server.connect())
        assert server.client.get("/healthz", timeout=5).status_code == 200
