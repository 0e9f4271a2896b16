"""What the tests of the runtime share."""

import dataclasses
import zipfile
from pathlib import Path

import pytest

import runtime
from runtime import artefact

PRETRAINED = Path(runtime.__file__).parent / "pretrained"


@pytest.fixture(scope="session")
def plant():
    """Writes a published .tflite artefact with a fault in it, and a digest that fits the fault.

    `scores` changes the golden scores, `flip` the top bits of a range of the model's bytes, other
    names replace what the spec says.
    """

    def write(path: Path, source: str = "digits-int8.tflite", scores=None, flip=(), **spec) -> Path:
        opened = artefact.read(PRETRAINED / source)
        with zipfile.ZipFile(PRETRAINED / source) as archive:
            size = min(member.header_offset for member in archive.infolist())
        model = bytearray(opened.data[:size])
        for at in flip:
            model[at] ^= 0x80
        if scores is not None:
            golden = opened.spec.golden
            spec["golden"] = dataclasses.replace(golden, scores=scores(golden.scores.copy()))
        artefact.write(path, bytes(model), dataclasses.replace(opened.spec, **spec))
        return path

    return write
