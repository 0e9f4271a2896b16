"""python -m runtime.read IMAGE…: the numbers of several digits that each image shows."""

import argparse
import json
import sys
from typing import Any

from runtime.classifier import Classifier
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.errors import BAD_INPUT, ImageError, printable, report
from runtime.multi_digit.recognize import UNKNOWN, Recognition
from runtime.system import interrupt


def main(argv: list[str] | None = None) -> int:
    """Read the images; return 0 if all could be read, otherwise 2."""
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
            recognition = classifier.read(path, keep_unknown=not arguments.drop_unknown)
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
        if recognition.unknown:
            _report_unknown(path, recognition.unknown, arguments.drop_unknown)
        if arguments.json:
            print(json.dumps(_record(path, recognition, classifier.backend.name)))
        else:
            for line in recognition.lines or ("no digits",):
                print(printable(f"{path}: {line}"))
        interrupt.check()
    return status


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.read",
        description="Read the numbers of several digits that each image shows, line by line.",
        epilog="Exit status: 0 all read, 2 an image or the model could not be read.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    options.add_model_arguments(parser)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object an image, with each digit's box"
    )
    parser.add_argument(
        "--show", metavar="PNG", help="draw boxes and labels over the one image given, into this"
    )
    unknown = parser.add_mutually_exclusive_group()
    unknown.add_argument(
        "--drop-unknown",
        action="store_true",
        help=f"omit places that are not certainly one digit, instead of printing {UNKNOWN}",
    )
    # It was needed before places that are not certain became part of the text.
    unknown.add_argument("--keep-unknown", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.show is not None and len(arguments.images) != 1:
        parser.error("--show takes one image")
    return arguments


def _report_unknown(path: str, count: int, dropped: bool) -> None:
    """Say on stderr how many places of an image are not certain."""
    places = "1 place is" if count == 1 else f"{count} places are"
    shown = "omitted" if dropped else f"shown as {UNKNOWN}"
    print(
        printable(f"{path}: {places} not certainly one digit, {shown}; check the image"),
        file=sys.stderr,
    )


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
