"""The camera's preview for browsers: who may see it, and clients that are slow or too many."""

import contextlib
import http.server
import io
import os
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from PIL import Image

from runtime.camera import preview_server
from runtime.camera.preview import open_preview
from runtime.errors import EdgeError
from runtime.serve.access_options import AccessOptions
from runtime.serve.limits import Limits

WAIT_S = 30
TOKEN = "correct-horse-battery-staple"
EVERYBODY = AccessOptions(no_auth=True)


class Shown:
    """A preview that shows a picture of one color again and again."""

    def __init__(self, where, access):
        self.preview = open_preview(where, access)
        self.port = self.preview.port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=WAIT_S)
        self.picture = Image.new("RGB", (320, 240), (200, 0, 0))
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._show)
        self.thread.start()

    def _show(self):
        while not self.stopped.wait(0.02):
            self.preview.show(self.picture)

    def stop(self):
        self.stopped.set()
        self.thread.join()

    def close(self):
        self.stop()
        self.client.close()
        self.preview.close()

    def get(self, path, method="GET", **headers):
        """The response; of a stream the head alone."""
        with self.client.stream(method, path, headers=headers) as answer:
            if not answer.headers["content-type"].startswith("multipart/"):
                answer.read()
            return answer

    def stream(self):
        """A connection on which the stream was requested."""
        return self.requested("/stream")

    def requested(self, path):
        """A connection on which `path` was requested and nothing is read."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection


@pytest.fixture
def shown():
    """Starts a preview: `shown(where, access)`."""
    with contextlib.ExitStack() as stack:

        def start(where=":0", access=AccessOptions()):  # noqa: B008  (frozen)
            return stack.enter_context(contextlib.closing(Shown(where, access)))

        yield start


def read_until(connection, expected):
    received = b""
    while expected not in received:
        piece = connection.recv(65536)
        assert piece, received[-1000:]
        received += piece
    return received


def test_others_on_the_network_are_let_in_only_with_a_token(monkeypatch):
    monkeypatch.delenv("DIGIT_EDGE_TOKEN", raising=False)
    for where in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(
            EdgeError,
            match="accepts connections from other machines: pass --token-file FILE, or set DIGIT",
        ):
            open_preview(where)
    monkeypatch.setenv("DIGIT_EDGE_TOKEN", "short")
    with pytest.raises(
        EdgeError, match="DIGIT_EDGE_TOKEN: a token has at least 16 ASCII characters"
    ):
        open_preview("0.0.0.0:0")


def test_the_command_without_a_token_is_one_error(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "DIGIT_EDGE_TOKEN"}
    (tmp_path / "pictures").mkdir()
    command = [sys.executable, "-m", "runtime.camera", "--source", "pictures"]
    done = subprocess.run(
        [*command, "--preview", "0.0.0.0:0"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: --preview 0.0.0.0:0 accepts connections from other machines: pass --token-file"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "where",
    [
        f":{'1' * 5000}",
        ":65536",
        ":\u0668\u0660\u0668\u0661",  # digits that are not ASCII
        ":+80",
        ":8_0",
        ": 80",
        ":",
        "8081",
        "[[[127.0.0.1:0",
        "[::1:0",
        "::1]:0",
        "[[::1]]:0",
        "[]:0",
        "[127.0.0.1]:0",
        "::1:0",  # without brackets the port could be the address's end
    ],
)
def test_an_address_of_another_form_is_rejected(where):
    with pytest.raises(EdgeError, match=r"^--preview .*: invalid address; pass \[HOST\]:PORT"):
        open_preview(where)


def test_an_ipv6_address_is_shown_in_brackets(shown, monkeypatch):
    served = shown("[::1]:0")
    assert served.preview.url == f"http://[::1]:{served.port}/"
    with pytest.raises(EdgeError, match=rf"cannot listen on \[::1\]:{served.port}: "):
        open_preview(f"[::1]:{served.port}")
    monkeypatch.delenv("DIGIT_EDGE_TOKEN", raising=False)
    with pytest.raises(EdgeError, match=r"^--preview \[::\]:18081 accepts connections"):
        open_preview("[::]:18081")


@pytest.mark.parametrize("options", [["--preview"], []])
def test_a_token_without_an_address_is_a_usage_error(options):
    done = subprocess.run(
        [sys.executable, "-m", "runtime.camera", *options, "--token-file", "token"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 2
    assert "need --preview HOST:PORT" in done.stderr.splitlines()[-1]


def test_without_the_extra_the_error_names_it():
    script = (
        "import sys\n"
        "sys.modules['starlette'] = None\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from runtime.camera.preview import open_preview\n"
        "sys.exit(exit_status(lambda: open_preview(':0')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.returncode == 2
    assert done.stderr == (
        'error: --preview :0: starlette is not installed: pip install "digit-edge[serve]"\n'
    )


def test_pictures_need_the_token_and_the_page_does_not(shown, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    served = shown("0.0.0.0:0", AccessOptions(token_file=tmp_path / "token"))
    for path in ("/stream", "/picture.jpg"):
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}):
            answer = served.get(path, **headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    answer = served.get("/picture.jpg", Authorization=f"Bearer {TOKEN}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.content)).size == (320, 240)
    for path in ("/", "/preview.js", "/preview.css", "/engine.js", "/style.css"):
        assert served.get(path).status_code == 200
    assert "0.0.0.0" not in served.preview.url


def test_everybody_may_look_if_that_is_said(shown, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_TOKEN", TOKEN)
    assert shown("0.0.0.0:0", EVERYBODY).get("/picture.jpg").status_code == 200


def test_pages_of_other_sites_cannot_embed_it(shown):
    served = shown()
    own = f"127.0.0.1:{served.port}"
    for path in ("/stream", "/picture.jpg"):
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
        ):
            assert served.get(path, **headers).status_code == 403
        assert served.get(path, Host="evil.example").status_code == 421
        answer = served.get(path, **{"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == 200
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_name_that_is_allowed_is_answered(shown):
    served = shown(":0", AccessOptions(allow_hosts=("Camera.example",)))
    assert served.get("/picture.jpg", Host="camera.example").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/else", 404), ("HEAD", "/stream", 405), ("POST", "/picture.jpg", 405)],
)
def test_other_requests_are_rejected(shown, method, path, status):
    answer = shown().get(path, method)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_nothing_is_drawn_while_nobody_looks(shown, until):
    served = shown()
    assert not served.preview.wanted
    with served.stream() as viewer:
        read_until(viewer, b"--picture\r\nContent-Type: image/jpeg\r\n")
        until(lambda: served.preview.wanted, "a viewer that waits is not counted")
    until(lambda: not served.preview.wanted, "a viewer that left is still counted")


def test_a_client_that_reads_nothing_is_disconnected_and_holds_nobody_up(shown, monkeypatch, until):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=0.5))
    served = shown()
    served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(served.stream()) for _ in range(3)]
        until(lambda: served.preview._viewers == 3, "the streams have not begun")
        for _ in range(5):
            assert served.get("/picture.jpg").content.startswith(b"\xff\xd8")
        until(lambda: served.preview._viewers == 0, "clients that read nothing stay connected")
        for connection in stuck:
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1 << 20):
                    pass


def test_nothing_is_drawn_for_clients_that_read_nothing(shown, monkeypatch, until):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=10 * WAIT_S))
    served = shown()
    served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(served.stream()) for _ in range(3)]
        until(lambda: served.preview._viewers == 3, "the streams have not begun")
        until(lambda: not served.preview.wanted, "pictures are drawn for clients that do not read")
        assert served.preview._viewers == 3
        for _ in range(10):  # more than the system buffers
            read_until(stuck[0], b"--picture\r\n")
        until(lambda: served.preview.wanted, "a client that reads again is not counted")


def test_too_many_viewers_are_rejected_until_one_leaves(shown, until):
    served = shown()
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(served.stream()) for _ in range(preview_server.MAX_VIEWERS)]
        for viewer in viewers:
            read_until(viewer, b"--picture\r\n")
        answer = served.get("/stream")
        assert answer.status_code == 503
        assert b"16 browsers show the camera already" in answer.content
        viewers[0].close()
        until(lambda: served.get("/picture.jpg").status_code == 200, "the place stays taken")


def test_a_camera_without_pictures_is_a_problem(shown, monkeypatch):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=0.2))
    served = shown()
    served.stop()
    answer = served.get("/picture.jpg")
    assert answer.status_code == 503
    assert b"no picture within 0.2 s: check the camera" in answer.content


@pytest.mark.parametrize("path", ["/picture.jpg", "/stream"])
def test_a_viewer_that_leaves_before_the_first_picture_makes_room(shown, monkeypatch, until, path):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=10 * WAIT_S))
    served = shown()
    served.stop()
    with contextlib.ExitStack() as stack:
        for _ in range(preview_server.MAX_VIEWERS):
            viewer = stack.enter_context(served.requested(path))
            if path == "/stream":  # with something unread, closing is a reset
                read_until(viewer, b"\r\n\r\n")
        until(
            lambda: served.preview._viewers == preview_server.MAX_VIEWERS,
            "the requests have not begun",
        )
        assert served.get("/stream").status_code == 503
    until(lambda: served.preview._viewers == 0, "viewers that left are still counted")


def test_closing_ends_the_streams_and_frees_the_port(shown, capfd):
    served = shown()
    with served.stream() as viewer, served.stream():  # the second reads nothing
        read_until(viewer, b"--picture\r\n")
        served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
        for _ in range(10):  # more than the system buffers for the one that does not read
            read_until(viewer, b"--picture\r\n")
        served.close()
        received = b""
        while piece := viewer.recv(65536):
            received = (received + piece)[-5:]
        assert received == b"0\r\n\r\n"  # as a whole: the last chunk
    open_preview(f":{served.port}").close()
    assert capfd.readouterr().err == ""


COLOR = """() => {
  const image = document.querySelector("#picture"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.width, ...context.getImageData(9, 9, 1, 1).data].join();
}"""


def test_the_page_shows_the_newest_picture(shown, opened):
    served = shown()
    with opened(served.preview.url, allowed=["ERR_", "Failed to fetch"]) as page:
        page.wait_for_function(f"() => ({COLOR})().startsWith('320,20')")
        assert page.locator("#problem").is_hidden()
        served.picture = Image.new("RGB", (160, 120), (0, 0, 250))
        page.wait_for_function(f"() => ({COLOR})().startsWith('160,')")
        served.close()
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('still running')"
        )
        again = shown(f":{served.port}")
        page.wait_for_function(f"() => ({COLOR})().startsWith('320,20')")
        assert page.locator("#problem").is_hidden()
        again.close()


def test_the_page_asks_for_the_token(shown, opened):
    served = shown(":0", AccessOptions(token=TOKEN))
    malformed = f"{served.preview.url}#token=%C3%A9%0D%0AX"  # no header can carry it
    with opened(malformed, ready=False, allowed=["401"]) as page:
        page.locator("#token").fill("a-token-that-is-wrong")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_function(
            "() => document.querySelector('#token-text').textContent.includes('not')"
        )
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
    with opened(f"{served.preview.url}#token={TOKEN}") as page:
        assert "token" not in page.url


def test_a_page_of_another_site_gets_no_picture(shown, browser):
    """In a browser, without a token on loopback: what any page could do that somebody visits."""
    served = shown()
    markup = "".join(
        f'<img src="{served.preview.url}{path}">' for path in ("picture.jpg", "stream")
    )

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"{markup}<iframe src='{served.preview.url}'></iframe>".encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            page = browser.new_page()
            page.goto(f"http://localhost:{server.server_address[1]}/")
            page.wait_for_load_state("load")
            sizes = "() => [...document.images].map((image) => image.naturalWidth)"
            assert page.evaluate(sizes) == [0, 0]
            frame = next(each for each in page.frames if each != page.main_frame)
            assert frame.locator("#picture").count() == 0
            page.close()
        finally:
            server.shutdown()
