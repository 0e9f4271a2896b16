"""Classify any number of images to Parquet, resumably.

SOURCE and the output may be local or on S3. Several machines share the work by `--shard`, or as a
Ray cluster. This module parses the options; `runtime.bulk.run` does the work.
"""

import argparse
import importlib.util
import re
import shlex
import sys

from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.model_note import report_unused_model
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError, plural, printable
from runtime.system import host, interrupt

_PART_ROWS = 10_000  # default rows of a part file


def main(argv: list[str] | None = None) -> int:
    """Classify the images and print a summary; return 0."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_args(argv)
    for package, extra in (("pyarrow", "bulk"), *((("ray", "ray"),) if arguments.ray else ())):
        if importlib.util.find_spec(package) is None:
            raise EdgeError(f'{package} is not installed: pip install "digit-edge[{extra}]"')
    command = shlex.join([*(a for a in argv if a != "--resume"), "--resume"])
    interrupt.report_as(f"interrupted; continue with: digit-edge bulk {command}")
    report_unused_model(arguments.model, arguments.backend)
    with interrupt.at_once():
        from runtime.bulk import run
        from runtime.bulk.sources import Shard
    summary = run.run(
        run.Options(
            source=arguments.source,
            out=arguments.out,
            shard=Shard(*arguments.shard),
            resume=arguments.resume,
            read=arguments.read,
            column=arguments.column,
            null=arguments.null,
            part_rows=arguments.part_rows,
            jobs=arguments.jobs,
            ray=arguments.ray,
            model=arguments.model,
            backend=arguments.backend,
            threads=arguments.threads,
            device=arguments.device,
        )
    )
    text = (
        f"{arguments.out}: {plural(summary.images, 'image')}, {summary.accepted:,} accepted, "
        f"{plural(summary.errors, 'error')}"
    )
    print(printable(text))
    return 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge bulk",
        "Classify any number of images, and write one row for each to Parquet files in a folder. "
        "A run that was killed continues with --resume.",
        {
            0: "every image has a row, unreadable ones with an error",
            130: "interrupted by Ctrl-C; --resume continues",
        },
        "Local or on S3 (s3://bucket/…) are SOURCE and FOLDER. Credentials and region come from "
        "the usual places of AWS; AWS_ENDPOINT_URL selects another server.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder (searched recursively), a pattern such as 's3://bucket/**/*.png', a list of "
        "paths, one a line, or Parquet with encoded images; folders, patterns and lists can have "
        "Parquet files too",
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="the folder to write, new or empty"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run with the same options; images without a row are "
        "classified",
    )
    parser.add_argument(
        "--read", action="store_true", help="read numbers of several digits, as digit-edge read"
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help="classify share I of N, from 1/N to N/N; all shares write the same FOLDER "
        "(default: all images)",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="the column of images in Parquet files (default: the only one, or image)",
    )
    parser.add_argument(
        "-0", "--null", action="store_true", help="paths in a list end with NUL, not with a newline"
    )
    parser.add_argument(
        "--part-rows",
        type=_count,
        default=_PART_ROWS,
        metavar="N",
        help="rows of a Parquet file that is written; a killed run loses the last unfinished one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=_count,
        default=host.usable_cores(),
        metavar="N",
        help="processes (default: number of cores)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="classify on a Ray cluster: HOST:PORT, auto for that of this machine, or local for a "
        "new one on this machine",
    )
    options.add_model_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.ray is not None and arguments.shard != (1, 1):
        parser.error("--shard does not apply with --ray: the cluster divides the images")
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(
            f"{text} is not I/N with 1 ≤ I ≤ N, such as 3/8 for the third of eight"
        )
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
