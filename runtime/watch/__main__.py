"""Classify or read each image that arrives in a folder, once.

This module parses the arguments and opens the folder, the model and the outputs;
`runtime.watch.run` contains the main loop.
"""

import argparse
import math
import os
import sys
from pathlib import Path

from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.model_note import describe_model, report_unused_model
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError, plural, printable
from runtime.numbers import options as number_options
from runtime.numbers.options import NumberOptions
from runtime.numbers.read_regions import NumberReader
from runtime.outputs import sinks
from runtime.reload import ReloadingClassifier
from runtime.system.file_lock import locked
from runtime.system.host import IMAGE_BYTES, limit_memory, return_freed_memory
from runtime.system.service import ServiceLifecycle
from runtime.watch.folder import FolderScanner
from runtime.watch.kill_counter import KillCounter
from runtime.watch.run import save, watch
from runtime.watch.seen_files import default_state_file, open_seen_files


def main(argv: list[str] | None = None) -> int:
    """Watch a folder until SIGTERM (exit status 0) or Ctrl-C (exit status 130).

    Args:
        argv: the arguments; None uses those of the process.

    Raises:
        EdgeError: the folder, the model, the state file or an output cannot be opened, or results
            could not be delivered.
    """
    arguments = parse_args(argv)
    folder = arguments.folder
    if not os.path.isdir(folder):
        if os.path.exists(folder):
            raise EdgeError(f"cannot watch {folder}: it is not a folder; pass a folder")
        raise EdgeError(
            f"cannot watch {folder}: there is no such folder; create it, or pass another"
        )
    report_unused_model(arguments.model, arguments.backend)
    reader = ReloadingClassifier(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    options: NumberOptions | None = arguments.numbers
    state = Path(arguments.state or default_state_file(folder))
    with (
        locked(state, "stop that process, or pass another file with --state"),
        (options or NumberOptions()).locked(),
    ):
        numbers = None if options is None else NumberReader(options)
        seen_files = open_seen_files(arguments.state, folder)
        file = seen_files.file
        kills = KillCounter(None if file is None else file.with_name(f"{file.name}.reading"))
        scanner = FolderScanner(folder, arguments.settle, seen_files)
        if not seen_files.is_new:
            existing = "images that arrived since the last run are classified too"
        elif arguments.existing:
            existing = "the images already in it are classified too"
        else:
            count = scanner.mark_existing()
            seen_files.save(delivered=0)
            skipped = plural(count, "image")
            existing = f"skipping {skipped} already in it (--existing classifies them)"
        with ServiceLifecycle() as lifecycle:
            out = sinks.open_sinks(arguments, arguments.sensors)
            try:
                with out:
                    model = describe_model(reader.path, reader.classifier.backend.name)
                    return_freed_memory()
                    limit_memory(IMAGE_BYTES)  # now, because the outputs have started their threads
                    print(printable(f"watching {folder} with {model}; {existing}"), file=sys.stderr)
                    lifecycle.ready(printable(f"watching {folder}"))
                    watch(
                        scanner,
                        reader,
                        out,
                        seen_files,
                        kills,
                        lifecycle,
                        folder,
                        arguments.interval,
                        numbers,
                    )
            finally:
                # Closing the outputs delivered further results.
                save(seen_files, numbers, out.delivered)
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = CommandParser(
        "digit-edge watch",
        "Classify each image that arrives in a folder or below it, once, and print a JSON object "
        "for each. With --read, read its numbers. Images may be written slowly or renamed into "
        "place.",
        {0: "ended by SIGTERM", 2: "bad usage, or the folder or the model cannot be read"},
        "Hidden files, and files without an image's suffix (like .part), are ignored.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder in which the images arrive")
    options.add_model_arguments(parser)
    parser.add_argument(
        "--existing",
        action="store_true",
        help="on the first start, also classify the images that are already in the folder",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=0.5,
        metavar="S",
        help="an image is complete if it has not changed for S seconds (default: %(default)s); an "
        "unreadable image is reported after ten times that",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=0.25,
        metavar="S",
        help="scan the folder every S seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="file that remembers the classified images, so that a restart continues with those "
        "that arrived in the meantime (default: one per folder, in $STATE_DIRECTORY or "
        "~/.local/state/digit-edge)",
    )
    number_options.add_arguments(parser)
    sinks.add_arguments(parser)
    number_options.add_sensor_arguments(parser)
    arguments = parser.parse_args(argv)
    if not (0 <= arguments.settle < math.inf and 0 < arguments.interval < math.inf):
        parser.error("--settle must be 0 or more seconds, --interval more than 0")
    needs_one = bool(arguments.on_number or arguments.mqtt_discovery)
    folder = os.path.realpath(arguments.folder)
    arguments.numbers = number_options.parse(parser, arguments, f"watch {folder}", needs_one)
    arguments.sensors = number_options.parse_sensors(parser, arguments, arguments.numbers)
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
