"""Downloads from a server of this machine: right, broken off, wrong, stalled."""

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

# Contents that do not shrink, so that half a stream is half a content.
CONTENT = {
    name: np.random.default_rng(n).bytes(200_000 + n) for n, name in enumerate(("images", "labels"))
}
PACKED = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


class Server(ThreadingHTTPServer):
    """Serves PACKED; `fault` spoils its answers, `asked` lists the requests (path, range)."""

    daemon_threads = True

    def __init__(self, fault: str = ""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.asked, self.stop_stalling = fault, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        fault, asked = self.server.fault, self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        if fault == "absent":
            return self.send_error(404)
        content, start = PACKED[self.path], 0
        if fault == "another content":
            content = gzip.compress(b"something else entirely", mtime=0)
        if fault == "a login page":
            content = b"<html>Please log in</html>" * 100
        if asked and fault != "no ranges":
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fault != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if fault in ("always breaks off", "stalls", "no length"):
            body = body[: len(body) // 2]
        if fault == "breaks off once" and not asked:
            body = body[: len(body) // 2]
        if fault == "drips":
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
def impatient(monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(module, "MIN_RATE_AFTER_S", 0.5)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def _is_whole(folder) -> bool:
    names = {path.name for path in folder.iterdir()}
    return names == {f"{name}.gz" for name in CONTENT} and all(
        gzip.decompress((folder / f"{name}.gz").read_bytes()) == content
        for name, content in CONTENT.items()
    )


def test_a_download_is_whole_and_is_not_repeated(serve, tmp_path):
    server = serve()
    download(tmp_path / "new" / "folder", [server.url], SHA256)
    assert _is_whole(tmp_path / "new" / "folder")
    download(tmp_path / "new" / "folder", [server.url], SHA256)
    assert server.asked == [("/images.gz", None), ("/labels.gz", None)]


def test_a_broken_transfer_is_gone_on_with(serve, tmp_path):
    server = serve("breaks off once")
    download(tmp_path, [server.url], SHA256)
    assert _is_whole(tmp_path)
    half = len(PACKED["/images.gz"]) // 2
    assert server.asked[:2] == [("/images.gz", None), ("/images.gz", f"bytes={half}-")]


def test_what_a_killed_download_left_is_gone_on_with(serve, tmp_path):
    (tmp_path / "images.gz.part").write_bytes(PACKED["/images.gz"][:1000])
    server = serve()
    download(tmp_path, [server.url], SHA256)
    assert _is_whole(tmp_path)
    assert server.asked[0] == ("/images.gz", "bytes=1000-")


def test_a_server_that_cannot_go_on_sends_all_again(serve, tmp_path):
    (tmp_path / "images.gz.part").write_bytes(PACKED["/images.gz"][:1000])
    download(tmp_path, [serve("no ranges").url], SHA256)
    assert _is_whole(tmp_path)


@pytest.mark.parametrize("left", [b"another stream", PACKED["/labels.gz"] * 2])
def test_a_left_over_of_another_file_is_thrown_away(serve, tmp_path, left):
    (tmp_path / "images.gz.part").write_bytes(left)
    download(tmp_path, [serve().url], SHA256)
    assert _is_whole(tmp_path)


def test_a_damaged_file_in_place_is_downloaded_again(serve, tmp_path):
    (tmp_path / "images.gz").write_bytes(PACKED["/images.gz"][:-100])
    download(tmp_path, [serve().url], SHA256)
    assert _is_whole(tmp_path)


FAULTS = {
    "absent": "404",
    "another content": "SHA-256",
    "a login page": "SHA-256",
    "always breaks off": "transfer ended",
    "no length": "SHA-256",
    "stalls": "timed out",
    "drips": "too slow",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_server_is_given_up_soon_and_nothing_is_taken_for_whole(serve, tmp_path, fault):
    start = time.monotonic()
    with pytest.raises(DatasetError, match=f"images.gz: .*{FAULTS[fault]}.*--data") as caught:
        download(tmp_path, [serve(fault).url], SHA256)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".part"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_helps_out_and_the_faulty_one_is_not_asked_again(serve, tmp_path, fault):
    faulty, good = serve(fault), serve()
    download(tmp_path, [faulty.url, good.url], SHA256)
    assert _is_whole(tmp_path)
    assert {path for path, _ in faulty.asked} == {"/images.gz"}


def test_a_server_that_is_not_there_and_a_name_that_is_not_known(tmp_path):
    start = time.monotonic()
    for url in ("http://127.0.0.1:9/", "http://digits.invalid/"):
        with pytest.raises(DatasetError, match="images.gz"):
            download(tmp_path, [url], SHA256)
    assert time.monotonic() - start < 5


def test_a_server_that_accepts_and_says_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(DatasetError, match="timed out"):
            download(tmp_path, [f"http://127.0.0.1:{silent.getsockname()[1]}/"], SHA256)
        assert time.monotonic() - start < 4
