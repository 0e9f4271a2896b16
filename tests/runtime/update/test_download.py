"""Models fetched over HTTP from a server of this machine: right, broken off, stalled, too large."""

import io
import shutil
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
    """Serves the files of a folder; `faults` spoil its next answers, one each."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.faults, self.asked = folder, [], []
        self.end = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
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
def fetched(server, tmp_path, monkeypatch):
    """Fetches the model with these faults in the way."""
    monkeypatch.setattr(download, "TIMEOUT_S", 1.0)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)

    def attempt(*faults: str, path: str = "digits.tflite", limit: int = 1 << 20) -> bytes:
        server.faults[:] = faults
        download.fetch(f"{server.url}/{path}", tmp_path / "fetched", limit)
        return (tmp_path / "fetched").read_bytes()

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
def test_a_file_arrives_whole(fetched, faults):
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
def test_what_does_not_arrive_is_a_message(fetched, server, faults, message):
    with pytest.raises(EdgeError, match=message) as caught:
        fetched(*faults)
    assert f"{server.url}/digits.tflite" in str(caught.value)
    assert len(server.asked) == len(faults)


def test_a_server_that_leads_to_no_address_is_one_message(server, tmp_path):
    server.faults[:] = ["to http://[x/digits.tflite"]
    url = f"{server.url}/digits.tflite"
    done = subprocess.run(
        [sys.executable, "-m", "runtime.update", url, "--into", tmp_path / "models"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: cannot download {url}: invalid URL or redirect")
    assert len(done.stderr.splitlines()) == 1


def test_more_than_the_limit_is_refused(fetched, tmp_path):
    for faults in ((), ("no length",)):
        with pytest.raises(EdgeError, match="larger than"):
            fetched(*faults, limit=100_000)
        assert (tmp_path / "fetched").stat().st_size <= 100_000


def test_an_absent_file_is_told_from_a_failure(fetched):
    with pytest.raises(NotFound):
        fetched(path="other.tflite")


def test_where_nobody_answers_the_address_is_named_without_its_password(tmp_path):
    with pytest.raises(
        EdgeError, match=r"cannot download http://127\.0\.0\.1:1/m\.tflite"
    ) as caught:
        download.fetch("http://user:secret@127.0.0.1:1/m.tflite", tmp_path / "fetched", 100)
    assert "secret" not in str(caught.value)


def test_from_https_to_http_is_refused():
    import urllib.request

    request = urllib.request.Request("https://host/model.tflite")
    with pytest.raises(EdgeError, match="redirects to http: pass the final URL"):
        download._SecureRedirectHandler().redirect_request(
            request, io.BytesIO(), 302, "", {}, "http://host/m.tflite"
        )


def test_an_update_comes_with_its_signature(server, tmp_path):
    pytest.importorskip("cryptography")
    private, _ = make_key(tmp_path / "models" / "keys" / "maker")
    private.rename(tmp_path / "maker.key")
    url, place = f"{server.url}/digits.tflite?version=2", tmp_path / "models" / "model.tflite"
    with pytest.raises(SignatureError, match="is not signed"):
        update(url, place, None)
    sign(server.folder / "digits.tflite", tmp_path / "maker.key")
    assert "signed by maker.pub" in update(url, place, None)[0]
    assert server.asked[-1] == "/digits.tflite.sig?version=2"
    assert artifact.read(place).data == DATA
    server.faults[:] = ["", "503", "503", "503"]  # the model comes, its signature does not
    with pytest.raises(EdgeError, match=r"cannot download .*sig"):
        update(url, place, None, allow_unsigned=True)
    (server.folder / "digits.tflite").write_text("<html>Please log in</html>")
    with pytest.raises(SignatureError):
        update(url, place, None)
    (server.folder / "digits.tflite.sig").unlink()
    with pytest.raises(ArtifactError, match=r"is not a \.tflite model"):
        update(url, place, None, allow_unsigned=True)
    assert artifact.read(place).data == DATA
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["keys", "model.tflite"]
