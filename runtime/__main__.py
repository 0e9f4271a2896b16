"""Classify the digit in each image.

Paths are images, folders, patterns, or `-` for standard input: an image, or paths. The output is
plain text, a table, JSON lines or CSV. Many images are classified by several processes.
"""

import argparse
import sys

from runtime.cli import images_command, options
from runtime.cli.batch import ClassifyJob
from runtime.cli.exit_status import exit_status
from runtime.cli.formats import Csv, JsonLines, OutputFormat, PlainLines, TerminalTable
from runtime.cli.parser import CommandParser


def main(argv: list[str] | None = None) -> int:
    """Classify the images; return 0, or 2 if an image could not be read."""
    arguments = parse_args(argv)
    job = ClassifyJob(
        arguments.model,
        arguments.backend,
        arguments.threads,
        arguments.device,
        _output_format(arguments),
        arguments.top,
        arguments.show,
        suggest_read=images_command.has_one_file(arguments),
    )
    return images_command.run(job, arguments)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge classify",
        "Print the digit in each image: a photograph, a scan or a drawing.",
        {0: "all read", 2: "bad usage, or an image or the model could not be read"},
    )
    images_command.add_arguments(parser)
    options.add_model_arguments(parser)
    parser.add_argument(
        "--top",
        type=int,
        default=1,
        metavar="N",
        help="print the N likeliest labels (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top takes 1 or more")
    images_command.check_arguments(parser, arguments)
    return arguments


def _output_format(arguments: argparse.Namespace) -> OutputFormat:
    if arguments.json:
        return JsonLines()
    if arguments.csv:
        return Csv(arguments.top)
    several = not images_command.has_one_file(arguments)
    table = several and images_command.is_terminal(sys.stdout)
    return TerminalTable() if table else PlainLines()


if __name__ == "__main__":
    sys.exit(exit_status(main))
