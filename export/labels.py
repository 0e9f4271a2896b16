"""Parses class names: the option --labels of `digit-edge export` and `digit-edge export-spec`."""

import argparse
import re
from pathlib import Path

from runtime.preprocess.form import FORMS

_RANGE = re.compile(r"(\w)-(\w)")  # such as 0-9 or A-Z


def add_form_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option --form of a model made with other tools."""
    parser.add_argument(
        "--form",
        choices=FORMS,
        metavar="NAME",
        help="input of a model without a spec: ink, the ink of one character as in MNIST, or "
        "photo, whole images (default: ink)",
    )


def add_labels_argument(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the option --labels of `digit-edge export-spec` and `digit-edge export`."""
    parser.add_argument(
        "--labels",
        required=required,
        type=parse_labels,
        metavar="A,B,…",
        help="the class names in the order of the scores: 0,1,2 or 0-9, or a .txt file with one "
        "name a line",
    )


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the class names of an option's value, in the order of the model's scores.

    Args:
        text: names separated by commas, where 0-9 and A-Z are ranges; or the path of a text file
            with one name a line. Teachable Machine's files, whose lines begin with the number of
            the class, are read too.

    Raises:
        argparse.ArgumentTypeError: the file cannot be read, or a name is empty or occurs twice.
    """
    path = Path(text)
    if path.suffix == ".txt":
        try:
            labels = _of_lines(path.read_text("utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(
                f"cannot read {text} ({error}): pass a UTF-8 text with one class name a line"
            ) from error
    else:
        labels = [label for part in text.split(",") for label in _expand(part.strip())]
    if not all(labels):
        raise argparse.ArgumentTypeError(
            f"{text} has an empty name: write the names as 0,1,2 or 0-9, or pass a .txt file"
        )
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise argparse.ArgumentTypeError(
            f"{text} has the name {twice!r} twice: every class needs a name of its own"
        )
    return tuple(labels)


def _of_lines(lines: list[str]) -> list[str]:
    labels = [line.strip() for line in lines if line.strip()]
    numbered = [re.fullmatch(rf"{n}[ :]\s*(.+)", label) for n, label in enumerate(labels)]
    matches = [match for match in numbered if match is not None]
    return [match[1] for match in matches] if len(matches) == len(labels) else labels


def _expand(part: str) -> list[str]:
    """Return the names of one part between commas: those of a range, or the part itself."""
    match = _RANGE.fullmatch(part)
    if match is None or match[1] >= match[2] or _kind(match[1]) != _kind(match[2]):
        return [part]
    return [chr(code) for code in range(ord(match[1]), ord(match[2]) + 1)]


def _kind(character: str) -> tuple[bool, bool]:
    return character.isdigit(), character.isupper()
