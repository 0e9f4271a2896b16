"""python -m export.c: an int8 .tflite artifact as C99 source for a microcontroller."""

import argparse
import sys
from pathlib import Path

from export.c import write
from runtime.cli.exit_status import exit_status

_PUBLISHED = Path(__file__).parents[2] / "runtime/pretrained/digits-int8.tflite"


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.c`."""
    arguments = parse_args(argv)
    for line in write.export(arguments.model, arguments.out):
        print(line)
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m export.c",
        description="Write a model as C99: two files without a library, an allocation or a "
        "global variable that changes. They classify pixels with the logits, scores and rejection "
        "of the artifact in LiteRT, bit by bit, and carry a self-test.",
        epilog="Exit status: 0 written, 2 bad input.",
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
        help="the folder to write to (default: this one); the files are named after the model: "
        "digits.c and digits.h",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
