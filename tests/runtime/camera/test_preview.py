"""The camera preview for browsers: access control, slow clients, too many clients, its page."""

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


class RunningPreview:
    """A preview server that gets `picture`, one color, every 20 ms until `stop`."""

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
        """Return the response; without its body if it is a stream."""
        with self.client.stream(method, path, headers=headers) as response:
            if not response.headers["content-type"].startswith("multipart/"):
                response.read()
            return response

    def stream(self):
        """Return a connection on which the stream was requested."""
        return self.requested("/stream")

    def requested(self, path):
        """Return a connection on which `path` was requested and nothing was read."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection


@pytest.fixture
def serve_preview():
    """Start a preview: `serve_preview(where, access)`."""
    with contextlib.ExitStack() as stack:

        def start(where=":0", access=AccessOptions()):  # noqa: B008  (frozen)
            return stack.enter_context(contextlib.closing(RunningPreview(where, access)))

        yield start


def read_until(connection, expected):
    received = b""
    while expected not in received:
        piece = connection.recv(65536)
        assert piece, received[-1000:]
        received += piece
    return received


def test_network_address_needs_a_valid_token(monkeypatch):
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


def test_command_without_a_token_on_the_network_gives_one_message(tmp_path):
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
        "::1:0",  # without brackets the port could be the last group of the address
    ],
)
def test_invalid_address_is_rejected(where):
    with pytest.raises(EdgeError, match=r"^--preview .*: invalid address; pass \[HOST\]:PORT"):
        open_preview(where)


def test_ipv6_address_is_printed_in_brackets(serve_preview, monkeypatch):
    served = serve_preview("[::1]:0")
    assert served.preview.url == f"http://[::1]:{served.port}/"
    with pytest.raises(EdgeError, match=rf"cannot listen on \[::1\]:{served.port}: "):
        open_preview(f"[::1]:{served.port}")
    monkeypatch.delenv("DIGIT_EDGE_TOKEN", raising=False)
    with pytest.raises(EdgeError, match=r"^--preview \[::\]:18081 accepts connections"):
        open_preview("[::]:18081")


@pytest.mark.parametrize("options", [["--preview"], []])
def test_token_without_a_preview_address_is_a_usage_error(options):
    done = subprocess.run(
        [sys.executable, "-m", "runtime.camera", *options, "--token-file", "token"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 2
    assert "need --preview HOST:PORT" in done.stderr.splitlines()[-1]


def test_missing_starlette_names_the_extra_to_install():
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


def test_pictures_need_the_token_but_the_page_does_not(serve_preview, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    served = serve_preview("0.0.0.0:0", AccessOptions(token_file=tmp_path / "token"))
    for path in ("/stream", "/picture.jpg"):
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}):
            response = served.get(path, **headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    response = served.get("/picture.jpg", Authorization=f"Bearer {TOKEN}")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(response.content)).size == (320, 240)
    for path in ("/", "/preview.js", "/preview.css", "/engine.js", "/style.css"):
        assert served.get(path).status_code == 200
    assert "0.0.0.0" not in served.preview.url


def test_no_auth_allows_everybody_on_the_network(serve_preview, monkeypatch):
    monkeypatch.setenv("DIGIT_EDGE_TOKEN", TOKEN)
    assert serve_preview("0.0.0.0:0", EVERYBODY).get("/picture.jpg").status_code == 200


def test_requests_of_other_sites_are_rejected(serve_preview):
    served = serve_preview()
    own = f"127.0.0.1:{served.port}"
    for path in ("/stream", "/picture.jpg"):
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
        ):
            assert served.get(path, **headers).status_code == 403
        assert served.get(path, Host="evil.example").status_code == 421
        response = served.get(path, **{"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"})
        assert response.status_code == 200
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"


def test_allowed_host_name_is_accepted_in_any_case(serve_preview):
    served = serve_preview(":0", AccessOptions(allow_hosts=("Camera.example",)))
    assert served.get("/picture.jpg", Host="camera.example").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/unknown", 404), ("HEAD", "/stream", 405), ("POST", "/picture.jpg", 405)],
)
def test_unknown_paths_and_methods_get_a_problem_document(serve_preview, method, path, status):
    response = serve_preview().get(path, method)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


def test_frames_are_wanted_only_while_a_viewer_is_connected(serve_preview, until):
    served = serve_preview()
    assert not served.preview.wanted
    with served.stream() as viewer:
        read_until(viewer, b"--picture\r\nContent-Type: image/jpeg\r\n")
        until(lambda: served.preview.wanted, "a waiting viewer is not counted")
    until(lambda: not served.preview.wanted, "a disconnected viewer is still counted")


def test_client_that_does_not_read_is_disconnected_and_delays_nobody(
    serve_preview, monkeypatch, until
):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=0.5))
    served = serve_preview()
    served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(served.stream()) for _ in range(3)]
        until(lambda: served.preview._viewers == 3, "the streams have not begun")
        for _ in range(5):
            assert served.get("/picture.jpg").content.startswith(b"\xff\xd8")
        until(lambda: served.preview._viewers == 0, "clients that do not read stay connected")
        for connection in stuck:
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1 << 20):
                    pass


def test_frames_are_not_wanted_for_clients_that_do_not_read(serve_preview, monkeypatch, until):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=10 * WAIT_S))
    served = serve_preview()
    served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(served.stream()) for _ in range(3)]
        until(lambda: served.preview._viewers == 3, "the streams have not begun")
        until(lambda: not served.preview.wanted, "frames are wanted for clients that do not read")
        assert served.preview._viewers == 3
        for _ in range(10):  # more frames than the system buffers
            read_until(stuck[0], b"--picture\r\n")
        until(lambda: served.preview.wanted, "a client that reads again is not counted")


def test_viewers_beyond_the_limit_are_rejected_until_one_leaves(serve_preview, until):
    served = serve_preview()
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(served.stream()) for _ in range(preview_server.MAX_VIEWERS)]
        for viewer in viewers:
            read_until(viewer, b"--picture\r\n")
        response = served.get("/stream")
        assert response.status_code == 503
        assert b"16 browsers show the camera already" in response.content
        viewers[0].close()
        until(
            lambda: served.get("/picture.jpg").status_code == 200,
            "a closed connection still counts as a viewer",
        )


def test_picture_without_a_new_frame_gets_503(serve_preview, monkeypatch):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=0.2))
    served = serve_preview()
    served.stop()
    response = served.get("/picture.jpg")
    assert response.status_code == 503
    assert b"no picture within 0.2 s: check the camera" in response.content


@pytest.mark.parametrize("path", ["/picture.jpg", "/stream"])
def test_viewer_that_leaves_before_the_first_frame_is_not_counted(
    serve_preview, monkeypatch, until, path
):
    monkeypatch.setattr(preview_server, "LIMITS", Limits(seconds=10 * WAIT_S))
    served = serve_preview()
    served.stop()
    with contextlib.ExitStack() as stack:
        for _ in range(preview_server.MAX_VIEWERS):
            viewer = stack.enter_context(served.requested(path))
            if path == "/stream":  # closing a socket with unread data would reset the connection
                read_until(viewer, b"\r\n\r\n")
        until(
            lambda: served.preview._viewers == preview_server.MAX_VIEWERS,
            "the requests have not begun",
        )
        assert served.get("/stream").status_code == 503
    until(lambda: served.preview._viewers == 0, "disconnected viewers are still counted")


def test_close_ends_the_streams_and_frees_the_port(serve_preview, capfd):
    served = serve_preview()
    with served.stream() as viewer, served.stream():  # the second client does not read
        read_until(viewer, b"--picture\r\n")
        served.picture = Image.effect_noise((1600, 1200), 80).convert("RGB")
        for _ in range(10):  # more frames than the system buffers for the second client
            read_until(viewer, b"--picture\r\n")
        served.close()
        received = b""
        while piece := viewer.recv(65536):
            received = (received + piece)[-5:]
        assert received == b"0\r\n\r\n"  # the last chunk: the response is complete
    open_preview(f":{served.port}").close()
    assert capfd.readouterr().err == ""


# Returns the width of the shown picture and the color of one of its pixels.
COLOR = """() => {
  const image = document.querySelector("#picture"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.width, ...context.getImageData(9, 9, 1, 1).data].join();
}"""


def test_page_shows_the_latest_picture_and_reconnects(serve_preview, opened):
    served = serve_preview()
    with opened(served.preview.url, allowed=["ERR_", "Failed to fetch"]) as page:
        page.wait_for_function(f"() => ({COLOR})().startsWith('320,20')")
        assert page.locator("#problem").is_hidden()
        served.picture = Image.new("RGB", (160, 120), (0, 0, 250))
        page.wait_for_function(f"() => ({COLOR})().startsWith('160,')")
        served.close()
        page.wait_for_function(
            "() => document.querySelector('#problem').textContent.includes('still running')"
        )
        again = serve_preview(f":{served.port}")
        page.wait_for_function(f"() => ({COLOR})().startsWith('320,20')")
        assert page.locator("#problem").is_hidden()
        again.close()


def test_page_opens_the_token_dialog_until_the_token_is_right(serve_preview, opened):
    served = serve_preview(":0", AccessOptions(token=TOKEN))
    malformed = f"{served.preview.url}#token=%C3%A9%0D%0AX"  # characters that no header allows
    with opened(malformed, ready=False, allowed=["401"]) as page:
        page.locator("#token").fill("a-token-that-is-wrong")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_function(
            "() => document.querySelector('#token-text').textContent.includes('not')"
        )
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")


def test_page_accepts_the_token_in_the_address_and_removes_it(serve_preview, opened):
    served = serve_preview(":0", AccessOptions(token=TOKEN))
    with opened(f"{served.preview.url}#token={TOKEN}") as page:
        assert "token" not in page.url


def test_page_of_another_site_cannot_embed_pictures(serve_preview, browser):
    """On the loopback address without a token, which any page in the user's browser can reach."""
    served = serve_preview()
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
