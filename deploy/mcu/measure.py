"""Compiles the C of an artifact for each target, runs it in QEMU, and compares it with LiteRT."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.mcu.table import Row
from deploy.mcu.targets import Target
from deploy.mcu.toolchain import Toolchain
from deploy.wheels import CHECKOUT
from runtime import Classifier
from runtime.backends import Pixels
from runtime.errors import EdgeError
from runtime.preprocess.mnist_format import to_mnist_format

MODEL = CHECKOUT / "runtime/pretrained/digits-int8.tflite"
IMAGES = 1000
COUNTED = 10  # images of the run that counts instructions, which is slower
FIRMWARE = Path(__file__).parent / "firmware"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
BARE = ("-ffreestanding", "-nostdlib", "-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True, eq=False)
class Expected:
    """Pixels, and what the Python runtime with LiteRT returns for each: bytes of the answers."""

    pixels: Pixels
    answers: npt.NDArray[np.uint8]


def expected() -> Expected:
    """Return real digits in MNIST's form and LiteRT's scores, labels and rejections of them."""
    from sklearn.datasets import load_digits

    pixels = np.stack([to_mnist_format(ink) for ink in load_digits().images[:IMAGES]])
    predictions = Classifier.load(MODEL, backend="litert").classify_batch(pixels)
    answers = [
        (prediction.scores, int(prediction.scores.argmax()), prediction.accepted)
        for prediction in predictions
    ]
    kind = [("scores", "<f4", len(predictions[0].scores)), ("label", "u1"), ("accepted", "u1")]
    return Expected(pixels, np.array(answers, kind).view(np.uint8).reshape(IMAGES, -1))


def write_sources(folder: Path) -> None:
    """Write digits.c and digits.h, and the programs around them, into an empty folder.

    Raises:
        EdgeError: `digit-edge export-c` refuses the artifact.
    """
    shutil.copytree(FIRMWARE, folder, dirs_exist_ok=True)
    _host([sys.executable, "-m", "export.c", "--model", MODEL, "--out", folder], CHECKOUT)


def on_host(folder: Path, wanted: Expected) -> Row:
    """Return the row of this machine: compiled with both sanitizers.

    Raises:
        EdgeError: the compiler or a sanitizer found something, or there is no compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise EdgeError("no C compiler here: apt-get install gcc libc6-dev")
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = folder / "host"
    _host([compiler, *STRICT, "-O2", *sanitizers, "host.c", "digits.c", "-o", program], folder)
    wanted.pixels.tofile(folder / "images")
    printed = _host([program], folder)
    name = "x86-64, address and undefined-behavior sanitizers"
    return Row(name, "-O2", equal=_equal(folder, wanted), **_numbers(printed))


def on_target(
    target: Target, optimization: str, toolchain: Toolchain, folder: Path, wanted: Expected
) -> Row:
    """Return the row of a microcontroller; `folder` holds the sources, the toolchain works there.

    Raises:
        EdgeError: the compiler warns, or the program does not end by itself.
    """
    compile_for = [f"{target.compiler}gcc", *STRICT, optimization, *BARE, *target.options]
    link = [target.start, "-Wl,--gc-sections", f"-Wl,--defsym=FLASH={target.flash}"]
    link += [f"-Wl,--defsym=RAM={target.ram}", "-T", "link.ld", "-lgcc"]
    flash = []
    for extra in ([], ["-DWITH_SELFTEST"]):
        toolchain.run([*compile_for, *extra, "smallest.c", "digits.c", *link, "-o", "smallest"])
        sizes = toolchain.run([f"{target.compiler}size", "smallest"]).splitlines()[1].split()
        flash.append(int(sizes[0]) + int(sizes[1]))
    toolchain.run([*compile_for, "main.c", "digits.c", *link, "-o", "program"])
    emulate = [*target.emulator, "-nographic", "-kernel", "program"]
    emulate += ["-semihosting-config", "enable=on,target=native"]
    wanted.pixels[:COUNTED].tofile(folder / "images")
    counted = _numbers(toolchain.run([*emulate, "-icount", "shift=0"]))
    wanted.pixels.tofile(folder / "images")
    numbers = _numbers(toolchain.run(emulate))
    workspace = re.search(r"_WORKSPACE_BYTES (\d+)", (folder / "digits.h").read_text())
    assert workspace is not None
    return Row(
        target.name,
        optimization,
        equal=_equal(folder, wanted),
        images=numbers["images"],
        selftest=numbers["selftest"],
        instructions=counted["instructions"],
        stack_bytes=counted["stack_bytes"],
        workspace_bytes=int(workspace[1]),
        flash_bytes=flash[0],
        flash_with_selftest_bytes=flash[1],
    )


def _numbers(printed: str) -> dict[str, int]:
    """Return what a program printed: a name and a number in each line."""
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", printed)}


def _equal(folder: Path, wanted: Expected) -> int:
    """Return how many answers of a program equal LiteRT's, bit by bit."""
    found = np.fromfile(folder / "answers", np.uint8)
    if found.size != wanted.answers.size:
        return 0
    return int((found.reshape(wanted.answers.shape) == wanted.answers).all(axis=1).sum())


def _host(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or done.stderr:
        printed = (done.stdout + done.stderr).strip()[-2000:]
        raise EdgeError(f"{' '.join(map(str, command))}: status {done.returncode}: {printed}")
    return done.stdout
