"""digit-edge camera on live sources (streams, cameras), with and without a preview."""

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
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from runtime.camera import run
from runtime.camera.preview import open_preview
from runtime.camera.sources import SourceLost, without_password
from runtime.errors import EdgeError

WAIT_S = 60  # time limit of each step


class Running:
    """A running command; queues hold the lines of its stdout and stderr.

    `started` holds the line on stderr that says what is read, `errors` the others.
    """

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
        self.started: queue.Queue[str] = queue.Queue()
        self.threads = [
            threading.Thread(target=self._read, args=pair)
            for pair in (
                (self.process.stdout, self.records.put),
                (self.process.stderr, self._sort),
            )
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, put) -> None:
        with stream:
            for line in stream:
                put(line)

    def _sort(self, line: str) -> None:
        (self.started if line.startswith("reading ") else self.errors).put(line)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        for thread in self.threads:
            thread.join()
        return status


@pytest.fixture
def camera():
    """Start commands that end with the test at the latest."""
    started = []

    def start(*arguments: object, **options) -> Running:
        started.append(Running(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)


class Stream:
    """An MJPEG stream over HTTP that sends the picture `page` again and again until `stop`."""

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

    def stop(self) -> None:
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
    for each in started:
        if not each.stopped.is_set():
            each.stop()


def test_lost_stream_is_opened_again_until_it_is_back(camera, stream, pages, digits):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    first, second, third = digits[:3]
    source = stream(first)
    running = camera("--source", source.url)
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == first
    source.page = pages[second]
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == second
    source.stop()
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith(f"error: {source.url} delivers no more frames; trying again")
    assert running.errors.get(timeout=WAIT_S).startswith(f"error: cannot open {source.url}")
    stream(third, source.port)
    assert running.errors.get(timeout=WAIT_S) == f"{source.url} is back\n"
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == third
    assert running.end() == 0
    assert running.records.empty()
    assert running.errors.empty()


def test_source_is_named_with_the_library_the_size_and_the_model(camera, stream, digits):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    url = stream(digits[0]).url
    running = camera("--source", url, "--backend", "litert")
    assert running.started.get(timeout=WAIT_S) == (
        f"reading {url} (OpenCV, 320x240) with the published model digits-int8.tflite on litert\n"
    )
    assert running.end() == 0
    assert running.started.empty()


def test_lost_camera_is_reported_at_growing_intervals(monkeypatch, capsys):
    """A clock in steps of 10 s, for two hours."""
    now_s = 0.0
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: now_s))
    loss = run._Loss()
    reported = {}
    for now_s in range(0, 7200, 10):
        loss.report(SourceLost("camera 0 is gone"), 30)
        text = capsys.readouterr().err
        if text:
            reported[now_s] = text
    assert list(reported) == [0, 10, 70, 370, 2170, 3970, 5770]
    assert reported[0] == "error: camera 0 is gone; trying again in 30 s\n"
    assert reported[370] == (
        "error: camera 0 is gone; missing for 6 min, trying again every 30 s\n"
    )


def test_another_error_of_a_lost_camera_is_reported_at_once(capsys):
    loss = run._Loss()
    for text in ("no frames", "no frames", "no such camera"):
        loss.report(SourceLost(text), 1)
    assert capsys.readouterr().err.splitlines() == [
        "error: no frames; trying again in 1 s",
        "error: no such camera; trying again in 1 s",
    ]


def test_camera_that_is_plugged_in_later_is_reported_and_read(camera, pages, digits, tmp_path):
    """A fake of picamera2, whose camera is there as soon as the file `page.npy` is."""
    fake = PICAMERA2.replace("        self.remaining = 10\n", "        MISSING\n").replace(
        "MISSING",
        "import os; self.remaining = 10\n        if not os.path.exists('page.npy'):"
        " raise RuntimeError('no camera')",
    )
    (tmp_path / "picamera2.py").write_text(fake)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    running = camera(cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert running.errors.get(timeout=WAIT_S).startswith("error: cannot open camera 0: no camera;")
    np.save(tmp_path / "new.npy", np.asarray(pages[digits[0]]))
    os.rename(tmp_path / "new.npy", tmp_path / "page.npy")
    assert running.errors.get(timeout=WAIT_S) == "camera 0 is back\n"
    assert running.started.get(timeout=WAIT_S).startswith("reading camera 0 (picamera2, 320x240) ")
    assert running.end() == 0


def test_missing_camera_is_reported_and_opened_again(camera):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    running = camera("--source", "rtsp://me:secret@127.0.0.1:9/live")
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith("error: cannot open rtsp://me:***@127.0.0.1:9/live: ")
    assert "trying again" in message
    assert running.end() == 0
    assert running.errors.empty()


def test_ctrl_c_exits_with_130(camera, stream, digits):
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
    response.connection = connection  # so that the caller can close it
    return response


@pytest.fixture
def preview_port(camera, stream, digits):
    """The port of the preview of a running command with a region of interest."""
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    source = stream(digits[0])
    running = camera("--source", source.url, "--preview", ":0", "--roi", "40,10,240,220")
    url = running.errors.get(timeout=WAIT_S).strip().removeprefix("preview at ")
    assert url.startswith("http://127.0.0.1:")
    yield int(url.rstrip("/").rpartition(":")[2])
    assert running.end() == 0


def test_preview_serves_its_page(preview_port):
    with get(preview_port, "/") as page:
        assert page.status == 200
        assert b"preview.js" in page.read()


def test_preview_picture_shows_region_of_interest_and_box(preview_port):
    with get(preview_port, "/picture.jpg") as response:
        picture = np.asarray(Image.open(io.BytesIO(response.read())).convert("RGB")).astype(int)
    assert picture.shape == (240, 320, 3)
    # On the gray paper the region of interest is blue and the digit's box is green.
    blue, green = (picture[..., 2] - picture[..., 0] > 60), (picture[..., 1] - picture[..., 2] > 60)
    assert blue[10:230, 40:42].mean() > 0.8
    assert not blue[:, :30].any()
    rows, columns = np.nonzero(green[30:])
    assert rows.size
    assert columns.min() > 60
    assert columns.max() < 260


def test_preview_stream_is_mjpeg(preview_port):
    response = get(preview_port, "/stream")
    assert response.getheader("Content-Type").startswith("multipart/x-mixed-replace; boundary=")
    received = b"".join(response.fp.read1(4096) for _ in range(20))
    assert received.count(b"--picture\r\nContent-Type: image/jpeg\r\n") >= 2
    response.close()
    response.connection.close()


def test_preview_rejects_unknown_paths_and_hosts(preview_port):
    with get(preview_port, "/unknown") as response:
        assert response.status == 404
    with get(preview_port, "/picture.jpg", Host=f"evil.example:{preview_port}") as response:
        assert response.status == 421
    with get(preview_port, "/", Host=f"localhost:{preview_port}") as response:
        assert response.status == 200


@pytest.mark.parametrize("where", ["8081", ":99999", "here:", ":"])
def test_invalid_preview_address_is_rejected(where):
    with pytest.raises(EdgeError, match="invalid address"):
        open_preview(where)


def test_preview_address_in_use_is_rejected():
    server = open_preview(":0")
    with pytest.raises(EdgeError, match=r"cannot listen .* choose another with --preview"):
        open_preview(f":{server.port}")
    server.close()


PICAMERA2 = '''
"""A fake of picamera2 with one camera that delivers ten frames of a picture."""
import numpy as np

class Picamera2:
    @staticmethod
    def global_camera_info():
        return [{"Model": "imx708", "Num": 0}]
    def __init__(self, number):
        assert number == 0
        self.remaining = 10
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
        if not self.remaining:
            raise RuntimeError("the camera was unplugged")
        self.remaining -= 1
        return np.load("page.npy")
    def stop(self): pass
    def close(self): pass
'''


def test_pi_camera_is_read_by_picamera2(camera, pages, digits, tmp_path):
    """picamera2 runs only on a Raspberry Pi; this test uses a fake."""
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


def test_hanging_camera_is_opened_in_one_thread_and_ends_the_command(tmp_path):
    """The fake driver never returns; the command ends with an error so that systemd restarts it."""
    opened = tmp_path / "opened"
    (tmp_path / "picamera2.py").write_text(
        PICAMERA2.replace("        self.remaining = 10\n", "        HANG\n").replace(
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
    assert hangs == "error: camera 0 hangs; unplug the camera and plug it in, then start again"
    assert (done.returncode, done.stdout, opened.read_text()) == (2, "1\n", "x")


def test_password_in_a_url_is_hidden():
    assert without_password("rtsp://me:secret@host:554/x@y") == "rtsp://me:***@host:554/x@y"
    assert without_password("http://host:80/a") == "http://host:80/a"
