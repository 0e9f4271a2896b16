"""Fixtures of the tests of bulk classification: images, a runner of the command, its rows."""

import io
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def png():
    """Return the bytes of a small PNG with an inked shape; each number gives another image."""

    def draw(number: int) -> bytes:
        pixels = np.full((32, 32), 255, np.uint8)
        pixels[6:26, 8 + number % 9 : 12 + number % 9] = number % 90
        pixels[4 + number % 17 : 7 + number % 17, 6:24] = 10
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return draw


@pytest.fixture(scope="session")
def folder(tmp_path_factory, png) -> Path:
    """A folder with 300 images in subfolders, and a damaged, an empty and a hidden file."""
    path = tmp_path_factory.mktemp("images")
    for number in range(300):
        (path / f"{number % 3}").mkdir(exist_ok=True)
        (path / f"{number % 3}" / f"{number:03}.png").write_bytes(png(number))
    (path / "damaged.png").write_bytes(b"not an image")
    (path / "empty.jpg").touch()
    (path / ".hidden.png").write_bytes(png(1))
    (path / "notes.txt").write_text("not an image")
    return path


@pytest.fixture
def huggingface(tmp_path, png):
    """Write a Parquet file in Hugging Face's form: structs with `bytes` and `path`, and labels."""

    def write(name: str = "train.parquet", count: int = 50, **options: object) -> Path:
        images = [{"bytes": png(n), "path": f"{n}.png"} for n in range(count)]
        table = pyarrow.table({"image": images, "label": [n % 10 for n in range(count)]})
        pyarrow.parquet.write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write


def start(*arguments: object, prefix: tuple[str, ...] = (), **options) -> subprocess.Popen[str]:
    """Start `python -m runtime.bulk`."""
    command = [*prefix, sys.executable, "-m", "runtime.bulk", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        **options,
    )  # fmt: skip


@pytest.fixture
def start_bulk():
    """Start the command with arguments; end at the end of the test what still runs."""
    with ExitStack() as running:

        def run(*arguments: object, **options) -> subprocess.Popen[str]:
            process = running.enter_context(start(*arguments, **options))
            running.callback(process.kill)
            return process

        yield run


@pytest.fixture(scope="session")
def bulk():
    """Run the command with arguments; return the process, with its output."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        with start(*arguments, **options) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def rows():
    """Return the rows of an output, sorted by path, as dicts."""

    def read(out: Path) -> list[dict[str, object]]:
        table = pyarrow.parquet.read_table(out)
        return sorted(table.to_pylist(), key=lambda row: row["path"])

    return read
