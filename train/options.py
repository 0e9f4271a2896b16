"""Options that several commands share: --data, and whole numbers for argparse's `type=`.

The commands of `train` and `export` use this module.
"""

import argparse
from collections.abc import Callable

# Values of --data, for --help.
DATA_FORMS = (
    "a folder with one subfolder of images per class, images with a labels.csv, a CSV of pixels, "
    "IDX files, an .npz, .npy, .mat, .parquet or .zip, or 'embedded' for the embedded digits"
)
# What the user can do if another training writes the same files; for error messages.
IN_USE = "wait until that training ends, or pass another file with --out"


def whole(minimum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `minimum` to 2^31 - 1.

    Args:
        minimum: the smallest number that the parser accepts, at least 0.

    Returns:
        A function from the text of an option to its number. For other texts, the function raises
        argparse.ArgumentTypeError, which argparse reports.
    """

    def parse(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(
                f"{text} is not a whole number from {minimum} to {2**31 - 1}"
            )
        return int(text)

    return parse


def add_data_argument(parser: argparse.ArgumentParser, images: str) -> None:
    """Add the option --data, whose value `train.data.load.load` accepts.

    Args:
        parser: the command's parser.
        images: what the command uses the images for, for --help.
    """
    parser.add_argument(
        "--data",
        metavar="PATH",
        help=f"{images}: {DATA_FORMS} (default: see digit-edge train --help)",
    )
