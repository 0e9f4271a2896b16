"""python -m runtime.camera: videos, folders, streams and cameras, run as a user runs it."""

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

from runtime import Classifier
from runtime.agreement import Agreement
from runtime.errors import EdgeError
from runtime.frames import without_password
from runtime.preview import Server, open_preview

WAIT_S = 60
SIZE = (320, 240)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "runtime.camera", *map(str, arguments)]


def run(*arguments: object, **options) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=WAIT_S, **options
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


class Running:
    """A command that runs until it is ended; what it says comes line by line."""

    def __init__(self, *arguments: object, **options) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
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


@pytest.fixture(scope="module")
def pages():
    """Pictures by name: each digit drawn on paper, and paper alone."""
    spec = Classifier.load().spec
    rng = np.random.default_rng(0)

    def paper() -> Image.Image:
        grey = rng.normal(225, 2, (SIZE[1], SIZE[0])).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")

    found = {"": paper()}
    for pixels, scores in zip(spec.golden.pixels, spec.golden.scores, strict=True):
        page = paper()
        ink = Image.fromarray(pixels[:, :, 0]).resize((168, 168), Image.Resampling.BICUBIC)
        page.paste((40, 40, 60), (76, 36), ink)
        found.setdefault(spec.labels[scores.argmax()], page)
    # The digits that are read as what they are, after a camera's compression too.
    classifier = Classifier.load()
    good = {}
    for label, page in found.items():
        file = io.BytesIO()
        page.save(file, "JPEG", quality=80)
        read = classifier.classify(file.getvalue())
        if (read.label if read.accepted else "") == label:
            good[label] = page
    assert len(good) >= 4 and "" in good
    return good


def digits(pages: dict[str, Image.Image]) -> list[str]:
    return [label for label in pages if label]


def record_video(path: Path, pictures: list[Image.Image]) -> None:
    cv2 = pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE)
    assert writer.isOpened()
    for picture in pictures:
        writer.write(np.asarray(picture)[:, :, ::-1])
    writer.release()


def test_a_video_gives_one_event_for_each_appearance(pages, tmp_path):
    first, second, third = digits(pages)[:3]
    shown = [""] * 7 + [first] * 10 + [""] * 8 + [first] * 3 + [second] + [first] * 9 + [third] * 9
    record_video(tmp_path / "v.avi", [pages[label] for label in shown])
    status, records, errors = run("--source", "v.avi", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert [(r["label"], r["frame"]) for r in records] == [
        (first, 10),  # the fourth picture of it
        (first, 29),  # gone and come back: three, one misread, and the fourth
        (third, 41),
    ]
    assert all(r["accepted"] and r["image"] == "v.avi" and r["agreeing"] == 4 for r in records)
    assert all(0.5 < r["confidence"] <= 1 and r["backend"] == "litert" for r in records)
    _, records, _ = run("--source", "v.avi", "--agree", "1/1", cwd=tmp_path)
    assert [r["label"] for r in records] == [first, first, second, first, third]


def test_only_the_region_of_interest_is_read(pages, tmp_path):
    # Squeezed to half of the picture, some are read as something else.
    classifier = Classifier.load()
    left, right = [
        label
        for label in digits(pages)
        if classifier.classify(pages[label].resize((160, 240))).label == label
    ][-2:]
    both = Image.new("RGB", SIZE)
    both.paste(pages[left].resize((160, 240)), (0, 0))
    both.paste(pages[right].resize((160, 240)), (160, 0))
    record_video(tmp_path / "v.avi", [both] * 6)
    for roi, label in (("0,0,160,240", left), ("160,0,160,240", right)):
        status, records, _ = run("--source", tmp_path / "v.avi", "--roi", roi)
        assert (status, [r["label"] for r in records]) == (0, [label])
    status, records, errors = run("--source", tmp_path / "v.avi", "--roi", "200,0,160,100")
    assert (status, records) == (2, [])
    assert errors == "error: --roi 200,0,160,100 reaches beyond the picture of 320x240\n"


def test_a_folder_of_pictures_is_a_source(pages, tmp_path):
    label = digits(pages)[0]
    for number in range(8):
        pages[label].save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    status, records, errors = run("--source", tmp_path)
    assert (status, [(r["label"], r["frame"]) for r in records]) == (0, [(label, 4)])
    assert errors.startswith("error: ") and "2.png" in errors and errors.count("\n") == 1


class Stream:
    """An MJPEG stream over HTTP that shows one picture until it is changed or dies."""

    def __init__(self, page: Image.Image, port: int = 0) -> None:
        self.page = page
        self.server = Server("127.0.0.1", port)
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


def test_a_stream_that_dies_is_tried_again_until_it_is_back(camera, stream, pages):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    first, second, third = digits(pages)[:3]
    source = stream(first)
    running = camera("--source", source.url)
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == first
    source.page = pages[second]
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == second
    source.die()
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith(f"error: {source.url} gives no more pictures; trying again")
    assert running.errors.get(timeout=WAIT_S).startswith(f"error: cannot open {source.url}")
    stream(third, source.port)
    assert running.errors.get(timeout=WAIT_S) == f"{source.url} is back\n"
    assert json.loads(running.records.get(timeout=WAIT_S))["label"] == third
    assert running.end() == 0
    assert running.records.empty() and running.errors.empty()


def test_a_camera_that_is_not_there_is_waited_for(camera):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    running = camera("--source", "rtsp://me:secret@127.0.0.1:9/live")
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith("error: cannot open rtsp://me:***@127.0.0.1:9/live: ")
    assert "trying again" in message
    assert running.end() == 0
    assert running.errors.empty()


def test_ctrl_c_ends_it(camera, stream, pages):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    running = camera(
        "--source",
        stream(digits(pages)[0]).url,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    running.records.get(timeout=WAIT_S)
    assert running.end(signal.SIGINT) == 130
    assert running.errors.get() == "interrupted\n"


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.connection = connection  # closed with it
    return response


def test_a_browser_sees_what_is_read(camera, stream, pages):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    label = digits(pages)[0]
    source = stream(label)
    running = camera("--source", source.url, "--preview", ":0", "--roi", "40,10,240,220")
    url = running.errors.get(timeout=WAIT_S).strip().removeprefix("preview at ")
    assert url.startswith("http://127.0.0.1:")
    port = int(url.rstrip("/").rpartition(":")[2])
    with get(port, "/") as page:
        assert page.status == 200 and b"src=stream" in page.read()
    with get(port, "/picture.jpg") as answer:
        picture = np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int)
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    # The paper is grey: what is blue is the region of interest, what is green the digit's box.
    blue, green = (picture[..., 2] - picture[..., 0] > 60), (picture[..., 1] - picture[..., 2] > 60)
    assert blue[10:230, 40:42].mean() > 0.8 and not blue[:, :30].any()
    rows, columns = np.nonzero(green[30:])
    assert rows.size and columns.min() > 60 and columns.max() < 260
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
        assert answer.status == 403
    with get(port, "/", Host=f"localhost:{port}") as answer:
        assert answer.status == 200
    assert running.end() == 0


@pytest.mark.parametrize("where", ["8081", ":99999", "here:", ":"])
def test_what_is_no_address_is_refused(where):
    with pytest.raises(EdgeError, match="no address"):
        open_preview(where)


def test_an_address_in_use_is_refused():
    server = Server("127.0.0.1", 0)
    with pytest.raises(EdgeError, match="cannot listen"):
        Server("127.0.0.1", server.port)
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


def test_a_pi_camera_is_read_by_picamera2(camera, pages, tmp_path):
    """picamera2 runs on a Raspberry Pi alone; this one has its methods."""
    label = digits(pages)[0]
    (tmp_path / "picamera2.py").write_text(PICAMERA2)
    np.save(tmp_path / "page.npy", np.asarray(pages[label]))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    running = camera(cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    record = json.loads(running.records.get(timeout=WAIT_S))
    assert (record["image"], record["label"]) == ("camera 0", label)
    message = running.errors.get(timeout=WAIT_S)
    assert message.startswith("error: camera 0 gives no more pictures; trying again")
    assert running.errors.get(timeout=WAIT_S) == "camera 0 is back\n"
    assert running.end() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "absent.avi"], "error: cannot open absent.avi: No such file"),
        (["--source", "text.avi"], "error: cannot open text.avi: no video that OpenCV reads"),
        (["--source", "empty"], "error: empty: a folder without images"),
        (["--source", "empty", "--model", "absent.tflite"], "error: cannot read the model"),
        (["--source", "empty", "--preview", "nowhere"], "error: --preview nowhere: no address"),
        (["--source", "empty", "--preview"], "look with a browser: --preview :8081"),
        (["--roi", "1,2,3"], "'1,2,3' is not X,Y,W,H"),
        (["--roi", "1,2,0,3"], "'1,2,0,3' has nothing in it"),
        (["--agree", "3/6"], "'3/6' is not N/M with N more than half of M"),
        (["--agree", "7/6"], "'7/6' is not N/M"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(tmp_path, arguments, message):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "empty").mkdir()
    status, records, errors = run(*arguments, cwd=tmp_path)
    assert (status, records) == (2, [])
    assert message in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_without_opencv_it_says_how_to_get_it(tmp_path):
    script = (
        "import runpy, sys\n"
        "sys.modules['cv2'] = sys.modules['picamera2'] = None\n"
        "sys.argv = ['camera', '--source', sys.argv[1]]\n"
        "runpy.run_module('runtime.camera', run_name='__main__')"
    )
    (tmp_path / "v.avi").write_bytes(b"")
    for source in ("0", "http://127.0.0.1/", str(tmp_path / "v.avi")):
        done = subprocess.run(
            [sys.executable, "-c", script, source], capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: OpenCV is not installed")
        assert 'pip install "digit-edge[vision]"' in done.stderr
        assert done.stderr.count("\n") == 1


def test_agreement_holds_on_to_what_is_there():
    agreement = Agreement(3, 5)
    shown = [*"77", None, *"7", None, None, *"7", *[None] * 5, *"77", None, *"7"]
    appeared = [agreement.add(label, 0.9) for label in shown]
    assert [number for number, one in enumerate(appeared) if one] == [3, 15]
    assert appeared[3] == ("7", pytest.approx(0.9), 3)
    assert agreement.present == {"7"}
    # Another digit read for some pictures in between makes neither appear twice.
    agreement = Agreement(3, 5)
    events = [agreement.add(label, 1.0) for label in "777" + "1" + "777" + "111" + "7777"]
    assert [one.label for one in events if one] == ["7", "1"]
    for needed, of in ((3, 6), (0, 1), (4, 3)):
        with pytest.raises(ValueError):
            Agreement(needed, of)


def test_a_password_in_a_url_is_not_shown():
    assert without_password("rtsp://me:secret@host:554/x@y") == "rtsp://me:***@host:554/x@y"
    assert without_password("http://host:80/a") == "http://host:80/a"
