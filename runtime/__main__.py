"""Classify the digit in each image.

Paths are images, folders, patterns, or `-` for names on standard input. The output is plain text, a
table, JSON lines or CSV. Many images are classified by several processes.
"""

import argparse
import contextlib
import os
import sys
from typing import TextIO

from runtime.cli import inputs, options
from runtime.cli.batch import BatchJob, FormattedBatch
from runtime.cli.exit_status import exit_status
from runtime.cli.formats import Csv, JsonLines, OutputFormat, PlainLines, TerminalTable
from runtime.cli.parser import CommandParser
from runtime.cli.progress import Progress
from runtime.errors import BAD_INPUT, EdgeError
from runtime.system import host, interrupt, streams


def main(argv: list[str] | None = None) -> int:
    """Classify the images; return 0, or 2 if an image could not be read."""
    arguments = parse_args(argv)
    job = BatchJob(
        arguments.model,
        arguments.backend,
        arguments.threads,
        arguments.device,
        _output_format(arguments),
        arguments.top,
    )
    job.open()
    if arguments.show is not None:
        _show(job, arguments.paths, arguments.show)
    terminal = sys.stderr if _is_terminal(sys.stderr) else None
    progress = Progress(terminal, lambda: _count(arguments))
    sys.stdout.write(job.form.header)
    sys.stdout.flush()  # rows are written below the text layer, which would print the header last
    failed = False
    images = inputs.find(arguments.paths, null=arguments.null)
    try:
        with contextlib.closing(job.run(images, arguments.jobs)) as batches:
            for batch in batches:
                interrupt.check()
                progress.clear()
                failed |= _print(batch, job.form)
                progress.advance(batch.count)
    finally:
        progress.clear()
    return BAD_INPUT if failed else 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge classify",
        "Print the digit in each image: a photograph, a scan or a drawing.",
        {0: "all read", 2: "bad usage, or an image or the model could not be read"},
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image, a folder (searched recursively), a pattern such as '*.png', "
        "or - for paths on standard input, one a line",
    )
    options.add_model_arguments(parser)
    parser.add_argument(
        "--jobs",
        type=int,
        default=host.usable_cores(),
        metavar="N",
        help="processes for many images (default: number of cores)",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=1,
        metavar="N",
        help="print the N likeliest labels (default: %(default)s)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per image")
    form.add_argument("--csv", action="store_true", help="print CSV with a header")
    parser.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="paths on standard input end with NUL, not with a newline",
    )
    parser.add_argument(
        "--show",
        metavar="FILE",
        help="draw the preprocessing of the image into this PNG file; takes one PATH",
    )
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top takes 1 or more")
    if arguments.jobs < 1:
        parser.error("--jobs takes 1 or more")
    if arguments.null and inputs.STANDARD_INPUT not in arguments.paths:
        raise EdgeError("--null applies to paths on standard input: pass - as a PATH too")
    if arguments.show is not None and len(arguments.paths) != 1:
        parser.error("--show takes one image")
    return arguments


def _output_format(arguments: argparse.Namespace) -> OutputFormat:
    if arguments.json:
        return JsonLines()
    if arguments.csv:
        return Csv(arguments.top)
    several = len(arguments.paths) > 1 or not os.path.isfile(arguments.paths[0])
    return TerminalTable() if several and _is_terminal(sys.stdout) else PlainLines()


def _print(batch: FormattedBatch, form: OutputFormat) -> bool:
    """Print a batch; return True if an image in it could not be read."""
    failed = False
    for is_error, line in batch.lines:
        if is_error and not form.has_errors:
            sys.stdout.flush()
            sys.stderr.write(line)
        else:
            # Write whole lines to the binary buffer, so that Ctrl-C cannot cut a line in two: the
            # text layer would write it in pieces.
            sys.stdout.buffer.write(line.encode(sys.stdout.encoding, "backslashreplace"))
        failed |= is_error
    sys.stdout.flush()
    lost = streams.lost_output()
    if lost is not None:
        raise EdgeError(lost)  # all further lines would be lost too
    return failed


def _show(job: BatchJob, names: list[str], out: str) -> None:
    """Draw the preprocessing of the first image into the PNG file `out`."""
    if names[0] == inputs.STANDARD_INPUT or os.path.isdir(names[0]):
        raise EdgeError(f"--show takes one image, not {names[0]}: pass an image file")
    from runtime import visualize

    prediction = job.classifier.classify(names[0], return_view=True)
    if prediction.view is not None:
        visualize.save(visualize.draw_preprocessed(names[0], prediction.view, prediction), out)


def _count(arguments: argparse.Namespace) -> int | None:
    """Return the number of images; None if their paths come from standard input."""
    if inputs.STANDARD_INPUT in arguments.paths:
        return None
    return sum(1 for _ in inputs.find(arguments.paths))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


if __name__ == "__main__":
    sys.exit(exit_status(main))
