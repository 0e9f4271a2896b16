"""Downloads from local HTTP servers: correct, interrupted, stalled, slow, or with other content."""

import gzip
import hashlib
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from runtime.errors import DatasetError
from train.data import download as module
from train.data.download import download

# Random contents: half a compressed stream decompresses to about half of the content.
CONTENT = {
    name: np.random.default_rng(n).bytes(200_000 + n) for n, name in enumerate(("images", "labels"))
}
PACKED = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


class Server(ThreadingHTTPServer):
    """Serves PACKED with a fault, and records the requests as (path, Range header)."""

    daemon_threads = True

    def __init__(self, fault: str = ""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.requests, self.stop_stalling = fault, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        fault, requested_range = self.server.fault, self.headers.get("Range")
        self.server.requests.append((self.path, requested_range))
        if fault == "missing":
            return self.send_error(404)
        content, start = PACKED[self.path], 0
        if fault == "other content":
            content = gzip.compress(b"something else entirely", mtime=0)
        if fault == "login page":
            content = b"<html>Please log in</html>" * 100
        if requested_range and fault != "no ranges":
            start = int(re.fullmatch(r"bytes=(\d+)-", requested_range)[1])
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fault != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if fault in ("always interrupts", "stalls", "no length"):
            body = body[: len(body) // 2]
        if fault == "interrupts once" and not requested_range:
            body = body[: len(body) // 2]
        if fault == "slow":
            for byte in body[:300]:
                self.wfile.write(bytes([byte]))
                if self.server.stop_stalling.wait(0.05):
                    return None
        self.wfile.write(body)
        if fault == "stalls":
            self.server.stop_stalling.wait(20)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(fault: str = "") -> Server:
        server = Server(fault)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop_stalling.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def short_timeouts_and_no_proxy(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(module, "MIN_RATE_AFTER_S", 0.5)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def _is_complete(folder) -> bool:
    """Return whether the folder has all files with their content, and no others."""
    names = {path.name for path in folder.iterdir()}
    return names == {f"{name}.gz" for name in CONTENT} and all(
        gzip.decompress((folder / f"{name}.gz").read_bytes()) == content
        for name, content in CONTENT.items()
    )


def test_download_creates_the_folder_with_all_files(serve, tmp_path):
    download(tmp_path / "new" / "folder", [serve().url], SHA256)
    assert _is_complete(tmp_path / "new" / "folder")


def test_complete_files_are_not_downloaded_again(serve, tmp_path):
    server = serve()
    download(tmp_path, [server.url], SHA256)
    download(tmp_path, [server.url], SHA256)
    assert server.requests == [("/images.gz", None), ("/labels.gz", None)]


def test_interrupted_transfer_is_resumed(serve, tmp_path):
    server = serve("interrupts once")
    download(tmp_path, [server.url], SHA256)
    assert _is_complete(tmp_path)
    half = len(PACKED["/images.gz"]) // 2
    assert server.requests[:2] == [("/images.gz", None), ("/images.gz", f"bytes={half}-")]


def test_part_of_a_killed_download_is_resumed(serve, tmp_path):
    (tmp_path / "images.gz.part").write_bytes(PACKED["/images.gz"][:1000])
    server = serve()
    download(tmp_path, [server.url], SHA256)
    assert _is_complete(tmp_path)
    assert server.requests[0] == ("/images.gz", "bytes=1000-")


def test_part_is_replaced_if_the_server_ignores_ranges(serve, tmp_path):
    (tmp_path / "images.gz.part").write_bytes(PACKED["/images.gz"][:1000])
    download(tmp_path, [serve("no ranges").url], SHA256)
    assert _is_complete(tmp_path)


@pytest.mark.parametrize("part", [b"another stream", PACKED["/labels.gz"] * 2])
def test_part_of_another_file_is_discarded(serve, tmp_path, part):
    (tmp_path / "images.gz.part").write_bytes(part)
    download(tmp_path, [serve().url], SHA256)
    assert _is_complete(tmp_path)


def test_damaged_file_is_downloaded_again(serve, tmp_path):
    (tmp_path / "images.gz").write_bytes(PACKED["/images.gz"][:-100])
    download(tmp_path, [serve().url], SHA256)
    assert _is_complete(tmp_path)


FAULTS = {  # of the server, and a word of the error
    "missing": "404",
    "other content": "SHA-256",
    "login page": "SHA-256",
    "always interrupts": "transfer ended",
    "no length": "SHA-256",
    "stalls": "timed out",
    "slow": "too slow",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_server_raises_soon_and_leaves_no_complete_file(serve, tmp_path, fault):
    start = time.monotonic()
    with pytest.raises(DatasetError, match=f"images.gz: .*{FAULTS[fault]}.*--data") as caught:
        download(tmp_path, [serve(fault).url], SHA256)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".part"]


def test_error_names_the_files_the_mirrors_and_the_folder_to_download_by_hand(tmp_path):
    mirrors = ["http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"]
    with pytest.raises(DatasetError) as caught:
        download(tmp_path / "cache", mirrors, SHA256)
    message = str(caught.value)
    assert f"by hand from {mirrors[0]} or {mirrors[1]} and put them into {tmp_path / 'cache'}" in (
        message
    )
    assert all(f"{name}.gz" in message for name in SHA256)
    assert "Connection refused" in message
    assert "Errno" not in message
    assert "urlopen" not in message


@pytest.mark.parametrize("fault", FAULTS)
def test_next_mirror_is_used_for_all_files_after_a_fault(serve, tmp_path, fault):
    faulty, good = serve(fault), serve()
    download(tmp_path, [faulty.url, good.url], SHA256)
    assert _is_complete(tmp_path)
    assert {path for path, _ in faulty.requests} == {"/images.gz"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://digits.invalid/"])
def test_closed_port_and_unknown_host_raise_soon(tmp_path, url):
    start = time.monotonic()
    with pytest.raises(DatasetError, match=r"images\.gz"):
        download(tmp_path, [url], SHA256)
    assert time.monotonic() - start < 5


def test_server_that_accepts_but_sends_nothing_times_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(DatasetError, match="timed out"):
            download(tmp_path, [f"http://127.0.0.1:{silent.getsockname()[1]}/"], SHA256)
        assert time.monotonic() - start < 4
