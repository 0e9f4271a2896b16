"""Fixtures that start real processes of `digit-edge serve`, and test images."""

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from runtime import Classifier


class Server:
    """A server process, its address, and a client for it."""

    def __init__(self, process, url, stderr):
        self.process, self.url, self.stderr = process, url, stderr
        self.port = int(re.search(r":(\d+)/", url)[1])
        self.client = httpx.Client(base_url=url, timeout=30, verify=False)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, name):
        text = self.client.get("/metrics").text
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


@contextlib.contextmanager
def started(folder, command, **environment):
    """Run `command` and yield the server whose URL it prints; output on stderr fails the test."""
    with open(folder / f"stderr-{time.monotonic_ns()}", "w+") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **environment},
            cwd=folder,
        )
        try:
            announcement = process.stdout.readline()
            url = re.search(r"https?://\S+", announcement)
            if url is None:
                process.wait(30)
                stderr.seek(0)
                raise AssertionError(f"no server: {announcement}{stderr.read()}")
            server = Server(process, url[0], stderr)
            with server.client:
                yield server
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)
            process.stdout.close()
            stderr.seek(0)
            assert stderr.read() == ""


@pytest.fixture
def serve(tmp_path):
    """Start `digit-edge serve` with options; without --port on a free port."""
    with contextlib.ExitStack() as stack:

        def start(*options, **environment):
            command = [sys.executable, "-m", "runtime.serve", "--port", "0", *map(str, options)]
            return stack.enter_context(started(tmp_path, command, **environment))

        yield start


@pytest.fixture
def serve_with(tmp_path):
    """Start a server with limits for which the command has no options."""
    with contextlib.ExitStack() as stack:

        def start(limits):
            script = (
                "from runtime.serve import service\n"
                "from runtime.serve.app import create_app\n"
                "from runtime.serve.limits import Limits\n"
                "from runtime.serve.supervisor import Supervisor\n"
                "from runtime.serve.wire import ModelOptions\n"
                f"limits = Limits({limits})\n"
                "supervisor = Supervisor(ModelOptions(None, None, 1, 'cpu'), limits)\n"
                "listener = service.bind('127.0.0.1', 0)\n"
                "address = f'http://127.0.0.1:{listener.getsockname()[1]}/'\n"
                "supervisor.start()\n"
                "service.serve(create_app(supervisor, limits), listener, limits,\n"
                "              on_ready=lambda: print(address, flush=True),\n"
                "              is_progressing=supervisor.is_progressing)\n"
            )
            return stack.enter_context(started(tmp_path, [sys.executable, "-c", script]))

        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server with the default options, shared by all tests that do not change it."""
    command = [sys.executable, "-m", "runtime.serve", "--port", "0"]
    with started(tmp_path_factory.mktemp("server"), command) as running:
        yield running


@pytest.fixture(scope="session")
def classifier():
    """The server's default model, in this process."""
    return Classifier.load()


@pytest.fixture(scope="session")
def page(classifier):
    """A golden digit on paper, as a gray array, and its label."""
    golden = classifier.spec.golden
    digit = Image.fromarray(golden.pixels[3, :, :, 0]).resize((280, 280), Image.Resampling.BICUBIC)
    paper = np.full((400, 520), 235, np.uint8)
    paper[60:340, 120:400] -= (np.asarray(digit) * 0.8).astype(np.uint8)
    return paper, classifier.spec.labels[golden.scores[3].argmax()]


@pytest.fixture(scope="session")
def photo(page):
    """The image of `page` as the bytes of a JPEG."""
    return encoded(page[0], "JPEG")


def encoded(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()
