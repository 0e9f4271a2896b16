"""Read the numbers in each image, line by line.

The options are parsed here; `Classifier.read` does the recognition.
"""

import argparse
import json
import sys
from typing import Any

from runtime.classifier import Classifier
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import BAD_INPUT, ImageError, printable, report
from runtime.multi_digit.recognize import UNKNOWN, Recognition
from runtime.system import interrupt


def main(argv: list[str] | None = None) -> int:
    """Read the images; return 0, or 2 if an image could not be read."""
    arguments = parse_args(argv)
    classifier = Classifier.load(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    status = 0
    for path in arguments.images:
        try:
            recognition = classifier.read(path, keep_unknown=arguments.keep_unknown)
        except ImageError as error:
            status = BAD_INPUT
            if arguments.json:
                print(json.dumps({"image": path, "error": str(error)}))
            else:
                report(error)
            continue
        if arguments.show is not None:
            from runtime import visualize

            visualize.save(visualize.draw_recognition(path, recognition), arguments.show)
        if arguments.json:
            print(json.dumps(_record(path, recognition, classifier.backend.name)))
        else:
            for line in recognition.lines or ("no digits",):
                print(printable(f"{path}: {line}"))
        interrupt.check()
    return status


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge read",
        "Print the numbers of several digits in each image, line by line.",
        {0: "all read", 2: "bad usage, or an image or the model could not be read"},
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    options.add_model_arguments(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per image, with all digits' boxes",
    )
    parser.add_argument(
        "--show",
        metavar="FILE",
        help="draw the image with boxes and labels into this PNG file; takes one IMAGE",
    )
    parser.add_argument(
        "--keep-unknown",
        action="store_true",
        help=f"print {UNKNOWN} for each rejected symbol (default: leave it out)",
    )
    arguments = parser.parse_args(argv)
    if arguments.show is not None and len(arguments.images) != 1:
        parser.error("--show takes one image")
    return arguments


def _record(path: str, recognition: Recognition, backend: str) -> dict[str, Any]:
    return {
        "image": path,
        "text": recognition.text,
        "lines": recognition.lines,
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
