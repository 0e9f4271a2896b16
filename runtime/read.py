"""Read the numbers in each image, line by line.

The paths and their options are those of `digit-edge classify`. `Classifier.read` does the
recognition.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.cli import images_command, options
from runtime.cli.batch import BatchJob, name_of, source_of
from runtime.cli.exit_status import exit_status
from runtime.cli.formats import JsonLines, OutputFormat, ReadCsv, ReadLines
from runtime.cli.inputs import FoundImage
from runtime.cli.parser import CommandParser
from runtime.errors import ImageError
from runtime.multi_digit.recognize import UNKNOWN, Recognition


@dataclass
class ReadJob(BatchJob):
    """Reads the numbers in images.

    Attributes:
        keep_unknown: see `Classifier.read`.
        show: the PNG file into which the recognition of the last image is drawn; None for none.
    """

    keep_unknown: bool
    show: str | None = None

    def records(self, images: Sequence[FoundImage]) -> Sequence[dict[str, Any] | str]:
        """Return the recognition of each image, or its error message."""
        return [self._read(image) for image in images]

    def note(self, record: dict[str, Any]) -> str | None:
        """Return how many places of an image are not certain; None if all are."""
        count = sum(
            digit["line"] is not None and not digit["accepted"] for digit in record["digits"]
        )
        if count == 0:
            return None
        places = "1 place is" if count == 1 else f"{count} places are"
        shown = f"shown as {UNKNOWN}" if self.keep_unknown else "omitted"
        return f"{record['image']}: {places} not certainly one digit, {shown}; check the image"

    def _read(self, image: FoundImage) -> dict[str, Any] | str:
        try:
            recognition = self.classifier.read(source_of(image), keep_unknown=self.keep_unknown)
            if self.show is not None:
                from runtime import visualize

                drawing = visualize.draw_recognition(source_of(image), recognition)
                visualize.save(drawing, self.show)
            return _record(name_of(image), recognition, self.classifier.backend.name)
        except ImageError as error:
            return str(error)


def main(argv: list[str] | None = None) -> int:
    """Read the images; return 0, or 2 if an image could not be read."""
    arguments = parse_args(argv)
    job = ReadJob(
        arguments.model,
        arguments.backend,
        arguments.threads,
        arguments.device,
        _output_format(arguments),
        not arguments.drop_unknown,
        arguments.show,
    )
    return images_command.run(job, arguments)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge read",
        "Print the numbers of several digits in each image, line by line.",
        {0: "all read", 2: "bad usage, or an image or the model could not be read"},
    )
    images_command.add_arguments(parser)
    options.add_model_arguments(parser)
    unknown = parser.add_mutually_exclusive_group()
    unknown.add_argument(
        "--drop-unknown",
        action="store_true",
        help=f"omit places that are not certainly one digit (default: print {UNKNOWN} for each)",
    )
    # Accepted because it was needed before unknown places were printed by default.
    unknown.add_argument("--keep-unknown", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    images_command.check_arguments(parser, arguments)
    return arguments


def _output_format(arguments: argparse.Namespace) -> OutputFormat:
    if arguments.json:
        return JsonLines()
    return ReadCsv() if arguments.csv else ReadLines()


def _record(path: str, recognition: Recognition, backend: str) -> dict[str, Any]:
    return {
        "image": path,
        "text": recognition.text,
        "lines": recognition.lines,
        "confidences": [round(confidence, 6) for confidence in recognition.confidences],
        "digits": [
            {
                "order": digit.order,
                "line": digit.line,
                "box": digit.box,
                "label": digit.prediction.label,
                "confidence": round(digit.prediction.confidence, 6),
                "accepted": digit.prediction.accepted,
            }
            for digit in recognition.digits
        ],
        "backend": backend,
    }


if __name__ == "__main__":
    sys.exit(exit_status(main))
