"""Export an int8 model as C99 for microcontrollers.

`digit-edge export-c` runs this module. With `--target tflm`, it exports a file for TensorFlow Lite
Micro (TFLM). With `--boards`, it prints which microcontroller boards have enough memory.
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

# The published int8 model, which the package contains. It is exported if --model is missing.
_PUBLISHED = Path(__file__).parents[2] / "runtime/pretrained/digits-int8.tflite"


def main(argv: list[str] | None = None) -> int:
    """Export the model, or print the table of boards.

    Returns:
        The exit status 0.

    Raises:
        ArtifactError: the model is not an int8 .tflite artifact, or a layer is not supported.
        BackendUnavailable: LiteRT or tflite-micro is not installed.
        DatasetError: the data set for --check is missing or damaged.
        ParityError: a result of the exported model differs from LiteRT's.
        EdgeError: a file cannot be written, or a C compiler is missing or fails.
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
        "Export an int8 model as two files of C99 code. The code needs no library, allocates no "
        "memory and changes no global variable. Its logits, scores and rejections equal LiteRT's "
        "bit by bit. The code contains a self-test.",
        {0: "the files were written, or the table was printed", 3: "a score differs from LiteRT's"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=_PUBLISHED,
        metavar="PATH",
        help="the int8 .tflite artifact to export (default: the published model)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the folder to write to (default: the current folder). The files are named after the "
        "model, for example digits.c and digits.h.",
    )
    parser.add_argument(
        "--target",
        choices=("c", "tflm"),
        default="c",
        metavar="NAME",
        help="c (default): C99 code. tflm: files for TensorFlow Lite Micro. These are a .tflite "
        "file with batch size 1, the same file as a C array, and a list of the model's operators.",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="a Python interpreter with the package tflite-micro. --target tflm runs the exported "
        "model in this interpreter. Default: the interpreter of digit-edge.",
    )
    parser.add_argument(
        "--layout",
        choices=write.LAYOUTS,
        default="files",
        metavar="NAME",
        help="files (default): only the .c and the .h file. arduino or cmake: also an Arduino "
        "sketch or a CMake project that prints the result of the self-test, in a folder named "
        "after the model. program: also a program that classifies PGM files and prints JSON.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="before writing, compare the results with LiteRT's on all test images. Target c is "
        "compiled with cc; target tflm runs in the interpreter of --python.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="the data set with the test images for --check (default: that of digit-edge train)",
    )
    parser.add_argument(
        "--boards",
        action="store_true",
        help="write no files. Print a table of microcontroller boards that shows which boards have "
        "enough flash and RAM. Sizes are measured with the installed cross compilers.",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
