"""Fixtures shared by the tests of the runtime: faulty models, images, an MQTT broker, a device."""

import dataclasses
import io
import os
import shutil
import socket
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from runtime import Classifier
from runtime.model import artifact
from runtime.reload import previous
from runtime.signing import make_key, sign

PRETRAINED = Path(runtime.__file__).parent / "pretrained"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(scope="module", autouse=True)
def working_directory(tmp_path_factory):
    """Run in an empty folder: in a checkout, commands comment on the models of `make run`."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("working-directory"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def plant():
    """Write a copy of a published .tflite artifact with a fault and a correct digest.

    `scores` changes the golden scores, `flip` lists bytes of the model whose top bit is flipped,
    and other keywords replace fields of the spec.
    """

    def write(path: Path, source: str = "digits-int8.tflite", scores=None, flip=(), **spec) -> Path:
        opened = artifact.read(PRETRAINED / source)
        with zipfile.ZipFile(PRETRAINED / source) as archive:
            size = min(member.header_offset for member in archive.infolist())
        model = bytearray(opened.data[:size])
        for at in flip:
            model[at] ^= 0x80
        if scores is not None:
            golden = opened.spec.golden
            spec["golden"] = dataclasses.replace(golden, scores=scores(golden.scores.copy()))
        artifact.write(path, bytes(model), dataclasses.replace(opened.spec, **spec))
        return path

    return write


@pytest.fixture(scope="session")
def golden():
    """(PNG bytes, label) of digits that the published model accepts."""
    classifier = Classifier.load()
    spec = classifier.spec
    pictures = []
    for pixels, scores in zip(spec.golden.pixels, spec.golden.scores, strict=True):
        if not classifier.classify(pixels).accepted:
            continue
        file = io.BytesIO()
        Image.fromarray(pixels[:, :, 0]).save(file, "PNG")
        pictures.append((file.getvalue(), spec.labels[scores.argmax()]))
    return pictures


@pytest.fixture
def folder(tmp_path, golden):
    """A folder of 300 digits, two of them unreadable, and their labels by file name."""
    labels = {}
    for number in range(300):
        data, label = golden[number % len(golden)]
        (tmp_path / f"{number:04}.png").write_bytes(data)
        labels[f"{number:04}.png"] = label
    for number in (70, 207):
        (tmp_path / f"{number:04}.png").write_bytes(b"no picture")
        labels[f"{number:04}.png"] = None
    return tmp_path, labels


@pytest.fixture(scope="session")
def pages():
    """Images of 320×240 by label: each digit drawn on paper, and blank paper as ""."""
    spec = Classifier.load().spec
    rng = np.random.default_rng(0)

    def paper() -> Image.Image:
        gray = rng.normal(225, 2, (240, 320)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")

    candidates = {"": paper()}
    for pixels, scores in zip(spec.golden.pixels, spec.golden.scores, strict=True):
        page = paper()
        ink = Image.fromarray(pixels[:, :, 0]).resize((168, 168), Image.Resampling.BICUBIC)
        page.paste((40, 40, 60), (76, 36), ink)
        candidates.setdefault(spec.labels[scores.argmax()], page)
    # Keep the pages that are classified correctly, also after a camera's JPEG compression.
    classifier = Classifier.load()
    correct = {}
    for label, page in candidates.items():
        file = io.BytesIO()
        page.save(file, "JPEG", quality=80)
        prediction = classifier.classify(file.getvalue())
        if (prediction.label if prediction.accepted else "") == label:
            correct[label] = page
    assert len(correct) >= 4
    assert "" in correct
    return correct


@pytest.fixture(scope="session")
def digits(pages):
    """The labels of `pages` without the blank one."""
    return [label for label in pages if label]


def _until(condition, complaint: str, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, complaint
        time.sleep(0.02)


@pytest.fixture(scope="session")
def until():
    """Wait for a condition, with a message for the time-out: `until(condition, complaint)`."""
    return _until


class Broker:
    """A mosquitto process with its state in `folder`; it can be killed and restarted."""

    def __init__(self, folder: Path, *settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self.store = folder / "mosquitto.db"
        lines = [
            f"listener {self.port} 127.0.0.1",
            # Undelivered messages are saved at every change, so that a kill loses none.
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 0",
            *(["user root"] if os.getuid() == 0 else []),
            *(settings or ["allow_anonymous true"]),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until(self._listens, "mosquitto does not start")

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Reader:
    """A subscriber in a session that survives the broker; `seen` collects (topic, text)."""

    def __init__(self, broker: Broker, topics: str = "#", **login: str) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.seen: list[tuple[str, str]] = []
        subscribed: list[int] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "reader", clean_session=False)
        if login:
            self._client.username_pw_set(**login)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: subscribed.append(1)
        self._client.on_message = lambda _c, _d, m: self.seen.append((m.topic, m.payload.decode()))
        self._client.connect_async("127.0.0.1", broker.port)
        self._client.loop_start()
        _until(lambda: subscribed, "the subscriber of the test cannot subscribe")

    def of(self, topic: str) -> list[str]:
        return [text for name, text in self.seen if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    """Start a broker with lines of its configuration file: `broker(*settings)`."""
    brokers = []

    if MOSQUITTO is None:
        pytest.skip("needs mosquitto: apt install mosquitto (no service is needed)")

    def start(*settings: str) -> Broker:
        brokers.append(Broker(tmp_path, *settings))
        return brokers[-1]

    yield start
    for each in brokers:
        each.kill()


@pytest.fixture
def reader():
    """Start a subscriber of a broker: `reader(broker, topics, username=…, password=…)`."""
    readers = []

    def subscribe(*arguments, **login) -> Reader:
        readers.append(Reader(*arguments, **login))
        return readers[-1]

    yield subscribe
    for each in readers:
        each.close()


@pytest.fixture(scope="session")
def maker(tmp_path_factory) -> Path:
    """Path of a private key; the public key is beside it."""
    return make_key(tmp_path_factory.mktemp("keys") / "maker")[0]


class Device:
    """A folder with an installed model and trusted keys, and two signed models.

    `target` is the installed model. `old` is the same int8 model, `new` is the float model.
    """

    def __init__(self, folder: Path, maker: Path) -> None:
        self.target = folder / "models" / "model.tflite"
        (folder / "models" / "keys").mkdir(parents=True)
        shutil.copy(maker.with_suffix(".pub"), folder / "models" / "keys")
        shutil.copy(PRETRAINED / "digits-int8.tflite", self.target)
        self.old, self.new = folder / "old.tflite", folder / "new.tflite"
        for path, name in ((self.old, "digits-int8.tflite"), (self.new, "digits.tflite")):
            shutil.copy(PRETRAINED / name, path)
            sign(path, maker)

    def holds(self, model: artifact.Artifact, kept: artifact.Artifact | None = None) -> bool:
        """Return whether `model` is installed, `kept` is beside it, and no other file is left."""
        kept_digest = artifact.read(previous(self.target)).spec.digest if kept else None
        expected = {"keys", self.target.name} | ({previous(self.target).name} if kept else set())
        expected |= {path.name for path in self.target.parent.glob(f"{self.target.name}.version")}
        return (
            artifact.read(self.target).spec.digest == model.spec.digest
            and (kept is None or kept_digest == kept.spec.digest)
            and set(os.listdir(self.target.parent)) == expected
        )


@pytest.fixture
def device(tmp_path, maker) -> Device:
    return Device(tmp_path, maker)


@pytest.fixture(scope="session")
def meter():
    """Draw a display: `meter("10457", "62")` returns an RGB image, a number in each 110 rows."""
    from train.data.load import sklearn_digits

    pixels = sklearn_digits().test.pixels
    # Digits that the published models read with certainty: label → index of the image.
    clear = dict(zip("0123456789", (290, 128, 57, 69, 141, 224, 134, 211, 54, 275), strict=True))

    def draw(*texts: str) -> Image.Image:
        page = Image.new("L", (480, 110 * len(texts)), 235)
        for row, text in enumerate(texts):
            if text:
                ink = np.hstack([pixels[clear[digit], :, :, 0] for digit in text])
                drawn = Image.fromarray(np.minimum(255 - ink, 235))
                page.paste(drawn.resize((56 * len(text), 56)), (20, 20 + 110 * row))
        return page.convert("RGB")

    return draw
