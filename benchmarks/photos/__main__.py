"""Measure accuracy and speed on photographs of digits.

`digit-edge benchmark-photos` runs this command. It writes photos.json, photos.md and photos.html,
and prints the tables.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.photos.run import measure
from runtime.classifier import Classifier
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the options, without the program's name; None for those of this process.

    Returns:
        The exit status, always 0: a missed target is printed, but is not a failure.

    Raises:
        EdgeError: the options, the folder or the model are invalid, or a file cannot be written.
        ModuleNotFoundError: jinja2 is not installed.
    """
    arguments = parse_args(argv)
    from benchmarks.photos import report as photos_report
    from benchmarks.report import html_templates, terminal
    from runtime.model.default_model import find_model

    output_dir.check_folder(arguments.out)
    html_templates.environment()  # fail before minutes of measuring if jinja2 is missing
    path = arguments.model or find_model(arguments.backend)
    report = measure(
        arguments.data,
        Classifier.load(path, backend=arguments.backend),
        Path(path).name,
        speed=not arguments.no_speed,
        progress=terminal.show_progress,
    )
    terminal.clear()
    photos_report.print_report(report)
    photos = arguments.data if arguments.pictures else None
    written = photos_report.write(report, arguments.out, photos)
    print(f"written: {printable(str(arguments.out))}: {', '.join(written)}")
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "digit-edge benchmark-photos",
        "Measure accuracy on real photographs, scans and drawings, and the time from "
        "file bytes to label.",
        {0: "measured, even if a target is missed"},
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="folder with the images and their manifest.csv, or with one subfolder per class, of "
        "images of single digits",
    )
    parser.add_argument("--model", metavar="PATH", help="an artifact (default: the published one)")
    options.add_backend_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("benchmarks/results"),
        metavar="FOLDER",
        help="folder of the report (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="show the original images in the page of mistakes, beside the pixels given to the "
        "model",
    )
    parser.add_argument("--no-speed", action="store_true", help="do not measure speed")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
