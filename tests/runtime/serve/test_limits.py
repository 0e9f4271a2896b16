"""Clients that are slow, broken, greedy or too many: they are refused, the others are answered."""

import concurrent.futures
import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest

from runtime.serve.limits import DecodeBudget, Limits, UploadBudget
from runtime.serve.problem_details import HttpProblem
from tests.runtime.serve.conftest import encoded


def head(length, path="/v1/classify"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def read_all(connection):
    """All that comes until the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def problem(received):
    top, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in top
    return json.loads(body)


@pytest.fixture
def quick(serve):
    """A server that waits a second for a request."""
    return serve("--timeout", "1")


def test_headers_that_never_end_are_not_waited_for(quick):
    opened = [quick.connect() for _ in range(50)]
    for connection in opened:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
    assert quick.client.get("/healthz").status_code == 200
    for connection in opened:
        with connection:
            assert read_all(connection) == b""


def test_a_client_that_says_nothing_is_not_waited_for(quick):
    with quick.connect() as connection:
        assert read_all(connection) == b""


def test_a_second_request_that_never_ends_is_not_waited_for(quick):
    with quick.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        assert b"HTTP" not in read_all(connection)


def test_a_body_that_never_ends_is_408(quick):
    with quick.connect() as connection:
        connection.sendall(head(1000) + b"x")
        assert problem(read_all(connection))["status"] == 408


def test_a_client_that_has_sent_all_it_will_gets_its_answer(quick, photo):
    with quick.connect() as connection:
        connection.sendall(head(len(photo)) + photo)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_client_that_stops_in_the_middle_is_let_go(quick):
    with quick.connect() as connection:
        connection.sendall(head(1000) + b"x" * 500)
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert quick.client.get("/healthz").status_code == 200


def test_requests_in_a_row_on_one_connection_are_all_answered(server, photo):
    with server.connect() as connection:
        connection.sendall(3 * (head(len(photo)) + photo))
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)
    assert received.count(b"HTTP/1.1 200") >= 1


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server):
    with server.connect() as connection:
        connection.sendall(head(1 << 40))
        assert b"HTTP/1.1 413" in connection.recv(65536)


def test_a_body_of_unknown_size_is_cut_off(serve):
    server = serve("--max-body", "1")
    with server.connect() as connection:
        request = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(request)
        try:
            for _ in range(64):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            pass  # it has had enough
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
def test_what_is_no_http_gets_400(server, request_):
    with server.connect() as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert problem(read_all(connection))["status"] == 400


@pytest.mark.parametrize("path", ["/v1/classify", "/nothing", "/healthz"])
def test_a_broken_chunk_ends_its_connection_only(serve, path):
    """Without a word in the log, which `serve` checks, also if no body is read there."""
    server = serve()
    with server.connect() as connection:
        request = head(0, path).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(request + b"zz\r\nnonsense\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")
    assert server.client.get("/healthz").status_code == 200


def test_too_many_at_once_are_told_to_come_again(serve_with, photo):
    server = serve_with("workers=1, waiting=2")

    def ask(_):
        return server.client.post("/v1/classify", content=photo)

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(ask, range(200)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    assert ask(0).status_code == 200


def test_headers_without_measure_end_their_connection(server):
    with server.connect() as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000)
            received = read_all(connection)
        except OSError:
            return  # closed while we were still sending
        assert received == b"" or problem(received)["status"] == 400


def test_the_longest_idle_connection_makes_room(serve_with):
    server = serve_with("connections=5")
    idle = []
    for _ in range(12):
        idle.append(server.connect())
        time.sleep(0.01)
    # Whoever comes and asks is answered, whoever holds connections for nothing loses them.
    assert server.client.get("/healthz").status_code == 200
    idle[0].settimeout(5)
    assert read_all(idle[0]) == b""
    for connection in idle:
        connection.close()


def test_connections_that_were_answered_make_room_too(serve_with):
    server = serve_with("connections=3")
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def is_answered(connection):
        received = b""
        connection.sendall(ask)
        while b"ok" not in received:
            received += connection.recv(65536) or b"ok"
        return received.startswith(b"HTTP/1.1 200")

    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(server.connect()) for _ in range(3))
        assert all(map(is_answered, (first, second, third, first)))
        assert is_answered(stack.enter_context(server.connect()))
        # The second has been idle for longest: the first has asked again.
        with contextlib.suppress(ConnectionResetError):
            assert read_all(second) == b""
        assert is_answered(first)
        assert is_answered(third)


def test_what_does_not_fit_beside_others_waits_and_then_is_refused():
    room = DecodeBudget(Limits(work_bytes=100, seconds=0.2))
    with room.lease(60):
        with room.lease(40):
            pass
        with pytest.raises(HttpProblem) as refused, room.lease(41):
            pass
        assert refused.value.status == 503
    entered = threading.Event()

    def hold():
        with room.lease(100):
            entered.set()
            time.sleep(0.05)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(5)
    with room.lease(100):
        pass
    holder.join()


def test_large_images_are_looked_at_one_after_the_other(serve_with):
    """Each takes all there is; one that takes more is refused."""
    server = serve_with("work_bytes=5_000_000, workers=4")
    image = encoded(np.full((1000, 1200, 3), 240, np.uint8))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: server.client.post("/v1/classify", content=image), range(8))
        )
    assert {answer.status_code for answer in answers} == {200}
    larger = server.client.post(
        "/v1/classify", content=encoded(np.full((1200, 1200, 3), 240, np.uint8))
    )
    assert larger.status_code == 413
    assert larger.json()["detail"] == (
        "decoding the image takes 5 MB, the limit is 5 MB: scale it down, or save it as a baseline JPEG"
    )


def test_memory_is_lent_and_given_back():
    memory = UploadBudget(100)
    with memory.lease() as first:
        first(60)
        with memory.lease() as second:
            second(40)
            with pytest.raises(HttpProblem) as refused:
                second(1)
            assert refused.value.status == 503
            # Whoever is refused leaves its room to the others before it has said so.
            first(40)
            assert memory.held == 100
    assert memory.held == 0


def test_bodies_do_not_pile_up(serve_with):
    """More is sent than may be held: what does not fit is refused, and all of it is given back."""
    server = serve_with("body_bytes=1 << 20, memory_bytes=2 << 20, seconds=3.0")
    opened = [server.connect() for _ in range(6)]
    for connection in opened:
        connection.sendall(head(1 << 20) + bytes(900_000))
    statuses = []
    for connection in opened:
        with connection:
            statuses.append(int(connection.recv(65536)[9:12]))
    # Two fit, unless one is given up, on a slow machine, before the last is there.
    assert set(statuses) == {408, 503}
    assert server.client.post("/v1/classify", content=bytes(900_000)).status_code == 422
