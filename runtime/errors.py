"""The project's error classes, and their output on stderr.

    EdgeError                   base class: an expected failure, reported without a traceback
    ├── ArtifactError           a model file is damaged, has a wrong shape or lacks a spec
    ├── ImageError              an image is unreadable, empty or too large
    ├── DatasetError            a data set is missing, damaged or incomplete
    ├── BackendUnavailable      an engine or a device is not available
    └── ParityError             an artifact disagrees with its Keras reference

A message names the problem, the file or option, and the remedy, in one line. Commands turn an error
into that line and an exit status in `runtime.cli.exit_status`.
"""

import sys
import unicodedata

BAD_INPUT = 2  # exit status: an input, an option or the environment is wrong
CHECK_FAILED = 3  # exit status: the command ran, and the model failed its check


class EdgeError(Exception):
    """Base class of all errors of this project; `exit_code` is the command's exit status."""

    exit_code = BAD_INPUT


class ArtifactError(EdgeError):
    """A model file is damaged, has a wrong shape or lacks a spec."""


class ImageError(EdgeError):
    """An image is unreadable, empty or too large, or the file is not an image."""


class DatasetError(EdgeError):
    """A data set is missing, damaged, or unsuitable for the requested use."""


class BackendUnavailable(EdgeError):
    """The requested engine or device is not available on this machine."""


class ParityError(EdgeError):
    """An artifact disagrees with its Keras reference."""

    exit_code = CHECK_FAILED


def report(error: EdgeError) -> None:
    """Print `error: …` on stderr in one line, with control characters escaped."""
    print("error:", printable(" ".join(str(error).split())), file=sys.stderr)


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return a count with its noun: `1 image`, `2,000 images`; the plural ends in s by default."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def printable(text: str) -> str:
    r"""Escape control characters and line breaks as Python does (`\x1b`), for safe output.

    Letters of all scripts and spaces of all widths (Unicode category Zs) are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text
    )
