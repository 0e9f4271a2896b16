"""Parses whole numbers in command-line options, for argparse's `type=`.

The commands of `train` and `export` use this parser, for example for --seed.
"""

import argparse
from collections.abc import Callable


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
