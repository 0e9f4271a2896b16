"""`runtime.watch` as a process: a replaced model, no broker, too little memory, a wrong clock."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import runtime
from runtime.model import artifact
from runtime.update.run import update

PUBLISHED = Path(runtime.__file__).parent / "pretrained" / "digits-int8.tflite"
GOLDEN = artifact.read(PUBLISHED).spec.golden
LABELS = [str(label) for label in GOLDEN.scores.argmax(1)]


class Watch:
    """A process of `runtime.watch` on the folder `in`; `results()` returns its stdout so far."""

    def __init__(self, folder: Path, *arguments: object, before: str = "") -> None:
        self.folder = folder / "in"
        self.folder.mkdir(exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        options = ["--existing", "--settle", "0.1", "--interval", "0.05"]
        command = [sys.executable, "-m", "runtime.watch", self.folder, *options]
        command += ["--state", folder / "state", *arguments]
        shell = ["sh", "-c", f'{before} exec "$@"', "sh", *map(str, command)]
        with open(self._out, "a") as out, open(self._err, "a") as err:
            self.process = subprocess.Popen(shell, stdout=out, stderr=err)

    def results(self) -> list[dict]:
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    def stderr(self) -> str:
        return self._err.read_text()

    def wait(self, condition, complaint: str) -> None:
        deadline_s = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.stderr()}"
            assert time.monotonic() < deadline_s, f"{complaint}: {self.stderr()}"
            time.sleep(0.05)

    def put(self, name: str, golden: int = 0, when: float | None = None) -> None:
        """Put an image into the folder with one rename."""
        part = self.folder / ".part"
        Image.fromarray(GOLDEN.pixels[golden, :, :, 0]).save(part, "PNG")
        if when is not None:
            os.utime(part, (when, when))
        os.replace(part, self.folder / name)

    def read(self, count: int) -> list[dict]:
        """Wait for `count` results and return them."""
        self.wait(lambda: len(self.results()) >= count, f"no {count} results")
        return self.results()


@pytest.fixture
def watch(tmp_path):
    watches = []

    def start(*arguments, **options) -> Watch:
        watches.append(Watch(tmp_path, *arguments, **options))
        return watches[-1]

    yield start
    for each in watches:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def model(tmp_path) -> Path:
    """A copy of the published model, to be replaced."""
    path = tmp_path / "models" / "model.tflite"
    path.parent.mkdir()
    shutil.copy(PUBLISHED, path)
    return path


RELOAD_S = 1.2  # the model file is checked once a second


def test_running_watch_reloads_an_updated_model(watch, plant, model, tmp_path):
    running = watch("--model", model)
    running.put("1.png")
    assert running.read(1)[0]["label"] == LABELS[0]
    words = tuple(f"number {digit}" for digit in range(10))
    plant(tmp_path / "words.tflite", labels=words)
    update(str(tmp_path / "words.tflite"), model, None, allow_unsigned=True)
    time.sleep(RELOAD_S)
    running.put("2.png")
    assert running.read(2)[1]["label"] == f"number {LABELS[0]}"


def test_running_watch_keeps_its_model_if_the_new_file_is_damaged(watch, model):
    running = watch("--model", model)
    running.put("1.png")
    assert running.read(1)[0]["label"] == LABELS[0]
    model.write_text("damaged")
    time.sleep(RELOAD_S)
    running.put("2.png")
    assert running.read(2)[1]["label"] == LABELS[0]
    assert running.stderr().count("the current model stays in use") == 1


def test_results_survive_a_kill_while_the_broker_is_down(watch, broker, reader, until):
    pytest.importorskip("paho.mqtt", reason='needs paho-mqtt: pip install "digit-edge[mqtt]"')
    server = broker()
    subscriber = reader(server)
    address = f"mqtt://127.0.0.1:{server.port}/digits"
    running = watch("--mqtt", address)
    running.put("1.png", 1)
    until(lambda: subscriber.of("digits"), "the first result does not arrive")
    server.kill()
    running.put("2.png", 2)
    running.read(2)
    running.process.kill()
    running.process.wait()
    server.start()
    restarted = watch("--mqtt", address)
    restarted.put("3.png", 3)

    def arrived() -> set[tuple[str, str]]:
        records = [json.loads(text) for text in subscriber.of("digits")]
        return {(Path(record["image"]).name, record["label"]) for record in records}

    expected = {(f"{number}.png", LABELS[number]) for number in (1, 2, 3)}
    until(lambda: arrived() == expected, "a result is missing")


def test_image_too_large_for_memory_is_an_error_and_the_next_one_is_read(watch):
    """The limit leaves room for the engine, but not for the 100 MB of this image."""
    running = watch(before="export OPENBLAS_NUM_THREADS=1; ulimit -v 260000;")
    running.put("1.png")
    running.read(1)
    Image.new("RGB", (5_000, 5_000)).save(running.folder / ".large", "PNG", compress_level=1)
    os.replace(running.folder / ".large", running.folder / "large.png")
    running.put("2.png", 1)
    results = running.read(3)
    by_name = {Path(record["image"]).name: record for record in results}
    assert by_name["1.png"]["label"] == LABELS[0]
    assert by_name["2.png"]["label"] == LABELS[1]
    assert "memory" in by_name["large.png"]["error"].lower()
    assert "Traceback" not in running.stderr()


def test_images_with_mtimes_in_past_and_future_are_read_once(watch):
    """A wrong clock, or one that was set back: files from 1970 and from 2096."""
    running = watch()
    running.put("now.png", 0)
    running.put("past.png", 1, when=10)
    running.put("future.png", 2, when=4e9)
    results = running.read(3)
    time.sleep(0.5)
    names = sorted(Path(record["image"]).name for record in running.results())
    assert names == ["future.png", "now.png", "past.png"]
    assert {record["label"] for record in results} == set(LABELS[:3])
    assert "error" not in running.stderr()
