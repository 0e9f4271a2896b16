"""Downloads from a local HTTP server: complete, interrupted, stalled, too large, redirected."""

import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import runtime
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.signing import SignatureError, make_key, sign
from runtime.update import download
from runtime.update.download import NotFound
from runtime.update.run import update

PRETRAINED = Path(runtime.__file__).parent / "pretrained"


class Server(ThreadingHTTPServer):
    """Serves the files of a folder.

    `faults` are for the next requests, one each: "" (none), a status, "to URL" (a redirect), "no
    length", "breaks off" or "stalls". `requested` collects the paths.
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.faults, self.requested = folder, [], []
        self.end = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requested.append(self.path)
        path = server.folder / self.path.rpartition("/")[2].partition("?")[0]
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdecimal():
            return self.send_error(int(fault))
        if fault.startswith("to "):
            self.send_response(302)
            self.send_header("Location", fault[3:])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if not path.exists():
            return self.send_error(404)
        body = path.read_bytes()
        self.send_response(200)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("breaks off", "stalls") else body)
        if fault == "stalls":
            self.wfile.flush()
            server.end.wait(20)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    shutil.copy(PRETRAINED / "digits.tflite", tmp_path / "served")
    running = Server(tmp_path / "served")
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield running
    running.end.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def fetched(server, monkeypatch):
    """Download the model while the server has these faults."""
    monkeypatch.setattr(download, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)

    def attempt(*faults: str, path: str = "digits.tflite", limit: int = 1 << 20) -> bytes:
        server.faults[:] = faults
        return download.fetch(f"{server.url}/{path}", limit)

    return attempt


DATA = (PRETRAINED / "digits.tflite").read_bytes()


@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("no length",),
        ("breaks off",),
        ("stalls", "503"),
        ("500", "breaks off"),
        ("to /moved/digits.tflite",),
    ],
    ids=lambda faults: ", ".join(faults) or "none",
)
def test_download_is_complete_despite_faults(fetched, faults):
    assert fetched(*faults) == DATA


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["breaks off"] * 3, rf"the connection ended after {len(DATA) // 2} of {len(DATA)} bytes"),
        (["stalls"] * 3, "timed out"),
        (["503"] * 3, "the server returned 503"),
        (["403"], "the server returned 403"),
        (["to file:///etc/passwd"], "is not allowed; check the URL"),
        (["to ftp://host/model.tflite"], "redirects to ftp: pass the final URL"),
        (["to http://a..b/model.tflite"], "invalid URL or redirect"),
    ],
)
def test_failed_download_names_the_url_and_the_reason(fetched, server, faults, message):
    with pytest.raises(EdgeError, match=message) as caught:
        fetched(*faults)
    assert f"{server.url}/digits.tflite" in str(caught.value)
    assert len(server.requested) == len(faults)


def test_redirect_to_an_invalid_url_gives_one_message(server, tmp_path):
    server.faults[:] = ["to http://[x/digits.tflite"]
    url = f"{server.url}/digits.tflite"
    done = subprocess.run(
        [sys.executable, "-m", "runtime.update", url, "--model", tmp_path / "models"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: cannot download {url}: invalid URL or redirect")
    assert len(done.stderr.splitlines()) == 1


def test_file_above_the_size_limit_is_rejected(fetched):
    for faults in ((), ("no length",)):
        with pytest.raises(EdgeError, match="larger than"):
            fetched(*faults, limit=100_000)


def test_missing_file_raises_not_found(fetched):
    with pytest.raises(NotFound):
        fetched(path="other.tflite")


def test_password_in_the_url_is_not_printed():
    with pytest.raises(
        EdgeError, match=r"cannot download http://127\.0\.0\.1:1/m\.tflite"
    ) as caught:
        download.fetch("http://user:secret@127.0.0.1:1/m.tflite", 100)
    assert "secret" not in str(caught.value)


def test_redirect_from_https_to_http_is_rejected():
    import urllib.request

    request = urllib.request.Request("https://host/model.tflite")
    with pytest.raises(EdgeError, match="redirects to http: pass the final URL"):
        download._SecureRedirectHandler().redirect_request(
            request, io.BytesIO(), 302, "", {}, "http://host/m.tflite"
        )


@pytest.fixture
def key(tmp_path) -> Path:
    """A private key; the device trusts its public key."""
    pytest.importorskip("cryptography")
    private, _ = make_key(tmp_path / "models" / "keys" / "maker")
    return private.rename(tmp_path / "maker.key")


@pytest.fixture
def url(server) -> str:
    return f"{server.url}/digits.tflite?version=2"


@pytest.fixture
def target(tmp_path, url, server, key) -> Path:
    """The installed model, downloaded with its signature."""
    target = tmp_path / "models" / "model.tflite"
    sign(server.folder / "digits.tflite", key)
    update(url, target, None)
    return target


def is_unchanged(target: Path) -> bool:
    names = sorted(path.name for path in target.parent.iterdir())
    expected = ["keys", "model.tflite", "model.tflite.version"]
    return artifact.read(target).data == DATA and names == expected


def test_unsigned_download_is_rejected(server, tmp_path, key, url):
    with pytest.raises(SignatureError, match="is not signed"):
        update(url, tmp_path / "models" / "model.tflite", None)


def test_signature_is_downloaded_with_the_model(server, tmp_path, key, url):
    sign(server.folder / "digits.tflite", key)
    target = tmp_path / "models" / "model.tflite"
    assert "signed by maker.pub" in update(url, target, None)[0]
    assert server.requested[-1] == "/digits.tflite.sig?version=2"
    assert is_unchanged(target)


def test_failed_download_of_the_signature_is_an_error_even_with_allow_unsigned(server, url, target):
    server.faults[:] = ["", "503", "503", "503"]  # the model arrives, its signature does not
    with pytest.raises(EdgeError, match=r"cannot download .*sig"):
        update(url, target, None, allow_unsigned=True)
    assert is_unchanged(target)


def test_login_page_instead_of_the_signed_model_is_rejected(server, url, target):
    (server.folder / "digits.tflite").write_text("<html>Please log in</html>")
    with pytest.raises(SignatureError):
        update(url, target, None)
    assert is_unchanged(target)


def test_login_page_instead_of_an_unsigned_model_is_rejected(server, url, target):
    (server.folder / "digits.tflite").write_text("<html>Please log in</html>")
    (server.folder / "digits.tflite.sig").unlink()
    with pytest.raises(ArtifactError, match=r"is not a \.tflite model"):
        update(url, target, None, allow_unsigned=True)
    assert is_unchanged(target)


def trickle_headers(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while not end.wait(0.1):
        client.sendall(b"X: y\r\n")


def trickle_chunk_size(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not end.wait(0.1):
        client.sendall(b"0")


def trickle_body(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not end.wait(0.1):
        client.sendall(b"x")


def send_endless_body(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not end.is_set():
        client.sendall(bytes(10_000))


def redirect_for_ever(client: socket.socket, end: threading.Event) -> None:
    port = client.getsockname()[1]
    location = f"http://127.0.0.1:{port}/{os.urandom(4).hex()}"
    client.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (trickle_headers, "timed out before the end of the response headers"),
        (trickle_chunk_size, "the server is too slow"),
        (trickle_body, "the server is too slow"),
        (send_endless_body, "is larger than 1 MiB"),
        (redirect_for_ever, "infinite loop"),
    ],
)
def test_server_that_never_finishes_does_not_hold_the_update(monkeypatch, answer, message):
    for name, seconds in (
        ("HEADERS_TIMEOUT_S", 0.5),
        ("_RATE_CHECK_AFTER_S", 0.5),
        ("_RETRY_DELAY_S", 0.0),
    ):
        monkeypatch.setattr(download, name, seconds)
    end = threading.Event()

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=reply, args=(client,), daemon=True).start()

    def reply(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(4096)
            answer(client, end)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/m.tflite"
        with pytest.raises(EdgeError, match=message) as caught:
            download.fetch(url, 1 << 20)
        end.set()
        listener.shutdown(socket.SHUT_RDWR)
    assert str(caught.value).count(url) == 1
