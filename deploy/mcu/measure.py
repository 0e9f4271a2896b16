"""Compile the published model's C code, run it, and compare its results with LiteRT's.

`deploy.mcu.run` calls this module for this machine and for each emulated microcontroller.
"""

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
from runtime.preprocess.pipeline import preprocess

MODEL = CHECKOUT / "runtime/pretrained/digits-int8.tflite"
IMAGES = 1000  # number of test images that each target classifies
# Number of test images in the second run, which counts instructions. QEMU is slower in this run.
COUNTED = 10
FRAMES = 4  # number of gray frames that each target with enough RAM converts to pixels
FRAME_SHAPE = (72, 96)  # height and width in pixels
FIRMWARE = Path(__file__).parent / "firmware"  # C programs, startup code and linker script
_MESSAGE_CHARACTERS = 2000  # an error message contains at most this much output, the end of it
# GCC's options for C99; every warning is an error.
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
# GCC's options for a device without an operating system and C library. The linker can drop
# unused functions and arrays.
BARE = ("-ffreestanding", "-nostdlib", "-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True, eq=False)
class Expected:
    """Test images and the results that the Python runtime returns for them with LiteRT.

    Attributes:
        pixels: uint8 (N, 28, 28, 1), 0 = background, 255 = ink.
        answers: uint8 (N, 42), one row per image. A row consists of ten float32 scores in
            little-endian order, the index of the best class, and a byte `accepted`: 1 or 0.
        frames: uint8 (M, height, width), dark digits on gray paper in uneven light.
        frame_pixels: uint8 (M, 28, 28, 1), to which the runtime converts the frames.
    """

    pixels: Pixels
    answers: npt.NDArray[np.uint8]
    frames: npt.NDArray[np.uint8]
    frame_pixels: Pixels


def expected() -> Expected:
    """Return the first `IMAGES` handwritten digits of scikit-learn's data set in MNIST's format.

    Raises:
        EdgeError: LiteRT is missing, or it cannot load the published model.
    """
    from sklearn.datasets import load_digits

    pixels = np.stack([to_mnist_format(ink) for ink in load_digits().images[:IMAGES]])
    predictions = Classifier.load(MODEL, backend="litert").classify_batch(pixels)
    answers = [
        (prediction.scores, int(prediction.scores.argmax()), prediction.accepted)
        for prediction in predictions
    ]
    kind = [("scores", "<f4", len(predictions[0].scores)), ("label", "u1"), ("accepted", "u1")]
    frames = np.stack([_frame(image) for image in pixels[:FRAMES]])
    return Expected(
        pixels,
        np.array(answers, kind).view(np.uint8).reshape(IMAGES, -1),
        frames,
        np.stack([preprocess(frame).pixels for frame in frames]),
    )


def _frame(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return a frame with a digit in dark ink, uint8 `FRAME_SHAPE`; light fades to the right."""
    width = FRAME_SHAPE[1]
    ink = np.kron(pixels[4:24, 4:24, 0], np.ones((3, 3))) / 255
    cover = np.zeros(FRAME_SHAPE)
    cover[6:66, 20:80] = ink
    light = 230 - 60 * np.arange(width) / width
    return np.rint(light * (1 - 0.8 * cover)).astype(np.uint8)


def write_sources(folder: Path) -> None:
    """Write the test programs, `digits.c` and `digits.h` into a folder.

    Raises:
        EdgeError: `digit-edge export-c` fails.
    """
    shutil.copytree(FIRMWARE, folder, dirs_exist_ok=True)
    _host([sys.executable, "-m", "export.c", "--model", MODEL, "--out", folder], CHECKOUT)


def on_host(folder: Path, wanted: Expected) -> Row:
    """Test the C code on this machine, compiled with two sanitizers of GCC.

    The sanitizers detect invalid memory accesses and undefined behavior.

    Args:
        folder: a folder that `write_sources` filled; the program is compiled and run in it.
        wanted: the test images and their expected results.

    Returns:
        The row of this machine. All costs are 0, because they are not measured.

    Raises:
        EdgeError: a C compiler is missing, the compiler prints a warning, or a sanitizer reports
            an error.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise EdgeError("the C compiler cc is not installed: run apt-get install gcc libc6-dev")
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
    """Test and measure the C code on an emulated microcontroller.

    Args:
        target: the microcontroller.
        optimization: GCC's option: "-O2" or "-Os".
        toolchain: compiler and emulator; its folder must be `folder`.
        folder: a folder that `write_sources` filled.
        wanted: the test images and their expected results.

    Returns:
        The row of the microcontroller.

    Raises:
        EdgeError: the compiler prints a warning, a program or QEMU fails or runs for more than ten
            minutes, or a frame is converted to other pixels than by the runtime.
    """
    compile_for = [f"{target.compiler}gcc", *STRICT, optimization, *BARE, *target.options]
    link = [target.start, "-Wl,--gc-sections", f"-Wl,--defsym=FLASH={target.flash}"]
    link += [f"-Wl,--defsym=RAM={target.ram}", "-T", "link.ld", "-lgcc"]
    toolchain.run([*compile_for, "-c", "digits.c"])
    flash = []
    for extra in ([], ["-DWITH_SELFTEST"]):
        toolchain.run([*compile_for, *extra, "smallest.c", "digits.o", *link, "-o", "smallest"])
        sizes = toolchain.run([f"{target.compiler}size", "smallest"]).splitlines()[1].split()
        flash.append(int(sizes[0]) + int(sizes[1]))
    emulate = [*target.emulator, "-nographic", "-semihosting-config", "enable=on,target=native"]
    if target.preprocesses:
        size = [f"-DFRAME_HEIGHT={FRAME_SHAPE[0]}", f"-DFRAME_WIDTH={FRAME_SHAPE[1]}"]
        toolchain.run([*compile_for, *size, "frames.c", "digits.o", *link, "-o", "frames.elf"])
        wanted.frames.tofile(folder / "frames")
        toolchain.run([*emulate, "-kernel", "frames.elf"])
        if (folder / "pixels").read_bytes() != wanted.frame_pixels.tobytes():
            raise EdgeError(
                f"{target.name} {optimization}: digits_preprocess converts a frame to other pixels "
                "than the runtime; correct export/c/pieces/preprocess.c"
            )
    toolchain.run([*compile_for, "main.c", "digits.o", *link, "-o", "program"])
    emulate += ["-kernel", "program"]
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
    """Parse the output of a test program: one name and one whole number in each line."""
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", printed)}


def _equal(folder: Path, wanted: Expected) -> int:
    """Return the number of images whose results equal LiteRT's bit by bit.

    The result is 0 if the file "answers" has an unexpected size.
    """
    found = np.fromfile(folder / "answers", np.uint8)
    if found.size != wanted.answers.size:
        return 0
    return int((found.reshape(wanted.answers.shape) == wanted.answers).all(axis=1).sum())


def _host(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in `folder` on this machine and return its standard output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or done.stderr:
        printed = (done.stdout + done.stderr).strip()[-_MESSAGE_CHARACTERS:]
        raise EdgeError(
            f"{' '.join(map(str, command))}: exit status {done.returncode}; output: {printed}"
        )
    return done.stdout
