"""Compiles a model's C on this machine and compares its answers with LiteRT's."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.source import CSource, file_for
from runtime.backends import Pixels, open_backend
from runtime.classifier import Classifier
from runtime.errors import EdgeError, ParityError
from runtime.model.artifact import Artifact
from runtime.system import atomic_write
from train.data.splits import Split

STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")


def check(artifact: Artifact, source: CSource, images: Split) -> str:
    """Compare scores, labels and rejection of the C with those of the runtime, bit by bit.

    Returns:
        The outcome, in a line to print.

    Raises:
        ParityError: an image differs, or the self-test fails.
        EdgeError: there is no C compiler, or it refuses the files.
    """
    with atomic_write.temporary_folder() as folder:
        found = classify(compile_program(source, folder), images.pixels, len(artifact.spec.labels))
    classifier = Classifier(open_backend(artifact, "litert"))
    predictions = [classifier.classify(image) for image in images.pixels]
    equal = (
        (found["scores"] == classifier.scores(images.pixels)).all(axis=1)
        & (found["label"] == [p.scores.argmax() for p in predictions])
        & (found["accepted"] == [p.accepted for p in predictions])
    )
    count = len(images)
    if not equal.all():
        raise ParityError(
            f"{artifact.path}: its C is not written, {count - int(equal.sum()):,} of {count:,} "
            "test images differ from LiteRT"
        )
    right = float(np.mean(found["label"] == images.labels))
    return (
        f"self-test passed; {count:,} of {count:,} test images equal LiteRT's: scores bit by bit, "
        f"label and rejection; accuracy {right:.2%}"
    )


def compile_program(source: CSource, folder: Path, options: tuple[str, ...] = STRICT) -> Path:
    """Compile a model, and a program that classifies images from standard input, in a folder.

    Raises:
        EdgeError: there is no C compiler, or it refuses the files.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise EdgeError("no C compiler here: install one (Debian: apt install gcc libc6-dev)")
    (folder / f"{source.name}.h").write_text(source.header)
    (folder / f"{source.name}.c").write_text(source.code)
    (folder / "program.c").write_text(file_for(source, "program.c"))
    command = [compiler, *options, "program.c", f"{source.name}.c", "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise EdgeError(f"{compiler} refuses {source.name}.c: {done.stderr.strip()[-2000:]}")
    return folder / "program"


def classify(path: Path, pixels: Pixels, classes: int) -> npt.NDArray[Any]:
    """Return a record of scores, label and accepted for each image, from a compiled program.

    Raises:
        ParityError: the self-test fails, or the program crashes.
    """
    done = subprocess.run([path], input=pixels.tobytes(), capture_output=True)
    if done.returncode or done.stderr:
        printed = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ParityError(f"the self-test of the C returned {done.returncode}: {printed}")
    return np.frombuffer(
        done.stdout, [("scores", "<f4", classes), ("label", "u1"), ("accepted", "?")]
    )
