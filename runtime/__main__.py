"""python -m runtime PATH…: which digit each image shows."""

import argparse
import contextlib
import os
import sys
from typing import TextIO

from runtime.cli import inputs, options
from runtime.cli.batch import BatchJob, FormattedBatch
from runtime.cli.exit_status import exit_status
from runtime.cli.formats import Csv, JsonLines, OutputFormat, PlainLines, TerminalTable
from runtime.cli.progress import Progress
from runtime.errors import BAD_INPUT, EdgeError
from runtime.system import host, interrupt, streams


def main(argv: list[str] | None = None) -> int:
    """Classify the images named; 0 when all could be read, 2 when some could not."""
    arguments = parse_args(argv)
    job = BatchJob(
        arguments.model,
        arguments.backend,
        arguments.threads,
        arguments.device,
        _form(arguments),
        arguments.top,
    )
    job.open()
    if arguments.show is not None:
        _show(job, arguments.paths, arguments.show)
    terminal = sys.stderr if _is_terminal(sys.stderr) else None
    progress = Progress(terminal, lambda: _count(arguments))
    sys.stdout.write(job.form.header)
    sys.stdout.flush()  # rows go past the text layer, which would keep the header back
    failed = False
    found = inputs.find(arguments.paths, null=arguments.null)
    try:
        with contextlib.closing(job.run(found, arguments.jobs)) as batches:
            for done in batches:
                interrupt.check()
                progress.clear()
                failed |= _print(done, job.form)
                progress.advance(done.count)
    finally:
        progress.clear()
    return BAD_INPUT if failed else 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Say which digit each image shows: a photograph, a scan, a drawing.",
        epilog="Exit status: 0 all read, 2 an image or the model could not be read.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image; a folder: the images in it and below; a pattern; "
        "- : the paths on standard input, one a line",
    )
    options.add_model_arguments(parser)
    parser.add_argument(
        "--jobs",
        type=int,
        default=host.usable_cores(),
        metavar="N",
        help="processes for many images (default: the cores)",
    )
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="show the K likeliest labels (default: 1)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="comma-separated values, a header first")
    parser.add_argument(
        "-0", "--null", action="store_true", help="names on standard input end in NUL, not a line"
    )
    parser.add_argument(
        "--show", metavar="PNG", help="draw how the one image given was seen into this file"
    )
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top takes 1 or more")
    if arguments.jobs < 1:
        parser.error("--jobs takes 1 or more")
    if arguments.null and inputs.STANDARD_INPUT not in arguments.paths:
        raise EdgeError("--null is about names on standard input: give - as a PATH too")
    if arguments.show is not None and len(arguments.paths) != 1:
        parser.error("--show takes one image")
    return arguments


def _form(arguments: argparse.Namespace) -> OutputFormat:
    if arguments.json:
        return JsonLines()
    if arguments.csv:
        return Csv(arguments.top)
    several = len(arguments.paths) > 1 or not os.path.isfile(arguments.paths[0])
    return TerminalTable() if several and _is_terminal(sys.stdout) else PlainLines()


def _print(done: FormattedBatch, form: OutputFormat) -> bool:
    """Print a batch; whether an image in it could not be read."""
    failed = False
    for is_error, line in done.lines:
        if is_error and not form.has_errors:
            sys.stdout.flush()
            sys.stderr.write(line)
        else:
            # A line a time into the binary buffer: where Ctrl-C interrupts, the line is either
            # in it whole, and written at the end, or not at all. Text would be written in pieces.
            sys.stdout.buffer.write(line.encode(sys.stdout.encoding, "backslashreplace"))
        failed |= is_error
    sys.stdout.flush()
    lost = streams.lost_output()
    if lost is not None:
        raise EdgeError(lost)  # further lines would be lost too
    return failed


def _show(job: BatchJob, names: list[str], out: str) -> None:
    """Draw how the image was seen."""
    if names[0] == inputs.STANDARD_INPUT or os.path.isdir(names[0]):
        raise EdgeError(f"--show takes one image: {names[0]} is none")
    from runtime import visualize

    prediction = job.classifier.classify(names[0], return_view=True)
    if prediction.view is not None:
        visualize.save(visualize.draw_preprocessed(names[0], prediction.view, prediction), out)


def _count(arguments: argparse.Namespace) -> int | None:
    """How many images there are; None where standard input names them."""
    if inputs.STANDARD_INPUT in arguments.paths:
        return None
    return sum(1 for _ in inputs.find(arguments.paths))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


if __name__ == "__main__":
    sys.exit(exit_status(main))
