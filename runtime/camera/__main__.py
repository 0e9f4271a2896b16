"""Report the digits or numbers that a camera or a video shows.

The command is `digit-edge camera`. This module parses the options; `runtime.camera.run` classifies
or reads the frames.
"""

import argparse
import os
import sys

from runtime.camera.debounce import Debouncer
from runtime.camera.preview import open_preview
from runtime.camera.run import FrameWatcher, watch
from runtime.camera.sources import open_source
from runtime.camera.watch_digit import DigitWatcher
from runtime.camera.watch_numbers import NumberWatcher
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.model_note import report_unused_model
from runtime.cli.parser import CommandParser
from runtime.errors import printable
from runtime.numbers import options as number_options
from runtime.numbers.options import NumberOptions
from runtime.numbers.read_regions import NumberReader
from runtime.outputs import sinks
from runtime.preprocess.segment import Box
from runtime.reload import ReloadingClassifier
from runtime.serve.access_options import (
    TOKEN_VARIABLE,
    AccessOptions,
    access_options,
    add_access_arguments,
)
from runtime.system.service import ServiceLifecycle


def main(argv: list[str] | None = None) -> int:
    """Classify or read frames until the source ends or SIGTERM arrives; return the exit status 0.

    Raises:
        EdgeError: the source, the model, the preview or an output cannot be opened.
        KeyboardInterrupt: Ctrl-C ended the program.
    """
    arguments = parse_args(argv)
    source = open_source(arguments.source)
    report_unused_model(arguments.model, arguments.backend)
    reader = ReloadingClassifier(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    preview = None
    if arguments.preview is not None:
        preview = open_preview(arguments.preview, arguments.access)
    try:
        with (
            (arguments.numbers or NumberOptions()).locked(),
            ServiceLifecycle() as lifecycle,
            sinks.open_sinks(arguments, arguments.sensors) as out,
        ):
            watcher = _watcher(arguments)
            if preview is not None and preview.url:
                print(printable(f"preview at {preview.url}"), file=sys.stderr)
            lifecycle.ready(printable(f"reading {source.name}"))
            watch(source, watcher, reader, out, preview, lifecycle)
    finally:
        if preview is not None:
            preview.close()
    return 0


def _watcher(arguments: argparse.Namespace) -> FrameWatcher:
    """Return what classifies the digit, or reads the numbers, of each frame.

    Raises:
        EdgeError: the file with the last values cannot be read.
    """
    if arguments.numbers is None:
        return DigitWatcher(arguments.roi, Debouncer(*arguments.agree))
    return NumberWatcher(NumberReader(arguments.numbers), arguments.agree)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; end with a usage error if options contradict each other."""
    parser = CommandParser(
        "digit-edge camera",
        "Report the digits that a camera sees: one JSON object for each digit that appears, or for "
        "each number with --read.",
        {
            0: "the source ended or SIGTERM arrived",
            2: "bad usage, the source cannot be read, or the camera hangs",
        },
    )
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="a camera's number, a URL (rtsp://, http://), a video file or a folder of images "
        "(default: the first camera, opened by picamera2 if it is installed, otherwise by OpenCV)",
    )
    parser.add_argument(
        "--roi", type=_roi, metavar="X,Y,W,H", help="read only this part of the frame, in pixels"
    )
    parser.add_argument(
        "--agree",
        type=_agree,
        default=(4, 6),
        metavar="N/M",
        help="debounce: report a digit if N of the last M frames show it, and again only after M "
        "frames without it; report a number if it changes in this way (default: 4/6)",
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        const="window",
        metavar="[HOST]:PORT",
        help="show the frames: in a window, or in browsers at this address (extra `serve`); "
        "without HOST only this machine can connect",
    )
    access = parser.add_argument_group(
        "access control of --preview HOST:PORT",
        "If other machines can connect, a viewer needs a token of at least 16 characters: pass "
        f"--token-file, or set {TOKEN_VARIABLE}. To open the page with the token, append #token=… "
        "to its address.",
    )
    add_access_arguments(access)
    options.add_model_arguments(parser)
    number_options.add_arguments(parser)
    sinks.add_arguments(parser)
    number_options.add_sensor_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.access = access_options(parser, arguments)
    if arguments.preview in (None, "window") and arguments.access != AccessOptions():
        parser.error("--token, --token-file, --no-auth and --allow-host need --preview HOST:PORT")
    if arguments.read and arguments.roi is not None:
        parser.error("--roi is for one digit: with --read, pass --region in its place")
    needs_one = bool(arguments.on_number or arguments.mqtt_discovery)
    source = arguments.source or "0"
    name = os.path.realpath(source) if os.path.exists(source) else source
    arguments.numbers = number_options.parse(parser, arguments, f"camera {name}", needs_one)
    arguments.sensors = number_options.parse_sensors(parser, arguments, arguments.numbers)
    return arguments


def _roi(text: str) -> Box:
    """Convert X,Y,W,H to (left, top, right, bottom).

    Raises:
        argparse.ArgumentTypeError: the text has another form, or the region is empty.
    """
    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H") from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a region: pass X,Y from 0, and W,H from 1"
        )
    return left, top, left + width, top + height


def _agree(text: str) -> tuple[int, int]:
    """Convert N/M to (N, M).

    Raises:
        argparse.ArgumentTypeError: the text has another form, or N is not more than half of M.
    """
    try:
        needed, of = map(int, text.split("/"))
        Debouncer(needed, of)  # checks the numbers
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not N/M with N greater than half of M, such as 4/6"
        ) from None
    return needed, of


if __name__ == "__main__":
    sys.exit(exit_status(main))
