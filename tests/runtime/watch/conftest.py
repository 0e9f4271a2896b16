"""Fixtures that run `digit-edge watch`, and images for its folders."""

import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from runtime import Classifier

WAIT_S = 60


class Watcher:
    """A running command; waits until it notifies the service manager, which this class simulates.

    Args:
        folder: to be watched.
        arguments: of the command.
        ready: whether to wait for the notification READY=1.
        options: of subprocess.Popen; also `environment` and `program`.
    """

    def __init__(self, folder: Path, *arguments: object, ready: bool = True, **options) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(WAIT_S)
        address = f"\0digit-edge-test-{os.getpid()}-{id(self)}"
        self.manager.bind(address)
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder.parent / "state"),
            "NOTIFY_SOCKET": "@" + address[1:],
            **options.pop("environment", {}),
        }
        program = options.pop("program", ("-m", "runtime.watch"))
        command = [sys.executable, *program, folder, "--settle", 0.2]
        self.process = subprocess.Popen(
            [*map(str, command), "--interval", "0.05", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        self.records: queue.Queue[dict] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        self.threads = [
            threading.Thread(
                target=self._read, args=(self.process.stdout, self.records, json.loads)
            ),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors, str)),
        ]
        for thread in self.threads:
            thread.start()
        if ready:
            assert self.manager.recv(1000).startswith(b"READY=1\n")

    @staticmethod
    def _read(stream, into, parse) -> None:
        with stream:
            for line in stream:
                if not line.startswith("watching "):  # said once, at the start
                    into.put(parse(line))

    def next(self) -> dict:
        """Return the next record on its stdout."""
        return self.records.get(timeout=WAIT_S)

    def complaint(self) -> str:
        """Return the next line on its stderr."""
        return self.errors.get(timeout=WAIT_S)

    def names(self, count: int) -> list[str]:
        """Return the file names of the next `count` records; assert that no more follow soon."""
        names = sorted(os.path.basename(self.next()["image"]) for _ in range(count))
        time.sleep(0.5)
        assert self.records.empty()
        return names

    def end(self, signal_number: int | None = signal.SIGTERM) -> int:
        """Send a signal, unless it is None; wait for the end and return the exit status."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        status = self.process.wait(WAIT_S)
        for thread in self.threads:
            thread.join()
        self.manager.close()
        return status


@pytest.fixture
def watch(tmp_path):
    """A function that starts a command, which is killed at the end of the test."""
    started = []

    def start(*arguments: object, folder: Path = tmp_path / "in", **options) -> Watcher:
        folder.mkdir(exist_ok=True)
        started.append(Watcher(folder, *arguments, **options))
        return started[-1]

    yield start
    for watcher in started:
        if watcher.process.poll() is None:
            watcher.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def pictures():
    """BMP files of digits that the published model classifies confidently, and their labels."""
    spec = Classifier.load().spec
    files = []
    for pixels, scores in zip(spec.golden.pixels, spec.golden.scores, strict=True):
        file = io.BytesIO()
        # Large enough to be written in pieces.
        page = Image.new("L", (200, 200), 240)
        page.paste(Image.fromarray(255 - pixels[:, :, 0]).resize((140, 140)), (30, 30))
        page.save(file, "BMP")
        files.append((file.getvalue(), spec.labels[scores.argmax()]))
    return files
