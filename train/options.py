"""Types of command-line options."""

import argparse
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least`, below 2^31."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least}")
        return int(text)

    return parse
