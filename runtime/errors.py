"""The project's error classes, and functions that print an error on stderr.

    EdgeError                   base class: an expected failure, reported without a traceback
    ├── ArtifactError           a model file is missing, damaged or contradicts its metadata
    ├── ImageError              an image is unreadable, empty or too large
    ├── DatasetError            a data set is missing, damaged or unsuitable
    ├── BackendUnavailable      an engine or a device is not available
    ├── ConversionError         a converter or an engine does not support a layer of the model
    └── ParityError             an exported model disagrees with the Keras model it was made from

All packages raise these errors. A message names the problem, the file or option, and the remedy, in
one line. In a command, `runtime.cli.exit_status` prints the message and returns the exit status.
"""

import sys
import unicodedata

BAD_INPUT = 2  # exit status of a command: an input, an option or the environment is wrong
CHECK_FAILED = 3  # exit status of a command: the command ran, and the model failed a check


class EdgeError(Exception):
    """Base class of all errors of this project.

    Attributes:
        exit_code: exit status of a command that ends with this error.
    """

    exit_code = BAD_INPUT


class ArtifactError(EdgeError):
    """A model file is missing, damaged or contradicts its metadata."""


class ImageError(EdgeError):
    """An image is unreadable, empty or too large, or the file is not an image."""


class DatasetError(EdgeError):
    """A data set is missing, damaged, or unsuitable for the requested use."""


class BackendUnavailable(EdgeError):
    """The requested engine or device is not available on this machine."""


class ConversionError(EdgeError):
    """A converter cannot convert a model, or the engine cannot run the result."""

    exit_code = CHECK_FAILED


class ParityError(EdgeError):
    """An exported model disagrees with the Keras model that it was made from."""

    exit_code = CHECK_FAILED


def report(error: EdgeError) -> None:
    """Print `error: …` on stderr in one line, with control characters escaped."""
    print("error:", printable(" ".join(str(error).split())), file=sys.stderr)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text that is not empty, of at most 200 characters."""
    lines = [line.strip().strip("'\"") for line in str(error).splitlines()]
    text = next(filter(None, lines), type(error).__name__)
    return text if len(text) <= 200 else text[:199] + "…"


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return a count with its noun: `1 image`, `2,000 images`; the plural ends in s by default."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def printable(text: str) -> str:
    r"""Escape control characters and line breaks as Python does (`\x1b`).

    Otherwise a file name could send commands to the terminal. Letters of all scripts and spaces of
    all widths (Unicode category Zs) are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text
    )
