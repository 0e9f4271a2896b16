"""The error hierarchy, and how a command reports one.

    EdgeError                   anything this project refuses
    ├── ArtifactError           a model file: damaged, of another shape, without a spec
    ├── ImageError              an image: unreadable, empty, too large, not an image
    ├── DatasetError            a data set: absent, damaged, a class missing
    ├── BackendUnavailable      an engine or a device that is not installed or not there
    └── ParityError             an artifact that does not answer as its original does

Each message is one line: what was wrong, with which file, and what to do next.
"""

import sys
import unicodedata

BAD_INPUT = 2
CHECK_FAILED = 3


class EdgeError(Exception):
    """Anything this project refuses; `exit_code` is what a command ends with."""

    exit_code = BAD_INPUT


class ArtifactError(EdgeError):
    """A model file is damaged, of another shape, or does not explain itself."""


class ImageError(EdgeError):
    """An image cannot be read, is empty, too large, or no image at all."""


class DatasetError(EdgeError):
    """A data set is absent, damaged, or unfit for what was asked of it."""


class BackendUnavailable(EdgeError):
    """The engine or the device asked for is not installed or not present."""


class ParityError(EdgeError):
    """An artifact does not answer as the model it came from."""

    exit_code = CHECK_FAILED


def report(error: EdgeError) -> None:
    """Print `error: …` on stderr, on one line whatever the message holds."""
    print("error:", printable(" ".join(str(error).split())), file=sys.stderr)


def printable(text: str) -> str:
    """Escape, as Python does, each character that would act on a terminal or break the line.

    Letters of all scripts and spaces of all widths stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text
    )
