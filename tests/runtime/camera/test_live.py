"""python -m runtime.camera on what has no end: streams, cameras, and a browser that looks on."""

import http.client
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.camera.preview import open_preview
from runtime.camera.sources import without_password
from runtime.errors import EdgeError

WAIT_S = 60


class Running:
    """A command that runs until it is ended; what it says comes line by line."""

    def __init__(self, *arguments: object, **options) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.camera", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.records: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        self.threads = [
            threading.Thread(target=self._read, args=pair)
            for pair in (
                (self.process.stdout, self.records),
                (self.process.stderr, self.errors),
            )
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, into) -> None:
        with stream:
            for line in stream:
                into.put(line)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        for thread in self.threads:
            thread.join()
        return status


@pytest.fixture
def camera():
    """Starts a command; ends it with the test."""
    started = []

    def start(*arguments: object, **options) -> Running:
        started.append(Running(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)


class Stream:
    """An MJPEG stream over HTTP that shows one picture until it is changed or dies."""

    def __init__(self, page: Image.Image, port: int = 0) -> None:
        self.page = page
        self.server = open_preview(f":{port}")
        self.port = self.server.port
        self.url = f"{self.server.url}stream"
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._send)
        self.thread.start()

    def _send(self) -> None:
        while not self.stopped.wait(0.03):
            self.server.show(self.page)

    def die(self) -> None:
        self.stopped.set()
        self.thread.join()
        self.server.close()


@pytest.fixture
def stream(pages):
    started = []

    def start(label: str, port: int = 0) -> Stream:
        started.append(Stream(pages[label], port))
        return started[-1]

    yield start
    for one in started:
        if not one.stopped.is_set():
            one.die()


def test_a_stream_that_dies_is_tried_again_until_it_is_back(camera, stream, pages, digits):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    first, second, third = digits[:3]
    source = stream(first)
    running = camera("--source", source.url)
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == first
    source.page = pages[second]
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == second
    source.die()
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith(f"error: {source.url} delivers no more frames; trying again")
    assert running.errors.get(timeout=WAIT_S).startswith(f"error: cannot open {source.url}")
    stream(third, source.port)
    assert running.errors.get(timeout=WAIT_S) == f"{source.url} is back\n"
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == third
    assert running.end() == 0
    assert running.records.empty()
    assert running.errors.empty()


def test_a_camera_that_is_not_there_is_waited_for(camera):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    running = camera("--source", "rtsp://me:secret@127.0.0.1:9/live")
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith("error: cannot open rtsp://me:***@127.0.0.1:9/live: ")
    assert "trying again" in message
    assert running.end() == 0
    assert running.errors.empty()


def test_ctrl_c_ends_it(camera, stream, digits):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    running = camera(
        "--source",
        stream(digits[0]).url,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    running.records.get(timeout=WAIT_S)
    assert running.end(signal.SIGINT) == 130
    assert running.errors.get() == "interrupted\n"


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("GET", path, headers={"Connection": "close", **headers})
    response = connection.getresponse()
    response.connection = connection  # closed with it
    return response


def test_a_browser_sees_what_is_read(camera, stream, digits):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    label = digits[0]
    source = stream(label)
    running = camera("--source", source.url, "--preview", ":0", "--roi", "40,10,240,220")
    url = running.errors.get(timeout=WAIT_S).strip().removeprefix("preview at ")
    assert url.startswith("http://127.0.0.1:")
    port = int(url.rstrip("/").rpartition(":")[2])
    with get(port, "/") as page:
        assert page.status == 200
        assert b"preview.js" in page.read()
    with get(port, "/picture.jpg") as answer:
        picture = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int)
    assert picture.shape == (240, 320, 3)
    # The paper is gray: what is blue is the region of interest, what is green the digit's box.
    blue, green = (picture[..., 2] - picture[..., 0] > 60), (picture[..., 1] - picture[..., 2] > 60)
    assert blue[10:230, 40:42].mean() > 0.8
    assert not blue[:, :30].any()
    rows, columns = np.nonzero(green[30:])
    assert rows.size
    assert columns.min() > 60
    assert columns.max() < 260
    answer = get(port, "/stream")
    assert answer.getheader("Content-Type").startswith("multipart/x-mixed-replace; boundary=")
    read = b"".join(answer.fp.read1(4096) for _ in range(20))
    assert read.count(b"--picture\r\nContent-Type: image/jpeg\r\n") >= 2
    answer.close()
    answer.connection.close()
    with get(port, "/else") as answer:
        assert answer.status == 404
    # A page that has had its own name lead here may not look.
    with get(port, "/picture.jpg", Host=f"evil.example:{port}") as answer:
        assert answer.status == 421
    with get(port, "/", Host=f"localhost:{port}") as answer:
        assert answer.status == 200
    assert running.end() == 0


@pytest.mark.parametrize("where", ["8081", ":99999", "here:", ":"])
def test_what_is_no_address_is_refused(where):
    with pytest.raises(EdgeError, match="invalid address"):
        open_preview(where)


def test_an_address_in_use_is_refused():
    server = open_preview(":0")
    with pytest.raises(EdgeError, match="cannot listen .* choose another with --preview"):
        open_preview(f":{server.port}")
    server.close()


PICAMERA2 = '''
"""What camera.py uses of picamera2, with one camera that shows a picture ten times."""
import numpy as np

class Picamera2:
    @staticmethod
    def global_camera_info():
        return [{"Model": "imx708", "Num": 0}]
    def __init__(self, number):
        assert number == 0
        self.left = 10
    def create_video_configuration(self, main):
        assert main["format"] == "BGR888"
        return main
    def configure(self, config):
        self.configured = True
    def start(self):
        assert self.configured
    def capture_array(self, name):
        import time
        time.sleep(0.05)
        if not self.left:
            raise RuntimeError("the camera was unplugged")
        self.left -= 1
        return np.load("page.npy")
    def stop(self): pass
    def close(self): pass
'''


def test_a_pi_camera_is_read_by_picamera2(camera, pages, digits, tmp_path):
    """picamera2 runs on a Raspberry Pi alone; this one has its methods."""
    label = digits[0]
    (tmp_path / "picamera2.py").write_text(PICAMERA2)
    np.save(tmp_path / "page.npy", np.asarray(pages[label]))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    running = camera(cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    record = json.loads(running.records.get(timeout=WAIT_S))
    assert (record["image"], record["label"]) == ("camera 0", label)
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith("error: camera 0 delivers no more frames; trying again")
    assert running.errors.get(timeout=WAIT_S) == "camera 0 is back\n"
    assert running.end() == 0


def test_a_camera_that_hangs_is_asked_for_on_one_thread_and_given_up_in_the_end(tmp_path):
    """Its driver does not come back from its first call; a service is then started anew."""
    opened = tmp_path / "opened"
    (tmp_path / "picamera2.py").write_text(
        PICAMERA2.replace("        self.left = 10\n", "        HANG\n").replace(
            "HANG", f"open({str(opened)!r}, 'a').write('x'); import time; time.sleep(600)"
        )
    )
    program = (
        "import sys, threading\n"
        "from runtime.camera import run, sources\n"
        "from runtime.camera.__main__ import main\n"
        "from runtime.cli.exit_status import exit_status\n"
        "sources.TIMEOUT_S = sources._RELEASE_TIMEOUT_S = 0.1\n"
        "run._FIRST_RETRY_S = run._MAX_RETRY_S = 0.1\n"
        "status = exit_status(lambda: main([]))\n"
        "print(sum(thread.name == 'camera' for thread in threading.enumerate()))\n"
        "sys.exit(status)"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=WAIT_S,
    )
    lost, hangs = done.stderr.splitlines()
    assert lost.startswith(
        "error: camera 0 delivers no frames; check the device and its cable; trying again"
    )
    assert hangs == "error: camera 0 hangs; unplug it and plug it in, then start again"
    assert (done.returncode, done.stdout, opened.read_text()) == (2, "1\n", "x")


def test_a_password_in_a_url_is_not_shown():
    assert without_password("rtsp://me:secret@host:554/x@y") == "rtsp://me:***@host:554/x@y"
    assert without_password("http://host:80/a") == "http://host:80/a"
