"""The common part of `digit-edge classify` and `digit-edge read`: many images, one job.

Both take the same paths and options for them (`add_arguments`), and `run` prints the results of
their `BatchJob`.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from runtime.cli import inputs
from runtime.cli.batch import BatchJob, FormattedBatch, name_of
from runtime.cli.inputs import Found
from runtime.cli.model_note import report_unused_model
from runtime.cli.progress import Progress
from runtime.errors import BAD_INPUT, EdgeError
from runtime.system import host, interrupt, streams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PATH, --jobs, --json, --csv, --null and --show."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image, a folder (searched recursively), a pattern such as '*.png', or - for "
        "standard input: an image, or paths of images, one a line",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=host.usable_cores(),
        metavar="N",
        help="processes for many images (default: number of cores)",
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
        "--show", metavar="FILE", help="draw the result into this PNG file; takes one PATH"
    )


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with a usage error if options are invalid or contradict each other."""
    if arguments.jobs < 1:
        parser.error("--jobs takes 1 or more")
    if arguments.null and inputs.STANDARD_INPUT not in arguments.paths:
        raise EdgeError("--null applies to paths on standard input: pass - as a PATH too")
    if arguments.show is not None and len(arguments.paths) != 1:
        parser.error("--show takes one image")


def run(job: BatchJob, arguments: argparse.Namespace) -> int:
    """Print the results of a job; return 0, or 2 if an image could not be read.

    Args:
        job: the command's work.
        arguments: those of `add_arguments`.
    """
    job.open()
    host.return_freed_memory()
    host.limit_memory(host.IMAGE_BYTES)
    report_unused_model(job.model, job.backend)
    images: Iterable[Found | None] = inputs.find(arguments.paths, null=arguments.null)
    if arguments.show is not None:
        images = [_only_image(images)]
    terminal = sys.stderr if is_terminal(sys.stderr) else None
    progress = Progress(terminal, lambda: _count(arguments))
    sys.stdout.write(job.form.header)
    sys.stdout.flush()  # rows are written below the text layer, which would print the header last
    failed = False
    try:
        with contextlib.closing(job.run(images, arguments.jobs)) as batches:
            for batch in batches:
                interrupt.check()
                progress.clear()
                failed |= _print(batch)
                progress.advance(batch.count)
    finally:
        progress.clear()
    return BAD_INPUT if failed else 0


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; None is a closed one."""
    return stream is not None and stream.isatty()


def has_one_file(arguments: argparse.Namespace) -> bool:
    """Return whether the command line names a single image file."""
    return len(arguments.paths) == 1 and os.path.isfile(arguments.paths[0])


def _only_image(images: Iterable[Found | None]) -> Found:
    """Return the only image.

    Raises:
        EdgeError: there are several images, or none.
    """
    only = None
    for image in images:
        if image is None:
            continue
        if only is not None:
            raise EdgeError(
                f"--show takes one image, not {name_of(only)}, {name_of(image)}, …: pass one image"
            )
        only = image
    if only is None:
        raise EdgeError("--show takes one image, standard input has none: pass one image")
    return only


def _print(batch: FormattedBatch) -> bool:
    """Print a batch; return True if an image in it could not be read."""
    failed = False
    for line in batch.lines:
        if line.to_stderr:
            sys.stdout.flush()
            sys.stderr.write(line.text)
        else:
            # Write whole lines to the binary buffer, so that Ctrl-C cannot cut a line in two: the
            # text layer would write it in pieces.
            sys.stdout.buffer.write(line.text.encode(sys.stdout.encoding, "backslashreplace"))
        failed |= line.is_error
    sys.stdout.flush()
    lost = streams.lost_output()
    if lost is not None:
        raise EdgeError(lost)  # all further lines would be lost too
    return failed


def _count(arguments: argparse.Namespace) -> int | None:
    """Return the number of images; None if they come from standard input."""
    if inputs.STANDARD_INPUT in arguments.paths:
        return None
    return sum(1 for _ in inputs.find(arguments.paths))
