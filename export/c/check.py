"""Compile a model's C code on this machine and compare its results with LiteRT's.

`digit-edge export-c --check` calls `check`.
"""

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

# GCC's options for C99; every warning is an error.
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
_MESSAGE_CHARACTERS = 2000  # an error message contains at most this much output, the end of it


def check(artifact: Artifact, source: CSource, images: Split) -> str:
    """Compare the C code's scores, labels and rejections with those of the runtime, bit by bit.

    Args:
        artifact: the int8 .tflite artifact; the runtime loads it with LiteRT.
        source: the C code of `artifact`.
        images: test images in the model's input size, at least one.

    Returns:
        A line to print: the number of images, and the accuracy of the model on these images.

    Raises:
        BackendUnavailable: LiteRT is not installed.
        ParityError: the result of an image differs, the self-test fails, or the program crashes.
        EdgeError: a C compiler is missing, or it reports an error or a warning.
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
            f"{artifact.path}: the C code was not written, because its results differ from "
            f"LiteRT's for {count - int(equal.sum()):,} of {count:,} test images; use another C "
            "compiler, or report this as a bug"
        )
    right = float(np.mean(found["label"] == images.labels))
    return (
        f"self-test passed; scores, labels and rejections of {count:,} test images equal LiteRT's "
        f"bit by bit; accuracy {right:.2%}"
    )


def compile_program(source: CSource, folder: Path, options: tuple[str, ...] = STRICT) -> Path:
    """Compile a program that classifies images from standard input.

    Args:
        source: the model.
        folder: an existing folder for the source files and the program.
        options: options of the compiler cc.

    Returns:
        The path of the program, for `classify`.

    Raises:
        EdgeError: a C compiler is missing, or it reports an error or a warning.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise EdgeError("the C compiler cc is not installed (Debian: apt install gcc libc6-dev)")
    (folder / f"{source.name}.h").write_text(source.header)
    (folder / f"{source.name}.c").write_text(source.code)
    (folder / "program.c").write_text(file_for(source, "program.c"))
    command = [compiler, *options, "program.c", f"{source.name}.c", "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise EdgeError(
            f"{compiler} cannot compile {source.name}.c without warnings: "
            f"{done.stderr.strip()[-_MESSAGE_CHARACTERS:]}"
        )
    return folder / "program"


def classify(path: Path, pixels: Pixels, classes: int) -> npt.NDArray[Any]:
    """Classify images with a program from `compile_program`.

    Args:
        path: the program.
        pixels: uint8 (N, height, width, channels).
        classes: number of the model's classes.

    Returns:
        Structured array (N,) with the fields "scores" (float32, `classes` values), "label" (uint8,
        index of the best class) and "accepted" (bool).

    Raises:
        ParityError: the self-test fails, or the program crashes.
    """
    done = subprocess.run([path], input=pixels.tobytes(), capture_output=True)
    if done.returncode or done.stderr:
        printed = done.stderr.decode(errors="replace").strip()[-_MESSAGE_CHARACTERS:]
        raise ParityError(
            "the self-test of the C code failed, or the program crashed: exit status "
            f"{done.returncode}; use another C compiler, or report this as a bug; output: {printed}"
        )
    return np.frombuffer(
        done.stdout, [("scores", "<f4", classes), ("label", "u1"), ("accepted", "?")]
    )
