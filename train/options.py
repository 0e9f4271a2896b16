"""Parses whole numbers in command-line options, for argparse's `type=`."""

import argparse
from collections.abc import Callable


def whole(minimum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `minimum` to 2^31 - 1."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(
                f"{text} is not a whole number from {minimum} to {2**31 - 1}"
            )
        return int(text)

    return parse
