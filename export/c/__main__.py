"""Export an int8 model as C99 for microcontrollers.

`digit-edge export-c` runs this module. Instead of C99 it can write a file for TensorFlow Lite Micro
(--target tflm), or print on which boards the model fits (--boards).
"""

import argparse
import sys
from pathlib import Path

from export.c import boards, tflm, write
from export.c.source import write_c
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.model import artifact
from train.data.load import load

# The model without --model: the published int8 model, which the package contains.
_PUBLISHED = Path(__file__).parents[2] / "runtime/pretrained/digits-int8.tflite"


def main(argv: list[str] | None = None) -> int:
    """Write the files, or print the boards; return 0.

    Raises:
        EdgeError: the input is invalid, or with --check a score differs from LiteRT's.
    """
    arguments = parse_args(argv)
    if arguments.boards:
        print(*boards.table(write_c(artifact.read(arguments.model))), sep="\n")
        return 0
    images = load(arguments.data).test if arguments.check else None
    if arguments.target == "tflm":
        pixels = None if images is None else images.pixels
        opened = artifact.read(arguments.model)
        lines = tflm.write(opened, arguments.out, arguments.python, pixels)
    else:
        lines = write.export(arguments.model, arguments.out, arguments.layout, images)
    print(*lines, sep="\n")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge export-c",
        "Write an int8 model as two files of C99. They need no library, allocate no memory and "
        "change no global variable. Their logits, scores and rejections equal those of LiteRT bit "
        "by bit. They contain a self-test.",
        {0: "written", 3: "a score differs from LiteRT's"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=_PUBLISHED,
        metavar="PATH",
        help="an int8 .tflite artifact (default: the published one)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the folder to write to (default: the current one); the files are named after the "
        "model: digits.c and digits.h",
    )
    parser.add_argument(
        "--target",
        choices=("c", "tflm"),
        default="c",
        metavar="NAME",
        help="c: C99 (the default). tflm: for TensorFlow Lite Micro, a .tflite file with a fixed "
        "batch size, the same file as a C array, and the list of the operators that it needs",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="a Python with tflite-micro, in which --target tflm is verified (default: this one)",
    )
    parser.add_argument(
        "--layout",
        choices=write.LAYOUTS,
        default="files",
        metavar="NAME",
        help="files: the two files alone (the default); arduino or cmake: a sketch or a CMake "
        "project that prints the self-test, a folder named after the model",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="before writing, compare the scores with LiteRT's on all test images; target c is "
        "compiled with cc, target tflm runs in --python",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="the data set to check with (default: as for digit-edge train)",
    )
    parser.add_argument(
        "--boards",
        action="store_true",
        help="write nothing, and print on which boards the model fits, by the cross compilers that "
        "are installed",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
